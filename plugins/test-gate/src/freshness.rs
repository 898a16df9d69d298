//! Tells whether a report is older than the attempt that it should be about.

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

/// How much earlier than the attempt a report may say it was made: clocks of machines differ.
const SKEW: SignedDuration = SignedDuration::from_secs(5);
/// The same for times without an offset, which many runners write in their local zone: the widest zone is 14 hours.
const SKEW_LOCAL: SignedDuration = SignedDuration::from_hours(15);

/// Answers whether a time lies before the beginning of an attempt. A time that cannot be read is not held against
/// anybody.
pub(crate) fn is_older(produced_at: &str, started_at: &str) -> bool {
    let Ok(started) = started_at.parse::<Timestamp>() else { return false };
    if let Ok(produced) = produced_at.trim().parse::<Timestamp>() {
        return started.duration_since(produced) > SKEW;
    }
    let Ok(local) = produced_at.trim().parse::<DateTime>() else { return false };
    let Ok(produced) = jiff::tz::TimeZone::UTC.to_timestamp(local) else { return false };
    started.duration_since(produced) > SKEW_LOCAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_attempt_are_older() {
        let started = "2026-01-01T12:00:00Z";
        for (time, older) in [
            ("2026-01-01T12:00:03Z", false),
            ("2026-01-01T11:59:57Z", false),
            ("2026-01-01T11:59:00Z", true),
            ("2026-01-01T13:59:00+02:00", true),
            ("2026-01-01T14:00:01.123+02:00", false),
            ("2026-01-01T04:00:00", false),
            ("2025-12-31T12:00:00", true),
            ("yesterday", false),
        ] {
            assert_eq!(is_older(time, started), older, "{time}");
        }
        assert!(!is_older("2026-01-01T11:00:00Z", ""));
    }
}
