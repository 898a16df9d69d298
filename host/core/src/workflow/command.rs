//! What callers and machines may ask of an execution: each request becomes events, or a refusal with its reason.

use super::step_state::WaitingFor;
use super::{Event, EventBody, Execution, ExecutionStatus, StepPhase, StepStatus, TargetPhase};
use crate::clock::Timestamp;
use crate::evidence::{Review, ReviewDecision, WorkReport};
use crate::id::{MachineId, StepId};
use crate::near::did_you_mean;
use crate::task::TaskOutcome;

/// A request that the present state forbids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Stable code, such as `not_waiting`.
    pub code: &'static str,
    /// Why, in the caller's words.
    pub message: String,
    /// What would be possible instead.
    pub hint: Option<String>,
}

fn refusal(code: &'static str, message: impl Into<String>, hint: Option<&str>) -> Refusal {
    Refusal { code, message: message.into(), hint: hint.map(str::to_owned) }
}

/// One report of one delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The step.
    pub step: StepId,
    /// The attempt.
    pub attempt: u32,
    /// The machine.
    pub machine: MachineId,
    /// The item, where the step is a map.
    pub item: Option<u32>,
    /// The delivery.
    pub epoch: u32,
    /// How it ended.
    pub outcome: Box<TaskOutcome>,
}

/// What to do with a whole execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Let nothing new begin; touch nothing that runs.
    Pause,
    /// Let it go on.
    Resume,
    /// End it, what runs included.
    Cancel,
    /// Begin the failed steps anew.
    RetryFailed,
}

impl Execution {
    /// Turns a machine's report into the event it deserves: the end of a delivery, or a late report that changes
    /// nothing. `now` is when an item's pause begins, should it be tried again.
    pub fn receive(&self, report: Report, now: Timestamp) -> EventBody {
        let Report { step, attempt, machine, item, epoch, outcome } = report;
        let current = self.current(&step, attempt, (&machine, item), epoch);
        match current {
            Some((index, target)) => {
                let retry_at = super::next::retry_of_item(self, (index, target), &outcome, now);
                EventBody::TargetFinished { step, attempt, machine, item, epoch, outcome, retry_at }
            }
            None => {
                let status = outcome.status;
                EventBody::LateReport { step, attempt, machine, item, epoch, status }
            }
        }
    }

    /// Returns where a delivery is waited for; nothing when nobody waits for it.
    fn current(
        &self,
        step: &StepId,
        attempt: u32,
        (machine, item): (&MachineId, Option<u32>),
        epoch: u32,
    ) -> Option<(usize, usize)> {
        if self.head.end.is_some() {
            return None;
        }
        let index = self.graph.index(step.as_str())?;
        let state = &self.steps[index];
        let acting = matches!(state.phase, StepPhase::Acting | StepPhase::AwaitingDecision);
        if state.attempt != attempt || !acting {
            return None;
        }
        let position = state.targets.position(machine, item)?;
        let target = &state.targets[position];
        let out = matches!(target.phase, TargetPhase::Running | TargetPhase::Unknown);
        (target.epoch == epoch && out).then_some((index, position))
    }

    fn open_step(&self, step: &str) -> Result<usize, Refusal> {
        let index = self.graph.index(step).ok_or_else(|| {
            let known = self.definition.steps.iter().map(|step| step.id.as_str());
            refusal(
                "unknown_step",
                format!("execution `{}` has no step `{step}`", self.id()),
                did_you_mean(step, known).as_deref(),
            )
        })?;
        if let Some(end) = self.head.end {
            let hint = match end {
                ExecutionStatus::Failed => {
                    Some("control_execution with action `retry_failed` lets it go on")
                }
                _ => Some("execute_workflow starts another execution"),
            };
            return Err(refusal(
                "execution_ended",
                format!("execution `{}` is {} already", self.id(), end.as_str()),
                hint,
            ));
        }
        if self.head.cancel.is_some() {
            return Err(refusal(
                "cancelling",
                format!("execution `{}` is being cancelled", self.id()),
                None,
            ));
        }
        Ok(index)
    }

    /// Takes the report of somebody who did a manual step.
    ///
    /// # Errors
    ///
    /// Refused when the step does not wait for work, with what it waits for instead.
    pub fn complete_step(&self, step: &str, report: WorkReport) -> Result<EventBody, Refusal> {
        let index = self.open_step(step)?;
        let state = &self.steps[index];
        if state.phase != StepPhase::AwaitingWork {
            let hint = match state.waiting_for() {
                Some(WaitingFor::Review(_)) => "it waits for a review: use review_step",
                Some(WaitingFor::Decision) => {
                    "its outcome is unknown: use complete_step with `decision`"
                }
                Some(WaitingFor::Work) => "",
                None if state.status() == StepStatus::Pending => {
                    "it waits for other steps: see get_workflow_status"
                }
                None => "get_workflow_status shows where it stands",
            };
            return Err(refusal(
                "not_waiting",
                format!("step `{step}` does not wait for work; it is {}", state.status().as_str()),
                Some(hint),
            ));
        }
        Ok(EventBody::WorkReported {
            step: self.definition.steps[index].id.clone(),
            attempt: state.attempt,
            report: Box::new(report),
        })
    }

    /// Takes somebody's word about work whose outcome is unknown; `succeeded: None` means: run it again.
    ///
    /// # Errors
    ///
    /// Refused when the step does not wait for a decision.
    pub fn decide(
        &self,
        step: &str,
        succeeded: Option<bool>,
        by: String,
        reason: String,
    ) -> Result<Vec<EventBody>, Refusal> {
        let index = self.open_step(step)?;
        let state = &self.steps[index];
        let unknown: Vec<EventBody> = state
            .targets
            .iter()
            .filter(|target| target.phase == TargetPhase::Unknown)
            .map(|target| EventBody::DecisionGiven {
                step: self.definition.steps[index].id.clone(),
                attempt: state.attempt,
                machine: target.machine.clone(),
                item: target.item_index(),
                succeeded,
                by: by.clone(),
                reason: reason.clone(),
            })
            .collect();
        if unknown.is_empty() {
            return Err(refusal(
                "not_waiting",
                format!("step `{step}` does not wait for a decision"),
                Some("get_workflow_status shows where it stands"),
            ));
        }
        Ok(unknown)
    }

    /// Takes a request to end a step's work on one machine, while the others go on. Work that has ended, or is being
    /// ended, needs no event.
    ///
    /// # Errors
    ///
    /// Refused when there is no such step, or when its work is not for that machine.
    pub fn cancel_target(
        &self,
        step: &str,
        machine: &MachineId,
        by: String,
        reason: String,
    ) -> Result<Option<EventBody>, Refusal> {
        if self.head.end.is_some() || self.head.cancel.is_some() {
            return Ok(None);
        }
        let index = self.open_step(step)?;
        let state = &self.steps[index];
        let target = state.targets.position(machine, None).ok_or_else(|| {
            let known = state.targets.iter().map(|target| target.machine.as_str());
            refusal(
                "unknown_target",
                format!("the work of step `{step}` is not for a machine `{machine}`"),
                did_you_mean(machine.as_str(), known).as_deref(),
            )
        })?;
        Ok(self.may_cancel(index, target).then(|| EventBody::TargetCancelRequested {
            step: self.definition.steps[index].id.clone(),
            attempt: state.attempt,
            machine: machine.clone(),
            by,
            reason,
        }))
    }

    /// Takes a review of the gate that a step waits at, or that is being judged with the reviews that came before.
    ///
    /// # Errors
    ///
    /// Refused when no gate waits, when the reviewer performed the step, or when a rejection gives no reason.
    pub fn review(&self, step: &str, review: Review) -> Result<EventBody, Refusal> {
        let index = self.open_step(step)?;
        let state = &self.steps[index];
        let Some(gate) = self.reviewed_gate(index) else {
            return Err(refusal(
                "not_waiting",
                format!(
                    "step `{step}` does not wait for a review; it is {}",
                    state.status().as_str()
                ),
                Some("get_workflow_status lists what waits under `waiting_for`"),
            ));
        };
        if state.performer.as_deref() == Some(review.reviewer.as_str()) {
            return Err(refusal(
                "own_work",
                format!("`{}` performed step `{step}` and cannot review it", review.reviewer),
                Some("somebody else has to review it"),
            ));
        }
        if let Some(rules) = &self.definition.steps[index].review
            && !rules.allows(&review.reviewer, state.escalated)
        {
            let names = rules.allowed(state.escalated).join(", ");
            return Err(refusal(
                "not_a_reviewer",
                format!("`{}` is not a reviewer of step `{step}`", review.reviewer),
                Some(&format!("it is reviewed by {names}")),
            ));
        }
        if review.decision == ReviewDecision::Rejected && review.reason.trim().is_empty() {
            return Err(refusal("no_reason", "a rejection needs a reason", Some("fill `reason`")));
        }
        Ok(EventBody::ReviewGiven {
            step: self.definition.steps[index].id.clone(),
            attempt: state.attempt,
            gate,
            review,
        })
    }

    /// Takes a request about the whole execution. Nothing to do is no mistake: the answer is then no event.
    ///
    /// # Errors
    ///
    /// Refused when the execution has ended in a way that the request does not fit.
    pub fn control(
        &self,
        control: &Control,
        by: String,
        reason: String,
    ) -> Result<Option<EventBody>, Refusal> {
        let head = &self.head;
        let ended = |hint: &str| match head.end {
            None => Ok(()),
            Some(end) => Err(refusal(
                "execution_ended",
                format!("execution `{}` is {} already", self.id(), end.as_str()),
                Some(hint),
            )),
        };
        Ok(match control {
            Control::Pause => {
                ended("only an open execution can be paused")?;
                head.paused.is_none().then_some(EventBody::Paused { by, reason })
            }
            Control::Resume => {
                ended("execute_workflow starts another execution")?;
                head.paused.is_some().then_some(EventBody::Resumed { by })
            }
            Control::Cancel => {
                if head.end == Some(ExecutionStatus::Cancelled) {
                    return Ok(None);
                }
                ended("only an open execution can be cancelled")?;
                head.cancel.is_none().then_some(EventBody::CancelRequested { by, reason })
            }
            Control::RetryFailed => {
                if head.cancel.is_some() {
                    return Err(refusal(
                        "cancelled",
                        format!("execution `{}` was cancelled", self.id()),
                        Some("execute_workflow starts another execution"),
                    ));
                }
                let steps: Vec<StepId> = self
                    .failed_steps()
                    .map(|index| self.definition.steps[index].id.clone())
                    .collect();
                if steps.is_empty() {
                    return Err(refusal(
                        "nothing_failed",
                        format!("execution `{}` has no failed step", self.id()),
                        None,
                    ));
                }
                Some(EventBody::RetryRequested { by, steps })
            }
        })
    }

    /// Builds the event that records `body` next.
    pub fn event(&self, body: EventBody, at: Timestamp) -> Event {
        Event { seq: self.head.events, at, body }
    }
}
