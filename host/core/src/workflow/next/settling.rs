//! What becomes of a step, or of one item of a list, that has ended: its end, or another attempt.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde_json::{Map, Value};

use super::super::{
    EventBody, Execution, FailureCause, MAP_OUTPUTS_BYTES_MAX, RetryPolicy, StepFailure, settle,
};
use super::begin::takes_up_items;
use super::{Next, World};
use crate::clock::Timestamp;
use crate::task::{FailureClass, OutcomeStatus, TaskOutcome};

pub(super) fn settle_step(execution: &Execution, world: World<'_>, index: usize, out: &mut Next) {
    let definition = &execution.definition.steps[index];
    let state = &execution.steps[index];
    let step = definition.id.clone();
    let attempt = state.attempt;
    let Some(failure) = state.failure.clone() else {
        let map = execution.is_map(index);
        let outputs = settle(state, map);
        out.record.push(if map && too_large(&outputs) {
            let failure = outputs_too_large();
            EventBody::StepFailed { step, attempt, failure }
        } else {
            EventBody::StepCompleted { step, attempt, outputs }
        });
        return;
    };
    let policy = policy(execution, index);
    let used = attempt - state.attempts_before;
    // Items have their attempts behind them when they fail; a gate that refuses the whole is another matter.
    let of_items = takes_up_items(execution, index);
    let again = state.expired_at.is_none() && !of_items && policy.on.contains(&failure.class);
    out.record.push(if again && used < policy.attempts {
        let pause = pause(&policy, used, (execution.id().as_str(), step.as_str(), attempt));
        EventBody::RetryScheduled {
            step,
            attempt: attempt + 1,
            not_before: world.now.plus(pause),
            failure,
        }
    } else {
        EventBody::StepFailed { step, attempt, failure }
    });
}

fn policy(execution: &Execution, index: usize) -> Cow<'_, RetryPolicy> {
    match &execution.definition.steps[index].retry {
        Some(policy) => Cow::Borrowed(policy),
        None => Cow::Owned(RetryPolicy::default()),
    }
}

fn too_large(outputs: &Map<String, Value>) -> bool {
    serde_json::to_string(outputs).map_or(true, |text| text.len() > MAP_OUTPUTS_BYTES_MAX)
}

fn outputs_too_large() -> StepFailure {
    StepFailure {
        cause: FailureCause::Action,
        class: FailureClass::Permanent,
        code: "outputs_too_large".to_owned(),
        message: format!(
            "the outputs of all items have more than {MAP_OUTPUTS_BYTES_MAX} bytes together"
        ),
        hint: Some("let an item put out little: a number, a digest, the name of a file".to_owned()),
        machine: None,
    }
}

/// Returns when an item of a map that has ended so is handed out again; nothing when this is its end.
///
/// Each item has attempts of its own, counted by the step's policy, while the others go on.
pub(in super::super) fn retry_of_item(
    execution: &Execution,
    (index, target): (usize, usize),
    outcome: &TaskOutcome,
    now: Timestamp,
) -> Option<Timestamp> {
    let state = &execution.steps[index];
    let row = &state.targets[target];
    let item = row.item_index()?;
    let failure = outcome.failure.as_ref().filter(|_| !outcome.succeeded())?;
    let ending = execution.head.cancel.is_some()
        || state.expired_at.is_some()
        || outcome.status == OutcomeStatus::Cancelled;
    let policy = policy(execution, index);
    let used = row.retries + 1;
    if ending || !policy.on.contains(&failure.class) || used >= policy.attempts {
        return None;
    }
    let step = execution.definition.steps[index].id.as_str();
    let name = format!("{step}/{}/{item}", row.machine);
    Some(now.plus(pause(&policy, used, (execution.id().as_str(), &name, used))))
}

/// Returns the pause behind the attempt `used`, drawn from `seed` so that the decision needs no randomness.
fn pause(policy: &RetryPolicy, used: u32, seed: (&str, &str, u32)) -> Duration {
    let exponent = i32::try_from(used.saturating_sub(1)).unwrap_or(i32::MAX);
    let longest = policy.initial_ms as f64 * policy.factor.powi(exponent);
    let longest = longest.min(policy.max_ms as f64);
    let part = if policy.jitter {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        (hasher.finish() % 1_000) as f64 / 1_000.0
    } else {
        1.0
    };
    Duration::from_secs_f64((longest * part / 1_000.0).clamp(0.0, 1e9))
}
