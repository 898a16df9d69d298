//! The validator `coverage-floor` of the polyglot kit, in Rust: asks for a share of covered lines, read from the LCOV
//! reports that a step has left. Its twins in Python and JavaScript answer the same, to the letter.

mod judgement;
mod lcov;

use caelum_sdk::{
    About, Evidence, PluginError, Target, TargetError, TargetErrorCode, Validator, Verdict, control,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judgement::Judgement;

/// Judges line coverage.
#[derive(Debug)]
pub struct CoverageFloor;

/// How much has to be covered.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// The LCOV report, relative to a machine's evidence.
    #[schemars(length(min = 1))]
    pub report: String,
    /// The least share of all lines that must be covered, in percent.
    #[schemars(range(max = 100))]
    pub percent_min: u32,
    /// The least share of the lines of each single file, in percent; 0 asks nothing of single files.
    #[schemars(range(max = 100))]
    pub file_percent_min: u32,
    /// From this share on, though it is below `percent_min`, a person decides. Without it nobody is asked.
    #[schemars(range(max = 100))]
    pub review_percent_min: Option<u32>,
    /// Source files to leave out: those whose path begins with one of these.
    pub exclude: Vec<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            report: "lcov.info".to_owned(),
            percent_min: 80,
            file_percent_min: 0,
            review_percent_min: None,
            exclude: Vec::new(),
        }
    }
}

impl Validator for CoverageFloor {
    type Parameters = Parameters;

    const ABOUT: About = caelum_sdk::about!(
        "coverage-floor",
        "Coverage floor",
        "Passes when the step's program ended well and covered enough lines on every machine. Reads LCOV reports: name \
         them in the action's `collect`.",
    );

    const EVIDENCE_FORMATS: &'static [&'static str] = &["exit-code", "lcov"];

    fn judge(
        evidence: &Evidence,
        target: &dyn Target,
        parameters: &Parameters,
    ) -> Result<Verdict, PluginError> {
        if parameters.review_percent_min.is_some_and(|review| review > parameters.percent_min) {
            return Err(PluginError::invalid_parameter(
                "/review_percent_min",
                format!("expected at most `percent_min`, which is {}", parameters.percent_min),
            ));
        }
        if evidence.outcomes.is_empty() {
            return Ok(Verdict::inconclusive(
                "no-outcome",
                "no program has run: there is no outcome to judge",
            ));
        }
        let machines = u32::try_from(evidence.outcomes.len()).unwrap_or(u32::MAX);
        let mut judgement = Judgement::new(parameters);
        for (done, outcome) in (0..).zip(&evidence.outcomes) {
            control::progress(done, Some(machines), &outcome.machine);
            judgement.ending(outcome);
            let path = format!("evidence/{}/{}", outcome.machine, parameters.report);
            match read(target, &path)? {
                Some(bytes) => judgement.report(&outcome.machine, &path, &bytes),
                None => judgement.missing(&outcome.machine),
            }
        }
        control::progress(machines, Some(machines), "done");
        Ok(judgement.verdict(evidence))
    }
}

/// Reads a report, which may be longer than one read gives; nothing when it was not collected.
fn read(target: &dyn Target, path: &str) -> Result<Option<Vec<u8>>, PluginError> {
    match target.read_all(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(TargetError { code: TargetErrorCode::NotFound, .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

caelum_sdk::export_validator!(CoverageFloor);

#[cfg(test)]
mod tests {
    use super::*;
    use caelum_sdk::VerdictKind;
    use caelum_sdk::testing::{FakeTarget, check_validator, evidence, exited, judge};
    use serde_json::json;

    #[test]
    fn it_keeps_the_contract() {
        check_validator::<CoverageFloor>();
    }

    #[test]
    fn enough_covered_lines_pass_and_fewer_do_not() {
        let report = "SF:src/a.rs\nLF:6\nLH:5\nend_of_record\n";
        let target = FakeTarget::new().file("evidence/a/lcov.info", report);
        let run = evidence(vec![exited("a", 0)]);

        let verdict = judge::<CoverageFloor>(&run, &target, json!({})).expect("a verdict");
        assert_eq!(
            (verdict.kind, verdict.summary.as_str()),
            (VerdictKind::Pass, "83.3 % of 6 lines in 1 files are covered")
        );
        let verdict = judge::<CoverageFloor>(&run, &target, json!({"percent_min": 84}));
        assert_eq!(verdict.expect("a verdict").reasons[0].code, "coverage-low");
    }
}
