//! Improvement patterns as data: assessments, plans with their edits, and applications. Nothing here touches a file.

mod check;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::finding::Finding;
use crate::id::Digest;

pub use check::{PlanLimits, PlanProblem, check_path, check_plan, ranges_by_path};

/// Whether a pattern has anything to do in a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applicability {
    /// There is something to bring in line.
    Applicable,
    /// Everything is in line already.
    AlreadyApplied,
    /// The component is not of a kind that the pattern knows.
    NotApplicable,
}

/// What a pattern thinks of a component.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// Whether there is anything to do.
    pub applicability: Applicability,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Ids of the rules that hold.
    pub passed_rules: Vec<String>,
    /// Ids of the rules that do not concern this component; they count in no score.
    pub not_applicable_rules: Vec<String>,
}

/// Who owns what an edit writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ownership {
    /// The pattern: later versions replace the whole file.
    Managed,
    /// The pattern owns a marked block or a spot in a file that is not its own.
    Block,
    /// The user: written once, never touched again.
    Seed,
}

/// Whether an edit may be applied without a person's look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// It cannot change what the component does.
    Safe,
    /// Somebody should look: applied only with `allow_review_edits`.
    Review,
}

/// Bytes `[start, end)` of a file, and the text that stands there instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// What stands there instead.
    pub text: String,
}

/// What an edit does to one file. Paths are relative to the component, `/` separated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new file; the path must be free.
    Create {
        /// Where.
        path: String,
        /// Its bytes.
        content: Vec<u8>,
    },
    /// Byte ranges of a file that has the given hash.
    Replace {
        /// Which file.
        path: String,
        /// What it must hash to.
        base_sha256: Digest,
        /// Ranges that do not overlap.
        ranges: Vec<Replacement>,
    },
    /// A file that goes away.
    Delete {
        /// Which file.
        path: String,
        /// What it must hash to.
        base_sha256: Digest,
    },
    /// A file that moves; the destination must be free.
    Rename {
        /// From.
        source: String,
        /// To.
        destination: String,
        /// What it must hash to.
        base_sha256: Digest,
    },
}

impl Change {
    /// Returns every path that the change touches.
    pub fn paths(&self) -> Vec<&str> {
        match self {
            Change::Create { path, .. }
            | Change::Replace { path, .. }
            | Change::Delete { path, .. } => vec![path],
            Change::Rename { source, destination, .. } => vec![source, destination],
        }
    }
}

/// One proposed change with who owns it, how risky it is and why it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What it does.
    pub change: Change,
    /// Who owns the result.
    pub ownership: Ownership,
    /// Whether somebody should look.
    pub risk: Risk,
    /// Fingerprints of the findings that it answers.
    pub resolves: Vec<String>,
    /// Why, for people.
    pub rationale: String,
}

/// Something that a plan cannot do by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextStep {
    /// Stable id.
    pub id: String,
    /// A few words.
    pub title: String,
    /// What to do.
    pub instructions: String,
    /// Whether the pattern counts as applied only after it.
    pub blocking: bool,
    /// The validator that could judge it.
    pub validator: Option<String>,
    /// That validator's parameters.
    pub validator_parameters: Option<Value>,
}

/// What would bring a component in line.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One line.
    pub summary: String,
    /// What to change.
    pub edits: Vec<Edit>,
    /// What else to do.
    pub next_steps: Vec<NextStep>,
    /// What the plan is about.
    pub findings: Vec<Finding>,
}

/// How an application of a pattern ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationStatus {
    /// The edits are being written: what a crash leaves of this is settled at the next start.
    Applying,
    /// The edits are on disk.
    Applied,
    /// There was nothing to change.
    Unchanged,
    /// A finding that no edit answers forbids it.
    Blocked,
    /// A dry run: the plan is kept and can be applied by its id, once.
    Planned,
    /// Files changed since the plan was made.
    Conflict,
    /// Running the pattern on its own result would change it again; nothing was written.
    NonConvergent,
    /// It was applied and then taken back.
    Reverted,
}

impl ApplicationStatus {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            ApplicationStatus::Applying => "applying",
            ApplicationStatus::Applied => "applied",
            ApplicationStatus::Unchanged => "unchanged",
            ApplicationStatus::Blocked => "blocked",
            ApplicationStatus::Planned => "planned",
            ApplicationStatus::Conflict => "conflict",
            ApplicationStatus::NonConvergent => "non_convergent",
            ApplicationStatus::Reverted => "reverted",
        }
    }
}
