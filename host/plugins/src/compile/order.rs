//! What the parent tells the compiler process: one line of JSON, then the bytes. Both ends are the same program, so the
//! form needs no version beyond the engine's own.

use serde::{Deserialize, Serialize};

use crate::limits::Limits;

/// The longest line that is read as an order.
pub(super) const LINE_BYTES_MAX: u64 = 4 * 1024;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Work {
    /// Native code of a component.
    Compile,
    /// A component of a core module that carries its component type.
    Encode,
}

/// One piece of work for the compiler process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    pub(super) work: Work,
    /// What the parent's engine can run; the child's has to be the same.
    pub(super) compatibility: String,
    /// How many bytes follow.
    pub(super) input_bytes: u64,
    /// Address space that the child may take.
    pub(super) memory_bytes_max: u64,
    /// Processor time that the child may take, in seconds.
    pub(super) cpu_s: u64,
    /// How long the child may live, in seconds, should its parent not end it.
    pub(super) life_s: u64,
}

impl Order {
    pub(super) fn new(work: Work, compatibility: &str, input: usize, limits: &Limits) -> Self {
        Order {
            work,
            compatibility: compatibility.to_owned(),
            input_bytes: input as u64,
            memory_bytes_max: limits.compile_memory_bytes_max,
            cpu_s: limits.compile_cpu.as_secs().max(1),
            life_s: limits.compile_deadline.as_secs().max(1) + 1,
        }
    }

    pub(super) fn line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("an order is plain JSON");
        line.push('\n');
        line
    }
}
