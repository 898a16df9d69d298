//! How an attempt of a step begins: whether at all, on which machines, and over which list.

use serde_json::Value;

use super::super::{
    Action, EventBody, Execution, FailureCause, MAP_TARGETS_MAX, MapError, SkipReason, StepFailure,
    StepPhase, scope, test_condition,
};
use super::{MachineView, Next, World};
use crate::id::MachineId;
use crate::near::did_you_mean;
use crate::task::FailureClass;

/// Begins a step that waits for nothing, or says why it will not begin.
pub(super) fn begin_ready(execution: &Execution, world: World<'_>, index: usize, out: &mut Next) {
    let definition = &execution.definition.steps[index];
    if let Some(blocker) = execution.steps[index].blocked_by {
        out.record.push(EventBody::StepSkipped {
            step: definition.id.clone(),
            reason: SkipReason::Dependency { step: execution.definition.steps[blocker].id.clone() },
        });
        return;
    }
    if let Some(when) = &definition.when {
        match test_condition(when, &scope(execution, index)) {
            Ok(true) => {}
            Ok(false) => {
                out.record.push(EventBody::StepSkipped {
                    step: definition.id.clone(),
                    reason: SkipReason::Condition { when: when.clone() },
                });
                return;
            }
            Err(error) => {
                out.record.push(refuse(execution, index, "condition", error.to_string(), None));
                return;
            }
        }
    }
    begin(execution, world, index, out);
}

pub(super) fn begin(execution: &Execution, world: World<'_>, index: usize, out: &mut Next) {
    let definition = &execution.definition.steps[index];
    let state = &execution.steps[index];
    let started = |machines: Vec<MachineId>, items: Option<Vec<Value>>, resumes: bool| {
        let (step, attempt) = (definition.id.clone(), state.attempt + 1);
        EventBody::StepStarted { step, attempt, machines, items, resumes }
    };
    if takes_up_items(execution, index) {
        // What has ended well is done: the others run where they ran.
        out.record.push(started(state.targets.machines().to_vec(), None, true));
        return;
    }
    let machines = match &definition.action {
        Action::Manual { .. } => Ok(Vec::new()),
        Action::Tool(_) | Action::Pattern { .. } | Action::Workflow { .. } => {
            Ok(vec![MachineId::local()])
        }
        Action::Command(_) | Action::Http(_) => {
            let named = if definition.target_machines.is_empty() {
                &execution.head.target_machines
            } else {
                &definition.target_machines
            };
            resolve(named, world.machines)
        }
    };
    let first = state.phase == StepPhase::Waiting;
    let machines = match machines {
        Ok(machines) => machines,
        Err(message) if first => {
            out.record.push(refuse(execution, index, "unknown_machine", message, None));
            return;
        }
        // A machine that went away between two attempts: keep the earlier targets, the fabric will say.
        Err(_) => state.targets.machines().to_vec(),
    };
    let items = match &definition.map {
        None => None,
        // The list is evaluated once: it stands from then on.
        Some(_) if !state.targets.is_empty() => None,
        Some(_) if !first => Some(Vec::new()),
        Some(map) => {
            let targets = |items: Vec<Value>| match items.len() * machines.len() {
                0..=MAP_TARGETS_MAX => Ok(items),
                _ => Err(MapError::TooManyTargets { items: items.len(), machines: machines.len() }),
            };
            match map.items(&scope(execution, index)).and_then(targets) {
                Ok(items) => Some(items),
                Err(error) => {
                    let (message, hint) = (error.to_string(), error.hint().to_owned());
                    out.record.push(refuse(execution, index, error.code(), message, Some(hint)));
                    return;
                }
            }
        }
    };
    out.record.push(started(machines, items, false));
}

/// Returns whether the attempt to come goes on where the last one failed: some of a map's items did, and no gate refused
/// the whole.
pub(super) fn takes_up_items(execution: &Execution, index: usize) -> bool {
    let state = &execution.steps[index];
    let by_action =
        state.failure.as_ref().is_some_and(|failure| failure.cause == FailureCause::Action);
    state.targets.is_mapped() && by_action
}

fn refuse(
    execution: &Execution,
    index: usize,
    code: &str,
    message: String,
    hint: Option<String>,
) -> EventBody {
    EventBody::StepFailed {
        step: execution.definition.steps[index].id.clone(),
        attempt: execution.steps[index].attempt,
        failure: StepFailure {
            cause: FailureCause::Definition,
            class: FailureClass::Permanent,
            code: code.to_owned(),
            message,
            hint,
            machine: None,
        },
    }
}

/// Resolves what a definition names to machines, without repeating one: ids, `local`, `any`, `all`, `label:k=v`.
///
/// # Errors
///
/// Says which name is unknown and what is known.
pub fn resolve(named: &[String], machines: &[MachineView]) -> Result<Vec<MachineId>, String> {
    if named.is_empty() {
        return Ok(vec![MachineId::local()]);
    }
    let mut found: Vec<MachineId> = Vec::new();
    let mut canonical: Vec<&MachineId> = Vec::new();
    for name in named {
        let matching: Vec<&MachineView> = match name.as_str() {
            "all" => machines.iter().collect(),
            "any" => {
                let online = machines.iter().find(|machine| machine.online);
                online.or(machines.first()).into_iter().collect()
            }
            label if label.starts_with("label:") => {
                let (key, value) = label["label:".len()..]
                    .split_once('=')
                    .ok_or_else(|| format!("`{label}` is not of the form `label:key=value`"))?;
                machines
                    .iter()
                    .filter(|machine| machine.labels.get(key).is_some_and(|have| have == value))
                    .collect()
            }
            id => machines
                .iter()
                .filter(|machine| {
                    machine.id.as_str() == id
                        || machine.aliases.iter().any(|alias| alias.as_str() == id)
                })
                .collect(),
        };
        if matching.is_empty() {
            let known = machines
                .iter()
                .flat_map(|machine| machine.aliases.iter().chain([&machine.id]))
                .map(MachineId::as_str)
                .chain(["any", "all"]);
            let hint = did_you_mean(name, known).unwrap_or_default();
            return Err(format!("no machine is called `{name}`; {hint}"));
        }
        let group = matches!(name.as_str(), "all" | "any") || name.starts_with("label:");
        for machine in matching {
            if canonical.contains(&&machine.id) {
                continue;
            }
            canonical.push(&machine.id);
            // Called as its author calls it, so that what is shown is what was written.
            found.push(if group {
                machine.id.clone()
            } else {
                name.parse().unwrap_or_else(|_| machine.id.clone())
            });
        }
    }
    Ok(found)
}
