//! An execution: one run of one revision, as rows (a head, its steps, their targets) and what can be asked of it.
//! How events change it stands in `transition.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::{Actor, GateKind, ParentStep};
use super::step_state::{Gate, GateTiming, StepPhase, StepState};
use super::target::TargetState;
use super::targets::Targets;
use super::template::Shown;
use super::{Action, Graph, WorkflowDefinition};
use crate::clock::Timestamp;
use crate::id::{ExecutionId, WorkflowId};
use crate::plugin::{Phase, PinnedPlugin};

/// Where an execution stands, in the guide's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutionStatus {
    /// Something runs or may run.
    Executing,
    /// Somebody paused it, or everything that is open waits for somebody.
    Paused,
    /// It ended well.
    Completed,
    /// It ended badly.
    Failed,
    /// It was asked to end.
    Cancelled,
}

impl ExecutionStatus {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            ExecutionStatus::Executing => "executing",
            ExecutionStatus::Paused => "paused",
            ExecutionStatus::Completed => "completed",
            ExecutionStatus::Failed => "failed",
            ExecutionStatus::Cancelled => "cancelled",
        }
    }

    /// Returns whether nothing will happen any more unless somebody asks for a retry.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            ExecutionStatus::Completed | ExecutionStatus::Failed | ExecutionStatus::Cancelled
        )
    }
}

/// Everything of an execution that is not about one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionHead {
    /// Its name.
    pub id: ExecutionId,
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The revision.
    pub revision: u32,
    /// The parameters, with defaults filled in.
    pub parameters: Map<String, Value>,
    /// Machines for steps that name none.
    pub target_machines: Vec<String>,
    /// The plugins it is pinned to.
    pub plugins: Vec<PinnedPlugin>,
    /// Who started it.
    pub started_by: Actor,
    /// The step that runs it as a child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentStep>,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How it ended; nothing while it has not.
    pub end: Option<ExecutionStatus>,
    /// Who paused it, and why.
    pub paused: Option<(Actor, String)>,
    /// When somebody asked for its end, who, and why.
    pub cancel: Option<(Timestamp, Actor, String)>,
    /// Whether a failed step keeps anything new from beginning.
    pub stopping: bool,
    /// How many events there are.
    pub events: u64,
}

/// Which rows events have changed since they were last written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Steps, by index.
    pub steps: BTreeSet<usize>,
    /// Targets, by step and position.
    pub targets: BTreeSet<(usize, usize)>,
    /// Steps whose targets began anew: rows of earlier attempts go away.
    pub new_targets: BTreeSet<usize>,
}

/// One run of one revision of a workflow. Cloning one is cheap: steps and targets are shared until they change.
#[derive(Debug, Clone)]
pub struct Execution {
    pub(super) definition: Arc<WorkflowDefinition>,
    pub(super) graph: Arc<Graph>,
    pub(super) head: ExecutionHead,
    /// Shared between snapshots: an event copies the one step that it changes.
    pub(super) steps: Vec<Arc<StepState>>,
    /// Steps that have begun and not ended.
    pub(super) open: BTreeSet<usize>,
    /// Steps that have not begun and wait for no dependency.
    pub(super) ready: BTreeSet<usize>,
    /// How many steps have ended.
    pub(super) ended: usize,
    pub(super) dirty: Dirty,
    /// The parameters as templates see them; they never change.
    pub(super) shown_parameters: Arc<Shown>,
}

impl PartialEq for Execution {
    /// Compares the rows; what is derived from them or only tracks writing does not count.
    fn eq(&self, other: &Self) -> bool {
        self.definition == other.definition && self.head == other.head && self.steps == other.steps
    }
}

impl Execution {
    /// Builds an execution from its stored rows. Steps without a row stand as they stood at the start.
    pub fn from_rows(
        definition: Arc<WorkflowDefinition>,
        graph: Arc<Graph>,
        head: ExecutionHead,
        steps: BTreeMap<usize, StepState>,
        targets: BTreeMap<usize, Vec<TargetState>>,
    ) -> Self {
        let mut rows: Vec<Arc<StepState>> = (0..definition.steps.len())
            .map(|index| Arc::new(StepState::new(graph.dependencies(index).len())))
            .collect();
        for (index, row) in steps {
            if let Some(place) = rows.get_mut(index) {
                *place = Arc::new(row);
            }
        }
        for (index, row) in targets {
            if let Some(place) = rows.get_mut(index) {
                Arc::make_mut(place).targets = Targets::of_rows(row);
            }
        }
        let mut execution = Execution {
            definition,
            graph,
            head,
            steps: rows,
            open: BTreeSet::new(),
            ready: BTreeSet::new(),
            ended: 0,
            dirty: Dirty::default(),
            shown_parameters: Arc::default(),
        };
        execution.derive();
        execution
    }

    /// Derives what is not stored: open and ready steps, and how many ended.
    pub(super) fn derive(&mut self) {
        self.open.clear();
        self.ready.clear();
        self.ended = 0;
        for (index, step) in self.steps.iter().enumerate() {
            if step.is_final() {
                self.ended += 1;
            } else if step.phase != StepPhase::Waiting {
                self.open.insert(index);
            } else if step.dependencies_left == 0 {
                self.ready.insert(index);
            }
        }
    }

    /// Returns the definition that it is pinned to.
    pub fn definition(&self) -> &Arc<WorkflowDefinition> {
        &self.definition
    }

    /// Returns the graph of its steps.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Returns everything that is not about one step.
    pub fn head(&self) -> &ExecutionHead {
        &self.head
    }

    /// Returns its name.
    pub fn id(&self) -> &ExecutionId {
        &self.head.id
    }

    /// Returns the steps, in the order of the definition.
    pub fn steps(&self) -> &[Arc<StepState>] {
        &self.steps
    }

    /// Returns one step.
    pub fn step(&self, index: usize) -> &StepState {
        &self.steps[index]
    }

    /// Returns the indexes of steps that have begun and not ended.
    pub fn open_steps(&self) -> impl Iterator<Item = usize> + '_ {
        self.open.iter().copied()
    }

    /// Returns whether some step could begin and has not.
    pub fn has_ready_steps(&self) -> bool {
        !self.ready.is_empty() && !self.head.stopping
    }

    /// Returns how many steps have ended, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        (self.ended, self.steps.len())
    }

    /// Returns where it stands.
    pub fn status(&self) -> ExecutionStatus {
        if let Some(end) = self.head.end {
            return end;
        }
        let cancelling = self.head.cancel.is_some();
        let somebody = !self.open.is_empty()
            && self.open.iter().all(|step| self.steps[*step].waiting_for().is_some())
            && (self.ready.is_empty() || self.head.stopping);
        if !cancelling && (self.head.paused.is_some() || somebody) {
            ExecutionStatus::Paused
        } else {
            ExecutionStatus::Executing
        }
    }

    /// Returns the rows that changed since the last call, and forgets them.
    pub fn take_dirty(&mut self) -> Dirty {
        std::mem::take(&mut self.dirty)
    }

    /// Returns the pinned validator of a gate.
    pub fn validator(&self, step: usize, gate: GateKind) -> Option<&PinnedPlugin> {
        let definition = &self.definition.steps[step];
        let name = match gate {
            GateKind::Enforcement => definition.enforcement.as_ref(),
            GateKind::Validation => definition.validation.as_ref(),
        }?;
        self.head.plugins.iter().find(|plugin| plugin.name == *name)
    }

    /// Returns the gates of a step that are judged at this time, in order.
    ///
    /// An enforcement gate is judged once: before the action when its validator can judge there, otherwise after.
    pub fn gates(&self, step: usize, timing: GateTiming) -> Vec<Gate> {
        let definition = &self.definition.steps[step];
        let mut gates = Vec::new();
        if definition.enforcement.is_some() {
            let before = self
                .validator(step, GateKind::Enforcement)
                .is_some_and(|validator| validator.phases.contains(&Phase::Before));
            if before == (timing == GateTiming::Before) {
                gates.push(Gate { kind: GateKind::Enforcement, timing });
            }
        }
        if timing == GateTiming::After && definition.validation.is_some() {
            gates.push(Gate { kind: GateKind::Validation, timing });
        }
        gates
    }

    /// Returns the index of a step by its id.
    pub fn step_index(&self, id: &str) -> Option<usize> {
        self.graph.index(id)
    }

    /// Returns the steps that failed and whose failure matters to the execution.
    pub fn failed_steps(&self) -> impl Iterator<Item = usize> + '_ {
        self.steps.iter().enumerate().filter_map(|(index, step)| {
            let tolerated = self.definition.steps[index].on_failure == super::OnFailure::Continue;
            (step.phase == StepPhase::Failed && !tolerated).then_some(index)
        })
    }

    /// Returns when it should have ended by the estimates of its steps: the longest way through what is left.
    ///
    /// Nothing when it has ended or when no step that is left has an estimate.
    pub fn estimated_completion(&self, now: Timestamp) -> Option<Timestamp> {
        if self.head.end.is_some() {
            return None;
        }
        let order = self.graph.order().ok()?;
        let mut known = false;
        let mut longest = Duration::ZERO;
        let mut ends = vec![Duration::ZERO; self.steps.len()];
        for index in order {
            let step = &self.steps[index];
            let begins = self
                .graph
                .dependencies(index)
                .iter()
                .map(|dependency| ends[*dependency])
                .max()
                .unwrap_or_default();
            let mut takes = Duration::ZERO;
            if !step.is_final()
                && let Some(minutes) = self.definition.steps[index].estimated_duration
            {
                known = true;
                takes = Duration::from_secs(u64::from(minutes) * 60);
                if let Some(started) = step.attempt_started_at {
                    takes = takes.saturating_sub(now.since(started));
                }
            }
            ends[index] = begins + takes;
            longest = longest.max(ends[index]);
        }
        known.then(|| now.plus(longest))
    }

    /// Returns when a step has taken longer than it may over all its attempts; nothing when it has no such limit.
    pub fn expires_at(&self, step: usize) -> Option<Timestamp> {
        let limit = Duration::from_secs(self.definition.steps[step].total_timeout_s?);
        let state = &self.steps[step];
        Some(state.counting_since.or(state.started_at)?.plus(limit))
    }

    /// Returns until when a gate of a step waits for reviews; nothing when it waits for none, or for ever.
    pub fn review_until(&self, step: usize) -> Option<Timestamp> {
        let limit = self.definition.steps[step].review.as_ref()?.deadline()?;
        let state = &self.steps[step];
        let waits = matches!(state.phase, StepPhase::AwaitingReview { .. }) && !state.escalated;
        waits.then(|| state.review_since.map(|since| since.plus(limit))).flatten()
    }

    /// Returns whether the work of a step finds itself again when it is handed out twice: a child execution does.
    pub fn runs_child(&self, step: usize) -> bool {
        matches!(self.definition.steps[step].action, Action::Workflow { .. })
    }

    /// Returns the gate that a review of a step counts for: the one that waits for reviews, or that asked for them and is
    /// being judged with those that came. Whoever reviews second must not have to wait for the judgement of the first.
    pub fn reviewed_gate(&self, step: usize) -> Option<Gate> {
        let state = &self.steps[step];
        match state.phase {
            StepPhase::AwaitingReview { gate } => Some(gate),
            StepPhase::Judging { gate } if state.review_since.is_some() => Some(gate),
            _ => None,
        }
    }

    /// Returns whether a judgement saw every review that there is; one that did not is made again.
    pub fn saw_every_review(&self, step: usize, reviews: usize) -> bool {
        self.steps.get(step).is_some_and(|state| state.reviews_given == reviews)
    }

    /// Returns whether a step is performed for each item of a list.
    pub(super) fn is_map(&self, step: usize) -> bool {
        self.definition.steps[step].map.is_some()
    }

    /// Returns whether the action of a step is somebody's work.
    pub(super) fn is_manual(&self, step: usize) -> bool {
        matches!(self.definition.steps[step].action, Action::Manual { .. })
    }
}
