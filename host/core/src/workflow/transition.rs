//! How events change an execution: the whole transition table. What is not in it is an illegal event.

mod failure;
mod moves;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::execution::ExecutionHead;
use super::step_state::{Gate, GateTiming};
use super::targets::Targets;
use super::template::Shown;
use super::{
    Event, EventBody, Execution, ExecutionStatus, FailureCause, Graph, SkipReason, Started,
    StepFailure, StepPhase, StepState, TargetPhase, TargetState, WorkflowDefinition,
};
use crate::clock::Timestamp;
use crate::id::{ExecutionId, MachineId, StepId};
use crate::task::{FailureClass, OutcomeStatus};

/// How often nobody may report before a target counts as failed. Losses of infrastructure are counted apart from
/// attempts, so that a crash does not use up what the author allowed for failures (ENGINES 6.3).
pub(super) const LOSSES_MAX: u32 = 5;

/// An event that cannot happen in the present state: a bug, or rows and events that do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} (`{kind}`) cannot happen: {why}")]
pub struct IllegalEvent {
    /// Its position.
    pub seq: u64,
    /// Its kind.
    pub kind: &'static str,
    /// What forbids it.
    pub why: String,
}

impl Execution {
    /// Builds an execution from its first event.
    pub fn begin(
        id: ExecutionId,
        definition: Arc<WorkflowDefinition>,
        graph: Arc<Graph>,
        started: Started,
        at: Timestamp,
    ) -> Self {
        let head = ExecutionHead {
            id,
            workflow_id: started.workflow_id,
            revision: started.revision,
            parameters: started.parameters,
            target_machines: started.target_machines,
            plugins: started.plugins,
            started_by: started.by,
            parent: started.parent,
            started_at: at,
            ended_at: None,
            end: None,
            paused: None,
            cancel: None,
            stopping: false,
            events: 1,
        };
        Execution::from_rows(definition, graph, head, BTreeMap::new(), BTreeMap::new())
    }

    /// Folds all events of an execution into its state.
    ///
    /// # Errors
    ///
    /// Names the first event that cannot happen.
    pub fn fold(
        id: ExecutionId,
        definition: Arc<WorkflowDefinition>,
        graph: Arc<Graph>,
        events: &[Event],
    ) -> Result<Self, IllegalEvent> {
        let Some((first, rest)) = events.split_first() else {
            return Err(IllegalEvent {
                seq: 0,
                kind: "none",
                why: "there are no events".to_owned(),
            });
        };
        let EventBody::Started(started) = &first.body else {
            return Err(IllegalEvent {
                seq: first.seq,
                kind: first.body.kind(),
                why: "the first event is `started`".to_owned(),
            });
        };
        let mut execution = Execution::begin(id, definition, graph, started.clone(), first.at);
        for event in rest {
            execution.apply(event)?;
        }
        Ok(execution)
    }

    /// Changes the state by one event.
    ///
    /// # Errors
    ///
    /// Says why the event cannot happen; the state is then as it was.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        let illegal = |why: String| IllegalEvent { seq: event.seq, kind: event.body.kind(), why };
        if event.seq != self.head.events {
            return Err(illegal(format!("event {} is next", self.head.events)));
        }
        if let Some(end) = self.head.end
            && !matches!(
                event.body,
                EventBody::LateReport { .. } | EventBody::RetryRequested { .. }
            )
        {
            return Err(illegal(format!("the execution is {} already", end.as_str())));
        }
        self.change(event).map_err(illegal)?;
        self.head.events += 1;
        Ok(())
    }

    fn change(&mut self, event: &Event) -> Result<(), String> {
        let at = event.at;
        match &event.body {
            EventBody::Started(_) => Err("the execution has started already".to_owned()),
            EventBody::StepStarted { step, attempt, machines, items, resumes } => {
                let index = self.find(step)?;
                let begins = match self.steps[index].phase {
                    StepPhase::Waiting => self.steps[index].dependencies_left == 0,
                    StepPhase::RetryWait { .. } => true,
                    _ => false,
                };
                if !begins || *attempt != self.steps[index].attempt + 1 {
                    return Err(self.stands(index));
                }
                let targets = self.new_targets(index, machines, items.as_deref(), *resumes);
                let state = self.touch(index);
                state.attempt = *attempt;
                state.started_at.get_or_insert(at);
                state.attempt_started_at = Some(at);
                state.ended_at = None;
                state.gates.clear();
                state.reviews.clear();
                state.reviews_given = 0;
                state.report = None;
                state.performer = None;
                state.outputs.clear();
                state.targets = targets;
                state.failure = None;
                state.expired_at = None;
                state.review_since = None;
                state.escalated = false;
                if *attempt == state.attempts_before + 1 {
                    state.counting_since = Some(at);
                }
                self.dirty.new_targets.insert(index);
                self.ready.remove(&index);
                self.open.insert(index);
                self.go_on(index, GateTiming::Before);
                Ok(())
            }
            EventBody::TargetStarted { step, attempt, machine, item, epoch } => {
                let (index, target) = self.find_target(step, *attempt, machine, *item)?;
                let state = &self.steps[index].targets[target];
                let acting = matches!(
                    self.steps[index].phase,
                    StepPhase::Acting | StepPhase::AwaitingDecision
                );
                if !acting || state.phase != TargetPhase::Waiting || *epoch != state.epoch + 1 {
                    return Err(self.stands(index));
                }
                self.change_target(index, target, |state| {
                    state.phase = TargetPhase::Running;
                    state.epoch = *epoch;
                    state.started_at = Some(at);
                    state.not_before = None;
                    state.outcome = None;
                });
                self.targets_changed(index);
                Ok(())
            }
            EventBody::TargetFinished {
                step,
                attempt,
                machine,
                item,
                epoch,
                outcome,
                retry_at,
            } => {
                let (index, target) = self.find_target(step, *attempt, machine, *item)?;
                let state = &self.steps[index].targets[target];
                let legal = matches!(state.phase, TargetPhase::Running | TargetPhase::Unknown);
                let again_without_item = retry_at.is_some() && item.is_none();
                if !legal || state.epoch != *epoch || again_without_item {
                    return Err(self.stands(index));
                }
                self.change_target(index, target, |state| {
                    state.phase = match outcome.status {
                        _ if retry_at.is_some() => TargetPhase::Waiting,
                        OutcomeStatus::Succeeded => TargetPhase::Succeeded,
                        OutcomeStatus::Cancelled => TargetPhase::Cancelled,
                        _ => TargetPhase::Failed,
                    };
                    state.outcome = Some(outcome.clone());
                    if retry_at.is_some() {
                        state.not_before = *retry_at;
                        state.begun_anew += 1;
                        state.retries += 1;
                    }
                });
                self.targets_changed(index);
                Ok(())
            }
            EventBody::TargetLost { step, attempt, machine, item, epoch, .. } => {
                let (index, target) = self.find_target(step, *attempt, machine, *item)?;
                let state = &self.steps[index].targets[target];
                if state.phase != TargetPhase::Running || state.epoch != *epoch {
                    return Err(self.stands(index));
                }
                let idempotent = self.definition.steps[index].idempotent;
                let ending = self.head.cancel.is_some()
                    || self.steps[index].expired_at.is_some()
                    || self.steps[index].cancelled_machines.contains_key(machine);
                self.change_target(index, target, |state| {
                    state.losses += 1;
                    state.phase = if ending {
                        TargetPhase::Cancelled
                    } else if !idempotent {
                        TargetPhase::Unknown
                    } else if state.losses > LOSSES_MAX {
                        TargetPhase::Failed
                    } else {
                        TargetPhase::Waiting
                    };
                });
                self.targets_changed(index);
                Ok(())
            }
            EventBody::TargetsGivenUp { step, attempt, machines, items } => {
                let index = self.find_attempt(step, *attempt)?;
                let named = machines.iter().enumerate();
                let given_up: Vec<usize> = named
                    .map(|(place, machine)| {
                        let item = items.get(place).copied();
                        self.find_target(step, *attempt, machine, item).map(|(_, target)| target)
                    })
                    .collect::<Result<_, _>>()?;
                let targets = &self.steps[index].targets;
                if given_up.iter().any(|target| targets[*target].phase != TargetPhase::Waiting) {
                    return Err(self.stands(index));
                }
                for target in given_up {
                    self.change_target(index, target, |state| state.phase = TargetPhase::GivenUp);
                }
                self.targets_changed(index);
                Ok(())
            }
            EventBody::TargetCancelRequested { step, attempt, machine, .. } => {
                let (index, target) = self.find_target(step, *attempt, machine, None)?;
                if !self.may_cancel(index, target) {
                    return Err(self.stands(index));
                }
                self.touch(index).cancelled_machines.insert(machine.clone(), at);
                let begun = self.steps[index].targets[target].phase;
                if matches!(begun, TargetPhase::Waiting | TargetPhase::Unknown) {
                    self.change_target(index, target, |state| state.phase = TargetPhase::Cancelled);
                }
                self.targets_changed(index);
                Ok(())
            }
            EventBody::LateReport { .. } => Ok(()),
            EventBody::WorkReported { step, attempt, report } => {
                let index = self.find_attempt(step, *attempt)?;
                if self.steps[index].phase != StepPhase::AwaitingWork {
                    return Err(self.stands(index));
                }
                let state = self.touch(index);
                state.performer = Some(report.performer.clone());
                state.outputs = report.outputs.clone();
                if !report.succeeded {
                    state.failure = Some(StepFailure {
                        cause: FailureCause::Action,
                        class: FailureClass::Exit,
                        code: "reported_failed".to_owned(),
                        message: format!("{} reported: {}", report.performer, report.summary),
                        hint: None,
                        machine: None,
                    });
                }
                state.report = Some(report.clone());
                self.go_on(index, GateTiming::After);
                Ok(())
            }
            EventBody::GateJudged { step, attempt, record } => {
                let index = self.find_attempt(step, *attempt)?;
                if self.steps[index].phase != (StepPhase::Judging { gate: record.gate }) {
                    return Err(self.stands(index));
                }
                self.judged(index, record, at);
                Ok(())
            }
            EventBody::ReviewGiven { step, attempt, gate, review } => {
                let index = self.find_attempt(step, *attempt)?;
                if self.reviewed_gate(index) != Some(*gate) {
                    return Err(self.stands(index));
                }
                let state = self.touch(index);
                state.reviews.retain(|earlier| earlier.reviewer != review.reviewer);
                state.reviews.push(review.clone());
                state.reviews_given += 1;
                state.phase = StepPhase::Judging { gate: *gate };
                Ok(())
            }
            EventBody::ReviewTimedOut { step, attempt, gate, action } => {
                let index = self.find_attempt(step, *attempt)?;
                let state = &self.steps[index];
                if state.phase != (StepPhase::AwaitingReview { gate: *gate }) || state.escalated {
                    return Err(self.stands(index));
                }
                self.review_timed_out(index, *gate, *action);
                Ok(())
            }
            EventBody::StepTimedOut { step, attempt, timeout_s } => {
                let index = self.find_attempt(step, *attempt)?;
                let state = &self.steps[index];
                let over = matches!(state.phase, StepPhase::Waiting | StepPhase::Settled);
                if over || state.is_final() || state.expired_at.is_some() {
                    return Err(self.stands(index));
                }
                self.step_timed_out(index, *timeout_s, at);
                Ok(())
            }
            EventBody::DecisionGiven { step, attempt, machine, item, succeeded, by, reason } => {
                let (index, target) = self.find_target(step, *attempt, machine, *item)?;
                if self.steps[index].targets[target].phase != TargetPhase::Unknown {
                    return Err(self.stands(index));
                }
                self.change_target(index, target, |state| {
                    state.phase = match succeeded {
                        None => TargetPhase::Waiting,
                        Some(true) => TargetPhase::Succeeded,
                        Some(false) => TargetPhase::Failed,
                    };
                });
                if *succeeded == Some(false) {
                    self.touch(index).failure = Some(StepFailure {
                        cause: FailureCause::Action,
                        class: FailureClass::Permanent,
                        code: "decided_failed".to_owned(),
                        message: format!("{by} decided: {reason}"),
                        hint: None,
                        machine: Some(machine.clone()),
                    });
                }
                self.targets_changed(index);
                Ok(())
            }
            EventBody::StepCompleted { step, attempt, outputs } => {
                let index = self.find_attempt(step, *attempt)?;
                if self.steps[index].phase != StepPhase::Settled {
                    return Err(self.stands(index));
                }
                let state = self.touch(index);
                state.outputs = outputs.clone();
                state.failure = None;
                self.end_step(index, StepPhase::Completed, at);
                Ok(())
            }
            EventBody::StepFailed { step, attempt, failure } => {
                let index = self.find_attempt(step, *attempt)?;
                let state = &self.steps[index];
                let unbegun = state.phase == StepPhase::Waiting && state.dependencies_left == 0;
                if state.phase != StepPhase::Settled && !unbegun {
                    return Err(self.stands(index));
                }
                self.touch(index).failure = Some(failure.clone());
                self.end_step(index, StepPhase::Failed, at);
                Ok(())
            }
            EventBody::RetryScheduled { step, attempt, not_before, failure } => {
                let index = self.find(step)?;
                let state = &self.steps[index];
                if state.phase != StepPhase::Settled || *attempt != state.attempt + 1 {
                    return Err(self.stands(index));
                }
                let state = self.touch(index);
                state.failure = Some(failure.clone());
                state.phase = StepPhase::RetryWait { not_before: *not_before };
                Ok(())
            }
            EventBody::StepSkipped { step, reason } => {
                let index = self.find(step)?;
                let state = &self.steps[index];
                if state.phase != StepPhase::Waiting || state.dependencies_left != 0 {
                    return Err(self.stands(index));
                }
                if let SkipReason::Dependency { step } = reason {
                    let blocker = self.find(step)?;
                    self.touch(index).blocked_by = Some(blocker);
                }
                self.end_step(index, StepPhase::Skipped, at);
                Ok(())
            }
            EventBody::Paused { by, reason } => {
                if self.head.paused.is_some() {
                    return Err("the execution is paused already".to_owned());
                }
                self.head.paused = Some((by.clone(), reason.clone()));
                Ok(())
            }
            EventBody::Resumed { .. } => {
                if self.head.paused.take().is_none() {
                    return Err("the execution is not paused".to_owned());
                }
                Ok(())
            }
            EventBody::CancelRequested { by, reason } => {
                if self.head.cancel.is_some() {
                    return Err("its end was asked for already".to_owned());
                }
                self.head.cancel = Some((at, by.clone(), reason.clone()));
                Ok(())
            }
            EventBody::RetryRequested { steps, .. } => {
                if self.head.end.is_some_and(|end| end != ExecutionStatus::Failed) {
                    return Err("only a failed execution can be retried".to_owned());
                }
                let indexes: BTreeSet<usize> =
                    steps.iter().map(|step| self.find(step)).collect::<Result<_, _>>()?;
                if let Some(index) =
                    indexes.iter().find(|index| self.steps[**index].phase != StepPhase::Failed)
                {
                    return Err(self.stands(*index));
                }
                self.begin_anew(&indexes);
                Ok(())
            }
            EventBody::Completed => {
                if self.ended != self.steps.len() {
                    return Err("not every step has ended".to_owned());
                }
                self.end(ExecutionStatus::Completed, at);
                Ok(())
            }
            EventBody::Failed { .. } => {
                self.end(ExecutionStatus::Failed, at);
                Ok(())
            }
            EventBody::Cancelled => {
                if self.head.cancel.is_none() {
                    return Err("nobody asked for its end".to_owned());
                }
                for index in 0..self.steps.len() {
                    if !self.steps[index].is_final() {
                        let state = self.touch(index);
                        state.phase = StepPhase::Cancelled;
                        state.ended_at = Some(at);
                    }
                }
                self.derive();
                self.end(ExecutionStatus::Cancelled, at);
                Ok(())
            }
        }
    }

    fn find(&self, step: &StepId) -> Result<usize, String> {
        self.graph.index(step.as_str()).ok_or_else(|| format!("there is no step `{step}`"))
    }

    fn find_attempt(&self, step: &StepId, attempt: u32) -> Result<usize, String> {
        let index = self.find(step)?;
        if self.steps[index].attempt != attempt {
            return Err(self.stands(index));
        }
        Ok(index)
    }

    fn find_target(
        &self,
        step: &StepId,
        attempt: u32,
        machine: &MachineId,
        item: Option<u32>,
    ) -> Result<(usize, usize), String> {
        let index = self.find_attempt(step, attempt)?;
        let target = self.steps[index].targets.position(machine, item).ok_or_else(|| {
            let item = item.map(|item| format!(" for item {item}")).unwrap_or_default();
            format!("step `{step}` has no target `{machine}`{item}")
        })?;
        Ok((index, target))
    }

    fn stands(&self, index: usize) -> String {
        let state = &self.steps[index];
        format!(
            "step `{}` stands at {:?} in attempt {}",
            self.definition.steps[index].id, state.phase, state.attempt
        )
    }

    fn touch(&mut self, index: usize) -> &mut StepState {
        self.dirty.steps.insert(index);
        let state = Arc::make_mut(&mut self.steps[index]);
        state.shown_outputs = Shown::default();
        state
    }

    fn change_target(
        &mut self,
        index: usize,
        target: usize,
        change: impl FnOnce(&mut TargetState),
    ) {
        self.dirty.targets.insert((index, target));
        Arc::make_mut(&mut self.steps[index]).targets.change(target, change);
    }

    /// Builds the targets of an attempt that begins.
    fn new_targets(
        &self,
        index: usize,
        machines: &[MachineId],
        items: Option<&[Value]>,
        resumes: bool,
    ) -> Targets {
        let state = &self.steps[index];
        let before = &state.targets;
        let mut targets = match items {
            Some(items) => Targets::of_items(items, machines),
            None if resumes => before.resumed(),
            None if before.is_mapped() => before.begun_anew(machines),
            None if self.is_map(index) => Targets::default(),
            None => Targets::of_machines(machines),
        };
        if !state.cancelled_machines.is_empty() {
            for target in 0..targets.len() {
                if state.cancelled_machines.contains_key(&targets[target].machine) {
                    targets.change(target, |target| target.phase = TargetPhase::Cancelled);
                }
            }
        }
        targets
    }

    /// Returns whether the work of a target can still be ended: it has not ended, or another attempt will be made.
    pub(super) fn may_cancel(&self, index: usize, target: usize) -> bool {
        let state = &self.steps[index];
        let open = match state.phase {
            StepPhase::RetryWait { .. } => true,
            _ => matches!(
                state.targets[target].phase,
                TargetPhase::Waiting | TargetPhase::Running | TargetPhase::Unknown
            ),
        };
        open && !state.is_final()
            && !state.cancelled_machines.contains_key(&state.targets[target].machine)
    }
}

impl Execution {
    /// Returns the gate that a step is judged at or waits for a review of.
    pub fn gate_of(&self, index: usize) -> Option<Gate> {
        match self.steps[index].phase {
            StepPhase::Judging { gate } | StepPhase::AwaitingReview { gate } => Some(gate),
            _ => None,
        }
    }
}
