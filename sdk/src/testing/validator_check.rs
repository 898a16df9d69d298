//! Calls validators as the host does, makes evidence by hand, and checks what every validator promises.

use serde_json::{Value, json};

use crate::error::PluginError;
use crate::evidence::{Decision, Evidence, Outcome, Probe, Review};
use crate::parameters::{parse_parameters, schema};
use crate::validator::Validator;
use crate::verdict::{Verdict, VerdictKind};

use super::FakeTarget;
use super::pattern_check::check_about;

/// When the attempt of [`evidence`] began.
const STARTED_AT: &str = "2026-01-01T12:00:00Z";

/// The digest of the work of [`evidence`].
const SUBJECT: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";

/// Calls `judge` as the host does: parameters from JSON, and the verdict checked.
///
/// # Errors
/// Those of the validator, and wrong parameters.
///
/// # Panics
/// When the verdict breaks the contract (no reason for a verdict that is no pass), or is another the second time.
#[track_caller]
pub fn judge<V: Validator>(
    evidence: &Evidence,
    target: &FakeTarget,
    parameters: Value,
) -> Result<Verdict, PluginError> {
    let once = || V::judge(evidence, target, &parse_parameters(&parameters.to_string())?);
    let verdict = once();
    assert_eq!(once(), verdict, "{}: judge answers differently the second time", V::ABOUT.id);
    if let Ok(verdict) = &verdict {
        let explained = verdict.kind == VerdictKind::Pass || !verdict.reasons.is_empty();
        assert!(explained, "{}: {:?} without a reason", V::ABOUT.id, verdict.kind);
        assert!(!verdict.summary.is_empty(), "{}: a verdict without a summary", V::ABOUT.id);
    }
    verdict
}

/// Checks what can be checked of any validator: identity and schema, and that no evidence at all is never a pass.
///
/// # Panics
/// When something breaks the contract; the message says what.
#[track_caller]
pub fn check_validator<V: Validator>() {
    check_about(&V::ABOUT, &schema::<V::Parameters>());
    assert!(!V::PHASES.is_empty(), "`{}` can never be asked: PHASES is empty", V::ABOUT.id);
    if let Ok(verdict) = judge::<V>(&evidence(vec![]), &FakeTarget::new(), json!({})) {
        assert_ne!(
            verdict.kind,
            VerdictKind::Pass,
            "`{}` passes without any evidence: {verdict:#?}",
            V::ABOUT.id
        );
    }
}

/// Makes the evidence of a first attempt, begun at noon on 1 January 2026. Set other fields with `..`:
///
/// ```
/// use caelum_sdk::{Evidence, testing::{evidence, exited}};
/// let evidence = Evidence { performer: Some("ada".into()), ..evidence(vec![exited("local", 0)]) };
/// # assert_eq!(evidence.attempt, 1);
/// ```
#[must_use]
pub fn evidence(outcomes: Vec<Outcome>) -> Evidence {
    Evidence {
        execution_id: "execution-1".into(),
        step_id: "step-1".into(),
        attempt: 1,
        started_at: STARTED_AT.into(),
        outcomes,
        subject_digest: SUBJECT.into(),
        ..Evidence::default()
    }
}

/// Makes the outcome of a program that ended by itself and wrote nothing.
#[must_use]
pub fn exited(machine: &str, exit_code: i32) -> Outcome {
    Outcome {
        machine: machine.into(),
        exit_code: Some(exit_code),
        outputs: json!({}),
        ..Outcome::default()
    }
}

impl Outcome {
    /// Sets what the program wrote to standard output, whole. For tests.
    #[must_use]
    pub fn with_stdout(mut self, text: &str) -> Self {
        self.stdout = text.into();
        self
    }

    /// Sets what the program wrote to standard error, whole. For tests.
    #[must_use]
    pub fn with_stderr(mut self, text: &str) -> Self {
        self.stderr = text.into();
        self
    }
}

/// Makes a probe that was answered, taken on `local` a second after the attempt began.
#[must_use]
pub fn probe(name: &str, kind: &str, answer: Value) -> Probe {
    Probe {
        name: name.into(),
        kind: kind.into(),
        machine: "local".into(),
        taken_at: "2026-01-01T12:00:01Z".into(),
        ok: true,
        answer,
    }
}

/// Makes an approval of the work of [`evidence`].
#[must_use]
pub fn approved(reviewer: &str) -> Review {
    review(reviewer, Decision::Approved, "")
}

/// Makes a rejection of the work of [`evidence`].
#[must_use]
pub fn rejected(reviewer: &str, reason: &str) -> Review {
    review(reviewer, Decision::Rejected, reason)
}

fn review(reviewer: &str, decision: Decision, reason: &str) -> Review {
    Review {
        reviewer: reviewer.into(),
        decision,
        reason: reason.into(),
        at: "2026-01-01T12:05:00Z".into(),
        subject_digest: SUBJECT.into(),
    }
}
