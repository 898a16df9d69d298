//! Durable state of Caelum workflows in SQLite: one writer thread with group commit, a pool of readers.
//!
//! Once a call that writes has returned, what it wrote is committed, and with [`Synchronous::Full`] it survives the
//! loss of power. Events and the rows that they changed are written in one transaction, by compare-and-set on the
//! number of events: folding the events of an execution gives its rows.
//!
//! | part | what lives there |
//! |---|---|
//! | `store`, `options`, `error` | the handle, its numbers, its failures |
//! | `writer`, `commit_watch`, `checkpoint`, `readers`, `lock` | who touches the file, and when |
//! | `schema`, `migrations/` | what is in the file |
//! | `definitions`, `definition_lists`, `documents` | workflows and their revisions |
//! | `executions`, `append`, `load`, `unfinished`, `measure` | executions: created, moved, loaded, listed |
//! | `applications`, `plans` | uses of patterns |
//! | `retention`, `archive`, `backup` | what goes, where it is kept, and copies |
//! | `idempotency`, `settings`, `metrics`, `stats` | everything else |
//!
//! Nothing here knows what an event means, reads a clock or retries by itself.

mod append;
mod applications;
mod archive;
mod backup;
mod body;
mod checkpoint;
mod commit_watch;
mod definition_lists;
mod definitions;
mod documents;
mod error;
mod executions;
mod idempotency;
mod load;
mod lock;
mod measure;
mod metrics;
mod options;
mod page;
mod plans;
mod readers;
mod retention;
mod schema;
mod settings;
mod stats;
mod store;
mod unfinished;
mod writer;

#[cfg(test)]
mod query_plans;

pub use append::Append;
pub use applications::{
    ApplicationFilter, ApplicationRecord, ExecutionLink, FileChange, FileRecord,
};
pub use archive::{ArchiveError, is_archive, unpack};
pub use commit_watch::{CommitMoment, CommitWatch};
pub use definition_lists::{DefinitionFilter, DefinitionSummary, LastExecution, RevisionSummary};
pub use definitions::{IfExists, Saved};
pub use documents::StoredDefinition;
pub use error::{KeyUse, StoreError};
pub use executions::{ExecutionKind, NewExecution};
pub use idempotency::IdempotencyEntry;
pub use load::{EVENTS_MAX, ExecutionFilter, ExecutionSummary};
pub use metrics::history::{HISTORY_PARTS_MAX, History, HistoryPart};
pub use metrics::{
    COMPLIANCE_PARTS, ComplianceMetrics, Durations, GateMetrics, METRIC_ROWS_MAX, MachineMetrics,
    Metrics, MetricsFilter, PatternMetrics, ReasonCount, StepMetrics, WorkflowMetrics,
};
pub use options::{StoreOptions, Synchronous};
pub use page::{PAGE_MAX, Page, PageRequest};
pub use plans::PlanRecord;
pub use retention::{Expiry, Kept, Retained};
pub use stats::{BATCH_BOUNDS, ExecutionCount, StoreActivity, StoreStats};
pub use store::Store;
pub use unfinished::{UNFINISHED_MAX, Unfinished, UnfinishedMark};
