//! Timestamps, and the trait through which the shell tells the time. Nothing here reads a clock.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment in time: microseconds since 1970-01-01T00:00:00Z.
///
/// Shown, stored in JSON and sent as RFC 3339 in UTC with microseconds; stored in SQL columns as the integer. Wall time
/// orders nothing in the state machine: the sequence of events does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first moment: 1970-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// Builds a timestamp from microseconds since 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Timestamp(micros)
    }

    /// Returns microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns the moment `span` later; stays at the last representable moment rather than wrapping.
    pub fn plus(self, span: Duration) -> Self {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(micros))
    }

    /// Returns the moment `span` earlier; stays at the first representable moment rather than wrapping.
    pub fn minus(self, span: Duration) -> Self {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_sub(micros))
    }

    /// Returns how long after `earlier` this moment is; zero when it is not later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }
}

/// The text is not a moment in RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a timestamp; expected RFC 3339 such as 2026-01-31T12:00:00Z")]
pub struct TimestampError(String);

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed: jiff::Timestamp = text.parse().map_err(|_| TimestampError(text.to_owned()))?;
        Ok(Timestamp(parsed.as_microsecond()))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => write!(formatter, "{timestamp:.6}"),
            Err(_) => write!(formatter, "{}us", self.0),
        }
    }
}

/// Tells the time. The shell has the system's clock, tests have [`HandClock`].
pub trait Clock: Send + Sync + fmt::Debug {
    /// Returns the present moment.
    fn now(&self) -> Timestamp;
}

/// A clock that a test moves by hand.
#[derive(Debug, Default)]
pub struct HandClock(AtomicI64);

impl HandClock {
    /// Builds a clock that shows `now` until it is moved.
    pub fn at(now: Timestamp) -> Self {
        HandClock(AtomicI64::new(now.as_micros()))
    }

    /// Moves the clock forward by `span`.
    pub fn advance(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_and_parses_rfc_3339_in_utc() {
        let moment: Timestamp = "2025-08-13T23:30:00.25+02:00".parse().expect("valid");
        assert_eq!(moment.to_string(), "2025-08-13T21:30:00.250000Z");
        assert_eq!(moment.to_string().parse(), Ok(moment));
    }

    #[test]
    fn says_what_a_timestamp_looks_like() {
        let error = "yesterday".parse::<Timestamp>().expect_err("not a time");
        assert_eq!(
            error.to_string(),
            "`yesterday` is not a timestamp; expected RFC 3339 such as 2026-01-31T12:00:00Z"
        );
    }
}
