//! The work itself, with every way in which it can fail made an error. Runs in the child process, and in this one where
//! there is no child.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::Engine;
use wit_component::ComponentEncoder;

use crate::runtime::chain;
use crate::text;

use super::CompileError;

/// Compiles a component to the engine's own format. Blocks for as long as it takes.
pub(crate) fn compile(engine: &Engine, component: &[u8]) -> Result<Vec<u8>, CompileError> {
    contained(|| engine.precompile_component(component).map_err(|error| chain(&error)))
}

/// Makes a component of a core module that carries its component type. Blocks.
pub(crate) fn encode(module: &[u8]) -> Result<Vec<u8>, CompileError> {
    contained(|| {
        ComponentEncoder::default()
            .validate(true)
            .module(module)
            .and_then(|mut encoder| encoder.encode())
            .map_err(|error| format!("{error:#}"))
    })
}

/// Turns the ways in which the work can fail into errors. A panic inside it concerns one file: the engine's shared
/// state is only read while it compiles.
fn contained<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, CompileError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(message)) => Err(CompileError::Refused { message: text::line(&message) }),
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
    fn an_error_of_the_compiler_is_told() {
        let result: Result<(), _> = contained(|| Err("outer: inner".to_owned()));

        assert_eq!(
            result.expect_err("refused").to_string(),
            "it could not be compiled: outer: inner"
        );
    }
}
