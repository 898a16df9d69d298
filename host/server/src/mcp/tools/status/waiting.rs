//! What a step waits for, and the exact call that lets it go on.

use caelum_core::clock::Timestamp;
use caelum_core::evidence::ReviewDecision;
use caelum_core::workflow::{
    Action, Execution, GateRecord, TargetPhase, WaitingFor, render_text, scope,
};
use serde_json::json;

use super::super::answer::NextCall;
use super::build::reason_view;
use super::{ReviewNeeds, WaitingView};

/// How many pieces of work with an unknown outcome are named.
const UNKNOWN_NAMED_MAX: usize = 20;

/// Says what a step waits for, and the call that lets it go on.
pub(super) fn waiting(execution: &Execution, index: usize) -> Option<WaitingView> {
    let state = execution.step(index);
    let step = &execution.definition().steps[index];
    let call = |tool: &str, rest: serde_json::Value| {
        let mut arguments =
            json!({"execution_id": execution.id().as_str(), "step_id": step.id.as_str()});
        if let (Some(arguments), serde_json::Value::Object(rest)) =
            (arguments.as_object_mut(), rest)
        {
            arguments.extend(rest);
        }
        NextCall::new(tool, arguments)
    };
    let until = deadline(execution, index);
    let waiting =
        |kind: &str, who: String, instructions: String, next_call: NextCall| WaitingView {
            step_id: step.id.to_string(),
            kind: kind.to_owned(),
            who,
            instructions,
            gate: None,
            review: None,
            since: None,
            execution_id: None,
            deadline: until.map(|(at, _)| at.to_string()),
            on_timeout: until.map(|(_, then)| then.to_owned()),
            next_call,
        };
    Some(match state.waiting_for()? {
        WaitingFor::Work => waiting(
            "work",
            "whoever does it".to_owned(),
            instructions(execution, index),
            call("complete_step", json!({"performer": "<your name>", "summary": "<what you did>"})),
        ),
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
            let answer =
                json!({"reviewer": "<your name>", "decision": "approved", "reason": "<why>"});
            let asked = call("review_step", answer);
            WaitingView {
                gate: Some(format!("{}{validator}", gate.kind.as_str())),
                review: Some(needs(execution, index, record)),
                since: state.review_since.map(|since| since.to_string()),
                ..waiting("review", reviewers(execution, index), question, asked)
            }
        }
        WaitingFor::Decision => {
            let machines: Vec<String> = state
                .targets
                .iter()
                .filter(|target| target.phase == TargetPhase::Unknown)
                .take(UNKNOWN_NAMED_MAX)
                .map(|target| target.name())
                .collect();
            let question = format!(
                "the server stopped while this ran on {}, and it must not simply run again: find out whether it was \
                 done, then say succeeded, failed or run_again",
                machines.join(", ")
            );
            let answer = json!({"performer": "<your name>", "decision": "succeeded", "summary": "<how you know>"});
            let asked = call("complete_step", answer);
            waiting("decision", "somebody who can look".to_owned(), question, asked)
        }
    })
}

/// Returns until when a step waits, and what happens then: whichever of its limits comes first.
fn deadline(execution: &Execution, index: usize) -> Option<(Timestamp, &'static str)> {
    let rules = execution.definition().steps[index].review.as_ref();
    let then = rules.map_or("reject", |rules| rules.on_timeout.as_str());
    let review = execution.review_until(index).map(|at| (at, then));
    let whole = execution.expires_at(index).map(|at| (at, "fail"));
    [review, whole].into_iter().flatten().min_by_key(|(at, _)| *at)
}

/// Says who may review a step.
fn reviewers(execution: &Execution, index: usize) -> String {
    let state = execution.step(index);
    let rules = execution.definition().steps[index].review.as_ref();
    let named = rules.map(|rules| rules.allowed(state.escalated)).unwrap_or_default();
    let mut who = if named.is_empty() { "anybody".to_owned() } else { named.join(", ") };
    match &state.performer {
        Some(performer) => who.push_str(&format!(" but {performer}, who did the work")),
        None if named.is_empty() => who = "a reviewer".to_owned(),
        None => {}
    }
    who
}

/// Says what a review needs: as the gate's validator counted when it judged last, or by the step's own rules.
fn needs(execution: &Execution, index: usize, record: Option<&GateRecord>) -> ReviewNeeds {
    let state = execution.step(index);
    let rules = execution.definition().steps[index].review.clone().unwrap_or_default();
    let counted = |name: &str| record.and_then(|record| record.verdict.metrics.get(name)?.as_u64());
    let approved = state.reviews.iter().filter(|one| one.decision == ReviewDecision::Approved);
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    ReviewNeeds {
        approvals_given: counted("approvals").unwrap_or(approved.count() as u64),
        approvals_needed: counted("approvals_wanted").or(rules.approvals.map(u64::from)),
        reviewers: owned(rules.allowed(state.escalated)),
        reviewed_by: state.reviews.iter().map(|review| review.reviewer.clone()).collect(),
        escalated: state.escalated,
        escalate_to: rules.escalate_to,
    }
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
