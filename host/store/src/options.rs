//! The numbers of the store: every limit with its name, unit, default and reason.

use std::path::PathBuf;
use std::time::Duration;

use crate::CommitWatch;

/// When SQLite asks the disk to make a commit durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// At every commit: what was acknowledged survives the loss of power. Group commit makes it as cheap as `Normal`
    /// when many callers write.
    #[default]
    Full,
    /// At checkpoints: survives the death of the process; the loss of power may take the last commits.
    Normal,
    /// Never: for tests, and for data that can be made again.
    Off,
}

impl Synchronous {
    pub(crate) fn as_sql(self) -> &'static str {
        match self {
            Synchronous::Full => "FULL",
            Synchronous::Normal => "NORMAL",
            Synchronous::Off => "OFF",
        }
    }
}

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// The data directory; made when it is missing. The files in it are `caelum.db` with its `-wal` and `-shm`, and
    /// `caelum.lock`.
    pub directory: PathBuf,
    /// When commits are made durable. Default: at every commit.
    pub synchronous: Synchronous,
    /// Requests that may wait for the writer; whoever comes when it is full waits for a place. Default 4,096: eight
    /// full batches, a few milliseconds of work.
    pub queue_max: usize,
    /// Requests in one commit. Default 512: above it the gain is small and the wait of the first one grows.
    pub batch_max: usize,
    /// Connections that read at the same time. Default 4: reads are short, and each has its own page cache.
    pub readers: usize,
    /// Page cache of each connection, in bytes. Default 8 MiB.
    pub cache_bytes: u64,
    /// How long SQLite waits for a lock that another connection holds. Default 5 s; between our own connections it is
    /// a few milliseconds.
    pub busy_timeout: Duration,
    /// Size of the write-ahead log at which a checkpoint begins beside the writer, in bytes; it has this size from the
    /// start. Default 4 MiB.
    pub wal_checkpoint_bytes: u64,
    /// Size of the write-ahead log at which the writer stops for a checkpoint, in bytes. Default 64 MiB; only reads
    /// that last long can make it grow further.
    pub wal_bytes_max: u64,
    /// Quiet time after which all of the write-ahead log is moved into the database file. Default 1 s; then the store
    /// sleeps until it is asked something.
    pub idle_checkpoint: Duration,
    /// Size from which a value (an event, a step, a target) is kept as a blob under its SHA-256, in bytes.
    /// Default 64 KiB: rows stay small, and equal values are kept once.
    pub blob_bytes_min: usize,
    /// Largest value, in bytes. Default 64 MiB; a larger one is refused with its name and size.
    pub body_bytes_max: usize,
    /// Largest database file, in bytes; nothing means as large as the disk. At the limit requests are refused as if
    /// the disk were full.
    pub database_bytes_max: Option<u64>,
    /// Definitions kept parsed, as bytes of their documents. Default 16 MiB.
    pub documents_bytes_max: usize,
    /// Who is told of every commit while it happens; nobody by default.
    pub commit_watch: Option<CommitWatch>,
}

impl StoreOptions {
    /// Builds the options for a data directory; every other number has its default.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        StoreOptions {
            directory: directory.into(),
            synchronous: Synchronous::default(),
            queue_max: 4_096,
            batch_max: 512,
            readers: 4,
            cache_bytes: 8 * 1024 * 1024,
            busy_timeout: Duration::from_secs(5),
            wal_checkpoint_bytes: 4 * 1024 * 1024,
            wal_bytes_max: 64 * 1024 * 1024,
            idle_checkpoint: Duration::from_secs(1),
            blob_bytes_min: 64 * 1024,
            body_bytes_max: 64 * 1024 * 1024,
            database_bytes_max: None,
            documents_bytes_max: 16 * 1024 * 1024,
            commit_watch: None,
        }
    }

    /// Returns the path of the database file.
    pub fn database(&self) -> PathBuf {
        self.directory.join("caelum.db")
    }

    /// Returns the path of the write-ahead log.
    pub fn write_ahead_log(&self) -> PathBuf {
        self.directory.join("caelum.db-wal")
    }

    /// Returns the path of the lock file.
    pub fn lock(&self) -> PathBuf {
        self.directory.join("caelum.lock")
    }
}
