//! From a valid component to native code. The one expensive step: seconds of processor time and hundreds of MiB for a
//! plugin with a language runtime in it. Runs on a thread that may block.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::runtime::{Runtime, chain};
use crate::text;

/// The compiler did not make code of a valid component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// It refused.
    #[error("it could not be compiled: {message}")]
    Refused {
        /// What the compiler said.
        message: String,
    },
    /// It broke down. The file is the cause, the server is unharmed.
    #[error("the compiler broke down over it: {message}")]
    Panicked {
        /// What the compiler said.
        message: String,
    },
    /// The work was thrown away because the server is shutting down.
    #[error("the compiler was stopped")]
    Stopped,
}

impl CompileError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            CompileError::Refused { .. } | CompileError::Panicked { .. } => {
                "build the plugin with another version of its toolchain, and report the file"
            }
            CompileError::Stopped => "start the server again",
        }
    }
}

/// Compiles a component to the engine's own format. Blocks for as long as it takes.
pub(crate) fn compile(runtime: &Runtime, component: &[u8]) -> Result<Vec<u8>, CompileError> {
    contained(|| runtime.engine().precompile_component(component))
}

/// Turns the ways in which the compiler can fail into errors. A panic inside it concerns one file: the engine's shared
/// state is only read while it compiles.
pub(crate) fn contained<T>(work: impl FnOnce() -> wasmtime::Result<T>) -> Result<T, CompileError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(CompileError::Refused { message: text::line(&chain(&error)) }),
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(CompileError::Panicked { message: text::line(message) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_compiler_is_an_error() {
        let result: Result<(), _> = contained(|| panic!("invalid adapter module generated"));

        assert_eq!(
            result.expect_err("panicked").to_string(),
            "the compiler broke down over it: invalid adapter module generated"
        );
    }

    #[test]
    fn an_error_of_the_compiler_is_told_with_its_causes() {
        let result: Result<(), _> =
            contained(|| Err(wasmtime::format_err!("inner").context("outer")));

        assert_eq!(
            result.expect_err("refused").to_string(),
            "it could not be compiled: outer: inner"
        );
    }
}
