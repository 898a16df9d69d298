//! Step validators: the trait.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::about::About;
use crate::error::PluginError;
use crate::evidence::Evidence;
use crate::target::Target;
use crate::verdict::Verdict;

/// When a validator can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the step's action runs: judges from probes and parameters whether it may.
    Before,
    /// After the action: judges what it left.
    After,
}

/// A step validator. Export it with [`export_validator!`](crate::export_validator); the crate's front page has a whole
/// one.
///
/// Evidence that is missing, cut off or about something else is never a pass: that is
/// [`Verdict::inconclusive`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no validator",
    label = "this is exported as a validator",
    note = "implement `caelum_sdk::Validator` for it, or export it with `export_pattern!` when it is a pattern"
)]
pub trait Validator {
    /// What can be set. Derive `serde::Deserialize`, `serde::Serialize` (for the defaults in the schema) and
    /// `schemars::JsonSchema`, with `#[serde(deny_unknown_fields, default)]` on the struct and a doc comment on each
    /// field; `()` when there is nothing.
    type Parameters: DeserializeOwned + JsonSchema;

    /// Who the validator is.
    const ABOUT: About;

    /// When it can be asked. At least one.
    const PHASES: &'static [Phase] = &[Phase::After];

    /// The forms of evidence it understands: `junit-xml`, `exit-code`.
    const EVIDENCE_FORMATS: &'static [&'static str] = &[];

    /// Judges the evidence. The collected files are in `target`, under the paths that `evidence.files` names.
    ///
    /// # Errors
    /// Whatever keeps the validator from judging; the gate is inconclusive then.
    fn judge(
        evidence: &Evidence,
        target: &dyn Target,
        parameters: &Self::Parameters,
    ) -> Result<Verdict, PluginError>;
}
