//! What a plugin says about itself, and the ways in which a call of one may end.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::finding::Severity;
use crate::id::{Digest, PluginName};

/// What a plugin holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// Inspects a component and proposes a plan.
    Pattern,
    /// Judges the evidence of a step.
    Validator,
}

impl fmt::Display for PluginKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            PluginKind::Pattern => "pattern",
            PluginKind::Validator => "validator",
        })
    }
}

/// When a validator can judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before the action runs, from probes and parameters.
    Before,
    /// After the action, from what it left.
    After,
}

/// One rule that a pattern checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Stable id, such as `HC02`.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// What a finding of this rule weighs by default.
    pub severity: Severity,
    /// Whether a plan can answer it with an edit.
    pub fixable: bool,
    /// What to do about it in general.
    pub remediation: Option<String>,
}

/// What a plugin says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The name it goes by.
    pub name: PluginName,
    /// Semantic version.
    pub version: String,
    /// A few words.
    pub title: String,
    /// One paragraph.
    pub summary: String,
    /// JSON Schema 2020-12 of its parameters; always an object.
    pub parameters_schema: Value,
    /// Rules (patterns only).
    pub rules: Vec<Rule>,
    /// Globs of files that make a component worth looking at (patterns only).
    pub applies_to: Vec<String>,
    /// When it can judge (validators only).
    pub phases: Vec<Phase>,
    /// Formats of evidence that it reads, such as `junit-xml` (validators only).
    pub evidence_formats: Vec<String>,
    /// Its licence: an SPDX expression.
    pub licence: Option<String>,
    /// Where more is told of it: a URL.
    pub homepage: Option<String>,
    /// Who made it.
    pub authors: Vec<String>,
}

/// The plugin that an execution or an application is pinned to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PinnedPlugin {
    /// The name it goes by.
    pub name: PluginName,
    /// What it holds.
    pub kind: PluginKind,
    /// Semantic version.
    pub version: String,
    /// SHA-256 of the component's bytes.
    pub digest: Digest,
    /// When it can judge (validators only).
    pub phases: Vec<Phase>,
}

/// One problem with the parameters that a plugin was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterProblem {
    /// JSON pointer to the value, empty for the whole document.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Why a plugin did not answer. Never a negative answer: that is a verdict or an assessment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginFailure {
    /// The caller's parameters are wrong.
    InvalidParameters(Vec<ParameterProblem>),
    /// The plugin says that it has nothing to say about this component or evidence.
    NotApplicable(String),
    /// The plugin's own fault, as told by itself.
    Own(String),
    /// The host ended the call: the reason is the host's.
    Host(HostReason),
}

/// Why the host ended a call of a plugin. Kept apart from everything that a plugin can say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum HostReason {
    /// It ran longer than it may.
    Timeout {
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// It asked for more memory than it may have.
    OutOfMemory {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// It trapped: unreachable code, stack exhausted, division by zero.
    Trap {
        /// What the engine said, without host paths.
        message: String,
    },
    /// Its answer, or what it passed to a host function, was larger than it may be.
    OutputTooLarge {
        /// The limit and what went over it.
        message: String,
    },
    /// It broke the contract: an answer that does not parse, a name that is not its own.
    Contract {
        /// What was expected and what came.
        message: String,
    },
    /// Too many calls wait already.
    Busy {
        /// How many calls wait.
        waiting: u64,
    },
    /// It failed too often and is kept out for a while.
    Quarantined {
        /// How long, in seconds.
        retry_after_s: u64,
    },
    /// The call was cancelled by its caller.
    Cancelled,
    /// The host itself failed (a bug or a full disk): the log has the cause.
    Internal {
        /// What may be told.
        message: String,
    },
}

impl fmt::Display for HostReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostReason::Timeout { limit_ms } => {
                write!(formatter, "ran longer than its limit of {limit_ms} ms")
            }
            HostReason::OutOfMemory { limit_bytes } => write!(
                formatter,
                "needs more memory than its limit of {} MiB",
                limit_bytes / (1024 * 1024)
            ),
            HostReason::Trap { message } => write!(formatter, "trapped: {message}"),
            HostReason::OutputTooLarge { message } | HostReason::Contract { message } => {
                formatter.write_str(message)
            }
            HostReason::Busy { waiting } => {
                write!(formatter, "is busy: {waiting} calls wait already")
            }
            HostReason::Quarantined { retry_after_s } => {
                write!(formatter, "failed too often and is kept out for {retry_after_s} s")
            }
            HostReason::Cancelled => formatter.write_str("was cancelled"),
            HostReason::Internal { message } => write!(formatter, "host failure: {message}"),
        }
    }
}

impl fmt::Display for PluginFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PluginFailure::InvalidParameters(problems) => {
                formatter.write_str("the parameters are wrong:")?;
                for problem in problems {
                    let pointer = if problem.pointer.is_empty() { "/" } else { &problem.pointer };
                    write!(formatter, " {pointer}: {};", problem.message)?;
                }
                Ok(())
            }
            PluginFailure::NotApplicable(message) => write!(formatter, "not applicable: {message}"),
            PluginFailure::Own(message) => formatter.write_str(message),
            PluginFailure::Host(reason) => reason.fmt(formatter),
        }
    }
}
