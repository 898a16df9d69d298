//! Why a step failed, in words: by its targets, or by a gate.

use std::sync::Arc;

use super::super::{
    FailureCause, GateKind, GateRecord, StepFailure, StepState, TargetPhase, TargetState,
};
use crate::evidence::VerdictKind;
use crate::task::FailureClass;

/// Says why the targets of a step failed: the first that did, and how many.
pub(super) fn target_failure(state: &StepState) -> StepFailure {
    if let Some(failure) = &state.failure {
        return failure.clone();
    }
    let failed: Vec<&Arc<TargetState>> = state
        .targets
        .iter()
        .filter(|target| matches!(target.phase, TargetPhase::Failed | TargetPhase::Cancelled))
        .collect();
    let Some(first) = failed.first() else {
        return StepFailure {
            cause: FailureCause::Action,
            class: FailureClass::Permanent,
            code: "given_up".to_owned(),
            message: "no target ran".to_owned(),
            hint: None,
            machine: None,
        };
    };
    let others = match failed.len() {
        1 => String::new(),
        count if state.targets.is_mapped() => {
            format!(" (and {} of {} items more)", count - 1, state.targets.len())
        }
        count => format!(" (and {} of {} machines more)", count - 1, state.targets.len()),
    };
    // One permanent failure makes the whole permanent; one that may go away does not make the others do so.
    let class = failed
        .iter()
        .map(|target| {
            let outcome = target.outcome.as_ref().and_then(|outcome| outcome.failure.as_ref());
            match (outcome, target.phase) {
                (Some(failure), _) => failure.class,
                (None, TargetPhase::Cancelled) => FailureClass::Permanent,
                (None, _) => FailureClass::Transient,
            }
        })
        .max()
        .unwrap_or(FailureClass::Permanent);
    let (code, message, hint) =
        match first.outcome.as_ref().and_then(|outcome| outcome.failure.clone()) {
            Some(failure) => (failure.code, failure.message, failure.hint),
            None if first.phase == TargetPhase::Cancelled => (
                "cancelled".to_owned(),
                "somebody asked for its end".to_owned(),
                Some("control_execution retry_failed lets it begin anew".to_owned()),
            ),
            None => (
                "machine_lost".to_owned(),
                format!("nobody reported after {} deliveries", first.losses),
                Some("look at the machine, then use control_execution retry_failed".to_owned()),
            ),
        };
    StepFailure {
        cause: FailureCause::Action,
        class,
        code,
        message: format!("{}: {message}{others}", first.name()),
        hint,
        machine: Some(first.machine.clone()),
    }
}

pub(super) fn cause_of(kind: GateKind) -> FailureCause {
    match kind {
        GateKind::Enforcement => FailureCause::Enforcement,
        GateKind::Validation => FailureCause::Validation,
    }
}

/// Says why a gate stays closed.
pub(super) fn gate_failure(kind: GateKind, record: &GateRecord) -> StepFailure {
    let verdict = &record.verdict;
    let code = match (&verdict.host_reason, verdict.kind) {
        (Some(_), _) => "validator_error",
        (None, VerdictKind::Inconclusive) => "gate_inconclusive",
        (None, _) => "gate_failed",
    };
    // The first reason is often the summary in other words, or in the same.
    let said = verdict.summary.trim();
    let reasons: Vec<&str> = verdict
        .reasons
        .iter()
        .map(|reason| reason.message.trim())
        .filter(|message| !message.is_empty() && *message != said)
        .take(3)
        .collect();
    let mut message = format!("{} `{}`: {}", kind.as_str(), record.validator.name, verdict.summary);
    if !reasons.is_empty() {
        message = format!("{message} ({})", reasons.join("; "));
    }
    StepFailure {
        cause: cause_of(kind),
        class: FailureClass::Gate,
        code: code.to_owned(),
        message,
        hint: Some(
            "mend what the verdict names, then use control_execution retry_failed".to_owned(),
        ),
        machine: None,
    }
}
