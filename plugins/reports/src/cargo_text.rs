//! What `cargo test` prints. Tests print, too: a line counts only where libtest would write it, and a summary only
//! when it agrees with the cases above it.

use crate::locate::locate;
use crate::report::{Case, CaseStatus, Fault, Format, Report, ReportError, Totals, shortened};

/// How many faults of a build are kept.
const FAULTS_MAX: usize = 50;

/// Where in the output of one test binary the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between binaries.
    Outside,
    /// Among the lines `test x ... ok`.
    Results,
    /// Among the captured output of failed (or, when asked for, passed) cases.
    Details,
}

/// The output of one test binary.
#[derive(Default)]
struct Block {
    expected: u64,
    totals: Totals,
    measured: u64,
    /// First case of this binary in the report.
    first: usize,
    /// Counts of summary lines that did not agree with the cases.
    impostors: Vec<String>,
}

impl Block {
    fn seen(&self) -> u64 {
        self.totals.tests() + self.measured
    }
}

/// A line `test result: …`.
struct Summary {
    passed: u64,
    failed: u64,
    ignored: u64,
    measured: u64,
    ok: bool,
}

struct Parser {
    report: Report,
    state: State,
    block: Block,
    /// The binary whose output follows, from `Running …` and `Doc-tests …`.
    binary: Option<String>,
    /// The case whose line was begun by libtest and interrupted by the test's own output.
    pending: Option<String>,
    /// The case whose captured output is being read.
    detail: Option<usize>,
    detail_text: String,
}

/// Reads the output.
pub(crate) fn parse(text: &str) -> Result<Report, ReportError> {
    let mut parser = Parser {
        report: Report::new(Format::CargoTestText),
        state: State::Outside,
        block: Block::default(),
        binary: None,
        pending: None,
        detail: None,
        detail_text: String::new(),
    };
    let mut blocks = 0_u32;
    for line in text.lines() {
        blocks += u32::from(parser.take(line)?);
    }
    parser.end_block("the output ends before the summary of a test binary");
    parser.report.faults = build_faults(text);
    if blocks == 0 && parser.report.faults.is_empty() {
        let message = "no line `running N tests` was found".to_owned();
        return Err(ReportError::Malformed { format: Format::CargoTestText, message });
    }
    Ok(parser.report)
}

/// Returns the number in a line `running 3 tests`.
pub(crate) fn announced(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("running ")?;
    let (number, unit) = rest.split_once(' ')?;
    matches!(unit.trim_end(), "test" | "tests").then(|| number.parse().ok())?
}

fn summary(line: &str) -> Option<Summary> {
    let rest = line.strip_prefix("test result: ")?;
    let (word, counts) = rest.split_once(". ")?;
    let ok = match word {
        "ok" => true,
        "FAILED" => false,
        _ => return None,
    };
    let count = |unit: &str| {
        let part = counts.split(';').map(str::trim).find(|part| part.ends_with(unit))?;
        part.strip_suffix(unit)?.trim().parse().ok()
    };
    Some(Summary {
        passed: count("passed")?,
        failed: count("failed")?,
        ignored: count("ignored")?,
        measured: count("measured").unwrap_or(0),
        ok,
    })
}

/// What stands behind `test name ... `.
fn ending(text: &str) -> Option<(Option<CaseStatus>, Option<String>)> {
    let text = text.trim_end();
    // Durations are appended in angle brackets when they are asked for: `ok <0.012s>`.
    let text = text.split_once(" <").map_or(text, |(word, _)| word);
    match text {
        "ok" => Some((Some(CaseStatus::Passed), None)),
        "FAILED" => Some((Some(CaseStatus::Failed), None)),
        "ignored" => Some((Some(CaseStatus::Skipped), None)),
        _ if text.starts_with("ignored, ") => {
            Some((Some(CaseStatus::Skipped), text.strip_prefix("ignored, ").map(str::to_owned)))
        }
        _ if text.starts_with("FAILED (") || text.starts_with("FAILED, ") => {
            Some((Some(CaseStatus::Failed), None))
        }
        _ if text.starts_with("bench:") => Some((None, None)),
        _ => None,
    }
}

impl Parser {
    /// Takes a line and answers whether it begins the output of a test binary.
    fn take(&mut self, line: &str) -> Result<bool, ReportError> {
        match self.state {
            State::Outside => {
                let trimmed = line.trim_start();
                if let Some(rest) = trimmed.strip_prefix("Running ") {
                    let name = rest.split(" (").next().unwrap_or(rest);
                    self.binary = Some(name.strip_prefix("unittests ").unwrap_or(name).to_owned());
                } else if let Some(rest) = trimmed.strip_prefix("Doc-tests ") {
                    self.binary = Some(format!("doc-tests {rest}"));
                }
                if let Some(expected) = announced(line) {
                    self.begin_block(expected);
                    return Ok(true);
                }
            }
            State::Results => {
                if let Some(expected) = announced(line)
                    && self.block.seen() < self.block.expected
                {
                    self.end_block("a test binary ended without its summary");
                    self.begin_block(expected);
                    return Ok(true);
                }
                self.result_line(line)?;
            }
            State::Details => self.detail_line(line),
        }
        Ok(false)
    }

    fn begin_block(&mut self, expected: u64) {
        self.block = Block { expected, first: self.report.cases.len(), ..Block::default() };
        self.state = State::Results;
        self.pending = None;
        self.detail = None;
    }

    /// Ends a binary whose genuine summary has not been seen.
    fn end_block(&mut self, reason: &str) {
        if self.state == State::Outside {
            return;
        }
        self.state = State::Outside;
        for impostor in std::mem::take(&mut self.block.impostors) {
            let message =
                format!("a summary line says `{impostor}`, which its cases do not bear out");
            self.report.contradictions.push(message);
        }
        let binary = self.binary.as_deref().unwrap_or("a test binary");
        let (seen, expected) = (self.block.seen(), self.block.expected);
        self.report.note_unfinished(format!(
            "{reason} ({binary}: {seen} of {expected} cases were reported)"
        ));
    }

    fn result_line(&mut self, line: &str) -> Result<(), ReportError> {
        if let Some(summary) = summary(line) {
            self.summary(&summary, line);
            return Ok(());
        }
        if line == "failures:" || line == "successes:" {
            self.state = State::Details;
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("test ")
            && let Some((name, end)) =
                rest.rsplit_once(" ... ").or_else(|| rest.rsplit_once(" ..."))
        {
            match ending(end) {
                Some((status, reason)) => self.case(name, status, reason)?,
                None => self.pending = Some(name.to_owned()),
            }
            return Ok(());
        }
        if let Some(name) = self.pending.take() {
            match ending(line) {
                Some((status, reason)) => self.case(&name, status, reason)?,
                None => self.pending = Some(name),
            }
            return Ok(());
        }
        self.quiet_line(line);
        Ok(())
    }

    /// Counts the letters of `cargo test --quiet`: `..F.i 88/120`.
    fn quiet_line(&mut self, line: &str) {
        let letters = line.split_once(' ').map_or(line, |(letters, _)| letters);
        let letters_only =
            !letters.is_empty() && letters.chars().all(|letter| ".Fi".contains(letter));
        let count = letters.chars().count() as u64;
        if !letters_only || self.block.seen() + count > self.block.expected {
            return;
        }
        self.report.names_all = false;
        for letter in letters.chars() {
            let status = match letter {
                '.' => CaseStatus::Passed,
                'F' => CaseStatus::Failed,
                _ => CaseStatus::Skipped,
            };
            self.block.totals.count(status);
            self.report.totals.count(status);
        }
    }

    fn case(
        &mut self,
        name: &str,
        status: Option<CaseStatus>,
        reason: Option<String>,
    ) -> Result<(), ReportError> {
        let Some(status) = status else {
            self.block.measured += 1;
            return Ok(());
        };
        let name = name.strip_suffix(" - should panic").unwrap_or(name);
        let mut case = Case::new(name, status);
        case.suite.clone_from(&self.binary);
        case.message = reason;
        // The name of a doc test is its place: `src/lib.rs - thing (line 12)`.
        if let Some((file, rest)) = name.split_once(" - ")
            && let Some((_, line)) = rest.rsplit_once("(line ")
        {
            case.file = Some(file.to_owned());
            case.line = line.trim_end_matches(')').parse().ok();
        }
        self.block.totals.count(status);
        self.report.push(case)
    }

    fn detail_line(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.split(" std").next())
            && line.ends_with(" ----")
        {
            self.end_detail();
            let cases = &self.report.cases[self.block.first..];
            let failed = cases
                .iter()
                .position(|case| case.name == name && case.status == CaseStatus::Failed);
            self.detail = failed.map(|index| index + self.block.first);
            return;
        }
        if line == "failures:" {
            self.end_detail();
            return;
        }
        if let Some(summary) = summary(line) {
            self.summary(&summary, line);
            return;
        }
        if self.detail.is_some() && self.detail_text.len() < 16 * 1024 {
            self.detail_text.push_str(line);
            self.detail_text.push('\n');
        }
    }

    fn end_detail(&mut self) {
        let text = std::mem::take(&mut self.detail_text);
        let Some(index) = self.detail.take() else { return };
        let case = &mut self.report.cases[index];
        // The panic says more than what the test printed before it.
        let panic = text.find("panicked at").map_or(text.as_str(), |at| {
            let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
            &text[start..]
        });
        let place = locate(panic);
        let message = match panic.split_once('\n') {
            Some((first, rest)) if first.trim_end().ends_with(':') => rest,
            _ => panic,
        };
        let message = message.split("\nnote: run with").next().unwrap_or(message);
        case.message = shortened(message.split("\nstack backtrace:").next().unwrap_or(message));
        if let Some(place) = place {
            case.file = Some(place.file);
            case.line = Some(place.line);
        }
    }

    fn summary(&mut self, summary: &Summary, line: &str) {
        let totals = self.block.totals;
        let agrees = summary.passed == totals.passed
            && summary.failed == totals.failed
            && summary.ignored == totals.skipped
            && summary.measured == self.block.measured
            && summary.ok == (totals.failed == 0)
            && self.block.seen() == self.block.expected;
        if agrees {
            self.end_detail();
            self.state = State::Outside;
        } else if self.state == State::Results {
            let shown: String = line.chars().take(80).collect();
            self.block.impostors.push(shown);
        }
    }
}

/// Finds the errors of a build.
pub(crate) fn build_faults(text: &str) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    let mut could_not_compile = None;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if faults.len() >= FAULTS_MAX {
            break;
        }
        if line.starts_with("error: could not compile") {
            could_not_compile.get_or_insert(line);
        } else if line.starts_with("error[E") || line.starts_with("error: linking with") {
            let place = lines
                .peek()
                .and_then(|next| next.trim_start().strip_prefix("--> "))
                .and_then(locate);
            let (file, line_number) =
                place.map_or((None, None), |place| (Some(place.file), Some(place.line)));
            let message = line.to_owned();
            faults.push(Fault { code: "compile-error", message, file, line: line_number });
        } else if line.contains("process didn't exit successfully") && line.contains("(signal: ") {
            let message = line.trim().to_owned();
            faults.push(Fault { code: "crash", message, file: None, line: None });
        }
    }
    match could_not_compile {
        Some(line) if !faults.iter().any(|fault| fault.code == "compile-error") => {
            let message = line.to_owned();
            faults.push(Fault { code: "compile-error", message, file: None, line: None });
        }
        // Captured output may quote compilers; without cargo's own word there was no failed build.
        None => faults.retain(|fault| fault.code != "compile-error"),
        Some(_) => {}
    }
    faults
}
