//! Changing definitions: the next revision of one, made from the one before it; the archive.

use std::sync::Arc;

use caelum_core::clock::Timestamp;
use caelum_core::workflow::{DefinitionStatus, ExecutionStatus, WorkflowDefinition};
use caelum_store::StoreError;
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::error::{EngineError, Mistake};
use crate::executions::stored;
use crate::idempotency::Keyed;
use crate::request::{ArchivedWorkflow, ChangedWorkflow, PageRequest, WorkflowChange};

/// How often a change is made anew when somebody else changes the workflow at the same time.
const TRIES: usize = 16;

impl Engine {
    /// Makes the next revision of a workflow, with what is given changed and everything else as it was. It is on disk
    /// when this returns. A change that changes nothing makes no revision.
    ///
    /// # Errors
    ///
    /// An unknown workflow, another newest revision than was expected, every rule that the changed definition breaks.
    pub async fn update_workflow(
        &self,
        mut change: WorkflowChange,
    ) -> Result<ChangedWorkflow, EngineError> {
        let key = change.idempotency_key.take();
        let keyed = Keyed::of("update_workflow", key, &change)?;
        if let Some(answer) = self.answered(keyed.as_ref()).await? {
            return Ok(changed_before(change.workflow_id, &answer));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let newest = self.workflow(&change.workflow_id, None).await?;
            expect_revision(&change, newest.revision)?;
            let now = self.now();
            let (mut next, changed) = changed(&newest, &change, now);
            self.plugins_there(&next.steps).await;
            // What is so already is nobody's new mistake, whatever has become of the plugins that it names.
            let warnings = match changed.is_empty() {
                true => self.warnings(&next),
                false => self.checked(&next, "update_workflow")?,
            };
            next.revision = newest.revision.saturating_add(1);
            let revision = if changed.is_empty() { newest.revision } else { next.revision };
            let status = next.status;
            let answer = json!({"revision": revision, "status": status, "changed": changed,
                                "warnings": warnings});
            let entry = keyed.as_ref().map(|keyed| keyed.entry(answer, now));
            let stored = match (changed.is_empty(), entry) {
                (true, None) => Ok(()),
                (true, Some(entry)) => self.0.store.keep_answer(entry).await,
                (false, entry) => self.0.store.add_revision(next, entry).await.map(drop),
            };
            match stored {
                Ok(()) => {
                    let workflow_id = change.workflow_id;
                    return Ok(ChangedWorkflow {
                        workflow_id,
                        revision,
                        status,
                        changed,
                        warnings,
                    });
                }
                // Somebody was quicker: what they made is what is changed now, or what was not expected.
                Err(StoreError::Conflict { .. }) if tries < TRIES => {}
                Err(other) => {
                    let answer = self.raced(keyed.as_ref(), other)?;
                    return Ok(changed_before(change.workflow_id, &answer));
                }
            }
        }
    }

    /// Puts a workflow into the archive, where it is kept and cannot be executed, or takes it out again. Executions
    /// that have begun go on. It is on disk when this returns; asking for what is so already is no mistake.
    ///
    /// # Errors
    ///
    /// An unknown workflow.
    pub async fn archive_workflow(
        &self,
        id: &str,
        archived: bool,
        by: String,
    ) -> Result<ArchivedWorkflow, EngineError> {
        let newest = self.workflow(id, None).await?;
        let status = match (archived, newest.status) {
            (true, _) => DefinitionStatus::Archived,
            (false, DefinitionStatus::Archived) => self.before_archive(&newest).await?,
            (false, status) => status,
        };
        let saved = self
            .0
            .store
            .set_definition_status(&newest.workflow_id, status, &by, self.now())
            .await
            .map_err(stored)?;
        let mut open_executions = false;
        for status in [ExecutionStatus::Executing, ExecutionStatus::Paused] {
            let page = PageRequest { limit: 1, cursor: None };
            let listed = self.list_executions(Some(id), Some(status), page).await?;
            open_executions |= !listed.items.is_empty();
        }
        Ok(ArchivedWorkflow {
            workflow_id: id.to_owned(),
            revision: saved.revision,
            status,
            changed: saved.revision != newest.revision,
            open_executions,
        })
    }

    /// Returns where a workflow stood before it came into the archive.
    async fn before_archive(
        &self,
        newest: &WorkflowDefinition,
    ) -> Result<DefinitionStatus, EngineError> {
        let revisions = self.0.store.revisions(&newest.workflow_id).await.map_err(stored)?;
        let before = revisions
            .iter()
            .map(|revision| revision.status)
            .find(|status| *status != DefinitionStatus::Archived);
        // One that never stood elsewhere was imported into the archive; nobody has said that it may run.
        Ok(before.unwrap_or(DefinitionStatus::Draft))
    }
}

fn expect_revision(change: &WorkflowChange, newest: u32) -> Result<(), Mistake> {
    match change.expected_revision {
        Some(expected) if expected != newest => Err(Mistake::new(
            "revision_conflict",
            format!(
                "workflow `{}` is at revision {newest}, and the change was made for revision {expected}",
                change.workflow_id
            ),
        )
        .hint(format!(
            "read it again with get_workflow, then call update_workflow with expected_revision: {newest}"
        ))),
        _ => Ok(()),
    }
}

/// Makes the changed definition, still with the revision it was made from, and names the fields that differ.
fn changed(
    newest: &Arc<WorkflowDefinition>,
    change: &WorkflowChange,
    now: Timestamp,
) -> (WorkflowDefinition, Vec<String>) {
    let mut next = WorkflowDefinition::clone(newest);
    let mut changed: Vec<&str> = Vec::new();
    if set(&mut next.name, change.name.as_ref()) {
        changed.push("name");
    }
    if set(&mut next.description, change.description.as_ref()) {
        changed.push("description");
    }
    if set(&mut next.pattern, change.pattern.as_ref()) {
        changed.push("pattern");
    }
    if set(&mut next.steps, change.steps.as_ref()) {
        changed.push("steps");
    }
    if set(&mut next.status, change.status.as_ref()) {
        changed.push("status");
    }
    if set(&mut next.parameters_schema, change.parameters_schema.as_ref()) {
        changed.push("parameters_schema");
    }
    if set(&mut next.metadata, change.metadata.as_ref()) {
        changed.push("metadata");
    }
    next.created_by.clone_from(&change.by);
    next.updated_at = now;
    (next, changed.into_iter().map(str::to_owned).collect())
}

/// Sets a field to what was given; returns whether that made a difference.
fn set<T: Clone + PartialEq>(field: &mut T, given: Option<&T>) -> bool {
    match given {
        Some(given) if given != field => {
            field.clone_from(given);
            true
        }
        _ => false,
    }
}

/// Builds the answer of a request that came before, from what was kept of it.
fn changed_before(workflow_id: String, answer: &Value) -> ChangedWorkflow {
    let texts = |name: &str| -> Vec<String> {
        let list = answer.get(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let revision = answer.get("revision").and_then(Value::as_u64).unwrap_or(1);
    ChangedWorkflow {
        workflow_id,
        revision: u32::try_from(revision).unwrap_or(u32::MAX),
        status: answer
            .get("status")
            .and_then(|status| serde_json::from_value(status.clone()).ok())
            .unwrap_or(DefinitionStatus::Active),
        changed: texts("changed"),
        warnings: texts("warnings"),
    }
}
