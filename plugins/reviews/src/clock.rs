//! Compares times of evidence.

use jiff::{SignedDuration, Timestamp};

/// How far clocks of machines may differ before a time counts as earlier.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// Answers whether a time lies before another by more than clocks differ. Times that cannot be read are not compared.
pub fn is_before(time: &str, than: &str) -> bool {
    match (time.parse::<Timestamp>(), than.parse::<Timestamp>()) {
        (Ok(time), Ok(than)) => than.duration_since(time) > SKEW,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_differences_of_clocks_do_not_matter() {
        assert!(is_before("2026-01-01T11:59:50Z", "2026-01-01T12:00:00Z"));
        assert!(!is_before("2026-01-01T11:59:57Z", "2026-01-01T12:00:00Z"));
        assert!(!is_before("2026-01-01T14:00:00+02:00", "2026-01-01T12:00:00Z"));
        assert!(!is_before("", "2026-01-01T12:00:00Z"));
    }
}
