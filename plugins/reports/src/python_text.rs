//! What `pytest` and `unittest` print. Both name only what failed, so these are the weakest reports: better is
//! `pytest --junitxml=report.xml`. Since tests print, too, only the very last lines count.

use crate::report::{Case, CaseStatus, Format, Report, ReportError, Totals};

/// Returns the counts in pytest's last line: `==== 1 failed, 3 passed in 0.12s ====`.
pub(crate) fn pytest_summary(text: &str) -> Option<Totals> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let line = line.trim_matches('=').trim();
    let (counts, time) = line.rsplit_once(" in ")?;
    if !time.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    if counts == "no tests ran" {
        return Some(Totals::default());
    }
    let mut totals = Totals::default();
    for part in counts.split(", ") {
        let (number, word) = part.split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        match word {
            "passed" | "xpassed" => totals.passed = totals.passed.saturating_add(number),
            "failed" => totals.failed = number,
            "error" | "errors" => totals.errors = number,
            "skipped" | "xfailed" | "deselected" => {
                totals.skipped = totals.skipped.saturating_add(number)
            }
            "warning" | "warnings" | "rerun" => {}
            _ => return None,
        }
    }
    Some(totals)
}

/// Reads the output of pytest.
pub(crate) fn parse_pytest(text: &str) -> Result<Report, ReportError> {
    let mut report = Report::new(Format::PytestText);
    report.names_all = false;
    let Some(totals) = pytest_summary(text) else {
        let message = "its last line is no summary".to_owned();
        return Err(ReportError::Malformed { format: Format::PytestText, message });
    };
    // The list of failures stands directly above the summary, below this heading.
    let heading = text.rfind("short test summary info").unwrap_or(text.len());
    for line in text[heading..].lines() {
        let (status, rest) = if let Some(rest) = line.strip_prefix("FAILED ") {
            (CaseStatus::Failed, rest)
        } else if let Some(rest) = line.strip_prefix("ERROR ") {
            (CaseStatus::Errored, rest)
        } else {
            continue;
        };
        let (name, message) = rest.split_once(" - ").unwrap_or((rest, ""));
        let mut case = Case::new(name, status);
        case.file = name.split("::").next().filter(|file| file.ends_with(".py")).map(str::to_owned);
        case.message = crate::report::shortened(message);
        report.push(case)?;
    }
    let listed = report.cases.len() as u64;
    let said = totals.failed.saturating_add(totals.errors);
    if listed > said {
        report
            .contradictions
            .push(format!("{listed} failed cases are listed and the summary says {said}"));
    }
    for case in &mut report.cases {
        if let Some(file) = case.file.clone() {
            case.line = failing_line(text, &file);
        }
    }
    report.totals = totals;
    Ok(report)
}

/// Returns the line of a file that pytest points to (`tests/test_a.py:12: AssertionError`), when it is the only one.
fn failing_line(text: &str, file: &str) -> Option<u32> {
    let mut lines = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(file)?.strip_prefix(':')?;
        rest.split(':').next()?.parse::<u32>().ok()
    });
    let first = lines.next()?;
    lines.all(|line| line == first).then_some(first)
}

/// Returns the number in the last line `Ran 3 tests in 0.001s`, when the verdict stands below it.
pub(crate) fn unittest_count(text: &str) -> Option<(u64, &str)> {
    let mut lines = text.lines().rev().map(str::trim_end).filter(|line| !line.is_empty());
    let verdict = lines.next()?;
    let known = ["OK", "FAILED", "NO TESTS RAN"].iter().any(|word| {
        verdict.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
    });
    if !known {
        return None;
    }
    let rest = lines.next()?.strip_prefix("Ran ")?;
    let (number, rest) = rest.split_once(' ')?;
    (rest.starts_with("test in ") || rest.starts_with("tests in ")).then_some(())?;
    Some((number.parse().ok()?, verdict))
}

/// Reads the output of unittest.
pub(crate) fn parse_unittest(text: &str) -> Result<Report, ReportError> {
    let mut report = Report::new(Format::UnittestText);
    report.names_all = false;
    let Some((ran, verdict)) = unittest_count(text) else {
        let message = "its last lines are not `Ran N tests in …` and a verdict".to_owned();
        return Err(ReportError::Malformed { format: Format::UnittestText, message });
    };
    let count = |word: &str| -> u64 {
        let inner = verdict.split_once('(').map_or("", |(_, inner)| inner.trim_end_matches(')'));
        let part = inner.split(", ").find_map(|part| part.strip_prefix(word)?.strip_prefix('='));
        part.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    let (failed, errors) =
        (count("failures").saturating_add(count("unexpected successes")), count("errors"));
    let skipped = count("skipped").saturating_add(count("expected failures"));
    for block in text
        .split("======================================================================\n")
        .skip(1)
    {
        let mut lines = block.lines();
        let (status, name) = match lines.next() {
            Some(line) if line.starts_with("FAIL: ") => (CaseStatus::Failed, &line[6..]),
            Some(line) if line.starts_with("ERROR: ") => (CaseStatus::Errored, &line[7..]),
            _ => continue,
        };
        let body: Vec<&str> = lines.take_while(|line| !line.starts_with("Ran ")).collect();
        let body = body.join("\n");
        let mut case = Case::new(name.trim(), status);
        if let Some(place) = crate::locate(&body) {
            case.file = Some(place.file);
            case.line = Some(place.line);
        }
        // The exception is the first line of the traceback that is not indented.
        let exception = body.lines().find(|line| {
            line.starts_with(|letter: char| letter.is_ascii_alphabetic())
                && !line.starts_with("Traceback")
        });
        case.message = exception.and_then(crate::report::shortened);
        report.push(case)?;
    }
    let listed = report.cases.len() as u64;
    if listed > failed.saturating_add(errors) {
        let said = failed.saturating_add(errors);
        report
            .contradictions
            .push(format!("{listed} failed cases are listed and the verdict says {said}"));
    }
    if verdict.starts_with("OK") && failed + errors > 0 {
        report.contradictions.push(format!("the verdict is `{verdict}`"));
    }
    let bad = failed.saturating_add(errors).saturating_add(skipped);
    // A set-up that breaks counts as an error without having run a test.
    report.totals = Totals { passed: ran.saturating_sub(bad), failed, errors, skipped };
    Ok(report)
}
