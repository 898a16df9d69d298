//! Retention: what ended long ago is forgotten, in batches small enough that nobody else waits long.

use std::path::PathBuf;

use caelum_core::clock::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use crate::archive::Archive;
use crate::error::Fault;
use crate::{Store, StoreError};

/// Executions in one batch.
pub(crate) const EXECUTIONS_PER_BATCH: i64 = 64;

/// Events in one batch: behind the execution that goes over it, the batch ends. About 20 ms of work.
pub(crate) const EVENTS_PER_BATCH: i64 = 5_000;

/// Documents, blobs, keys or plans in one batch.
const ROWS_PER_BATCH: i64 = 500;

pub(crate) const SELECT_OLD: &str = "
    SELECT key, events FROM execution
    WHERE ended_at IS NOT NULL AND ended_at < ?1 ORDER BY ended_at LIMIT ?2";
pub(crate) const SELECT_FINISHED_AT: &str = "
    SELECT ended_at FROM execution
    WHERE ended_at IS NOT NULL AND ended_at > ?1 ORDER BY ended_at LIMIT 1 OFFSET ?2";
pub(crate) const SELECT_STILL_OLD: &str =
    "SELECT 1 FROM execution WHERE key = ?1 AND ended_at < ?2";
pub(crate) const SELECT_OLDEST_KEY: &str =
    "SELECT at FROM idempotency WHERE at > ?1 ORDER BY at LIMIT 1";
pub(crate) const SELECT_OLDEST_PLAN: &str =
    "SELECT created_at FROM plan WHERE created_at > ?1 ORDER BY created_at LIMIT 1";
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

/// What retention takes away, and where it puts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Executions that ended before this go.
    pub executions_before: Timestamp,
    /// Plans and idempotency keys that were made before this go.
    pub others_before: Timestamp,
    /// The file that executions are archived in before they go; there must be none of that name.
    pub archive: Option<PathBuf>,
}

impl Expiry {
    /// Lets everything go that is older than a moment, and archives nothing.
    pub fn before(moment: Timestamp) -> Self {
        Expiry { executions_before: moment, others_before: moment, archive: None }
    }
}

/// What there is that retention may take away some day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Executions that have ended.
    pub executions: u64,
    /// When the oldest of them ended.
    pub oldest_execution: Option<Timestamp>,
    /// When the oldest plan or idempotency key was made.
    pub oldest_other: Option<Timestamp>,
}

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
    /// Forgets what has expired, and what nothing names any more after that. Executions that have not ended, workflows,
    /// their revisions and applications of patterns stay. The file does not shrink: its free pages are used first.
    ///
    /// Works in batches, each in a transaction of its own with other requests between them. With an archive, a batch is
    /// on disk there before it goes.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself; batches before the failure stay done.
    ///
    /// # Cancel safety
    ///
    /// May be dropped between any two batches; the next call goes on.
    pub async fn retain(&self, expiry: &Expiry) -> Result<Retained, StoreError> {
        let before = expiry.executions_before.as_micros();
        let mut retained = Retained::default();
        match &expiry.archive {
            Some(path) => retained.executions = self.archive(path.clone(), before).await?,
            None => loop {
                let gone = self.write(move |connection| executions(connection, before)).await?;
                if gone == 0 {
                    break;
                }
                retained.executions += gone;
            },
        }
        let before = expiry.others_before.as_micros();
        retained.plans = self.delete_old(DELETE_PLANS, before).await?;
        retained.keys = self.delete_old(DELETE_KEYS, before).await?;
        retained.documents = self.sweep(SELECT_DOCUMENTS, DELETE_DOCUMENT).await?;
        retained.blobs = self.sweep(SELECT_BLOBS, DELETE_BLOB).await?;
        Ok(retained)
    }

    /// Moves executions into an archive; returns how many.
    async fn archive(&self, path: PathBuf, before: i64) -> Result<u64, StoreError> {
        let mut archive = Archive::new(path);
        let mut all = 0;
        loop {
            let (keys, used) = self
                .read(move |connection| {
                    let keys = archive.write_batch(connection, before)?;
                    Ok((keys, archive))
                })
                .await?;
            archive = used;
            if keys.is_empty() {
                return Ok(all);
            }
            let gone = self
                .write(move |connection| {
                    let mut gone = 0;
                    for key in keys {
                        // Somebody may have asked for a retry since it was archived: then it stays.
                        let mut statement = connection.prepare_cached(SELECT_STILL_OLD)?;
                        if statement.exists((key, before))? {
                            forget(connection, key)?;
                            gone += 1;
                        }
                    }
                    Ok(gone)
                })
                .await?;
            all += gone;
        }
    }

    /// Returns what there is that may expire. Reads a few entries of indexes, whatever there is.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn kept(&self) -> Result<Kept, StoreError> {
        self.read(|connection| {
            let executions = crate::load::counts(connection)?
                .into_iter()
                .filter(|count| count.status.is_final())
                .map(|count| count.executions)
                .sum();
            let others = [SELECT_OLDEST_KEY, SELECT_OLDEST_PLAN].map(|sql| {
                connection
                    .prepare_cached(sql)
                    .and_then(|mut statement| statement.query_row([i64::MIN], |row| row.get(0)))
                    .optional()
            });
            let mut oldest: Option<i64> = None;
            for other in others {
                oldest = oldest.into_iter().chain(other?).min();
            }
            Ok(Kept {
                executions,
                oldest_execution: finished_at(connection, 0)?,
                oldest_other: oldest.map(Timestamp::from_micros),
            })
        })
        .await
    }

    /// Returns when the execution ended that `older` others ended before; nothing when there are not as many.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn finished_at(&self, older: u64) -> Result<Option<Timestamp>, StoreError> {
        self.read(move |connection| finished_at(connection, crate::body::integer(older))).await
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
        forget(connection, key)?;
        gone += 1;
        rows += events;
        if rows >= EVENTS_PER_BATCH {
            break;
        }
    }
    Ok(gone)
}

/// Deletes one execution with everything that belongs to it alone.
fn forget(connection: &Connection, key: i64) -> Result<(), Fault> {
    for sql in [UNLINK_LAST, DELETE_EVENTS, DELETE_STEPS, DELETE_TARGETS, DELETE_EXECUTION] {
        connection.prepare_cached(sql)?.execute([key])?;
    }
    Ok(())
}

fn finished_at(connection: &Connection, older: i64) -> Result<Option<Timestamp>, Fault> {
    let at: Option<i64> = connection
        .prepare_cached(SELECT_FINISHED_AT)?
        .query_row((i64::MIN, older), |row| row.get(0))
        .optional()?;
    Ok(at.map(Timestamp::from_micros))
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
