//! Applications as they are kept: the twin of what the engine answers, storing, finding again, and what a crash left.

use std::collections::BTreeMap;

use caelum_components::StagedPlan;
use caelum_core::id::ApplicationId;
use caelum_core::pattern::{ApplicationStatus, Edit, Risk};
use caelum_store::{
    ApplicationFilter, ApplicationRecord, ExecutionLink, FileChange, FileRecord, StoreError,
};
use serde_json::{Value, json};

use super::kept::used_plan;
use crate::engine::Engine;
use crate::error::{EngineError, Mistake};
use crate::executions::stored;
use crate::idempotency::Keyed;
use crate::request::Application;

impl Engine {
    pub(super) async fn record(
        &self,
        application: Application,
        files: Vec<FileRecord>,
        keyed: Option<Keyed>,
    ) -> Result<Application, EngineError> {
        let record = to_record(&application, files);
        let answer = answer_of(&application.application_id);
        let entry = keyed.as_ref().map(|keyed| keyed.entry(answer, application.applied_at));
        match self.0.store.save_application(&record, entry).await {
            Ok(()) => Ok(application),
            Err(StoreError::PlanUsed { id, used_at }) => Err(used_plan(&id, used_at)),
            Err(error) => {
                let answer = self.raced(keyed.as_ref(), error)?;
                self.applied_before(&answer).await
            }
        }
    }

    pub(super) async fn applied_before(&self, answer: &Value) -> Result<Application, EngineError> {
        let id = answer.get("application_id").and_then(Value::as_str).unwrap_or_default();
        self.application(id).await
    }

    /// Returns a recorded use of a pattern.
    ///
    /// # Errors
    ///
    /// None of that name.
    pub async fn application(&self, id: &str) -> Result<Application, EngineError> {
        let unknown =
            || Mistake::new("unknown_application", format!("there is no application `{id}`"));
        let id: ApplicationId = id.parse().map_err(|_| unknown())?;
        let record = self.0.store.application(&id).await.map_err(stored)?.ok_or_else(unknown)?;
        Ok(from_record(record))
    }

    /// Settles applications that were being written when the server died: the journal knows whether they are on disk.
    /// Those that are not were put back, and nobody was told of them: whoever asks again under the same key, or by the
    /// same plan, applies anew.
    pub(crate) async fn settle_applications(&self) -> Result<(), EngineError> {
        let filter = ApplicationFilter {
            status: Some(ApplicationStatus::Applying),
            ..ApplicationFilter::default()
        };
        loop {
            let page = self
                .0
                .store
                .list_applications(&filter, &caelum_store::PageRequest::first(100))
                .await
                .map_err(stored)?;
            if page.items.is_empty() {
                return Ok(());
            }
            for record in page.items {
                let applied = self.0.components.is_applied(&record.id);
                let status =
                    if applied { ApplicationStatus::Applied } else { ApplicationStatus::Conflict };
                tracing::warn!(application = %record.id, status = status.as_str(), "settled after a crash");
                let application = from_record(record);
                if applied {
                    self.set_application_status(&application.application_id, status).await?;
                } else {
                    self.withdraw(&application, true, status).await?;
                }
            }
        }
    }
}

impl Engine {
    pub(super) async fn set_application_status(
        &self,
        id: &ApplicationId,
        status: ApplicationStatus,
    ) -> Result<(), EngineError> {
        self.0.store.update_application_status(id, status, self.now()).await.map_err(stored)
    }

    /// Withdraws an application that wrote nothing, or whose files were put back: its plan may be applied after all,
    /// and, where nobody was told of it, its key may be used anew. Each part may be done twice, so that a crash in the
    /// middle does no harm.
    pub(super) async fn withdraw(
        &self,
        application: &Application,
        unanswered: bool,
        status: ApplicationStatus,
    ) -> Result<(), EngineError> {
        let id = &application.application_id;
        if let Some(plan) = &application.plan_id {
            self.0.store.release_plan(plan).await.map_err(stored)?;
        }
        if unanswered {
            self.0.store.forget_answer(APPLY_SCOPE, &answer_of(id)).await.map_err(stored)?;
        }
        self.set_application_status(id, status).await
    }
}

/// What keys of applications are kept under.
pub(super) const APPLY_SCOPE: &str = "apply_pattern";

/// What is kept as the answer to a request that made an application.
fn answer_of(id: &ApplicationId) -> Value {
    json!({"application_id": id.as_str()})
}

/// How a kept line about a withheld edit begins.
const WITHHELD: &str = "withheld ";

/// Builds what is kept of an application.
pub(super) fn to_record(application: &Application, files: Vec<FileRecord>) -> ApplicationRecord {
    let withheld =
        application.withheld.iter().map(|(path, why)| format!("{WITHHELD}{path}: {why}"));
    ApplicationRecord {
        id: application.application_id.clone(),
        pattern: application.pattern.clone(),
        component: application.target_component.clone(),
        directory: application.directory.display().to_string(),
        status: application.status,
        applied_at: application.applied_at,
        changed_at: application.applied_at,
        parameters: application.parameters.clone(),
        summary: application.summary.clone(),
        diff: application.diff.clone(),
        findings_before: application.findings_before.clone(),
        findings_after: application.findings_after.clone(),
        next_steps: application.next_steps.clone(),
        validation_results: application.problems.iter().cloned().chain(withheld).collect(),
        files,
        plan_id: application.plan_id.clone(),
        execution: application.execution.as_ref().map(|(execution, step, attempt)| ExecutionLink {
            execution: execution.clone(),
            step: step.clone(),
            attempt: *attempt,
        }),
        performed_by: application.by.clone(),
    }
}

/// Builds an application from what was kept of it.
pub(super) fn from_record(record: ApplicationRecord) -> Application {
    let (withheld, problems): (Vec<String>, Vec<String>) =
        record.validation_results.into_iter().partition(|line| line.starts_with(WITHHELD));
    Application {
        application_id: record.id,
        plan_id: record.plan_id,
        pattern: record.pattern,
        target_component: record.component,
        directory: record.directory.into(),
        status: record.status,
        applied_at: record.applied_at,
        by: record.performed_by,
        parameters: record.parameters,
        summary: record.summary,
        diff: record.diff,
        changed_files: record.files.into_iter().map(|file| file.path).collect(),
        withheld: withheld
            .iter()
            .filter_map(|line| line[WITHHELD.len()..].split_once(": "))
            .map(|(path, why)| (path.to_owned(), why.to_owned()))
            .collect(),
        findings_before: record.findings_before,
        findings_after: record.findings_after,
        next_steps: record.next_steps,
        problems,
        execution: record.execution.map(|link| (link.execution, link.step, link.attempt)),
    }
}

/// Returns how much care each path of a plan needs: the most of all its edits.
pub(super) fn risks(edits: &[Edit]) -> BTreeMap<String, Risk> {
    let mut risks = BTreeMap::new();
    for edit in edits {
        for path in edit.change.paths() {
            let risk = risks.entry(path.to_owned()).or_insert(edit.risk);
            if edit.risk == Risk::Review {
                *risk = Risk::Review;
            }
        }
    }
    risks
}

/// Returns what becomes of each file of a staged plan.
pub(super) fn files(staged: &StagedPlan, risks: &BTreeMap<String, Risk>) -> Vec<FileRecord> {
    staged
        .files()
        .iter()
        .map(|file| {
            let before = file.before.as_ref().map(|image| image.sha256.clone());
            let after = file.after.as_ref().map(|image| image.sha256.clone());
            FileRecord {
                path: file.path.clone(),
                change: match (&before, &after) {
                    _ if file.renamed_from.is_some() => FileChange::Renamed,
                    (None, _) => FileChange::Created,
                    (_, None) => FileChange::Deleted,
                    _ => FileChange::Replaced,
                },
                renamed_from: file.renamed_from.clone(),
                before,
                after,
                ownership: file.ownership,
                // What the host adds by itself (the provenance) is safe.
                risk: risks.get(&file.path).copied().unwrap_or(Risk::Safe),
            }
        })
        .collect()
}
