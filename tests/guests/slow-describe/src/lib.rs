//! A validator whose description never comes.

use caelum_sdk::bindings::validator::exports::caelum::plugin::validator::{
    Evidence, Guest, PluginError, ValidatorDescription, Verdict,
};

/// Says who it is inside the file, and never when it is asked.
pub struct SlowDescribe;

impl Guest for SlowDescribe {
    fn describe() -> ValidatorDescription {
        let mut turns = 0_u64;
        loop {
            turns = std::hint::black_box(turns.wrapping_add(1));
        }
    }

    fn judge(_: Evidence, _: String) -> Result<Verdict, PluginError> {
        Err(PluginError::Other("never asked".to_owned()))
    }
}

caelum_sdk::__export_raw!(
    validator,
    SlowDescribe,
    caelum_sdk::about!("slow-describe", "Slow", "Never ends its description."),
    "step-validator",
    export_validator_bindings
);
