//! The validator `code-review`: somebody else has approved the code as it is now, and no analysis speaks against it.
//!
//! It reads the reviews that the server recorded and, among the collected files, what code hosts and tools write:
//! GitHub's pull request and review documents, SARIF, and unified diffs.

mod analysis;
mod diff;
mod github;
mod verdict;

use caelum_sdk::{About, Evidence, PluginError, Target, Validator, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Judges reviews of code.
#[derive(Debug)]
pub struct CodeReview;

/// The weight from which on a result of an analysis fails the gate.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every result.
    Note,
    /// Warnings and errors.
    Warning,
    /// Errors.
    Error,
    /// No result fails the gate.
    Never,
}

/// What is asked of the code and its reviews.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// How many different people must approve. 0 leaves the decision to the analyses and the diff that were handed in.
    #[schemars(range(max = 100))]
    pub approvals: u32,
    /// Who may review. Empty means everybody but the author.
    pub reviewers: Vec<String>,
    /// Whether approvals by bots count.
    pub allow_bots: bool,
    /// The commit under review, as 40 or 64 hexadecimal digits. Without it, the head of the collected pull request
    /// document counts. Approvals of any other commit do not.
    pub head_commit: Option<String>,
    /// The weight from which on a SARIF result fails the gate.
    pub fail_on: Level,
    /// How many lines a collected diff may add and remove together. Without it there is no limit.
    pub max_changed_lines: Option<u64>,
}

impl Default for Parameters {
    fn default() -> Self {
        Parameters {
            approvals: 1,
            reviewers: Vec::new(),
            allow_bots: false,
            head_commit: None,
            fail_on: Level::Error,
            max_changed_lines: None,
        }
    }
}

impl Validator for CodeReview {
    type Parameters = Parameters;

    const ABOUT: About = caelum_sdk::about!(
        "code-review",
        "Code review",
        "Passes when somebody other than the author has approved the code as it is now; until then the step waits for \
         review_step. Reads recorded reviews and, among collected files, GitHub pull request and review JSON, SARIF \
         and unified diffs: approvals of older commits, of the author and of bots do not count, and an analysis that \
         did not run to its end never passes.",
    );

    const EVIDENCE_FORMATS: &'static [&'static str] =
        &["review", "github-pull-request-json", "github-reviews-json", "sarif", "unified-diff"];

    fn judge(
        evidence: &Evidence,
        target: &dyn Target,
        parameters: &Parameters,
    ) -> Result<Verdict, PluginError> {
        check(parameters)?;
        verdict::judge(evidence, target, parameters)
    }
}

fn check(parameters: &Parameters) -> Result<(), PluginError> {
    let Some(commit) = &parameters.head_commit else { return Ok(()) };
    let digits = commit.chars().all(|letter| letter.is_ascii_hexdigit());
    if digits && matches!(commit.len(), 40 | 64) {
        return Ok(());
    }
    let message = format!("expected 40 or 64 hexadecimal digits, found `{commit}`");
    Err(PluginError::invalid_parameter("/head_commit", message))
}

caelum_sdk::export_validator!(CodeReview);
