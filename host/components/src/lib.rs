//! Components on disk: resolves names beneath allowed roots, applies plans with a journal, reverts, diffs, drift.
//!
//! | module | what lives there |
//! |---|---|
//! | [`resolve`] | from a name or path to a directory beneath an allowed root |
//! | [`tree`], [`overlay`] | a component as patterns see it, as it is and as it would be |
//! | [`plan`] | a plan checked against a tree: what every file was and will be |
//! | [`diff`] | the same as a unified diff |
//! | [`apply`], [`revert`] | writing it, all or nothing over a crash, and taking it back |
//! | [`provenance`], [`drift`] | the record that stays in the component, and what has changed since |
//!
//! Everything here blocks on the file system and knows nothing of plugins, stores or protocols. Inside a component no
//! symbolic link is ever followed.

pub mod apply;
mod backup;
mod content;
pub mod diff;
pub mod drift;
pub mod error;
mod folder;
mod journal;
mod lock;
pub mod overlay;
pub mod plan;
pub mod provenance;
pub mod recover;
mod registry;
pub mod resolve;
pub mod revert;
#[cfg(test)]
mod torture;
mod transaction;
pub mod tree;

pub use apply::{Applied, FileChange};
pub use diff::Diff;
pub use drift::{DriftState, FileDrift, PatternDrift};
pub use error::ComponentsError;
pub use overlay::OverlayTree;
pub use plan::{Conflict, Found, StageLimits, StageProblems, StagedFile, StagedPlan, stage};
pub use provenance::Source;
pub use recover::Recovered;
pub use resolve::{Component, Components, Registered};
pub use revert::Reverted;
pub use tree::DirTree;
