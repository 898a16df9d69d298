//! One target of a step: a machine, or one item of a map on a machine.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::id::MachineId;
use crate::task::{TargetView, TaskOutcome};

/// Where one target of a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetPhase {
    /// Not handed out.
    Waiting,
    /// Handed out, no report yet.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Will not be handed out.
    GivenUp,
    /// Handed out, and nobody will report: somebody has to say what became of it.
    Unknown,
    /// Ended because the execution was cancelled.
    Cancelled,
}

/// The item of a map that a target is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its position in the list, from 0.
    pub index: u32,
    /// Its value.
    pub value: Value,
}

/// One target of a step: a machine that its action runs on, for one item where the step is a map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetState {
    /// The machine.
    pub machine: MachineId,
    /// The item, where the step is a map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Box<Item>>,
    /// Where it stands.
    pub phase: TargetPhase,
    /// The latest delivery, from 1; 0 when there was none.
    pub epoch: u32,
    /// How often nobody reported, in this attempt.
    pub losses: u32,
    /// How often it was begun anew before: items have attempts of their own, see [`TargetState::attempt`].
    #[serde(default, skip_serializing_if = "is_none")]
    pub begun_anew: u32,
    /// How many of these were retries that the policy counts, in this attempt of the step.
    #[serde(default, skip_serializing_if = "is_none")]
    pub retries: u32,
    /// When it may be handed out again after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// When the latest delivery was handed out.
    pub started_at: Option<Timestamp>,
    /// How it ended; while it waits for another attempt, how the last one did.
    pub outcome: Option<Box<TaskOutcome>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

impl TargetState {
    pub(super) fn new(machine: MachineId, item: Option<Box<Item>>) -> Self {
        TargetState {
            machine,
            item,
            phase: TargetPhase::Waiting,
            epoch: 0,
            losses: 0,
            begun_anew: 0,
            retries: 0,
            not_before: None,
            started_at: None,
            outcome: None,
        }
    }

    /// Builds the target that takes up an item again: it goes on counting deliveries and attempts.
    pub(super) fn anew(&self) -> Self {
        TargetState {
            epoch: self.epoch,
            begun_anew: self.begun_anew + u32::from(self.epoch > 0),
            ..TargetState::new(self.machine.clone(), self.item.clone())
        }
    }

    /// Returns the position of its item; nothing when the step is no map.
    pub fn item_index(&self) -> Option<u32> {
        self.item.as_ref().map(|item| item.index)
    }

    /// Returns which attempt this is, from 1: its own where it is for an item, otherwise the step's.
    pub fn attempt(&self, of_step: u32) -> u32 {
        if self.item.is_some() { self.begun_anew + 1 } else { of_step }
    }

    /// Returns whether it waits for its next attempt.
    pub fn rests(&self) -> bool {
        self.phase == TargetPhase::Waiting && self.not_before.is_some()
    }

    pub(super) fn view(&self) -> TargetView {
        match self.phase {
            TargetPhase::Waiting if self.not_before.is_some() => TargetView::Resting,
            TargetPhase::Waiting => TargetView::Waiting,
            TargetPhase::Running | TargetPhase::Unknown => TargetView::Running,
            TargetPhase::Succeeded => TargetView::Succeeded,
            TargetPhase::Failed | TargetPhase::Cancelled => TargetView::Failed,
            TargetPhase::GivenUp => TargetView::GivenUp,
        }
    }

    /// Returns how it is named in messages: the machine, and the item where there is one.
    pub fn name(&self) -> String {
        match &self.item {
            None => self.machine.to_string(),
            Some(item) => format!("item {} on {}", item.index, self.machine),
        }
    }
}
