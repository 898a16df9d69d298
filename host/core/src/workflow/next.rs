//! What should be done now: facts to record first, then effects that should be under way. Decides, and does nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde_json::{Map, Value};

use super::execution::{Gate, GateTiming};
use super::{
    Action, Event, EventBody, Execution, FailureCause, IllegalEvent, MAP_OUTPUTS_BYTES_MAX,
    MAP_TARGETS_MAX, MapError, OnFailure, RetryPolicy, SkipReason, StepFailure, StepPhase, scope,
    settle, test_condition,
};
use crate::clock::Timestamp;
use crate::id::MachineId;
use crate::near::did_you_mean;
use crate::task::{
    FailureClass, OutcomeStatus, Strategy, StrategyPlan, TargetView, TaskOutcome, plan_targets,
};

/// A machine as the decision sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineView {
    /// Its name.
    pub id: MachineId,
    /// Other names it goes by, such as its host name.
    pub aliases: Vec<MachineId>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether work can be handed to it now.
    pub online: bool,
}

/// What the decision needs to know besides the execution itself.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// The present moment.
    pub now: Timestamp,
    /// The machines that exist.
    pub machines: &'a [MachineView],
    /// How long cancelled work may take to report its end before it counts as lost.
    pub cancel_wait: Duration,
}

/// Something that should be under way. Effects are levels, not edges: the same effect is wanted again and again until
/// an event says that it is over, so whoever performs them compares with what is under way already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Hand a step's work to one of its targets and report how it ended.
    Run {
        /// The step.
        step: usize,
        /// The attempt.
        attempt: u32,
        /// Position of the target.
        target: usize,
        /// The delivery.
        epoch: u32,
    },
    /// Ask a target to end its work; it still reports.
    Stop {
        /// The step.
        step: usize,
        /// The attempt.
        attempt: u32,
        /// Position of the target.
        target: usize,
        /// The delivery.
        epoch: u32,
    },
    /// Judge a gate.
    Judge {
        /// The step.
        step: usize,
        /// The attempt.
        attempt: u32,
        /// The gate.
        gate: Gate,
        /// How many reviews it was given: one more means another judgement.
        reviews: usize,
    },
}

/// What should happen now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Next {
    /// Facts to record and apply; then ask again.
    pub record: Vec<EventBody>,
    /// What should be under way; meaningful when there is nothing to record.
    pub effects: Vec<Effect>,
    /// When to ask again although nothing happened.
    pub wake_at: Option<Timestamp>,
}

impl Next {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |other| other.min(at)));
    }
}

/// Decides what should happen now.
///
/// Total: for every execution that has not ended it names something to record, something under way, a time to ask
/// again, or somebody to wait for.
pub fn next(execution: &Execution, world: World<'_>) -> Next {
    let mut out = Next::default();
    if execution.head.end.is_some() {
        return out;
    }
    if execution.head.cancel.is_some() {
        cancel(execution, world, &mut out);
        return out;
    }
    let held = execution.head.paused.is_some();
    let mut moving = false;
    for &index in &execution.open {
        if expire(execution, world, index, &mut out) {
            moving = true;
            continue;
        }
        match execution.steps[index].phase {
            StepPhase::RetryWait { not_before } => {
                if held || execution.head.stopping {
                } else if not_before <= world.now {
                    begin(execution, world, index, &mut out);
                } else {
                    out.wake(not_before);
                    moving = true;
                }
            }
            StepPhase::Judging { gate } => {
                moving = true;
                out.effects.push(Effect::Judge {
                    step: index,
                    attempt: execution.steps[index].attempt,
                    gate,
                    reviews: execution.steps[index].reviews_given,
                });
            }
            StepPhase::Acting | StepPhase::AwaitingDecision => {
                moving |= execution.steps[index].phase == StepPhase::Acting;
                act(execution, world, index, held, &mut out);
            }
            StepPhase::AwaitingReview { gate } => {
                moving |= wait_for_reviews(execution, world, index, gate, &mut out);
            }
            StepPhase::Settled => {
                moving = true;
                settle_step(execution, world, index, &mut out);
            }
            _ => {}
        }
        if stops(execution, &out) {
            return out;
        }
    }
    if !held && !execution.head.stopping {
        for &index in &execution.ready {
            moving = true;
            begin_ready(execution, world, index, &mut out);
            if stops(execution, &out) {
                return out;
            }
        }
    }
    if out.record.is_empty() && !moving {
        finish(execution, &mut out);
    }
    out
}

/// Whether the last thing to record keeps anything new from beginning: then nothing that was decided before it is known
/// may come behind it.
fn stops(execution: &Execution, out: &Next) -> bool {
    let Some(EventBody::StepFailed { step, .. }) = out.record.last() else { return false };
    execution
        .step_index(step.as_str())
        .is_some_and(|index| execution.definition.steps[index].on_failure == OnFailure::Stop)
}

/// Records, applies and asks again until there is nothing to record; returns the events in order and what is then
/// wanted.
///
/// # Errors
///
/// Returns the illegal event when a decision does not fit the state it was made from, which is a bug.
pub fn advance(
    execution: &mut Execution,
    world: World<'_>,
) -> Result<(Vec<Event>, Next), IllegalEvent> {
    let mut events = Vec::new();
    loop {
        let wanted = next(execution, world);
        if wanted.record.is_empty() {
            return Ok((events, wanted));
        }
        for body in wanted.record {
            let event = Event { seq: execution.head.events, at: world.now, body };
            execution.apply(&event)?;
            events.push(event);
        }
    }
}

fn finish(execution: &Execution, out: &mut Next) {
    let all_ended = execution.ended == execution.steps.len();
    if !all_ended && !execution.head.stopping {
        return;
    }
    let failed: Vec<_> = execution
        .failed_steps()
        .map(|index| execution.definition.steps[index].id.clone())
        .collect();
    out.record.push(if failed.is_empty() {
        EventBody::Completed
    } else {
        EventBody::Failed { steps: failed }
    });
}

fn cancel(execution: &Execution, world: World<'_>, out: &mut Next) {
    let Some((asked_at, ..)) = &execution.head.cancel else { return };
    let deadline = asked_at.plus(world.cancel_wait);
    let mut running = false;
    for &index in &execution.open {
        running |= stop_targets(execution, world, index, (deadline, "cancel_timeout"), out);
    }
    if !running {
        out.record.push(EventBody::Cancelled);
    }
}

/// Begins a step that waits for nothing, or says why it will not begin.
fn begin_ready(execution: &Execution, world: World<'_>, index: usize, out: &mut Next) {
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

fn begin(execution: &Execution, world: World<'_>, index: usize, out: &mut Next) {
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
fn takes_up_items(execution: &Execution, index: usize) -> bool {
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

/// Records that a step has taken longer than it may, once; true when it did.
fn expire(execution: &Execution, world: World<'_>, index: usize, out: &mut Next) -> bool {
    let state = &execution.steps[index];
    if state.expired_at.is_some() || state.phase == StepPhase::Settled {
        return false;
    }
    let Some(moment) = execution.expires_at(index) else { return false };
    if world.now < moment {
        out.wake(moment);
        return false;
    }
    let definition = &execution.definition.steps[index];
    out.record.push(EventBody::StepTimedOut {
        step: definition.id.clone(),
        attempt: state.attempt,
        timeout_s: definition.total_timeout_s.unwrap_or_default(),
    });
    true
}

/// Records that nobody decided about a gate by its deadline; true when that is so.
fn wait_for_reviews(
    execution: &Execution,
    world: World<'_>,
    index: usize,
    gate: Gate,
    out: &mut Next,
) -> bool {
    let Some(moment) = execution.review_until(index) else { return false };
    if world.now < moment {
        out.wake(moment);
        return false;
    }
    let definition = &execution.definition.steps[index];
    out.record.push(EventBody::ReviewTimedOut {
        step: definition.id.clone(),
        attempt: execution.steps[index].attempt,
        gate,
        action: definition.review.as_ref().map(|rules| rules.on_timeout).unwrap_or_default(),
    });
    true
}

/// Ends the targets of a step: asks those that run to end, and gives them up when they do not.
fn stop_targets(
    execution: &Execution,
    world: World<'_>,
    index: usize,
    (deadline, reason): (Timestamp, &str),
    out: &mut Next,
) -> bool {
    let mut running = false;
    for target in execution.steps[index].targets.running() {
        running = true;
        stop_target(execution, world, (index, target), (deadline, reason), out);
    }
    running
}

/// Ends one running target: asks it to end, and gives it up when it does not.
fn stop_target(
    execution: &Execution,
    world: World<'_>,
    (index, target): (usize, usize),
    (deadline, reason): (Timestamp, &str),
    out: &mut Next,
) {
    let state = &execution.steps[index];
    let row = &state.targets[target];
    let (attempt, epoch) = (state.attempt, row.epoch);
    if world.now >= deadline {
        out.record.push(EventBody::TargetLost {
            step: execution.definition.steps[index].id.clone(),
            attempt,
            machine: row.machine.clone(),
            item: row.item_index(),
            epoch,
            reason: reason.to_owned(),
        });
    } else {
        out.effects.push(Effect::Stop { step: index, attempt, target, epoch });
        out.wake(deadline);
    }
}

fn act(execution: &Execution, world: World<'_>, index: usize, held: bool, out: &mut Next) {
    let definition = &execution.definition.steps[index];
    let state = &execution.steps[index];
    if let Some(expired_at) = state.expired_at {
        let deadline = expired_at.plus(world.cancel_wait);
        stop_targets(execution, world, index, (deadline, "total_timeout"), out);
        return;
    }
    let plan = plan_step(execution, index, world.now);
    if !plan.give_up.is_empty() {
        let given_up = || plan.give_up.iter().map(|target| &state.targets[*target]);
        out.record.push(EventBody::TargetsGivenUp {
            step: definition.id.clone(),
            attempt: state.attempt,
            machines: given_up().map(|target| target.machine.clone()).collect(),
            items: given_up().filter_map(|target| target.item_index()).collect(),
        });
    }
    if !held {
        for target in plan.start {
            let row = &state.targets[target];
            out.record.push(EventBody::TargetStarted {
                step: definition.id.clone(),
                attempt: state.attempt,
                machine: row.machine.clone(),
                item: row.item_index(),
                epoch: row.epoch + 1,
            });
        }
        if let Some((moment, _)) = state.targets.resting().find(|(moment, _)| *moment > world.now) {
            out.wake(moment);
        }
    }
    for target in state.targets.running() {
        let row = &state.targets[target];
        if let Some(asked_at) = state.cancelled_machines.get(&row.machine) {
            let deadline = asked_at.plus(world.cancel_wait);
            stop_target(execution, world, (index, target), (deadline, "cancel_timeout"), out);
            continue;
        }
        out.effects.push(Effect::Run {
            step: index,
            attempt: state.attempt,
            target,
            epoch: row.epoch,
        });
    }
}

/// Plans the targets of a step by its strategy, and where it is a map, within its width.
fn plan_step(execution: &Execution, index: usize, now: Timestamp) -> StrategyPlan {
    let definition = &execution.definition.steps[index];
    let targets = &execution.steps[index].targets;
    let Some(map) = &definition.map else {
        return plan_targets(&definition.strategy, targets.views());
    };
    let machines = targets.machines().len().max(1);
    let width = map.max.max(1) as usize;
    // How many targets may start by the strategy's own width; that of the map counts items.
    let (strategy, mut places) = match &definition.strategy {
        Strategy::Parallel { max } => {
            let most = max.map_or(usize::MAX, |max| max.max(1) as usize);
            let out = targets.tally().running + targets.tally().unknown;
            // One machine: items and targets are the same, so the planner has to look no further.
            let all = if machines == 1 { most.min(width) } else { targets.len().max(1) };
            let max = Some(u32::try_from(all).unwrap_or(u32::MAX));
            (Strategy::Parallel { max }, most.saturating_sub(out))
        }
        sequential => (sequential.clone(), usize::MAX),
    };
    let due = targets.resting().take_while(|(moment, _)| *moment <= now);
    let due: Vec<usize> = due.map(|(_, target)| target).collect();
    let mut plan = if due.is_empty() {
        plan_targets(&strategy, targets.views())
    } else {
        let mut views = targets.views().to_vec();
        for target in due {
            views[target] = TargetView::Waiting;
        }
        plan_targets(&strategy, &views)
    };
    let mut items = targets.items_out();
    plan.start.retain(|target| {
        let item = target / machines;
        let fits = places > 0 && (items.contains(&item) || items.len() < width);
        if fits {
            places -= 1;
            items.insert(item);
        }
        fits
    });
    plan
}

fn settle_step(execution: &Execution, world: World<'_>, index: usize, out: &mut Next) {
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
pub(super) fn retry_of_item(
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

impl Execution {
    /// Returns whether a gate is judged before the action, for views.
    pub fn judges_before(&self, index: usize) -> bool {
        !self.gates(index, GateTiming::Before).is_empty()
    }
}
