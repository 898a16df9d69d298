//! What integration tests are judged by beyond what `unit-tests` tests.

use caelum_sdk::testing::{FakeTarget, check_validator, evidence, exited, judge};
use caelum_sdk::{Evidence, Verdict, VerdictKind};
use integration_tests::IntegrationTests;
use serde_json::{Value, json};

const SUREFIRE: &str = include_str!("../fixtures/surefire.xml");

fn judged(parameters: Value) -> Verdict {
    let path = "evidence/a/target/failsafe-reports/TEST-OrderRepositoryIT.xml";
    let run = Evidence { files: vec![path.into()], ..evidence(vec![exited("a", 0)]) };
    judge::<IntegrationTests>(&run, &FakeTarget::new().file(path, SUREFIRE), parameters)
        .expect("a verdict")
}

fn codes(verdict: &Verdict) -> Vec<&str> {
    verdict.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

#[test]
fn it_keeps_the_contract() {
    check_validator::<IntegrationTests>();
}

#[test]
fn tests_that_skip_themselves_do_not_pass_unnoticed() {
    let verdict = judged(json!({}));
    assert_eq!((verdict.kind, codes(&verdict)), (VerdictKind::Fail, vec!["too-many-skipped"]));
    assert_eq!(
        verdict.summary,
        "on `a`, 2 of 4 tests were skipped; a share of at most 0.25 is allowed"
    );
}

#[test]
fn flaky_tests_pass_and_are_told_unless_forbidden() {
    let verdict = judged(json!({"max_skipped_ratio": null}));
    assert_eq!(
        (verdict.kind, verdict.summary.as_str()),
        (VerdictKind::Pass, "2 tests passed, 2 skipped, 1 of them flaky (junit-xml)")
    );
    assert_eq!(
        codes(&judged(json!({"max_skipped_ratio": 0.5, "allow_flaky": false}))),
        ["flaky-tests"]
    );
}
