//! Tells formats apart by what a text looks like, never by its file's name.

use crate::python_text;
use crate::report::Format;

/// How many lines are looked at for marks that may stand behind other output.
const LINES_LOOKED_AT: usize = 2_000;

/// Returns the format of a text, or nothing when it looks like none of them.
pub fn detect(text: &str) -> Option<Format> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let start = text.trim_start();
    if start.starts_with('<') {
        return is_junit(start).then_some(Format::JunitXml);
    }
    if let Some(line) = start.lines().find(|line| line.starts_with('{')) {
        if line.contains("\"Action\"")
            && (line.contains("\"Package\"") || line.contains("\"ImportPath\""))
        {
            return Some(Format::GoTestJson);
        }
        if line.contains("\"type\"") && line.contains("\"event\"") {
            return Some(Format::LibtestJson);
        }
    }
    let mut plan = false;
    let mut tap_line = false;
    let mut running = false;
    for line in text.lines().take(LINES_LOOKED_AT) {
        if line.starts_with("TAP version ") {
            return Some(Format::Tap);
        }
        plan |= line
            .strip_prefix("1..")
            .is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()));
        tap_line |=
            line.starts_with("ok ") || line.starts_with("not ok") || line.starts_with("Bail out!");
        running |= crate::cargo_text::announced(line).is_some();
    }
    if running {
        return Some(Format::CargoTestText);
    }
    if plan || (tap_line && text.lines().any(|line| line.starts_with("1.."))) {
        return Some(Format::Tap);
    }
    if python_text::pytest_summary(text).is_some() {
        return Some(Format::PytestText);
    }
    python_text::unittest_count(text).map(|_| Format::UnittestText)
}

/// Returns whether the first element is one of JUnit's. Comments and declarations may stand before it.
fn is_junit(text: &str) -> bool {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let skipped = if let Some(inner) = rest.strip_prefix("<?") {
            inner.split_once("?>")
        } else if let Some(inner) = rest.strip_prefix("<!--") {
            inner.split_once("-->")
        } else if rest.starts_with("<!DOCTYPE") {
            // The reader refuses it by name, which tells more than "unknown format".
            return rest.contains("<testsuite");
        } else {
            return rest.starts_with("<testsuite");
        };
        match skipped {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
}
