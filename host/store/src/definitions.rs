//! Workflows: each revision is written behind the one before it, and never changed.

use std::sync::Arc;

use caelum_core::clock::Timestamp;
use caelum_core::id::{Digest, WorkflowId};
use caelum_core::workflow::{DefinitionStatus, Graph, WorkflowDefinition};
use rusqlite::{Connection, OptionalExtension, named_params};
use serde_json::Value;

use crate::body::{BodyLimits, integer};
use crate::documents::Document;
use crate::error::Fault;
use crate::idempotency::remember;
use crate::{IdempotencyEntry, KeyUse, Store, StoreError, StoredDefinition};

/// How often a new revision is tried when somebody else makes one at the same time.
const REVISION_TRIES: usize = 16;

pub(crate) const SELECT_WORKFLOW: &str =
    "SELECT key, revision, created_at FROM workflow WHERE id = ?1";
pub(crate) const SELECT_REVISION: &str =
    "SELECT document FROM definition WHERE workflow = ?1 AND revision = ?2";
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
        key: Option<IdempotencyEntry>,
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
        self.add_revision(definition, key).await
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

    /// Stores the revision that a definition names, exactly behind the one before it; it is on disk when this returns.
    /// When the answer of `key` is an object, its `revision` is set as well.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when another revision is the newest by now; [`StoreError::KeyUsed`] when the
    /// idempotency key was used before; [`StoreError::TooLarge`] when the definition is.
    pub async fn add_revision(
        &self,
        definition: WorkflowDefinition,
        mut key: Option<IdempotencyEntry>,
    ) -> Result<Saved, StoreError> {
        if let Some(IdempotencyEntry { answer: Value::Object(answer), .. }) = &mut key {
            answer.insert("revision".to_owned(), definition.revision.into());
        }
        self.save_revision(definition, key).await
    }

    /// Stores a workflow that came from elsewhere and is not here, with the revision and the times that it had there;
    /// it is on disk when this returns. Its earlier revisions stay behind.
    ///
    /// # Errors
    ///
    /// [`StoreError::AlreadyExists`] when there is a workflow of that name; [`StoreError::KeyUsed`] when the idempotency
    /// key was used before; [`StoreError::TooLarge`] when the definition is.
    pub async fn import_definition(
        &self,
        definition: WorkflowDefinition,
        mut key: Option<IdempotencyEntry>,
    ) -> Result<Saved, StoreError> {
        if let Some(IdempotencyEntry { answer: Value::Object(answer), .. }) = &mut key {
            answer.insert("revision".to_owned(), definition.revision.into());
        }
        self.save(definition, key, |connection, definition, document| {
            let id = &definition.workflow_id;
            match newest(connection, id)? {
                Some(_) => Err(Fault::Store(exists(id))),
                None => insert_revision(connection, definition, document, None),
            }
        })
        .await
    }

    /// Writes a revision behind the one before it.
    async fn save_revision(
        &self,
        definition: WorkflowDefinition,
        key: Option<IdempotencyEntry>,
    ) -> Result<Saved, StoreError> {
        self.save(definition, key, write_revision).await
    }

    async fn save(
        &self,
        definition: WorkflowDefinition,
        key: Option<IdempotencyEntry>,
        write: fn(&Connection, &WorkflowDefinition, &Document) -> Result<i64, Fault>,
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
                write(connection, &written, &document)
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
    insert_revision(connection, definition, document, before.map(|(key, _)| key))
}

/// Writes a revision of a workflow, which has the key `before` or is new.
fn insert_revision(
    connection: &Connection,
    definition: &WorkflowDefinition,
    document: &Document,
    before: Option<i64>,
) -> Result<i64, Fault> {
    let id = &definition.workflow_id;
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
    let workflow = before.unwrap_or_else(|| connection.last_insert_rowid());
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
