//! JUnit's XML, in the dialects of pytest, nextest, surefire, jest, gotestsum, phpunit and others. There is no
//! standard: elements and attributes that are not known are passed over.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};

use crate::report::{Case, CaseStatus, Format, Report, ReportError};

/// How deep elements may nest.
const DEPTH_MAX: usize = 64;
/// How many bytes of text are kept of one element.
const TEXT_MAX: usize = 64 * 1024;

/// What a `testsuite` or `testsuites` says of itself, and what was found in it.
struct Suite {
    name: Option<String>,
    tests: Option<u64>,
    failures: Option<u64>,
    errors: Option<u64>,
    /// Cases found directly in it.
    own: u64,
    /// Cases found in it and below it.
    all: u64,
    failing: u64,
    has_suites: bool,
    is_root: bool,
}

/// A case that is open, with what its children have said so far.
struct OpenCase {
    case: Case,
    depth: usize,
    retried: bool,
    /// Marked as work that is known to be open (node's runner): its failure is expected.
    todo: bool,
    /// What the element at hand says in its attribute.
    message: Option<String>,
    text: String,
}

/// What the text at hand belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Collecting {
    Nothing,
    Reason,
}

struct Parser {
    report: Report,
    suites: Vec<(usize, Suite)>,
    case: Option<OpenCase>,
    collecting: Collecting,
    depth: usize,
    seen_root: bool,
}

/// Reads a report.
pub(crate) fn parse(text: &str) -> Result<Report, ReportError> {
    let mut reader = Reader::from_str(text);
    let mut parser = Parser {
        report: Report::new(Format::JunitXml),
        suites: Vec::new(),
        case: None,
        collecting: Collecting::Nothing,
        depth: 0,
        seen_root: false,
    };
    loop {
        let event = reader.read_event().map_err(|error| broken(&error))?;
        match event {
            Event::Start(element) => parser.open(&element)?,
            Event::Empty(element) => {
                parser.open(&element)?;
                parser.close()?;
            }
            Event::End(_) => parser.close()?,
            Event::Text(text) => parser.text(&text),
            Event::CData(text) => parser.text(&text),
            Event::GeneralRef(reference) => {
                let letter = match reference.resolve_char_ref() {
                    Ok(Some(letter)) => letter,
                    _ => predefined(&reference)
                        .ok_or(ReportError::ForbiddenXml { what: "uses entities of its own" })?,
                };
                parser.text(letter.encode_utf8(&mut [0; 4]));
            }
            Event::DocType(_) => {
                return Err(ReportError::ForbiddenXml { what: "declares a document type" });
            }
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    if parser.depth > 0 {
        let message = format!("{} elements are still open at its end", parser.depth);
        return Err(ReportError::CutOff { message });
    }
    if !parser.seen_root {
        let message = "it holds no element".to_owned();
        return Err(ReportError::Malformed { format: Format::JunitXml, message });
    }
    Ok(parser.report)
}

fn broken(error: &quick_xml::Error) -> ReportError {
    match error {
        quick_xml::Error::Syntax(syntax) => ReportError::CutOff { message: syntax.to_string() },
        other => ReportError::Malformed { format: Format::JunitXml, message: other.to_string() },
    }
}

fn predefined(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "apos" => '\'',
        "quot" => '"',
        _ => return None,
    })
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, ReportError> {
    for attribute in element.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| ReportError::Malformed {
            format: Format::JunitXml,
            message: error.to_string(),
        })?;
        if attribute.key.local_name().as_ref() == name {
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|_| ReportError::ForbiddenXml { what: "uses entities of its own" })?;
            return Ok(Some(value.into_owned()));
        }
    }
    Ok(None)
}

fn number(element: &BytesStart<'_>, name: &str) -> Result<Option<u64>, ReportError> {
    Ok(attribute(element, name)?.and_then(|text| text.trim().replace(',', "").parse().ok()))
}

/// Reads seconds with a fraction; thousands may be separated by commas.
fn milliseconds(text: &str) -> Option<u64> {
    let seconds: f64 = text.trim().replace(',', "").parse().ok()?;
    if !seconds.is_finite() || seconds < 0.0 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturating and never negative"
    )]
    Some((seconds * 1000.0).round() as u64)
}

impl Parser {
    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), ReportError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = format!("elements nest deeper than {DEPTH_MAX}");
            return Err(ReportError::Malformed { format: Format::JunitXml, message });
        }
        let name = element.local_name();
        let name = name.as_ref();
        if !self.seen_root {
            self.seen_root = true;
            if name != "testsuite" && name != "testsuites" {
                let shown: String = name.chars().take(40).collect();
                let message =
                    format!("its first element is `{shown}`, not `testsuites` or `testsuite`");
                return Err(ReportError::Malformed { format: Format::JunitXml, message });
            }
        }
        if self.case.is_some() {
            return self.open_in_case(name, element);
        }
        match name {
            "testsuite" | "testsuites" => {
                if let Some((_, parent)) = self.suites.last_mut() {
                    parent.has_suites = true;
                }
                let suite = Suite {
                    name: attribute(element, "name")?,
                    tests: number(element, "tests")?,
                    failures: number(element, "failures")?,
                    errors: number(element, "errors")?,
                    own: 0,
                    all: 0,
                    failing: 0,
                    has_suites: false,
                    is_root: name == "testsuites",
                };
                self.suites.push((self.depth, suite));
                // Suites of one report are written one after the other: the greatest text is the latest time.
                let time = attribute(element, "timestamp")?.filter(|time| !time.is_empty());
                if time > self.report.produced_at {
                    self.report.produced_at = time;
                }
            }
            "testcase" => self.open_case(element)?,
            // An error of a whole suite: its set-up broke, or its process crashed.
            "error" | "failure" if !self.suites.is_empty() => {
                let message = attribute(element, "message")?.unwrap_or_default();
                let suite = self
                    .suites
                    .last()
                    .and_then(|(_, suite)| suite.name.clone())
                    .unwrap_or_default();
                let message = format!("suite `{suite}` broke: {message}");
                self.report.faults.push(crate::Fault {
                    code: "suite-error",
                    message,
                    file: None,
                    line: None,
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn open_case(&mut self, element: &BytesStart<'_>) -> Result<(), ReportError> {
        let mut case =
            Case::new(attribute(element, "name")?.unwrap_or_default(), CaseStatus::Passed);
        case.suite = match attribute(element, "classname")? {
            Some(class) if !class.is_empty() => Some(class),
            _ => self.suites.last().and_then(|(_, suite)| suite.name.clone()),
        };
        case.file = attribute(element, "file")?.filter(|file| !file.is_empty());
        case.line = attribute(element, "line")?.and_then(|line| line.trim().parse().ok());
        case.duration_ms = attribute(element, "time")?.as_deref().and_then(milliseconds);
        // Google Test and Bazel say so in an attribute.
        let status = attribute(element, "status")?.unwrap_or_default().to_ascii_lowercase();
        let result = attribute(element, "result")?.unwrap_or_default().to_ascii_lowercase();
        for word in [status.as_str(), result.as_str()] {
            match word {
                "notrun" | "skipped" | "suppressed" | "disabled" | "ignored" => {
                    case.status = CaseStatus::Skipped
                }
                "failed" | "failure" | "fail" => case.status = CaseStatus::Failed,
                "error" | "errored" => case.status = CaseStatus::Errored,
                _ => {}
            }
        }
        // Nobody can tell a case without a name from another, and it counts all the same.
        if case.name.is_empty() {
            "(without a name)".clone_into(&mut case.name);
        }
        self.case = Some(OpenCase {
            case,
            depth: self.depth,
            retried: false,
            todo: false,
            message: None,
            text: String::new(),
        });
        Ok(())
    }

    fn open_in_case(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), ReportError> {
        let depth = self.depth;
        let Some(open) = self.case.as_mut() else { return Ok(()) };
        if depth != open.depth + 1 {
            return Ok(());
        }
        let status = match name {
            "failure" => CaseStatus::Failed,
            "error" => CaseStatus::Errored,
            "skipped" => CaseStatus::Skipped,
            "flakyFailure" | "flakyError" | "rerunFailure" | "rerunError" => {
                open.retried = true;
                return Ok(());
            }
            _ => return Ok(()),
        };
        if status == CaseStatus::Skipped && attribute(element, "type")?.as_deref() == Some("todo") {
            open.todo = true;
        }
        let status = if open.todo { CaseStatus::Skipped } else { status };
        // A case that failed and then broke in its tear-down has failed; nothing makes a failure undone.
        let worse = match (open.case.status, status) {
            (CaseStatus::Failed, _) => CaseStatus::Failed,
            (CaseStatus::Errored, CaseStatus::Skipped) => CaseStatus::Errored,
            (_, new) => new,
        };
        open.case.status = worse;
        self.collecting = Collecting::Reason;
        open.text.clear();
        open.message = attribute(element, "message")?.filter(|message| !message.trim().is_empty());
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.collecting == Collecting::Reason
            && let Some(open) = self.case.as_mut()
        {
            let mut room = TEXT_MAX.saturating_sub(open.text.len()).min(text.len());
            while !text.is_char_boundary(room) {
                room -= 1;
            }
            open.text.push_str(&text[..room]);
        }
    }

    fn close(&mut self) -> Result<(), ReportError> {
        let depth = self.depth;
        self.depth = self.depth.saturating_sub(1);
        if let Some(mut open) = self.case.take() {
            if depth == open.depth + 1 && self.collecting == Collecting::Reason {
                self.collecting = Collecting::Nothing;
                let text = std::mem::take(&mut open.text);
                let message = open.message.take();
                open.case.explain_at(message.as_deref().unwrap_or(&text), &text);
            }
            if depth == open.depth {
                self.finish_case(open)?;
            } else {
                self.case = Some(open);
            }
            return Ok(());
        }
        if self.suites.last().is_some_and(|(level, _)| *level == depth)
            && let Some((_, suite)) = self.suites.pop()
        {
            self.compare(&suite);
            if let Some((_, parent)) = self.suites.last_mut() {
                parent.all += suite.all;
                parent.failing += suite.failing;
            }
        }
        Ok(())
    }

    fn finish_case(&mut self, open: OpenCase) -> Result<(), ReportError> {
        let OpenCase { mut case, retried, .. } = open;
        case.flaky = retried && case.status == CaseStatus::Passed;
        if let Some((_, suite)) = self.suites.last_mut() {
            suite.own += 1;
            suite.all += 1;
            suite.failing +=
                u64::from(matches!(case.status, CaseStatus::Failed | CaseStatus::Errored));
        }
        self.report.push(case)
    }

    /// Compares what a suite says of itself with what was found in it.
    ///
    /// Runners differ in how they count retries, tear-down errors and nested suites, so only two things are held
    /// against a report: another number of cases than it says, and saying that something failed where nothing did or
    /// the other way round.
    fn compare(&mut self, suite: &Suite) {
        let name =
            suite.name.as_deref().unwrap_or(if suite.is_root { "testsuites" } else { "testsuite" });
        let found = if suite.has_suites { suite.all } else { suite.own };
        if let Some(tests) = suite.tests
            && tests != found
            && !(suite.has_suites && !suite.is_root && tests == suite.own)
        {
            let message = format!("`{name}` declares {tests} tests and holds {found} cases");
            self.report.contradictions.push(message);
        }
        let declared = match (suite.failures, suite.errors) {
            (None, None) => return,
            (failures, errors) => failures.unwrap_or(0).saturating_add(errors.unwrap_or(0)),
        };
        if (declared > 0) != (suite.failing > 0) {
            let failing = suite.failing;
            let message = format!(
                "`{name}` declares {declared} failures and errors, and {failing} of its cases failed"
            );
            self.report.contradictions.push(message);
        }
    }
}
