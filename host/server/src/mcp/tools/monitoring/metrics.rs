//! `get_workflow_metrics`: numbers over a span of time.

use std::collections::BTreeMap;

use caelum_engine::report::span_start;
use caelum_store::{Durations, HistoryPart, Metrics, ReasonCount};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::super::error::ToolError;
use super::super::super::tool::Answer;
use super::super::Tools;
use super::super::failure::refuse;
use super::ROWS_MAX;
use crate::document::filled;

/// The span of time when nobody says.
const TIME_RANGE: &str = "24h";

/// Measures what happened in a span of time: how many executions ended how, how long workflows, steps and machines took
/// (percentiles), which gates refused and why, what was repeated, what became of patterns and how compliance went.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GetWorkflowMetrics {
    /// The span until now: a number with `m`, `h` or `d`, or `all`; `24h` when left out.
    #[serde(default)]
    #[schemars(example = &"15m", example = &"24h", example = &"7d", example = &"all")]
    time_range: Option<String>,
    /// Only this workflow.
    #[serde(default)]
    workflow_id: Option<String>,
    /// Only this pattern, among the pattern outcomes.
    #[serde(default)]
    pattern: Option<String>,
    /// Whether to tell how the span went, part by part (`history`), for a curve; false when left out.
    #[serde(default)]
    history: Option<bool>,
}

/// How many executions ended how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionCounts {
    /// Executions that were started, task groups included.
    pub started: u64,
    /// Executions of workflows that ended, by status.
    pub ended: BTreeMap<String, u64>,
    /// Completed ones among those that completed or failed, 0 to 1; missing when none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_rate: Option<f64>,
}

/// How long something took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DurationRow {
    /// `workflow`, `step`, `machine` or `queue` (the wait before a machine took the work).
    pub scope: String,
    /// The workflow, `workflow/step`, or machine.
    pub name: String,
    /// How many times.
    pub count: u64,
    /// The mean, in milliseconds.
    pub mean_ms: f64,
    /// Half of the times it took at most this, in milliseconds.
    pub p50_ms: f64,
    /// In 95 of 100 times at most this.
    pub p95_ms: f64,
    /// In 99 of 100 times at most this.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl DurationRow {
    fn of(scope: &str, name: String, durations: &Durations) -> Option<Self> {
        let ms = |micros: u64| micros as f64 / 1_000.0;
        (durations.count > 0).then(|| Self {
            scope: scope.to_owned(),
            name,
            count: durations.count,
            mean_ms: ms(durations.mean_us),
            p50_ms: ms(durations.p50_us),
            p95_ms: ms(durations.p95_us),
            p99_ms: ms(durations.p99_us),
            max_ms: ms(durations.max_us),
        })
    }
}

/// Judgements of one gate by one validator with one result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateCount {
    /// The validator.
    pub validator: String,
    /// `enforcement` or `validation`.
    pub gate: String,
    /// `pass`, `fail`, `inconclusive` or `needs-review`.
    pub verdict: String,
    /// The code of its first reason.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// How often something happened for a reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReasonRow {
    /// The step or the machine.
    pub subject: String,
    /// The reason.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// What became of the uses of one pattern.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PatternOutcome {
    /// The pattern.
    pub pattern: String,
    /// How many uses ended how.
    pub outcomes: BTreeMap<String, u64>,
}

/// How many components complied with one pattern at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComplianceRow {
    /// The moment.
    pub at: String,
    /// The pattern.
    pub pattern: String,
    /// Components whose last use of the pattern in the span until then left nothing to do.
    pub compliant: u64,
    /// Components that it was used on in the span until then.
    pub components: u64,
    /// The first divided by the second, 0 to 1.
    pub rate: f64,
}

/// What happened in one part of the span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryRow {
    /// When it began.
    pub at: String,
    /// How long it is, in seconds; the last one is not over yet.
    pub seconds: u64,
    /// Executions of workflows that ended, by status.
    pub ended: BTreeMap<String, u64>,
    /// Half of them took at most this, in milliseconds; missing when none ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// In 95 of 100 cases they took at most this, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    /// Judgements of gates, by verdict.
    pub verdicts: BTreeMap<String, u64>,
}

impl HistoryRow {
    fn of(seconds: u64, part: HistoryPart) -> Self {
        let ms = |micros: u64| (part.duration.count > 0).then_some(micros as f64 / 1_000.0);
        Self {
            at: part.at.to_string(),
            seconds,
            p50_ms: ms(part.duration.p50_us),
            p95_ms: ms(part.duration.p95_us),
            ended: part.ended,
            verdicts: part.verdicts,
        }
    }
}

/// What happened in a span of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricsView {
    /// The span.
    pub time_range: String,
    /// When it begins; missing for `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// When it ends: now.
    pub until: String,
    /// How many executions ended how.
    pub executions: ExecutionCounts,
    /// How long things took, those that took longest in all first.
    pub durations: Vec<DurationRow>,
    /// Judgements of gates, failures first.
    pub gates: Vec<GateCount>,
    /// Attempts that were repeated, by step and code.
    pub retries: Vec<ReasonRow>,
    /// How many attempts were repeated.
    pub retries_total: u64,
    /// Steps that failed for good, by step and code.
    pub failures: Vec<ReasonRow>,
    /// Work that nobody reported, by machine and reason.
    pub losses: Vec<ReasonRow>,
    /// What became of patterns.
    pub patterns: Vec<PatternOutcome>,
    /// How many components complied with each pattern over the span, oldest first.
    pub compliance: Vec<ComplianceRow>,
    /// How the span went, the oldest part first, when it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryRow>,
    /// Whether there was so much that only the newest counts.
    pub truncated: bool,
}

impl Answer for MetricsView {
    fn text(&self) -> String {
        let ended: Vec<String> = self
            .executions
            .ended
            .iter()
            .map(|(status, count)| format!("{count} {status}"))
            .collect();
        let rate = self
            .executions
            .success_rate
            .map_or_else(String::new, |rate| format!(", success rate {:.1} %", rate * 100.0));
        let mut text = format!(
            "{}: {} started; ended: {}{rate}; {} repeated attempts",
            self.time_range,
            self.executions.started,
            if ended.is_empty() { "none".to_owned() } else { ended.join(", ") },
            self.retries_total
        );
        for row in self.durations.iter().take(20) {
            text.push_str(&format!(
                "\n{} {}: {} times, p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms",
                row.scope, row.name, row.count, row.p50_ms, row.p95_ms, row.p99_ms
            ));
        }
        for gate in self.gates.iter().filter(|gate| gate.verdict != "pass").take(20) {
            text.push_str(&format!(
                "\ngate {} of {}: {} {} times ({})",
                gate.gate, gate.validator, gate.verdict, gate.count, gate.reason
            ));
        }
        for row in self.failures.iter().take(20) {
            text.push_str(&format!(
                "\nfailed: {} {} times ({})",
                row.subject, row.count, row.reason
            ));
        }
        for pattern in &self.patterns {
            let outcomes: Vec<String> = pattern
                .outcomes
                .iter()
                .map(|(outcome, count)| format!("{count} {outcome}"))
                .collect();
            text.push_str(&format!("\npattern {}: {}", pattern.pattern, outcomes.join(", ")));
            let last = self.compliance.iter().rfind(|row| row.pattern == pattern.pattern);
            if let Some(last) = last {
                text.push_str(&format!(
                    "; {} of {} components comply",
                    last.compliant, last.components
                ));
            }
        }
        text
    }
}

pub(super) async fn metrics(
    tools: Tools,
    arguments: GetWorkflowMetrics,
) -> Result<MetricsView, ToolError> {
    let range = filled(arguments.time_range.as_ref()).unwrap_or(TIME_RANGE).to_owned();
    let until = tools.engine.now();
    let since = span_start(&range, until).map_err(refuse)?;
    let workflow = filled(arguments.workflow_id.as_ref());
    let metrics = tools.engine.metrics(since, workflow).await.map_err(refuse)?;
    let history = match arguments.history {
        Some(true) => Some(tools.engine.history(since, workflow).await.map_err(refuse)?),
        _ => None,
    };
    let mut ended = BTreeMap::new();
    for workflow in &metrics.workflows {
        for (status, count) in &workflow.ended {
            *ended.entry(status.clone()).or_insert(0) += count;
        }
    }
    let of = |status: &str| ended.get(status).copied().unwrap_or(0);
    let judged = of("completed") + of("failed");
    let mut patterns: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let wanted = filled(arguments.pattern.as_ref());
    for row in metrics.patterns.iter().filter(|row| wanted.is_none_or(|name| row.pattern == name)) {
        *patterns.entry(row.pattern.clone()).or_default().entry(row.status.clone()).or_default() +=
            row.count;
    }
    let mut gates: Vec<GateCount> = metrics
        .gates
        .iter()
        .map(|gate| GateCount {
            validator: gate.validator.clone(),
            gate: gate.gate.clone(),
            verdict: gate.verdict.clone(),
            reason: gate.code.clone(),
            count: gate.count,
        })
        .collect();
    gates.sort_by_key(|gate| (gate.verdict == "pass", std::cmp::Reverse(gate.count)));
    gates.truncate(ROWS_MAX);
    Ok(MetricsView {
        time_range: range,
        since: since.map(|at| at.to_string()),
        until: until.to_string(),
        executions: ExecutionCounts {
            started: metrics.started,
            success_rate: (judged > 0).then(|| of("completed") as f64 / judged as f64),
            ended: ended.clone(),
        },
        durations: durations(&metrics),
        gates,
        retries_total: metrics.retries.iter().map(|row| row.count).sum(),
        retries: reasons(&metrics.retries),
        failures: reasons(&metrics.failures),
        losses: reasons(&metrics.losses),
        patterns: patterns
            .into_iter()
            .take(ROWS_MAX)
            .map(|(pattern, outcomes)| PatternOutcome { pattern, outcomes })
            .collect(),
        compliance: metrics
            .compliance
            .iter()
            .filter(|row| wanted.is_none_or(|name| row.pattern == name))
            .take(ROWS_MAX)
            .map(|row| ComplianceRow {
                at: row.at.to_string(),
                pattern: row.pattern.clone(),
                compliant: row.compliant,
                components: row.components,
                rate: row.compliant as f64 / row.components.max(1) as f64,
            })
            .collect(),
        history: history.map_or_else(Vec::new, |history| {
            let seconds = history.width.as_secs();
            history.parts.into_iter().map(|part| HistoryRow::of(seconds, part)).collect()
        }),
        truncated: metrics.truncated,
    })
}

fn durations(metrics: &Metrics) -> Vec<DurationRow> {
    let mut rows: Vec<DurationRow> = Vec::new();
    for workflow in &metrics.workflows {
        rows.extend(DurationRow::of("workflow", workflow.workflow_id.clone(), &workflow.duration));
    }
    for step in &metrics.steps {
        let name = format!("{}/{}", step.workflow_id, step.step);
        rows.extend(DurationRow::of("step", name, &step.duration));
    }
    for machine in &metrics.machines {
        rows.extend(DurationRow::of("machine", machine.machine.clone(), &machine.duration));
        rows.extend(DurationRow::of("queue", machine.machine.clone(), &machine.queue_wait));
    }
    let weight = |row: &DurationRow| row.mean_ms * row.count as f64;
    rows.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    rows.truncate(ROWS_MAX);
    rows
}

fn reasons(counts: &[ReasonCount]) -> Vec<ReasonRow> {
    let mut rows: Vec<ReasonRow> = counts
        .iter()
        .map(|row| ReasonRow {
            subject: row.subject.clone(),
            reason: row.reason.clone(),
            count: row.count,
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows.truncate(ROWS_MAX);
    rows
}
