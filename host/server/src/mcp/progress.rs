//! Reports how far a call has come. Sending is the transport's business; this module keeps the protocol's rule that
//! progress only ever grows.

use std::fmt;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;

/// One report of progress.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// How much is done, in the unit of `total`.
    pub done: f64,
    /// How much there is, where it is known.
    pub total: Option<f64>,
    /// One short sentence for a person.
    pub message: String,
}

type Sink = dyn Fn(Update) -> BoxFuture<'static, ()> + Send + Sync;

/// A cheap handle through which a tool reports progress; it does nothing when the client did not ask for reports.
#[derive(Clone, Default)]
pub struct Progress {
    sink: Option<Arc<Sink>>,
    // Shared by all clones of one call's handle, so that concurrent reporters cannot send a smaller number later.
    last: Arc<Mutex<Option<f64>>>,
}

impl Progress {
    /// Makes a handle that swallows every report.
    pub fn silent() -> Self {
        Self::default()
    }

    /// Makes a handle that hands growing reports to `sink`.
    pub fn new(sink: impl Fn(Update) -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self { sink: Some(Arc::new(sink)), last: Arc::default() }
    }

    /// Says whether the client asked for reports; lets a tool skip the work of making them.
    pub fn is_wanted(&self) -> bool {
        self.sink.is_some()
    }

    /// Sends a report; one that does not grow past the last is dropped, as the protocol demands.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may lose its report, never reorder them.
    pub async fn report(&self, done: f64, total: Option<f64>, message: impl Into<String>) {
        let Some(sink) = &self.sink else { return };
        {
            let mut last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if !done.is_finite() || last.is_some_and(|last| done <= last) {
                return;
            }
            *last = Some(done);
        }
        sink(Update { done, total, message: message.into() }).await;
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("wanted", &self.is_wanted()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reports_that_do_not_grow_are_dropped() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let progress = Progress::new(move |update| {
            sink.lock().unwrap().push(update.done);
            Box::pin(async {})
        });

        for done in [1.0, 1.0, 0.5, f64::NAN, 2.0] {
            progress.report(done, None, "").await;
        }

        assert_eq!(*seen.lock().unwrap(), [1.0, 2.0]);
    }
}
