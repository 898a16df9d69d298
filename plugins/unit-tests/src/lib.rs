//! The validator `unit-tests`: the step's tests ran, and none failed. The engine is `caelum-plugin-test-gate`; here
//! are its parameters and defaults for unit tests.

use caelum_plugin_test_gate::{EVIDENCE_FORMATS, Policy, judge};
use caelum_sdk::{About, Evidence, PluginError, Target, Validator, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Judges the evidence of unit tests.
#[derive(Debug)]
pub struct UnitTests;

/// What is asked of the tests.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// How many tests must have been executed on each machine; skipped ones do not count. 0 allows a run without tests.
    pub min_tests: u64,
    /// How many tests may fail or break.
    pub max_failed: u64,
    /// The largest share of tests that may be skipped, from 0 to 1. Without it there is no limit.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_skipped_ratio: Option<f64>,
    /// Whether a test may pass after it failed in the same run. Flaky tests are reported either way.
    pub allow_flaky: bool,
    /// Globs of the collected files that are reports, for example `build/test-results/**/*.xml`. Empty means every
    /// collected file that looks like one.
    pub report_files: Vec<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Parameters {
            min_tests: 1,
            max_failed: 0,
            max_skipped_ratio: None,
            allow_flaky: true,
            report_files: Vec::new(),
        }
    }
}

impl Validator for UnitTests {
    type Parameters = Parameters;

    const ABOUT: About = caelum_sdk::about!(
        "unit-tests",
        "Unit tests",
        "Passes when the step's tests were executed and none failed. Reads JUnit XML, cargo test, go test -json, \
         libtest JSON, TAP, pytest and unittest, from collected files or from what was printed, and counts by itself: \
         a run without tests, an unfinished report or an exit code that disagrees with the report never passes.",
    );

    const EVIDENCE_FORMATS: &'static [&'static str] = EVIDENCE_FORMATS;

    fn judge(
        evidence: &Evidence,
        target: &dyn Target,
        parameters: &Parameters,
    ) -> Result<Verdict, PluginError> {
        let policy = Policy {
            min_tests: parameters.min_tests,
            max_failed: parameters.max_failed,
            max_skipped_ratio: parameters.max_skipped_ratio,
            allow_flaky: parameters.allow_flaky,
            report_files: parameters.report_files.clone(),
        };
        judge(evidence, target, &policy)
    }
}

caelum_sdk::export_validator!(UnitTests);
