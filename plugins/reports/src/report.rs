//! What every format is read into.

use std::fmt;

use thiserror::Error;

use crate::{BYTES_MAX, CASES_MAX, MESSAGE_MAX};

/// A form that reports come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// JUnit's XML, which most runners can write.
    JunitXml,
    /// What `cargo test` prints.
    CargoTestText,
    /// What libtest prints with `--format json`.
    LibtestJson,
    /// What `go test -json` prints.
    GoTestJson,
    /// The Test Anything Protocol, versions 12 to 14.
    Tap,
    /// What `pytest` prints. It names failed cases only.
    PytestText,
    /// What Python's `unittest` prints. It names failed cases only.
    UnittestText,
}

impl Format {
    /// All formats, in the order in which they are looked for.
    pub const ALL: [Format; 7] = [
        Format::JunitXml,
        Format::GoTestJson,
        Format::LibtestJson,
        Format::Tap,
        Format::CargoTestText,
        Format::PytestText,
        Format::UnittestText,
    ];

    /// Returns the word used in verdicts and descriptions.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::JunitXml => "junit-xml",
            Format::CargoTestText => "cargo-test-text",
            Format::LibtestJson => "libtest-json",
            Format::GoTestJson => "go-test-json",
            Format::Tap => "tap",
            Format::PytestText => "pytest-text",
            Format::UnittestText => "unittest-text",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaseStatus {
    /// It ran and held.
    Passed,
    /// It ran and an expectation did not hold.
    Failed,
    /// It broke outside of an expectation: in its set-up, by a crash, or without ever ending.
    Errored,
    /// It did not run.
    Skipped,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The suite, class, package or binary that it belongs to.
    pub suite: Option<String>,
    /// Its name.
    pub name: String,
    /// The file that it, or its failure, is in.
    pub file: Option<String>,
    /// The line there, from 1.
    pub line: Option<u32>,
    /// How it ended.
    pub status: CaseStatus,
    /// Why, where it did not pass: a line or two.
    pub message: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Whether it failed before it passed.
    pub flaky: bool,
}

impl Case {
    /// Builds a case of which only name and end are known.
    pub fn new(name: impl Into<String>, status: CaseStatus) -> Self {
        Case {
            suite: None,
            name: name.into(),
            file: None,
            line: None,
            status,
            message: None,
            duration_ms: None,
            flaky: false,
        }
    }

    /// Returns the name with its suite in front, unless it has that already.
    pub fn full_name(&self) -> String {
        match &self.suite {
            Some(suite) if !suite.is_empty() && !self.name.starts_with(suite.as_str()) => {
                format!("{suite}::{}", self.name)
            }
            _ => self.name.clone(),
        }
    }

    /// Keeps the beginning of a message, and looks for a place in it where none is known.
    pub fn explain(&mut self, message: &str) {
        self.explain_at(message, message);
    }

    /// As [`Case::explain`], with the place in another text, such as a trace, or else in the message.
    pub fn explain_at(&mut self, message: &str, trace: &str) {
        if self.line.is_none()
            && let Some(place) = crate::locate(trace).or_else(|| crate::locate(message))
        {
            self.file = Some(place.file);
            self.line = Some(place.line);
        }
        if self.message.is_none() {
            self.message = shortened(message);
        }
    }
}

/// How many cases ended in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// Broke.
    pub errors: u64,
    /// Did not run.
    pub skipped: u64,
}

impl Totals {
    /// Returns how many cases there are.
    pub fn tests(&self) -> u64 {
        self.executed().saturating_add(self.skipped)
    }

    /// Returns how many cases ran.
    pub fn executed(&self) -> u64 {
        self.passed.saturating_add(self.failed).saturating_add(self.errors)
    }

    /// Adds a case.
    pub fn count(&mut self, status: CaseStatus) {
        let field = match status {
            CaseStatus::Passed => &mut self.passed,
            CaseStatus::Failed => &mut self.failed,
            CaseStatus::Errored => &mut self.errors,
            CaseStatus::Skipped => &mut self.skipped,
        };
        *field = field.saturating_add(1);
    }

    /// Returns both together.
    #[must_use]
    pub fn plus(self, other: Totals) -> Totals {
        Totals {
            passed: self.passed.saturating_add(other.passed),
            failed: self.failed.saturating_add(other.failed),
            errors: self.errors.saturating_add(other.errors),
            skipped: self.skipped.saturating_add(other.skipped),
        }
    }
}

/// Something that went wrong outside of any case: a build, a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A stable word: `compile-error`, `crash`, `bail-out`, `package-failed`.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// The file.
    pub file: Option<String>,
    /// The line there, from 1.
    pub line: Option<u32>,
}

/// A report, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its format.
    pub format: Format,
    /// The cases that it names; all of them unless [`Report::names_all`] says otherwise.
    pub cases: Vec<Case>,
    /// What was counted: from the cases where all are named.
    pub totals: Totals,
    /// Whether every case that was counted is in `cases`.
    pub names_all: bool,
    /// Where it contradicts itself.
    pub contradictions: Vec<String>,
    /// Why it is not the whole report, when it is not.
    pub unfinished: Option<String>,
    /// What went wrong outside of any case.
    pub faults: Vec<Fault>,
    /// When it was written, as it says itself: the latest of its times, in the form that the runner chose.
    pub produced_at: Option<String>,
}

impl Report {
    /// Builds an empty report.
    pub(crate) fn new(format: Format) -> Self {
        Report {
            format,
            cases: Vec::new(),
            totals: Totals::default(),
            names_all: true,
            contradictions: Vec::new(),
            unfinished: None,
            faults: Vec::new(),
            produced_at: None,
        }
    }

    /// Adds a case and counts it.
    pub(crate) fn push(&mut self, case: Case) -> Result<(), ReportError> {
        if self.cases.len() >= CASES_MAX {
            return Err(ReportError::TooManyCases);
        }
        self.totals.count(case.status);
        self.cases.push(case);
        Ok(())
    }

    /// Notes that it ends early; the first reason is kept.
    pub(crate) fn note_unfinished(&mut self, reason: impl Into<String>) {
        if self.unfinished.is_none() {
            self.unfinished = Some(reason.into());
        }
    }

    /// Returns the cases that failed or broke.
    pub fn failing(&self) -> impl Iterator<Item = &Case> {
        self.cases
            .iter()
            .filter(|case| matches!(case.status, CaseStatus::Failed | CaseStatus::Errored))
    }
}

/// Why a report could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// It is larger than [`BYTES_MAX`].
    #[error("the report has {bytes} bytes; at most {BYTES_MAX} are read")]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// It holds more than [`CASES_MAX`] cases.
    #[error("the report has more than {CASES_MAX} cases")]
    TooManyCases,
    /// It declares a document type or uses entities of its own. Neither belongs in a report, and both are ways to
    /// attack whoever reads it.
    #[error("the report {what}; such XML is not read")]
    ForbiddenXml {
        /// What it does.
        what: &'static str,
    },
    /// It ends before it should.
    #[error("the report is cut off: {message}")]
    CutOff {
        /// What is missing.
        message: String,
    },
    /// It is not of the format.
    #[error("the text is no {format}: {message}")]
    Malformed {
        /// The format that was expected.
        format: Format,
        /// What was found.
        message: String,
    },
}

/// Returns the first lines of a text that say something, at most [`MESSAGE_MAX`] characters of them.
pub(crate) fn shortened(text: &str) -> Option<String> {
    let mut short = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()).take(3) {
        if !short.is_empty() {
            short.push_str(" | ");
        }
        short.push_str(line);
    }
    if short.chars().count() > MESSAGE_MAX {
        short = short.chars().take(MESSAGE_MAX - 1).collect();
        short.push('…');
    }
    (!short.is_empty()).then_some(short)
}
