//! The validator `integration-tests`: as `unit-tests`, with defaults for tests that need their surroundings: such tests
//! are easily skipped where those are missing, so few skips are allowed, and flaky ones are told.

use caelum_plugin_test_gate::{EVIDENCE_FORMATS, Policy, judge};
use caelum_sdk::{About, Evidence, PluginError, Target, Validator, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Judges the evidence of integration tests.
#[derive(Debug)]
pub struct IntegrationTests;

/// What is asked of the tests.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// How many tests must have been executed on each machine; skipped ones do not count. 0 allows a run without tests.
    pub min_tests: u64,
    /// How many tests may fail or break.
    pub max_failed: u64,
    /// The largest share of tests that may be skipped, from 0 to 1; `null` sets no limit. Integration tests skip
    /// themselves where a database or a service is missing, and then show nothing.
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
            max_skipped_ratio: Some(0.25),
            allow_flaky: true,
            report_files: Vec::new(),
        }
    }
}

impl Validator for IntegrationTests {
    type Parameters = Parameters;

    const ABOUT: About = caelum_sdk::about!(
        "integration-tests",
        "Integration tests",
        "Passes when the step's integration tests were executed, none failed and at most a quarter was skipped. Reads \
         the same reports as unit-tests and counts by itself; a run that skipped what it could not reach never passes \
         unnoticed.",
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

caelum_sdk::export_validator!(IntegrationTests);
