//! `get_system_health` and `get_workflow_metrics`.

use std::collections::BTreeMap;

use caelum_core::plugin::PluginKind;
use caelum_engine::report::{Health, span_start};
use caelum_store::{Durations, Metrics, ReasonCount};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::error::ToolError;
use super::super::handler::SERVER_NAME;
use super::super::tool::{Annotations, Answer, Tool, tool};
use super::Tools;
use super::answer::counted;
use super::failure::refuse;
use crate::document::filled;

/// How many rows of one kind an answer shows.
const ROWS_MAX: usize = 100;

/// The span of time when nobody says.
const TIME_RANGE: &str = "24h";

pub(super) fn tools(tools: &Tools) -> Vec<Tool> {
    let (asking, measuring) = (tools.clone(), tools.clone());
    vec![
        tool(
            "get_system_health",
            "See how the server is",
            Annotations::READS,
            move |_, _: GetSystemHealth| {
                let tools = asking.clone();
                async move { Ok(HealthView::of(&tools, &tools.engine.health().await)) }
            },
        ),
        tool(
            "get_workflow_metrics",
            "Measure executions",
            Annotations::READS,
            move |_, arguments| metrics(measuring.clone(), arguments),
        ),
    ]
}

/// Says how the server is: `healthy`, `degraded` or `unhealthy` with the reasons; its store, plugins (with refused
/// ones), machines and queues. Call it first when something is odd, and to learn the names of machines.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetSystemHealth {}

/// The store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoreView {
    /// Size of the database file, in bytes.
    pub database_bytes: u64,
    /// Size of the write-ahead log, in bytes.
    pub wal_bytes: u64,
    /// Workflows that are kept.
    pub workflows: u64,
    /// Executions and task groups that are kept, by status.
    pub executions: BTreeMap<String, u64>,
    /// Recorded applications of patterns.
    pub applications: u64,
    /// Requests that wait for the writer.
    pub queued: u64,
}

/// The plugins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PluginsView {
    /// Patterns that serve, as `name version`.
    pub patterns: Vec<String>,
    /// Validators that serve, as `name version`.
    pub validators: Vec<String>,
    /// Files that were refused, each with its reason.
    pub refused: Vec<String>,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MachineRow {
    /// Its name.
    pub machine: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// What `label:key=value` selects by.
    pub labels: BTreeMap<String, String>,
    /// `online`, `busy` or `offline`.
    pub status: String,
    /// Tasks that run on it.
    pub running: usize,
    /// Tasks that wait on it for a free place.
    pub waiting: usize,
    /// Tasks that it runs at once.
    pub capacity: usize,
}

/// The queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueuesView {
    /// Executions that have not ended.
    pub open_executions: usize,
    /// How many may be open.
    pub open_executions_max: usize,
    /// Executions with something under way at once, at most.
    pub executions_at_once_max: usize,
    /// Tasks that run on all machines.
    pub running_tasks: usize,
    /// Tasks that wait for a free place.
    pub waiting_tasks: usize,
}

/// How the server is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthView {
    /// `healthy`, `degraded` or `unhealthy`.
    pub status: String,
    /// Why it is not healthy; empty when it is.
    pub reasons: Vec<String>,
    /// The server's name.
    pub service: String,
    /// Its version.
    pub version: String,
    /// How long it has been up, in seconds.
    pub uptime_s: u64,
    /// The store; missing when it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreView>,
    /// The plugins.
    pub plugins: PluginsView,
    /// The machines.
    pub machines: Vec<MachineRow>,
    /// The queues.
    pub queues: QueuesView,
    /// Connections that are open; missing where no port is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
    /// Executions that stand still because of a defect, and why.
    pub stuck: BTreeMap<String, String>,
}

impl Answer for HealthView {
    fn text(&self) -> String {
        let mut text = format!(
            "{}: {} {}, up {} s, {}, {}, {} open",
            self.status,
            self.service,
            self.version,
            self.uptime_s,
            counted(self.plugins.patterns.len(), "pattern", "patterns"),
            counted(self.plugins.validators.len(), "validator", "validators"),
            counted(self.queues.open_executions, "execution", "executions"),
        );
        for reason in &self.reasons {
            text.push_str("\n- ");
            text.push_str(reason);
        }
        for machine in &self.machines {
            text.push_str(&format!(
                "\nmachine {}{}: {}, {} of {} running",
                machine.machine,
                if machine.aliases.is_empty() {
                    String::new()
                } else {
                    format!(" (also {})", machine.aliases.join(", "))
                },
                machine.status,
                machine.running,
                machine.capacity
            ));
        }
        text
    }
}

impl HealthView {
    /// Shows the engine's health in the tool's words.
    pub fn of(tools: &Tools, health: &Health) -> Self {
        let named = |kind: PluginKind| -> Vec<String> {
            health
                .plugins
                .of(kind)
                .map(|plugin| format!("{} {}", plugin.pinned.name, plugin.pinned.version))
                .collect()
        };
        let machines: Vec<MachineRow> = health
            .machines
            .iter()
            .map(|machine| MachineRow {
                machine: machine.id.to_string(),
                aliases: machine.aliases.iter().map(ToString::to_string).collect(),
                labels: machine.labels.clone(),
                status: machine.state.as_str().to_owned(),
                running: machine.running,
                waiting: machine.waiting,
                capacity: machine.capacity,
            })
            .collect();
        Self {
            status: health.status.as_str().to_owned(),
            reasons: health.reasons.iter().take(ROWS_MAX).cloned().collect(),
            service: SERVER_NAME.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: health.uptime.as_secs(),
            store: health.store.as_ref().map(|stats| {
                let mut executions = BTreeMap::new();
                for count in &stats.executions {
                    *executions.entry(count.status.as_str().to_owned()).or_insert(0) +=
                        count.executions;
                }
                StoreView {
                    database_bytes: stats.database_bytes,
                    wal_bytes: stats.wal_bytes,
                    workflows: stats.workflows,
                    executions,
                    applications: stats.applications,
                    queued: stats.queued,
                }
            }),
            plugins: PluginsView {
                patterns: named(PluginKind::Pattern),
                validators: named(PluginKind::Validator),
                refused: health
                    .plugins
                    .refused
                    .iter()
                    .take(ROWS_MAX)
                    .map(|refused| {
                        format!("{} at {}: {}", refused.source, refused.stage, refused.reason)
                    })
                    .collect(),
            },
            queues: QueuesView {
                open_executions: health.open_executions,
                open_executions_max: health.open_executions_max,
                executions_at_once_max: health.concurrent_executions_max,
                running_tasks: machines.iter().map(|machine| machine.running).sum(),
                waiting_tasks: machines.iter().map(|machine| machine.waiting).sum(),
            },
            machines,
            connections: tools.gauges.get().map(crate::listen::Gauges::connections),
            stuck: health
                .stuck
                .iter()
                .take(ROWS_MAX)
                .map(|(id, why)| (id.clone(), why.clone()))
                .collect(),
        }
    }
}

/// Measures what happened in a span of time: how many executions ended how, how long workflows, steps and machines took
/// (percentiles), which gates refused and why, what was repeated, what became of patterns.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetWorkflowMetrics {
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
        }
        text
    }
}

async fn metrics(tools: Tools, arguments: GetWorkflowMetrics) -> Result<MetricsView, ToolError> {
    let range = filled(arguments.time_range.as_ref()).unwrap_or(TIME_RANGE).to_owned();
    let until = tools.engine.now();
    let since = span_start(&range, until).map_err(refuse)?;
    let workflow = filled(arguments.workflow_id.as_ref());
    let metrics = tools.engine.metrics(since, workflow).await.map_err(refuse)?;
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
