//! `update_workflow` and `archive_workflow`: the next revision of a workflow.

use caelum_core::workflow::DefinitionStatus;
use caelum_engine::request::WorkflowChange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::super::error::ToolError;
use super::super::super::tool::{Answer, Call};
use super::super::failure::refuse;
use super::super::{NextCall, Tools, actor};
use super::{NewStatus, faulty, status_word};
use crate::document::{StatusWord, StepDocument, checked_steps, filled};

/// A field that can be emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Clearable {
    /// What the workflow is for.
    Description,
    /// The pattern label.
    Pattern,
    /// All steps.
    Steps,
    /// The schema of the parameters: everything is taken then.
    ParametersSchema,
    /// Everything else that is kept with it.
    Metadata,
}

/// Changes a workflow that exists: makes its next revision, in which only the fields given here differ. `steps` and
/// `metadata` replace all that was there, so read them with `get_workflow` first. With `expected_revision` the change is
/// refused when somebody else changed the workflow since you read it. Empty values count as absent; `clear` empties a
/// field. Running executions stay on their revision. A change that changes nothing makes no revision and answers
/// `unchanged`. Next: `execute_workflow`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateWorkflow {
    /// The workflow's id.
    #[schemars(example = &"active-port-management-v1")]
    workflow_id: String,
    /// The revision that you have read; refused when it is not the newest any more. Not checked when left out.
    #[serde(default)]
    #[schemars(range(min = 1))]
    expected_revision: Option<u32>,
    /// A few words for people.
    #[serde(default)]
    name: Option<String>,
    /// What the workflow is for.
    #[serde(default)]
    description: Option<String>,
    /// The improvement pattern that it follows, as a label.
    #[serde(default)]
    pattern: Option<String>,
    /// All its steps, in the form that `create_workflow` takes.
    #[serde(default)]
    steps: Vec<StepDocument>,
    /// JSON Schema (an object) of the parameters that an execution takes.
    #[serde(default)]
    parameters_schema: Option<Map<String, Value>>,
    /// Everything else to keep with it.
    #[serde(default)]
    metadata: Map<String, Value>,
    /// Whether it may be executed.
    #[serde(default)]
    status: Option<NewStatus>,
    /// Fields to empty.
    #[serde(default)]
    clear: Vec<Clearable>,
    /// Who changes it; your client's name when left out.
    #[serde(default)]
    updated_by: Option<String>,
    /// Any text of yours: a second call with the same one gives the first one's answer and changes nothing.
    #[serde(default)]
    idempotency_key: Option<String>,
}

/// A workflow that was changed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowUpdated {
    /// `success`, or `unchanged` when everything was so already.
    pub status: String,
    /// The workflow's id.
    pub workflow_id: String,
    /// Its newest revision.
    pub revision: u32,
    /// The fields that differ from the revision before.
    pub changed: Vec<String>,
    /// What is legal and still looks like a mistake.
    pub warnings: Vec<String>,
    /// The call to make next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_call: Option<NextCall>,
}

impl Answer for WorkflowUpdated {
    fn text(&self) -> String {
        let what = if self.changed.is_empty() {
            "nothing is different".to_owned()
        } else {
            format!("different now: {}", self.changed.join(", "))
        };
        let mut text = format!(
            "{}: workflow {} has revision {}; {what}",
            self.status, self.workflow_id, self.revision
        );
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

pub(super) async fn update(
    tools: Tools,
    call: Call,
    arguments: UpdateWorkflow,
) -> Result<WorkflowUpdated, ToolError> {
    let steps = checked_steps(&arguments.workflow_id, &arguments.steps)
        .map_err(|problems| faulty(problems, "update_workflow"))?;
    contradictions(&arguments)?;
    let clears = |field: Clearable| arguments.clear.contains(&field);
    let text = |given: &Option<String>, field: Option<Clearable>| match filled(given.as_ref()) {
        Some(text) => Some(text.to_owned()),
        None => field.is_some_and(clears).then(String::new),
    };
    let schema = arguments.parameters_schema.clone().filter(|schema| !schema.is_empty());
    let change = WorkflowChange {
        expected_revision: arguments.expected_revision,
        name: text(&arguments.name, None),
        description: text(&arguments.description, Some(Clearable::Description)),
        pattern: text(&arguments.pattern, Some(Clearable::Pattern)),
        steps: (!steps.is_empty() || clears(Clearable::Steps)).then_some(steps),
        status: arguments.status.map(|status| match status {
            NewStatus::Draft => DefinitionStatus::Draft,
            NewStatus::Active => DefinitionStatus::Active,
        }),
        parameters_schema: match schema {
            Some(schema) => Some(Some(Value::Object(schema))),
            None => clears(Clearable::ParametersSchema).then_some(None),
        },
        metadata: (!arguments.metadata.is_empty() || clears(Clearable::Metadata))
            .then(|| arguments.metadata.clone()),
        by: actor(arguments.updated_by.as_ref(), &call),
        idempotency_key: filled(arguments.idempotency_key.as_ref()).map(str::to_owned),
        workflow_id: arguments.workflow_id.clone(),
    };
    let changed = tools.engine.update_workflow(change).await.map_err(refuse)?;
    let next_call = (changed.status == DefinitionStatus::Active)
        .then(|| NextCall::new("execute_workflow", json!({"workflow_id": changed.workflow_id})));
    Ok(WorkflowUpdated {
        status: if changed.changed.is_empty() { "unchanged" } else { "success" }.to_owned(),
        workflow_id: changed.workflow_id,
        revision: changed.revision,
        changed: changed.changed,
        warnings: changed.warnings,
        next_call,
    })
}

/// Refuses fields that are given and emptied at once.
fn contradictions(arguments: &UpdateWorkflow) -> Result<(), ToolError> {
    let problems: Vec<String> = arguments
        .clear
        .iter()
        .filter_map(|field| {
            let (name, given) = match field {
                Clearable::Description => {
                    ("description", filled(arguments.description.as_ref()).is_some())
                }
                Clearable::Pattern => ("pattern", filled(arguments.pattern.as_ref()).is_some()),
                Clearable::Steps => ("steps", !arguments.steps.is_empty()),
                Clearable::ParametersSchema => (
                    "parameters_schema",
                    arguments.parameters_schema.as_ref().is_some_and(|schema| !schema.is_empty()),
                ),
                Clearable::Metadata => ("metadata", !arguments.metadata.is_empty()),
            };
            given.then(|| format!("/clear: `{name}` is given and emptied at once"))
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(ToolError::new("invalid_arguments", "the change contradicts itself").problems(problems))
}

/// Puts a workflow into the archive, or takes it out again with `archived: false`. What is archived is kept with its
/// executions and cannot be executed; executions that have begun go on. Taken out, it stands where it stood before.
/// Asking for what is so already is no mistake.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchiveWorkflow {
    /// The workflow's id.
    #[schemars(example = &"active-port-management-v1")]
    workflow_id: String,
    /// Whether it belongs into the archive; true when left out.
    #[serde(default)]
    archived: Option<bool>,
    /// Who asks; your client's name when left out.
    #[serde(default)]
    by: Option<String>,
}

/// A workflow that was archived or taken back.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowArchived {
    /// The workflow's id.
    pub workflow_id: String,
    /// Its newest revision.
    pub revision: u32,
    /// `archived`, `active` or `draft`.
    pub status: StatusWord,
    /// Whether it stood elsewhere before.
    pub changed: bool,
    /// Whether executions of it have not ended; they go on.
    pub open_executions: bool,
    /// The call to make next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_call: Option<NextCall>,
}

impl Answer for WorkflowArchived {
    fn text(&self) -> String {
        let already = if self.changed { "" } else { ", as before" };
        let mut text = format!(
            "workflow {} is {}{already} (revision {})",
            self.workflow_id,
            status_word(self.status),
            self.revision
        );
        if self.open_executions {
            text.push_str("\nexecutions of it have not ended and go on");
        }
        if let Some(next) = &self.next_call {
            text.push_str(&format!("\nnext: {}", next.line()));
        }
        text
    }
}

pub(super) async fn archive(
    tools: Tools,
    call: Call,
    arguments: ArchiveWorkflow,
) -> Result<WorkflowArchived, ToolError> {
    let by = actor(arguments.by.as_ref(), &call);
    let archived = arguments.archived.unwrap_or(true);
    let done = tools
        .engine
        .archive_workflow(&arguments.workflow_id, archived, by)
        .await
        .map_err(refuse)?;
    let next_call = match done.status {
        DefinitionStatus::Archived if done.open_executions => {
            Some(NextCall::new("list_executions", json!({"workflow_id": done.workflow_id})))
        }
        DefinitionStatus::Archived => Some(NextCall::new(
            "archive_workflow",
            json!({"workflow_id": done.workflow_id, "archived": false}),
        )),
        DefinitionStatus::Active => {
            Some(NextCall::new("execute_workflow", json!({"workflow_id": done.workflow_id})))
        }
        DefinitionStatus::Draft => Some(NextCall::new(
            "update_workflow",
            json!({"workflow_id": done.workflow_id, "status": "active"}),
        )),
    };
    Ok(WorkflowArchived {
        workflow_id: done.workflow_id,
        revision: done.revision,
        status: done.status.into(),
        changed: done.changed,
        open_executions: done.open_executions,
        next_call,
    })
}
