//! Improvement patterns: the trait, and what a pattern thinks of a component.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::about::About;
use crate::context::Context;
use crate::error::PluginError;
use crate::finding::{self, Extensions, Finding};
use crate::plan::Plan;
use crate::rule::Rule;
use crate::target::Target;

/// An improvement pattern. Export it with [`export_pattern!`](crate::export_pattern).
///
/// Both functions are pure: the same tree, parameters and context give the same answer. After its own plan was
/// applied, a pattern must plan nothing more; [`testing::check_plan`](crate::testing::check_plan) proves it.
///
/// ```
/// use caelum_sdk::*;
///
/// struct Licensed;
///
/// const RULE: Rule = Rule::new("LI01", Severity::Warning, "the component has a licence file").fixable();
///
/// impl Pattern for Licensed {
///     type Parameters = NoParameters;
///     const ABOUT: About = about!("licensed", "Licensed", "Adds a licence file where there is none.");
///     const RULES: &'static [Rule] = &[RULE];
///
///     fn validate(target: &dyn Target, _: &NoParameters, _: &Context) -> Result<Assessment, PluginError> {
///         let missing = !target.is_file("LICENSE")?;
///         Ok(Assessment::new().check(RULE.id, missing.then(|| RULE.finding("there is no `LICENSE`"))))
///     }
///
///     fn plan(target: &dyn Target, parameters: &NoParameters, context: &Context) -> Result<Plan, PluginError> {
///         let assessment = assess::<Self>(target, parameters, context)?;
///         let mut plan = Plan::new("adds a licence").findings_of(&assessment);
///         for finding in assessment.findings_of("LI01") {
///             plan.edit(Edit::create("LICENSE", "MIT\n").safe().resolves(finding).because("others need to know the terms"));
///         }
///         Ok(plan)
///     }
/// }
///
/// caelum_sdk::export_pattern!(Licensed);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no pattern",
    label = "this is exported as a pattern",
    note = "implement `caelum_sdk::Pattern` for it, or export it with `export_validator!` when it is a validator"
)]
pub trait Pattern {
    /// What can be set. Derive `serde::Deserialize`, `serde::Serialize` (for the defaults in the schema) and
    /// `schemars::JsonSchema`, with `#[serde(deny_unknown_fields, default)]` on the struct and a doc comment on each
    /// field; `()` when there is nothing.
    type Parameters: DeserializeOwned + JsonSchema;

    /// Who the pattern is.
    const ABOUT: About;

    /// All rules it knows.
    const RULES: &'static [Rule] = &[];

    /// Globs of files that make a component a case for it. Empty means every component.
    const APPLIES_TO: &'static [&'static str] = &[];

    /// Judges the component. Looking at more rules than `context` wants does no harm: the answer is narrowed later.
    ///
    /// # Errors
    /// Whatever keeps the pattern from judging; never a component with faults.
    fn validate(
        target: &dyn Target,
        parameters: &Self::Parameters,
        context: &Context,
    ) -> Result<Assessment, PluginError>;

    /// Computes what would bring the component in line. By default nothing but the findings, for patterns that only
    /// look.
    ///
    /// # Errors
    /// Whatever keeps the pattern from planning.
    fn plan(
        target: &dyn Target,
        parameters: &Self::Parameters,
        context: &Context,
    ) -> Result<Plan, PluginError> {
        let assessment = assess::<Self>(target, parameters, context)?;
        Ok(Plan::new("changes nothing: this pattern only looks").findings_of(&assessment))
    }
}

/// Judges the component and keeps only what the context wants: what the host is told, and what a plan starts from.
///
/// # Errors
/// Those of [`Pattern::validate`].
pub fn assess<P: Pattern + ?Sized>(
    target: &dyn Target,
    parameters: &P::Parameters,
    context: &Context,
) -> Result<Assessment, PluginError> {
    let mut assessment = P::validate(target, parameters, context)?;
    assessment.findings.retain(|finding| context.wants(&finding.rule));
    assessment.passed.retain(|rule| context.wants(rule));
    assessment.not_applicable.retain(|rule| context.wants(rule));
    finding::sort(&mut assessment.findings);
    Ok(assessment)
}

/// Whether there is something for a pattern here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applicability {
    /// The pattern fits, and has something to find or to change.
    Applicable,
    /// The pattern fits, and nothing is left to do.
    AlreadyApplied,
    /// The component is nothing this pattern is about.
    NotApplicable,
}

/// What a pattern thinks of a component.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assessment {
    // Private because each finding gets its number among equals on the way in.
    findings: Vec<Finding>,
    passed: BTreeSet<String>,
    not_applicable: BTreeSet<String>,
    applicability: Option<Applicability>,
    extensions: Extensions,
}

impl Assessment {
    /// Begins an assessment without findings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that the component is nothing this pattern is about.
    #[must_use]
    pub fn not_applicable() -> Self {
        Self { applicability: Some(Applicability::NotApplicable), ..Self::default() }
    }

    /// Records what a rule found: it passed when there are no findings.
    #[must_use]
    pub fn check(mut self, rule: &str, findings: impl IntoIterator<Item = Finding>) -> Self {
        self.record(rule, findings);
        self
    }

    /// As [`Assessment::check`], for loops.
    pub fn record(&mut self, rule: &str, findings: impl IntoIterator<Item = Finding>) {
        let before = self.findings.len();
        for finding in findings {
            self.push(finding);
        }
        if self.findings.len() == before
            && !self.findings.iter().any(|finding| finding.rule == rule)
        {
            self.passed.insert(rule.to_owned());
        }
    }

    /// Adds one finding. Its rule has not passed then.
    pub fn push(&mut self, finding: Finding) {
        self.passed.remove(&finding.rule);
        self.not_applicable.remove(&finding.rule);
        finding::push(&mut self.findings, finding);
    }

    /// Says that a rule has nothing to look at here.
    #[must_use]
    pub fn skip(mut self, rule: &str) -> Self {
        self.record_skip(rule);
        self
    }

    /// As [`Assessment::skip`], for loops.
    pub fn record_skip(&mut self, rule: &str) {
        self.not_applicable.insert(rule.to_owned());
    }

    /// Decides the applicability. By default it is `Applicable` when there are findings and `AlreadyApplied` when
    /// there are none.
    #[must_use]
    pub fn with_applicability(mut self, applicability: Applicability) -> Self {
        self.applicability = Some(applicability);
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn extension(
        mut self,
        name: impl Into<String>,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }

    /// Returns whether there is something to do.
    #[must_use]
    pub fn applicability(&self) -> Applicability {
        self.applicability.unwrap_or(match self.findings.is_empty() {
            true => Applicability::AlreadyApplied,
            false => Applicability::Applicable,
        })
    }

    /// Returns the findings.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns the findings of one rule.
    pub fn findings_of<'a>(&'a self, rule: &'a str) -> impl Iterator<Item = &'a Finding> {
        self.findings.iter().filter(move |finding| finding.rule == rule)
    }

    /// Returns the rules that were looked at and hold.
    #[must_use]
    pub fn passed(&self) -> &BTreeSet<String> {
        &self.passed
    }

    /// Returns the rules that have nothing to look at.
    #[must_use]
    pub fn skipped(&self) -> &BTreeSet<String> {
        &self.not_applicable
    }

    /// Returns the facts.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;

    fn finding(rule: &str) -> Finding {
        Finding::new(rule, Severity::Warning, "wrong")
    }

    #[test]
    fn a_rule_passes_when_it_found_nothing() {
        let assessment = Assessment::new()
            .check("A", [])
            .check("B", [finding("B"), finding("B")])
            .check("B", [])
            .skip("C");

        assert_eq!(assessment.passed().iter().collect::<Vec<_>>(), ["A"]);
        assert_eq!(assessment.skipped().iter().collect::<Vec<_>>(), ["C"]);
        assert_eq!(assessment.findings_of("B").count(), 2);
        assert_eq!(assessment.applicability(), Applicability::Applicable);
    }

    #[test]
    fn nothing_found_means_already_applied() {
        assert_eq!(Assessment::new().check("A", []).applicability(), Applicability::AlreadyApplied);
        assert_eq!(Assessment::not_applicable().applicability(), Applicability::NotApplicable);
    }
}
