//! `get_system_health`: how the server is, and why.

use std::collections::BTreeMap;

use caelum_core::plugin::PluginKind;
use caelum_engine::report::{Health, HealthStatus as Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::super::handler::SERVER_NAME;
use super::super::super::tool::Answer;
use super::super::Tools;
use super::super::answer::counted;
use super::super::task::MachineRow;
use super::ROWS_MAX;

/// Says how the server is: `healthy`, `degraded` or `unhealthy` with the reasons; its store, plugins (with refused
/// ones), machines, queues and what it works with outside. Call it first when something is odd, and to learn the names of machines.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GetSystemHealth {}

/// The store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoreView {
    /// Size of the database file, in bytes.
    pub database_bytes: u64,
    /// Bytes in that file that hold nothing and are used again first.
    pub free_bytes: u64,
    /// Size of the write-ahead log, in bytes.
    pub wal_bytes: u64,
    /// Version of the schema.
    pub schema_version: i64,
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

/// The queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueuesView {
    /// Executions that have not ended.
    pub open_executions: usize,
    /// How many may be open.
    pub open_executions_max: usize,
    /// Executions with something under way now.
    pub executions_at_once: usize,
    /// Executions with something under way at once, at most.
    pub executions_at_once_max: usize,
    /// Tasks that run on all machines.
    pub running_tasks: usize,
    /// Tasks that wait for a free place.
    pub waiting_tasks: usize,
}

/// Something outside that the server works with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IntegrationRow {
    /// What it is called.
    pub name: String,
    /// `tool_server`, `port_registry`, `components`, `plugins_directory` or `archive`.
    pub kind: String,
    /// `configured` (whether it answers shows when it is used), `available` or `missing`.
    pub status: String,
    /// Where it is, or how much of it there is.
    pub detail: String,
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
    /// What the server works with outside.
    pub integrations: Vec<IntegrationRow>,
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
        let machines: Vec<MachineRow> = health.machines.iter().map(MachineRow::of).collect();
        let trouble = tools.audit.trouble();
        let status = match (health.status, &trouble) {
            (Status::Healthy, Some(_)) => Status::Degraded,
            (status, _) => status,
        };
        let reasons = trouble.into_iter().chain(health.reasons.iter().cloned());
        Self {
            status: status.as_str().to_owned(),
            reasons: reasons.take(ROWS_MAX).collect(),
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
                    free_bytes: stats.free_bytes,
                    wal_bytes: stats.wal_bytes,
                    schema_version: stats.schema_version,
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
                executions_at_once: health.concurrent_executions,
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
            integrations: health
                .integrations
                .iter()
                .take(ROWS_MAX)
                .map(|one| IntegrationRow {
                    name: one.name.clone(),
                    kind: one.kind.to_owned(),
                    status: one.status.as_str().to_owned(),
                    detail: one.detail.clone(),
                })
                .collect(),
        }
    }
}
