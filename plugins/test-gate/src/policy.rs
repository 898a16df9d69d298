//! What is asked of a test run.

use serde_json::{Value, json};

/// What is asked of a test run. Each validator fills it from its own parameters and defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How many tests must have run, over all machines' reports of one machine. 0 allows a run without tests.
    pub min_tests: u64,
    /// How many tests may fail or break.
    pub max_failed: u64,
    /// The largest share of tests that may be skipped, from 0 to 1; `None` sets no limit.
    pub max_skipped_ratio: Option<f64>,
    /// Whether tests may pass after having failed in the same run.
    pub allow_flaky: bool,
    /// Globs of the collected files that are reports, relative to a machine's evidence; empty means all files that look
    /// like one.
    pub report_files: Vec<String>,
}

impl Policy {
    /// Returns the policy as it was used, for the verdict.
    pub(crate) fn as_json(&self) -> Value {
        json!({
            "min_tests": self.min_tests,
            "max_failed": self.max_failed,
            "max_skipped_ratio": self.max_skipped_ratio,
            "allow_flaky": self.allow_flaky,
            "report_files": self.report_files,
        })
    }
}
