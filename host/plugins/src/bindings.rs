//! The contract `caelum:plugin@0.1.0` as wasmtime's generated types: the only place that knows the WIT files. The
//! host's own types are in `caelum-core`; `convert.rs` stands between.
//!
//! Nothing here is asynchronous: a guest that makes the host wait has a thread of its own, which waits.

/// The world of improvement patterns, and the imports that both worlds share.
pub(crate) mod pattern {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "improvement-pattern",
        // Each of them can end the call with a trap: a read when the time is up, and all of them an inline call.
        imports: { default: trappable },
    });
}

/// The world of step validators. Its imports are those of [`pattern`].
pub(crate) mod validator {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "step-validator",
        with: {
            "caelum:plugin/types@0.1.0": super::pattern::caelum::plugin::types,
            "caelum:plugin/log@0.1.0": super::pattern::caelum::plugin::log,
            "caelum:plugin/target@0.1.0": super::pattern::caelum::plugin::target,
            "caelum:plugin/control@0.1.0": super::pattern::caelum::plugin::control,
        },
    });
}

pub(crate) use pattern::caelum::plugin::{control, log, target, types};
pub(crate) use pattern::exports::caelum::plugin::pattern as pattern_export;
pub(crate) use validator::exports::caelum::plugin::validator as validator_export;
