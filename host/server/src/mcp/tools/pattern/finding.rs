//! What patterns find, as answers show it.

use caelum_core::finding::Finding;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many findings of one kind an answer shows.
pub(super) const FINDINGS_MAX: usize = 50;

/// One thing that a pattern found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingView {
    /// The rule, such as `HC02`.
    pub rule: String,
    /// `blocking`, `warning` or `advice`.
    pub severity: String,
    /// What is wrong; written by a plugin.
    pub message: String,
    /// `path:line`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<String>,
    /// Stable across line shifts.
    pub fingerprint: String,
}

impl FindingView {
    pub(super) fn of(finding: &Finding) -> Self {
        Self {
            rule: finding.rule.clone(),
            severity: finding.severity.as_str().to_owned(),
            message: finding.message.clone(),
            place: finding.place(),
            remediation: finding.remediation.clone(),
            fingerprint: finding.fingerprint.clone(),
        }
    }

    /// Returns the finding in one line.
    pub fn line(&self) -> String {
        let place = self.place.as_ref().map_or_else(String::new, |place| format!("{place}: "));
        format!("{} {} {place}{}", self.severity, self.rule, self.message)
    }
}

/// Shows the most severe findings first, as many as fit.
pub(super) fn findings(all: &[Finding]) -> Vec<FindingView> {
    let mut sorted: Vec<&Finding> = all.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    sorted.into_iter().take(FINDINGS_MAX).map(FindingView::of).collect()
}
