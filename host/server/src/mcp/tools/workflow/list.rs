//! `list_workflows`.

use caelum_core::workflow::{DefinitionStatus, ExecutionStatus};
use caelum_engine::request::{PageRequest, WorkflowFilter, WorkflowSummary};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::super::error::ToolError;
use super::super::super::tool::Answer;
use super::super::Tools;
use super::super::answer::{ANSWER_AIM_BYTES, counted, fitting, line};
use super::super::execution::StatusFilter;
use super::super::failure::refuse;
use super::{ROWS, ROWS_MAX, status_word};
use crate::document::{StatusWord, filled};

/// Lists workflows, newest first, one line each. Use it to find a workflow's id. `status_filter` takes the status of
/// the definition, or that of its last execution.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListWorkflows {
    /// Only workflows of this status.
    #[serde(default)]
    status_filter: Option<WorkflowFilterWord>,
    /// Only workflows with this pattern label.
    #[serde(default)]
    pattern_filter: Option<String>,
    /// How many at most; 50 when left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

/// A status to filter workflows by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum WorkflowFilterWord {
    /// Being written.
    Draft,
    /// May be executed.
    Active,
    /// Kept for its history.
    Archived,
    /// The last execution is under way.
    Executing,
    /// The last execution waits for somebody.
    Paused,
    /// The last execution ended well.
    Completed,
    /// The last execution ended badly.
    Failed,
    /// The last execution was cancelled.
    Cancelled,
}

impl WorkflowFilterWord {
    fn split(self) -> (Option<DefinitionStatus>, Option<ExecutionStatus>) {
        let by_execution = |status: StatusFilter| (None, Some(ExecutionStatus::from(status)));
        match self {
            Self::Draft => (Some(DefinitionStatus::Draft), None),
            Self::Active => (Some(DefinitionStatus::Active), None),
            Self::Archived => (Some(DefinitionStatus::Archived), None),
            Self::Executing => by_execution(StatusFilter::Executing),
            Self::Paused => by_execution(StatusFilter::Paused),
            Self::Completed => by_execution(StatusFilter::Completed),
            Self::Failed => by_execution(StatusFilter::Failed),
            Self::Cancelled => by_execution(StatusFilter::Cancelled),
        }
    }
}

/// One workflow in a list.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowRow {
    /// The workflow's id.
    pub workflow_id: String,
    /// Its newest revision.
    pub revision: u32,
    /// A few words.
    pub name: String,
    /// What it is for, its beginning.
    pub description: String,
    /// The pattern that it follows; a label.
    pub pattern: String,
    /// `draft`, `active` or `archived`.
    pub status: StatusWord,
    /// How many steps it has.
    pub steps: usize,
    /// When its first revision was made.
    pub created_at: String,
    /// When its newest revision was made.
    pub updated_at: String,
    /// Who made its newest revision.
    pub created_by: String,
    /// Its last execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_execution: Option<LastExecution>,
}

/// The last execution of a workflow.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LastExecution {
    /// The execution's id.
    pub execution_id: String,
    /// `executing`, `paused`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// When it was started.
    pub started_at: String,
}

/// Workflows, newest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowList {
    /// The workflows.
    pub workflows: Vec<WorkflowRow>,
    /// The cursor of the next page, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl Answer for WorkflowList {
    fn text(&self) -> String {
        if self.workflows.is_empty() {
            return "no workflows".to_owned();
        }
        let mut lines: Vec<String> = self
            .workflows
            .iter()
            .map(|row| {
                let last = row.last_execution.as_ref().map_or_else(String::new, |last| {
                    format!(", last execution {} {}", last.execution_id, last.status)
                });
                format!(
                    "{} (revision {}, {}, {}): {}{last}",
                    row.workflow_id,
                    row.revision,
                    status_word(row.status),
                    counted(row.steps, "step", "steps"),
                    row.name,
                )
            })
            .collect();
        lines.extend(self.next_cursor.as_ref().map(|cursor| format!("more: cursor {cursor}")));
        lines.join("\n")
    }
}

/// How many bytes of a description a list shows.
const DESCRIPTION_SHOWN: usize = 160;

impl WorkflowRow {
    fn of(summary: WorkflowSummary) -> Self {
        Self {
            workflow_id: summary.workflow_id,
            revision: summary.revision,
            name: line(&summary.name, DESCRIPTION_SHOWN),
            description: line(&summary.description, DESCRIPTION_SHOWN),
            pattern: line(&summary.pattern, DESCRIPTION_SHOWN),
            status: summary.status.into(),
            steps: summary.steps,
            created_at: summary.created_at.to_string(),
            updated_at: summary.updated_at.to_string(),
            created_by: line(&summary.created_by, DESCRIPTION_SHOWN),
            last_execution: summary.last_execution.map(|(id, status, started_at)| LastExecution {
                execution_id: id,
                status: status.as_str().to_owned(),
                started_at: started_at.to_string(),
            }),
        }
    }
}

pub(super) async fn list(
    tools: Tools,
    arguments: ListWorkflows,
) -> Result<WorkflowList, ToolError> {
    let (status, last_execution) =
        arguments.status_filter.map(WorkflowFilterWord::split).unwrap_or_default();
    let filter = WorkflowFilter {
        status,
        last_execution,
        pattern: filled(arguments.pattern_filter.as_ref()).map(str::to_owned),
    };
    let cursor = filled(arguments.cursor.as_ref());
    let mut limit = arguments.limit.unwrap_or(ROWS).min(ROWS_MAX) as usize;
    loop {
        let page = PageRequest { limit, cursor: cursor.map(str::to_owned) };
        let listed = tools.engine.list_workflows(filter.clone(), page).await.map_err(refuse)?;
        let workflows: Vec<WorkflowRow> = listed.items.into_iter().map(WorkflowRow::of).collect();
        let fits = fitting(&workflows, 0, ANSWER_AIM_BYTES);
        if fits >= workflows.len() {
            return Ok(WorkflowList { workflows, next_cursor: listed.next_cursor });
        }
        // Fewer rows, so that the cursor stands behind the last one that is shown.
        limit = fits;
    }
}
