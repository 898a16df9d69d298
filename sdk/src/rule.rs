//! What a pattern looks for: its rules, as constants.

use crate::finding::Severity;

/// One thing that a pattern looks for. Patterns hold them in [`Pattern::RULES`](crate::Pattern::RULES).
///
/// ```
/// use caelum_sdk::{Rule, Severity};
/// const RULES: &[Rule] = &[
///     Rule::new("HC01", Severity::Blocking, "a service that others wait for has a health check").fixable(),
///     Rule::new("HC05", Severity::Warning, "a health check has a timeout").remediation("Add `timeout: 5s`."),
/// ];
/// assert!(RULES[0].fixable);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The id that findings carry: ASCII letters, digits, `-`, `_` and `.`, at most 64 bytes. Never changes its meaning.
    pub id: &'static str,
    /// The severity of its findings unless the parameters change it.
    pub severity: Severity,
    /// What must be so, in one sentence.
    pub title: &'static str,
    /// Whether the plan can answer its findings, at least in common cases.
    pub fixable: bool,
    /// What to do about a finding, in general.
    pub remediation: Option<&'static str>,
}

impl Rule {
    /// Makes a rule whose findings a person has to answer.
    #[must_use]
    pub const fn new(id: &'static str, severity: Severity, title: &'static str) -> Self {
        Self { id, severity, title, fixable: false, remediation: None }
    }

    /// Says that the plan can answer its findings.
    #[must_use]
    pub const fn fixable(mut self) -> Self {
        self.fixable = true;
        self
    }

    /// Says what to do about a finding.
    #[must_use]
    pub const fn remediation(mut self, remediation: &'static str) -> Self {
        self.remediation = Some(remediation);
        self
    }

    /// Begins a finding of this rule with its severity and remediation.
    pub fn finding(&self, message: impl Into<String>) -> crate::Finding {
        let finding = crate::Finding::new(self.id, self.severity, message);
        match self.remediation {
            Some(remediation) => finding.remediation(remediation),
            None => finding,
        }
    }
}
