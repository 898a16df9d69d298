//! Lists of workflows and of their revisions.

use caelum_core::clock::Timestamp;
use caelum_core::id::{Digest, ExecutionId, WorkflowId};
use caelum_core::workflow::{DefinitionStatus, ExecutionStatus};
use rusqlite::{Row, named_params};

use crate::body::{count, name, word};
use crate::documents::digest_of;
use crate::error::Fault;
use crate::page::Window;
use crate::{Page, PageRequest, Store, StoreError};

/// Marks cursors of the list of workflows.
const LIST: char = 'w';

/// The most ids that [`Store::workflow_ids`] returns: enough to find a near name among them.
const IDS_MAX: i64 = 10_000;

pub(crate) const SELECT_REVISIONS: &str = "
    SELECT d.revision, document.digest, d.status, d.steps, d.created_by, d.updated_at
    FROM workflow JOIN definition d ON d.workflow = workflow.key
    JOIN document ON document.key = d.document
    WHERE workflow.id = ?1 ORDER BY d.revision DESC";
pub(crate) const SELECT_IDS: &str =
    "SELECT id FROM workflow WHERE key < ?1 ORDER BY key DESC LIMIT ?2";

macro_rules! list {
    ($condition:literal) => {
        concat!(
            "SELECT w.key, w.id, w.revision, w.status, w.name, w.description, w.pattern, w.steps, \
             w.created_by, w.created_at, w.updated_at, e.id, e.status, e.started_at, e.ended_at \
             FROM workflow w LEFT JOIN execution e ON e.key = w.last_execution WHERE ",
            $condition,
            " AND w.key < :before AND (:last IS NULL OR e.status = :last) \
             ORDER BY w.key DESC LIMIT :rows"
        )
    };
}

pub(crate) const LIST_ALL: &str =
    list!("(:status IS NULL OR w.status = :status) AND (:pattern IS NULL OR w.pattern = :pattern)");
pub(crate) const LIST_BY_STATUS: &str =
    list!("w.status = :status AND (:pattern IS NULL OR w.pattern = :pattern)");
pub(crate) const LIST_BY_PATTERN: &str =
    list!("w.pattern = :pattern AND (:status IS NULL OR w.status = :status)");

/// Which workflows a list shows. Everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefinitionFilter {
    /// Status of the newest revision.
    pub status: Option<DefinitionStatus>,
    /// Status of the last execution.
    pub last_execution: Option<ExecutionStatus>,
    /// The pattern that it follows.
    pub pattern: Option<String>,
}

/// The last execution of a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastExecution {
    /// Its name.
    pub id: ExecutionId,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A workflow in a list, as its newest revision stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionSummary {
    /// Its name.
    pub workflow_id: WorkflowId,
    /// The newest revision.
    pub revision: u32,
    /// Where it stands.
    pub status: DefinitionStatus,
    /// A few words.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The pattern that it follows.
    pub pattern: String,
    /// How many steps it has.
    pub steps: u64,
    /// Who made the newest revision.
    pub created_by: String,
    /// When the first revision was made.
    pub created_at: Timestamp,
    /// When the newest one was.
    pub updated_at: Timestamp,
    /// Its last execution that is still kept.
    pub last_execution: Option<LastExecution>,
}

/// One revision in the history of a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionSummary {
    /// Which.
    pub revision: u32,
    /// SHA-256 of its document.
    pub digest: Digest,
    /// Where it stands.
    pub status: DefinitionStatus,
    /// How many steps it has.
    pub steps: u64,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub updated_at: Timestamp,
}

impl Store {
    /// Returns the revisions of a workflow, newest first; none when there is no such workflow.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn revisions(&self, id: &WorkflowId) -> Result<Vec<RevisionSummary>, StoreError> {
        let id = id.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(SELECT_REVISIONS)?;
            let mut rows = statement.query([id.as_str()])?;
            let mut revisions = Vec::new();
            while let Some(row) = rows.next()? {
                revisions.push(RevisionSummary {
                    revision: row.get(0)?,
                    digest: digest_of(&row.get::<_, Vec<u8>>(1)?)?,
                    status: word(&row.get::<_, String>(2)?, "status")?,
                    steps: count(row, 3)?,
                    created_by: row.get(4)?,
                    updated_at: Timestamp::from_micros(row.get(5)?),
                });
            }
            Ok(revisions)
        })
        .await
    }

    /// Returns workflows, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadCursor`] when the cursor is of another list.
    pub async fn list_definitions(
        &self,
        filter: &DefinitionFilter,
        page: &PageRequest,
    ) -> Result<Page<DefinitionSummary>, StoreError> {
        let window = Window::of(page, LIST)?;
        let filter = filter.clone();
        self.read(move |connection| {
            let sql = match &filter {
                DefinitionFilter { pattern: Some(_), .. } => LIST_BY_PATTERN,
                DefinitionFilter { status: Some(_), .. } => LIST_BY_STATUS,
                _ => LIST_ALL,
            };
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(named_params! {
                ":status": filter.status.map(DefinitionStatus::as_str),
                ":pattern": filter.pattern,
                ":last": filter.last_execution.map(ExecutionStatus::as_str),
                ":before": window.before,
                ":rows": window.rows(),
            })?;
            let mut items = Vec::new();
            while let Some(row) = rows.next()? {
                items.push((row.get(0)?, summary(row)?));
            }
            Ok(window.page(items))
        })
        .await
    }

    /// Returns the names of the newest 10,000 workflows, for near names in error messages.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn workflow_ids(&self) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(SELECT_IDS)?;
            let ids = statement.query_map((i64::MAX, IDS_MAX), |row| row.get(0))?;
            Ok(ids.collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn summary(row: &Row<'_>) -> Result<DefinitionSummary, Fault> {
    let last: Option<String> = row.get(11)?;
    let last_execution = match last {
        None => None,
        Some(id) => Some(LastExecution {
            id: name(&id, "execution")?,
            status: word(&row.get::<_, String>(12)?, "status")?,
            started_at: Timestamp::from_micros(row.get(13)?),
            ended_at: row.get::<_, Option<i64>>(14)?.map(Timestamp::from_micros),
        }),
    };
    Ok(DefinitionSummary {
        workflow_id: name(&row.get::<_, String>(1)?, "workflow")?,
        revision: row.get(2)?,
        status: word(&row.get::<_, String>(3)?, "status")?,
        name: row.get(4)?,
        description: row.get(5)?,
        pattern: row.get(6)?,
        steps: count(row, 7)?,
        created_by: row.get(8)?,
        created_at: Timestamp::from_micros(row.get(9)?),
        updated_at: Timestamp::from_micros(row.get(10)?),
        last_execution,
    })
}
