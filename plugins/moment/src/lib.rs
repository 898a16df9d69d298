//! Reads and compares the times in evidence.
//!
//! A calendar library would do it, too, and add a quarter of a megabyte to every validator; these need no more than to
//! know which of two times is the earlier. The tests hold it against such a library.

/// How far clocks of machines may differ before a time counts as earlier than another, in milliseconds.
pub const SKEW_MS: i64 = 5_000;

/// A point in time, in milliseconds since 1970 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

impl Moment {
    /// Reads an RFC 3339 time: `2026-01-01T12:00:00.5Z`, `2026-01-01 13:00:00+01:00`. Anything finer than a
    /// millisecond is cut off. Nothing for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (local, rest) = local(text.trim())?;
        let offset = match rest {
            "Z" | "z" => 0,
            _ => offset(rest)?,
        };
        Some(Moment(local - offset))
    }

    /// Reads a time without an offset, `2026-01-01T12:00:00`, as if it were in UTC.
    pub fn parse_local(text: &str) -> Option<Self> {
        let (local, rest) = local(text.trim())?;
        rest.is_empty().then_some(Moment(local))
    }

    /// Returns how many milliseconds later this is than another; negative when it is earlier.
    pub fn since(self, other: Moment) -> i64 {
        self.0.saturating_sub(other.0)
    }

    /// Returns the same time with its fraction of a second cut off.
    #[must_use]
    pub fn whole_second(self) -> Self {
        Moment(self.0.div_euclid(1000) * 1000)
    }
}

/// Answers whether a time lies before another by more than clocks differ. Times that cannot be read are not compared.
pub fn is_before(time: &str, than: &str) -> bool {
    match (Moment::parse(time), Moment::parse(than)) {
        (Some(time), Some(than)) => than.since(time) > SKEW_MS,
        _ => false,
    }
}

/// Reads date and time of day, and returns what stands behind them.
fn local(text: &str) -> Option<(i64, &str)> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (hour, rest) = digits(rest.strip_prefix(['T', 't', ' '])?, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (second, mut rest) = digits(rest.strip_prefix(':')?, 2)?;
    let mut millisecond = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let length =
            fraction.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(fraction.len());
        if length == 0 || length > 9 {
            return None;
        }
        let (known, _) = fraction.split_at(length.min(3));
        let scale = [0, 100, 10, 1][known.len()];
        millisecond = known.parse::<i64>().ok()? * scale;
        rest = &fraction[length..];
    }
    // A leap second is taken for the second before it.
    let second = second.min(59 + i64::from(second > 60));
    let valid = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !valid {
        return None;
    }
    let days = days_since_epoch(year, month, day);
    Some((((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + millisecond, rest))
}

/// Reads `+01:00` in milliseconds.
fn offset(text: &str) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, text.strip_prefix('-')?),
    };
    let (hours, rest) = digits(rest, 2)?;
    let (minutes, rest) = digits(rest.strip_prefix(':')?, 2)?;
    (rest.is_empty() && hours < 24 && minutes < 60)
        .then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let number = text.get(..count)?;
    let all = number.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| Some((number.parse().ok()?, &text[count..])))?
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts days from 1970-01-01 in the Gregorian calendar. Years are counted from March, so that the leap day is the
/// last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // Months of 31, 30, 31, 30, 31 days make 153.
    let days_of_months = (153 * month + 2) / 5;
    year * 365 + leap_days + days_of_months + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_differences_of_clocks_do_not_matter() {
        assert!(is_before("2026-01-01T11:59:50Z", "2026-01-01T12:00:00Z"));
        assert!(!is_before("2026-01-01T11:59:57Z", "2026-01-01T12:00:00Z"));
        assert!(!is_before("2026-01-01T14:00:00+02:00", "2026-01-01T12:00:00Z"));
        assert!(!is_before("", "2026-01-01T12:00:00Z"));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2026",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "é026-01-01T00:00:00Z",
            "2026-01-01T00:00:00ZZ",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
        assert!(Moment::parse_local("2024-02-29 23:59:60").is_some());
        assert_eq!(Moment::parse_local("2026-01-01T00:00:00Z"), None);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_calendar_library(milliseconds in -62_000_000_000_000_i64..250_000_000_000_000, hours in -12_i8..=14) {
            let timestamp = jiff::Timestamp::from_millisecond(milliseconds).expect("in range");
            let zone = jiff::tz::Offset::constant(hours).to_time_zone();
            let text = timestamp.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string();
            prop_assert_eq!(Moment::parse(&text), Some(Moment(milliseconds)), "{}", text);
            prop_assert_eq!(Moment::parse(&timestamp.to_string()), Some(Moment(milliseconds)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = Moment::parse(&text);
        }
    }
}
