//! `GET /api/metrics`: the figures as JSON, in the form that the ecosystem's dashboard polls: what was counted since the
//! start, how things are now, and the executions that ended last, each as the guide reports one. The store is asked at
//! most once a second, however many ask. Prometheus reads `/metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use caelum_core::meter::Distribution;
use caelum_core::workflow::{ExecutionStatus, StepStatus};
use caelum_engine::meters::Measured;
use caelum_engine::request::{PageRequest, Patience};
use http::StatusCode;
use serde::Serialize;
use tokio::sync::Mutex;

use super::answer::refusal;
use crate::mcp::handler::SERVER_NAME;
use crate::mcp::tools::Tools;

/// The path.
pub const PATH: &str = "/api/metrics";

/// How many executions that ended last are told.
const EXECUTIONS_MAX: usize = 20;

/// How long figures are given again without asking anew.
const FRESH: Duration = Duration::from_secs(1);

/// How many times something was measured, and how long it took.
#[derive(Debug, Clone, Serialize)]
struct Times {
    count: u64,
    mean_ms: f64,
}

impl Times {
    fn of(values: &Distribution) -> Self {
        let count = values.count();
        let mean_us = values.sum as f64 / count.max(1) as f64;
        Self { count, mean_ms: mean_us / 1_000.0 }
    }
}

/// Executions since the start.
#[derive(Debug, Clone, Serialize)]
struct Executions {
    started: u64,
    ended: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success_rate: Option<f64>,
    approvals_pending: u64,
    stuck: u64,
}

/// The store.
#[derive(Debug, Clone, Serialize)]
struct Store {
    database_bytes: u64,
    wal_bytes: u64,
    queued: u64,
    commits: Times,
}

/// One execution that ended, as the guide's metrics client reports it, and which it was.
#[derive(Debug, Clone, Serialize)]
struct Ended {
    execution_id: String,
    workflow_id: String,
    status: &'static str,
    /// In seconds.
    execution_time: f64,
    success: bool,
    step_count: usize,
    machine_count: usize,
    ended_at: String,
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
struct Figures {
    service: &'static str,
    version: &'static str,
    timestamp: String,
    uptime_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<usize>,
    executions: Executions,
    steps: BTreeMap<&'static str, u64>,
    attempts: BTreeMap<&'static str, u64>,
    leases_expired: u64,
    stale_reports: u64,
    machines: BTreeMap<&'static str, u64>,
    step_queue: Times,
    step_overhead: Times,
    approval_wait: Times,
    timer_lag: Times,
    store: Store,
    workflow_executions: Vec<Ended>,
}

type Recent = Arc<Mutex<Option<(Instant, Figures)>>>;

/// Returns the route; who may see it is decided before it.
pub fn route(tools: Tools) -> Router {
    Router::new().route(PATH, get(serve).with_state((tools, Recent::default())))
}

async fn serve(State((tools, recent)): State<(Tools, Recent)>) -> Response {
    // Held while the store is asked: whoever comes meanwhile gets the same answer.
    let mut kept = recent.lock().await;
    if let Some((at, figures)) = &*kept
        && at.elapsed() < FRESH
    {
        return Json(figures.clone()).into_response();
    }
    match figures(&tools).await {
        Ok(figures) => {
            *kept = Some((Instant::now(), figures.clone()));
            Json(figures).into_response()
        }
        Err(error) => {
            tracing::error!(error, "the metrics cannot be gathered");
            refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "the metrics cannot be gathered now",
                "the server's log says more; `/health` says how it is",
            )
        }
    }
}

async fn figures(tools: &Tools) -> Result<Figures, String> {
    let engine = tools.engine.clone();
    // Asks the file system for the sizes of the store, and every open execution for what it waits for.
    let measured = tokio::task::spawn_blocking(move || engine.measured());
    let measured = measured.await.map_err(|error| error.to_string())?;
    let workflow_executions = ended(tools).await?;
    Ok(shown(tools, &measured, workflow_executions))
}

fn shown(tools: &Tools, measured: &Measured, workflow_executions: Vec<Ended>) -> Figures {
    let ended: BTreeMap<_, _> = measured.runs_finished.iter().copied().collect();
    let of = |status: ExecutionStatus| ended.get(status.as_str()).copied().unwrap_or_default();
    let completed = of(ExecutionStatus::Completed);
    let judged = completed + of(ExecutionStatus::Failed);
    let mut steps = BTreeMap::new();
    for (_, how, count) in &measured.steps {
        *steps.entry(*how).or_insert(0) += count;
    }
    Figures {
        service: SERVER_NAME,
        version: env!("CARGO_PKG_VERSION"),
        timestamp: tools.engine.now().to_string(),
        uptime_s: tools.engine.uptime().as_secs(),
        connections: tools.gauges.get().map(crate::listen::Gauges::connections),
        executions: Executions {
            started: measured.runs_started,
            success_rate: (judged > 0).then(|| completed as f64 / judged as f64),
            ended,
            approvals_pending: measured.approvals_pending,
            stuck: measured.stuck,
        },
        steps,
        attempts: measured.attempts.iter().copied().collect(),
        leases_expired: measured.leases_expired,
        stale_reports: measured.stale_reports,
        machines: measured.machines.iter().copied().collect(),
        step_queue: Times::of(&measured.queued),
        step_overhead: Times::of(&measured.overhead),
        approval_wait: Times::of(&measured.approval_waits),
        timer_lag: Times::of(&measured.timer_lag),
        store: Store {
            database_bytes: measured.store.database_bytes,
            wal_bytes: measured.store.wal_bytes,
            queued: measured.store.queued,
            commits: Times::of(&measured.store.commit_times),
        },
        workflow_executions,
    }
}

/// Returns the executions that ended last, among the newest of each way to end.
async fn ended(tools: &Tools) -> Result<Vec<Ended>, String> {
    let mut found = Vec::new();
    for status in [ExecutionStatus::Completed, ExecutionStatus::Failed, ExecutionStatus::Cancelled]
    {
        let page = PageRequest { limit: EXECUTIONS_MAX, cursor: None };
        let listed = tools.engine.list_executions(None, Some(status), page).await;
        found.extend(listed.map_err(|error| error.to_string())?.items);
    }
    found.sort_by_key(|row| std::cmp::Reverse(row.ended_at));
    found.truncate(EXECUTIONS_MAX);
    let mut rows = Vec::with_capacity(found.len());
    for row in found {
        // Retention may have taken it since.
        let Ok(snapshot) = tools.engine.execution(&row.execution_id, Patience::default()).await
        else {
            continue;
        };
        let execution = &snapshot.execution;
        let completed =
            execution.steps().iter().filter(|step| step.status() == StepStatus::Completed).count();
        let ended_at = row.ended_at.unwrap_or(row.started_at);
        rows.push(Ended {
            execution_id: row.execution_id,
            workflow_id: row.workflow_id,
            status: row.status.as_str(),
            execution_time: ended_at.since(row.started_at).as_secs_f64(),
            success: row.status == ExecutionStatus::Completed,
            step_count: completed,
            // Without targets everything ran on this machine.
            machine_count: execution.head().target_machines.len().max(1),
            ended_at: ended_at.to_string(),
        });
    }
    Ok(rows)
}
