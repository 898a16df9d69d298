//! Retention by itself: what ended long ago is archived, where that is wanted, and forgotten. It sleeps until something
//! can be due: until the oldest execution is old enough, or until there are too many.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use caelum_core::clock::Timestamp;
use caelum_store::{Expiry, Kept, Retained, StoreError};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::engine::Inner;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is kept, and where the rest goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionOptions {
    /// Days that an execution is kept after its end, and plans and idempotency keys after they were made; 90, because
    /// reviews are by quarter as a rule. 0 keeps them for ever.
    pub days: u64,
    /// Executions that have ended and are kept, the newest of them; 100,000, about 1 GB. 0 keeps any number. A
    /// twentieth more may be there before the oldest go together.
    pub executions_max: u64,
    /// Where what goes is archived; nothing means nowhere.
    pub archive: Option<PathBuf>,
    /// The least time between two looks that find something by age; 1 h, so that what expires in a row goes together.
    pub pause: Duration,
}

impl Default for RetentionOptions {
    fn default() -> Self {
        RetentionOptions {
            days: 90,
            executions_max: 100_000,
            archive: None,
            pause: Duration::from_secs(3_600),
        }
    }
}

impl RetentionOptions {
    fn age(&self) -> Option<Duration> {
        let days = u32::try_from(self.days).unwrap_or(u32::MAX);
        (days > 0).then(|| DAY.saturating_mul(days))
    }

    fn has_too_many(&self, executions: u64) -> bool {
        let max = self.executions_max;
        max > 0 && executions > max.saturating_add(max / 20)
    }

    /// Returns the moment before which everything is too old.
    fn too_old(&self, now: Timestamp) -> Option<Timestamp> {
        self.age().map(|age| now.minus(age))
    }

    /// Returns when the oldest of what is kept will be too old; without anything, when something made now would be.
    fn due(&self, kept: &Kept, now: Timestamp) -> Option<Timestamp> {
        let age = self.age()?;
        let oldest = kept.oldest_execution.into_iter().chain(kept.oldest_other).min();
        // What is `age` old now goes only when it is older.
        Some(oldest.unwrap_or(now).plus(age).plus(Duration::from_micros(1)))
    }
}

/// What wakes retention.
#[derive(Debug)]
pub(crate) struct Retention {
    /// Executions that have ended and are kept, as far as is known.
    finished: AtomicU64,
    /// When something is due, as microseconds.
    due_at: AtomicI64,
    /// Before this, as microseconds, nobody is woken: the store failed.
    quiet_until: AtomicI64,
    wake: Notify,
    /// Why the last try failed. Locked for a line.
    problem: Mutex<Option<String>>,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            finished: AtomicU64::new(0),
            due_at: AtomicI64::new(i64::MAX),
            quiet_until: AtomicI64::new(i64::MIN),
            wake: Notify::new(),
            problem: Mutex::default(),
        }
    }
}

impl Retention {
    /// Counts an execution that ended, and wakes retention when something is due by that.
    pub(crate) fn ended(&self, options: &RetentionOptions, now: Timestamp) {
        let finished = self.finished.fetch_add(1, Ordering::Relaxed) + 1;
        let now = now.as_micros();
        let due = options.has_too_many(finished) || now >= self.due_at.load(Ordering::Relaxed);
        if due && now >= self.quiet_until.load(Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }

    /// Returns why what has expired could not be taken away; nothing when it could.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// Takes away what has expired, whenever something has, until the engine stops.
pub(crate) async fn keep(inner: Arc<Inner>) {
    let options = &inner.options.retention;
    if options.days == 0 && options.executions_max == 0 {
        return;
    }
    let retention = &inner.retention;
    loop {
        let next = tokio::select! {
            () = inner.stop.cancelled() => return,
            next = inner.retain() => next,
        };
        let next = match next {
            Ok(next) => {
                retention.tell(None);
                next
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                let again = inner.clock.now().plus(options.pause);
                retention.tell(Some(error.to_string()));
                warn!(%error, "what has expired could not be taken away; it is tried again");
                retention.quiet_until.store(again.as_micros(), Ordering::Relaxed);
                Some(again)
            }
        };
        let at = next.map_or(i64::MAX, Timestamp::as_micros);
        retention.due_at.store(at, Ordering::Relaxed);
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = retention.wake.notified() => {}
            () = sleep_until(next, &inner) => {}
        }
    }
}

async fn sleep_until(moment: Option<Timestamp>, inner: &Inner) {
    match moment {
        Some(moment) => tokio::time::sleep(moment.since(inner.clock.now())).await,
        None => std::future::pending().await,
    }
}

impl Inner {
    /// Takes away what has expired, and returns when to look again; nothing when only numbers count.
    async fn retain(&self) -> Result<Option<Timestamp>, StoreError> {
        let options = &self.options.retention;
        let now = self.clock.now();
        let mut kept = self.store.kept().await?;
        let mut due = options.due(&kept, now);
        let too_old = options.too_old(now).unwrap_or(Timestamp::from_micros(i64::MIN));
        let has_old = due.is_some_and(|due| due <= now);
        let too_many = options.has_too_many(kept.executions);
        if has_old || too_many {
            let mut executions_before = too_old;
            if too_many {
                // This one is the oldest of those that stay.
                let gone = kept.executions - options.executions_max;
                let first = self.store.finished_at(gone).await?;
                executions_before = executions_before.max(first.unwrap_or(too_old));
            }
            let archive = options.archive.as_ref().map(|directory| {
                directory.join(format!("executions-{}.jsonl.zst", file_time(now)))
            });
            let expiry = Expiry { executions_before, others_before: too_old, archive };
            let gone = self.store.retain(&expiry).await?;
            tell(&gone, &expiry);
            kept = self.store.kept().await?;
            due = options.due(&kept, now).map(|due| due.max(now.plus(options.pause)));
        }
        self.retention.finished.store(kept.executions, Ordering::Relaxed);
        Ok(due)
    }
}

/// Writes a moment so that it can stand in the name of a file.
pub(crate) fn file_time(moment: Timestamp) -> String {
    moment.to_string().replace(':', "-")
}

fn tell(gone: &Retained, expiry: &Expiry) {
    let archive = expiry.archive.as_ref().filter(|_| gone.executions > 0);
    info!(
        executions = gone.executions,
        plans = gone.plans,
        keys = gone.keys,
        archive = archive.map(|path| path.display().to_string()),
        "what has expired is gone"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: u32) -> Timestamp {
        Timestamp::EPOCH.plus(DAY * days)
    }

    #[test]
    fn something_is_due_when_the_oldest_of_all_is_older_than_it_may_be() {
        let options = RetentionOptions { days: 30, ..RetentionOptions::default() };
        let kept =
            Kept { executions: 2, oldest_execution: Some(at(10)), oldest_other: Some(at(12)) };

        let due = options.due(&kept, at(20)).expect("a moment");

        assert!(due > at(40) && due < at(40).plus(Duration::from_secs(1)));
        assert_eq!(options.too_old(due), Some(at(10).plus(Duration::from_micros(1))));
        assert!(options.due(&Kept::default(), at(20)).expect("a moment") > at(50));
        assert_eq!(RetentionOptions { days: 0, ..options }.due(&kept, at(20)), None);
    }

    #[test]
    fn a_few_too_many_are_let_be_until_they_are_a_twentieth() {
        let options = RetentionOptions { executions_max: 100, ..RetentionOptions::default() };

        assert!(!options.has_too_many(105) && options.has_too_many(106));
        let none = RetentionOptions { executions_max: 0, ..options };
        assert!(!none.has_too_many(u64::MAX));
    }

    #[test]
    fn an_end_wakes_retention_only_when_something_is_due() {
        let options = RetentionOptions { executions_max: 2, ..RetentionOptions::default() };
        let retention = Retention::default();
        retention.ended(&options, at(1));
        retention.ended(&options, at(1));
        assert!(!woken(&retention));
        retention.ended(&options, at(1));
        assert!(woken(&retention));

        retention.quiet_until.store(at(2).as_micros(), Ordering::Relaxed);
        retention.ended(&options, at(1));
        assert!(!woken(&retention), "the store failed a moment ago");
        retention.finished.store(0, Ordering::Relaxed);
        retention.due_at.store(at(3).as_micros(), Ordering::Relaxed);
        retention.ended(&options, at(2));
        assert!(!woken(&retention));
        retention.ended(&options, at(3));
        assert!(woken(&retention));
    }

    /// Returns whether somebody who waits now is woken.
    fn woken(retention: &Retention) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let waits = std::pin::pin!(retention.wake.notified());
        waits.poll(&mut context).is_ready()
    }
}
