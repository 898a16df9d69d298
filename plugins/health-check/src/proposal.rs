//! A finding together with the change that would answer it.

use std::collections::BTreeSet;

use caelum_plugin_syntax::splice::Splice;
use caelum_sdk::{Edit, Finding, Ownership, Risk, Rule, SourceFile};

/// A change of one file.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    file: SourceFile,
    splices: Vec<Splice>,
    risk: Risk,
    why: String,
}

impl Change {
    /// Makes a change that does what the pattern promises.
    pub(crate) fn safe(file: &SourceFile, splice: Splice, why: impl Into<String>) -> Self {
        Change { file: file.clone(), splices: vec![splice], risk: Risk::Safe, why: why.into() }
    }

    /// Makes a change that somebody should look at.
    pub(crate) fn review(file: &SourceFile, splices: Vec<Splice>, why: impl Into<String>) -> Self {
        Change { file: file.clone(), splices, risk: Risk::Review, why: why.into() }
    }

    /// Where it belongs among the edits of a plan: by path, then by its first byte.
    pub(crate) fn order(&self) -> (String, usize) {
        (
            self.file.path().to_owned(),
            self.splices.iter().map(|splice| splice.start).min().unwrap_or(0),
        )
    }

    /// Makes the edit that answers a finding.
    pub(crate) fn edit(&self, finding: &Finding) -> Edit {
        let mut edit =
            self.file.edit().owned(Ownership::Block).resolves(finding).because(&self.why);
        edit.risk = self.risk;
        for splice in &self.splices {
            edit = edit.substitute(splice.start..splice.end, &splice.text);
        }
        edit
    }
}

/// A finding, and what would answer it.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) finding: Finding,
    pub(crate) change: Option<Change>,
}

impl Proposal {
    /// Makes one that a person has to answer.
    pub(crate) fn finding(finding: Finding) -> Self {
        Proposal { finding, change: None }
    }

    /// Makes one that a change answers, when there is one.
    pub(crate) fn new(finding: Finding, change: Option<Change>) -> Self {
        Proposal { finding, change }
    }
}

/// All proposals of a call, and the rules that had something to look at.
#[derive(Default)]
pub(crate) struct Proposals {
    proposals: Vec<Proposal>,
    looked: BTreeSet<&'static str>,
}

impl Proposals {
    /// Says that a rule had something to look at.
    pub(crate) fn looked(&mut self, rule: Rule) {
        self.looked.insert(rule.id);
    }

    pub(crate) fn has_looked(&self, rule: &Rule) -> bool {
        self.looked.contains(rule.id)
    }

    pub(crate) fn push(&mut self, proposal: Proposal) {
        self.proposals.push(proposal);
    }

    /// Returns the proposals of a rule, in the order in which they were made.
    pub(crate) fn of<'p>(&'p self, rule: &'p Rule) -> impl Iterator<Item = &'p Proposal> {
        self.proposals.iter().filter(move |proposal| proposal.finding.rule == rule.id)
    }

    /// Answers whether no rule had anything to look at.
    pub(crate) fn is_empty(&self) -> bool {
        self.looked.is_empty()
    }
}
