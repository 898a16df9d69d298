//! What should be done now: facts to record first, then effects that should be under way. Decides, and does nothing.

mod acting;
mod begin;
mod settling;

use std::collections::BTreeMap;
use std::time::Duration;

use self::acting::{act, stop_targets};
use self::begin::{begin, begin_ready};
use self::settling::settle_step;
use super::step_state::{Gate, GateTiming};
use super::{Event, EventBody, Execution, IllegalEvent, OnFailure, StepPhase};
use crate::clock::Timestamp;
use crate::id::MachineId;

pub use self::begin::resolve;
pub(super) use self::settling::retry_of_item;

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

impl Execution {
    /// Returns whether a gate is judged before the action, for views.
    pub fn judges_before(&self, index: usize) -> bool {
        !self.gates(index, GateTiming::Before).is_empty()
    }
}
