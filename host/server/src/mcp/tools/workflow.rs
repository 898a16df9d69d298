//! `create_workflow`, `get_workflow`, `list_workflows`, `update_workflow`, `archive_workflow`; the first two here.

mod change;
mod list;

use caelum_core::workflow::DefinitionStatus;
use caelum_engine::request::{IfExists, NewWorkflow, PageRequest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::error::ToolError;
use super::super::tool::{Annotations, Answer, Call, Tool, tool};
use super::answer::{ANSWER_AIM_BYTES, counted, fitting, json_bytes};
use super::execution::ExecutionRow;
use super::failure::refuse;
use super::{NextCall, Tools, actor};
use crate::document::{StatusWord, StepDocument, WorkflowDocument, checked_steps, filled};

pub use change::{WorkflowArchived, WorkflowUpdated};
pub use list::{LastExecution, WorkflowList, WorkflowRow};

/// How many rows a list has when nobody says, and at most.
pub(super) const ROWS: u32 = 50;
pub(super) const ROWS_MAX: u32 = 200;

/// How much is shown of a list that a step goes over, in bytes of JSON: it may be larger than any answer.
const LIST_BYTES_MAX: usize = 16 * 1024;

/// How many executions `get_workflow` shows.
const EXECUTIONS_SHOWN: usize = 5;

pub(super) fn tools(tools: &Tools) -> Vec<Tool> {
    let (creating, getting, listing) = (tools.clone(), tools.clone(), tools.clone());
    let (updating, archiving) = (tools.clone(), tools.clone());
    // Revisions stay, so nothing is overwritten.
    let revises = Annotations::CHANGES.destructive(false);
    vec![
        tool("create_workflow", "Create a workflow", Annotations::ADDS, move |call, arguments| {
            create(creating.clone(), call, arguments)
        }),
        tool("get_workflow", "Read a workflow", Annotations::READS, move |_, arguments| {
            get(getting.clone(), arguments)
        }),
        tool("list_workflows", "List workflows", Annotations::READS, move |_, arguments| {
            list::list(listing.clone(), arguments)
        }),
        tool("update_workflow", "Change a workflow", revises, move |call, arguments| {
            change::update(updating.clone(), call, arguments)
        }),
        tool("archive_workflow", "Archive a workflow", revises, move |call, arguments| {
            change::archive(archiving.clone(), call, arguments)
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
/// its evidence. Use it once per workflow; `update_workflow` changes one that exists, `if_exists: "new_revision"` writes
/// all of it anew. All faults of a definition are named at once, each with a JSON pointer. Answers `status: "success"`,
/// the revision, and warnings about what is legal and still looks like a mistake. Names of validators come from
/// `list_validators`, those of patterns from `list_patterns`. Next: `execute_workflow`.
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
    let steps = checked_steps(&arguments.workflow_id, &arguments.steps)
        .map_err(|problems| faulty(problems, "create_workflow"))?;
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

/// Names everything that is wrong with the form of a definition.
fn faulty(problems: Vec<String>, tool: &str) -> ToolError {
    let count = counted(problems.len(), "problem", "problems");
    ToolError::new("invalid_definition", format!("{count} with the definition"))
        .problems(problems)
        .hint(format!("mend all of them, then call {tool} again; nothing was stored"))
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
    /// How many items of lists that steps go over are left out here: with any, this is not the whole definition, and
    /// `export_workflow_data` has it.
    pub list_items_omitted: usize,
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
        if self.list_items_omitted > 0 {
            text.push_str(&format!(
                "\n{} of lists are left out: export_workflow_data has the whole definition",
                counted(self.list_items_omitted, "item", "items")
            ));
        }
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

/// Leaves out of a list that a step goes over what is more than an answer can hold beside everything else; returns how
/// many items that are. An export has them all.
fn shorten(step: &mut StepDocument) -> usize {
    let Some(Value::Array(items)) = step.map.as_mut().map(|map| &mut map.over) else {
        return 0;
    };
    let shown = fitting(items, 0, LIST_BYTES_MAX).max(1).min(items.len());
    let omitted = items.len() - shown;
    items.truncate(shown);
    omitted
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
    let mut all = std::mem::take(&mut document.steps);
    let lists_shortened: usize = all.iter_mut().map(shorten).sum();
    let mut view = WorkflowView {
        workflow_id: document.workflow_id,
        revision: definition.revision,
        name: definition.name.clone(),
        description: definition.description.clone(),
        pattern: definition.pattern.clone(),
        status: definition.status.into(),
        steps: Vec::new(),
        steps_total: all.len(),
        list_items_omitted: lists_shortened,
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
