//! What can happen to an execution. Events are stored for ever, so this is a stored contract: variants and optional
//! fields are added, never changed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::OnReviewTimeout;
use super::step_state::Gate;
use crate::clock::Timestamp;
use crate::evidence::{ProbeAnswer, Review, Verdict, WorkReport};
use crate::id::{Digest, ExecutionId, MachineId, StepId, WorkflowId};
use crate::plugin::PinnedPlugin;
use crate::task::{FailureClass, OutcomeStatus, TaskOutcome};

/// Who caused something: a person, an agent or a program, by the name it gave.
pub type Actor = String;

/// A stored fact: what happened, when, and as which of the execution's events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the execution's events, from 0, without gaps.
    pub seq: u64,
    /// When the server recorded it. Never used for order.
    pub at: Timestamp,
    /// What happened.
    pub body: EventBody,
}

/// The first event of every execution: everything that it is pinned to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The revision.
    pub revision: u32,
    /// The parameters, with defaults filled in.
    pub parameters: Map<String, Value>,
    /// Machines for steps that name none.
    pub target_machines: Vec<String>,
    /// The plugins that its steps name, as they were.
    pub plugins: Vec<PinnedPlugin>,
    /// Who started it.
    pub by: Actor,
    /// The step that runs it as a child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentStep>,
}

/// The step that started an execution as its child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentStep {
    /// Its execution.
    pub execution: ExecutionId,
    /// The step.
    pub step: StepId,
    /// The attempt: the item's own where the step is a map.
    pub attempt: u32,
    /// The item that it is for, where the step is a map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// How many executions stand above the child: 1 for the child of one that nobody started this way.
    pub depth: u32,
}

/// Which gate of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateKind {
    /// The gate that enforces how the work is done.
    Enforcement,
    /// The gate that validates what the work left.
    Validation,
}

impl GateKind {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            GateKind::Enforcement => "enforcement",
            GateKind::Validation => "validation",
        }
    }
}

/// One judgement of one gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateRecord {
    /// Which gate.
    pub gate: Gate,
    /// The validator, as it was.
    pub validator: PinnedPlugin,
    /// How it judged.
    pub verdict: Verdict,
    /// Digest of what it judged.
    pub subject_digest: Digest,
    /// The facts that were fetched for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeAnswer>,
    /// How long judging took, in microseconds.
    pub duration_us: u64,
}

/// Why a step was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum SkipReason {
    /// Its condition was false.
    Condition {
        /// The condition.
        when: String,
    },
    /// A step that it depends on failed or was skipped for that reason.
    Dependency {
        /// That step.
        step: StepId,
    },
}

/// What a step failed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// Its action.
    Action,
    /// Its enforcement gate.
    Enforcement,
    /// Its validation gate.
    Validation,
    /// Its own definition: a condition or template that does not work, an unknown machine.
    Definition,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailure {
    /// What it failed by.
    pub cause: FailureCause,
    /// What kind of failure; the retry policy names the kinds that it repeats.
    pub class: FailureClass,
    /// Stable code, such as `exit_code` or `gate_failed`.
    pub code: String,
    /// For people.
    pub message: String,
    /// What would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The machine, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineId>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum EventBody {
    /// The execution exists.
    Started(Started),
    /// An attempt of a step began.
    StepStarted {
        /// The step.
        step: StepId,
        /// The attempt, from 1.
        attempt: u32,
        /// Where its action will run, in order; empty for a manual action.
        machines: Vec<MachineId>,
        /// The list that it goes over, where the step is a map; nothing where the list of the attempt before stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        items: Option<Vec<Value>>,
        /// Whether items that ended well in the attempt before keep their end, and only the others run again.
        #[serde(default, skip_serializing_if = "is_no")]
        resumes: bool,
    },
    /// Work was handed to a machine: from here on it may have had an effect.
    TargetStarted {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The machine.
        machine: MachineId,
        /// The item, where the step is a map.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<u32>,
        /// Which delivery, from 1 in each attempt.
        epoch: u32,
    },
    /// A machine reported how its work ended.
    TargetFinished {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The machine.
        machine: MachineId,
        /// The item, where the step is a map.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<u32>,
        /// Which delivery.
        epoch: u32,
        /// How it ended.
        outcome: Box<TaskOutcome>,
        /// When the item may be handed out again; nothing when this is its end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
    },
    /// Nobody will report how this delivery ended.
    TargetLost {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The machine.
        machine: MachineId,
        /// The item, where the step is a map.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<u32>,
        /// Which delivery.
        epoch: u32,
        /// Why: `server_restart`, `machine_lost`, `cancel_timeout`.
        reason: String,
    },
    /// Machines that will not get the work of this attempt any more.
    TargetsGivenUp {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The machines.
        machines: Vec<MachineId>,
        /// The item on each of them, where the step is a map.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        items: Vec<u32>,
    },
    /// Somebody asked for the end of a step's work on one machine; the other machines go on.
    TargetCancelRequested {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The machine.
        machine: MachineId,
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// A report that came too late, twice, or for another delivery. It changes nothing.
    LateReport {
        /// The step.
        step: StepId,
        /// The attempt that it is about.
        attempt: u32,
        /// The machine.
        machine: MachineId,
        /// The item, where the step is a map.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<u32>,
        /// The delivery that it is about.
        epoch: u32,
        /// How it says that it ended.
        status: OutcomeStatus,
    },
    /// Somebody reported work done by hand.
    WorkReported {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The report.
        report: Box<WorkReport>,
    },
    /// A gate was judged.
    GateJudged {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The judgement.
        record: Box<GateRecord>,
    },
    /// Somebody reviewed a gate.
    ReviewGiven {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The gate.
        gate: Gate,
        /// The review.
        review: Review,
    },
    /// Nobody decided about a gate by its deadline.
    ReviewTimedOut {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The gate.
        gate: Gate,
        /// What that means.
        action: OnReviewTimeout,
    },
    /// A step took longer than it may over all its attempts: what runs is ended, and then it fails.
    StepTimedOut {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// How long it may take, in seconds.
        timeout_s: u64,
    },
    /// Somebody said what became of work whose outcome is unknown.
    DecisionGiven {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The machine.
        machine: MachineId,
        /// The item, where the step is a map.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<u32>,
        /// Whether the work was done; nothing means: run it again.
        succeeded: Option<bool>,
        /// Who said so.
        by: Actor,
        /// How they know.
        reason: String,
    },
    /// A step ended well: its gates are passed.
    StepCompleted {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// Values for later steps.
        outputs: Map<String, Value>,
    },
    /// A step ended badly.
    StepFailed {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// Why.
        failure: StepFailure,
    },
    /// An attempt ended badly and another will be made.
    RetryScheduled {
        /// The step.
        step: StepId,
        /// The attempt to come.
        attempt: u32,
        /// When it may begin.
        not_before: Timestamp,
        /// Why the last one failed.
        failure: StepFailure,
    },
    /// A step will not run.
    StepSkipped {
        /// The step.
        step: StepId,
        /// Why.
        reason: SkipReason,
    },
    /// Somebody paused the execution: nothing new begins, nothing that runs is touched.
    Paused {
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// Somebody let it go on.
    Resumed {
        /// Who.
        by: Actor,
    },
    /// Somebody asked it to end.
    CancelRequested {
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// Somebody asked for its failed steps to run again.
    RetryRequested {
        /// Who.
        by: Actor,
        /// The steps that begin anew.
        steps: Vec<StepId>,
    },
    /// Every step has ended and none that matters failed.
    Completed,
    /// A step failed and nothing is running any more.
    Failed {
        /// The steps that failed.
        steps: Vec<StepId>,
    },
    /// It was asked to end and nothing is running any more.
    Cancelled,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_no(value: &bool) -> bool {
    !*value
}

impl EventBody {
    /// Returns the step that the event is about.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            EventBody::StepStarted { step, .. }
            | EventBody::TargetStarted { step, .. }
            | EventBody::TargetFinished { step, .. }
            | EventBody::TargetLost { step, .. }
            | EventBody::TargetsGivenUp { step, .. }
            | EventBody::TargetCancelRequested { step, .. }
            | EventBody::LateReport { step, .. }
            | EventBody::WorkReported { step, .. }
            | EventBody::GateJudged { step, .. }
            | EventBody::ReviewGiven { step, .. }
            | EventBody::ReviewTimedOut { step, .. }
            | EventBody::StepTimedOut { step, .. }
            | EventBody::DecisionGiven { step, .. }
            | EventBody::StepCompleted { step, .. }
            | EventBody::StepFailed { step, .. }
            | EventBody::RetryScheduled { step, .. }
            | EventBody::StepSkipped { step, .. } => Some(step),
            EventBody::Started(_)
            | EventBody::Paused { .. }
            | EventBody::Resumed { .. }
            | EventBody::CancelRequested { .. }
            | EventBody::RetryRequested { .. }
            | EventBody::Completed
            | EventBody::Failed { .. }
            | EventBody::Cancelled => None,
        }
    }

    /// Returns the stable name of this kind of event.
    pub fn kind(&self) -> &'static str {
        match self {
            EventBody::Started(_) => "started",
            EventBody::StepStarted { .. } => "step_started",
            EventBody::TargetStarted { .. } => "target_started",
            EventBody::TargetFinished { .. } => "target_finished",
            EventBody::TargetLost { .. } => "target_lost",
            EventBody::TargetsGivenUp { .. } => "targets_given_up",
            EventBody::TargetCancelRequested { .. } => "target_cancel_requested",
            EventBody::LateReport { .. } => "late_report",
            EventBody::WorkReported { .. } => "work_reported",
            EventBody::GateJudged { .. } => "gate_judged",
            EventBody::ReviewGiven { .. } => "review_given",
            EventBody::ReviewTimedOut { .. } => "review_timed_out",
            EventBody::StepTimedOut { .. } => "step_timed_out",
            EventBody::DecisionGiven { .. } => "decision_given",
            EventBody::StepCompleted { .. } => "step_completed",
            EventBody::StepFailed { .. } => "step_failed",
            EventBody::RetryScheduled { .. } => "retry_scheduled",
            EventBody::StepSkipped { .. } => "step_skipped",
            EventBody::Paused { .. } => "paused",
            EventBody::Resumed { .. } => "resumed",
            EventBody::CancelRequested { .. } => "cancel_requested",
            EventBody::RetryRequested { .. } => "retry_requested",
            EventBody::Completed => "completed",
            EventBody::Failed { .. } => "failed",
            EventBody::Cancelled => "cancelled",
        }
    }
}
