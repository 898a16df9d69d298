//! Calls: what was accepted happened once, what was refused did not happen, what nobody answered happened at most once.

use std::collections::HashMap;

use caelum_core::workflow::EventBody;

use super::Kept;
use super::index::{Call, Index};
use crate::faults::Faults;
use crate::witness::{Asked, Heard};

pub(super) fn check(index: &Index, kept: &Kept, faults: &Faults) {
    let mut actors: HashMap<(&str, &str), usize> = HashMap::new();
    let mut runs: HashMap<&str, Vec<&str>> = HashMap::new();
    for (id, (execution, events)) in kept {
        for event in events {
            if let Some(actor) = actor(&event.body) {
                *actors.entry((id, actor)).or_default() += 1;
            }
        }
        let head = execution.head();
        if let Some(run) = head.parameters.get("run").and_then(|run| run.as_str())
            && head.parent.is_none()
        {
            runs.entry(run).or_default().push(id);
        }
    }
    for (by, call) in &index.calls {
        if call.asked == Asked::Start {
            started(by, call, kept, runs.get(by.as_str()).map_or(&[], Vec::as_slice), faults);
            continue;
        }
        let times =
            actors.get(&(call.execution.as_str(), by.as_str())).copied().unwrap_or_default();
        let right = match (call.heard, call.asked) {
            (Heard::Refused, _) => times == 0,
            // One decision may be about several machines.
            (Heard::Accepted, Asked::Decide | Asked::RunAgain) => times >= 1,
            (Heard::Accepted, Asked::Complete | Asked::Review | Asked::Retry) => times == 1,
            // It may have been so already, or nobody may have answered.
            _ => times <= 1,
        };
        faults.unless(right, || format!("{by}: {call:?}; it happened {times} times"));
        if (call.asked, call.heard) == (Asked::Cancel, Heard::Accepted) {
            let cancelled = kept.get(&call.execution).is_some_and(|(_, events)| {
                events.iter().any(|event| matches!(event.body, EventBody::CancelRequested { .. }))
            });
            faults.unless(cancelled, || format!("{by}: {call:?}; it was not cancelled"));
        }
    }
}

/// One key, one execution: the one that the caller was told of.
fn started(run: &str, call: &Call, kept: &Kept, made: &[&str], faults: &Faults) {
    if call.heard != Heard::Accepted {
        return faults.unless(made.len() <= 1, || format!("key {run} started {made:?}"));
    }
    let Some((execution, _)) = kept.get(&call.execution) else {
        return faults.add(format!("{run} was told of {}; it is gone", call.execution));
    };
    // Groups of tasks have no parameters.
    if execution.head().parameters.contains_key("run") {
        faults.unless(made == [call.execution.as_str()], || {
            format!("key {run} was told of {} and started {made:?}", call.execution)
        });
    }
}

/// Returns who caused an event, where somebody did.
fn actor(body: &EventBody) -> Option<&str> {
    match body {
        EventBody::WorkReported { report, .. } => Some(&report.performer),
        EventBody::ReviewGiven { review, .. } => Some(&review.reviewer),
        EventBody::DecisionGiven { by, .. }
        | EventBody::Paused { by, .. }
        | EventBody::Resumed { by }
        | EventBody::CancelRequested { by, .. }
        | EventBody::RetryRequested { by, .. } => Some(by),
        _ => None,
    }
}
