//! What becomes of the outputs of many machines when their step ends.

use serde_json::{Map, Value};

use super::StepState;

/// Returns the outputs of a step: those of its one machine, or one object per machine, or what somebody reported.
pub fn settle(state: &StepState) -> Map<String, Value> {
    let with_outcome: Vec<_> = state
        .targets
        .iter()
        .filter_map(|target| target.outcome.as_ref().map(|outcome| (&target.machine, outcome)))
        .collect();
    match with_outcome.as_slice() {
        [] => state.outputs.clone(),
        [(_, outcome)] => outcome.outputs.clone(),
        many => many
            .iter()
            .map(|(machine, outcome)| (machine.to_string(), Value::Object(outcome.outputs.clone())))
            .collect(),
    }
}
