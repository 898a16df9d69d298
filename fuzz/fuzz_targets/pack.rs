//! Packing of any bytes, core modules aside (their encoder runs in a process of its own): what comes out names the plugin, and packing it again changes nothing.

#![no_main]

use caelum_plugin_build::{Described, pack, read_identity};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let described = Described {
        id: "fuzzed".to_owned(),
        version: "1.0.0".to_owned(),
        world: "step-validator".to_owned(),
        title: "Fuzzed".to_owned(),
        summary: "Is packed.".to_owned(),
        parameters_schema: serde_json::json!({"type": "object"}),
        licence: Some("MIT".to_owned()),
        homepage: None,
        authors: vec!["A fuzzer".to_owned()],
    };
    let _ = read_identity(data);
    let Ok(packed) = pack(data, &described) else { return };
    let again = pack(&packed, &described).expect("what was packed can be packed");
    assert_eq!(packed, again, "packing twice changes something");
});
