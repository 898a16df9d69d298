//! Tells whether a report is older than the attempt that it should be about.

use caelum_plugin_moment::{Moment, SKEW_MS};

/// How much earlier a time without an offset may lie, in milliseconds: many runners write in their local zone, and the
/// widest is 14 hours away.
const SKEW_LOCAL_MS: i64 = 15 * 3_600_000;

/// Answers whether a time lies before the beginning of an attempt. A time that cannot be read is not held against
/// anybody.
pub(crate) fn is_older(produced_at: &str, started_at: &str) -> bool {
    let Some(started) = Moment::parse(started_at) else { return false };
    if let Some(produced) = Moment::parse(produced_at) {
        return started.since(produced) > SKEW_MS;
    }
    Moment::parse_local(produced_at).is_some_and(|produced| started.since(produced) > SKEW_LOCAL_MS)
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
