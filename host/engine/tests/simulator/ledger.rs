//! What callers were told: the promises that the engine has to keep.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use caelum_core::workflow::Execution;

/// What a caller asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A new execution.
    Execute,
    /// To take work done by hand.
    Complete,
    /// To take a decision about an unknown outcome.
    Decide,
    /// To take a review.
    Review,
    /// To pause.
    Pause,
    /// To go on.
    Resume,
    /// To end it.
    Cancel,
    /// To begin failed steps anew.
    Retry,
}

/// What a caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is done, and on disk.
    Accepted,
    /// It will not be done.
    Refused,
}

/// One call that was answered. Calls that nobody heard an answer of are not in the ledger: they may have happened.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) asked: Asked,
    pub(crate) told: Told,
    /// The execution that it was about, or that it made.
    pub(crate) execution: String,
    /// The name that the caller gave: no other request has it, except for one with the same idempotency key.
    pub(crate) by: String,
}

/// What everybody was told, in order.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    calls: Vec<Call>,
    seen: Vec<Arc<Execution>>,
    known: Vec<String>,
}

/// A place in the ledger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    calls: usize,
    seen: usize,
    known: usize,
}

impl Ledger {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn told(&self, call: Call) {
        let mut pages = self.pages();
        if call.told == Told::Accepted && !pages.known.contains(&call.execution) {
            pages.known.push(call.execution.clone());
        }
        pages.calls.push(call);
    }

    /// Remembers an execution as somebody was shown it: whoever shows it says that it is on disk.
    pub(crate) fn saw(&self, execution: &Arc<Execution>) {
        self.pages().seen.push(Arc::clone(execution));
    }

    /// Returns the executions that somebody has heard of.
    pub(crate) fn known(&self) -> Vec<String> {
        self.pages().known.clone()
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.pages().calls.clone()
    }

    pub(crate) fn seen(&self) -> Vec<Arc<Execution>> {
        self.pages().seen.clone()
    }

    pub(crate) fn mark(&self) -> Mark {
        let pages = self.pages();
        Mark { calls: pages.calls.len(), seen: pages.seen.len(), known: pages.known.len() }
    }

    /// Forgets what was said after a mark: it was said in a future that a crash took away.
    pub(crate) fn forget_after(&self, mark: Mark) {
        let mut pages = self.pages();
        pages.calls.truncate(mark.calls);
        pages.seen.truncate(mark.seen);
        pages.known.truncate(mark.known);
    }
}
