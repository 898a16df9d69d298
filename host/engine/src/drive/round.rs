//! One round of an owner: what is stored together or not at all, and what happens when it cannot be stored.

use std::time::Duration;

use caelum_core::workflow::{Event, Execution};
use caelum_store::{Append, StoreError};
use tokio::sync::oneshot;
use tracing::{debug, error, warn};

use super::Driver;
use super::mail::Message;
use crate::engine::Inner;
use crate::error::{EngineError, Mistake};
use crate::meters::Tally;
use crate::request::Snapshot;
use crate::supervisor::unknown_execution;

/// What one round of messages becomes: stored together or not at all.
#[derive(Default)]
pub(super) struct Round {
    /// How many events were stored before it.
    pub(super) expected: u64,
    /// What happened, already applied in memory.
    pub(super) events: Vec<Event>,
    /// Who waits for it to be stored.
    pub(super) answers: Vec<Answer>,
    /// Reports to take again when it cannot be stored.
    pub(super) reports: Vec<Message>,
    /// How long decisive reviews were waited for.
    pub(super) review_waits: Vec<Duration>,
}

/// Where the answer to somebody who asked goes.
type Answer = oneshot::Sender<Result<Snapshot, EngineError>>;

/// The driver cannot go on with its execution.
#[derive(Debug)]
pub(super) struct Stuck;

impl Driver {
    /// Stores the events of a round; false when it is to be tried again.
    pub(super) async fn store(&mut self, round: &mut Round) -> Result<bool, Stuck> {
        let events = std::mem::take(&mut round.events);
        let then = round.expected + events.len() as u64;
        let mut tally = Tally::of(&self.execution, &events);
        tally.waited(round.review_waits.drain(..));
        let stored = match Append::of(&mut self.execution, round.expected, events) {
            Ok(append) => self.inner.store.append(append).await,
            Err(failed) => Err(failed),
        };
        let Err(failed) = stored else {
            self.inner.count(&self.execution, &tally);
            return Ok(true);
        };
        let id = self.execution.id().clone();
        // The caller can mend what they sent; nobody can mend what a machine sent or what we decided.
        let mended = failed.is_transient()
            || (matches!(failed, StoreError::TooLarge { .. }) && !round.answers.is_empty());
        if !mended {
            let answers = std::mem::take(&mut round.answers);
            match failed {
                StoreError::Closed => {
                    drop(answers);
                    return Err(Stuck);
                }
                StoreError::NotFound { .. } => return Err(self.taken_away(answers)),
                _ => {}
            }
            return Err(self.stand_still(&failed.to_string(), answers));
        }
        warn!(execution = %id, error = %failed, "failed to store; it is tried again");
        self.reload(round).await?;
        if self.execution.head().events == then {
            // It is on disk all the same: only the answer was lost.
            self.inner.count(&self.execution, &tally);
            return Ok(true);
        }
        for answer in round.answers.drain(..) {
            let mistake = Mistake::new("not_stored", format!("nothing was changed: {failed}"));
            let mistake = match failed.is_transient() {
                true => mistake.hint("mend the store (free space, rights), then ask again"),
                false => mistake,
            };
            drop(answer.send(Err(mistake.into())));
        }
        self.inbox = round.reports.drain(..).collect();
        Ok(false)
    }

    /// Goes back to what is stored; waits until that can be read.
    pub(super) async fn reload(&mut self, round: &mut Round) -> Result<(), Stuck> {
        let id = self.execution.id().clone();
        loop {
            match self.inner.store.load_execution(&id).await {
                Ok(Some(execution)) => {
                    self.execution = execution;
                    if self.published.borrow().execution.head().events
                        != self.execution.head().events
                    {
                        self.publish();
                    }
                    return Ok(());
                }
                Ok(None) => return Err(self.taken_away(std::mem::take(&mut round.answers))),
                Err(StoreError::Closed) => return Err(Stuck),
                Err(error) => {
                    warn!(execution = %id, %error, "failed to read; it is tried again");
                    for answer in round.answers.drain(..) {
                        let failed = EngineError::internal(
                            "the store failed; whether the change was stored shows when it works again",
                            error.to_string(),
                        );
                        drop(answer.send(Err(failed)));
                    }
                }
            }
            tokio::select! {
                () = self.inner.stop.cancelled() => return Err(Stuck),
                () = tokio::time::sleep(self.inner.options.store_retry) => {}
            }
        }
    }

    /// Leaves an execution that is not in the store any more: retention takes those that have ended, and a machine may
    /// still report for one.
    fn taken_away(&self, answers: Vec<Answer>) -> Stuck {
        let id = self.execution.id();
        if self.published.borrow().execution.head().end.is_none() {
            return self.stand_still("it is not in the store any more", answers);
        }
        debug!(execution = %id, "it was taken out of the store");
        self.inner.supervisor.forget(id);
        for answer in answers {
            drop(answer.send(Err(unknown_execution(id.as_str()))));
        }
        Stuck
    }

    /// Gives up driving: the execution stays as it is on disk, and health says why.
    pub(super) fn stand_still(&self, why: &str, answers: Vec<Answer>) -> Stuck {
        let id = self.execution.id();
        error!(execution = %id, error = %why, "the execution is stuck");
        self.inner.supervisor.mark_stuck(id, why.to_owned());
        for answer in answers {
            let failed = EngineError::internal(format!("execution `{id}` stands still"), why);
            drop(answer.send(Err(failed)));
        }
        Stuck
    }
}

impl Inner {
    /// Counts what is stored now.
    pub(super) fn count(&self, execution: &Execution, tally: &Tally) {
        self.meters.count(tally);
        self.estimates.add(execution, tally);
        if tally.has_end() {
            self.retention.ended(&self.options.retention, self.clock.now());
        }
    }
}
