//! What libtest prints with `--format json`: one event per line.

use serde_json::Value;

use crate::report::{Case, CaseStatus, Format, Report, ReportError, Totals};

/// Reads the output.
pub(crate) fn parse(text: &str) -> Result<Report, ReportError> {
    let mut report = Report::new(Format::LibtestJson);
    let mut open_suites = 0_u32;
    let mut suites = 0_u32;
    let mut block = Totals::default();
    let mut expected = 0_u64;
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            report.note_unfinished("a line is no JSON");
            continue;
        };
        let word = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        match (word("type"), word("event")) {
            ("suite", "started") => {
                suites += 1;
                open_suites += 1;
                block = Totals::default();
                expected = event.get("test_count").and_then(Value::as_u64).unwrap_or(0);
            }
            ("suite", "ok" | "failed") => {
                open_suites = open_suites.saturating_sub(1);
                let count = |key: &str| event.get(key).and_then(Value::as_u64).unwrap_or(0);
                let says = (count("passed"), count("failed"), count("ignored"));
                let found = (block.passed, block.failed, block.skipped);
                let all = block.tests() + count("measured");
                if says != found
                    || all != expected
                    || (word("event") == "ok") != (block.failed == 0)
                {
                    report.contradictions.push(format!(
                        "a suite of {expected} says {} passed, {} failed, {} ignored; its cases say {}, {}, {}",
                        says.0, says.1, says.2, found.0, found.1, found.2
                    ));
                }
            }
            ("test", word_of_end) => {
                let status = match word_of_end {
                    "ok" => CaseStatus::Passed,
                    "failed" => CaseStatus::Failed,
                    "ignored" => CaseStatus::Skipped,
                    _ => continue,
                };
                let mut case = Case::new(word("name"), status);
                let seconds = event.get("exec_time").and_then(Value::as_f64);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "saturates at zero"
                )]
                let milliseconds = seconds.map(|seconds| (seconds * 1000.0).round() as u64);
                case.duration_ms = milliseconds;
                if status == CaseStatus::Failed {
                    let output = word("stdout");
                    let panic = output.find("panicked at").map_or(output, |at| &output[at..]);
                    case.explain(if panic.is_empty() { word("message") } else { panic });
                }
                block.count(status);
                report.push(case)?;
            }
            _ => {}
        }
    }
    if suites == 0 {
        let message = "no event of a suite was found".to_owned();
        return Err(ReportError::Malformed { format: Format::LibtestJson, message });
    }
    if open_suites > 0 {
        report.note_unfinished("the output ends before the end of a suite");
    }
    report.faults = crate::cargo_text::build_faults(text);
    Ok(report)
}
