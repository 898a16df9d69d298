//! What the store has done since it was opened, and how large it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use caelum_core::meter::{Distribution, Histogram};
use caelum_core::workflow::ExecutionStatus;

use crate::ExecutionKind;

/// Upper bounds of the batch sizes that are counted together.
pub const BATCH_BOUNDS: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, u64::MAX];

/// Upper bounds of the times of commits that are counted together, in microseconds: from a disk with a cache of its own
/// to one that is about to fail.
const COMMIT_US_BOUNDS: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000,
];

/// Counters that the threads of the store share; they are only ever added to.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) commit_us: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) batch_largest: AtomicU64,
    pub(crate) batches: [AtomicU64; BATCH_BOUNDS.len()],
    pub(crate) reads: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    /// Pages in the write-ahead log after the last commit, until all of them were moved: the one that is not only
    /// added to.
    pub(crate) wal_pages: Arc<AtomicU64>,
    pub(crate) statements: Arc<AtomicU64>,
    pub(crate) commit_times: CommitTimes,
}

/// How long commits took, in microseconds.
#[derive(Debug)]
pub(crate) struct CommitTimes(Histogram);

impl Default for CommitTimes {
    fn default() -> Self {
        CommitTimes(Histogram::new(COMMIT_US_BOUNDS))
    }
}

impl Counters {
    pub(crate) fn committed(&self, requests: u64, took: Duration) {
        add(&self.commits, 1);
        add(&self.commit_us, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        add(&self.requests, requests);
        self.batch_largest.fetch_max(requests, Ordering::Relaxed);
        let bucket = BATCH_BOUNDS.iter().position(|bound| requests <= *bound).unwrap_or_default();
        add(&self.batches[bucket], 1);
        self.commit_times.0.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Returns how many requests commits held.
    pub(crate) fn batch_sizes(&self) -> Distribution {
        let [bounds @ .., _] = &BATCH_BOUNDS;
        let counts = self.batches.iter().map(read).collect();
        Distribution { bounds, counts, sum: read(&self.requests) }
    }

    /// Returns how long commits took, in microseconds.
    pub(crate) fn commit_times(&self) -> Distribution {
        self.commit_times.0.read()
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// How many executions of a kind have a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutionCount {
    /// The kind.
    pub kind: ExecutionKind,
    /// The status.
    pub status: ExecutionStatus,
    /// How many.
    pub executions: u64,
}

/// The store at one moment: its size, what is in it, and what it has done since it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStats {
    /// Version of the schema.
    pub schema_version: i64,
    /// Size of the database file, in bytes.
    pub database_bytes: u64,
    /// Bytes in that file that hold nothing and are used again first.
    pub free_bytes: u64,
    /// Size of the write-ahead log, in bytes. It keeps its size while the store is open.
    pub wal_bytes: u64,
    /// Pages in the write-ahead log that may not be in the database file yet.
    pub wal_pages: u64,
    /// Workflows.
    pub workflows: u64,
    /// Recorded applications of patterns.
    pub applications: u64,
    /// Executions by kind and status; pairs that never were are left out.
    pub executions: Vec<ExecutionCount>,
    /// Requests that wait for the writer now.
    pub queued: u64,
    /// Commits since it was opened.
    pub commits: u64,
    /// Time that commits took together, in microseconds.
    pub commit_us_total: u64,
    /// Requests that those commits held.
    pub requests: u64,
    /// Requests that were refused or failed.
    pub failed_requests: u64,
    /// The most requests in one commit.
    pub batch_largest: u64,
    /// Commits by how many requests they held; bounds in [`BATCH_BOUNDS`].
    pub batches: Vec<u64>,
    /// Read requests since it was opened.
    pub reads: u64,
    /// Checkpoints since it was opened.
    pub checkpoints: u64,
    /// SQL statements since it was opened, on all connections.
    pub statements: u64,
}

/// What the store is doing: told without a statement, so that whoever measures all the time costs it nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreActivity {
    /// Size of the database file, in bytes.
    pub database_bytes: u64,
    /// Size of the write-ahead log, in bytes.
    pub wal_bytes: u64,
    /// Requests that wait for the writer now.
    pub queued: u64,
    /// How many requests the commits since it was opened held.
    pub batch_sizes: Distribution,
    /// How long those commits took, in microseconds.
    pub commit_times: Distribution,
}
