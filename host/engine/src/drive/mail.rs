//! What reaches the owner of an execution, and what it becomes: facts to store, or a refusal.

use caelum_core::clock::Timestamp;
use caelum_core::evidence::{Review, WorkReport};
use caelum_core::id::{MachineId, StepId};
use caelum_core::workflow::command::{Control, Report};
use caelum_core::workflow::{Effect, EventBody, Execution, GateRecord};
use tokio::sync::oneshot;

use super::round::Round;
use super::{BATCH_MAX, Driver};
use crate::error::EngineError;
use crate::meters;
use crate::request::Snapshot;

/// What somebody asks of an execution.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    /// Work done by hand.
    Complete(String, WorkReport),
    /// What became of work whose outcome is unknown.
    Decide { step: String, succeeded: Option<bool>, by: String, reason: String },
    /// A review; its subject is filled in by the owner.
    Review(String, Review),
    /// The end of a step's work on one machine.
    CancelTarget { step: String, machine: MachineId, by: String, reason: String },
    /// Something about the whole execution.
    Control(Control, String, String),
}

/// A delivery that nobody will report about, and why.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub(crate) step: StepId,
    pub(crate) attempt: u32,
    pub(crate) machine: MachineId,
    pub(crate) item: Option<u32>,
    pub(crate) epoch: u32,
    pub(crate) why: String,
}

/// What reaches the owner of an execution.
#[derive(Debug)]
pub(crate) enum Message {
    /// A delivery ended.
    Reported(Effect, Report),
    /// Nobody will report how a delivery ended.
    Lost(Effect, Box<Lost>),
    /// A gate was judged.
    Judged { effect: Effect, step: StepId, attempt: u32, record: Box<GateRecord> },
    /// Somebody asks for something.
    Asked(Ask, oneshot::Sender<Result<Snapshot, EngineError>>),
}

impl Driver {
    /// Takes a message and all others that wait already, so that one commit stores what they become.
    pub(super) fn accept(&mut self, message: Message) {
        let mut next = Some(message);
        while let Some(message) = next.take() {
            match &message {
                Message::Reported(effect, _) | Message::Lost(effect, _) => {
                    self.under_way.remove(effect);
                    self.inbox.push_back(message);
                }
                // A judgement that was withdrawn was made all the same: nobody waits for it.
                Message::Judged { effect, .. } => {
                    if self.under_way.remove(effect).is_some() {
                        self.inbox.push_back(message);
                    }
                }
                Message::Asked(..) => self.inbox.push_back(message),
            }
            if self.inbox.len() < BATCH_MAX {
                next = self.mailbox.try_recv().ok();
            }
        }
    }

    /// Turns one message into facts of a round.
    pub(super) fn take(&mut self, round: &mut Round, message: Message) {
        match message {
            Message::Reported(effect, report) => {
                let body = self.execution.receive(report.clone(), self.inner.clock.now());
                self.record(round, body);
                round.reports.push(Message::Reported(effect, report));
            }
            Message::Lost(effect, lost) => {
                let Lost { step, attempt, machine, item, epoch, why: reason } =
                    lost.as_ref().clone();
                let body = EventBody::TargetLost { step, attempt, machine, item, epoch, reason };
                // Cancelled meanwhile, it counted as lost already.
                if self.record(round, body) {
                    round.reports.push(Message::Lost(effect, lost));
                }
            }
            Message::Judged { effect, step, attempt, record } => {
                // One that did not see every review is made again with all of them.
                if let Effect::Judge { step, reviews, .. } = effect
                    && !self.execution.saw_every_review(step, reviews)
                {
                    return;
                }
                // A judgement that nobody waits for any more (cancelled meanwhile) is not worth an event.
                let body =
                    EventBody::GateJudged { step: step.clone(), attempt, record: record.clone() };
                if self.record(round, body) {
                    round.reports.push(Message::Judged { effect, step, attempt, record });
                }
            }
            Message::Asked(ask, answer) => {
                let review = meters::review_began(&self.execution, &ask);
                let resumes = matches!(ask, Ask::Control(Control::Resume, ..));
                match asked(&self.execution, ask, self.inner.clock.now()) {
                    Ok(bodies) => {
                        let all = bodies.into_iter().all(|body| self.record(round, body));
                        if all {
                            round.answers.push(answer);
                            let now = self.inner.clock.now();
                            round.review_waits.extend(review.and_then(|review| {
                                meters::review_wait(&self.execution, review, now)
                            }));
                            if resumes {
                                self.free_since = now;
                            }
                        } else {
                            let why = "what was accepted does not fit the state it was made for";
                            let failed = EngineError::internal("nothing was changed", why);
                            drop(answer.send(Err(failed)));
                        }
                    }
                    Err(refused) => drop(answer.send(Err(refused))),
                }
            }
        }
    }
}

fn asked(execution: &Execution, ask: Ask, now: Timestamp) -> Result<Vec<EventBody>, EngineError> {
    Ok(match ask {
        Ask::Complete(step, report) => vec![execution.complete_step(&step, report)?],
        Ask::Decide { step, succeeded, by, reason } => {
            execution.decide(&step, succeeded, by, reason)?
        }
        Ask::Review(step, mut review) => {
            review.at = now;
            if let Some(index) = execution.step_index(&step)
                && let Some(record) = execution.step(index).gates.last()
            {
                // The review is bound to what the gate last looked at.
                review.subject_digest = record.subject_digest.clone();
            }
            vec![execution.review(&step, review)?]
        }
        Ask::CancelTarget { step, machine, by, reason } => {
            execution.cancel_target(&step, &machine, by, reason)?.into_iter().collect()
        }
        Ask::Control(control, by, reason) => {
            execution.control(&control, by, reason)?.into_iter().collect()
        }
    })
}
