//! Somebody who is told of every commit while it happens: for tests that let the process die at exactly that moment.

use std::fmt;
use std::sync::Arc;

/// A moment around a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitMoment {
    /// Every change is made and none is committed.
    Before,
    /// It is committed, and nobody has been told.
    After,
}

/// Is told of every commit that changes something, on the thread that writes, which goes on when it returns. Nothing of
/// the store may be asked from within.
#[derive(Clone)]
pub struct CommitWatch(Arc<dyn Fn(CommitMoment) + Send + Sync>);

impl CommitWatch {
    /// Builds one from what it does.
    pub fn new(watch: impl Fn(CommitMoment) + Send + Sync + 'static) -> Self {
        CommitWatch(Arc::new(watch))
    }

    pub(crate) fn tell(&self, moment: CommitMoment) {
        (self.0)(moment);
    }
}

impl fmt::Debug for CommitWatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CommitWatch").finish_non_exhaustive()
    }
}

impl PartialEq for CommitWatch {
    /// Two are the same when they are clones of one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for CommitWatch {}
