//! The handle of the store: opening, closing, and what all its rooms share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tracing::info;

use crate::body::{BodyLimits, count};
use crate::documents::Documents;
use crate::error::Fault;
use crate::lock::{DirectoryLock, make_directory};
use crate::readers::Readers;
use crate::schema::{self, SCHEMA_VERSION};
use crate::stats::{Counters, read};
use crate::writer::Writer;
use crate::{StoreActivity, StoreError, StoreOptions, StoreStats};

pub(crate) const COUNT_WORKFLOWS: &str = "SELECT count(*) FROM workflow";
pub(crate) const COUNT_APPLICATIONS: &str = "SELECT count(*) FROM application";

/// A handle of the durable store. Cheap to clone; when the last clone is dropped, or [`Store::close`] is called, what
/// was asked for is finished, the write-ahead log is emptied and the data directory is free again.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What the clones share. The readers come first, so that they are gone when the writer empties the log.
#[derive(Debug)]
struct Inner {
    readers: Readers,
    writer: Writer,
    documents: Arc<Documents>,
    counters: Arc<Counters>,
    limits: BodyLimits,
    directory: PathBuf,
    database: PathBuf,
    write_ahead_log: PathBuf,
}

impl Store {
    /// Opens the store in a data directory; makes both when they are missing, and brings an older file to the present
    /// version. Reads and writes the disk: call it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] when another process has the directory; [`StoreError::NewerFile`] and
    /// [`StoreError::ForeignFile`] when the file is not for this program; [`StoreError::Corrupt`],
    /// [`StoreError::ReadOnly`], [`StoreError::Full`] and [`StoreError::Directory`] when it cannot be used.
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        make_directory(&options.directory)?;
        let lock = Arc::new(DirectoryLock::take(&options.lock(), &options.directory)?);
        let counters = Arc::new(Counters::default());
        let connection = schema::open_writer(&options, &counters.statements)?;
        let readers = Readers::new(&options, Arc::clone(&counters), Arc::clone(&lock));
        let writer = Writer::start(connection, &options, Arc::clone(&counters), lock)?;
        info!(directory = %options.directory.display(), version = SCHEMA_VERSION, "store opened");
        let inner = Inner {
            readers,
            writer,
            documents: Arc::new(Documents::new(options.documents_bytes_max)),
            counters,
            limits: BodyLimits::of(&options),
            database: options.database(),
            write_ahead_log: options.write_ahead_log(),
            directory: options.directory,
        };
        Ok(Store { inner: Arc::new(inner) })
    }

    /// Finishes what was asked for, empties the write-ahead log and gives the data directory free. Whatever any clone
    /// asks afterwards is refused with [`StoreError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the store may be half closed: dropping the last clone ends what is left.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        let inner = Arc::clone(&self.inner);
        // A panic in there has been logged by the thread that it came from.
        let _ = tokio::task::spawn_blocking(move || inner.writer.close()).await;
    }

    /// Returns the data directory.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Returns how large the store is and what it has done since it was opened.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn stats(&self) -> Result<StoreStats, StoreError> {
        let read_now = self.read(|connection| {
            let number = |sql: &str| -> Result<u64, Fault> {
                Ok(connection.prepare_cached(sql)?.query_row([], |row| count(row, 0))?)
            };
            let free_pages: i64 =
                connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
            let free = schema::page_bytes(connection)?
                .saturating_mul(u64::try_from(free_pages).unwrap_or_default());
            let counted = (number(COUNT_WORKFLOWS)?, number(COUNT_APPLICATIONS)?);
            Ok((counted, crate::load::counts(connection)?, free))
        });
        let ((workflows, applications), executions, free_bytes) = read_now.await?;
        let counters = &self.inner.counters;
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        Ok(StoreStats {
            schema_version: SCHEMA_VERSION,
            database_bytes: bytes(&self.inner.database),
            free_bytes,
            wal_bytes: bytes(&self.inner.write_ahead_log),
            wal_pages: read(&counters.wal_pages),
            workflows,
            applications,
            executions,
            queued: self.inner.writer.queued(),
            commits: read(&counters.commits),
            commit_us_total: read(&counters.commit_us),
            requests: read(&counters.requests),
            failed_requests: read(&counters.failed),
            batch_largest: read(&counters.batch_largest),
            batches: counters.batches.iter().map(read).collect(),
            reads: read(&counters.reads),
            checkpoints: read(&counters.checkpoints),
            statements: read(&counters.statements),
        })
    }

    /// Returns what the store is doing, without a statement: sizes are asked from the file system.
    pub fn activity(&self) -> StoreActivity {
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        StoreActivity {
            database_bytes: bytes(&self.inner.database),
            wal_bytes: bytes(&self.inner.write_ahead_log),
            queued: self.inner.writer.queued(),
            batch_sizes: self.inner.counters.batch_sizes(),
            commit_times: self.inner.counters.commit_times(),
        }
    }

    /// Returns how many SQL statements have run since the store was opened, without running one.
    pub fn statements(&self) -> u64 {
        read(&self.inner.counters.statements)
    }

    /// Goes through the whole file and checks that it is sound. Takes about a second for each 500 MB.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] with the first problem.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.read(|connection| {
            let found: String =
                connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
            if found == "ok" { Ok(()) } else { Err(Fault::Unreadable(found)) }
        })
        .await
    }

    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
        T: Send + 'static,
    {
        self.inner.readers.run(read).await
    }

    pub(crate) async fn write<T, F>(&self, write: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
        T: Send + 'static,
    {
        self.inner.writer.run(write).await
    }

    pub(crate) fn documents(&self) -> Arc<Documents> {
        Arc::clone(&self.inner.documents)
    }

    pub(crate) fn limits(&self) -> BodyLimits {
        self.inner.limits
    }
}
