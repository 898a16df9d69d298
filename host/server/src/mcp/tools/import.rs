//! `import_workflow`: what an export gave, taken in again.

use caelum_engine::import::{Imported, NewImport};
use caelum_engine::request::IfExists;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::error::ToolError;
use super::super::tool::{Annotations, Answer, Call, Tool, tool};
use super::answer::{ANSWER_AIM_BYTES, NextCall, counted, fitting};
use super::failure::refuse;
use super::{Tools, actor};
use crate::document::{DocumentError, filled, history};

/// The largest text that is taken in at once, in bytes; what a transport lets through is less as a rule. The command line
/// divides larger files.
pub(crate) const IMPORT_BYTES_MAX: usize = 32 * 1024 * 1024;

pub(super) fn tools(tools: &Tools) -> Vec<Tool> {
    let importing = tools.clone();
    vec![tool(
        "import_workflow",
        "Import a workflow and its history",
        Annotations::ADDS,
        move |call, arguments| import(importing.clone(), call, arguments),
    )]
}

/// What to do when a workflow of this id exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum IfExistsWord {
    /// Refuse.
    Error,
    /// Make its next revision, unless it says the same already.
    NewRevision,
}

/// Imports a workflow from text: what `export_workflow_data` gave as `json` or `yaml`, a document as `create_workflow`
/// takes it, or the ecosystem's own form. Executions in it come along as finished history: kept apart by id, never run
/// and never put over one that is here. Events as `ndjson` are history too; their workflow has to be here. All faults are
/// named at once, and then nothing is stored. Next: `get_workflow`, or `execute_workflow`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ImportWorkflow {
    /// The text: JSON, YAML, or JSON lines of events. Which of them it is shows by itself.
    #[schemars(example = &"{\"workflow_id\": \"greet\", \"steps\": []}")]
    data: String,
    /// What to do when a workflow of this id exists: `error` when left out.
    #[serde(default)]
    if_exists: Option<IfExistsWord>,
    /// Whether executions come along; true when left out.
    #[serde(default)]
    include_executions: Option<bool>,
    /// Any text of yours: a second call with the same one makes no second workflow or revision.
    #[serde(default)]
    idempotency_key: Option<String>,
}

/// An execution that was left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SkippedRow {
    /// Its id.
    pub execution_id: String,
    /// Why.
    pub reason: String,
}

/// What was imported.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowImported {
    /// Always `success`; a failure is an error.
    pub status: String,
    /// The workflow's id; missing when only history was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// Its revision here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    /// Whether that revision was here already.
    pub unchanged: bool,
    /// How many executions were stored.
    pub executions: usize,
    /// Executions that were not, each with the reason.
    pub skipped: Vec<SkippedRow>,
    /// How many more were not, and are left out here.
    pub skipped_omitted: usize,
    /// What is legal and still looks like a mistake.
    pub warnings: Vec<String>,
    /// The call to make next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_call: Option<NextCall>,
}

impl Answer for WorkflowImported {
    fn text(&self) -> String {
        let workflow = match (&self.workflow_id, self.revision) {
            (Some(id), Some(revision)) if self.unchanged => {
                format!("workflow {id} is here already as revision {revision}, ")
            }
            (Some(id), Some(revision)) => format!("workflow {id} has revision {revision}, "),
            _ => String::new(),
        };
        let mut text = format!(
            "success: {workflow}{} imported",
            counted(self.executions, "execution", "executions")
        );
        for skipped in &self.skipped {
            text.push_str(&format!("\nskipped {}: {}", skipped.execution_id, skipped.reason));
        }
        if self.skipped_omitted > 0 {
            text.push_str(&format!("\nand {} more skipped", self.skipped_omitted));
        }
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

impl WorkflowImported {
    fn of(imported: Imported) -> Self {
        let mut skipped: Vec<SkippedRow> = imported
            .skipped
            .into_iter()
            .map(|(execution_id, reason)| SkippedRow { execution_id, reason })
            .collect();
        let all = skipped.len();
        let shown = fitting(&skipped, 0, ANSWER_AIM_BYTES / 2);
        skipped.truncate(shown);
        let (workflow_id, revision) = imported.workflow.unzip();
        Self {
            status: "success".to_owned(),
            next_call: workflow_id
                .as_ref()
                .map(|id| NextCall::new("get_workflow", json!({"workflow_id": id}))),
            workflow_id,
            revision,
            unchanged: imported.unchanged,
            executions: imported.executions.len(),
            skipped_omitted: all - skipped.len(),
            skipped,
            warnings: imported.warnings,
        }
    }
}

async fn import(
    tools: Tools,
    call: Call,
    arguments: ImportWorkflow,
) -> Result<WorkflowImported, ToolError> {
    let ImportWorkflow { data, if_exists, include_executions, idempotency_key } = arguments;
    let (now, by) = (tools.engine.now(), actor(None, &call));
    // A large text takes a while to read.
    let reading =
        tokio::task::spawn_blocking(move || history::read(&data, IMPORT_BYTES_MAX, now, &by));
    let parcel = match reading.await {
        Ok(read) => read.map_err(unreadable)?,
        Err(broken) => return Err(ToolError::internal("read what is to be imported", broken)),
    };
    let new = NewImport {
        definition: parcel.definition,
        if_exists: match if_exists {
            None | Some(IfExistsWord::Error) => IfExists::Error,
            Some(IfExistsWord::NewRevision) => IfExists::NewRevision,
        },
        histories: match include_executions {
            Some(false) => Vec::new(),
            _ => parcel.histories,
        },
        idempotency_key: filled(idempotency_key.as_ref()).map(str::to_owned),
    };
    tools.engine.import(new).await.map(WorkflowImported::of).map_err(refuse)
}

fn unreadable(error: DocumentError) -> ToolError {
    match error {
        DocumentError::Invalid { problems } => {
            let count = counted(problems.len(), "problem", "problems");
            ToolError::new("invalid_import", format!("{count} with what is to be imported"))
                .problems(problems)
                .hint("mend all of them, then call import_workflow again; nothing was stored")
        }
        DocumentError::TooLarge { bytes } => ToolError::new(
            "too_large",
            format!("`data` has {bytes} bytes, at most {IMPORT_BYTES_MAX} are read"),
        )
        .hint("the command line divides a file by itself: caelum-workflow import FILE"),
        other => ToolError::new("invalid_import", other.to_string())
            .hint("give JSON, YAML, or events as JSON lines, as export_workflow_data writes them"),
    }
}
