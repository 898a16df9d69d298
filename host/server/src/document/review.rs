//! The rules for reviews of a step, as documents say them.

use caelum_core::workflow::{OnReviewTimeout, ReviewRules};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens when nobody has decided by the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnReviewTimeoutWord {
    /// The step fails.
    Reject,
    /// The gate opens, with the timeout on record.
    Approve,
    /// It goes on waiting, without a deadline, and those in `escalate_to` may review too.
    Escalate,
}

/// Who reviews the gates of a step, and until when.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"approvals": 2, "reviewers": ["ann", "bob", "cid"], "deadline_s": 86400, "on_timeout": "escalate", "escalate_to": ["lead"]}))]
pub struct ReviewDocument {
    /// How many different people must approve; handed to validators that have this parameter, such as `manual-review`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub approvals: Option<u32>,
    /// Who may review; everybody but the one who did the work when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewers: Vec<String>,
    /// How long a gate waits for its reviews, in seconds; for ever when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_622_400))]
    pub deadline_s: Option<u64>,
    /// What happens then; `reject` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<OnReviewTimeoutWord>,
    /// Who may review too once the deadline has passed, with `on_timeout: escalate`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalate_to: Vec<String>,
}

impl ReviewDocument {
    pub(super) fn of(rules: &ReviewRules) -> Self {
        Self {
            approvals: rules.approvals,
            reviewers: rules.reviewers.clone(),
            deadline_s: rules.deadline_s,
            on_timeout: match rules.on_timeout {
                OnReviewTimeout::Reject => None,
                OnReviewTimeout::Approve => Some(OnReviewTimeoutWord::Approve),
                OnReviewTimeout::Escalate => Some(OnReviewTimeoutWord::Escalate),
            },
            escalate_to: rules.escalate_to.clone(),
        }
    }

    pub(super) fn to_rules(&self) -> ReviewRules {
        ReviewRules {
            approvals: self.approvals,
            reviewers: self.reviewers.clone(),
            deadline_s: self.deadline_s,
            on_timeout: match self.on_timeout {
                None | Some(OnReviewTimeoutWord::Reject) => OnReviewTimeout::Reject,
                Some(OnReviewTimeoutWord::Approve) => OnReviewTimeout::Approve,
                Some(OnReviewTimeoutWord::Escalate) => OnReviewTimeout::Escalate,
            },
            escalate_to: self.escalate_to.clone(),
        }
    }
}
