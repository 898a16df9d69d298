//! One span of time: index rows folded into sums, as they come.

use std::collections::BTreeMap;

use caelum_core::clock::Timestamp;
use rusqlite::{Connection, Row};

use super::{
    COMPLIANCE_PARTS, ComplianceMetrics, Durations, GateMetrics, METRIC_ROWS_MAX, MachineMetrics,
    PatternMetrics, ReasonCount, SELECT_COMPLIANCE, SELECT_EXECUTIONS, SELECT_MEASURED,
    SELECT_PATTERNS, SELECT_STEPS, SELECT_TARGETS, StepMetrics, WorkflowMetrics,
};
use crate::body::count;
use crate::error::Fault;
use crate::measure::gate_reason;

/// One span of time, read from one connection.
pub(super) struct Span<'a> {
    pub(super) connection: &'a Connection,
    pub(super) since: i64,
    pub(super) workflow: Option<&'a str>,
    /// Whether a query found more rows than are looked at.
    pub(super) truncated: bool,
}

/// What a group of rows adds up to.
#[derive(Default)]
struct Sum {
    ended: BTreeMap<String, u64>,
    micros: Vec<u64>,
    waited: Vec<u64>,
    retries: u64,
}

impl Sum {
    fn ended(&mut self, how: String) {
        *self.ended.entry(how).or_default() += 1;
    }
}

impl Span<'_> {
    pub(super) fn workflows(&mut self) -> Result<Vec<WorkflowMetrics>, Fault> {
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        self.each(SELECT_EXECUTIONS, None, |row| {
            let sum = sums.entry(row.get(0)?).or_default();
            sum.ended(row.get(1)?);
            sum.micros.extend(micros(row, 2)?);
            Ok(())
        })?;
        let metrics = sums.into_iter().map(|(workflow_id, sum)| WorkflowMetrics {
            workflow_id,
            ended: sum.ended,
            duration: Durations::of(sum.micros),
        });
        Ok(metrics.collect())
    }

    pub(super) fn steps(&mut self) -> Result<Vec<StepMetrics>, Fault> {
        let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
        self.each(SELECT_STEPS, None, |row| {
            let sum = sums.entry((row.get(0)?, row.get(1)?)).or_default();
            sum.ended(row.get(2)?);
            sum.micros.extend(micros(row, 3)?);
            sum.retries += count(row, 4)?.saturating_sub(1);
            Ok(())
        })?;
        let metrics = sums.into_iter().map(|((workflow_id, step), sum)| StepMetrics {
            workflow_id,
            step,
            ended: sum.ended,
            retries: sum.retries,
            duration: Durations::of(sum.micros),
        });
        Ok(metrics.collect())
    }

    pub(super) fn machines(&mut self) -> Result<Vec<MachineMetrics>, Fault> {
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        self.each(SELECT_TARGETS, None, |row| {
            let sum = sums.entry(row.get(0)?).or_default();
            sum.ended(row.get(1)?);
            sum.micros.extend(micros(row, 2)?);
            sum.waited.extend(micros(row, 3)?);
            Ok(())
        })?;
        let metrics = sums.into_iter().map(|(machine, sum)| MachineMetrics {
            machine,
            ended: sum.ended,
            duration: Durations::of(sum.micros),
            queue_wait: Durations::of(sum.waited),
        });
        Ok(metrics.collect())
    }

    pub(super) fn gates(&mut self) -> Result<Vec<GateMetrics>, Fault> {
        let counted = self.reasons("gate_judged")?;
        let gates = counted.into_iter().map(|ReasonCount { subject, reason, count }| {
            let (gate, verdict, code) = gate_reason(&reason);
            GateMetrics {
                validator: subject,
                gate: gate.to_owned(),
                verdict: verdict.to_owned(),
                code: code.to_owned(),
                count,
            }
        });
        Ok(gates.collect())
    }

    pub(super) fn reasons(&mut self, kind: &str) -> Result<Vec<ReasonCount>, Fault> {
        let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
        self.each(SELECT_MEASURED, Some(kind), |row| {
            *counts.entry((row.get(0)?, row.get(1)?)).or_default() += 1;
            Ok(())
        })?;
        let reasons = counts.into_iter().map(|((subject, reason), count)| ReasonCount {
            subject,
            reason,
            count,
        });
        Ok(reasons.collect())
    }

    pub(super) fn patterns(&mut self) -> Result<Vec<PatternMetrics>, Fault> {
        let mut statement = self.connection.prepare_cached(SELECT_PATTERNS)?;
        let mut rows = statement.query((self.since, METRIC_ROWS_MAX))?;
        let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            *counts.entry((row.get(0)?, row.get(1)?)).or_default() += 1;
        }
        let patterns = counts.into_iter().map(|((pattern, status), count)| PatternMetrics {
            pattern,
            status,
            count,
        });
        Ok(patterns.collect())
    }

    pub(super) fn compliance(&mut self) -> Result<Vec<ComplianceMetrics>, Fault> {
        let mut statement = self.connection.prepare_cached(SELECT_COMPLIANCE)?;
        let mut rows = statement.query((self.since, METRIC_ROWS_MAX))?;
        let mut uses: Vec<Use> = Vec::new();
        while let Some(row) = rows.next()? {
            let (at, pattern, component) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let status: String = row.get(3)?;
            let compliant = match status.as_str() {
                "applied" | "unchanged" => true,
                // A plan says nothing about what the component is like, and what is being applied is not settled.
                "planned" | "applying" => continue,
                _ => false,
            };
            uses.push(Use { at, pattern, component, compliant });
        }
        uses.reverse();
        Ok(compliance(&uses))
    }

    /// Calls `take` with every row of a query over the span, the newest first.
    pub(super) fn each(
        &mut self,
        sql: &str,
        kind: Option<&str>,
        mut take: impl FnMut(&Row<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = match kind {
            Some(kind) => statement.query((self.since, self.workflow, METRIC_ROWS_MAX, kind))?,
            None => statement.query((self.since, self.workflow, METRIC_ROWS_MAX))?,
        };
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            take(row)?;
            seen += 1;
        }
        self.truncated |= seen >= METRIC_ROWS_MAX;
        Ok(())
    }
}

/// One use of a pattern on a component.
struct Use {
    at: i64,
    pattern: String,
    component: String,
    compliant: bool,
}

/// Follows uses, the oldest first, and looks at the end of each part of their time how every component stands.
fn compliance(uses: &[Use]) -> Vec<ComplianceMetrics> {
    let (Some(first), Some(last)) = (uses.first(), uses.last()) else { return Vec::new() };
    let whole = i128::from(last.at) - i128::from(first.at);
    let mut stand: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    let mut left = uses.iter().peekable();
    let mut metrics = Vec::new();
    // Uses at one moment need one part only.
    let parts = if whole == 0 { 1 } else { i128::from(COMPLIANCE_PARTS) };
    for part in 1..=parts {
        let end = i128::from(first.at) + whole * part / parts;
        while let Some(one) = left.next_if(|one| i128::from(one.at) <= end) {
            stand.entry(&one.pattern).or_default().insert(&one.component, one.compliant);
        }
        let at = Timestamp::from_micros(i64::try_from(end).unwrap_or(i64::MAX));
        metrics.extend(stand.iter().map(|(pattern, components)| ComplianceMetrics {
            at,
            pattern: (*pattern).to_owned(),
            compliant: components.values().filter(|compliant| **compliant).count() as u64,
            components: components.len() as u64,
        }));
    }
    metrics
}

/// Reads a span in microseconds; one that a clock set back made negative reads as zero.
pub(super) fn micros(row: &Row<'_>, column: usize) -> Result<Option<u64>, rusqlite::Error> {
    let micros: Option<i64> = row.get(column)?;
    Ok(micros.map(|micros| u64::try_from(micros).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(at: i64, component: &str, compliant: bool) -> Use {
        Use { at, pattern: "p".to_owned(), component: component.to_owned(), compliant }
    }

    #[test]
    fn compliance_is_how_each_component_stood_last() {
        let uses =
            [used(0, "a", false), used(5, "b", true), used(6, "a", true), used(12, "b", false)];

        let shares: Vec<(u64, u64)> =
            compliance(&uses).iter().map(|row| (row.compliant, row.components)).collect();

        assert_eq!(shares[..4], [(0, 1), (0, 1), (0, 1), (0, 1)]);
        assert_eq!(shares[4..6], [(1, 2), (2, 2)]);
        assert_eq!(shares[11], (1, 2));
        assert_eq!(compliance(&uses[..1]).len(), 1);
        assert!(compliance(&[]).is_empty());
    }
}
