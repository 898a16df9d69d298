//! `get_system_health` and `get_workflow_metrics`.

mod health;
mod metrics;

use super::super::tool::{Annotations, Tool, tool};
use super::Tools;

pub use health::{HealthView, IntegrationRow, PluginsView, QueuesView, StoreView};
pub use metrics::{
    ComplianceRow, DurationRow, ExecutionCounts, GateCount, MetricsView, PatternOutcome, ReasonRow,
};

/// How many rows of one kind an answer shows.
const ROWS_MAX: usize = 100;

pub(super) fn tools(tools: &Tools) -> Vec<Tool> {
    let (asking, measuring) = (tools.clone(), tools.clone());
    vec![
        tool(
            "get_system_health",
            "See how the server is",
            Annotations::READS,
            move |_, _: health::GetSystemHealth| {
                let tools = asking.clone();
                async move { Ok(HealthView::of(&tools, &tools.engine.health().await)) }
            },
        ),
        tool(
            "get_workflow_metrics",
            "Measure executions",
            Annotations::READS,
            move |_, arguments| metrics::metrics(measuring.clone(), arguments),
        ),
    ]
}
