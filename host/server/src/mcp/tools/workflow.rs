//! `create_workflow`, `get_workflow`, `list_workflows`.

use caelum_core::workflow::{DefinitionStatus, ExecutionStatus};
use caelum_engine::request::{IfExists, NewWorkflow, PageRequest, WorkflowSummary};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::error::ToolError;
use super::super::tool::{Annotations, Answer, Call, Tool, tool};
use super::answer::{ANSWER_AIM_BYTES, counted, fitting, json_bytes};
use super::execution::{ExecutionRow, StatusFilter};
use super::failure::refuse;
use super::{NextCall, Tools, actor};
use crate::document::{StatusWord, StepDocument, WorkflowDocument, checked_steps, filled};

/// How many rows a list has when nobody says, and at most.
pub(super) const ROWS: u32 = 50;
pub(super) const ROWS_MAX: u32 = 200;

/// How many executions `get_workflow` shows.
const EXECUTIONS_SHOWN: usize = 5;

pub(super) fn tools(tools: &Tools) -> Vec<Tool> {
    let (creating, getting, listing) = (tools.clone(), tools.clone(), tools.clone());
    vec![
        tool("create_workflow", "Create a workflow", Annotations::ADDS, move |call, arguments| {
            create(creating.clone(), call, arguments)
        }),
        tool("get_workflow", "Read a workflow", Annotations::READS, move |_, arguments| {
            get(getting.clone(), arguments)
        }),
        tool("list_workflows", "List workflows", Annotations::READS, move |_, arguments| {
            list(listing.clone(), arguments)
        }),
    ]
}

/// Whether a new workflow may be executed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum NewStatus {
    /// Not yet.
    Draft,
    /// At once.
    Active,
}

/// What to do when a workflow of this id exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum IfExistsWord {
    /// Refuse.
    Error,
    /// Make its next revision; running executions stay on theirs.
    NewRevision,
}

/// Creates a workflow definition: steps that depend on each other, each with an action and up to two gates that judge
/// its evidence. Use it once per workflow; with `if_exists: "new_revision"` it changes one that exists. All faults of a
/// definition are named at once, each with a JSON pointer. Answers `status: "success"`, the revision, and warnings
/// about what is legal and still looks like a mistake. Names of validators and patterns come from `list_patterns`. Next:
/// `execute_workflow`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateWorkflow {
    /// The id, chosen by you: letters, digits, `-`, `_` and `.`.
    #[schemars(example = &"active-port-management-v1")]
    workflow_id: String,
    /// A few words for people; the id when left out.
    #[serde(default)]
    name: Option<String>,
    /// What the workflow is for.
    #[serde(default)]
    description: Option<String>,
    /// The improvement pattern that it follows, as a label, such as `infrastructure-enforcement`.
    #[serde(default)]
    pattern: Option<String>,
    /// The steps; an empty list is allowed.
    steps: Vec<StepDocument>,
    /// Who creates it; your client's name when left out.
    #[serde(default)]
    created_by: Option<String>,
    /// Anything else to keep with it.
    #[serde(default)]
    metadata: Map<String, Value>,
    /// JSON Schema (an object) of the parameters that an execution takes; its `default`s are filled in.
    #[serde(default)]
    parameters_schema: Option<Map<String, Value>>,
    /// Whether it may be executed: `active` when left out.
    #[serde(default)]
    status: Option<NewStatus>,
    /// What to do when a workflow of this id exists: `error` when left out.
    #[serde(default)]
    if_exists: Option<IfExistsWord>,
    /// Any text of yours: a second call with the same one gives the first one's answer and creates nothing.
    #[serde(default)]
    idempotency_key: Option<String>,
}

/// The workflow that was created.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowCreated {
    /// Always `success`; a failure is an error.
    pub status: String,
    /// The workflow's id.
    pub workflow_id: String,
    /// Its revision, from 1.
    pub revision: u32,
    /// What is legal and still looks like a mistake.
    pub warnings: Vec<String>,
    /// The call to make next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_call: Option<NextCall>,
}

impl Answer for WorkflowCreated {
    fn text(&self) -> String {
        let mut text =
            format!("success: workflow {} has revision {}", self.workflow_id, self.revision);
        for warning in &self.warnings {
            text.push_str("\nwarning: ");
            text.push_str(warning);
        }
        if let Some(next) = &self.next_call {
            text.push_str(&format!("\nnext: {}", next.line()));
        }
        text
    }
}

async fn create(
    tools: Tools,
    call: Call,
    arguments: CreateWorkflow,
) -> Result<WorkflowCreated, ToolError> {
    let steps = checked_steps(&arguments.workflow_id, &arguments.steps).map_err(|problems| {
        let count = counted(problems.len(), "problem", "problems");
        ToolError::new("invalid_definition", format!("{count} with the definition"))
            .problems(problems)
            .hint("mend all of them, then call create_workflow again; nothing was stored")
    })?;
    let active = arguments.status != Some(NewStatus::Draft);
    let new = NewWorkflow {
        workflow_id: arguments.workflow_id,
        name: filled(arguments.name.as_ref()).map(str::to_owned),
        description: arguments.description.unwrap_or_default(),
        pattern: arguments.pattern.unwrap_or_default(),
        steps,
        created_by: actor(arguments.created_by.as_ref(), &call),
        status: if active { DefinitionStatus::Active } else { DefinitionStatus::Draft },
        parameters_schema: arguments.parameters_schema.map(Value::Object),
        metadata: arguments.metadata,
        if_exists: match arguments.if_exists {
            None | Some(IfExistsWord::Error) => IfExists::Error,
            Some(IfExistsWord::NewRevision) => IfExists::NewRevision,
        },
        idempotency_key: filled(arguments.idempotency_key.as_ref()).map(str::to_owned),
    };
    let created = tools.engine.create_workflow(new).await.map_err(refuse)?;
    let next_call = active
        .then(|| NextCall::new("execute_workflow", json!({"workflow_id": created.workflow_id})));
    Ok(WorkflowCreated {
        status: "success".to_owned(),
        workflow_id: created.workflow_id,
        revision: created.revision,
        warnings: created.warnings,
        next_call,
    })
}

/// Reads a workflow's definition, where it stands, and its last executions. Use it before changing a workflow; the
/// steps come in the form that `create_workflow` takes. A very long workflow comes in parts: when `next_from_step` is
/// there, call again with it as `from_step`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetWorkflow {
    /// The workflow's id.
    #[schemars(example = &"active-port-management-v1")]
    workflow_id: String,
    /// Which revision; the newest when left out.
    #[serde(default)]
    #[schemars(range(min = 1))]
    revision: Option<u32>,
    /// The first step to show, counted from 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000))]
    from_step: Option<usize>,
}

/// A workflow as it is kept.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowView {
    /// The workflow's id.
    pub workflow_id: String,
    /// The revision shown.
    pub revision: u32,
    /// A few words.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The pattern that it follows; a label.
    pub pattern: String,
    /// `draft`, `active` or `archived`.
    pub status: StatusWord,
    /// Its steps, in the form that `create_workflow` takes.
    pub steps: Vec<StepDocument>,
    /// How many steps there are.
    pub steps_total: usize,
    /// Where to go on, when steps are left out here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_from_step: Option<usize>,
    /// JSON Schema of the parameters that an execution takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_schema: Option<Map<String, Value>>,
    /// What its author keeps with it.
    pub metadata: Map<String, Value>,
    /// Who made this revision.
    pub created_by: String,
    /// When the first revision was made, in RFC 3339.
    pub created_at: String,
    /// When this revision was made, in RFC 3339.
    pub updated_at: String,
    /// Its last executions, newest first.
    pub executions: Vec<ExecutionRow>,
}

impl Answer for WorkflowView {
    fn text(&self) -> String {
        let mut text = format!(
            "workflow {} ({}), revision {}, {}, {}",
            self.workflow_id,
            self.name,
            self.revision,
            status_word(self.status),
            counted(self.steps_total, "step", "steps"),
        );
        let document = serde_json::to_string(&self.steps).unwrap_or_default();
        text.push_str(&format!("\nsteps: {document}"));
        if let Some(next) = self.next_from_step {
            text.push_str(&format!("\nmore steps: call again with from_step: {next}"));
        }
        for execution in &self.executions {
            text.push_str("\nexecution ");
            text.push_str(&execution.line());
        }
        text
    }
}

fn status_word(status: StatusWord) -> &'static str {
    DefinitionStatus::from(status).as_str()
}

async fn get(tools: Tools, arguments: GetWorkflow) -> Result<WorkflowView, ToolError> {
    let engine = &tools.engine;
    let definition =
        engine.workflow(&arguments.workflow_id, arguments.revision).await.map_err(refuse)?;
    let page = PageRequest { limit: EXECUTIONS_SHOWN, cursor: None };
    let executions = engine
        .list_executions(Some(definition.workflow_id.as_str()), None, page)
        .await
        .map_err(refuse)?;
    let mut document = WorkflowDocument::of(&definition);
    let all = std::mem::take(&mut document.steps);
    let mut view = WorkflowView {
        workflow_id: document.workflow_id,
        revision: definition.revision,
        name: definition.name.clone(),
        description: definition.description.clone(),
        pattern: definition.pattern.clone(),
        status: definition.status.into(),
        steps: Vec::new(),
        steps_total: all.len(),
        next_from_step: None,
        parameters_schema: document.parameters_schema,
        metadata: document.metadata,
        created_by: definition.created_by.clone(),
        created_at: definition.created_at.to_string(),
        updated_at: definition.updated_at.to_string(),
        executions: executions.items.iter().map(ExecutionRow::of).collect(),
    };
    let from = arguments.from_step.unwrap_or(0).min(all.len());
    let count = fitting(&all, from, ANSWER_AIM_BYTES.saturating_sub(json_bytes(&view)));
    view.next_from_step = (from + count < all.len()).then_some(from + count);
    view.steps = all.into_iter().skip(from).take(count).collect();
    Ok(view)
}

/// Lists workflows, newest first, one line each. Use it to find a workflow's id. `status_filter` takes the status of
/// the definition, or that of its last execution.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListWorkflows {
    /// Only workflows of this status.
    #[serde(default)]
    status_filter: Option<WorkflowFilter>,
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
enum WorkflowFilter {
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

impl WorkflowFilter {
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
            name: super::answer::line(&summary.name, DESCRIPTION_SHOWN),
            description: super::answer::line(&summary.description, DESCRIPTION_SHOWN),
            pattern: super::answer::line(&summary.pattern, DESCRIPTION_SHOWN),
            status: summary.status.into(),
            steps: summary.steps,
            created_at: summary.created_at.to_string(),
            updated_at: summary.updated_at.to_string(),
            created_by: super::answer::line(&summary.created_by, DESCRIPTION_SHOWN),
            last_execution: summary.last_execution.map(|(id, status, started_at)| LastExecution {
                execution_id: id,
                status: status.as_str().to_owned(),
                started_at: started_at.to_string(),
            }),
        }
    }
}

async fn list(tools: Tools, arguments: ListWorkflows) -> Result<WorkflowList, ToolError> {
    // A filter by last execution reads past what does not fit; this bounds how far one call reads.
    const PAGES_MAX: usize = 50;
    let limit = arguments.limit.unwrap_or(ROWS).min(ROWS_MAX) as usize;
    let (status, last) = arguments.status_filter.map(WorkflowFilter::split).unwrap_or_default();
    let pattern = filled(arguments.pattern_filter.as_ref());
    let mut cursor = filled(arguments.cursor.as_ref()).map(str::to_owned);
    let mut workflows = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = PageRequest { limit: limit - workflows.len(), cursor: cursor.take() };
        let listed = tools.engine.list_workflows(status, pattern, page).await.map_err(refuse)?;
        cursor = listed.next_cursor;
        let fits = |summary: &WorkflowSummary| match last {
            None => true,
            Some(wanted) => {
                summary.last_execution.as_ref().is_some_and(|(_, status, _)| *status == wanted)
            }
        };
        workflows.extend(listed.items.into_iter().filter(fits).map(WorkflowRow::of));
        if cursor.is_none() || workflows.len() >= limit {
            break;
        }
    }
    Ok(WorkflowList { workflows, next_cursor: cursor })
}
