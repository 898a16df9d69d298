//! Workflows and history from elsewhere: an export of another server, or what retention has archived. Nothing is stored
//! unless everything is right; what is here is never changed.

use std::sync::Arc;

use caelum_core::id::ExecutionId;
use caelum_core::plugin::Phase;
use caelum_core::workflow::{
    Event, EventBody, Execution, Graph, KnownValidator, WorkflowDefinition, check_definition,
};
use caelum_store::{ExecutionKind, NewExecution, StoreError};
use serde_json::{Value, json};

use crate::engine::{Engine, plugins_of};
use crate::error::{EngineError, Mistake};
use crate::executions::stored;
use crate::idempotency::Keyed;
use crate::request::{IfExists, TASK_GROUP_PREFIX};

/// How many faults are told; more of the same would only fill the reader's context.
const FAULTS_MAX: usize = 200;

/// What is to be taken in.
#[derive(Debug, Clone, PartialEq)]
pub struct NewImport {
    /// The workflow, with the revision and the times that it had elsewhere.
    pub definition: Option<WorkflowDefinition>,
    /// What to do when a workflow of that name exists.
    pub if_exists: IfExists,
    /// Executions that ended elsewhere.
    pub histories: Vec<History>,
    /// Same key, same answer.
    pub idempotency_key: Option<String>,
}

/// One execution, as what happened to it.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Where it stands in what was handed in, for messages.
    pub place: String,
    /// Its name.
    pub execution_id: String,
    /// What it was a run of; nothing means a workflow.
    pub kind: Option<ExecutionKind>,
    /// The definition that it ran under, where it was handed in too; otherwise it has to be here.
    pub definition: Option<Arc<WorkflowDefinition>>,
    /// Its events, in order.
    pub events: Vec<Event>,
}

/// What was taken in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// The workflow and its revision here; nothing when only history was handed in.
    pub workflow: Option<(String, u32)>,
    /// Whether that revision was here already and nothing was stored for it.
    pub unchanged: bool,
    /// What is legal and still looks like a mistake.
    pub warnings: Vec<String>,
    /// Executions that were stored.
    pub executions: Vec<String>,
    /// Executions that were not, and why.
    pub skipped: Vec<(String, String)>,
}

/// An execution that can be stored.
struct Ready {
    kind: ExecutionKind,
    execution: Execution,
    events: Vec<Event>,
}

impl Engine {
    /// Takes in a workflow and finished executions. All of it is on disk when this returns. Executions are kept apart by
    /// name: one that is here already stays as it is. Handing the same in again stores nothing twice.
    ///
    /// # Errors
    ///
    /// Every fault of everything at once: rules that the definition breaks, events that cannot have happened, definitions
    /// that are missing. Then nothing is stored.
    pub async fn import(&self, mut new: NewImport) -> Result<Imported, EngineError> {
        let key = new.idempotency_key.take();
        let keyed = Keyed::of("import_workflow", key, &(&new.definition, new.if_exists))?;
        let before = self.answered(keyed.as_ref()).await?;
        let mut faults = Vec::new();
        let mut imported = Imported::default();
        if let Some(definition) = &new.definition {
            if definition.workflow_id.as_str().starts_with(TASK_GROUP_PREFIX) {
                faults.push(format!("/workflow_id: `{TASK_GROUP_PREFIX}` begins task groups"));
            }
            self.plugins_there(&definition.steps).await;
            match self.checked(definition, "import_workflow") {
                Ok(warnings) => imported.warnings = warnings,
                Err(EngineError::Mistake(mistake)) => faults.extend(mistake.details),
                Err(other) => return Err(other),
            }
        }
        let mut ready = Vec::new();
        for history in std::mem::take(&mut new.histories) {
            match self.weigh(history, new.definition.as_ref()).await? {
                Weighed::Ready(one) => ready.push(*one),
                Weighed::Skipped(id, why) => imported.skipped.push((id, why)),
                Weighed::Wrong(more) => faults.extend(more),
            }
        }
        if !faults.is_empty() {
            return Err(wrong(faults));
        }
        if let Some(definition) = new.definition {
            self.take_in(definition, new.if_exists, keyed, before, &mut imported).await?;
        }
        // The oldest first, so that lists have the order that they had elsewhere.
        ready.sort_by(|a, b| {
            let when = |one: &Ready| one.execution.head().started_at;
            (when(a), a.execution.id()).cmp(&(when(b), b.execution.id()))
        });
        for Ready { kind, mut execution, events } in ready {
            let id = execution.id().to_string();
            let row = NewExecution::of(&mut execution, kind, events).map_err(stored)?;
            match self.0.store.create_execution(row, None).await {
                Ok(()) => imported.executions.push(id),
                Err(StoreError::AlreadyExists { .. }) => {
                    imported.skipped.push((id, HERE.to_owned()));
                }
                Err(other) => return Err(stored(other)),
            }
        }
        Ok(imported)
    }

    /// Stores the workflow.
    async fn take_in(
        &self,
        definition: WorkflowDefinition,
        if_exists: IfExists,
        keyed: Option<Keyed>,
        before: Option<Value>,
        imported: &mut Imported,
    ) -> Result<(), EngineError> {
        let workflow_id = definition.workflow_id.to_string();
        let revision = |answer: &Value| {
            let revision = answer.get("revision").and_then(Value::as_u64).unwrap_or(1);
            u32::try_from(revision).unwrap_or(u32::MAX)
        };
        if let Some(answer) = before {
            imported.workflow = Some((workflow_id, revision(&answer)));
            imported.unchanged = true;
            return Ok(());
        }
        let here = self.0.store.definition(&definition.workflow_id, None).await.map_err(stored)?;
        if let Some(here) = &here
            && if_exists == IfExists::NewRevision
            && says_the_same(&here.definition, &definition)
        {
            imported.workflow = Some((workflow_id, here.definition.revision));
            imported.unchanged = true;
            return Ok(());
        }
        let answer = json!({"warnings": imported.warnings});
        let entry = keyed.as_ref().map(|keyed| keyed.entry(answer, self.now()));
        let saved = match (here, if_exists) {
            (None, _) => self.0.store.import_definition(definition, entry).await,
            (Some(_), IfExists::NewRevision) => {
                let if_exists = caelum_store::IfExists::NewRevision;
                let definition = WorkflowDefinition { updated_at: self.now(), ..definition };
                self.0.store.create_definition(definition, if_exists, entry).await
            }
            (Some(_), IfExists::Error) => {
                let id = workflow_id.clone();
                Err(StoreError::AlreadyExists { kind: "workflow", id })
            }
        };
        let found = match saved {
            Ok(saved) => saved.revision,
            Err(StoreError::AlreadyExists { .. }) => {
                return Err(Mistake::new(
                    "workflow_exists",
                    format!("a workflow `{workflow_id}` exists already"),
                )
                .hint("use if_exists: \"new_revision\", or change workflow_id in what you import")
                .into());
            }
            Err(other) => revision(&self.raced(keyed.as_ref(), other)?),
        };
        imported.workflow = Some((workflow_id, found));
        Ok(())
    }

    /// Decides about one execution.
    async fn weigh(
        &self,
        history: History,
        new: Option<&WorkflowDefinition>,
    ) -> Result<Weighed, EngineError> {
        let History { place, execution_id, kind, definition, events } = history;
        let one = |why: String| Ok(Weighed::Wrong(vec![format!("{place}: {why}")]));
        let id: ExecutionId = match execution_id.parse() {
            Ok(id) => id,
            Err(error) => return one(format!("{error}")),
        };
        let Some(EventBody::Started(started)) = events.first().map(|event| &event.body) else {
            return one(format!(
                "the first event of `{id}` is not `started`; hint: export it with its events"
            ));
        };
        let (workflow_id, revision) = (started.workflow_id.clone(), started.revision);
        let fits = |definition: &WorkflowDefinition| {
            definition.workflow_id == workflow_id && definition.revision == revision
        };
        let definition = match definition.or_else(|| new.cloned().map(Arc::new)).filter(|d| fits(d))
        {
            Some(definition) => definition,
            None => {
                let here = self.0.store.definition(&workflow_id, Some(revision)).await;
                match here.map_err(stored)? {
                    Some(here) => here.definition,
                    None => {
                        return one(format!(
                            "revision {revision} of workflow `{workflow_id}` is not here and not part of this; \
                             hint: import it first, from json or yaml"
                        ));
                    }
                }
            }
        };
        let faults = impossible(&definition, self.0.options.rules);
        if !faults.is_empty() {
            let named = faults.into_iter().map(|fault| format!("{place}: its definition: {fault}"));
            return Ok(Weighed::Wrong(named.collect()));
        }
        if let Some(here) = self.0.store.load_execution(&id).await.map_err(stored)? {
            let same =
                here.head().events == events.len() as u64 && here.head().started_at == events[0].at;
            let why = if same { HERE } else { "another execution of this name is here; it stays" };
            return Ok(Weighed::Skipped(execution_id, why.to_owned()));
        }
        let kind = kind.unwrap_or(match workflow_id.as_str().starts_with(TASK_GROUP_PREFIX) {
            true => ExecutionKind::TaskGroup,
            false => ExecutionKind::Workflow,
        });
        // In a task of its own: events that somebody made up must not take more with them than their own import.
        let folding = tokio::task::spawn_blocking(move || {
            let graph = Arc::new(Graph::of(&definition.steps));
            Execution::fold(id, definition, graph, &events).map(|execution| (execution, events))
        });
        match folding.await {
            Ok(Ok((execution, _))) if execution.head().end.is_none() => {
                let why =
                    "it had not ended when it was exported, and only what has ended is history";
                Ok(Weighed::Skipped(execution_id, why.to_owned()))
            }
            Ok(Ok((execution, events))) => {
                Ok(Weighed::Ready(Box::new(Ready { kind, execution, events })))
            }
            Ok(Err(illegal)) => one(format!("`{execution_id}`: {illegal}")),
            Err(_) => one(format!("`{execution_id}`: its events cannot have happened")),
        }
    }
}

/// Why an execution is left out that was imported before.
const HERE: &str = "it is here already";

/// What is to become of one execution.
enum Weighed {
    Ready(Box<Ready>),
    Skipped(String, String),
    Wrong(Vec<String>),
}

/// Whether two definitions differ in nothing but who made them and when.
fn says_the_same(here: &WorkflowDefinition, new: &WorkflowDefinition) -> bool {
    let new = WorkflowDefinition {
        revision: here.revision,
        created_at: here.created_at,
        updated_at: here.updated_at,
        created_by: here.created_by.clone(),
        ..new.clone()
    };
    *here == new
}

/// Names what no execution can have run under. Plugins that were there then need not be here now.
fn impossible(
    definition: &WorkflowDefinition,
    rules: caelum_core::workflow::RuleLimits,
) -> Vec<String> {
    let known: Vec<KnownValidator> = plugins_of(&definition.steps)
        .into_iter()
        .map(|name| KnownValidator { name, phases: vec![Phase::Before, Phase::After] })
        .collect();
    check_definition(definition, &known, rules).iter().map(ToString::to_string).collect()
}

fn wrong(mut faults: Vec<String>) -> EngineError {
    let count = faults.len();
    let message = match count {
        1 => "what is to be imported has one fault".to_owned(),
        count => format!("what is to be imported has {count} faults"),
    };
    if count > FAULTS_MAX {
        faults.truncate(FAULTS_MAX);
        faults.push(format!("and {} more", count - FAULTS_MAX));
    }
    Mistake::new("invalid_import", message)
        .details(faults)
        .hint("mend all of them, then import it again; nothing was stored")
        .into()
}
