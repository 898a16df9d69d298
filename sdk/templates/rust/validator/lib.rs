//! {{title}}: judges whether a step is done.

use caelum_sdk::{About, Evidence, PluginError, Reason, Target, Validator, Verdict, about};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a workflow can set. The comments become the descriptions that people and models read.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Text that every program must have written to standard output; empty asks for none.
    must_say: String,
}

/// Passes when every program ended with 0 and said what it must.
#[derive(Debug)]
pub struct {{type}};

impl Validator for {{type}} {
    type Parameters = Parameters;
    const ABOUT: About =
        about!("{{name}}", "{{title}}", "Passes when every program ended with 0 and said what it must.");
    const EVIDENCE_FORMATS: &'static [&'static str] = &["exit-code"];

    fn judge(
        evidence: &Evidence,
        _: &dyn Target,
        parameters: &Parameters,
    ) -> Result<Verdict, PluginError> {
        // No outcome at all is inconclusive, another exit code than 0 fails.
        if let Some(verdict) = evidence.require_exit_zero() {
            return Ok(verdict);
        }
        let (mut silent, mut cut) = (Vec::new(), Vec::new());
        for outcome in &evidence.outcomes {
            if outcome.stdout.text.contains(&parameters.must_say) {
                continue;
            }
            let machine = &outcome.machine;
            let message = format!("on `{machine}`, the program did not say `{}`", parameters.must_say);
            // What was cut off may have held the text: that is no proof either way.
            match outcome.stdout.truncated {
                true => cut.push(Reason::new("output-cut-off", message)),
                false => silent.push(Reason::new("not-said", message)),
            }
        }
        Ok(if !silent.is_empty() {
            Verdict::fail_for("a program did not say what it must", silent.into_iter().chain(cut))
        } else if !cut.is_empty() {
            Verdict::inconclusive_for("the output is not whole", cut)
        } else {
            Verdict::pass("every program ended with 0 and said what it must")
        })
    }
}

caelum_sdk::export_validator!({{type}});

#[cfg(test)]
mod tests {
    use caelum_sdk::VerdictKind;
    use caelum_sdk::testing::{FakeTarget, check_validator, evidence, exited, judge};
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_the_rules_of_validators() {
        check_validator::<{{type}}>();
    }

    #[test]
    fn a_program_that_says_it_passes_and_one_that_does_not_fails() {
        for (said, expected) in [("all done", VerdictKind::Pass), ("oh no", VerdictKind::Fail)] {
            let evidence = evidence(vec![exited("local", 0).with_stdout(said)]);

            let verdict = judge::<{{type}}>(&evidence, &FakeTarget::new(), json!({"must_say": "done"}));

            assert_eq!(verdict.expect("a verdict").kind, expected, "{said}");
        }
    }
}
