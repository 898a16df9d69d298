//! Retention: what ended long ago is forgotten, in batches small enough that nobody else waits long.

use caelum_core::clock::Timestamp;
use rusqlite::Connection;

use crate::error::Fault;
use crate::{Store, StoreError};

/// Executions in one batch.
const EXECUTIONS_PER_BATCH: i64 = 64;

/// Events in one batch: behind the execution that goes over it, the batch ends. About 20 ms of work.
const EVENTS_PER_BATCH: i64 = 5_000;

/// Documents, blobs, keys or plans in one batch.
const ROWS_PER_BATCH: i64 = 500;

pub(crate) const SELECT_OLD: &str = "
    SELECT key, events FROM execution
    WHERE ended_at IS NOT NULL AND ended_at < ?1 ORDER BY ended_at LIMIT ?2";
pub(crate) const UNLINK_LAST: &str = "
    UPDATE workflow SET last_execution = NULL
    WHERE id = (SELECT workflow_id FROM execution WHERE key = ?1) AND last_execution = ?1";
pub(crate) const DELETE_EVENTS: &str = "DELETE FROM event WHERE execution = ?1";
pub(crate) const DELETE_STEPS: &str = "DELETE FROM step WHERE execution = ?1";
pub(crate) const DELETE_TARGETS: &str = "DELETE FROM target WHERE execution = ?1";
pub(crate) const DELETE_EXECUTION: &str = "DELETE FROM execution WHERE key = ?1";
pub(crate) const DELETE_KEYS: &str = "
    DELETE FROM idempotency WHERE (scope, key) IN
        (SELECT scope, key FROM idempotency WHERE at < ?1 ORDER BY at LIMIT ?2)";
pub(crate) const DELETE_PLANS: &str = "
    DELETE FROM plan WHERE key IN
        (SELECT key FROM plan WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";
pub(crate) const SELECT_DOCUMENTS: &str = "
    SELECT d.key, EXISTS (SELECT 1 FROM execution WHERE document = d.key)
        OR EXISTS (SELECT 1 FROM definition WHERE document = d.key)
    FROM document d WHERE d.key > ?1 ORDER BY d.key LIMIT ?2";
pub(crate) const DELETE_DOCUMENT: &str = "DELETE FROM document WHERE key = ?1";
pub(crate) const SELECT_BLOBS: &str = "
    SELECT b.key, EXISTS (SELECT 1 FROM event WHERE blob = b.digest)
        OR EXISTS (SELECT 1 FROM step WHERE blob = b.digest)
        OR EXISTS (SELECT 1 FROM target WHERE blob = b.digest)
        OR EXISTS (SELECT 1 FROM application WHERE blob = b.digest)
        OR EXISTS (SELECT 1 FROM plan WHERE blob = b.digest)
    FROM blob b WHERE b.key > ?1 ORDER BY b.key LIMIT ?2";
pub(crate) const DELETE_BLOB: &str = "DELETE FROM blob WHERE key = ?1";

/// What retention took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Executions, with their events and rows.
    pub executions: u64,
    /// Plans that nobody applied in time.
    pub plans: u64,
    /// Idempotency keys.
    pub keys: u64,
    /// Definitions that no workflow and no execution names any more.
    pub documents: u64,
    /// Large values that no row names any more.
    pub blobs: u64,
}

impl Store {
    /// Forgets executions that ended before `older_than`, plans and idempotency keys made before it, and what nothing
    /// names any more after that. Workflows, their revisions and applications of patterns stay. The file does not
    /// shrink: its free pages are used first.
    ///
    /// Works in batches, each in a transaction of its own with other requests between them.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself; batches before the failure stay done.
    ///
    /// # Cancel safety
    ///
    /// May be dropped between any two batches; the next call goes on.
    pub async fn retain(&self, older_than: Timestamp) -> Result<Retained, StoreError> {
        let before = older_than.as_micros();
        let mut retained = Retained::default();
        loop {
            let gone = self.write(move |connection| executions(connection, before)).await?;
            if gone == 0 {
                break;
            }
            retained.executions += gone;
        }
        retained.plans = self.delete_old(DELETE_PLANS, before).await?;
        retained.keys = self.delete_old(DELETE_KEYS, before).await?;
        retained.documents = self.sweep(SELECT_DOCUMENTS, DELETE_DOCUMENT).await?;
        retained.blobs = self.sweep(SELECT_BLOBS, DELETE_BLOB).await?;
        Ok(retained)
    }

    async fn delete_old(&self, sql: &'static str, before: i64) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let gone = self
                .write(move |connection| {
                    Ok(connection.prepare_cached(sql)?.execute((before, ROWS_PER_BATCH))?)
                })
                .await?;
            all += gone as u64;
            if gone == 0 {
                return Ok(all);
            }
        }
    }

    /// Goes through a table by key and deletes the rows that nothing names.
    async fn sweep(&self, select: &'static str, delete: &'static str) -> Result<u64, StoreError> {
        let mut all = 0;
        let mut after = 0;
        loop {
            let (gone, last) =
                self.write(move |connection| sweep(connection, select, delete, after)).await?;
            all += gone;
            match last {
                Some(last) => after = last,
                None => return Ok(all),
            }
        }
    }
}

/// Deletes one batch of executions; returns how many.
fn executions(connection: &Connection, before: i64) -> Result<u64, Fault> {
    let mut statement = connection.prepare_cached(SELECT_OLD)?;
    let old = statement
        .query_map((before, EXECUTIONS_PER_BATCH), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(i64, i64)>, _>>()?;
    drop(statement);
    let (mut gone, mut rows) = (0, 0);
    for (key, events) in old {
        for sql in [UNLINK_LAST, DELETE_EVENTS, DELETE_STEPS, DELETE_TARGETS, DELETE_EXECUTION] {
            connection.prepare_cached(sql)?.execute([key])?;
        }
        gone += 1;
        rows += events;
        if rows >= EVENTS_PER_BATCH {
            break;
        }
    }
    Ok(gone)
}

/// Looks at one batch of rows; returns how many are gone, and the last key unless there are no more.
fn sweep(
    connection: &Connection,
    select: &str,
    delete: &str,
    after: i64,
) -> Result<(u64, Option<i64>), Fault> {
    let mut statement = connection.prepare_cached(select)?;
    let rows = statement
        .query_map((after, ROWS_PER_BATCH), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(i64, bool)>, _>>()?;
    drop(statement);
    let mut gone = 0;
    for (key, named) in &rows {
        if !named {
            connection.prepare_cached(delete)?.execute([key])?;
            gone += 1;
        }
    }
    Ok((gone, rows.last().map(|(key, _)| *key)))
}
