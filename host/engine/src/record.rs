//! Twins of an application: as the engine answers it, and as the store keeps it.

use std::collections::BTreeMap;

use caelum_components::StagedPlan;
use caelum_core::pattern::{Edit, Risk};
use caelum_store::{ApplicationRecord, ExecutionLink, FileChange, FileRecord};

use crate::request::{Application, NewApplication};

/// How a kept line about a withheld edit begins.
const WITHHELD: &str = "withheld ";

/// Builds what is kept of an application.
pub(crate) fn to_record(
    application: &Application,
    files: Vec<FileRecord>,
    new: &NewApplication,
) -> ApplicationRecord {
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
        execution: new.execution.as_ref().map(|(execution, step, attempt)| ExecutionLink {
            execution: execution.clone(),
            step: step.clone(),
            attempt: *attempt,
        }),
        performed_by: application.by.clone(),
    }
}

/// Builds an application from what was kept of it.
pub(crate) fn from_record(record: ApplicationRecord) -> Application {
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
    }
}

/// Returns how much care each path of a plan needs: the most of all its edits.
pub(crate) fn risks(edits: &[Edit]) -> BTreeMap<String, Risk> {
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
pub(crate) fn files(staged: &StagedPlan, risks: &BTreeMap<String, Risk>) -> Vec<FileRecord> {
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
