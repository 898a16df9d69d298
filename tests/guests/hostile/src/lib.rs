//! A validator that misbehaves in the way its parameters say. It stands on the generated interface where the sdk's own
//! types would prevent what it does.

mod behavior;

use caelum_sdk::bindings::validator::exports::caelum::plugin::validator::{
    Evidence, Guest, PluginError, ValidatorDescription, Verdict,
};
use caelum_sdk::export::describe_validator;
use caelum_sdk::{About, Target, Validator, parse_parameters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Says who it is; what it does is in `behavior`.
pub struct Hostile;

/// What to do.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// What to do.
    pub behavior: Behavior,
    /// How much of it: bytes, items or turns, as the behavior says. 0 means without end where that is possible.
    pub amount: u64,
    /// The path to read, for the behaviors that read.
    pub path: String,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { behavior: Behavior::Echo, amount: 0, path: String::new() }
    }
}

/// What a hostile validator can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Behavior {
    /// Passes, and answers in its metrics what it was given.
    Echo,
    /// Turns for ever, or `amount` times.
    Loop,
    /// Copies 32 MiB of memory for ever, or `amount` times.
    CopyLoop,
    /// Allocates 1 MiB pieces for ever, or `amount` of them, and keeps them.
    Grow,
    /// Calls itself without end, or `amount` deep.
    Recurse,
    /// Panics.
    Panic,
    /// Answers a summary of `amount` bytes.
    HugeResult,
    /// Answers `amount` empty reasons.
    ManyReasons,
    /// Answers `amount` findings.
    ManyFindings,
    /// Answers metrics that are not JSON.
    BadMetrics,
    /// Answers metrics nested `amount` deep.
    DeepMetrics,
    /// Fails without a reason and with an empty summary.
    NoReason,
    /// Answers texts full of terminal escapes and text-direction marks.
    ControlCharacters,
    /// Writes `amount` lines to the log, or lines without end.
    FloodLog,
    /// Writes one log line of `amount` bytes.
    HugeLogLine,
    /// Reads `path` `amount` times, or without end, and never minds errors.
    FloodRead,
    /// Lists `path` `amount` times, or without end, and never minds errors.
    FloodEntries,
    /// Reports progress `amount` times, or without end.
    FloodProgress,
    /// Asks whether it is cancelled until it is, or `amount` times.
    WaitForCancel,
    /// Tries every path that must be refused, and answers in its metrics what each gave.
    WildPaths,
    /// Reads `path` in one go and answers what came in its metrics.
    ReadOne,
    /// Asks for `amount` bytes of `path` in one read.
    ReadLength,
    /// Answers in its metrics how often this instance was called.
    Remember,
    /// Answers the error `not-applicable`.
    NotApplicable,
    /// Answers the error `host`.
    HostError,
    /// Answers the error `other`, `amount` bytes long.
    OtherError,
    /// Answers the error `invalid-parameters` with `amount` problems.
    InvalidParameters,
}

impl Validator for Hostile {
    type Parameters = Parameters;
    const ABOUT: About = caelum_sdk::about!("hostile", "Hostile", "Misbehaves on demand.");
    const PHASES: &'static [caelum_sdk::Phase] =
        &[caelum_sdk::Phase::Before, caelum_sdk::Phase::After];
    const EVIDENCE_FORMATS: &'static [&'static str] = &["none"];

    fn judge(
        _: &caelum_sdk::Evidence,
        _: &dyn Target,
        _: &Parameters,
    ) -> Result<caelum_sdk::Verdict, caelum_sdk::PluginError> {
        Err(caelum_sdk::PluginError::other("the generated interface is exported instead"))
    }
}

impl Guest for Hostile {
    fn describe() -> ValidatorDescription {
        describe_validator::<Self>()
    }

    fn judge(evidence: Evidence, parameters: String) -> Result<Verdict, PluginError> {
        let parameters: Parameters =
            parse_parameters(&parameters).map_err(|error| PluginError::Other(error.to_string()))?;
        behavior::perform(&evidence, &parameters)
    }
}

caelum_sdk::__export_raw!(
    validator,
    Hostile,
    <Hostile as Validator>::ABOUT,
    "step-validator",
    export_validator_bindings
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_describes_itself_like_any_validator() {
        caelum_sdk::testing::check_validator::<Hostile>();
    }
}
