//! What was found, and the changes that answer it. One change may answer findings of several rules.

use std::collections::BTreeSet;

use caelum_plugin_component::Scope;
use caelum_sdk::{Assessment, Context, Edit, Finding, Rule};

/// A change, and the numbers of the findings that it answers.
#[derive(Clone, Debug)]
struct Change {
    edit: Edit,
    answers: Vec<usize>,
}

/// What was found, and the changes that answer it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    looked: BTreeSet<&'static str>,
    findings: Vec<Finding>,
    changes: Vec<Change>,
}

impl Outcome {
    /// Says that a rule had something to look at.
    pub(crate) fn looked(&mut self, rule: Rule) {
        self.looked.insert(rule.id);
    }

    pub(crate) fn has_looked(&self, rule: &Rule) -> bool {
        self.looked.contains(rule.id)
    }

    /// Adds a finding and returns its number.
    pub(crate) fn note(&mut self, finding: Finding) -> usize {
        self.findings.push(finding);
        self.findings.len() - 1
    }

    /// Adds a change that answers findings.
    pub(crate) fn change(&mut self, edit: Edit, answers: Vec<usize>) {
        self.changes.push(Change { edit, answers });
    }

    /// Returns the findings of a rule.
    pub(crate) fn findings<'o>(&'o self, rule: &'o Rule) -> impl Iterator<Item = &'o Finding> {
        self.findings.iter().filter(move |finding| finding.rule == rule.id)
    }

    /// Returns the numbers of findings with a mark in their extensions.
    pub(crate) fn marked(&self, mark: &str) -> Vec<usize> {
        let all = self.findings.iter().enumerate();
        all.filter(|(_, finding)| finding.extensions.contains_key(mark))
            .map(|(number, _)| number)
            .collect()
    }

    /// Answers whether a change stands for a path, so that the file will be as wanted.
    pub(crate) fn writes(&self, path: &str, scope: &Scope, context: &Context) -> bool {
        self.changes.iter().any(|change| {
            change.edit.path() == path
                && change.edit.risk == caelum_sdk::Risk::Safe
                && self.is_wanted(change, scope, Some(context))
        })
    }

    /// Answers whether a change stands for a test of the start-up checks.
    pub(crate) fn writes_a_test(&self, scope: &Scope, context: &Context) -> bool {
        self.changes.iter().any(|change| {
            change.answers.iter().any(|number| self.findings[*number].rule == crate::IE05.id)
                && self.is_wanted(change, scope, Some(context))
        })
    }

    /// Answers whether any change is left to make.
    pub(crate) fn answerable(&self, scope: &Scope) -> bool {
        self.changes.iter().any(|change| self.is_wanted(change, scope, None))
    }

    fn is_wanted(&self, change: &Change, scope: &Scope, context: Option<&Context>) -> bool {
        let wanted = |rule: &str| context.is_none_or(|context| context.wants(rule));
        change.answers.iter().any(|number| {
            let finding = &self.findings[*number];
            wanted(&finding.rule) && !scope.accepts(&finding.rule, finding.path())
        })
    }

    /// Returns the edits that answer what is wanted, sorted by path. `settled` are the findings of the assessment,
    /// which know their numbers among equals.
    pub(crate) fn edits(
        &self,
        settled: &Assessment,
        scope: &Scope,
        context: &Context,
    ) -> Vec<Edit> {
        let mut edits: Vec<Edit> = Vec::new();
        for change in &self.changes {
            if !self.is_wanted(change, scope, Some(context)) {
                continue;
            }
            let mut edit = change.edit.clone();
            for number in &change.answers {
                let own = &self.findings[*number];
                let found = settled.findings().iter().find(|finding| {
                    finding.rule == own.rule
                        && finding.message == own.message
                        && finding.location == own.location
                });
                if let Some(finding) = found {
                    edit = edit.resolves(finding);
                }
            }
            edits.push(edit);
        }
        edits.sort_by(|left, right| left.path().cmp(right.path()));
        edits
    }
}
