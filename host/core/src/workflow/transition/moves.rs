//! Where a step goes from where it stands: to a gate, to its action, to its end, and back to its beginning.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::execution::Dirty;
use super::super::step_state::{Gate, GateTiming};
use super::super::{
    Execution, ExecutionStatus, FailureCause, GateRecord, OnFailure, OnReviewTimeout,
    OnValidatorError, StepFailure, StepPhase, TargetPhase,
};
use super::failure::{cause_of, gate_failure, target_failure};
use crate::clock::Timestamp;
use crate::evidence::VerdictKind;
use crate::task::{FailureClass, GroupEnd, plan_targets};

impl Execution {
    /// Moves a step to the first gate of `timing` that is not passed, or to what comes behind the gates.
    pub(super) fn go_on(&mut self, index: usize, timing: GateTiming) {
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
    pub(super) fn targets_changed(&mut self, index: usize) {
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
    pub(super) fn end_targets(&mut self, index: usize) {
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

    pub(super) fn step_timed_out(&mut self, index: usize, timeout_s: u64, at: Timestamp) {
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

    pub(super) fn review_timed_out(&mut self, index: usize, gate: Gate, action: OnReviewTimeout) {
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

    pub(super) fn judged(&mut self, index: usize, record: &GateRecord, at: Timestamp) {
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
    pub(super) fn gate_opened(&mut self, index: usize, gate: Gate) {
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
    pub(super) fn end_step(&mut self, index: usize, phase: StepPhase, at: Timestamp) {
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
    pub(super) fn blocks(&self, index: usize) -> bool {
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
    pub(super) fn begin_anew(&mut self, indexes: &BTreeSet<usize>) {
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

    pub(super) fn end(&mut self, status: ExecutionStatus, at: Timestamp) {
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
