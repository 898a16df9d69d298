//! The parameters that all first-party patterns share: what to leave out, and how much a rule matters here.

use std::collections::BTreeMap;

use caelum_sdk::{Finding, Glob, ParameterProblem, PluginError, Rule, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A finding that somebody has looked at and accepted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Suppression {
    /// The id of the rule.
    pub rule: String,
    /// A glob of the files that it is accepted in; without it, everywhere.
    pub path: Option<String>,
    /// Why it is accepted. Shown with the finding.
    pub reason: String,
}

/// What to leave out and how much rules matter, made ready for use.
#[derive(Debug)]
pub struct Scope {
    exclude: Vec<Glob>,
    overrides: BTreeMap<String, Severity>,
    suppressions: Vec<(Suppression, Option<Glob>)>,
}

impl Scope {
    /// Checks the parameters and makes them ready.
    ///
    /// # Errors
    /// `InvalidParameters` with every glob that cannot be parsed, every rule that does not exist and every reason that
    /// is empty.
    pub fn new(
        rules: &[Rule],
        exclude: &[String],
        severity_overrides: &BTreeMap<String, Severity>,
        suppress: &[Suppression],
    ) -> Result<Self, PluginError> {
        let mut problems = Vec::new();
        let mut globs = Vec::new();
        for (index, pattern) in exclude.iter().enumerate() {
            match Glob::new(pattern) {
                Ok(glob) => globs.push(glob),
                Err(error) => problems
                    .push(ParameterProblem::new(format!("/exclude/{index}"), error.to_string())),
            }
        }
        let known: Vec<&str> = rules.iter().map(|rule| rule.id).collect();
        let unknown =
            |rule: &str| format!("there is no rule `{rule}`; known are {}", known.join(", "));
        for rule in severity_overrides.keys() {
            if !known.contains(&rule.as_str()) {
                problems.push(ParameterProblem::new(
                    format!("/severity_overrides/{rule}"),
                    unknown(rule),
                ));
            }
        }
        let mut suppressions = Vec::new();
        for (index, suppression) in suppress.iter().enumerate() {
            let at = format!("/suppress/{index}");
            if !known.contains(&suppression.rule.as_str()) {
                problems
                    .push(ParameterProblem::new(format!("{at}/rule"), unknown(&suppression.rule)));
            }
            if suppression.reason.trim().is_empty() {
                let message = "say why the finding is accepted".to_owned();
                problems.push(ParameterProblem::new(format!("{at}/reason"), message));
            }
            match suppression.path.as_deref().map(Glob::new).transpose() {
                Ok(glob) => suppressions.push((suppression.clone(), glob)),
                Err(error) => {
                    problems.push(ParameterProblem::new(format!("{at}/path"), error.to_string()))
                }
            }
        }
        if !problems.is_empty() {
            return Err(PluginError::InvalidParameters(problems));
        }
        Ok(Scope { exclude: globs, overrides: severity_overrides.clone(), suppressions })
    }

    /// Answers whether a file is to be looked at.
    pub fn includes(&self, path: &str) -> bool {
        !self.exclude.iter().any(|glob| glob.matches(path))
    }

    /// Answers whether findings of a rule in a file are accepted, so that nothing is to be changed there.
    pub fn accepts(&self, rule: &str, path: Option<&str>) -> bool {
        self.suppression(rule, path).is_some()
    }

    fn suppression(&self, rule: &str, path: Option<&str>) -> Option<&Suppression> {
        let found = self.suppressions.iter().find(|(suppression, glob)| {
            suppression.rule == rule
                && match (glob, path) {
                    (None, _) => true,
                    (Some(glob), Some(path)) => glob.matches(path),
                    (Some(_), None) => false,
                }
        });
        found.map(|(suppression, _)| suppression)
    }

    /// Gives a finding the weight that it has here. An accepted one stays visible, as advice with the reason.
    #[must_use]
    pub fn weigh(&self, finding: Finding) -> Finding {
        if let Some(suppression) = self.suppression(&finding.rule, finding.path()) {
            let reason = suppression.reason.clone();
            return finding.severity(Severity::Advice).extension("component/accepted", reason);
        }
        match self.overrides.get(&finding.rule) {
            Some(severity) => finding.severity(*severity),
            None => finding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &[Rule] =
        &[Rule::new("A1", Severity::Blocking, "a"), Rule::new("A2", Severity::Warning, "b")];

    fn suppression(rule: &str, path: Option<&str>, reason: &str) -> Suppression {
        Suppression { rule: rule.into(), path: path.map(str::to_owned), reason: reason.into() }
    }

    #[test]
    fn rules_weigh_what_the_parameters_say() {
        let overrides = BTreeMap::from([("A2".to_owned(), Severity::Blocking)]);
        let accepted = [suppression("A1", Some("old/**"), "goes away in June")];
        let scope = Scope::new(RULES, &["gen/**".into()], &overrides, &accepted).expect("is valid");

        assert!(scope.includes("a/x.yaml") && !scope.includes("gen/x.yaml"));
        let weigh = |rule: &Rule, path: &str| scope.weigh(rule.finding("x").at(path));
        assert_eq!(weigh(&RULES[1], "x").severity, Severity::Blocking);
        assert_eq!(weigh(&RULES[0], "new/x").severity, Severity::Blocking);
        let old = weigh(&RULES[0], "old/x");
        assert_eq!(
            (old.severity, &old.extensions["component/accepted"]),
            (Severity::Advice, &"goes away in June".into())
        );
        assert!(scope.accepts("A1", Some("old/y")) && !scope.accepts("A1", None));
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let overrides = BTreeMap::from([("B1".to_owned(), Severity::Advice)]);
        let accepted = [suppression("B2", Some("["), " ")];
        let error =
            Scope::new(RULES, &["[".into()], &overrides, &accepted).expect_err("is not valid");
        let PluginError::InvalidParameters(problems) = error else { panic!("{error}") };
        let pointers: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/exclude/0",
                "/severity_overrides/B1",
                "/suppress/0/rule",
                "/suppress/0/reason",
                "/suppress/0/path"
            ]
        );
    }
}
