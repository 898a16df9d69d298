//! Assessments and plans on their way to the host.

use crate::bindings::pattern::exports::caelum::plugin::pattern as wit;
use crate::edit::{Change, Content, Edit, Ownership, Replacement, Risk};
use crate::finding;
use crate::pattern::{Applicability, Assessment, Pattern};
use crate::plan::{NextStep, Plan};

use super::{description, extensions, findings, severity};

pub(crate) fn describe<P: Pattern>() -> wit::PatternDescription {
    wit::PatternDescription {
        about: description(&P::ABOUT, &crate::parameters::schema::<P::Parameters>()),
        rules: P::RULES
            .iter()
            .map(|rule| wit::Rule {
                id: rule.id.to_owned(),
                title: rule.title.to_owned(),
                severity: severity(rule.severity),
                fixable: rule.fixable,
                remediation: rule.remediation.map(str::to_owned),
            })
            .collect(),
        applies_to: P::APPLIES_TO.iter().map(|glob| (*glob).to_owned()).collect(),
    }
}

pub(crate) fn assessment(assessment: Assessment) -> wit::Assessment {
    let mut facts = assessment.extensions().clone();
    wit::Assessment {
        applicability: match assessment.applicability() {
            Applicability::Applicable => wit::Applicability::Applicable,
            Applicability::AlreadyApplied => wit::Applicability::AlreadyApplied,
            Applicability::NotApplicable => wit::Applicability::NotApplicable,
        },
        passed_rules: assessment.passed().iter().cloned().collect(),
        not_applicable_rules: assessment.skipped().iter().cloned().collect(),
        findings: findings(assessment.findings().to_vec(), &mut facts),
        extensions: extensions(facts),
    }
}

pub(crate) fn plan(mut plan: Plan) -> wit::ChangePlan {
    plan.edits.sort_by(|left, right| {
        (left.path(), first_byte(left)).cmp(&(right.path(), first_byte(right)))
    });
    finding::sort(&mut plan.findings);
    let mut facts = plan.extensions;
    wit::ChangePlan {
        summary: plan.summary,
        edits: plan.edits.into_iter().map(edit).collect(),
        next_steps: plan.next_steps.into_iter().map(next_step).collect(),
        findings: findings(plan.findings, &mut facts),
        extensions: extensions(facts),
    }
}

fn first_byte(edit: &Edit) -> usize {
    match &edit.change {
        Change::Replace { ranges, .. } => {
            ranges.first().map_or(0, |replacement| replacement.range.start)
        }
        _ => 0,
    }
}

fn edit(edit: Edit) -> wit::Edit {
    wit::Edit {
        change: change(edit.change),
        ownership: match edit.ownership {
            Ownership::Managed => wit::Ownership::Managed,
            Ownership::Block => wit::Ownership::Block,
            Ownership::Seed => wit::Ownership::Seed,
        },
        risk: match edit.risk {
            Risk::Safe => wit::Risk::Safe,
            Risk::Review => wit::Risk::Review,
        },
        resolves: edit.resolves,
        rationale: edit.rationale,
    }
}

fn change(change: Change) -> wit::Change {
    match change {
        Change::Create { path, content } => wit::Change::Create(wit::CreateFile {
            path,
            content: match content {
                Content::Text(text) => wit::Content::Text(text),
                Content::Bytes(bytes) => wit::Content::Bytes(bytes),
            },
        }),
        Change::Replace { base, ranges } => wit::Change::Replace(wit::ReplaceRanges {
            path: base.path,
            base_sha256: base.sha256,
            ranges: ranges.into_iter().map(replacement).collect(),
        }),
        Change::Delete { base } => {
            wit::Change::Delete(wit::DeleteFile { path: base.path, base_sha256: base.sha256 })
        }
        Change::Rename { base, destination } => wit::Change::Rename(wit::RenameFile {
            source: base.path,
            destination,
            base_sha256: base.sha256,
        }),
    }
}

fn replacement(replacement: Replacement) -> wit::Replacement {
    wit::Replacement {
        start: replacement.range.start as u64,
        end: replacement.range.end as u64,
        text: replacement.text,
    }
}

fn next_step(step: NextStep) -> wit::NextStep {
    wit::NextStep {
        id: step.id,
        title: step.title,
        instructions: step.instructions,
        blocking: step.blocking,
        validator: step.validator,
        validator_parameters: step.validator_parameters.map(|parameters| parameters.to_string()),
    }
}
