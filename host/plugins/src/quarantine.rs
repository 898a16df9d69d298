//! Keeping a plugin out for a while when it fails again and again: its callers are answered at once, and the processors
//! are left to the others. Each plugin for itself, by its digest: a new file begins anew.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use caelum_core::id::Digest;
use caelum_core::plugin::HostReason;

use crate::limits::Limits;

/// A plugin that is kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantine {
    /// For how long still.
    pub remaining: Duration,
    /// How often it has been kept out in a row.
    pub times: u32,
}

/// What is remembered of one plugin's failures.
#[derive(Debug, Default)]
pub(crate) struct Strikes(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    /// When it failed, oldest first; at most as many as are needed.
    failures: VecDeque<Instant>,
    until: Option<Instant>,
    times: u32,
}

impl Strikes {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether it is kept out, and for how long.
    pub(crate) fn quarantine(&self, now: Instant) -> Option<Quarantine> {
        let record = self.record();
        let remaining = record.until?.checked_duration_since(now)?;
        (!remaining.is_zero()).then_some(Quarantine { remaining, times: record.times })
    }

    /// Refuses a call while the plugin is kept out. When the time is over it may try again.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), HostReason> {
        match self.quarantine(now) {
            None => Ok(()),
            Some(quarantine) => Err(HostReason::Quarantined {
                retry_after_s: quarantine.remaining.as_millis().div_ceil(1_000) as u64,
            }),
        }
    }

    /// Notes how a call has ended. Returns for how long the plugin is kept out, when this was once too often.
    pub(crate) fn note(
        &self,
        reason: Option<&HostReason>,
        now: Instant,
        limits: &Limits,
    ) -> Option<Duration> {
        let struck = match reason {
            None => false,
            Some(
                HostReason::Timeout { .. }
                | HostReason::OutOfMemory { .. }
                | HostReason::Trap { .. },
            ) => true,
            // Neither proves anything about the plugin's health.
            Some(_) => return None,
        };
        let mut record = self.record();
        if !struck {
            // It has answered after a quarantine: the next one begins small again.
            if record.until.is_some_and(|until| until <= now) {
                *record = Record::default();
            }
            return None;
        }
        if record.until.is_some_and(|until| until > now) {
            // A call that was under way when the quarantine began.
            return None;
        }
        while let Some(oldest) = record.failures.front()
            && now.saturating_duration_since(*oldest) > limits.strike_window
        {
            record.failures.pop_front();
        }
        record.failures.push_back(now);
        // Once it has been kept out, a single failure shows that it is no better.
        if record.times == 0 && (record.failures.len() as u64) < limits.strikes_max {
            return None;
        }
        let doubled = limits.quarantine_first.saturating_mul(1 << record.times.min(16));
        let span = doubled.min(limits.quarantine_longest);
        record.failures.clear();
        record.until = Some(now + span);
        record.times += 1;
        Some(span)
    }

    /// Forgets everything: the operator says that it may try again.
    pub(crate) fn clear(&self) {
        *self.record() = Record::default();
    }

    fn is_clean(&self) -> bool {
        let record = self.record();
        record.failures.is_empty() && record.until.is_none()
    }
}

/// The failures of every plugin of a process, by digest, so that reading a file again does not clear them.
#[derive(Debug, Default)]
pub(crate) struct StrikeBook(Mutex<HashMap<Digest, Arc<Strikes>>>);

impl StrikeBook {
    /// Returns the page of one plugin.
    pub(crate) fn of(&self, digest: &Digest) -> Arc<Strikes> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What no plugin holds and has nothing to tell need not be remembered.
        pages.retain(|_, page| Arc::strong_count(page) > 1 || !page.is_clean());
        Arc::clone(pages.entry(digest.clone()).or_default())
    }

    /// Forgets the failures of one plugin.
    pub(crate) fn clear(&self, digest: &Digest) {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = pages.get(digest) {
            page.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn timeout() -> HostReason {
        HostReason::Timeout { limit_ms: 1 }
    }

    fn strike(strikes: &Strikes, now: Instant) -> Option<Duration> {
        strikes.note(Some(&timeout()), now, &Limits::default())
    }

    #[test]
    fn the_third_failure_in_ten_minutes_keeps_a_plugin_out_and_the_time_doubles() {
        let (strikes, start) = (Strikes::default(), Instant::now());

        assert_eq!(strike(&strikes, start), None);
        assert_eq!(strike(&strikes, start + SECOND), None);
        assert_eq!(strikes.admit(start + SECOND), Ok(()));
        let third = start + 2 * SECOND;
        assert_eq!(strike(&strikes, third), Some(60 * SECOND));

        assert_eq!(strikes.admit(third), Err(HostReason::Quarantined { retry_after_s: 60 }));
        let later = third + 60 * SECOND;
        assert_eq!(strikes.admit(later), Ok(()));
        assert_eq!(strike(&strikes, later), Some(120 * SECOND));
        let mut now = later + 120 * SECOND;
        for expected in [240, 480, 960, 1_920, 3_600, 3_600] {
            assert_eq!(strike(&strikes, now), Some(expected * SECOND));
            now += expected * SECOND;
        }
    }

    #[test]
    fn failures_far_apart_and_other_endings_do_not_count() {
        let (strikes, start) = (Strikes::default(), Instant::now());
        let limits = Limits::default();

        for number in 0..10 {
            assert_eq!(strike(&strikes, start + number * 301 * SECOND), None, "{number}");
        }
        for _ in 0..10 {
            let busy = HostReason::Busy { waiting: 1 };
            assert_eq!(strikes.note(Some(&busy), start, &limits), None);
            assert_eq!(strikes.note(Some(&HostReason::Cancelled), start, &limits), None);
        }
    }

    #[test]
    fn an_answer_after_a_quarantine_and_the_operator_forgive_everything() {
        let (strikes, start) = (Strikes::default(), Instant::now());
        for _ in 0..3 {
            strike(&strikes, start);
        }
        let after = start + 61 * SECOND;

        strikes.note(None, after, &Limits::default());
        assert_eq!(strike(&strikes, after), None, "the first of three again");

        strike(&strikes, after);
        strike(&strikes, after);
        assert!(strikes.admit(after).is_err());
        strikes.clear();
        assert_eq!(strikes.admit(after), Ok(()));
    }

    #[test]
    fn each_plugin_has_a_page_of_its_own_that_outlives_its_file() {
        let book = StrikeBook::default();
        let (one, other) = (Digest::from_bytes(&[1; 32]), Digest::from_bytes(&[2; 32]));
        let now = Instant::now();
        for _ in 0..3 {
            strike(&book.of(&one), now);
        }

        assert!(book.of(&one).admit(now).is_err());
        assert_eq!(book.of(&other).admit(now), Ok(()));
        book.clear(&one);
        assert_eq!(book.of(&one).admit(now), Ok(()));
    }
}
