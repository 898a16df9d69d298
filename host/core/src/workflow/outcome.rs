//! What becomes of the outputs of many machines and many items when their step ends.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{StepState, TargetState};

/// The output of a map that holds those of its items, in their order.
pub const ITEMS_OUTPUT: &str = "items";

/// Returns the outputs of a step: those of its one machine, or one object per machine, or what somebody reported. A map
/// gives one list, `items`, with what any other step would give at each place.
pub fn settle(state: &StepState, map: bool) -> Map<String, Value> {
    if !map {
        let targets: Vec<&Arc<TargetState>> = state.targets.iter().collect();
        return of_machines(&targets).unwrap_or_else(|| state.outputs.clone());
    }
    let targets: Vec<&Arc<TargetState>> = state.targets.iter().collect();
    let machines = state.targets.machines().len().max(1);
    let items: Vec<Value> = targets
        .chunks(machines)
        .map(|item| Value::Object(of_machines(item).unwrap_or_default()))
        .collect();
    Map::from_iter([(ITEMS_OUTPUT.to_owned(), Value::Array(items))])
}

/// Returns the outputs of one piece of work on its machines; nothing when none has told any.
fn of_machines(targets: &[&Arc<TargetState>]) -> Option<Map<String, Value>> {
    let with_outcome: Vec<_> = targets
        .iter()
        .filter_map(|target| target.outcome.as_ref().map(|outcome| (&target.machine, outcome)))
        .collect();
    match with_outcome.as_slice() {
        [] => None,
        [(_, outcome)] => Some(outcome.outputs.clone()),
        many => Some(
            many.iter()
                .map(|(machine, outcome)| {
                    (machine.to_string(), Value::Object(outcome.outputs.clone()))
                })
                .collect(),
        ),
    }
}
