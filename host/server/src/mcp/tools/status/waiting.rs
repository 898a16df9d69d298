//! What a step waits for, and the exact call that lets it go on.

use caelum_core::workflow::{Action, Execution, TargetPhase, WaitingFor, render_text, scope};
use serde_json::json;

use super::super::answer::NextCall;
use super::WaitingView;
use super::build::reason_view;

/// Says what a step waits for, and the call that lets it go on.
pub(super) fn waiting(execution: &Execution, index: usize) -> Option<WaitingView> {
    let state = execution.step(index);
    let step = &execution.definition().steps[index];
    let execution_id = execution.id().as_str();
    let step_id = step.id.as_str();
    let view = match state.waiting_for()? {
        WaitingFor::Work => WaitingView {
            step_id: step_id.to_owned(),
            kind: "work".to_owned(),
            who: "whoever does it".to_owned(),
            instructions: instructions(execution, index),
            gate: None,
            next_call: NextCall::new(
                "complete_step",
                json!({"execution_id": execution_id, "step_id": step_id, "performer": "<your name>",
                       "summary": "<what you did>"}),
            ),
        },
        WaitingFor::Review(gate) => {
            let record = state.gates.iter().rev().find(|record| record.gate == gate);
            let mut question = record.map_or_else(
                || "judge the step's work".to_owned(),
                |record| record.verdict.summary.clone(),
            );
            for reason in record.iter().flat_map(|record| &record.verdict.reasons).take(10) {
                question.push_str("; ");
                question.push_str(&reason_view(reason).line());
            }
            let validator = execution
                .validator(index, gate.kind)
                .map_or_else(String::new, |plugin| format!(" ({})", plugin.name));
            WaitingView {
                step_id: step_id.to_owned(),
                kind: "review".to_owned(),
                who: match &state.performer {
                    Some(performer) => format!("anybody but {performer}, who did the work"),
                    None => "a reviewer".to_owned(),
                },
                instructions: question,
                gate: Some(format!("{}{validator}", gate.kind.as_str())),
                next_call: NextCall::new(
                    "review_step",
                    json!({"execution_id": execution_id, "step_id": step_id, "reviewer": "<your name>",
                           "decision": "approved", "reason": "<why>"}),
                ),
            }
        }
        WaitingFor::Decision => {
            let machines: Vec<&str> = state
                .targets
                .iter()
                .filter(|target| target.phase == TargetPhase::Unknown)
                .map(|target| target.machine.as_str())
                .collect();
            WaitingView {
                step_id: step_id.to_owned(),
                kind: "decision".to_owned(),
                who: "somebody who can look".to_owned(),
                instructions: format!(
                    "the server stopped while this ran on {}, and it must not simply run again: find out \
                     whether it was done, then say succeeded, failed or run_again",
                    machines.join(", ")
                ),
                gate: None,
                next_call: NextCall::new(
                    "complete_step",
                    json!({"execution_id": execution_id, "step_id": step_id, "performer": "<your name>",
                           "decision": "succeeded", "summary": "<how you know>"}),
                ),
            }
        }
    };
    Some(view)
}

/// Returns a manual step's instructions, with what earlier steps left filled in.
fn instructions(execution: &Execution, index: usize) -> String {
    let step = &execution.definition().steps[index];
    let text = match &step.action {
        Action::Manual { instructions } if !instructions.trim().is_empty() => instructions,
        _ => return format!("do the work of step `{}` and report it", step.name),
    };
    if !text.contains("{{") && !text.contains("{%") {
        return text.clone();
    }
    // A template that does not work here is shown as it was written.
    render_text(text, &scope(execution, index)).unwrap_or_else(|_| text.clone())
}
