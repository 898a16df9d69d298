//! Verdicts on what real runners left behind, and on what would like to pass and must not.

use caelum_sdk::testing::{FakeTarget, check_validator, evidence, exited, judge};
use caelum_sdk::{Evidence, Outcome, Verdict, VerdictKind};
use serde_json::{Value, json};
use unit_tests::UnitTests;

const CARGO_FAILED: &str = include_str!("../fixtures/cargo-failed.txt");
const CARGO_OK: &str = include_str!("../fixtures/cargo-ok.txt");
const PYTEST_XML: &str = include_str!("../fixtures/pytest.xml");
const PYTEST_TEXT: &str = include_str!("../fixtures/pytest.txt");
const NODE_XML: &str = include_str!("../fixtures/node.xml");
const NODE_TAP: &str = include_str!("../fixtures/node.tap");
const GOOD: &str =
    "<testsuite tests=\"2\"><testcase name=\"a\" time=\"0.5\"/><testcase name=\"b\"/></testsuite>";

fn with_file(exit_code: i32, name: &str, text: &str, parameters: Value) -> Verdict {
    let path = format!("evidence/a/{name}");
    let run = Evidence { files: vec![path.clone()], ..evidence(vec![exited("a", exit_code)]) };
    judge::<UnitTests>(&run, &FakeTarget::new().file(path, text), parameters).expect("a verdict")
}

fn printed(exit_code: i32, stdout: &str, stderr: &str) -> Verdict {
    let run = evidence(vec![exited("a", exit_code).with_stdout(stdout).with_stderr(stderr)]);
    judge::<UnitTests>(&run, &FakeTarget::new(), json!({})).expect("a verdict")
}

fn codes(verdict: &Verdict) -> Vec<&str> {
    verdict.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

#[test]
fn it_keeps_the_contract() {
    check_validator::<UnitTests>();
}

#[test]
fn a_pass_says_what_was_counted() {
    let verdict = with_file(0, "report.xml", GOOD, json!({}));
    assert_eq!(
        (verdict.kind, verdict.summary.as_str()),
        (VerdictKind::Pass, "2 tests passed (junit-xml)")
    );
    assert_eq!(
        (&verdict.metrics["passed"], &verdict.metrics["duration_ms"]),
        (&json!(2), &json!(500))
    );

    let verdict = printed(0, CARGO_OK, "");
    assert_eq!(
        (verdict.kind, verdict.summary.as_str()),
        (VerdictKind::Pass, "2 tests passed (cargo-test-text)")
    );
}

#[test]
fn real_failures_are_named_with_their_places() {
    let verdict = with_file(1, "report.xml", PYTEST_XML, json!({}));
    assert_eq!(
        (verdict.kind, verdict.summary.as_str()),
        (VerdictKind::Fail, "2 of 3 tests failed")
    );
    assert_eq!(codes(&verdict), ["tests-failed", "test-failed", "test-error"]);
    let failed = &verdict.reasons[1];
    assert_eq!((failed.path.as_deref(), failed.line), (Some("tests/test_stock.py"), Some(8)));
    assert!(
        failed.message.starts_with(
            "`tests.test_stock::test_total` failed: AssertionError: the total is wrong"
        ),
        "{}",
        failed.message
    );

    let verdict = printed(101, CARGO_FAILED, "error: test failed, to rerun pass `--lib`\n");
    assert_eq!(verdict.summary, "1 of 3 tests failed");
    assert_eq!(
        verdict.reasons[1].message,
        "`tests::prints_a_fake` failed: assertion `left == right` failed: sums are wrong | left: 2 | right: 3"
    );

    for (verdict, skipped) in
        [(with_file(1, "report.xml", NODE_XML, json!({})), 2), (printed(1, NODE_TAP, ""), 2)]
    {
        assert_eq!(
            (verdict.summary.as_str(), &verdict.metrics["skipped"]),
            ("1 of 3 tests failed", &json!(skipped))
        );
        let failed = &verdict.reasons[1];
        assert_eq!((failed.path.as_deref(), failed.line), (Some("/app/sum.test.js"), Some(6)));
        assert!(
            failed.message.contains("Expected values to be strictly equal"),
            "{}",
            failed.message
        );
    }
    assert_eq!(printed(1, PYTEST_TEXT, "").summary, "2 of 3 tests failed");
}

#[test]
fn exit_code_and_report_must_agree() {
    let verdict = with_file(0, "report.xml", PYTEST_XML, json!({}));
    assert_eq!(verdict.kind, VerdictKind::Fail);
    assert!(codes(&verdict).contains(&"contradiction"));
    let verdict = with_file(1, "report.xml", GOOD, json!({}));
    assert_eq!((verdict.kind, codes(&verdict)), (VerdictKind::Fail, vec!["contradiction"]));
    let lying = "<testsuite tests=\"5\"><testcase name=\"a\"/></testsuite>";
    assert_eq!(codes(&with_file(0, "r.xml", lying, json!({}))), ["contradiction"]);
}

#[test]
fn no_tests_are_no_pass() {
    let none = "\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 5 filtered out; finished in 0.00s\n";
    assert_eq!(codes(&printed(0, &none.repeat(3), "")), ["no-tests-executed"]);
    assert_eq!(codes(&printed(5, "no tests ran in 0.00s\n", "")), ["no-tests-executed"]);
    let skipped = "<testsuite><testcase name=\"a\"><skipped/></testcase></testsuite>";
    assert_eq!(codes(&with_file(0, "r.xml", skipped, json!({}))), ["no-tests-executed"]);
    assert_eq!(with_file(0, "r.xml", skipped, json!({"min_tests": 0})).kind, VerdictKind::Pass);
    assert_eq!(codes(&with_file(0, "r.xml", GOOD, json!({"min_tests": 3}))), ["too-few-tests"]);
}

#[test]
fn missing_empty_cut_stale_and_unknown_evidence_shows_nothing() {
    for (verdict, code) in [
        (printed(0, "", ""), "no-report"),
        (printed(0, "all good\n", ""), "no-report"),
        (with_file(0, "notes.txt", "all good", json!({})), "no-report"),
        (with_file(0, "r.xml", "", json!({"report_files": ["*.xml"]})), "empty-report"),
        (with_file(0, "r.xml", "<TestRun/>", json!({"report_files": ["*.xml"]})), "unknown-format"),
        (with_file(0, "r.xml", &GOOD[..40], json!({})), "unreadable-report"),
        (with_file(0, "r.xml", "<!DOCTYPE x><testsuite/>", json!({})), "unreadable-report"),
        (
            with_file(
                0,
                "r.xml",
                &GOOD.replace("tests=\"2\"", "timestamp=\"2025-12-31T23:00:00Z\""),
                json!({}),
            ),
            "stale-report",
        ),
        (printed(0, "running 2 tests\ntest a ... ok\n", ""), "unfinished-report"),
        (printed(0, "TAP version 13\nok 1\n", ""), "unfinished-report"),
    ] {
        assert_eq!(
            (verdict.kind, codes(&verdict)[0]),
            (VerdictKind::Inconclusive, code),
            "{verdict:#?}"
        );
    }
    let mut cut = exited("a", 0).with_stdout(CARGO_OK);
    cut.stdout.truncated = true;
    let verdict =
        judge::<UnitTests>(&evidence(vec![cut]), &FakeTarget::new(), json!({})).expect("a verdict");
    assert_eq!(
        (verdict.kind, codes(&verdict)),
        (VerdictKind::Inconclusive, vec!["unfinished-report"])
    );
}

#[test]
fn broken_builds_crashes_and_timeouts_fail() {
    let stderr = "error[E0425]: cannot find value `x`\n --> src/lib.rs:4:5\nerror: could not compile `shop` (lib test) due to 1 previous error\n";
    let verdict = printed(101, "", stderr);
    assert_eq!((verdict.kind, codes(&verdict)[0]), (VerdictKind::Fail, "compile-error"));
    assert!(verdict.summary.contains("src/lib.rs:4"), "{}", verdict.summary);

    let verdict = printed(127, "", "sh: 1: pytest: not found\n");
    assert_eq!((verdict.kind, codes(&verdict)[0]), (VerdictKind::Fail, "nonzero-exit"));
    assert!(verdict.summary.contains("pytest: not found"), "{}", verdict.summary);

    let late = Outcome { timed_out: true, exit_code: None, ..exited("a", 0) };
    let verdict = judge::<UnitTests>(&evidence(vec![late]), &FakeTarget::new(), json!({}))
        .expect("a verdict");
    assert_eq!((verdict.kind, codes(&verdict)), (VerdictKind::Fail, vec!["timed-out"]));

    let crash = "running 2 tests\ntest a ... ok\n";
    let verdict = printed(
        101,
        crash,
        "  process didn't exit successfully: `/t/x` (signal: 11, SIGSEGV: invalid memory reference)\n",
    );
    assert!(codes(&verdict).contains(&"crash"), "{verdict:#?}");
}

#[test]
fn every_machine_must_hand_in_its_report() {
    let run = Evidence {
        files: vec![
            "evidence/a/r.xml".into(),
            "evidence/b/copy.xml".into(),
            "evidence/b/r.xml".into(),
        ],
        ..evidence(vec![exited("a", 0), exited("b", 0), exited("c", 0)])
    };
    let target = FakeTarget::new()
        .file("evidence/a/r.xml", GOOD)
        .file("evidence/b/r.xml", GOOD)
        .file("evidence/b/copy.xml", GOOD);
    let verdict = judge::<UnitTests>(&run, &target, json!({})).expect("a verdict");
    assert_eq!((verdict.kind, codes(&verdict)), (VerdictKind::Inconclusive, vec!["no-report"]));
    assert!(verdict.summary.starts_with("`c` handed in no test report"), "{}", verdict.summary);
    // The copy of a report does not count twice.
    assert_eq!(verdict.metrics["passed"], json!(4));
}

#[test]
fn twenty_failures_are_named_and_the_rest_is_counted() {
    let cases: String =
        (0..30).map(|index| format!("<testcase name=\"t{index}\"><failure/></testcase>")).collect();
    let verdict = with_file(1, "r.xml", &format!("<testsuite>{cases}</testsuite>"), json!({}));
    assert_eq!(verdict.reasons.iter().filter(|reason| reason.code == "test-failed").count(), 20);
    assert_eq!(
        verdict.reasons.last().map(|reason| reason.message.as_str()),
        Some("10 more tests failed")
    );
}

#[test]
fn limits_can_be_set_and_wrong_globs_are_refused() {
    assert_eq!(
        codes(&with_file(
            1,
            "r.xml",
            PYTEST_XML,
            json!({"max_skipped_ratio": 0.1, "max_failed": 2})
        ))[0],
        "too-many-skipped"
    );
    let run = evidence(vec![exited("a", 0)]);
    let error = judge::<UnitTests>(
        &run,
        &FakeTarget::new(),
        json!({"report_files": ["[", "x"], "min_test": 1}),
    );
    let error = error.expect_err("an unknown parameter").to_string();
    assert!(error.contains("/min_test"), "{error}");
    let error = judge::<UnitTests>(&run, &FakeTarget::new(), json!({"report_files": ["["]}))
        .expect_err("no glob");
    assert!(error.to_string().contains("/report_files/0"), "{error}");
}
