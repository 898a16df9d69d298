//! Verdicts: a judgement, and what it rests on.

use serde_json::{Map, Value};

use crate::finding::{self, Extensions, Finding};

/// What a validator decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictKind {
    /// The evidence shows that it is done.
    Pass,
    /// The evidence shows that it is not done, or done wrongly.
    Fail,
    /// The evidence does not show it either way.
    Inconclusive,
    /// A person has to decide.
    NeedsReview,
}

/// One reason for a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// A stable code for programs: lower-case words with `-` between them.
    pub code: String,
    /// What was found and what was expected, for people.
    pub message: String,
    /// The file it is about.
    pub path: Option<String>,
    /// The line in that file, counted from 1.
    pub line: Option<u32>,
}

impl Reason {
    /// Makes a reason without a place.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), path: None, line: None }
    }

    /// Says which file it is about.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Says which line it is about, counted from 1.
    #[must_use]
    pub fn at_line(mut self, path: impl Into<String>, line: u32) -> Self {
        self.path = Some(path.into());
        self.line = Some(line);
        self
    }
}

/// A judgement, and what it rests on.
///
/// ```
/// use caelum_sdk::{Reason, Verdict, VerdictKind};
/// let verdict = Verdict::fail("tests-failed", "2 of 212 tests failed")
///     .reason(Reason::new("test-failed", "`adds` failed: expected 3, found 4").at_line("src/lib.rs", 40))
///     .metric("tests_total", 212)
///     .metric("tests_failed", 2);
/// assert_eq!(verdict.kind, VerdictKind::Fail);
/// assert_eq!(verdict.summary, "2 of 212 tests failed");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What was decided.
    pub kind: VerdictKind,
    /// The judgement in one line.
    pub summary: String,
    /// Why. At least one unless it is a pass.
    pub reasons: Vec<Reason>,
    /// What was counted.
    pub metrics: Map<String, Value>,
    /// What was found in files.
    pub findings: Vec<Finding>,
    /// Further facts.
    pub extensions: Extensions,
}

impl Verdict {
    /// Decides that it is done. The summary says what was counted.
    pub fn pass(summary: impl Into<String>) -> Self {
        Self::new(VerdictKind::Pass, summary.into(), Vec::new())
    }

    /// Decides that it is not done, for one reason, whose message is the summary.
    pub fn fail(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::for_one(VerdictKind::Fail, code, message)
    }

    /// Decides that the evidence does not show it either way, for one reason, whose message is the summary.
    pub fn inconclusive(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::for_one(VerdictKind::Inconclusive, code, message)
    }

    /// Decides that a person has to decide, for one reason, whose message is the summary.
    pub fn needs_review(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::for_one(VerdictKind::NeedsReview, code, message)
    }

    /// Decides that it is not done, for several reasons.
    pub fn fail_for(summary: impl Into<String>, reasons: impl IntoIterator<Item = Reason>) -> Self {
        Self::new(VerdictKind::Fail, summary.into(), reasons.into_iter().collect())
    }

    /// Decides that the evidence does not show it either way, for several reasons.
    pub fn inconclusive_for(
        summary: impl Into<String>,
        reasons: impl IntoIterator<Item = Reason>,
    ) -> Self {
        Self::new(VerdictKind::Inconclusive, summary.into(), reasons.into_iter().collect())
    }

    fn for_one(kind: VerdictKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::new(kind, message.clone(), vec![Reason::new(code, message)])
    }

    fn new(kind: VerdictKind, summary: String, reasons: Vec<Reason>) -> Self {
        Self {
            kind,
            summary,
            reasons,
            metrics: Map::new(),
            findings: Vec::new(),
            extensions: Extensions::new(),
        }
    }

    /// Adds a reason.
    #[must_use]
    pub fn reason(mut self, reason: Reason) -> Self {
        self.reasons.push(reason);
        self
    }

    /// Adds a number, text or flag to what was counted.
    #[must_use]
    pub fn metric(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metrics.insert(name.into(), value.into());
        self
    }

    /// Adds a finding.
    #[must_use]
    pub fn finding(mut self, finding: Finding) -> Self {
        finding::push(&mut self.findings, finding);
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }

    /// Answers whether the step passed.
    #[must_use]
    pub fn is_pass(&self) -> bool {
        self.kind == VerdictKind::Pass
    }
}
