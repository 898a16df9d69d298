//! From what ended a guest to a reason in words: the limit that was passed, the trap, the breach.

use std::time::Duration;

use caelum_core::plugin::HostReason;
use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::limiter::Refusal;
use crate::limits::Limits;
use crate::runtime::chain;
use crate::state::{CallCancelled, CallState, DeadlinePassed};
use crate::text;

/// What the engine says when the host would have to copy more than it may. The error has no public type.
const FUEL_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";

/// What the engine says when a store has too many of something. The error has no public type.
const RESOURCE_LIMIT: &str = "resource limit exceeded: ";

/// What the engine says when a component asks for more than the limiter allows before it runs.
const MINIMUM: &str = "minimum size of ";

/// How many functions of a trap's call stack are told.
const FRAMES_SHOWN_MAX: usize = 4;

/// Which part of a call was under way, and its limit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    Instantiate(Duration),
    Call(Duration),
}

/// Returns why a guest was ended.
pub(crate) fn reason(
    error: &wasmtime::Error,
    state: &CallState,
    limits: &Limits,
    moment: Moment,
) -> HostReason {
    let (Moment::Instantiate(limit) | Moment::Call(limit)) = moment;
    if error.is::<DeadlinePassed>() {
        return HostReason::Timeout {
            limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        };
    }
    if error.is::<CallCancelled>() {
        return HostReason::Cancelled;
    }
    let told = chain(error);
    let trap = error.downcast_ref::<Trap>().copied();
    let exit = error.downcast_ref::<I32Exit>().map(|exit| exit.0);
    // A guest that is refused memory mostly aborts: by `unreachable`, an exit, or a stray pointer.
    let gave_up = matches!(trap, Some(Trap::UnreachableCodeReached | Trap::MemoryOutOfBounds))
        || exit.is_some()
        || told.contains(MINIMUM);
    match state.limiter.refused() {
        Some(Refusal::Memory { .. }) if gave_up => {
            return HostReason::OutOfMemory { limit_bytes: limits.memory_bytes_max };
        }
        Some(Refusal::Table { wanted_elements }) if gave_up => {
            return HostReason::Trap {
                message: format!(
                    "it needs {wanted_elements} table elements; at most {} are allowed",
                    limits.table_elements_max
                ),
            };
        }
        _ => {}
    }
    if told.contains(FUEL_EXHAUSTED) {
        return HostReason::OutputTooLarge {
            message: format!(
                "passed more than {} bytes to the host at once",
                limits.result_bytes_max
            ),
        };
    }
    if let Some(code) = exit {
        return HostReason::Trap {
            message: format!("it called exit({code}); a plugin returns its answer"),
        };
    }
    if let Some((_, what)) = told.split_once(RESOURCE_LIMIT) {
        return HostReason::Trap {
            message: format!("it takes more than it may: {}", text::line(what)),
        };
    }
    if error.is::<ResourceTableError>() {
        return HostReason::Trap {
            message: format!(
                "it holds more than {} handles, or one that is not its own",
                limits.handles_max
            ),
        };
    }
    match trap {
        Some(trap) => {
            let what = trap.to_string();
            let what = what.strip_prefix("wasm trap: ").unwrap_or(&what);
            HostReason::Trap { message: format!("{what}{}", frames(error)) }
        }
        // What is neither a trap nor a limit is an answer, or an argument, that could not be read.
        None => HostReason::Contract {
            message: format!(
                "broke the contract: {}",
                text::line(&match moment {
                    // The outer causes name the function that has another type.
                    Moment::Instantiate(_) => told,
                    Moment::Call(_) => error.root_cause().to_string(),
                })
            ),
        },
    }
}

/// Names the innermost functions of the call stack, where the plugin was built with names.
fn frames(error: &wasmtime::Error) -> String {
    let names: Vec<String> = error
        .downcast_ref::<WasmBacktrace>()
        .into_iter()
        .flat_map(WasmBacktrace::frames)
        .filter_map(|frame| frame.func_name())
        .take(FRAMES_SHOWN_MAX)
        .map(|name| format!("`{}`", text::line(&demangled(name))))
        .collect();
    if names.is_empty() { String::new() } else { format!(" in {}", names.join(" called by ")) }
}

/// Takes the hash off a Rust name, which says nothing to a reader.
fn demangled(name: &str) -> String {
    match name.rsplit_once("::h") {
        Some((path, hash))
            if hash.len() == 16 && hash.chars().all(|digit| digit.is_ascii_hexdigit()) =>
        {
            path.to_owned()
        }
        _ => name.to_owned(),
    }
}
