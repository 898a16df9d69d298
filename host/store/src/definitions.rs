//! Workflows and their revisions.

use std::sync::Arc;

use caelum_core::clock::Timestamp;
use caelum_core::id::{Digest, ExecutionId, WorkflowId};
use caelum_core::workflow::{DefinitionStatus, ExecutionStatus, Graph, WorkflowDefinition};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde_json::Value;

use crate::body::{BodyLimits, count, integer, name, word};
use crate::documents::{Document, digest_of};
use crate::error::Fault;
use crate::idempotency::remember;
use crate::page::Window;
use crate::{IdempotencyEntry, KeyUse, Page, PageRequest, Store, StoreError, StoredDefinition};

/// Marks cursors of the list of workflows.
const LIST: char = 'w';

/// How often a new revision is tried when somebody else makes one at the same time.
const REVISION_TRIES: usize = 16;

/// The most ids that [`Store::workflow_ids`] returns: enough to find a near name among them.
const IDS_MAX: i64 = 10_000;

pub(crate) const SELECT_WORKFLOW: &str =
    "SELECT key, revision, created_at FROM workflow WHERE id = ?1";
pub(crate) const SELECT_REVISION: &str =
    "SELECT document FROM definition WHERE workflow = ?1 AND revision = ?2";
pub(crate) const SELECT_REVISIONS: &str = "
    SELECT d.revision, document.digest, d.status, d.steps, d.created_by, d.updated_at
    FROM workflow JOIN definition d ON d.workflow = workflow.key
    JOIN document ON document.key = d.document
    WHERE workflow.id = ?1 ORDER BY d.revision DESC";
pub(crate) const SELECT_IDS: &str =
    "SELECT id FROM workflow WHERE key < ?1 ORDER BY key DESC LIMIT ?2";
const INSERT_WORKFLOW: &str = "
    INSERT INTO workflow (id, revision, status, name, description, pattern, steps, created_by,
        created_at, updated_at)
    VALUES (:id, :revision, :status, :name, :description, :pattern, :steps, :created_by,
        :created_at, :updated_at)";
const UPDATE_WORKFLOW: &str = "
    UPDATE workflow SET revision = :revision, status = :status, name = :name,
        description = :description, pattern = :pattern, steps = :steps, created_by = :created_by,
        created_at = :created_at, updated_at = :updated_at
    WHERE id = :id";
const INSERT_DEFINITION: &str = "
    INSERT INTO definition (workflow, revision, document, status, steps, created_by, updated_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

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

/// What to do when a workflow of that name exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IfExists {
    /// Refuse.
    #[default]
    Error,
    /// Make its next revision.
    NewRevision,
}

/// A revision that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Which revision.
    pub revision: u32,
    /// SHA-256 of its document.
    pub digest: Digest,
}

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
    /// Stores a workflow, or its next revision; the revision is on disk when this returns.
    ///
    /// `revision` of the definition is set here, and `created_at` too when there are earlier revisions. When the
    /// answer of `key` is an object, its `revision` is set as well.
    ///
    /// # Errors
    ///
    /// [`StoreError::AlreadyExists`] when it exists and `if_exists` does not want a revision;
    /// [`StoreError::KeyUsed`] when the idempotency key was used before.
    pub async fn create_definition(
        &self,
        definition: WorkflowDefinition,
        if_exists: IfExists,
        key: Option<IdempotencyEntry>,
    ) -> Result<Saved, StoreError> {
        for _ in 1..REVISION_TRIES {
            let saved = self.try_create(definition.clone(), if_exists, key.clone()).await;
            if !matches!(saved, Err(StoreError::Conflict { .. })) {
                return saved;
            }
        }
        self.try_create(definition, if_exists, key).await
    }

    async fn try_create(
        &self,
        mut definition: WorkflowDefinition,
        if_exists: IfExists,
        mut key: Option<IdempotencyEntry>,
    ) -> Result<Saved, StoreError> {
        if let Some(entry) = &key
            && let Some(used) =
                self.begin_idempotent(&entry.scope, &entry.key, &entry.request_digest).await?
        {
            return Err(key_used(entry, used));
        }
        let newest = self.newest(&definition.workflow_id).await?;
        if newest.is_some() && if_exists == IfExists::Error {
            return Err(exists(&definition.workflow_id));
        }
        definition.revision = newest.map_or(1, |newest| newest.revision.saturating_add(1));
        if let Some(newest) = newest {
            definition.created_at = newest.created_at;
        }
        if let Some(IdempotencyEntry { answer: Value::Object(answer), .. }) = &mut key {
            answer.insert("revision".to_owned(), definition.revision.into());
        }
        self.save_revision(definition, key).await
    }

    /// Makes a revision that differs from the newest only in its status, and returns it; when it has that status
    /// already, the newest is returned and nothing is written.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when there is no such workflow.
    pub async fn set_definition_status(
        &self,
        id: &WorkflowId,
        status: DefinitionStatus,
        by: &str,
        at: Timestamp,
    ) -> Result<Saved, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let Some(stored) = self.definition(id, None).await? else {
                return Err(StoreError::NotFound { kind: "workflow", id: id.to_string() });
            };
            if stored.definition.status == status {
                return Ok(Saved { revision: stored.definition.revision, digest: stored.digest });
            }
            let mut next = stored.definition.as_ref().clone();
            next.revision = next.revision.saturating_add(1);
            next.status = status;
            next.created_by = by.to_owned();
            next.updated_at = at;
            let saved = self.save_revision(next, None).await;
            if tries == REVISION_TRIES || !matches!(saved, Err(StoreError::Conflict { .. })) {
                return saved;
            }
        }
    }

    /// Writes a revision behind the one before it.
    async fn save_revision(
        &self,
        definition: WorkflowDefinition,
        key: Option<IdempotencyEntry>,
    ) -> Result<Saved, StoreError> {
        let document = Document::of(&definition);
        let limits = self.limits();
        check_size(&definition, &document, limits)?;
        let definition = Arc::new(definition);
        let digest = Digest::from_bytes(&document.digest);
        let saved = Saved { revision: definition.revision, digest: digest.clone() };
        let bytes = document.body.len();
        let written = Arc::clone(&definition);
        let document_key = self
            .write(move |connection| {
                remember(connection, key.as_ref())?;
                write_revision(connection, &written, &document)
            })
            .await?;
        let graph = Arc::new(Graph::of(&definition.steps));
        self.documents().keep(document_key, StoredDefinition { definition, graph, digest }, bytes);
        Ok(saved)
    }

    /// Returns a workflow at a revision, or at its newest; nothing when there is none.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn definition(
        &self,
        id: &WorkflowId,
        revision: Option<u32>,
    ) -> Result<Option<StoredDefinition>, StoreError> {
        let (documents, id) = (self.documents(), id.clone());
        self.read(move |connection| {
            let Some((key, newest)) = newest(connection, &id)? else { return Ok(None) };
            let document: Option<i64> = connection
                .prepare_cached(SELECT_REVISION)?
                .query_row((key, revision.unwrap_or(newest.revision)), |row| row.get(0))
                .optional()?;
            document.map(|key| documents.load(connection, key)).transpose()
        })
        .await
    }

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

    async fn newest(&self, id: &WorkflowId) -> Result<Option<Newest>, StoreError> {
        let id = id.clone();
        self.read(move |connection| Ok(newest(connection, &id)?.map(|(_, newest)| newest))).await
    }
}

/// The newest revision of a workflow.
#[derive(Debug, Clone, Copy)]
struct Newest {
    revision: u32,
    created_at: Timestamp,
}

fn newest(connection: &Connection, id: &WorkflowId) -> Result<Option<(i64, Newest)>, Fault> {
    let found = connection.prepare_cached(SELECT_WORKFLOW)?.query_row([id.as_str()], |row| {
        let created_at = Timestamp::from_micros(row.get(2)?);
        Ok((row.get(0)?, Newest { revision: row.get(1)?, created_at }))
    });
    Ok(found.optional()?)
}

fn write_revision(
    connection: &Connection,
    definition: &WorkflowDefinition,
    document: &Document,
) -> Result<i64, Fault> {
    let id = &definition.workflow_id;
    let before = newest(connection, id)?;
    let found = before.map_or(0, |(_, newest)| newest.revision);
    let expected = definition.revision.saturating_sub(1);
    if found != expected {
        return Err(Fault::Store(StoreError::Conflict {
            kind: "workflow",
            id: id.to_string(),
            expected: expected.into(),
            found: found.into(),
        }));
    }
    let steps = integer(definition.steps.len());
    let sql = if before.is_some() { UPDATE_WORKFLOW } else { INSERT_WORKFLOW };
    connection.prepare_cached(sql)?.execute(named_params! {
        ":id": id.as_str(),
        ":revision": definition.revision,
        ":status": definition.status.as_str(),
        ":name": definition.name,
        ":description": definition.description,
        ":pattern": definition.pattern,
        ":steps": steps,
        ":created_by": definition.created_by,
        ":created_at": definition.created_at.as_micros(),
        ":updated_at": definition.updated_at.as_micros(),
    })?;
    let workflow = before.map_or_else(|| connection.last_insert_rowid(), |(key, _)| key);
    let key = document.insert(connection)?;
    connection.prepare_cached(INSERT_DEFINITION)?.execute((
        workflow,
        definition.revision,
        key,
        definition.status.as_str(),
        steps,
        &definition.created_by,
        definition.updated_at.as_micros(),
    ))?;
    Ok(key)
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

/// Refuses a document that is larger than values may be.
pub(crate) fn check_size(
    definition: &WorkflowDefinition,
    document: &Document,
    limits: BodyLimits,
) -> Result<(), StoreError> {
    if document.body.len() <= limits.bytes_max {
        return Ok(());
    }
    Err(StoreError::TooLarge {
        what: format!("the definition of workflow `{}`", definition.workflow_id),
        bytes: document.body.len() as u64,
        max: limits.bytes_max as u64,
    })
}

fn exists(id: &WorkflowId) -> StoreError {
    StoreError::AlreadyExists { kind: "workflow", id: id.to_string() }
}

/// Builds the error for a key that was used before.
pub(crate) fn key_used(entry: &IdempotencyEntry, used: KeyUse) -> StoreError {
    StoreError::KeyUsed { scope: entry.scope.clone(), key: entry.key.clone(), used }
}
