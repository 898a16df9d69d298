//! Numbers over a span of time, from indexes alone: no row of an execution, step or event is opened for them.

use std::collections::BTreeMap;
use std::time::Duration;

use caelum_core::clock::Timestamp;
use caelum_core::id::WorkflowId;

use crate::body::count;
use crate::metrics::span::{Span, micros};
use crate::{Store, StoreError};

pub(crate) mod history;
mod span;

/// The most rows of one kind that are looked at; of more, the newest count. Bounds the time and the memory of a query
/// over everything: about a second and 100 MB.
pub const METRIC_ROWS_MAX: u32 = 1_000_000;

/// Into how many parts the span of [`Metrics::compliance`] is divided: enough for a curve.
pub const COMPLIANCE_PARTS: u32 = 12;

/// The executions that are looked at for recent runs.
const RECENT_EXECUTIONS: u32 = 40;

/// The most runs that are looked at, of all steps together: about 10 ms of reading.
const RECENT_ROWS_MAX: u32 = 20_000;

pub(crate) const COUNT_STARTED: &str =
    "SELECT count(*) FROM execution WHERE started_at >= ?1 AND (?2 IS NULL OR workflow_id = ?2)";
pub(crate) const SELECT_EXECUTIONS: &str = "
    SELECT workflow_id, status, ended_at - started_at FROM execution INDEXED BY execution_finished
    WHERE ended_at >= ?1 AND kind = 'workflow' AND (?2 IS NULL OR workflow_id = ?2)
    ORDER BY ended_at DESC LIMIT ?3";
pub(crate) const SELECT_STEPS: &str = "
    SELECT e.workflow_id, s.id, s.status, s.ended_at - s.started_at, s.attempt
    FROM step s CROSS JOIN execution e ON e.key = s.execution
    WHERE s.ended_at >= ?1 AND e.kind = 'workflow' AND (?2 IS NULL OR e.workflow_id = ?2)
    ORDER BY s.ended_at DESC LIMIT ?3";
pub(crate) const SELECT_TARGETS: &str = "
    SELECT t.machine, t.phase, t.ended_at - t.started_at, t.started_at - t.queued_at
    FROM target t CROSS JOIN execution e ON e.key = t.execution
    WHERE t.ended_at >= ?1 AND (?2 IS NULL OR e.workflow_id = ?2)
    ORDER BY t.ended_at DESC LIMIT ?3";
pub(crate) const SELECT_MEASURED: &str = "
    SELECT v.subject, v.reason FROM event v CROSS JOIN execution e ON e.key = v.execution
    WHERE v.kind = ?4 AND v.reason IS NOT NULL AND v.at >= ?1
        AND (?2 IS NULL OR e.workflow_id = ?2)
    ORDER BY v.at DESC LIMIT ?3";
pub(crate) const SELECT_PATTERNS: &str = "
    SELECT pattern, status FROM application
    WHERE applied_at >= ?1 ORDER BY applied_at DESC LIMIT ?2";
pub(crate) const SELECT_RECENT: &str = "
    SELECT s.id, t.ended_at - t.started_at
    FROM (SELECT key FROM execution WHERE workflow_id = ?1 AND key < ?4 ORDER BY key DESC LIMIT ?2) e
    CROSS JOIN target t ON t.execution = e.key
    CROSS JOIN step s ON s.execution = t.execution AND s.idx = t.step
    WHERE t.phase = 'succeeded' LIMIT ?3";
pub(crate) const SELECT_COMPLIANCE: &str = "
    SELECT applied_at, pattern, component, status FROM application
    WHERE applied_at >= ?1 ORDER BY applied_at DESC LIMIT ?2";

/// What to measure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsFilter {
    /// From when on; nothing means everything that is kept.
    pub since: Option<Timestamp>,
    /// Only this workflow. Patterns are not of a workflow and are always counted.
    pub workflow_id: Option<WorkflowId>,
}

/// How long something took, over many times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many times.
    pub count: u64,
    /// The mean, in microseconds.
    pub mean_us: u64,
    /// Half of the times it took at most this, in microseconds.
    pub p50_us: u64,
    /// In 95 of 100 times at most this.
    pub p95_us: u64,
    /// In 99 of 100 times at most this.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Durations {
    /// Folds durations in microseconds, in any order. A percentile is the smallest duration that is not shorter than
    /// that part of all (nearest rank).
    pub fn of(mut micros: Vec<u64>) -> Self {
        let Some(last) = micros.len().checked_sub(1) else { return Durations::default() };
        micros.sort_unstable();
        let rank = |part: usize| micros[(micros.len() * part).div_ceil(100).saturating_sub(1)];
        let sum: u128 = micros.iter().map(|micros| u128::from(*micros)).sum();
        Durations {
            count: micros.len() as u64,
            mean_us: u64::try_from(sum / micros.len() as u128).unwrap_or(u64::MAX),
            p50_us: rank(50),
            p95_us: rank(95),
            p99_us: rank(99),
            max_us: micros[last],
        }
    }
}

/// The executions of one workflow that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowMetrics {
    /// The workflow.
    pub workflow_id: String,
    /// How many ended, by status.
    pub ended: BTreeMap<String, u64>,
    /// From start to end, whatever the end.
    pub duration: Durations,
}

/// One step of one workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepMetrics {
    /// The workflow.
    pub workflow_id: String,
    /// The step.
    pub step: String,
    /// How often it ended, by status.
    pub ended: BTreeMap<String, u64>,
    /// Attempts behind the first.
    pub retries: u64,
    /// From its first attempt to its end, where it began.
    pub duration: Durations,
}

/// The work of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineMetrics {
    /// The machine.
    pub machine: String,
    /// How much work ended, by phase.
    pub ended: BTreeMap<String, u64>,
    /// How long the work took.
    pub duration: Durations,
    /// From the beginning of the attempt until the work was handed out.
    pub queue_wait: Durations,
}

/// Judgements of one gate by one validator with one result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GateMetrics {
    /// The validator.
    pub validator: String,
    /// The gate: `enforcement` or `validation`.
    pub gate: String,
    /// The verdict.
    pub verdict: String,
    /// Code of its first reason; empty when it gave none.
    pub code: String,
    /// How often.
    pub count: u64,
}

/// How often something happened for a reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReasonCount {
    /// The step or the machine.
    pub subject: String,
    /// The reason.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// Uses of one pattern that ended in one way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PatternMetrics {
    /// The pattern.
    pub pattern: String,
    /// How they ended.
    pub status: String,
    /// How many.
    pub count: u64,
}

/// How many components complied with one pattern at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComplianceMetrics {
    /// The end of the part of the span that it is about.
    pub at: Timestamp,
    /// The pattern.
    pub pattern: String,
    /// Components whose last use of the pattern until then left nothing to do: it was applied, or changed nothing.
    pub compliant: u64,
    /// Components that the pattern was used on until then, dry runs left out.
    pub components: u64,
}

/// What happened in a span of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Executions that were started, task groups included.
    pub started: u64,
    /// Executions that ended, by workflow.
    pub workflows: Vec<WorkflowMetrics>,
    /// Steps that ended, by workflow and step.
    pub steps: Vec<StepMetrics>,
    /// Work that machines reported, by machine; task groups included.
    pub machines: Vec<MachineMetrics>,
    /// Judgements, by validator, gate, verdict and code.
    pub gates: Vec<GateMetrics>,
    /// Attempts that are repeated, by step and code of the failure.
    pub retries: Vec<ReasonCount>,
    /// Steps that failed for good, by step and code of the failure.
    pub failures: Vec<ReasonCount>,
    /// Deliveries that nobody reported, by machine and reason.
    pub losses: Vec<ReasonCount>,
    /// Reports that came too late, by machine.
    pub late_reports: Vec<ReasonCount>,
    /// Uses of patterns.
    pub patterns: Vec<PatternMetrics>,
    /// How compliance went over the span, in [`COMPLIANCE_PARTS`] parts of the time from the first use of a pattern to
    /// the last, by time and pattern.
    pub compliance: Vec<ComplianceMetrics>,
    /// Whether there was more of something than [`METRIC_ROWS_MAX`]: then only the newest count.
    pub truncated: bool,
}

impl Store {
    /// Measures a span of time.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn metrics(&self, filter: &MetricsFilter) -> Result<Metrics, StoreError> {
        let since = filter.since.map_or(i64::MIN, Timestamp::as_micros);
        let workflow = filter.workflow_id.clone();
        self.read(move |connection| {
            let workflow = workflow.as_ref().map(WorkflowId::as_str);
            let mut span = Span { connection, since, workflow, truncated: false };
            let started = connection
                .prepare_cached(COUNT_STARTED)?
                .query_row((since, workflow), |row| count(row, 0))?;
            Ok(Metrics {
                started,
                workflows: span.workflows()?,
                steps: span.steps()?,
                machines: span.machines()?,
                gates: span.gates()?,
                retries: span.reasons("retry_scheduled")?,
                failures: span.reasons("step_failed")?,
                losses: span.reasons("target_lost")?,
                late_reports: span.reasons("late_report")?,
                patterns: span.patterns()?,
                compliance: span.compliance()?,
                truncated: span.truncated,
            })
        })
        .await
    }

    /// Returns how long the work of each step of a workflow took on a machine the last times that it succeeded, the
    /// newest execution first and at most `limit` of each; from the last 40 executions. Steps are told apart by id, so
    /// revisions in which a step stands elsewhere count as well.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn recent_runs(
        &self,
        workflow_id: &WorkflowId,
        limit: usize,
    ) -> Result<BTreeMap<String, Vec<Duration>>, StoreError> {
        let workflow_id = workflow_id.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(SELECT_RECENT)?;
            let mut rows = statement.query((
                workflow_id.as_str(),
                RECENT_EXECUTIONS,
                RECENT_ROWS_MAX,
                i64::MAX,
            ))?;
            let mut runs: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let Some(took) = micros(row, 1)? else { continue };
                let of_step = runs.entry(row.get(0)?).or_default();
                if of_step.len() < limit {
                    of_step.push(Duration::from_micros(took));
                }
            }
            Ok(runs)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_durations_that_happened() {
        let durations = Durations::of((1..=200).rev().collect());
        assert_eq!(
            durations,
            Durations {
                count: 200,
                mean_us: 100,
                p50_us: 100,
                p95_us: 190,
                p99_us: 198,
                max_us: 200
            }
        );
        assert_eq!(Durations::of(vec![7]).p99_us, 7);
        assert_eq!(Durations::of(vec![]), Durations::default());
    }
}
