//! Executions as they stand: loaded from their rows, their events, and lists of them.

use std::collections::BTreeMap;

use caelum_core::clock::Timestamp;
use caelum_core::id::{ExecutionId, WorkflowId};
use caelum_core::workflow::{
    Event, EventBody, Execution, ExecutionHead, ExecutionStatus, Started, StepState, TargetState,
};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::body::{count, integer, name, parse, read, word};
use crate::documents::Documents;
use crate::error::Fault;
use crate::page::Window;
use crate::{ExecutionCount, ExecutionKind, Page, PageRequest, Store, StoreError};

/// Marks cursors of the list of executions.
const LIST: char = 'e';

/// The most events that one call of [`Store::events`] returns.
pub const EVENTS_MAX: u32 = 10_000;

pub(crate) const SELECT_EXECUTION: &str = "
    SELECT key, document, status, events, stopping, paused, cancel, ended_at, kind
    FROM execution WHERE id = ?1";
pub(crate) const SELECT_STARTED: &str =
    "SELECT at, body, blob FROM event WHERE execution = ?1 AND seq = 0";
pub(crate) const SELECT_STEPS: &str =
    "SELECT idx, state, blob FROM step WHERE execution = ?1 ORDER BY idx";
pub(crate) const SELECT_TARGETS: &str =
    "SELECT step, state, blob FROM target WHERE execution = ?1 ORDER BY step, idx";
pub(crate) const SELECT_EVENTS: &str = "
    SELECT seq, at, body, blob FROM event
    WHERE execution = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
pub(crate) const SELECT_OPEN: &str = "
    SELECT id FROM execution INDEXED BY execution_open
    WHERE ended_at IS NULL AND key > 0 ORDER BY key";
pub(crate) const SELECT_COUNTS: &str =
    "SELECT kind, status, executions FROM execution_count WHERE executions > 0";

macro_rules! list {
    ($condition:literal) => {
        concat!(
            "SELECT key, id, kind, workflow_id, revision, status, events, done, total, started_at, \
             updated_at, ended_at FROM execution WHERE ",
            $condition,
            " AND key < :before ORDER BY key DESC LIMIT :rows"
        )
    };
}

pub(crate) const LIST_ALL: &str =
    list!(":workflow_id IS NULL AND :status IS NULL AND :kind IS NULL");
pub(crate) const LIST_BY_KIND: &str =
    list!("kind = :kind AND :workflow_id IS NULL AND :status IS NULL");
pub(crate) const LIST_BY_KIND_STATUS: &str =
    list!("kind = :kind AND status = :status AND :workflow_id IS NULL");
pub(crate) const LIST_BY_STATUS: &str =
    list!("status = :status AND :workflow_id IS NULL AND :kind IS NULL");
pub(crate) const LIST_BY_WORKFLOW: &str =
    list!("workflow_id = :workflow_id AND (:kind IS NULL OR kind = :kind) AND :status IS NULL");
pub(crate) const LIST_BY_WORKFLOW_STATUS: &str =
    list!("workflow_id = :workflow_id AND status = :status AND (:kind IS NULL OR kind = :kind)");

/// Which executions a list shows. Everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// Runs of this workflow.
    pub workflow_id: Option<WorkflowId>,
    /// Where they stand.
    pub status: Option<ExecutionStatus>,
    /// What they are runs of.
    pub kind: Option<ExecutionKind>,
}

/// An execution in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionSummary {
    /// Its name.
    pub id: ExecutionId,
    /// What it is a run of.
    pub kind: ExecutionKind,
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The revision.
    pub revision: u32,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// How many events it has.
    pub events: u64,
    /// How many steps have ended.
    pub done: u64,
    /// How many steps there are.
    pub total: u64,
    /// When it was started.
    pub started_at: Timestamp,
    /// When its last event was recorded.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Store {
    /// Returns an execution as its rows say; nothing when there is none of that name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] when rows cannot be read.
    pub async fn load_execution(&self, id: &ExecutionId) -> Result<Option<Execution>, StoreError> {
        let (documents, id) = (self.documents(), id.clone());
        self.read(move |connection| load(connection, &documents, &id)).await
    }

    /// Returns what an execution is a run of; nothing when there is none of that name.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn execution_kind(
        &self,
        id: &ExecutionId,
    ) -> Result<Option<ExecutionKind>, StoreError> {
        let id = id.clone();
        self.read(move |connection| {
            let kind: Option<String> = connection
                .prepare_cached(SELECT_EXECUTION)?
                .query_row([id.as_str()], |row| row.get(8))
                .optional()?;
            kind.map(|kind| word(&kind, "kind")).transpose()
        })
        .await
    }

    /// Returns the executions that have not ended, the oldest first.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn open_executions(&self) -> Result<Vec<ExecutionId>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(SELECT_OPEN)?;
            let mut rows = statement.query([])?;
            let mut open = Vec::new();
            while let Some(row) = rows.next()? {
                open.push(name(
                    row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?,
                    "execution",
                )?);
            }
            Ok(open)
        })
        .await
    }

    /// Returns the events of an execution behind `after`, or from the first on; at most `limit` and at most
    /// [`EVENTS_MAX`] of them.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when there is no such execution.
    pub async fn events(
        &self,
        id: &ExecutionId,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let id = id.clone();
        self.read(move |connection| {
            let key: Option<i64> = connection
                .prepare_cached(SELECT_EXECUTION)?
                .query_row([id.as_str()], |row| row.get(0))
                .optional()?;
            let Some(key) = key else {
                let id = id.to_string();
                return Err(Fault::Store(StoreError::NotFound { kind: "execution", id }));
            };
            let after = after.map_or(-1, integer);
            let mut statement = connection.prepare_cached(SELECT_EVENTS)?;
            let mut rows = statement.query((key, after, limit.min(EVENTS_MAX)))?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                let seq = count(row, 0)?;
                let body =
                    read(connection, row, (2, 3), || format!("event {seq} of execution `{id}`"))?;
                events.push(Event { seq, at: Timestamp::from_micros(row.get(1)?), body });
            }
            Ok(events)
        })
        .await
    }

    /// Returns executions, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadCursor`] when the cursor is of another list.
    pub async fn list_executions(
        &self,
        filter: &ExecutionFilter,
        page: &PageRequest,
    ) -> Result<Page<ExecutionSummary>, StoreError> {
        let window = Window::of(page, LIST)?;
        let filter = filter.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(list_sql(&filter))?;
            let mut rows = statement.query(named_params! {
                ":workflow_id": filter.workflow_id.as_ref().map(WorkflowId::as_str),
                ":status": filter.status.map(ExecutionStatus::as_str),
                ":kind": filter.kind.map(ExecutionKind::as_str),
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

    /// Returns how many executions there are of each kind and status.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn count_executions(&self) -> Result<Vec<ExecutionCount>, StoreError> {
        self.read(counts).await
    }
}

fn list_sql(filter: &ExecutionFilter) -> &'static str {
    match filter {
        ExecutionFilter { workflow_id: Some(_), status: Some(_), .. } => LIST_BY_WORKFLOW_STATUS,
        ExecutionFilter { workflow_id: Some(_), .. } => LIST_BY_WORKFLOW,
        ExecutionFilter { status: Some(_), kind: Some(_), .. } => LIST_BY_KIND_STATUS,
        ExecutionFilter { status: Some(_), .. } => LIST_BY_STATUS,
        ExecutionFilter { kind: Some(_), .. } => LIST_BY_KIND,
        _ => LIST_ALL,
    }
}

/// Returns how many executions there are of each kind and status.
pub(crate) fn counts(connection: &Connection) -> Result<Vec<ExecutionCount>, Fault> {
    let mut statement = connection.prepare_cached(SELECT_COUNTS)?;
    let mut rows = statement.query([])?;
    let mut counts = Vec::new();
    while let Some(row) = rows.next()? {
        counts.push(ExecutionCount {
            kind: word(&row.get::<_, String>(0)?, "kind")?,
            status: word(&row.get::<_, String>(1)?, "status")?,
            executions: count(row, 2)?,
        });
    }
    Ok(counts)
}

fn load(
    connection: &Connection,
    documents: &Documents,
    id: &ExecutionId,
) -> Result<Option<Execution>, Fault> {
    let mut statement = connection.prepare_cached(SELECT_EXECUTION)?;
    let mut rows = statement.query([id.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let key: i64 = row.get(0)?;
    let head = StoredHead::of(row)?;
    let document = documents.load(connection, head.document)?;
    let head = head.with(id.clone(), started(connection, id, key)?)?;
    let steps = steps(connection, id, key)?;
    let targets = targets(connection, id, key)?;
    Ok(Some(Execution::from_rows(document.definition, document.graph, head, steps, targets)))
}

/// The row of an execution: what its events change.
#[derive(Debug)]
pub(crate) struct StoredHead {
    pub(crate) document: i64,
    status: String,
    events: u64,
    stopping: bool,
    paused: Option<String>,
    cancel: Option<String>,
    ended_at: Option<Timestamp>,
}

impl StoredHead {
    /// Reads the columns that [`SELECT_EXECUTION`] names.
    pub(crate) fn of(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
        Ok(StoredHead {
            document: row.get(1)?,
            status: row.get(2)?,
            events: count(row, 3)?,
            stopping: row.get(4)?,
            paused: row.get(5)?,
            cancel: row.get(6)?,
            ended_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_micros),
        })
    }

    /// Builds the head: what never changes comes from the first event, the rest from the row.
    pub(crate) fn with(
        self,
        id: ExecutionId,
        (started_at, started): (Timestamp, Started),
    ) -> Result<ExecutionHead, Fault> {
        let status: ExecutionStatus = word(&self.status, "status")?;
        let paused =
            self.paused.map(|text| parse(&text, || format!("the pause of execution `{id}`")));
        let cancel = self
            .cancel
            .map(|text| parse(&text, || format!("the cancellation of execution `{id}`")));
        Ok(ExecutionHead {
            paused: paused.transpose()?,
            cancel: cancel.transpose()?,
            id,
            workflow_id: started.workflow_id,
            revision: started.revision,
            parameters: started.parameters,
            target_machines: started.target_machines,
            plugins: started.plugins,
            started_by: started.by,
            parent: started.parent,
            started_at,
            ended_at: self.ended_at,
            end: status.is_final().then_some(status),
            stopping: self.stopping,
            events: self.events,
        })
    }
}

/// Reads the first event of an execution.
fn started(
    connection: &Connection,
    id: &ExecutionId,
    key: i64,
) -> Result<(Timestamp, Started), Fault> {
    let first = || format!("event 0 of execution `{id}`");
    let mut statement = connection.prepare_cached(SELECT_STARTED)?;
    let mut events = statement.query([key])?;
    let event =
        events.next()?.ok_or_else(|| Fault::Unreadable(format!("{} is missing", first())))?;
    let EventBody::Started(started) = read(connection, event, (1, 2), first)? else {
        return Err(Fault::Unreadable(format!("{} is not `started`", first())));
    };
    Ok((Timestamp::from_micros(event.get(0)?), started))
}

fn steps(
    connection: &Connection,
    id: &ExecutionId,
    key: i64,
) -> Result<BTreeMap<usize, StepState>, Fault> {
    let mut statement = connection.prepare_cached(SELECT_STEPS)?;
    let mut rows = statement.query([key])?;
    let mut steps = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let index = index(row, 0)?;
        let what = || format!("step {index} of execution `{id}`");
        steps.insert(index, read(connection, row, (1, 2), what)?);
    }
    Ok(steps)
}

fn targets(
    connection: &Connection,
    id: &ExecutionId,
    key: i64,
) -> Result<BTreeMap<usize, Vec<TargetState>>, Fault> {
    let mut statement = connection.prepare_cached(SELECT_TARGETS)?;
    let mut rows = statement.query([key])?;
    let mut targets: BTreeMap<usize, Vec<TargetState>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let index = index(row, 0)?;
        let what = || format!("a target of step {index} of execution `{id}`");
        let target = read(connection, row, (1, 2), what)?;
        targets.entry(index).or_default().push(target);
    }
    Ok(targets)
}

pub(crate) fn index(row: &Row<'_>, column: usize) -> Result<usize, Fault> {
    Ok(usize::try_from(count(row, column)?).unwrap_or(usize::MAX))
}

fn summary(row: &Row<'_>) -> Result<ExecutionSummary, Fault> {
    Ok(ExecutionSummary {
        id: name(&row.get::<_, String>(1)?, "execution")?,
        kind: word(&row.get::<_, String>(2)?, "kind")?,
        workflow_id: name(&row.get::<_, String>(3)?, "workflow")?,
        revision: row.get(4)?,
        status: word(&row.get::<_, String>(5)?, "status")?,
        events: count(row, 6)?,
        done: count(row, 7)?,
        total: count(row, 8)?,
        started_at: Timestamp::from_micros(row.get(9)?),
        updated_at: Timestamp::from_micros(row.get(10)?),
        ended_at: row.get::<_, Option<i64>>(11)?.map(Timestamp::from_micros),
    })
}
