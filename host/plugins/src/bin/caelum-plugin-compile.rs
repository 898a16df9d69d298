//! The compiler process as a program of its own, for hosts that are not the server's binary, such as tests. The server
//! starts itself instead.

use std::process::ExitCode;

fn main() -> ExitCode {
    caelum_plugin_host::compile_plugin()
}
