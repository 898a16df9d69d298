//! The validator `command-succeeded`: the step's program ended on every machine, with an exit code that means success,
//! and, where it is asked for, said what it should and left what it should.

use caelum_sdk::{About, Evidence, Outcome, PluginError, Reason, Target, Validator, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Judges how a program ended.
#[derive(Debug)]
pub struct CommandSucceeded;

/// What is asked of the program.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// The exit codes that mean success.
    #[schemars(length(min = 1))]
    pub exit_codes: Vec<i32>,
    /// Texts that standard output must contain, all of them.
    pub stdout_contains: Vec<String>,
    /// Texts that neither standard output nor standard error may contain.
    pub output_lacks: Vec<String>,
    /// Files, relative to a machine's evidence, that must have been collected and hold something.
    pub files: Vec<String>,
    /// On how many machines it must have succeeded at least.
    #[schemars(range(min = 1))]
    pub min_machines: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Parameters {
            exit_codes: vec![0],
            stdout_contains: Vec::new(),
            output_lacks: Vec::new(),
            files: Vec::new(),
            min_machines: 1,
        }
    }
}

impl Validator for CommandSucceeded {
    type Parameters = Parameters;

    const ABOUT: About = caelum_sdk::about!(
        "command-succeeded",
        "Command succeeded",
        "Passes when the step's program ended by itself on every machine with a good exit code. Parameters can ask for \
         texts in its output and for files it must leave. For steps whose exit code is all there is; where there are \
         tests, use unit-tests.",
    );

    const EVIDENCE_FORMATS: &'static [&'static str] = &["exit-code"];

    fn judge(
        evidence: &Evidence,
        target: &dyn Target,
        parameters: &Parameters,
    ) -> Result<Verdict, PluginError> {
        if evidence.outcomes.is_empty() {
            return Ok(Verdict::inconclusive(
                "no-outcome",
                "no program has run: there is no outcome to judge",
            ));
        }
        let mut failed = Vec::new();
        let mut unknown = Vec::new();
        for outcome in &evidence.outcomes {
            ending(outcome, parameters, &mut failed, &mut unknown);
            texts(outcome, parameters, &mut failed, &mut unknown);
            files(outcome, evidence, target, parameters, &mut failed, &mut unknown)?;
        }
        let count = evidence.outcomes.len();
        let wanted = parameters.min_machines as usize;
        if count < wanted {
            let message =
                format!("the program ran on {count} machines; at least {wanted} are wanted");
            failed.push(Reason::new("too-few-machines", message));
        }
        let verdict = if !failed.is_empty() {
            let summary = summary(&failed);
            Verdict::fail_for(summary, failed.into_iter().chain(unknown))
        } else if !unknown.is_empty() {
            let summary = summary(&unknown);
            Verdict::inconclusive_for(summary, unknown)
        } else {
            let codes: Vec<String> = evidence
                .outcomes
                .iter()
                .filter_map(|outcome| outcome.exit_code)
                .map(|code| code.to_string())
                .collect();
            let checks = parameters.stdout_contains.len()
                + parameters.output_lacks.len()
                + parameters.files.len();
            let also = if checks == 0 {
                String::new()
            } else {
                format!(", and {checks} further checks held")
            };
            Verdict::pass(match count {
                1 => format!("the program ended with {}{also}", codes.join(", ")),
                _ => {
                    format!("the program ended with {} on {count} machines{also}", distinct(&codes))
                }
            })
        };
        Ok(verdict.metric("machines", count))
    }
}

fn distinct(codes: &[String]) -> String {
    let mut codes = codes.to_vec();
    codes.sort();
    codes.dedup();
    codes.join(" or ")
}

fn summary(reasons: &[Reason]) -> String {
    match reasons {
        [] => String::new(),
        [only] => only.message.clone(),
        [first, rest @ ..] => format!("{} (and {} more)", first.message, rest.len()),
    }
}

fn ending(
    outcome: &Outcome,
    parameters: &Parameters,
    failed: &mut Vec<Reason>,
    unknown: &mut Vec<Reason>,
) {
    let machine = &outcome.machine;
    if outcome.timed_out {
        failed.push(Reason::new(
            "timed-out",
            format!("on `{machine}`, the program was ended when its time was up"),
        ));
    } else if let Some(signal) = outcome.signal {
        failed.push(Reason::new(
            "ended-by-signal",
            format!("on `{machine}`, the program was ended by signal {signal}"),
        ));
    } else {
        match outcome.exit_code {
            Some(code) if parameters.exit_codes.contains(&code) => {}
            Some(code) => {
                let last =
                    outcome.stderr.text.lines().rev().map(str::trim).find(|line| !line.is_empty());
                let told: String = last.unwrap_or_default().chars().take(200).collect();
                let told = if told.is_empty() { told } else { format!(": {told}") };
                failed.push(Reason::new(
                    "nonzero-exit",
                    format!("on `{machine}`, the program ended with {code}{told}"),
                ));
            }
            None => {
                let message = format!(
                    "on `{machine}`, there is no exit code: the action is no program, or it never ran"
                );
                unknown.push(Reason::new("no-exit-code", message));
            }
        }
    }
}

fn texts(
    outcome: &Outcome,
    parameters: &Parameters,
    failed: &mut Vec<Reason>,
    unknown: &mut Vec<Reason>,
) {
    let machine = &outcome.machine;
    for text in &parameters.stdout_contains {
        if outcome.stdout.text.contains(text.as_str()) {
            continue;
        }
        if outcome.stdout.truncated {
            let message = format!(
                "on `{machine}`, what was kept of the output does not contain `{text}`; its middle is missing"
            );
            unknown.push(Reason::new("output-truncated", message));
        } else {
            let message = format!("on `{machine}`, standard output does not contain `{text}`");
            failed.push(Reason::new("output-missing", message));
        }
    }
    for text in &parameters.output_lacks {
        for (output, name) in
            [(&outcome.stdout, "standard output"), (&outcome.stderr, "standard error")]
        {
            if output.text.contains(text.as_str()) {
                failed.push(Reason::new(
                    "output-forbidden",
                    format!("on `{machine}`, {name} contains `{text}`"),
                ));
            } else if output.truncated {
                let message =
                    format!("on `{machine}`, {name} was cut, so that it may contain `{text}`");
                unknown.push(Reason::new("output-truncated", message));
            }
        }
    }
}

fn files(
    outcome: &Outcome,
    evidence: &Evidence,
    target: &dyn Target,
    parameters: &Parameters,
    failed: &mut Vec<Reason>,
    unknown: &mut Vec<Reason>,
) -> Result<(), PluginError> {
    for file in &parameters.files {
        let path = format!("evidence/{}/{file}", outcome.machine);
        if !evidence.files.contains(&path) {
            let message = format!(
                "`{file}` was not collected on `{}`; name it in the action's `collect`",
                outcome.machine
            );
            unknown.push(Reason::new("file-missing", message));
        } else if target.read(&path, 0, 1)?.is_empty() {
            failed.push(
                Reason::new("file-empty", format!("`{file}` of `{}` is empty", outcome.machine))
                    .at(&path),
            );
        }
    }
    Ok(())
}

caelum_sdk::export_validator!(CommandSucceeded);

#[cfg(test)]
mod tests {
    use super::*;
    use caelum_sdk::VerdictKind;
    use caelum_sdk::testing::{FakeTarget, check_validator, evidence, exited, judge};
    use serde_json::json;

    fn judged(evidence: &Evidence, parameters: serde_json::Value) -> Verdict {
        let target =
            FakeTarget::new().file("evidence/a/out.txt", "x").file("evidence/a/empty.txt", "");
        judge::<CommandSucceeded>(evidence, &target, parameters).expect("a verdict")
    }

    #[test]
    fn it_keeps_the_contract() {
        check_validator::<CommandSucceeded>();
    }

    #[test]
    fn a_good_end_everywhere_passes() {
        let verdict = judged(&evidence(vec![exited("a", 0), exited("b", 0)]), json!({}));
        assert_eq!(
            (verdict.kind, verdict.summary.as_str()),
            (VerdictKind::Pass, "the program ended with 0 on 2 machines")
        );
        let verdict = judged(&evidence(vec![exited("a", 3)]), json!({"exit_codes": [0, 3]}));
        assert_eq!(
            (verdict.kind, verdict.summary.as_str()),
            (VerdictKind::Pass, "the program ended with 3")
        );
    }

    #[test]
    fn a_bad_end_fails_with_what_the_program_said() {
        let verdict =
            judged(&evidence(vec![exited("a", 2).with_stderr("x\nno such table\n\n")]), json!({}));
        assert_eq!(verdict.kind, VerdictKind::Fail);
        assert_eq!(verdict.summary, "on `a`, the program ended with 2: no such table");
        let late = Outcome { timed_out: true, ..exited("a", 0) };
        assert_eq!(judged(&evidence(vec![late]), json!({})).reasons[0].code, "timed-out");
    }

    #[test]
    fn no_exit_code_and_cut_output_show_nothing() {
        let none = Outcome { machine: "a".into(), ..Outcome::default() };
        assert_eq!(judged(&evidence(vec![none]), json!({})).kind, VerdictKind::Inconclusive);
        let mut cut = exited("a", 0).with_stdout("begin");
        cut.stdout.truncated = true;
        let verdict = judged(&evidence(vec![cut]), json!({"stdout_contains": ["done"]}));
        assert_eq!(
            (verdict.kind, verdict.reasons[0].code.as_str()),
            (VerdictKind::Inconclusive, "output-truncated")
        );
    }

    #[test]
    fn texts_and_files_are_checked_when_asked_for() {
        let mut run =
            evidence(vec![exited("a", 0).with_stdout("all done").with_stderr("warning: x")]);
        run.files = vec!["evidence/a/empty.txt".into(), "evidence/a/out.txt".into()];
        let good =
            json!({"stdout_contains": ["done"], "output_lacks": ["error"], "files": ["out.txt"]});
        let verdict = judged(&run, good);
        assert_eq!(verdict.summary, "the program ended with 0, and 3 further checks held");
        let verdict = judged(
            &run,
            json!({"output_lacks": ["warning"], "files": ["empty.txt", "none.txt"], "min_machines": 2}),
        );
        let codes: Vec<_> = verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
        assert_eq!(codes, ["output-forbidden", "file-empty", "too-few-machines", "file-missing"]);
    }
}
