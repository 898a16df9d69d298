//! The targets of a step that acts: which to start, which to end, which to give up.

use super::super::{EventBody, Execution};
use super::{Effect, Next, World};
use crate::clock::Timestamp;
use crate::task::{Strategy, StrategyPlan, TargetView, plan_targets};

/// Ends the targets of a step: asks those that run to end, and gives them up when they do not.
pub(super) fn stop_targets(
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

pub(super) fn act(
    execution: &Execution,
    world: World<'_>,
    index: usize,
    held: bool,
    out: &mut Next,
) {
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
