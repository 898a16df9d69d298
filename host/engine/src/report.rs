//! Health with its reasons, metrics from stored data, and export.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use caelum_core::clock::Timestamp;
use caelum_core::workflow::{Event, Execution, WorkflowDefinition};
use caelum_machines::{MachineInfo, MachineState, ToolServer};
use caelum_store::{History, Metrics, MetricsFilter, StoreStats};

use crate::engine::Engine;
use crate::error::{EngineError, Mistake};
use crate::executions::stored;
use crate::request::{PageRequest, PluginList};

/// How many executions an export holds at most, newest first: what a client can take in one answer is less.
const EXPORT_EXECUTIONS_MAX: usize = 200;

/// How many events are read from the store at once.
const EVENTS_AT_ONCE: u32 = 1_000;

/// How the whole is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthStatus {
    /// Everything is as it should be.
    Healthy,
    /// It works, and somebody should look.
    Degraded,
    /// It does not do what it promises.
    Unhealthy,
}

impl HealthStatus {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            HealthStatus::Healthy => "healthy",
            HealthStatus::Degraded => "degraded",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

/// Something outside that the engine works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    /// What it is called.
    pub name: String,
    /// What it is: `tool_server`, `port_registry`, `components`, `plugins_directory`, `archive`.
    pub kind: &'static str,
    /// Whether it is as it should be, as far as can be told without asking it.
    pub status: IntegrationStatus,
    /// Where it is, or how much of it there is. No secret of it.
    pub detail: String,
}

/// Whether something outside can be worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntegrationStatus {
    /// It is configured; whether it answers shows when it is used.
    Configured,
    /// It is there.
    Available,
    /// It is configured and not there.
    Missing,
}

impl IntegrationStatus {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            IntegrationStatus::Configured => "configured",
            IntegrationStatus::Available => "available",
            IntegrationStatus::Missing => "missing",
        }
    }

    fn of(is_there: bool) -> Self {
        if is_there { IntegrationStatus::Available } else { IntegrationStatus::Missing }
    }
}

/// The health of the server, with the reasons.
#[derive(Debug, Clone)]
pub struct Health {
    /// How the whole is: the worst of its reasons.
    pub status: HealthStatus,
    /// Why it is not healthy; empty when it is.
    pub reasons: Vec<String>,
    /// How long the engine has been open.
    pub uptime: Duration,
    /// The store; nothing when it does not answer.
    pub store: Option<StoreStats>,
    /// Plugins that serve and those that were refused.
    pub plugins: PluginList,
    /// The machines.
    pub machines: Vec<MachineInfo>,
    /// Executions that have not ended and have an owner.
    pub open_executions: usize,
    /// Executions with something under way now.
    pub concurrent_executions: usize,
    /// Executions with something under way at once, at most.
    pub concurrent_executions_max: usize,
    /// Executions that have not ended, at most.
    pub open_executions_max: usize,
    /// Executions that stand still, and why.
    pub stuck: BTreeMap<String, String>,
    /// What it works with outside.
    pub integrations: Vec<Integration>,
}

/// Everything of one workflow, for backup or analysis.
#[derive(Debug, Clone)]
pub struct Export {
    /// The newest revision.
    pub definition: Arc<WorkflowDefinition>,
    /// Its executions, newest first, with their events in order.
    pub executions: Vec<(Arc<Execution>, Vec<Event>)>,
    /// Whether there are more executions than an export holds.
    pub truncated: bool,
}

impl Engine {
    /// Says how the server is, and why when it is not healthy.
    pub async fn health(&self) -> Health {
        let inner = &self.0;
        let mut reasons: Vec<(HealthStatus, String)> = Vec::new();
        let store = match inner.store.stats().await {
            Ok(stats) => Some(stats),
            Err(error) => {
                reasons.push((HealthStatus::Unhealthy, format!("the store: {error}")));
                None
            }
        };
        let plugins = self.plugins();
        for refused in &plugins.refused {
            reasons.push((
                HealthStatus::Degraded,
                format!(
                    "plugin {} was refused at {}: {}",
                    refused.source, refused.stage, refused.reason
                ),
            ));
        }
        if let Some(problem) = inner.plugins.cache_problem() {
            reasons.push((
                HealthStatus::Degraded,
                format!("compiled plugins cannot be kept: {problem}"),
            ));
        }
        if let Some(problem) = inner.retention.problem() {
            reasons.push((
                HealthStatus::Degraded,
                format!("what has expired could not be taken away: {problem}"),
            ));
        }
        let machines = inner.fabric.machines();
        for machine in &machines {
            if machine.state == MachineState::Offline {
                reasons
                    .push((HealthStatus::Degraded, format!("machine `{}` is offline", machine.id)));
            }
        }
        let stuck: BTreeMap<String, String> =
            inner.supervisor.stuck().into_iter().map(|(id, why)| (id.to_string(), why)).collect();
        for (id, why) in &stuck {
            reasons
                .push((HealthStatus::Unhealthy, format!("execution `{id}` stands still: {why}")));
        }
        let open_executions = inner.open_executions();
        let open_executions_max = inner.options.open_executions_max;
        if open_executions * 10 > open_executions_max * 9 {
            reasons.push((
                HealthStatus::Degraded,
                format!("{open_executions} of {open_executions_max} executions are open"),
            ));
        }
        let status =
            reasons.iter().map(|(status, _)| *status).max().unwrap_or(HealthStatus::Healthy);
        Health {
            status,
            reasons: reasons.into_iter().map(|(_, reason)| reason).collect(),
            uptime: self.uptime(),
            store,
            plugins,
            machines,
            open_executions,
            concurrent_executions: inner
                .options
                .concurrent_executions_max
                .saturating_sub(inner.places.available_permits()),
            concurrent_executions_max: inner.options.concurrent_executions_max,
            open_executions_max,
            stuck,
            integrations: self.integrations(),
        }
    }

    /// Lists what the engine works with outside. Asks nobody: a health check must not wait for others.
    fn integrations(&self) -> Vec<Integration> {
        let options = &self.0.options;
        let mut integrations: Vec<Integration> = options
            .tool_servers
            .iter()
            .map(|(name, server)| Integration {
                name: name.clone(),
                kind: "tool_server",
                status: IntegrationStatus::Configured,
                detail: match server {
                    ToolServer::Stdio { program, .. } => format!("starts {program}"),
                    ToolServer::Http { url, .. } => plain_url(url).to_owned(),
                },
            })
            .collect();
        let services = options.ports.as_array().map_or(0, Vec::len);
        integrations.push(Integration {
            name: "port registry".to_owned(),
            kind: "port_registry",
            status: IntegrationStatus::of(services > 0),
            detail: format!("{services} services"),
        });
        let names = self.0.components.registered().len();
        integrations.push(Integration {
            name: "components".to_owned(),
            kind: "components",
            status: IntegrationStatus::Available,
            detail: format!("{names} names, {} roots", options.roots.len()),
        });
        if let Some(folder) = &options.plugins.directory {
            integrations.push(Integration {
                name: "plugins directory".to_owned(),
                kind: "plugins_directory",
                status: IntegrationStatus::of(folder.is_dir()),
                detail: folder.display().to_string(),
            });
        }
        if let Some(folder) = &options.retention.archive {
            integrations.push(Integration {
                name: "archive".to_owned(),
                kind: "archive",
                // It is made with the first archive.
                status: IntegrationStatus::Configured,
                detail: folder.display().to_string(),
            });
        }
        integrations
    }

    /// Returns numbers over a span of time, from what is stored.
    ///
    /// # Errors
    ///
    /// A workflow name that is none, a store that fails.
    pub async fn metrics(
        &self,
        since: Option<Timestamp>,
        workflow: Option<&str>,
    ) -> Result<Metrics, EngineError> {
        let filter = self.measured_of(since, workflow).await?;
        self.0.store.metrics(&filter).await.map_err(stored)
    }

    /// Tells how a span of time went until now, part by part.
    ///
    /// # Errors
    ///
    /// A workflow name that is none, a store that fails.
    pub async fn history(
        &self,
        since: Option<Timestamp>,
        workflow: Option<&str>,
    ) -> Result<History, EngineError> {
        let filter = self.measured_of(since, workflow).await?;
        self.0.store.history(&filter, self.now()).await.map_err(stored)
    }

    async fn measured_of(
        &self,
        since: Option<Timestamp>,
        workflow: Option<&str>,
    ) -> Result<MetricsFilter, EngineError> {
        let workflow_id = match workflow {
            // Asking for the numbers of a workflow that does not exist is a mistake and no empty answer.
            Some(workflow) => Some(self.workflow(workflow, None).await?.workflow_id.clone()),
            None => None,
        };
        Ok(MetricsFilter { since, workflow_id })
    }

    /// Returns a workflow with its executions and their events.
    ///
    /// # Errors
    ///
    /// No workflow of that name.
    pub async fn export(
        &self,
        workflow_id: &str,
        include_executions: bool,
    ) -> Result<Export, EngineError> {
        let definition = self.workflow(workflow_id, None).await?;
        if !include_executions {
            return Ok(Export { definition, executions: Vec::new(), truncated: false });
        }
        let page = PageRequest { limit: EXPORT_EXECUTIONS_MAX, cursor: None };
        let listed = self.list_executions(Some(workflow_id), None, page).await?;
        let mut executions = Vec::with_capacity(listed.items.len());
        for summary in &listed.items {
            let id = self.execution_id(&summary.execution_id)?;
            let execution = self.load(&id).await?;
            let mut events: Vec<Event> = Vec::new();
            loop {
                let after = events.last().map(|event| event.seq);
                let more = self.events(&summary.execution_id, after, EVENTS_AT_ONCE).await?;
                let last = more.len() < EVENTS_AT_ONCE as usize;
                events.extend(more);
                if last {
                    break;
                }
            }
            executions.push((Arc::new(execution), events));
        }
        Ok(Export { definition, executions, truncated: listed.next_cursor.is_some() })
    }
}

/// Leaves out of a URL what may be secret: who asks, and the query.
fn plain_url(url: &str) -> &str {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let url = &url[..end];
    match url.split_once("://").and_then(|(_, rest)| rest.split('/').next()) {
        Some(authority) if authority.contains('@') => "(a URL with a user name)",
        _ => url,
    }
}

/// Reads a span such as `15m`, `24h`, `7d` or `all` as the moment that it begins; nothing means everything.
///
/// # Errors
///
/// Says what a span looks like.
pub fn span_start(range: &str, now: Timestamp) -> Result<Option<Timestamp>, EngineError> {
    if range == "all" {
        return Ok(None);
    }
    let wrong = || {
        Mistake::new("time_range", format!("`{range}` is not a span of time"))
            .hint("use a number with `m`, `h` or `d`, such as 15m, 24h or 7d, or `all`")
    };
    let unit = range.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong().into()),
    };
    let count: u64 = range[..range.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    if count == 0 || count > 100_000 {
        return Err(wrong().into());
    }
    Ok(Some(now.minus(Duration::from_secs(count * seconds))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_of_a_url_is_told() {
        assert_eq!(plain_url("https://a.example/mcp?key=secret#x"), "https://a.example/mcp");
        assert_eq!(plain_url("https://ann:secret@a.example/mcp"), "(a URL with a user name)");
        assert_eq!(plain_url("http://127.0.0.1:1/@x"), "http://127.0.0.1:1/@x");
    }

    #[test]
    fn spans_are_numbers_with_a_unit() {
        let now = Timestamp::EPOCH.plus(Duration::from_secs(10 * 86_400));
        let day = span_start("24h", now).expect("legal");
        assert_eq!(day, Some(Timestamp::EPOCH.plus(Duration::from_secs(9 * 86_400))));
        assert_eq!(span_start("all", now).expect("legal"), None);
        for wrong in ["", "h", "0h", "-1h", "1w", "1.5h", "99999999999999999999d", "٣h"] {
            assert!(span_start(wrong, now).is_err(), "{wrong}");
        }
    }
}
