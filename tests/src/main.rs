//! The program `caelum-workflow`, built once more for the tests of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    caelum_workflow::cli::main()
}
