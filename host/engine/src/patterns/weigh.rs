//! Weighs what a pattern says: which edits are wanted, what stays unanswered, the score. Pure.

use std::collections::BTreeSet;

use caelum_core::finding::{Finding, Severity};
use caelum_core::pattern::{ApplicationStatus, Assessment, Edit, Plan, Risk};
use caelum_core::plugin::Rule;

use crate::request::Application;

/// Which edits of a plan are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) rules: &'a [String],
    pub(super) review_too: bool,
}

/// A plan with the edits that are not wanted taken out.
pub(super) struct Chosen {
    pub(super) plan: Plan,
    /// Edits that somebody should look at: path and why.
    pub(super) withheld: Vec<(String, String)>,
}

/// Takes out edits of other rules, and those that somebody should look at when that was not allowed.
pub(super) fn choose(mut plan: Plan, findings: &[Finding], wanted: Wanted<'_>) -> Chosen {
    let of_rules = |edit: &Edit| {
        wanted.rules.is_empty()
            || edit.resolves.iter().any(|fingerprint| {
                findings.iter().any(|finding| {
                    finding.fingerprint == *fingerprint && wanted.rules.contains(&finding.rule)
                })
            })
    };
    let mut withheld = Vec::new();
    plan.edits.retain(|edit| {
        if !of_rules(edit) {
            return false;
        }
        let hold = edit.risk == Risk::Review && !wanted.review_too;
        if hold {
            let path = edit.change.paths().first().copied().unwrap_or_default().to_owned();
            withheld.push((path, edit.rationale.clone()));
        }
        !hold
    });
    Chosen { plan, withheld }
}

/// Says how an application without any edit ends.
pub(super) fn nothing_to_do(application: &mut Application, findings: &[Finding]) {
    let blocking = unanswered(findings, &[]);
    if application.withheld.is_empty() && blocking.is_empty() {
        application.status = ApplicationStatus::Unchanged;
        if application.summary.is_empty() {
            "everything is in line already".clone_into(&mut application.summary);
        }
        return;
    }
    application.status = ApplicationStatus::Blocked;
    if !application.withheld.is_empty() {
        application.problems.push(format!(
            "{} edits need somebody's look; allow_review_edits: true applies them",
            application.withheld.len()
        ));
    }
    application.problems.extend(blocking);
}

/// Returns the blocking findings that no edit answers, for people.
pub(super) fn unanswered(findings: &[Finding], edits: &[Edit]) -> Vec<String> {
    let answered: BTreeSet<&str> =
        edits.iter().flat_map(|edit| &edit.resolves).map(String::as_str).collect();
    findings
        .iter()
        .filter(|finding| finding.severity == Severity::Blocking)
        .filter(|finding| !answered.contains(finding.fingerprint.as_str()))
        .map(describe)
        .collect()
}

pub(super) fn describe(finding: &Finding) -> String {
    match finding.place() {
        Some(place) => format!("{} {place}: {}", finding.rule, finding.message),
        None => format!("{}: {}", finding.rule, finding.message),
    }
}

pub(super) fn paths(plan: &Plan) -> Vec<String> {
    let all: BTreeSet<&str> = plan.edits.iter().flat_map(|edit| edit.change.paths()).collect();
    all.into_iter().map(str::to_owned).collect()
}

/// Returns the weighted share of rules that hold: blocking ones weigh 3, warnings 1, advice nothing.
pub(super) fn score(assessment: &Assessment, rules: &[Rule]) -> Option<f64> {
    let weight = |severity: Severity| match severity {
        Severity::Blocking => 3.0,
        Severity::Warning => 1.0,
        Severity::Advice => 0.0,
    };
    let of = |id: &str| {
        rules.iter().find(|rule| rule.id == id).map_or(1.0, |rule| weight(rule.severity))
    };
    let passed: f64 = assessment.passed_rules.iter().map(|id| of(id)).sum();
    let failed: BTreeSet<&str> =
        assessment.findings.iter().map(|finding| finding.rule.as_str()).collect();
    let failed: f64 = failed.into_iter().map(of).sum();
    let all = passed + failed;
    (all > 0.0).then(|| 100.0 * passed / all)
}

#[cfg(test)]
mod tests {
    use caelum_core::pattern::{Applicability, Change, Ownership};

    use super::*;

    fn finding(rule: &str, severity: Severity) -> Finding {
        Finding {
            rule: rule.to_owned(),
            severity,
            message: "is missing".to_owned(),
            location: None,
            remediation: None,
            fingerprint: format!("{rule}-1"),
            extensions: vec![],
        }
    }

    fn edit(path: &str, resolves: &str, risk: Risk) -> Edit {
        Edit {
            change: Change::Create { path: path.to_owned(), content: vec![] },
            ownership: Ownership::Managed,
            risk,
            resolves: vec![resolves.to_owned()],
            rationale: "because".to_owned(),
        }
    }

    fn plan(edits: Vec<Edit>) -> Plan {
        Plan { summary: String::new(), edits, next_steps: vec![], findings: vec![] }
    }

    #[test]
    fn edits_of_other_rules_are_left_out_and_risky_ones_are_withheld_by_name() {
        let findings = [finding("A", Severity::Blocking), finding("B", Severity::Warning)];
        let edits = vec![
            edit("a", "A-1", Risk::Safe),
            edit("a2", "A-1", Risk::Review),
            edit("b", "B-1", Risk::Safe),
        ];
        let rules = ["A".to_owned()];

        let careful = Wanted { rules: &rules, review_too: false };
        let chosen = choose(plan(edits.clone()), &findings, careful);
        assert_eq!(paths(&chosen.plan), ["a"]);
        assert_eq!(chosen.withheld, [("a2".to_owned(), "because".to_owned())]);

        let all = Wanted { rules: &[], review_too: true };
        assert_eq!(paths(&choose(plan(edits), &findings, all).plan), ["a", "a2", "b"]);
    }

    #[test]
    fn only_blocking_findings_without_an_edit_stay_unanswered() {
        let findings = [
            finding("A", Severity::Blocking),
            finding("B", Severity::Blocking),
            finding("C", Severity::Warning),
        ];
        let edits = [edit("a", "A-1", Risk::Safe)];
        assert_eq!(unanswered(&findings, &edits), ["B: is missing"]);
    }

    #[test]
    fn blocking_rules_weigh_three_times_a_warning_and_advice_nothing() {
        let rule = |id: &str, severity| Rule {
            id: id.to_owned(),
            title: String::new(),
            severity,
            fixable: true,
            remediation: None,
        };
        let rules = [
            rule("A", Severity::Blocking),
            rule("B", Severity::Warning),
            rule("C", Severity::Advice),
        ];
        let mut assessment = Assessment {
            applicability: Applicability::Applicable,
            findings: vec![finding("B", Severity::Warning), finding("C", Severity::Advice)],
            passed_rules: vec!["A".to_owned()],
            not_applicable_rules: vec![],
        };
        assert_eq!(score(&assessment, &rules), Some(75.0));
        assessment.findings.clear();
        assessment.passed_rules.clear();
        assert_eq!(score(&assessment, &rules), None, "no rule concerns it");
    }
}
