//! Recorded uses of patterns.

use caelum_core::clock::Timestamp;
use caelum_core::finding::Finding;
use caelum_core::id::{ApplicationId, Digest, ExecutionId, PlanId, StepId};
use caelum_core::pattern::{ApplicationStatus, NextStep, Ownership, Risk};
use caelum_core::plugin::PinnedPlugin;
use rusqlite::{Connection, Row, named_params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::body::{Body, json, read, word};
use crate::error::Fault;
use crate::idempotency::remember;
use crate::page::Window;
use crate::plans::take;
use crate::{IdempotencyEntry, Page, PageRequest, Store, StoreError};

/// Marks cursors of the list of applications.
const LIST: char = 'a';

pub(crate) const SELECT_APPLICATION: &str =
    "SELECT key, status, changed_at, body, blob FROM application WHERE id = ?1";
pub(crate) const UPDATE_APPLICATION: &str =
    "UPDATE application SET status = ?2, changed_at = ?3 WHERE id = ?1";
const INSERT_APPLICATION: &str = "
    INSERT INTO application (id, pattern, version, component, status, applied_at, changed_at, body,
        blob)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING";

macro_rules! list {
    ($condition:literal) => {
        concat!(
            "SELECT key, status, changed_at, body, blob FROM application WHERE ",
            $condition,
            " AND key < :before ORDER BY key DESC LIMIT :rows"
        )
    };
}

pub(crate) const LIST_ALL: &str =
    list!("(:component IS NULL AND :pattern IS NULL AND :status IS NULL)");
pub(crate) const LIST_BY_COMPONENT: &str = list!(
    "component = :component AND (:pattern IS NULL OR pattern = :pattern) \
     AND (:status IS NULL OR status = :status)"
);
pub(crate) const LIST_BY_PATTERN: &str = list!(
    "pattern = :pattern AND (:component IS NULL OR component = :component) \
     AND (:status IS NULL OR status = :status)"
);
pub(crate) const LIST_BY_STATUS: &str =
    list!("status = :status AND (:component IS NULL AND :pattern IS NULL)");

/// What became of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileChange {
    /// It is new.
    Created,
    /// Parts of it were replaced.
    Replaced,
    /// It is gone.
    Deleted,
    /// It has another path.
    Renamed,
}

/// One file that an application touched, with what it hashed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Path relative to the component, `/` separated; for a renamed file the new one.
    pub path: String,
    /// What became of it.
    pub change: FileChange,
    /// Its old path, for a renamed file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// What it hashed to before; nothing when it was not there.
    pub before: Option<Digest>,
    /// What it hashed to afterwards; nothing when it is gone.
    pub after: Option<Digest>,
    /// Who owns the result.
    pub ownership: Ownership,
    /// Whether somebody should have looked.
    pub risk: Risk,
}

/// The step of an execution that applied a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionLink {
    /// The execution.
    pub execution: ExecutionId,
    /// The step.
    pub step: StepId,
    /// The attempt.
    pub attempt: u32,
}

/// One use of a pattern, as it is kept for ever. A stored contract: fields are added, never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApplicationRecord {
    /// Its name.
    pub id: ApplicationId,
    /// The pattern, as it was.
    pub pattern: PinnedPlugin,
    /// The component, as it was asked for.
    pub component: String,
    /// Its directory.
    pub directory: String,
    /// How it ended, and what became of it since.
    pub status: ApplicationStatus,
    /// When it was applied.
    pub applied_at: Timestamp,
    /// When its status was set last.
    pub changed_at: Timestamp,
    /// The parameters, with defaults filled in.
    pub parameters: Map<String, Value>,
    /// One line about what the plan does.
    pub summary: String,
    /// The unified diff.
    pub diff: String,
    /// Findings before.
    pub findings_before: Vec<Finding>,
    /// Findings after.
    pub findings_after: Vec<Finding>,
    /// What else is to do.
    pub next_steps: Vec<NextStep>,
    /// What was checked and how it came out, for people.
    pub validation_results: Vec<String>,
    /// The files that it touched.
    pub files: Vec<FileRecord>,
    /// The plan that it applied, or for one that only planned the plan that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// The step that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionLink>,
    /// Who asked for it.
    pub performed_by: String,
}

/// Which applications a list shows. Everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplicationFilter {
    /// Uses of this pattern.
    pub pattern: Option<String>,
    /// Uses on this component, as it was asked for.
    pub component: Option<String>,
    /// How they ended.
    pub status: Option<ApplicationStatus>,
}

impl Store {
    /// Stores the record of an application; it is on disk when this returns. One that is `applying` takes the plan that
    /// it names in the same transaction, so that no crash leaves a plan that was used for nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::AlreadyExists`] when there is one of that name; [`StoreError::KeyUsed`] when the idempotency key
    /// was used before; [`StoreError::PlanUsed`] when the plan was; [`StoreError::TooLarge`] when the record is.
    pub async fn save_application(
        &self,
        record: &ApplicationRecord,
        key: Option<IdempotencyEntry>,
    ) -> Result<(), StoreError> {
        let id = record.id.clone();
        let body = Body::new(json(record), self.limits(), || format!("application `{id}`"))?;
        let (pattern, version) = (record.pattern.name.clone(), record.pattern.version.clone());
        let (component, status) = (record.component.clone(), record.status);
        let (applied_at, changed_at) = (record.applied_at, record.changed_at);
        let plan = record.plan_id.clone().filter(|_| status == ApplicationStatus::Applying);
        self.write(move |connection| {
            remember(connection, key.as_ref())?;
            if let Some(plan) = &plan {
                take(connection, plan, applied_at)?;
            }
            let (body, blob) = body.columns(connection)?;
            let inserted = connection.prepare_cached(INSERT_APPLICATION)?.execute((
                id.as_str(),
                pattern.as_str(),
                version,
                component,
                status.as_str(),
                applied_at.as_micros(),
                changed_at.as_micros(),
                body,
                blob,
            ))?;
            if inserted == 0 {
                let id = id.to_string();
                return Err(Fault::Store(StoreError::AlreadyExists { kind: "application", id }));
            }
            Ok(())
        })
        .await
    }

    /// Returns the record of an application; nothing when there is none of that name.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn application(
        &self,
        id: &ApplicationId,
    ) -> Result<Option<ApplicationRecord>, StoreError> {
        let id = id.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(SELECT_APPLICATION)?;
            let mut rows = statement.query([id.as_str()])?;
            rows.next()?.map(|row| record(connection, row)).transpose()
        })
        .await
    }

    /// Sets what became of an application; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when there is none of that name.
    pub async fn update_application_status(
        &self,
        id: &ApplicationId,
        status: ApplicationStatus,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(move |connection| {
            let changed = connection.prepare_cached(UPDATE_APPLICATION)?.execute((
                id.as_str(),
                status.as_str(),
                at.as_micros(),
            ))?;
            if changed == 0 {
                let id = id.to_string();
                return Err(Fault::Store(StoreError::NotFound { kind: "application", id }));
            }
            Ok(())
        })
        .await
    }

    /// Returns applications, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadCursor`] when the cursor is of another list.
    pub async fn list_applications(
        &self,
        filter: &ApplicationFilter,
        page: &PageRequest,
    ) -> Result<Page<ApplicationRecord>, StoreError> {
        let window = Window::of(page, LIST)?;
        let filter = filter.clone();
        self.read(move |connection| {
            let sql = match &filter {
                ApplicationFilter { component: Some(_), .. } => LIST_BY_COMPONENT,
                ApplicationFilter { pattern: Some(_), .. } => LIST_BY_PATTERN,
                ApplicationFilter { status: Some(_), .. } => LIST_BY_STATUS,
                _ => LIST_ALL,
            };
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(named_params! {
                ":component": filter.component,
                ":pattern": filter.pattern,
                ":status": filter.status.map(ApplicationStatus::as_str),
                ":before": window.before,
                ":rows": window.rows(),
            })?;
            let mut items = Vec::new();
            while let Some(row) = rows.next()? {
                items.push((row.get(0)?, record(connection, row)?));
            }
            Ok(window.page(items))
        })
        .await
    }

    /// Returns the newest application of a pattern to a component that has not been taken back.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn last_application(
        &self,
        pattern: &str,
        component: &str,
    ) -> Result<Option<ApplicationRecord>, StoreError> {
        let filter = ApplicationFilter {
            pattern: Some(pattern.to_owned()),
            component: Some(component.to_owned()),
            status: Some(ApplicationStatus::Applied),
        };
        let page = self.list_applications(&filter, &PageRequest::first(1)).await?;
        Ok(page.items.into_iter().next())
    }
}

/// Reads a record; what can change stands in columns of its own.
fn record(connection: &Connection, row: &Row<'_>) -> Result<ApplicationRecord, Fault> {
    let what = || "the record of an application".to_owned();
    let mut record: ApplicationRecord = read(connection, row, (3, 4), what)?;
    record.status = word(&row.get::<_, String>(1)?, "status")?;
    record.changed_at = Timestamp::from_micros(row.get(2)?);
    Ok(record)
}
