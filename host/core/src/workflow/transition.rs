//! How events change an execution: the whole transition table. What is not in it is an illegal event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::execution::{Dirty, ExecutionHead, Gate, GateTiming};
use super::targets::Targets;
use super::template::Shown;
use super::{
    Event, EventBody, Execution, ExecutionStatus, FailureCause, GateKind, GateRecord, Graph,
    OnFailure, OnReviewTimeout, OnValidatorError, SkipReason, Started, StepFailure, StepPhase,
    StepState, TargetPhase, TargetState, WorkflowDefinition,
};
use crate::clock::Timestamp;
use crate::evidence::VerdictKind;
use crate::id::{ExecutionId, MachineId, StepId};
use crate::task::{FailureClass, GroupEnd, OutcomeStatus, plan_targets};

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

    /// Moves a step to the first gate of `timing` that is not passed, or to what comes behind the gates.
    fn go_on(&mut self, index: usize, timing: GateTiming) {
        let next =
            self.gates(index, timing).into_iter().find(|gate| !self.steps[index].passed(*gate));
        let manual = self.is_manual(index);
        let phase = match (next, timing) {
            (Some(gate), _) => StepPhase::Judging { gate },
            (None, GateTiming::Before) if manual => StepPhase::AwaitingWork,
            (None, GateTiming::Before) => StepPhase::Acting,
            (None, GateTiming::After) => StepPhase::Settled,
        };
        self.touch(index).phase = phase;
        if phase == StepPhase::Acting {
            self.targets_changed(index);
        }
    }

    /// Looks whether the targets of an acting step are settled, and moves it on when they are.
    fn targets_changed(&mut self, index: usize) {
        let state = &self.steps[index];
        if !matches!(state.phase, StepPhase::Acting | StepPhase::AwaitingDecision) {
            return;
        }
        if state.expired_at.is_some() {
            return self.end_targets(index);
        }
        let tally = state.targets.tally();
        let waiting = if tally.unknown > 0 && tally.running == 0 {
            StepPhase::AwaitingDecision
        } else {
            StepPhase::Acting
        };
        if state.phase != waiting {
            self.touch(index).phase = waiting;
        }
        if tally.running + tally.unknown + tally.resting > 0 {
            return;
        }
        let state = &self.steps[index];
        let strategy = &self.definition.steps[index].strategy;
        match plan_targets(strategy, state.targets.views()).settled {
            None => {}
            Some(GroupEnd::Succeeded) => self.go_on(index, GateTiming::After),
            Some(GroupEnd::Failed) => {
                let failure = target_failure(state);
                let judge = failure.class == FailureClass::Exit;
                self.touch(index).failure = Some(failure);
                if judge {
                    // The program ran to its end: what it left may tell the gates more than its exit code.
                    self.go_on(index, GateTiming::After);
                } else {
                    self.touch(index).phase = StepPhase::Settled;
                }
            }
        }
    }

    /// Moves an expired step on when nothing of it runs any more.
    fn end_targets(&mut self, index: usize) {
        for target in 0..self.steps[index].targets.len() {
            let ended = match self.steps[index].targets[target].phase {
                TargetPhase::Waiting => TargetPhase::GivenUp,
                TargetPhase::Unknown => TargetPhase::Failed,
                _ => continue,
            };
            self.change_target(index, target, |state| state.phase = ended);
        }
        let running = self.steps[index].targets.tally().running > 0;
        self.touch(index).phase = if running { StepPhase::Acting } else { StepPhase::Settled };
    }

    fn step_timed_out(&mut self, index: usize, timeout_s: u64, at: Timestamp) {
        let acting =
            matches!(self.steps[index].phase, StepPhase::Acting | StepPhase::AwaitingDecision);
        let state = self.touch(index);
        state.expired_at = Some(at);
        state.failure = Some(StepFailure {
            cause: FailureCause::Action,
            class: FailureClass::Permanent,
            code: "total_timeout".to_owned(),
            message: format!("took longer than {timeout_s} s over all its attempts"),
            hint: Some("raise `total_timeout_s`, or use control_execution retry_failed".to_owned()),
            machine: None,
        });
        if acting {
            self.targets_changed(index);
        } else {
            state.phase = StepPhase::Settled;
        }
    }

    fn review_timed_out(&mut self, index: usize, gate: Gate, action: OnReviewTimeout) {
        match action {
            OnReviewTimeout::Reject => {
                let deadline = self.definition.steps[index]
                    .review
                    .as_ref()
                    .and_then(|rules| rules.deadline_s)
                    .unwrap_or_default();
                let state = self.touch(index);
                state.failure = Some(StepFailure {
                    cause: cause_of(gate.kind),
                    class: FailureClass::Gate,
                    code: "review_timed_out".to_owned(),
                    message: format!("{}: nobody decided within {deadline} s", gate.kind.as_str()),
                    hint: Some("use control_execution retry_failed to ask again".to_owned()),
                    machine: None,
                });
                state.phase = StepPhase::Settled;
            }
            OnReviewTimeout::Approve => self.gate_opened(index, gate),
            OnReviewTimeout::Escalate => self.touch(index).escalated = true,
        }
    }

    fn judged(&mut self, index: usize, record: &GateRecord, at: Timestamp) {
        let gate = record.gate;
        let definition = &self.definition.steps[index];
        let warned = record.verdict.host_reason.is_some()
            && definition.on_validator_error == OnValidatorError::Warn;
        let failed_already = self.steps[index].failure.is_some();
        let state = self.touch(index);
        state.gates.retain(|earlier| earlier.gate != gate);
        state.gates.push(record.clone());
        match record.verdict.kind {
            VerdictKind::Pass => {}
            _ if warned => {}
            VerdictKind::NeedsReview if failed_already => {
                // What failed already needs nobody's look.
                state.phase = StepPhase::Settled;
                return;
            }
            VerdictKind::NeedsReview => {
                state.phase = StepPhase::AwaitingReview { gate };
                state.review_since.get_or_insert(at);
                return;
            }
            VerdictKind::Fail | VerdictKind::Inconclusive => {
                state.failure = Some(gate_failure(gate.kind, record));
                state.phase = StepPhase::Settled;
                return;
            }
        }
        self.gate_opened(index, gate);
    }

    /// Moves a step on behind a gate: to the next one, to its action, or to its end.
    fn gate_opened(&mut self, index: usize, gate: Gate) {
        let next =
            self.gates(index, gate.timing).into_iter().skip_while(|other| *other != gate).nth(1);
        let state = self.touch(index);
        state.review_since = None;
        state.escalated = false;
        match next {
            Some(next) => {
                let state = self.touch(index);
                state.reviews.clear();
                state.reviews_given = 0;
                state.phase = StepPhase::Judging { gate: next };
            }
            None if gate.timing == GateTiming::After => {
                self.touch(index).phase = StepPhase::Settled
            }
            None => {
                let state = self.touch(index);
                state.reviews.clear();
                state.reviews_given = 0;
                self.touch(index).phase =
                    if self.is_manual(index) { StepPhase::AwaitingWork } else { StepPhase::Acting };
                self.targets_changed(index);
            }
        }
    }

    /// Ends a step and tells those that wait for it.
    fn end_step(&mut self, index: usize, phase: StepPhase, at: Timestamp) {
        let state = self.touch(index);
        state.phase = phase;
        state.ended_at = Some(at);
        self.ready.remove(&index);
        self.open.remove(&index);
        self.ended += 1;
        let blocks = self.blocks(index);
        if phase == StepPhase::Failed && self.definition.steps[index].on_failure == OnFailure::Stop
        {
            self.head.stopping = true;
            return;
        }
        let graph = Arc::clone(&self.graph);
        for dependent in graph.dependents(index) {
            let state = self.touch(*dependent);
            state.dependencies_left = state.dependencies_left.saturating_sub(1);
            if blocks {
                state.blocked_by.get_or_insert(index);
            }
            if state.dependencies_left == 0 && state.phase == StepPhase::Waiting {
                self.ready.insert(*dependent);
            }
        }
    }

    /// Returns whether the way a step ended makes its dependents be skipped.
    fn blocks(&self, index: usize) -> bool {
        let state = &self.steps[index];
        match state.phase {
            StepPhase::Failed => {
                self.definition.steps[index].on_failure == OnFailure::SkipDependents
            }
            StepPhase::Skipped => state.blocked_by.is_some(),
            _ => false,
        }
    }

    /// Puts failed steps, and those skipped because of them, back to where they can begin.
    fn begin_anew(&mut self, indexes: &BTreeSet<usize>) {
        self.head.end = None;
        self.head.ended_at = None;
        self.head.stopping = false;
        for index in 0..self.steps.len() {
            let skipped = self.steps[index].phase == StepPhase::Skipped
                && self.steps[index].blocked_by.is_some();
            if indexes.contains(&index) || skipped {
                let state = self.touch(index);
                state.phase = StepPhase::Waiting;
                state.attempts_before = state.attempt;
                state.ended_at = None;
                state.blocked_by = None;
                state.cancelled_machines.clear();
            }
        }
        self.head.stopping = self.steps.iter().enumerate().any(|(index, state)| {
            state.phase == StepPhase::Failed
                && self.definition.steps[index].on_failure == OnFailure::Stop
        });
        for index in 0..self.steps.len() {
            let mut left = 0;
            let mut blocked_by = None;
            for dependency in self.graph.dependencies(index) {
                let state = &self.steps[*dependency];
                let stops = state.phase == StepPhase::Failed
                    && self.definition.steps[*dependency].on_failure == OnFailure::Stop;
                if !state.is_final() || stops {
                    left += 1;
                } else if self.blocks(*dependency) {
                    blocked_by.get_or_insert(*dependency);
                }
            }
            let state = &self.steps[index];
            if state.is_final() {
                continue;
            }
            if (left, blocked_by) != (state.dependencies_left, state.blocked_by) {
                let state = self.touch(index);
                state.dependencies_left = left;
                state.blocked_by = blocked_by;
            }
        }
        self.derive();
    }

    fn end(&mut self, status: ExecutionStatus, at: Timestamp) {
        self.head.end = Some(status);
        self.head.ended_at = Some(at);
        self.head.paused = None;
    }

    /// Marks every row as changed, for the first time that they are written.
    pub fn touch_all(&mut self) {
        self.dirty = Dirty {
            steps: (0..self.steps.len()).collect(),
            targets: self
                .steps
                .iter()
                .enumerate()
                .flat_map(|(index, step)| {
                    (0..step.targets.len()).map(move |target| (index, target))
                })
                .collect(),
            new_targets: BTreeSet::new(),
        };
    }
}

/// Says why the targets of a step failed: the first that did, and how many.
fn target_failure(state: &StepState) -> StepFailure {
    if let Some(failure) = &state.failure {
        return failure.clone();
    }
    let failed: Vec<&Arc<TargetState>> = state
        .targets
        .iter()
        .filter(|target| matches!(target.phase, TargetPhase::Failed | TargetPhase::Cancelled))
        .collect();
    let Some(first) = failed.first() else {
        return StepFailure {
            cause: FailureCause::Action,
            class: FailureClass::Permanent,
            code: "given_up".to_owned(),
            message: "no target ran".to_owned(),
            hint: None,
            machine: None,
        };
    };
    let others = match failed.len() {
        1 => String::new(),
        count if state.targets.is_mapped() => {
            format!(" (and {} of {} items more)", count - 1, state.targets.len())
        }
        count => format!(" (and {} of {} machines more)", count - 1, state.targets.len()),
    };
    // One permanent failure makes the whole permanent; one that may go away does not make the others do so.
    let class = failed
        .iter()
        .map(|target| {
            let outcome = target.outcome.as_ref().and_then(|outcome| outcome.failure.as_ref());
            match (outcome, target.phase) {
                (Some(failure), _) => failure.class,
                (None, TargetPhase::Cancelled) => FailureClass::Permanent,
                (None, _) => FailureClass::Transient,
            }
        })
        .max()
        .unwrap_or(FailureClass::Permanent);
    let (code, message, hint) =
        match first.outcome.as_ref().and_then(|outcome| outcome.failure.clone()) {
            Some(failure) => (failure.code, failure.message, failure.hint),
            None if first.phase == TargetPhase::Cancelled => (
                "cancelled".to_owned(),
                "somebody asked for its end".to_owned(),
                Some("control_execution retry_failed lets it begin anew".to_owned()),
            ),
            None => (
                "machine_lost".to_owned(),
                format!("nobody reported after {} deliveries", first.losses),
                Some("look at the machine, then use control_execution retry_failed".to_owned()),
            ),
        };
    StepFailure {
        cause: FailureCause::Action,
        class,
        code,
        message: format!("{}: {message}{others}", first.name()),
        hint,
        machine: Some(first.machine.clone()),
    }
}

fn cause_of(kind: GateKind) -> FailureCause {
    match kind {
        GateKind::Enforcement => FailureCause::Enforcement,
        GateKind::Validation => FailureCause::Validation,
    }
}

/// Says why a gate stays closed.
fn gate_failure(kind: GateKind, record: &GateRecord) -> StepFailure {
    let verdict = &record.verdict;
    let code = match (&verdict.host_reason, verdict.kind) {
        (Some(_), _) => "validator_error",
        (None, VerdictKind::Inconclusive) => "gate_inconclusive",
        (None, _) => "gate_failed",
    };
    // The first reason is often the summary in other words, or in the same.
    let said = verdict.summary.trim();
    let reasons: Vec<&str> = verdict
        .reasons
        .iter()
        .map(|reason| reason.message.trim())
        .filter(|message| !message.is_empty() && *message != said)
        .take(3)
        .collect();
    let mut message = format!("{} `{}`: {}", kind.as_str(), record.validator.name, verdict.summary);
    if !reasons.is_empty() {
        message = format!("{message} ({})", reasons.join("; "));
    }
    StepFailure {
        cause: cause_of(kind),
        class: FailureClass::Gate,
        code: code.to_owned(),
        message,
        hint: Some(
            "mend what the verdict names, then use control_execution retry_failed".to_owned(),
        ),
        machine: None,
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
