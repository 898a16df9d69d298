//! The program `caelum-workflow` with the fixtures of the official conformance suite beside its tools; for tests alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    caelum_workflow::cli::main()
}
