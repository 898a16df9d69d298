//! Findings and assessments of a pattern.

use std::collections::BTreeSet;

use caelum_core::finding::{Finding, Location, Severity};
use caelum_core::pattern::{Applicability, Assessment, check_path};
use caelum_core::plugin::HostReason;

use crate::bindings::{pattern_export as guest, types};
use crate::text;

use super::{Breaches, count, extensions, is_word};

/// Converts what a pattern thinks of a component.
///
/// # Errors
///
/// [`HostReason::OutputTooLarge`] for too many findings, [`HostReason::Contract`] with all breaches.
pub(crate) fn assessment(
    given: guest::Assessment,
    findings_max: u64,
) -> Result<Assessment, HostReason> {
    count("findings", given.findings.len(), findings_max)?;
    count("passed rules", given.passed_rules.len(), findings_max)?;
    count("rules that do not apply", given.not_applicable_rules.len(), findings_max)?;
    let mut breaches = Breaches::default();
    let findings = findings(given.findings, &mut breaches);
    let passed_rules = rule_ids(given.passed_rules, "`passed-rules`", &mut breaches);
    let not_applicable_rules =
        rule_ids(given.not_applicable_rules, "`not-applicable-rules`", &mut breaches);
    let applicability = match given.applicability {
        guest::Applicability::Applicable => Applicability::Applicable,
        guest::Applicability::AlreadyApplied => Applicability::AlreadyApplied,
        guest::Applicability::NotApplicable => Applicability::NotApplicable,
    };
    if applicability == Applicability::NotApplicable && !findings.is_empty() {
        breaches
            .add(format!("says `not-applicable` and has {} findings all the same", findings.len()));
    }
    extensions(given.extensions, "the assessment", &mut breaches);
    breaches.finish(Assessment { applicability, findings, passed_rules, not_applicable_rules })
}

fn rule_ids(ids: Vec<String>, what: &str, breaches: &mut Breaches) -> Vec<String> {
    for id in &ids {
        if !is_rule_id(id) {
            breaches.add(format!("{what} names `{}`, which is no rule id", text::line(id)));
        }
    }
    ids
}

/// Whether a text can be the id of a rule (`types.wit`).
pub(super) fn is_rule_id(id: &str) -> bool {
    is_word(id, 64, "-_.")
}

pub(super) fn severity(given: types::Severity) -> Severity {
    match given {
        types::Severity::Advice => Severity::Advice,
        types::Severity::Warning => Severity::Warning,
        types::Severity::Blocking => Severity::Blocking,
    }
}

/// Converts the findings of one answer.
pub(super) fn findings(given: Vec<types::Finding>, breaches: &mut Breaches) -> Vec<Finding> {
    let mut fingerprints = BTreeSet::new();
    given
        .into_iter()
        .enumerate()
        .map(|(index, finding)| {
            let what = format!("finding {index}");
            if !is_rule_id(&finding.rule) {
                breaches.add(format!(
                    "{what} has the rule `{}`; a rule is 1 to 64 letters, digits, `-`, `_` and `.`",
                    text::line(&finding.rule)
                ));
            }
            if !is_word(&finding.fingerprint, 128, "-_:.") {
                breaches.add(format!(
                    "{what} has the fingerprint `{}`; a fingerprint is 1 to 128 letters, digits, `-`, `_`, `:` and `.`",
                    text::line(&finding.fingerprint)
                ));
            } else if !fingerprints.insert(finding.fingerprint.clone()) {
                breaches.add(format!("{what} has the fingerprint of an earlier one"));
            }
            Finding {
                rule: text::line(&finding.rule),
                severity: severity(finding.severity),
                message: text::paragraph(&finding.message),
                location: finding.location.map(|place| location(place, &what, breaches)),
                remediation: finding.remediation.map(|text| text::paragraph(&text)),
                fingerprint: text::line(&finding.fingerprint),
                extensions: extensions(finding.extensions, &what, breaches),
            }
        })
        .collect()
}

fn location(given: types::Location, what: &str, breaches: &mut Breaches) -> Location {
    if let Err(problem) = check_path(&given.path) {
        breaches.add(format!("{what} lies in no path: {}", text::line(&problem)));
    }
    let numbers = [given.line, given.column, given.end_line, given.end_column];
    if numbers.contains(&Some(0)) {
        breaches.add(format!("{what} lies in line or column 0; both count from 1"));
    }
    if given.line.is_none() && numbers.iter().any(Option::is_some) {
        breaches.add(format!("{what} has a column or an end but no line"));
    }
    Location {
        path: text::line(&given.path),
        line: given.line,
        column: given.column,
        end_line: given.end_line,
        end_column: given.end_column,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn guest_finding(fingerprint: &str) -> types::Finding {
        types::Finding {
            rule: "HC02".to_owned(),
            severity: types::Severity::Warning,
            message: "no health check".to_owned(),
            location: Some(types::Location {
                path: "compose.yaml".to_owned(),
                line: Some(3),
                column: None,
                end_line: None,
                end_column: None,
            }),
            remediation: None,
            fingerprint: fingerprint.to_owned(),
            extensions: vec![],
        }
    }

    fn guest_assessment(findings: Vec<types::Finding>) -> guest::Assessment {
        guest::Assessment {
            applicability: guest::Applicability::Applicable,
            findings,
            passed_rules: vec!["HC01".to_owned()],
            not_applicable_rules: vec![],
            extensions: vec![],
        }
    }

    #[test]
    fn a_good_assessment_arrives_as_it_was_sent() {
        let answer = assessment(guest_assessment(vec![guest_finding("a")]), 1).expect("good");

        assert_eq!(answer.findings[0].place().as_deref(), Some("compose.yaml:3"));
        assert_eq!(answer.passed_rules, ["HC01"]);
    }

    #[test]
    fn messages_are_cleaned() {
        let finding =
            types::Finding { message: "\u{1b}[31mred\u{202e}".to_owned(), ..guest_finding("a") };

        let answer = assessment(guest_assessment(vec![finding]), 1).expect("good");

        assert_eq!(answer.findings[0].message, "red");
    }

    #[test]
    fn one_finding_too_many_is_refused_whole() {
        let given = guest_assessment(vec![guest_finding("a"), guest_finding("b")]);

        assert_eq!(
            assessment(given, 1).expect_err("too many").to_string(),
            "returned 2 findings; at most 1 are allowed"
        );
    }

    #[test]
    fn all_breaches_are_named_at_once() {
        let mut finding = guest_finding("a b");
        finding.rule = String::new();
        finding.location = Some(types::Location {
            path: "../x".to_owned(),
            line: Some(0),
            column: None,
            end_line: None,
            end_column: None,
        });
        finding.extensions = vec![("x".to_owned(), "{".to_owned())];

        let error = assessment(guest_assessment(vec![finding]), 9).expect_err("breaches");

        assert_eq!(
            error.to_string(),
            "broke the contract: finding 0 has the rule ``; a rule is 1 to 64 letters, digits, `-`, `_` and `.`; \
             finding 0 has the fingerprint `a b`; a fingerprint is 1 to 128 letters, digits, `-`, `_`, `:` and `.`; \
             finding 0 lies in no path: `../x` leaves the component through `..`; \
             finding 0 lies in line or column 0; both count from 1; \
             the extension `x` of finding 0 is not JSON: EOF while parsing an object at line 1 column 1"
        );
    }

    #[test]
    fn two_findings_cannot_share_a_fingerprint() {
        let given = guest_assessment(vec![guest_finding("a"), guest_finding("a")]);

        assert_eq!(
            assessment(given, 9).expect_err("twice").to_string(),
            "broke the contract: finding 1 has the fingerprint of an earlier one"
        );
    }
}
