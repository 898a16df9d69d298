//! What an owner sets going: begins the effects that are wanted, stops those that are not, and takes what becomes of them
//! back to the mailbox.

use std::sync::Arc;

use caelum_core::task::OutcomeStatus;
use caelum_core::workflow::{Effect, Next};
use tracing::{Instrument, debug, error};

use super::Driver;
use super::mail::Message;
use crate::engine::Inner;
use crate::meters;
use crate::panics::caught;
use crate::perform::{broke_down, perform};

impl Driver {
    /// Starts what is wanted and not under way; stops what is under way and not wanted.
    pub(super) fn act(&mut self, wanted: &Next) {
        for effect in &wanted.effects {
            match effect {
                Effect::Stop { step, attempt, target, epoch } => {
                    let running = Effect::Run {
                        step: *step,
                        attempt: *attempt,
                        target: *target,
                        epoch: *epoch,
                    };
                    // A child that runs on from before a restart has nobody who waits for it yet.
                    if self.execution.runs_child(*step) && !self.under_way.contains_key(&running) {
                        self.start(running);
                    }
                    if let Some(token) = self.under_way.get(&running) {
                        token.cancel();
                    }
                }
                Effect::Run { .. } | Effect::Judge { .. } => {
                    if !self.under_way.contains_key(effect) {
                        self.start(*effect);
                    }
                }
            }
        }
        // A gate that nobody waits for any more: cancelled, or its step began anew.
        let unwanted = |effect: &Effect| {
            matches!(effect, Effect::Judge { .. }) && !wanted.effects.contains(effect)
        };
        let decided = !self.lacks_place();
        self.under_way.retain(|effect, token| {
            let stop = decided && unwanted(effect);
            if stop {
                token.cancel();
            }
            !stop
        });
    }

    fn start(&mut self, effect: Effect) {
        let Some(sender) = self.sender.clone() else { return };
        let token = self.inner.stop.child_token();
        self.under_way.insert(effect, token.clone());
        self.count_overhead(effect);
        let inner = Arc::clone(&self.inner);
        let execution = Arc::clone(&self.published.borrow().execution);
        debug!(execution = %execution.id(), ?effect, "effect begins");
        let span = tracing::Span::current();
        self.inner.tasks.spawn(
            async move {
                let performing = perform(Arc::clone(&inner), Arc::clone(&execution), effect, token);
                let message = tokio::select! {
                    performed = caught(performing) => match performed {
                        Ok(message) => message,
                        Err(panic) => {
                            error!(execution = %execution.id(), ?effect, %panic, "an effect panicked");
                            broke_down(&execution, effect, panic)
                        }
                    },
                    () = left_behind(&inner) => None,
                };
                if let Some(message) = message
                    && !(inner.stop.is_cancelled() && ended_by_us(&message))
                {
                    // The owner is gone when it stands still, and when the engine was dropped and not closed.
                    drop(sender.send(message).await);
                }
            }
            .instrument(span),
        );
    }

    /// Counts how long the engine took from the end of what a step waited for until its work begins: for the first piece
    /// of the first attempt, because what comes later waits for other things.
    fn count_overhead(&self, effect: Effect) {
        let Effect::Run { step, attempt: 1, target: 0, epoch: 1 } = effect else { return };
        if let Some(free) = meters::free_since(&self.execution, step) {
            let took = self.inner.clock.now().since(free.max(self.free_since));
            self.inner.meters.handed_out(took);
        }
    }
}

/// Waits until the engine has stopped and what still runs has had its time to end.
async fn left_behind(inner: &Inner) {
    inner.stop.cancelled().await;
    tokio::time::sleep(inner.options.cancel_wait).await;
}

/// Whether work reports that it was cancelled. While the engine stops, that says nothing about the work: it runs again
/// after the restart.
fn ended_by_us(message: &Message) -> bool {
    matches!(message, Message::Reported(_, report) if report.outcome.status == OutcomeStatus::Cancelled)
}
