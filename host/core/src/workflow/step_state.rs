//! A step of an execution, as a row: where it stands, what it was given and what it left.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::{Actor, GateKind, GateRecord, StepFailure};
use super::targets::Targets;
use super::template::Shown;
use crate::clock::Timestamp;
use crate::evidence::{Review, VerdictKind, WorkReport};
use crate::id::MachineId;

/// Where a step stands, in the guide's words (its `TaskStatus`, and `cancelled`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// It has not begun.
    Pending,
    /// It has begun and has not ended.
    Running,
    /// It ended well.
    Completed,
    /// It ended badly.
    Failed,
    /// It will not run.
    Skipped,
    /// It was ended, or never begun, because the execution was cancelled.
    Cancelled,
}

impl StepStatus {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            StepStatus::Pending => "pending",
            StepStatus::Running => "running",
            StepStatus::Completed => "completed",
            StepStatus::Failed => "failed",
            StepStatus::Skipped => "skipped",
            StepStatus::Cancelled => "cancelled",
        }
    }
}

/// When a gate is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateTiming {
    /// Before the action.
    Before,
    /// After it.
    After,
}

/// One gate of a step: which, and when it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gate {
    /// Which.
    pub kind: GateKind,
    /// When.
    pub timing: GateTiming,
}

/// Where a step stands exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum StepPhase {
    /// It waits for its dependencies, or could begin and has not.
    Waiting,
    /// It waits for its next attempt.
    RetryWait {
        /// When that may begin.
        not_before: Timestamp,
    },
    /// A gate is being judged.
    Judging {
        /// Which.
        gate: Gate,
    },
    /// A gate waits for a reviewer.
    AwaitingReview {
        /// Which.
        gate: Gate,
    },
    /// Its action runs on machines.
    Acting,
    /// Its action is somebody's work, and they have not reported yet.
    AwaitingWork,
    /// A crash left the outcome unknown and the action must not simply run again: somebody has to say.
    AwaitingDecision,
    /// Everything was done and judged; the end is about to be recorded.
    Settled,
    /// It ended well.
    Completed,
    /// It ended badly.
    Failed,
    /// It will not run.
    Skipped,
    /// It was ended because the execution was cancelled.
    Cancelled,
}

/// What somebody has to do before a step can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingFor {
    /// The work itself: `complete_step`.
    Work,
    /// A review of a gate: `review_step`.
    Review(Gate),
    /// A word about work whose outcome is unknown.
    Decision,
}

/// One step of an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// Where it stands exactly.
    pub phase: StepPhase,
    /// The present attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// The last attempt before somebody asked for a retry: the policy counts from here.
    pub attempts_before: u32,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When the present attempt began.
    pub attempt_started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Values for later steps.
    pub outputs: Map<String, Value>,
    /// Who did the work, where somebody did.
    pub performer: Option<Actor>,
    /// What they reported.
    pub report: Option<Box<WorkReport>>,
    /// Judgements of the present attempt, in order.
    pub gates: Vec<GateRecord>,
    /// Reviews of the gate that waits, or was judged last.
    pub reviews: Vec<Review>,
    /// How many reviews that gate was given, those that somebody took back included: each means another judgement.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reviews_given: usize,
    /// Why it failed, or why the last attempt did.
    pub failure: Option<StepFailure>,
    /// When the attempts that count now began: with the first one, or with the first after somebody asked for a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counting_since: Option<Timestamp>,
    /// When it had taken longer than it may over all its attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_at: Option<Timestamp>,
    /// Since when the gate that waits has waited for its reviews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_since: Option<Timestamp>,
    /// Whether the deadline of that review has passed and others were asked.
    #[serde(default, skip_serializing_if = "is_no")]
    pub escalated: bool,
    /// Machines whose work somebody asked to end, and when: they get none in later attempts either.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cancelled_machines: BTreeMap<MachineId, Timestamp>,
    /// The failed dependency that makes it be skipped.
    pub(super) blocked_by: Option<usize>,
    /// Dependencies that have not ended.
    pub(super) dependencies_left: u32,
    /// Its targets; stored in rows of their own, and shared between snapshots.
    #[serde(skip)]
    pub targets: Targets,
    /// Its outputs as templates see them.
    #[serde(skip)]
    pub(super) shown_outputs: Shown,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_no(value: &bool) -> bool {
    !*value
}

impl StepState {
    pub(super) fn new(dependencies: usize) -> Self {
        StepState {
            phase: StepPhase::Waiting,
            attempt: 0,
            attempts_before: 0,
            started_at: None,
            attempt_started_at: None,
            ended_at: None,
            outputs: Map::new(),
            performer: None,
            report: None,
            gates: Vec::new(),
            reviews: Vec::new(),
            reviews_given: 0,
            failure: None,
            counting_since: None,
            expired_at: None,
            review_since: None,
            escalated: false,
            cancelled_machines: BTreeMap::new(),
            blocked_by: None,
            dependencies_left: u32::try_from(dependencies).unwrap_or(u32::MAX),
            targets: Targets::default(),
            shown_outputs: Shown::default(),
        }
    }

    /// Returns where it stands in the guide's words.
    pub fn status(&self) -> StepStatus {
        match self.phase {
            StepPhase::Waiting if self.attempt == 0 => StepStatus::Pending,
            StepPhase::Completed => StepStatus::Completed,
            StepPhase::Failed => StepStatus::Failed,
            StepPhase::Skipped => StepStatus::Skipped,
            StepPhase::Cancelled => StepStatus::Cancelled,
            StepPhase::Waiting => StepStatus::Pending,
            _ => StepStatus::Running,
        }
    }

    /// Returns whether it has ended.
    pub fn is_final(&self) -> bool {
        matches!(
            self.phase,
            StepPhase::Completed | StepPhase::Failed | StepPhase::Skipped | StepPhase::Cancelled
        )
    }

    /// Returns what somebody has to do before it can go on.
    pub fn waiting_for(&self) -> Option<WaitingFor> {
        match self.phase {
            StepPhase::AwaitingWork => Some(WaitingFor::Work),
            StepPhase::AwaitingReview { gate } => Some(WaitingFor::Review(gate)),
            StepPhase::AwaitingDecision => Some(WaitingFor::Decision),
            _ => None,
        }
    }

    /// Returns whether the present attempt passed a gate.
    pub(super) fn passed(&self, gate: Gate) -> bool {
        self.gates
            .iter()
            .any(|record| record.gate == gate && record.verdict.kind == VerdictKind::Pass)
    }
}
