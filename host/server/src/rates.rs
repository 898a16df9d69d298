//! How many requests a client may send in a minute: one bucket for each connection, one for each caller. Whoever loops
//! without end is told to wait, and everybody else goes on. Who is refused what otherwise is not decided here, and no
//! clock is read here.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::trust::Principal;

/// The span that limits are about.
const MINUTE: Duration = Duration::from_secs(60);

/// How many requests may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests of one connection in a minute, all at once if it likes; 120,000, which is 2,000 a second for as long as it
    /// lasts. No agent and no page comes near it, a loop without end meets it. 0 sets no limit.
    pub session_per_minute_max: u32,
    /// Requests of one caller in a minute, over all connections; 480,000. 0 sets no limit.
    pub caller_per_minute_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { session_per_minute_max: 120_000, caller_per_minute_max: 480_000 }
    }
}

/// Whose bucket is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The connection's.
    Session,
    /// The caller's.
    Caller,
}

/// A request that came too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// Whose bucket is empty.
    pub whose: Whose,
    /// How many requests a minute fill it.
    pub per_minute_max: u32,
    /// When the next one may come.
    pub wait: Duration,
}

impl TooMany {
    /// Returns the time to wait in whole milliseconds, at least one.
    pub fn wait_ms(&self) -> u64 {
        u64::try_from(self.wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
    }

    /// Returns the time to wait in whole seconds, as HTTP has it, at least one.
    pub fn wait_s(&self) -> u64 {
        self.wait_ms().div_ceil(1_000)
    }
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whose, limit) = match self.whose {
            Whose::Session => ("this connection", "requests_per_minute_session_max"),
            Whose::Caller => ("this caller", "requests_per_minute_caller_max"),
        };
        write!(
            f,
            "{whose} has sent all of the {} requests that it may send in a minute; nothing was done; hint: wait {} ms and \
             send it again (the limit is {limit})",
            self.per_minute_max,
            self.wait_ms()
        )
    }
}

impl std::error::Error for TooMany {}

/// A bucket that holds a minute's worth and is filled evenly: the generic cell rate algorithm, in which one moment says
/// everything.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_minute_max: u32,
    // When the bucket is full again; a moment that has passed is as good as now.
    full_at: Mutex<Option<Instant>>,
}

impl Bucket {
    /// Returns a full one; of 0 a minute it is never empty.
    pub(crate) fn new(per_minute_max: u32) -> Self {
        Self { per_minute_max, full_at: Mutex::new(None) }
    }

    /// Takes one out, or says how long it takes until there is one.
    pub(crate) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        take(self.per_minute_max, &mut full_at, now)
    }
}

fn take(per_minute_max: u32, full_at: &mut Option<Instant>, now: Instant) -> Result<(), Duration> {
    let Some(each) = MINUTE.checked_div(per_minute_max) else { return Ok(()) };
    let next = full_at.map_or(now, |at| at.max(now)) + each;
    // Empty is what takes more than a minute to fill.
    match next.saturating_duration_since(now).checked_sub(MINUTE) {
        Some(wait) if wait > Duration::ZERO => Err(wait),
        _ => {
            *full_at = Some(next);
            Ok(())
        }
    }
}

/// The buckets of all callers, and the measure of those of connections.
#[derive(Debug)]
pub struct Rates {
    limits: Limits,
    // Each has a handful of callers: the user, and a token of each scope.
    callers: Mutex<HashMap<Principal, Option<Instant>>>,
}

/// The bucket of one connection.
#[derive(Debug)]
pub struct Share(Bucket);

impl Rates {
    /// Makes full buckets.
    pub fn new(limits: Limits) -> Self {
        Self { limits, callers: Mutex::default() }
    }

    /// Returns the full bucket of a new connection.
    pub fn share(&self) -> Share {
        Share(Bucket::new(self.limits.session_per_minute_max))
    }

    /// Takes one request out of both buckets.
    ///
    /// # Errors
    ///
    /// [`TooMany`] when one of them is empty.
    pub fn take(&self, share: &Share, principal: Principal, now: Instant) -> Result<(), TooMany> {
        let per_minute_max = self.limits.session_per_minute_max;
        share.0.take(now).map_err(|wait| TooMany {
            whose: Whose::Session,
            per_minute_max,
            wait,
        })?;
        let per_minute_max = self.limits.caller_per_minute_max;
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        take(per_minute_max, callers.entry(principal).or_default(), now).map_err(|wait| TooMany {
            whose: Whose::Caller,
            per_minute_max,
            wait,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Scope;

    const READER: Principal = Principal::Token(Scope::Read);

    fn rates(session: u32, caller: u32) -> Rates {
        Rates::new(Limits { session_per_minute_max: session, caller_per_minute_max: caller })
    }

    #[test]
    fn a_connection_may_send_its_minute_at_once_and_then_waits_for_each_request() {
        let rates = rates(60, 0);
        let share = rates.share();
        let begun = Instant::now();

        let first = (0..60).filter(|_| rates.take(&share, READER, begun).is_ok()).count();
        let refused = rates.take(&share, READER, begun).unwrap_err();
        let later = begun + Duration::from_secs(1);
        let after = rates.take(&share, READER, later);
        let again = rates.take(&share, READER, later);
        let rested = begun + Duration::from_secs(3_600);
        let full = (0..100).filter(|_| rates.take(&share, READER, rested).is_ok()).count();

        assert_eq!((first, full), (60, 60));
        assert_eq!(
            (refused.whose, refused.wait_ms(), refused.wait_s()),
            (Whose::Session, 1_000, 1)
        );
        assert_eq!(
            refused.to_string(),
            "this connection has sent all of the 60 requests that it may send in a minute; nothing was done; hint: wait \
             1000 ms and send it again (the limit is requests_per_minute_session_max)"
        );
        assert!(after.is_ok() && again.is_err());
    }

    #[test]
    fn a_caller_is_counted_over_all_connections_and_other_callers_are_not_concerned() {
        let rates = rates(0, 3);
        let shares = [rates.share(), rates.share(), rates.share(), rates.share()];
        let now = Instant::now();

        let taken: Vec<bool> =
            shares.iter().map(|share| rates.take(share, READER, now).is_ok()).collect();
        let other = rates.take(&shares[0], Principal::User, now);

        assert_eq!(taken, [true, true, true, false]);
        assert!(other.is_ok());
    }

    #[test]
    fn nothing_is_counted_where_there_is_no_limit() {
        let rates = rates(0, 0);
        let (share, now) = (rates.share(), Instant::now());

        assert!((0..10_000).all(|_| rates.take(&share, Principal::User, now).is_ok()));
    }
}
