//! Which events metrics count, and under which words they are indexed.

use caelum_core::workflow::EventBody;

/// What separates the parts of a gate's reason; no part but the last can hold it.
const PART: char = '/';

/// Returns the subject and the reason under which an event is counted; nothing for events that no metric counts.
///
/// | event | subject | reason |
/// |---|---|---|
/// | `gate_judged` | the validator | gate, verdict and code: `validation/fail/no_tests_executed` |
/// | `retry_scheduled`, `step_failed` | the step | code of the failure |
/// | `target_lost`, `late_report` | the machine | why it was lost, or `late` |
pub(crate) fn measured(body: &EventBody) -> Option<(String, String)> {
    Some(match body {
        EventBody::GateJudged { record, .. } => {
            let verdict = &record.verdict;
            let code = match (&verdict.host_reason, verdict.reasons.first()) {
                (Some(_), _) => "validator_error",
                (None, Some(reason)) => &reason.code,
                (None, None) => "",
            };
            let gate = record.gate.kind.as_str();
            let reason = format!("{gate}{PART}{}{PART}{code}", verdict.kind.as_str());
            (record.validator.name.to_string(), reason)
        }
        EventBody::RetryScheduled { step, failure, .. }
        | EventBody::StepFailed { step, failure, .. } => (step.to_string(), failure.code.clone()),
        EventBody::TargetLost { machine, reason, .. } => (machine.to_string(), reason.clone()),
        EventBody::LateReport { machine, .. } => (machine.to_string(), "late".to_owned()),
        _ => return None,
    })
}

/// Splits the reason of a gate into gate, verdict and code.
pub(crate) fn gate_reason(reason: &str) -> (&str, &str, &str) {
    let mut parts = reason.splitn(3, PART);
    let mut part = || parts.next().unwrap_or_default();
    (part(), part(), part())
}
