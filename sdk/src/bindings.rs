//! The generated twins of the WIT contract. Nothing here is written by hand but the two invocations, and nothing
//! outside this crate names these types: `convert.rs` turns them into the ones authors see.

/// The world `improvement-pattern`, and the interfaces that both worlds share.
pub mod pattern {
    wit_bindgen::generate!({
        path: "wit",
        world: "improvement-pattern",
        pub_export_macro: true,
        export_macro_name: "export_pattern_bindings",
        default_bindings_module: "caelum_sdk::bindings::pattern",
        generate_all,
    });
}

/// The world `step-validator`.
pub mod validator {
    wit_bindgen::generate!({
        path: "wit",
        world: "step-validator",
        pub_export_macro: true,
        export_macro_name: "export_validator_bindings",
        default_bindings_module: "caelum_sdk::bindings::validator",
        with: {
            "caelum:plugin/types@0.1.0": super::pattern::caelum::plugin::types,
            "caelum:plugin/log@0.1.0": super::pattern::caelum::plugin::log,
            "caelum:plugin/target@0.1.0": super::pattern::caelum::plugin::target,
            "caelum:plugin/control@0.1.0": super::pattern::caelum::plugin::control,
        },
    });
}
