//! What `go test -json` prints: one event per line, interleaved over packages.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::report::{Case, CaseStatus, Fault, Format, Report, ReportError, shortened};

/// How many bytes of a test's output are kept for its message.
const OUTPUT_MAX: usize = 16 * 1024;

#[derive(Default)]
struct Test {
    output: String,
    ended: Option<CaseStatus>,
    elapsed_ms: Option<u64>,
}

#[derive(Default)]
struct Package {
    output: String,
    ended: Option<String>,
    failed_tests: u64,
}

/// Reads the output.
pub(crate) fn parse(text: &str) -> Result<Report, ReportError> {
    let mut report = Report::new(Format::GoTestJson);
    let mut packages: BTreeMap<String, Package> = BTreeMap::new();
    let mut tests: BTreeMap<(String, String), Test> = BTreeMap::new();
    let mut order: Vec<(String, String)> = Vec::new();
    let mut events = 0_u64;
    for line in text.lines() {
        if !line.starts_with('{') {
            continue;
        }
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            report.note_unfinished("a line is no JSON");
            continue;
        };
        events += 1;
        let word = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        let action = word("Action");
        if action == "build-fail" {
            let message = format!("the build of `{}` failed", word("ImportPath"));
            report.faults.push(Fault { code: "compile-error", message, file: None, line: None });
            continue;
        }
        let package = word("Package").to_owned();
        if package.is_empty() {
            continue;
        }
        let name = word("Test").to_owned();
        if name.is_empty() {
            let entry = packages.entry(package).or_default();
            match action {
                "pass" | "fail" | "skip" => entry.ended = Some(action.to_owned()),
                "output" => append(&mut entry.output, word("Output")),
                _ => {}
            }
            continue;
        }
        packages.entry(package.clone()).or_default();
        let key = (package, name);
        if !tests.contains_key(&key) {
            if order.len() >= crate::CASES_MAX {
                return Err(ReportError::TooManyCases);
            }
            order.push(key.clone());
        }
        let test = tests.entry(key).or_default();
        let ended = match action {
            "pass" => CaseStatus::Passed,
            "fail" => CaseStatus::Failed,
            "skip" => CaseStatus::Skipped,
            "output" => {
                append(&mut test.output, word("Output"));
                continue;
            }
            _ => continue,
        };
        // With -count=2 a test ends more than once: a failure stays.
        if test.ended != Some(CaseStatus::Failed) {
            test.ended = Some(ended);
        }
        let seconds = event.get("Elapsed").and_then(Value::as_f64);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates at zero"
        )]
        let milliseconds = seconds.map(|seconds| (seconds * 1000.0).round() as u64);
        test.elapsed_ms = milliseconds;
    }
    if events == 0 {
        let message = "no event was found".to_owned();
        return Err(ReportError::Malformed { format: Format::GoTestJson, message });
    }
    for key in order {
        let Some(test) = tests.remove(&key) else { continue };
        let (package, name) = key;
        let status = test.ended.unwrap_or(CaseStatus::Errored);
        let mut case = Case::new(name, status);
        case.duration_ms = test.elapsed_ms;
        if test.ended.is_none() {
            case.message =
                Some("it never ended: the test process crashed or was stopped".to_owned());
        } else if status != CaseStatus::Passed {
            case.explain(&without_markers(&test.output));
        }
        if let Some(entry) = packages.get_mut(&package)
            && matches!(status, CaseStatus::Failed | CaseStatus::Errored)
        {
            entry.failed_tests += 1;
        }
        case.suite = Some(package);
        report.push(case)?;
    }
    for (name, package) in packages {
        match package.ended.as_deref() {
            None => report.note_unfinished(format!("the package `{name}` never ended")),
            Some("fail") if package.failed_tests == 0 => {
                let why = shortened(&without_markers(&package.output)).unwrap_or_default();
                let message = format!("the package `{name}` failed outside of its tests: {why}");
                report.faults.push(Fault {
                    code: "package-failed",
                    message,
                    file: None,
                    line: None,
                });
            }
            Some("pass") if package.failed_tests > 0 => {
                let failed = package.failed_tests;
                report
                    .contradictions
                    .push(format!("the package `{name}` passed, and {failed} of its tests failed"));
            }
            Some(_) => {}
        }
    }
    Ok(report)
}

fn append(output: &mut String, text: &str) {
    if output.len() + text.len() <= OUTPUT_MAX {
        output.push_str(text);
    }
}

/// Leaves out the lines that go itself writes around a test's output.
fn without_markers(output: &str) -> String {
    let own = output.lines().filter(|line| {
        let line = line.trim_start();
        !["=== ", "--- ", "FAIL", "PASS", "ok  "].iter().any(|marker| line.starts_with(marker))
    });
    own.collect::<Vec<_>>().join("\n")
}
