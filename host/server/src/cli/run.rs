//! `run`: a workflow from a file, or by its id, to its end.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::access::{Access, Reach};
use super::exit::Exit;
use super::follow::{conclude, follow};
use super::output::{ATTENTION, Output, complain, paint};
use super::parameters::Parameters;
use super::{CommandError, access};
use crate::config::Config;
use crate::document::{self, WorkflowDocument};
use crate::mcp::tools::execution::ExecutionStarted;
use crate::mcp::tools::workflow::{WorkflowCreated, WorkflowView};

#[derive(Debug, Args)]
pub(super) struct Run {
    /// A JSON or YAML file, or the id of a workflow that is kept.
    #[arg(value_name = "FILE|ID")]
    workflow: String,
    #[command(flatten)]
    parameters: Parameters,
    /// A machine for steps that name none. May be repeated.
    #[arg(long, value_name = "MACHINE")]
    machine: Vec<String>,
    /// Show the order of the steps, their machines and gates, and run nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Run {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let document = match file(&self.workflow) {
            Some(path) => Some(read(&path)?),
            None => None,
        };
        Access::within(config, Reach::Roots, async |access| self.on(access, output, document).await)
            .await
    }

    async fn on(
        &self,
        access: &Access,
        output: &mut Output,
        document: Option<WorkflowDocument>,
    ) -> Result<Exit, CommandError> {
        let (workflow_id, revision, schema) = match document {
            Some(document) => {
                let schema = document.parameters_schema.clone();
                let created = keep(access, document).await?;
                for warning in &created.warnings {
                    output
                        .line(format!("{} {warning}", paint(ATTENTION, "warning:")))
                        .map_err(CommandError::Output)?;
                }
                (created.workflow_id, Some(created.revision), schema)
            }
            None => {
                let schema = match self.parameters.need_schema() {
                    true => schema_of(access, &self.workflow).await?,
                    false => None,
                };
                (self.workflow.clone(), None, schema)
            }
        };
        let parameters = self.parameters.read(schema.as_ref())?;
        let mut arguments = json!({
            "workflow_id": workflow_id, "parameters": parameters,
            "target_machines": self.machine, "dry_run": self.dry_run,
        });
        if let (Some(revision), Value::Object(arguments)) = (revision, &mut arguments) {
            arguments.insert("revision".to_owned(), json!(revision));
        }
        let started: ExecutionStarted = access.call("execute_workflow", arguments).await?;
        let Some(execution_id) = started.execution_id.clone() else {
            return plan(output, &started).map_err(CommandError::Output);
        };
        let view = follow(access, output, &execution_id, None).await?;
        conclude(output, &view).map_err(CommandError::Output)
    }
}

/// Keeps a document as a workflow; the same document again is the same revision.
pub(super) async fn keep(
    access: &Access,
    document: WorkflowDocument,
) -> Result<WorkflowCreated, CommandError> {
    let mut arguments = document.into_arguments();
    arguments.entry("created_by").or_insert_with(|| Value::from(access::user()));
    let mut hash = Sha256::new();
    hash.update(Value::Object(arguments.clone()).to_string());
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    arguments.insert("if_exists".to_owned(), Value::from("new_revision"));
    arguments.insert("idempotency_key".to_owned(), Value::from(format!("document-{digest}")));
    Ok(access.call("create_workflow", Value::Object(arguments)).await?)
}

async fn schema_of(
    access: &Access,
    workflow_id: &str,
) -> Result<Option<Map<String, Value>>, CommandError> {
    let view: WorkflowView =
        access.call("get_workflow", json!({"workflow_id": workflow_id})).await?;
    Ok(view.parameters_schema)
}

/// Says whether a file is meant: it is there, or is written like one.
fn file(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let like_one = text.contains('/')
        || path
            .extension()
            .is_some_and(|end| ["json", "yaml", "yml"].iter().any(|known| end == *known));
    (like_one || path.is_file()).then(|| path.to_owned())
}

fn read(path: &Path) -> Result<WorkflowDocument, CommandError> {
    let bytes = std::fs::read(path).map_err(|error| {
        let text = format!("`{}` cannot be read: {error}", path.display());
        if error.kind() == std::io::ErrorKind::NotFound {
            CommandError::NotFound(text)
        } else {
            CommandError::Usage(text)
        }
    })?;
    let text = String::from_utf8(bytes).map_err(|_| {
        CommandError::Usage(format!("`{}` is no text: it is not UTF-8", path.display()))
    })?;
    document::read(&text).map_err(|error| CommandError::Document { path: path.to_owned(), error })
}

fn plan(output: &mut Output, planned: &ExecutionStarted) -> std::io::Result<Exit> {
    let exit = if planned.problems.is_empty() { Exit::Ok } else { Exit::Usage };
    if output.result(planned)? {
        return Ok(exit);
    }
    for step in &planned.plan {
        let machines = match step.machines.as_slice() {
            [] => String::new(),
            machines => format!(" on {}", machines.join(", ")),
        };
        let gates = match step.gates.as_slice() {
            [] => String::new(),
            gates => format!("; {}", gates.join(", ")),
        };
        output
            .line(format!("wave {}: {} ({}{machines}){gates}", step.wave, step.id, step.action))?;
    }
    for problem in &planned.problems {
        complain(problem);
    }
    Ok(exit)
}
