//! How a span of time went, part by part: enough for a curve. Read from the same indexes as the sums.

use std::collections::BTreeMap;
use std::time::Duration;

use caelum_core::clock::Timestamp;
use rusqlite::OptionalExtension;

use super::span::{Span, micros};
use super::{Durations, MetricsFilter};
use crate::error::Fault;
use crate::measure::gate_reason;
use crate::{Store, StoreError};

/// The most parts that a span is divided into, one more where it does not begin with a whole one: what a curve of a few
/// hundred pixels shows.
pub const HISTORY_PARTS_MAX: u32 = 32;

/// How long one part may be, in seconds: spans that people count in. Longer ones are multiples of the last.
const WIDTHS_S: &[u64] =
    &[1, 5, 15, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_419_200];

pub(crate) const SELECT_FIRST_ENDED: &str = "
    SELECT ended_at FROM execution INDEXED BY execution_finished
    WHERE ended_at >= ?1 AND kind = 'workflow' AND (?2 IS NULL OR workflow_id = ?2)
    ORDER BY ended_at LIMIT 1";
pub(crate) const SELECT_ENDED: &str = "
    SELECT ended_at, status, ended_at - started_at FROM execution INDEXED BY execution_finished
    WHERE ended_at >= ?1 AND kind = 'workflow' AND (?2 IS NULL OR workflow_id = ?2)
    ORDER BY ended_at DESC LIMIT ?3";
pub(crate) const SELECT_JUDGED: &str = "
    SELECT v.at, v.reason FROM event v CROSS JOIN execution e ON e.key = v.execution
    WHERE v.kind = ?4 AND v.reason IS NOT NULL AND v.at >= ?1
        AND (?2 IS NULL OR e.workflow_id = ?2)
    ORDER BY v.at DESC LIMIT ?3";

/// What happened in one part of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPart {
    /// When it begins; a multiple of its length.
    pub at: Timestamp,
    /// Executions of workflows that ended, by status.
    pub ended: BTreeMap<String, u64>,
    /// How long they had taken.
    pub duration: Durations,
    /// Judgements of gates, by verdict.
    pub verdicts: BTreeMap<String, u64>,
}

/// How a span of time went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// How long each part is.
    pub width: Duration,
    /// The parts, the oldest first, those in which nothing happened too; none when everything was asked for and nothing
    /// ever ended.
    pub parts: Vec<HistoryPart>,
}

impl Store {
    /// Tells how a span of time went, until `until`.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn history(
        &self,
        filter: &MetricsFilter,
        until: Timestamp,
    ) -> Result<History, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| {
            let workflow = filter.workflow_id.as_ref().map(caelum_core::id::WorkflowId::as_str);
            let since = match filter.since {
                Some(since) => Some(since.as_micros()),
                None => connection
                    .prepare_cached(SELECT_FIRST_ENDED)?
                    .query_row((i64::MIN, workflow), |row| row.get(0))
                    .optional()?,
            };
            let Some(since) = since else { return Ok(History::default()) };
            let mut span = Span { connection, since, workflow, truncated: false };
            Parts::of(since, until.as_micros()).filled(&mut span)
        })
        .await
    }
}

/// A span divided into parts.
struct Parts {
    /// When the first begins, in microseconds.
    first: i64,
    /// How long each is, in microseconds.
    width: i64,
    count: usize,
}

impl Parts {
    fn of(since: i64, until: i64) -> Self {
        let whole = until.max(since).abs_diff(since);
        let most = u64::from(HISTORY_PARTS_MAX);
        let fits = |width_s: &&u64| whole.div_ceil(**width_s * 1_000_000) <= most;
        let longest = WIDTHS_S.last().copied().unwrap_or(1);
        let width_s = WIDTHS_S
            .iter()
            .find(fits)
            .copied()
            .unwrap_or_else(|| longest * whole.div_ceil(longest * 1_000_000).div_ceil(most));
        let width = i64::try_from(width_s * 1_000_000).unwrap_or(i64::MAX);
        let (first, last) = (since.div_euclid(width), until.max(since).div_euclid(width));
        let count = usize::try_from(last - first + 1).unwrap_or(1);
        Self { first: first.saturating_mul(width), width, count }
    }

    /// Returns the part that a moment lies in; what a clock that was set back puts behind the end lies in the last.
    fn at(&self, moment: i64) -> usize {
        let part = moment.saturating_sub(self.first).div_euclid(self.width);
        usize::try_from(part).unwrap_or_default().min(self.count - 1)
    }

    fn filled(&self, span: &mut Span<'_>) -> Result<History, Fault> {
        let mut ended: Vec<BTreeMap<String, u64>> = vec![BTreeMap::new(); self.count];
        let mut took: Vec<Vec<u64>> = vec![Vec::new(); self.count];
        span.each(SELECT_ENDED, None, |row| {
            let part = self.at(row.get(0)?);
            *ended[part].entry(row.get(1)?).or_default() += 1;
            took[part].extend(micros(row, 2)?);
            Ok(())
        })?;
        let mut verdicts: Vec<BTreeMap<String, u64>> = vec![BTreeMap::new(); self.count];
        span.each(SELECT_JUDGED, Some("gate_judged"), |row| {
            let reason: String = row.get(1)?;
            let (_, verdict, _) = gate_reason(&reason);
            *verdicts[self.at(row.get(0)?)].entry(verdict.to_owned()).or_default() += 1;
            Ok(())
        })?;
        let parts = (0..).zip(ended).zip(took).zip(verdicts);
        let parts = parts.map(|(((index, ended), took), verdicts)| HistoryPart {
            at: Timestamp::from_micros(self.first.saturating_add(self.width.saturating_mul(index))),
            ended,
            duration: Durations::of(took),
            verdicts,
        });
        Ok(History {
            width: Duration::from_micros(u64::try_from(self.width).unwrap_or_default()),
            parts: parts.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;
    const DAY: i64 = 24 * 60 * MINUTE;

    #[test]
    fn parts_are_as_long_as_people_count_and_begin_at_whole_ones() {
        let until = 19_000 * DAY + 17 * MINUTE;
        for (span, width, count) in [
            (0, 1_000_000, 1),
            (15 * MINUTE, MINUTE / 2, 31),
            (DAY, 60 * MINUTE, 25),
            (7 * DAY, 360 * MINUTE, 29),
            (30 * DAY, DAY, 31),
            (365 * DAY, 28 * DAY, 14),
            (4_000 * DAY, 140 * DAY, 29),
        ] {
            let parts = Parts::of(until - span, until);

            assert_eq!((parts.width, parts.first % parts.width), (width, 0), "{span}");
            assert!(parts.count <= 1 + HISTORY_PARTS_MAX as usize, "{span}: {}", parts.count);
            assert!(parts.count.abs_diff(count) <= 1, "{span}: {}", parts.count);
            assert_eq!((parts.at(until - span), parts.at(until)), (0, parts.count - 1), "{span}");
        }
    }

    #[test]
    fn a_moment_outside_of_the_span_lies_at_its_edge() {
        let parts = Parts::of(0, 10 * MINUTE);

        assert_eq!((parts.at(-MINUTE), parts.at(i64::MAX)), (0, parts.count - 1));
        assert_eq!(Parts::of(MINUTE, 0).count, 1);
        assert!(Parts::of(i64::MIN, i64::MAX).count <= 1 + HISTORY_PARTS_MAX as usize);
    }
}
