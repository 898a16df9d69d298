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
    /// Edits that somebody should look at.
    pub(super) withheld: Vec<Edit>,
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
    let edits = std::mem::take(&mut plan.edits).into_iter().filter(of_rules);
    let hold = |edit: &Edit| edit.risk == Risk::Review && !wanted.review_too;
    let (withheld, edits) = edits.partition(hold);
    plan.edits = edits;
    Chosen { plan, withheld }
}

/// Names edits that were withheld: path and why.
pub(super) fn withheld(edits: &[Edit]) -> Vec<(String, String)> {
    let path = |edit: &Edit| edit.change.paths().first().copied().unwrap_or_default().to_owned();
    edits.iter().map(|edit| (path(edit), edit.rationale.clone())).collect()
}

/// Says how an application without any edit ends: blocked by what no edit answers, else unchanged, with the edits that
/// wait for somebody's look beside it.
pub(super) fn nothing_to_do(
    application: &mut Application,
    findings: &[Finding],
    withheld: &[Edit],
    wanted: Wanted<'_>,
) {
    let of_rules =
        |finding: &&Finding| wanted.rules.is_empty() || wanted.rules.contains(&finding.rule);
    let findings: Vec<Finding> = findings.iter().filter(of_rules).cloned().collect();
    let blocking = unanswered(&findings, withheld);
    application.status = match blocking.is_empty() {
        true => ApplicationStatus::Unchanged,
        false => ApplicationStatus::Blocked,
    };
    if !withheld.is_empty() {
        let count = withheld.len();
        let (edits, need) = if count == 1 { ("edit", "needs") } else { ("edits", "need") };
        application.summary = format!(
            "nothing was changed: {count} {edits} {need} somebody's look; allow_review_edits: true applies them"
        );
    } else if application.status == ApplicationStatus::Unchanged && application.summary.is_empty() {
        "everything is in line already".clone_into(&mut application.summary);
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
    use caelum_core::clock::Timestamp;
    use caelum_core::id::Digest;
    use caelum_core::pattern::{Applicability, Change, Ownership};
    use caelum_core::plugin::{PinnedPlugin, PluginKind};

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

    fn application() -> Application {
        let plugin = PinnedPlugin {
            name: "pattern".parse().expect("legal"),
            kind: PluginKind::Pattern,
            version: "1.0.0".to_owned(),
            digest: Digest::from_bytes(&[0; 32]),
            phases: vec![],
        };
        Application {
            application_id: "app_1".parse().expect("legal"),
            plan_id: None,
            pattern: plugin,
            target_component: "shop".to_owned(),
            directory: "/srv/shop".into(),
            status: ApplicationStatus::Applying,
            applied_at: Timestamp::EPOCH,
            by: "tester".to_owned(),
            parameters: serde_json::Map::new(),
            summary: String::new(),
            diff: String::new(),
            changed_files: vec![],
            withheld: vec![],
            findings_before: vec![],
            findings_after: vec![],
            next_steps: vec![],
            problems: vec![],
            execution: None,
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
        assert_eq!(withheld(&chosen.withheld), [("a2".to_owned(), "because".to_owned())]);

        let all = Wanted { rules: &[], review_too: true };
        assert_eq!(paths(&choose(plan(edits), &findings, all).plan), ["a", "a2", "b"]);
    }

    #[test]
    fn what_only_waits_for_a_look_is_unchanged_and_what_no_edit_answers_is_blocked() {
        let findings = [finding("A", Severity::Blocking), finding("B", Severity::Blocking)];
        let withheld = [edit("a", "A-1", Risk::Review), edit("b", "B-1", Risk::Review)];
        let all = Wanted { rules: &[], review_too: false };
        let only_a = ["A".to_owned()];
        let of_a = Wanted { rules: &only_a, review_too: false };
        let ends = |withheld: &[Edit], wanted: Wanted<'_>| {
            let mut application = application();
            nothing_to_do(&mut application, &findings, withheld, wanted);
            (application.status, application.summary, application.problems)
        };

        let looks = ends(&withheld, all);
        let one = ends(&withheld[..1], all);
        let of_rule = ends(&withheld[..1], of_a);

        assert_eq!(looks.0, ApplicationStatus::Unchanged);
        assert!(looks.1.contains("2 edits need somebody's look"), "{}", looks.1);
        assert_eq!(looks.2, Vec::<String>::new());
        assert_eq!((one.0, one.2), (ApplicationStatus::Blocked, vec!["B: is missing".to_owned()]));
        assert_eq!(of_rule.0, ApplicationStatus::Unchanged, "other rules were not asked for");
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
