//! `list_executions`.

use caelum_core::workflow::ExecutionStatus;
use caelum_engine::request::{ExecutionSummary, PageRequest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::super::error::ToolError;
use super::super::super::tool::Answer;
use super::super::Tools;
use super::super::answer::{ANSWER_AIM_BYTES, fitting};
use super::super::failure::refuse;
use super::super::workflow::{ROWS, ROWS_MAX};
use crate::document::filled;

/// A status to filter executions by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum StatusFilter {
    /// Something runs or may run.
    Executing,
    /// It waits for somebody, or somebody paused it.
    Paused,
    /// It ended well.
    Completed,
    /// It ended badly.
    Failed,
    /// It was asked to end.
    Cancelled,
}

impl From<StatusFilter> for ExecutionStatus {
    fn from(filter: StatusFilter) -> Self {
        match filter {
            StatusFilter::Executing => ExecutionStatus::Executing,
            StatusFilter::Paused => ExecutionStatus::Paused,
            StatusFilter::Completed => ExecutionStatus::Completed,
            StatusFilter::Failed => ExecutionStatus::Failed,
            StatusFilter::Cancelled => ExecutionStatus::Cancelled,
        }
    }
}

/// Lists executions, newest first, one line each. Use it to find an execution's id, or what waits for somebody
/// (`status_filter: "paused"`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListExecutions {
    /// Only executions of this workflow.
    #[serde(default)]
    workflow_id: Option<String>,
    /// Only executions of this status.
    #[serde(default)]
    status_filter: Option<StatusFilter>,
    /// How many at most; 50 when left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

/// One execution in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionRow {
    /// The execution's id.
    pub execution_id: String,
    /// The workflow's id.
    pub workflow_id: String,
    /// The revision it is pinned to.
    pub revision: u32,
    /// `executing`, `paused`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// When it was started.
    pub started_at: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Steps that have ended.
    pub done: usize,
    /// Steps there are.
    pub total: usize,
}

impl ExecutionRow {
    pub(in super::super) fn of(summary: &ExecutionSummary) -> Self {
        Self {
            execution_id: summary.execution_id.to_string(),
            workflow_id: summary.workflow_id.to_string(),
            revision: summary.revision,
            status: summary.status.as_str().to_owned(),
            started_at: summary.started_at.to_string(),
            ended_at: summary.ended_at.map(|at| at.to_string()),
            done: summary.done,
            total: summary.total,
        }
    }

    /// Returns the row as one line.
    pub fn line(&self) -> String {
        format!(
            "{} of {} (revision {}): {}, {} of {} steps, started {}",
            self.execution_id,
            self.workflow_id,
            self.revision,
            self.status,
            self.done,
            self.total,
            self.started_at
        )
    }
}

/// Executions, newest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionList {
    /// The executions.
    pub executions: Vec<ExecutionRow>,
    /// The cursor of the next page, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl Answer for ExecutionList {
    fn text(&self) -> String {
        if self.executions.is_empty() {
            return "no executions".to_owned();
        }
        let mut lines: Vec<String> = self.executions.iter().map(ExecutionRow::line).collect();
        lines.extend(self.next_cursor.as_ref().map(|cursor| format!("more: cursor {cursor}")));
        lines.join("\n")
    }
}

pub(super) async fn list(
    tools: Tools,
    arguments: ListExecutions,
) -> Result<ExecutionList, ToolError> {
    let cursor = filled(arguments.cursor.as_ref());
    let status = arguments.status_filter.map(ExecutionStatus::from);
    let workflow = filled(arguments.workflow_id.as_ref());
    let mut limit = arguments.limit.unwrap_or(ROWS).min(ROWS_MAX) as usize;
    loop {
        let page = PageRequest { limit, cursor: cursor.map(str::to_owned) };
        let listed = tools.engine.list_executions(workflow, status, page).await.map_err(refuse)?;
        let executions: Vec<ExecutionRow> = listed.items.iter().map(ExecutionRow::of).collect();
        let fits = fitting(&executions, 0, ANSWER_AIM_BYTES);
        if fits >= executions.len() {
            return Ok(ExecutionList { executions, next_cursor: listed.next_cursor });
        }
        // Fewer rows, so that the cursor stands behind the last one that is shown.
        limit = fits;
    }
}
