//! The stages of loading before compile, on any bytes: they refuse or accept, and never break down.

#![no_main]

use std::sync::Once;

use libfuzzer_sys::fuzz_target;

#[path = "../../host/plugins/src/loader/header.rs"]
#[allow(dead_code, reason = "the host uses more of it")]
mod header;
#[path = "../../host/plugins/src/loader/manifest.rs"]
#[allow(dead_code, reason = "the host uses more of it")]
mod manifest;
#[path = "../../host/plugins/src/text.rs"]
#[allow(dead_code, reason = "the host uses more of it")]
mod text;
#[path = "../../host/plugins/src/loader/world.rs"]
#[allow(dead_code, reason = "the host uses more of it")]
mod world;

/// What of the host's runtime the stages need.
mod runtime {
    use wasmparser::WasmFeatures;

    pub(crate) const FEATURES: WasmFeatures = WasmFeatures::WASM2
        .difference(WasmFeatures::GC_TYPES)
        .union(WasmFeatures::MULTI_MEMORY)
        .union(WasmFeatures::EXTENDED_CONST)
        .union(WasmFeatures::COMPONENT_MODEL);

    /// The same, as the host says it.
    pub(crate) const SAID: &str = "WasmFeatures::WASM2
    .difference(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);";
}

static PREPARED: Once = Once::new();

/// The stages are those of the host only with the host's features.
fn prepare() {
    let host = include_str!("../../host/plugins/src/runtime.rs");
    assert!(host.contains(runtime::SAID), "the host has other features now: copy them here");
}

fuzz_target!(|data: &[u8]| {
    PREPARED.call_once(prepare);
    let Ok(form) = header::form(data) else { return };
    if manifest::manifest(data).is_err() {
        return;
    }
    // A module becomes a component in the process that compiles: the encoder is made for what compilers write, and
    // overflows its stack on what fuzzing makes of that.
    if form == header::Form::TypedModule {
        return;
    }
    let Ok(types) = world::validate(data) else { return };
    if let Err(refused) = world::world(data, &types) {
        assert!(!refused.problems.is_empty(), "a refusal without a reason");
        assert!(!refused.hints.is_empty(), "a refusal without a hint: {refused}");
    }
});
