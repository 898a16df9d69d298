//! The program `caelum-workflow`.

use std::process::ExitCode;

fn main() -> ExitCode {
    caelum_workflow::cli::main()
}
