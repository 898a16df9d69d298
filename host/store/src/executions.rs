//! Executions: created with their first events, then moved by compare-and-set, events and rows in one transaction.

use std::sync::Arc;

use caelum_core::clock::Timestamp;
use caelum_core::id::{Digest, WorkflowId};
use caelum_core::workflow::{Event, EventBody, Execution, Graph, WorkflowDefinition};
use rusqlite::{Connection, OptionalExtension, named_params};
use serde::{Deserialize, Serialize};

use crate::append::{Append, HeadRow, Rows};
use crate::body::integer;
use crate::definitions::check_size;
use crate::documents::{Document, SELECT_DOCUMENT_EXISTS};
use crate::error::Fault;
use crate::idempotency::remember;
use crate::{IdempotencyEntry, Store, StoreError, StoredDefinition};

/// Size from which the values of one transition are hashed on a thread where blocking is allowed, in bytes: below it,
/// hashing takes less than a millisecond.
const HASH_BYTES_MAX: usize = 1024 * 1024;

pub(crate) const SELECT_LEN: &str = "SELECT key, events, status FROM execution WHERE id = ?1";
pub(crate) const UPDATE_HEAD: &str = "
    UPDATE execution SET events = ?2, done = ?3, total = ?4, stopping = ?5, paused = ?6,
        cancel = ?7, updated_at = ?8
    WHERE key = ?1";
pub(crate) const UPDATE_STATUS: &str =
    "UPDATE execution SET status = ?2, ended_at = ?3 WHERE key = ?1";
const INSERT_EXECUTION: &str = "
    INSERT INTO execution (id, kind, workflow_id, revision, document, status, events, done, total,
        stopping, paused, cancel, started_at, updated_at, ended_at)
    VALUES (:id, :kind, :workflow_id, :revision, :document, :status, :events, :done, :total,
        :stopping, :paused, :cancel, :started_at, :updated_at, :ended_at)
    ON CONFLICT (id) DO NOTHING";
// History that is imported may be older than what is here.
const UPDATE_LAST: &str = "
    UPDATE workflow SET last_execution = ?2
    WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM execution
        WHERE key = workflow.last_execution AND started_at > ?3)";

/// What an execution is a run of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionKind {
    /// A workflow.
    Workflow,
    /// One task on many machines: a workflow without a name, of one step.
    TaskGroup,
}

impl ExecutionKind {
    /// Returns the word used in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            ExecutionKind::Workflow => "workflow",
            ExecutionKind::TaskGroup => "task_group",
        }
    }
}

/// An execution to create: its first events, and what it is pinned to.
#[derive(Debug, Clone)]
pub struct NewExecution {
    kind: ExecutionKind,
    definition: Arc<WorkflowDefinition>,
    graph: Arc<Graph>,
    workflow_id: WorkflowId,
    revision: u32,
    started_at: Timestamp,
    append: Append,
}

impl NewExecution {
    /// Takes the first events of an execution and everything that they changed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Inconsistent`] when the events are not all events of the execution, from `started` on.
    pub fn of(
        execution: &mut Execution,
        kind: ExecutionKind,
        events: Vec<Event>,
    ) -> Result<Self, StoreError> {
        if !matches!(events.first(), Some(Event { body: EventBody::Started(_), .. })) {
            return Err(StoreError::Inconsistent {
                what: format!("the first event of execution `{}` is not `started`", execution.id()),
            });
        }
        let append = Append::of(execution, 0, events)?;
        let head = execution.head();
        Ok(NewExecution {
            kind,
            definition: Arc::clone(execution.definition()),
            graph: Arc::clone(execution.graph()),
            workflow_id: head.workflow_id.clone(),
            revision: head.revision,
            started_at: head.started_at,
            append,
        })
    }
}

/// The definition that a new execution is pinned to.
enum Pinned {
    /// Stored already, as far as the cache knows.
    Known(i64, Arc<WorkflowDefinition>),
    /// To be stored, unless it is there.
    New(Document),
}

impl Pinned {
    /// Returns the key of the document, and writes it when it is not there.
    fn insert(&self, connection: &Connection) -> Result<i64, Fault> {
        match self {
            Pinned::New(document) => document.insert(connection),
            Pinned::Known(key, definition) => {
                let mut statement = connection.prepare_cached(SELECT_DOCUMENT_EXISTS)?;
                if statement.exists([key])? {
                    return Ok(*key);
                }
                // Retention took it away after it was cached: write it again.
                Document::of(definition).insert(connection)
            }
        }
    }
}

impl Store {
    /// Stores a new execution with its first events and rows; all of it is on disk when this returns, and from then on
    /// [`Store::open_executions`] names it until it ends.
    ///
    /// # Errors
    ///
    /// [`StoreError::AlreadyExists`] when there is an execution of that name; [`StoreError::KeyUsed`] when the
    /// idempotency key was used before; [`StoreError::TooLarge`] when one of its values is.
    pub async fn create_execution(
        &self,
        new: NewExecution,
        key: Option<IdempotencyEntry>,
    ) -> Result<(), StoreError> {
        let definition = Arc::clone(&new.definition);
        if let Some(known) = self.documents().key_of(&definition) {
            self.insert(new, Pinned::Known(known, definition), key).await?;
            return Ok(());
        }
        let document = Document::of(&definition);
        check_size(&definition, &document, self.limits())?;
        let bytes = document.body.len();
        let digest = Digest::from_bytes(&document.digest);
        let stored = StoredDefinition { definition, graph: Arc::clone(&new.graph), digest };
        let key = self.insert(new, Pinned::New(document), key).await?;
        self.documents().keep(key, stored, bytes);
        Ok(())
    }

    /// Inserts the execution and returns the key of its document.
    async fn insert(
        &self,
        new: NewExecution,
        pinned: Pinned,
        key: Option<IdempotencyEntry>,
    ) -> Result<i64, StoreError> {
        let NewExecution { kind, workflow_id, revision, started_at, append, .. } = new;
        let (id, head) = (append.execution_id.clone(), append.head.clone());
        let rows = self.prepare(append).await?;
        self.write(move |connection| {
            remember(connection, key.as_ref())?;
            let document = pinned.insert(connection)?;
            let inserted = connection.prepare_cached(INSERT_EXECUTION)?.execute(named_params! {
                ":id": id.as_str(),
                ":kind": kind.as_str(),
                ":workflow_id": workflow_id.as_str(),
                ":revision": revision,
                ":document": document,
                ":status": head.status.as_str(),
                ":events": integer(head.events),
                ":done": integer(head.done),
                ":total": integer(head.total),
                ":stopping": head.stopping,
                ":paused": head.paused,
                ":cancel": head.cancel,
                ":started_at": started_at.as_micros(),
                ":updated_at": head.updated_at.as_micros(),
                ":ended_at": head.ended_at.map(Timestamp::as_micros),
            })?;
            if inserted == 0 {
                let id = id.to_string();
                return Err(Fault::Store(StoreError::AlreadyExists { kind: "execution", id }));
            }
            let execution = connection.last_insert_rowid();
            if kind == ExecutionKind::Workflow {
                connection.prepare_cached(UPDATE_LAST)?.execute((
                    workflow_id.as_str(),
                    execution,
                    started_at.as_micros(),
                ))?;
            }
            rows.write(connection, execution)?;
            Ok(document)
        })
        .await
    }

    /// Stores the next events of an execution and every row that they changed, if and only if it has as many events
    /// as expected. Events and rows are on disk when this returns; on any error nothing was written.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when there are more or fewer events: somebody else owns the execution, or the answer
    /// to an earlier call got lost. [`StoreError::NotFound`] when there is no such execution;
    /// [`StoreError::TooLarge`] when one of the values is.
    pub async fn append(&self, append: Append) -> Result<(), StoreError> {
        let (id, expected) = (append.execution_id.clone(), append.expected_len);
        let head = append.head.clone();
        let rows = self.prepare(append).await?;
        self.write(move |connection| {
            let found: Option<(i64, i64, String)> = connection
                .prepare_cached(SELECT_LEN)?
                .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let Some((key, found, status)) = found else {
                let id = id.to_string();
                return Err(Fault::Store(StoreError::NotFound { kind: "execution", id }));
            };
            if found != integer(expected) {
                return Err(Fault::Store(StoreError::Conflict {
                    kind: "execution",
                    id: id.to_string(),
                    expected,
                    found: u64::try_from(found).unwrap_or_default(),
                }));
            }
            update_head(connection, key, &status, &head)?;
            rows.write(connection, key)
        })
        .await
    }

    async fn prepare(&self, append: Append) -> Result<Rows, StoreError> {
        let limits = self.limits();
        if append.bytes() <= HASH_BYTES_MAX {
            return append.prepare(limits);
        }
        tokio::task::spawn_blocking(move || append.prepare(limits))
            .await
            .map_err(|_| StoreError::Internal { what: "hashing a value panicked".to_owned() })?
    }
}

/// Writes the row of the execution. The indexed columns are written only when they can have changed.
fn update_head(
    connection: &Connection,
    key: i64,
    status_before: &str,
    head: &HeadRow,
) -> Result<(), Fault> {
    connection.prepare_cached(UPDATE_HEAD)?.execute((
        key,
        integer(head.events),
        integer(head.done),
        integer(head.total),
        head.stopping,
        &head.paused,
        &head.cancel,
        head.updated_at.as_micros(),
    ))?;
    if head.ended_at.is_some() || head.status.as_str() != status_before {
        connection.prepare_cached(UPDATE_STATUS)?.execute((
            key,
            head.status.as_str(),
            head.ended_at.map(Timestamp::as_micros),
        ))?;
    }
    Ok(())
}
