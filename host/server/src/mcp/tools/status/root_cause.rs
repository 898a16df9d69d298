//! Why an execution failed: the step that failed first, with what is known of it.

use std::sync::Arc;

use caelum_core::evidence::VerdictKind;
use caelum_core::id::ExecutionId;
use caelum_core::workflow::{Execution, StepPhase, TargetPhase, TargetState};
use serde_json::json;

use super::super::answer::{NextCall, Tail};
use super::FailureSummary;
use super::build::{failure_view, reason_view};

/// Sums up why an execution failed; nothing when no failure matters.
pub(super) fn failure_summary(
    execution: &Execution,
    children: &[(usize, ExecutionId)],
) -> Option<FailureSummary> {
    let definition = execution.definition();
    let mut failed: Vec<usize> = execution.failed_steps().collect();
    failed.sort_by_key(|index| execution.step(*index).ended_at);
    let root = *failed.first()?;
    let state = execution.step(root);
    let failure = state.failure.as_ref()?;
    let reasons = state
        .gates
        .iter()
        .rev()
        .find(|record| record.verdict.kind != VerdictKind::Pass)
        .map(|record| record.verdict.reasons.iter().take(5).map(reason_view).collect())
        .unwrap_or_default();
    let machine = |target: &&Arc<TargetState>| {
        target.phase == TargetPhase::Failed
            && failure.machine.as_ref().is_none_or(|machine| target.machine == *machine)
    };
    let output = state.targets.iter().find(machine).and_then(|target| {
        let outcome = target.outcome.as_deref()?;
        let text = if outcome.stderr.text.trim().is_empty() {
            &outcome.stdout.text
        } else {
            &outcome.stderr.text
        };
        let tail = Tail::of(text.trim_end(), 0, false, 1_200).text;
        (!tail.trim().is_empty()).then_some(tail)
    });
    let not_run = execution
        .steps()
        .iter()
        .filter(|state| matches!(state.phase, StepPhase::Skipped | StepPhase::Waiting))
        .count();
    Some(FailureSummary {
        step_id: definition.steps[root].id.to_string(),
        attempt: state.attempt,
        failure: failure_view(failure),
        reasons,
        output,
        child_execution_id: (failure.code == "child_failed")
            .then(|| children.iter().find(|(step, _)| *step == root))
            .flatten()
            .map(|(_, id)| id.to_string()),
        also_failed: failed[1..]
            .iter()
            .take(50)
            .map(|index| definition.steps[*index].id.to_string())
            .collect(),
        steps_not_run: not_run,
        next_call: NextCall::new(
            "control_execution",
            json!({"execution_id": execution.id().as_str(), "action": "retry_failed"}),
        ),
    })
}
