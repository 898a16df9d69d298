//! The executions that have not ended, many with each statement: what a restart reads. What has ended costs nothing.

use std::collections::BTreeMap;

use caelum_core::clock::Timestamp;
use caelum_core::id::ExecutionId;
use caelum_core::workflow::{EventBody, Execution, Started, StepState, TargetState};
use rusqlite::{Connection, Row};

use crate::body::{name, read};
use crate::documents::Documents;
use crate::error::Fault;
use crate::load::{StoredHead, index};
use crate::{Store, StoreError};

/// Executions that one call of [`Store::unfinished`] returns at most: some milliseconds of reading, a few MiB.
pub const UNFINISHED_MAX: u32 = 512;

pub(crate) const SELECT_HEADS: &str = "
    SELECT key, document, status, events, stopping, paused, cancel, ended_at, kind, id
    FROM execution INDEXED BY execution_open
    WHERE ended_at IS NULL AND key > ?1 ORDER BY key LIMIT ?2";

macro_rules! rows_of_open {
    ($columns:literal, $table:literal, $condition:literal, $order:literal) => {
        concat!(
            "SELECT e.key, ",
            $columns,
            " FROM execution e INDEXED BY execution_open CROSS JOIN ",
            $table,
            " r ON r.execution = e.key",
            $condition,
            " WHERE e.ended_at IS NULL AND e.key > ?1 AND e.key <= ?2 ORDER BY e.key",
            $order
        )
    };
}

pub(crate) const SELECT_STARTED: &str =
    rows_of_open!("r.at, r.body, r.blob", "event", " AND r.seq = 0", "");
pub(crate) const SELECT_STEPS: &str =
    rows_of_open!("r.idx, r.state, r.blob", "step", "", ", r.idx");
pub(crate) const SELECT_TARGETS: &str =
    rows_of_open!("r.step, r.state, r.blob", "target", "", ", r.step, r.idx");

/// Some of the executions that have not ended.
#[derive(Debug, Default)]
pub struct Unfinished {
    /// As their rows say, the oldest first.
    pub executions: Vec<Execution>,
    /// Those whose rows cannot be read, and why.
    pub unreadable: Vec<(ExecutionId, String)>,
    /// Where the next ones begin; nothing when these are the last.
    pub next: Option<UnfinishedMark>,
}

/// A place in the executions that have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnfinishedMark(i64);

/// What was read of one execution so far.
struct Parts {
    id: ExecutionId,
    head: StoredHead,
    started: Option<(Timestamp, Started)>,
    steps: BTreeMap<usize, StepState>,
    targets: BTreeMap<usize, Vec<TargetState>>,
    unreadable: Option<String>,
}

impl Store {
    /// Returns executions that have not ended, the oldest first: those behind a mark, or from the first on, at most
    /// [`UNFINISHED_MAX`]. The number of statements does not depend on how many these are, and one that cannot be read
    /// keeps no other from being returned.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn unfinished(
        &self,
        behind: Option<UnfinishedMark>,
    ) -> Result<Unfinished, StoreError> {
        let documents = self.documents();
        let behind = behind.map_or(0, |mark| mark.0);
        self.read(move |connection| {
            let mut parts = heads(connection, behind)?;
            let Some(last) = parts.last_key_value().map(|(key, _)| *key) else {
                return Ok(Unfinished::default());
            };
            each(connection, SELECT_STARTED, (behind, last), &mut parts, started)?;
            each(connection, SELECT_STEPS, (behind, last), &mut parts, step)?;
            each(connection, SELECT_TARGETS, (behind, last), &mut parts, target)?;
            let full = parts.len() >= UNFINISHED_MAX as usize;
            let mut unfinished =
                Unfinished { next: full.then_some(UnfinishedMark(last)), ..Unfinished::default() };
            for (_, parts) in parts {
                let id = parts.id.clone();
                match readable(build(connection, &documents, parts))? {
                    Ok(execution) => unfinished.executions.push(execution),
                    Err(why) => unfinished.unreadable.push((id, why)),
                }
            }
            Ok(unfinished)
        })
        .await
    }
}

/// Tells what is wrong with one execution from what is wrong with the store.
fn readable<T>(read: Result<T, Fault>) -> Result<Result<T, String>, Fault> {
    match read {
        Ok(value) => Ok(Ok(value)),
        Err(Fault::Unreadable(why)) => Ok(Err(why)),
        Err(fault) => Err(fault),
    }
}

fn heads(connection: &Connection, behind: i64) -> Result<BTreeMap<i64, Parts>, Fault> {
    let mut statement = connection.prepare_cached(SELECT_HEADS)?;
    let mut rows = statement.query((behind, UNFINISHED_MAX))?;
    let mut parts = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let head = StoredHead::of(row)?;
        let id = name(row.get_ref(9)?.as_str().map_err(rusqlite::Error::from)?, "execution")?;
        let (steps, targets) = (BTreeMap::new(), BTreeMap::new());
        let of = Parts { id, head, started: None, steps, targets, unreadable: None };
        parts.insert(row.get(0)?, of);
    }
    Ok(parts)
}

/// Reads the rows of every execution between two keys, each into its execution.
fn each(
    connection: &Connection,
    sql: &str,
    (behind, last): (i64, i64),
    parts: &mut BTreeMap<i64, Parts>,
    take: fn(&Connection, &Row<'_>, &mut Parts) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((behind, last))?;
    while let Some(row) = rows.next()? {
        let Some(of) = parts.get_mut(&row.get::<_, i64>(0)?) else { continue };
        if of.unreadable.is_none()
            && let Err(why) = readable(take(connection, row, of))?
        {
            of.unreadable = Some(why);
        }
    }
    Ok(())
}

fn started(connection: &Connection, row: &Row<'_>, of: &mut Parts) -> Result<(), Fault> {
    let what = || format!("event 0 of execution `{}`", of.id);
    let EventBody::Started(started) = read(connection, row, (2, 3), what)? else {
        return Err(Fault::Unreadable(format!("{} is not `started`", what())));
    };
    of.started = Some((Timestamp::from_micros(row.get(1)?), started));
    Ok(())
}

fn step(connection: &Connection, row: &Row<'_>, of: &mut Parts) -> Result<(), Fault> {
    let index = index(row, 1)?;
    let what = || format!("step {index} of execution `{}`", of.id);
    of.steps.insert(index, read(connection, row, (2, 3), what)?);
    Ok(())
}

fn target(connection: &Connection, row: &Row<'_>, of: &mut Parts) -> Result<(), Fault> {
    let index = index(row, 1)?;
    let what = || format!("a target of step {index} of execution `{}`", of.id);
    let target = read(connection, row, (2, 3), what)?;
    of.targets.entry(index).or_default().push(target);
    Ok(())
}

fn build(connection: &Connection, documents: &Documents, parts: Parts) -> Result<Execution, Fault> {
    let Parts { id, head, started, steps, targets, unreadable } = parts;
    if let Some(why) = unreadable {
        return Err(Fault::Unreadable(why));
    }
    let started = started
        .ok_or_else(|| Fault::Unreadable(format!("event 0 of execution `{id}` is missing")))?;
    let document = documents.load(connection, head.document)?;
    let head = head.with(id, started)?;
    Ok(Execution::from_rows(document.definition, document.graph, head, steps, targets))
}
