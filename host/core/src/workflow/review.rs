//! Who reviews a step and until when. How many approvals are enough is the validator's judgement; the deadline and what
//! happens at it are the state machine's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happens when nobody has decided by the deadline of a review.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnReviewTimeout {
    /// The gate stays closed: the step fails.
    #[default]
    Reject,
    /// The gate opens, with the timeout on record.
    Approve,
    /// It goes on waiting, without a deadline, and those who are named for this may review too.
    Escalate,
}

impl OnReviewTimeout {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            OnReviewTimeout::Reject => "reject",
            OnReviewTimeout::Approve => "approve",
            OnReviewTimeout::Escalate => "escalate",
        }
    }
}

/// The rules for reviews of a step's gates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewRules {
    /// How many different people must approve: handed to validators that have this parameter, unless the step sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<u32>,
    /// Who may review; empty means everybody but the performer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewers: Vec<String>,
    /// How long a gate waits for its reviews, in seconds; nothing means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
    /// What happens then.
    #[serde(default)]
    pub on_timeout: OnReviewTimeout,
    /// Who may review too once the deadline has passed, where it escalates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalate_to: Vec<String>,
}

impl ReviewRules {
    /// Returns how long a gate waits for its reviews.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline_s.map(Duration::from_secs)
    }

    /// Returns who may review; empty means everybody but the performer.
    pub fn allowed(&self, escalated: bool) -> Vec<&str> {
        let more: &[String] = if escalated { &self.escalate_to } else { &[] };
        if self.reviewers.is_empty() {
            return Vec::new();
        }
        self.reviewers.iter().chain(more).map(String::as_str).collect()
    }

    /// Returns whether somebody of this name may review. Names are compared without regard to case, as validators do.
    pub fn allows(&self, reviewer: &str, escalated: bool) -> bool {
        let allowed = self.allowed(escalated);
        let name = reviewer.trim().to_lowercase();
        allowed.is_empty() || allowed.iter().any(|one| one.trim().to_lowercase() == name)
    }
}
