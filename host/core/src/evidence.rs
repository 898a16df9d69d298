//! What a gate judges (evidence) and how it judges (verdict). Shapes follow the contract with validators.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::finding::Finding;
use crate::id::{Digest, ExecutionId, MachineId, StepId};
use crate::plugin::HostReason;
use crate::task::TaskOutcome;

/// A fact that the host fetched for a gate just before judging it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// The name that the step gave it.
    pub name: String,
    /// Its kind: `http`, `tcp`, `command`, `file`, `env`, `port`, `systemd`.
    pub kind: String,
    /// The machine on which it was taken.
    pub machine: MachineId,
    /// When.
    pub taken_at: Timestamp,
    /// Whether the probe got an answer at all; what the answer means is the validator's to judge.
    pub ok: bool,
    /// The answer, by kind.
    pub answer: Value,
}

/// What a reviewer decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReviewDecision {
    /// It is good.
    Approved,
    /// It is not good.
    Rejected,
    /// No opinion.
    Abstained,
}

/// One reviewer's word about one attempt of one gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Who.
    pub reviewer: String,
    /// What they decided.
    pub decision: ReviewDecision,
    /// Why; never empty for a rejection.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// Digest of what was reviewed; a review of something else does not count.
    pub subject_digest: Digest,
}

/// What somebody reports who did a step's work by hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkReport {
    /// Who did it.
    pub performer: String,
    /// Whether the work succeeded, in the performer's own words; the gates decide.
    pub succeeded: bool,
    /// What was done.
    pub summary: String,
    /// Values that later steps may use.
    pub outputs: Map<String, Value>,
    /// Files that the performer hands in: name and text.
    pub files: Vec<EvidenceFile>,
}

/// A file handed to a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceFile {
    /// Path relative to the machine's evidence folder, `/` separated.
    pub path: String,
    /// Its text; bytes that are not UTF-8 were replaced.
    pub text: String,
    /// Its whole size in bytes.
    pub total_bytes: u64,
    /// Whether `text` is only a part of it.
    pub truncated: bool,
}

/// Everything that a validator is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The step.
    pub step_id: StepId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// When this attempt began.
    pub started_at: Timestamp,
    /// Who did the work, where somebody did.
    pub performer: Option<String>,
    /// What the action left, one per machine.
    pub outcomes: Vec<(MachineId, TaskOutcome)>,
    /// Facts fetched for this gate.
    pub probes: Vec<ProbeAnswer>,
    /// What reviewers said of this attempt.
    pub reviews: Vec<Review>,
    /// Files by machine, which the validator reads under `evidence/<machine>/`.
    pub files: Vec<(MachineId, EvidenceFile)>,
    /// Digest of what is judged: bound to the attempt and its outcomes.
    pub subject_digest: Digest,
}

/// How a gate was judged. Closed by the contract with plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictKind {
    /// The evidence shows what it should.
    Pass,
    /// The evidence shows that it does not.
    Fail,
    /// The evidence does not show it either way.
    Inconclusive,
    /// A person has to decide.
    NeedsReview,
}

impl VerdictKind {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            VerdictKind::Pass => "pass",
            VerdictKind::Fail => "fail",
            VerdictKind::Inconclusive => "inconclusive",
            VerdictKind::NeedsReview => "needs-review",
        }
    }
}

/// One reason for a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable code, such as `no_tests_executed`.
    pub code: String,
    /// For people; written by a plugin, so untrusted.
    pub message: String,
    /// The file it is about.
    pub path: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
}

/// A validator's judgement of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How it judged.
    pub kind: VerdictKind,
    /// One line.
    pub summary: String,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Numbers that it counted.
    pub metrics: Value,
    /// What it found in the component.
    pub findings: Vec<Finding>,
    /// Set when it was the host that could not get a judgement out of the validator: then `kind` is `Inconclusive`.
    pub host_reason: Option<HostReason>,
}

impl Verdict {
    /// Builds the verdict for a validator that broke down: never a `fail`.
    pub fn broken_down(summary: String, host_reason: Option<HostReason>) -> Self {
        Verdict {
            kind: VerdictKind::Inconclusive,
            summary,
            reasons: Vec::new(),
            metrics: Value::Object(Map::new()),
            findings: Vec::new(),
            host_reason,
        }
    }
}
