//! The verdict of a validator.

use caelum_core::evidence::{Reason, Verdict, VerdictKind};
use caelum_core::plugin::HostReason;
use serde_json::{Map, Value};

use crate::bindings::validator_export as guest;
use crate::text;

use super::finding::findings;
use super::{Breaches, clean_json, count, extensions, is_word, json_object};

/// Converts a judgement.
///
/// # Errors
///
/// [`HostReason::OutputTooLarge`] for too many reasons or findings, [`HostReason::Contract`] with all breaches.
pub(crate) fn verdict(given: guest::Verdict, findings_max: u64) -> Result<Verdict, HostReason> {
    count("reasons", given.reasons.len(), findings_max)?;
    count("findings", given.findings.len(), findings_max)?;
    let mut breaches = Breaches::default();
    let kind = match given.kind {
        guest::VerdictKind::Pass => VerdictKind::Pass,
        guest::VerdictKind::Fail => VerdictKind::Fail,
        guest::VerdictKind::Inconclusive => VerdictKind::Inconclusive,
        guest::VerdictKind::NeedsReview => VerdictKind::NeedsReview,
    };
    if given.reasons.is_empty() && kind != VerdictKind::Pass {
        breaches.add(format!("the verdict is `{}` and has no reason", kind.as_str()));
    }
    let reasons = given
        .reasons
        .into_iter()
        .enumerate()
        .map(|(index, given)| reason(index, given, &mut breaches))
        .collect();
    let metrics = json_object(&given.metrics, "`metrics`", &mut breaches)
        .map_or_else(|| Value::Object(Map::new()), clean_json);
    let findings = findings(given.findings, &mut breaches);
    extensions(given.extensions, "the verdict", &mut breaches);
    breaches.finish(Verdict {
        kind,
        summary: text::line(&given.summary),
        reasons,
        metrics,
        findings,
        host_reason: None,
    })
}

fn reason(index: usize, given: guest::Reason, breaches: &mut Breaches) -> Reason {
    let lower = !given.code.contains(|letter: char| letter.is_ascii_uppercase());
    if !lower || !is_word(&given.code, 64, "-_") {
        breaches.add(format!(
            "reason {index} has the code `{}`; a code is 1 to 64 lower-case letters, digits and `-`",
            text::line(&given.code)
        ));
    }
    Reason {
        code: text::line(&given.code),
        message: text::paragraph(&given.message),
        path: given.path.map(|path| text::line(&path)),
        line: given.line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest_verdict(kind: guest::VerdictKind, codes: &[&str]) -> guest::Verdict {
        guest::Verdict {
            kind,
            summary: "212 tests passed".to_owned(),
            reasons: codes
                .iter()
                .map(|code| guest::Reason {
                    code: (*code).to_owned(),
                    message: "because".to_owned(),
                    path: None,
                    line: None,
                })
                .collect(),
            metrics: r#"{"passed":212}"#.to_owned(),
            findings: vec![],
            extensions: vec![],
        }
    }

    #[test]
    fn a_pass_needs_no_reason_and_everything_else_does() {
        assert!(verdict(guest_verdict(guest::VerdictKind::Pass, &[]), 9).is_ok());
        assert!(verdict(guest_verdict(guest::VerdictKind::Fail, &["tests-failed"]), 9).is_ok());
        assert_eq!(
            verdict(guest_verdict(guest::VerdictKind::Fail, &[]), 9)
                .expect_err("no reason")
                .to_string(),
            "broke the contract: the verdict is `fail` and has no reason"
        );
    }

    #[test]
    fn metrics_are_an_object_and_codes_are_codes() {
        let mut given = guest_verdict(guest::VerdictKind::Fail, &["Tests Failed"]);
        given.metrics = "3".to_owned();

        assert_eq!(
            verdict(given, 9).expect_err("two breaches").to_string(),
            "broke the contract: reason 0 has the code `Tests Failed`; a code is 1 to 64 lower-case letters, digits \
             and `-`; `metrics` is not a JSON object"
        );
    }

    #[test]
    fn a_million_reasons_are_refused_by_their_number() {
        let mut given = guest_verdict(guest::VerdictKind::Fail, &["a"]);
        given.reasons = vec![given.reasons[0].clone(); 1_001];

        assert_eq!(
            verdict(given, 1_000).expect_err("too many").to_string(),
            "returned 1001 reasons; at most 1000 are allowed"
        );
    }
}
