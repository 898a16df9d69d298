//! A validator whose file names another plugin than its description does.

use caelum_sdk::bindings::validator::exports::caelum::plugin::validator::{
    Evidence, Guest, PluginError, ValidatorDescription, Verdict,
};
use caelum_sdk::export::describe_validator;
use caelum_sdk::{About, Target, Validator};

/// What the description says.
pub struct Impostor;

impl Validator for Impostor {
    type Parameters = ();
    const ABOUT: About = caelum_sdk::about!("impostor", "Impostor", "Says it is somebody else.");

    fn judge(
        _: &caelum_sdk::Evidence,
        _: &dyn Target,
        (): &(),
    ) -> Result<caelum_sdk::Verdict, caelum_sdk::PluginError> {
        Ok(caelum_sdk::Verdict::pass("everything is fine"))
    }
}

/// What the host calls.
pub struct Exported;

impl Guest for Exported {
    fn describe() -> ValidatorDescription {
        describe_validator::<Impostor>()
    }

    fn judge(_: Evidence, _: String) -> Result<Verdict, PluginError> {
        Err(PluginError::Other("never asked".to_owned()))
    }
}

caelum_sdk::__export_raw!(
    validator,
    Exported,
    caelum_sdk::about!("innocent", "Innocent", "What the file says."),
    "step-validator",
    export_validator_bindings
);
