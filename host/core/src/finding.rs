//! What a plugin has to say about a component: findings with a place, a weight and a remedy.

use serde::{Deserialize, Serialize};

/// How much a finding weighs. Closed by the contract with plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Advice,
    /// Should be mended.
    Warning,
    /// Must be mended: a blocking finding keeps the component below the bar.
    Blocking,
}

impl Severity {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Advice => "advice",
            Severity::Warning => "warning",
            Severity::Blocking => "blocking",
        }
    }
}

/// A place in a component. Lines and columns are 1-based; no line means the whole file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    /// Path relative to the component, `/` separated.
    pub path: String,
    /// First line.
    pub line: Option<u32>,
    /// First column, in bytes of the line.
    pub column: Option<u32>,
    /// Last line.
    pub end_line: Option<u32>,
    /// Last column.
    pub end_column: Option<u32>,
}

/// One thing that a plugin found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable rule id, such as `HC02`.
    pub rule: String,
    /// How much it weighs.
    pub severity: Severity,
    /// What is wrong, for people. Written by a plugin, so untrusted: already stripped of control characters.
    pub message: String,
    /// Where.
    pub location: Option<Location>,
    /// What to do about it.
    pub remediation: Option<String>,
    /// Stable across line shifts: rule, normalised content and occurrence.
    pub fingerprint: String,
    /// Named JSON documents that later versions of the contract may add.
    pub extensions: Vec<(String, String)>,
}

impl Finding {
    /// Returns `path:line` or `path`, or nothing when the finding is about the whole component.
    pub fn place(&self) -> Option<String> {
        let location = self.location.as_ref()?;
        Some(match location.line {
            Some(line) => format!("{}:{line}", location.path),
            None => location.path.clone(),
        })
    }
}
