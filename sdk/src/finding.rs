//! Findings: what is wrong or missing, where, and what to do about it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::file::SourceFile;
use crate::fingerprint::fingerprint;

/// Facts beyond the fields of a record, by name. A plugin puts its own id and a `/` before the name.
pub type Extensions = BTreeMap<String, Value>;

/// How much a finding matters. The order is the importance: `Advice < Warning < Blocking`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Advice,
    /// Should be put right.
    Warning,
    /// Must be put right.
    Blocking,
}

/// A place in a file. Lines and columns are counted from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file, relative to the root.
    pub path: String,
    /// The first line. Absent means the whole file.
    pub line: Option<u32>,
    /// The first column, in Unicode scalar values.
    pub column: Option<u32>,
    /// The last line, included. Absent means the same as `line`.
    pub end_line: Option<u32>,
    /// The column after the last one.
    pub end_column: Option<u32>,
}

impl Location {
    /// Makes a place that is a whole file.
    pub fn file(path: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// Makes a place that is one line.
    pub fn line(path: impl Into<String>, line: u32) -> Self {
        Self { path: path.into(), line: Some(line), ..Self::default() }
    }

    /// Makes a place that is several lines, both ends included.
    pub fn lines(path: impl Into<String>, first: u32, last: u32) -> Self {
        Self { path: path.into(), line: Some(first), end_line: Some(last), ..Self::default() }
    }

    /// Adds the columns: the first, and the one after the last.
    #[must_use]
    pub fn columns(mut self, first: u32, after_last: u32) -> Self {
        self.column = Some(first);
        self.end_column = Some(after_last);
        self
    }
}

/// Something that is wrong or missing.
///
/// ```
/// use caelum_sdk::{Finding, Severity};
/// let finding = Finding::new("HC01", Severity::Blocking, "service `db` has no health check")
///     .at_line("compose.yml", 12)
///     .about("services/db")
///     .remediation("Add a `healthcheck` to `db`.");
/// assert!(finding.fingerprint().starts_with("HC01:"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule that was broken.
    pub rule: String,
    /// How much it matters here.
    pub severity: Severity,
    /// What was found and what was expected.
    pub message: String,
    /// Where. Absent when it is about the whole tree or about something that is not there.
    pub location: Option<Location>,
    /// What a person should do about it.
    pub remediation: Option<String>,
    /// Further facts.
    pub extensions: Extensions,
    /// What identifies it beside rule and path. Absent means the message.
    content: Option<String>,
    /// Its number among equals of one answer; given when it joins the answer.
    occurrence: u32,
}

impl Finding {
    /// Makes a finding about the whole tree. [`Rule::finding`](crate::Rule::finding) is shorter for patterns.
    pub fn new(rule: impl Into<String>, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            rule: rule.into(),
            severity,
            message: message.into(),
            location: None,
            remediation: None,
            extensions: Extensions::new(),
            content: None,
            occurrence: 0,
        }
    }

    /// Says that it is about a whole file.
    #[must_use]
    pub fn at(self, path: impl Into<String>) -> Self {
        self.at_location(Location::file(path))
    }

    /// Says that it is about a line of a file, counted from 1.
    #[must_use]
    pub fn at_line(self, path: impl Into<String>, line: u32) -> Self {
        self.at_location(Location::line(path, line))
    }

    /// Says where: bytes of a file, as [`SourceFile::location`](crate::SourceFile::location) counts them.
    #[must_use]
    pub fn at_range(self, file: &SourceFile, range: std::ops::Range<usize>) -> Self {
        self.at_location(file.location(range))
    }

    /// Says where it is.
    #[must_use]
    pub fn at_location(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// Says what it is about, for the fingerprint: the text of the place, or a name such as `services/db`.
    ///
    /// Use it whenever the message may change between runs for the same finding (numbers, line numbers). Never pass a
    /// secret here: pass a keyed hash of it.
    #[must_use]
    pub fn about(mut self, content: impl Into<String>) -> Self {
        self.content = Some(content.into());
        self
    }

    /// Says what a person should do about it.
    #[must_use]
    pub fn remediation(mut self, remediation: impl Into<String>) -> Self {
        self.remediation = Some(remediation.into());
        self
    }

    /// Changes how much it matters.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }

    /// Returns the path of its location.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.location.as_ref().map(|location| location.path.as_str())
    }

    /// Returns what makes it the same finding in the next run: computed from rule, path, content and, among equals of
    /// one answer, the running number that it got when it joined the answer.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.rule, self.path(), self.identity(), self.occurrence)
    }

    fn identity(&self) -> &str {
        self.content.as_deref().unwrap_or(&self.message)
    }
}

/// Adds a finding to those of an answer and gives it its number among equals.
pub(crate) fn push(findings: &mut Vec<Finding>, mut finding: Finding) {
    finding.occurrence = 0;
    let base = finding.fingerprint();
    let equals = findings
        .iter()
        .filter(|other| other.rule == finding.rule)
        .filter(|other| fingerprint(&other.rule, other.path(), other.identity(), 0) == base)
        .count();
    finding.occurrence = u32::try_from(equals).unwrap_or(u32::MAX);
    findings.push(finding);
}

/// Sorts findings as the contract asks: by path, line, column, then rule. Those without a place come first.
pub(crate) fn sort(findings: &mut [Finding]) {
    findings.sort_by(|left, right| {
        left.location
            .cmp(&right.location)
            .then_with(|| left.rule.cmp(&right.rule))
            .then_with(|| left.occurrence.cmp(&right.occurrence))
            .then_with(|| left.message.cmp(&right.message))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(line: u32) -> Finding {
        Finding::new("A1", Severity::Warning, "no timeout").at_line("a.yml", line)
    }

    #[test]
    fn a_fingerprint_survives_a_shift_of_lines() {
        assert_eq!(finding(3).fingerprint(), finding(30).fingerprint());
    }

    #[test]
    fn equal_findings_of_one_answer_are_told_apart() {
        let mut findings = Vec::new();

        for line in [3, 9, 12] {
            push(&mut findings, finding(line));
        }

        let prints: std::collections::BTreeSet<_> =
            findings.iter().map(Finding::fingerprint).collect();
        assert_eq!(prints.len(), 3);
        assert_eq!(findings[0].fingerprint(), finding(1).fingerprint());
    }

    #[test]
    fn findings_are_sorted_by_place_then_rule() {
        let mut findings = vec![
            Finding::new("B", Severity::Advice, "b").at_line("b.yml", 1),
            Finding::new("B", Severity::Advice, "b").at_line("a.yml", 9),
            Finding::new("A", Severity::Advice, "a").at_line("a.yml", 9),
            Finding::new("Z", Severity::Advice, "whole tree"),
        ];

        sort(&mut findings);

        let order: Vec<_> =
            findings.iter().map(|finding| (finding.path(), finding.rule.as_str())).collect();
        assert_eq!(
            order,
            [(None, "Z"), (Some("a.yml"), "A"), (Some("a.yml"), "B"), (Some("b.yml"), "B")]
        );
    }
}
