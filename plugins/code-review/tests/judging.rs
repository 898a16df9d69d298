//! Verdicts on what servers, code hosts and tools record.

use caelum_sdk::testing::{
    FakeTarget, approved, check_validator, evidence, exited, judge, rejected,
};
use caelum_sdk::{Evidence, Review, Verdict, VerdictKind};
use code_review::CodeReview;
use serde_json::{Value, json};

const PULL: &str = include_str!("../fixtures/pull.json");
const REVIEWS: &str = include_str!("../fixtures/reviews.json");
const SARIF: &str = include_str!("../fixtures/clippy.sarif");
const DIFF: &str = include_str!("../fixtures/change.diff");

fn judged(reviews: Vec<Review>, files: &[(&str, &str)], parameters: Value) -> Verdict {
    let mut target = FakeTarget::new();
    let mut run = Evidence { reviews, ..evidence(vec![exited("a", 0)]) };
    for (name, text) in files {
        let path = format!("evidence/a/{name}");
        target = target.file(path.clone(), *text);
        run.files.push(path);
    }
    judge::<CodeReview>(&run, &target, parameters).expect("a verdict")
}

fn codes(verdict: &Verdict) -> Vec<&str> {
    verdict.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

#[test]
fn it_keeps_the_contract() {
    check_validator::<CodeReview>();
}

#[test]
fn without_reviews_a_person_has_to_decide() {
    let verdict = judged(vec![], &[], json!({}));
    assert_eq!(
        (verdict.kind, codes(&verdict)),
        (VerdictKind::NeedsReview, vec!["approvals-missing"])
    );
    let verdict = judged(vec![approved("bob")], &[], json!({}));
    assert_eq!((verdict.kind, verdict.summary.as_str()), (VerdictKind::Pass, "approved by bob"));
    assert_eq!(judged(vec![rejected("bob", "no")], &[], json!({})).kind, VerdictKind::Fail);
}

#[test]
fn a_hosted_review_counts_for_the_head_alone() {
    let verdict = judged(vec![], &[("pull.json", PULL), ("reviews.json", REVIEWS)], json!({}));
    assert_eq!((verdict.kind, verdict.summary.as_str()), (VerdictKind::Pass, "approved by bob"));

    let verdict =
        judged(vec![], &[("pull.json", PULL), ("reviews.json", REVIEWS)], json!({"approvals": 2}));
    assert_eq!(codes(&verdict), ["approvals-missing", "stale-approval", "bot"]);
    assert_eq!(verdict.kind, VerdictKind::NeedsReview);

    let verdict = judged(vec![], &[("reviews.json", REVIEWS)], json!({}));
    assert_eq!(
        verdict.kind,
        VerdictKind::Fail,
        "without a head, only bob's request for changes stands: {verdict:#?}"
    );
}

#[test]
fn requests_for_changes_hold_and_dismissals_take_back() {
    let review = |id: u32, login: &str, state: &str, commit: &str| {
        json!({"id": id, "user": {"login": login}, "state": state, "body": "", "commit_id": commit,
               "submitted_at": format!("2026-01-02T09:{id:02}:00Z")})
    };
    let head = "6dcb09b5b57875f334f61aebed695e2e4193db5e";
    let with = |reviews: Value| {
        judged(vec![], &[("p.json", PULL), ("r.json", &reviews.to_string())], json!({}))
    };

    let verdict = with(json!([
        review(1, "bob", "APPROVED", head),
        review(2, "carol", "CHANGES_REQUESTED", "old")
    ]));
    assert_eq!(
        (verdict.kind, verdict.summary.as_str()),
        (VerdictKind::Fail, "`carol` rejects: changes requested")
    );
    let verdict = with(json!([
        review(2, "bob", "CHANGES_REQUESTED", head),
        review(1, "bob", "APPROVED", head)
    ]));
    assert_eq!(verdict.kind, VerdictKind::Fail, "the order is that of time");
    assert_eq!(
        with(json!([review(1, "bob", "APPROVED", head), review(2, "bob", "DISMISSED", head)])).kind,
        VerdictKind::NeedsReview
    );
    assert_eq!(
        with(json!([review(1, "bob", "APPROVED", head), review(2, "bob", "COMMENTED", head)])).kind,
        VerdictKind::Pass
    );
    assert_eq!(
        codes(&with(json!([review(1, "Ada", "APPROVED", head)]))),
        ["approvals-missing", "reviewer-is-performer"]
    );
    assert_eq!(codes(&with(json!([]))), ["approvals-missing"]);
}

#[test]
fn drafts_and_other_commits_do_not_pass() {
    let draft = PULL.replace("\"draft\": false", "\"draft\": true");
    assert_eq!(codes(&judged(vec![approved("bob")], &[("p.json", &draft)], json!({}))), ["draft"]);
    let other = "1111111111111111111111111111111111111111";
    let verdict = judged(vec![approved("bob")], &[("p.json", PULL)], json!({"head_commit": other}));
    assert_eq!((verdict.kind, codes(&verdict)), (VerdictKind::Inconclusive, vec!["wrong-commit"]));
}

#[test]
fn results_of_an_analysis_fail_with_their_places() {
    let verdict = judged(vec![approved("bob")], &[("clippy.sarif", SARIF)], json!({}));
    assert_eq!((verdict.kind, codes(&verdict)), (VerdictKind::Fail, vec!["analysis-result"]));
    assert_eq!(
        (verdict.reasons[0].path.as_deref(), verdict.reasons[0].line),
        (Some("src/guardian.rs"), Some(17))
    );
    assert_eq!(
        judged(vec![approved("bob")], &[("x.sarif", SARIF)], json!({"fail_on": "warning"}))
            .reasons
            .len(),
        2
    );
    let verdict = judged(vec![approved("bob")], &[("x.sarif", SARIF)], json!({"fail_on": "never"}));
    assert_eq!(
        verdict.summary,
        "approved by bob; 1 analysis with 2 results, none of which fails the gate"
    );
}

#[test]
fn an_analysis_that_broke_never_passes() {
    let broken = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"invocations":[{"executionSuccessful":false,"exitCodeDescription":"out of memory"}],"results":[]}]}"#;
    let verdict = judged(vec![approved("bob")], &[("x.sarif", broken)], json!({}));
    assert_eq!(
        (verdict.kind, codes(&verdict)),
        (VerdictKind::Inconclusive, vec!["analysis-failed"])
    );
    assert!(verdict.summary.ends_with("out of memory"), "{}", verdict.summary);
    for text in
        ["", "{", r#"{"version":"2.1.0","runs":[]}"#, r#"{"version":"2.1.0","runs":[{}]}"#, "hello"]
    {
        let verdict = judged(vec![approved("bob")], &[("x.sarif", text)], json!({}));
        assert_eq!(verdict.kind, VerdictKind::Inconclusive, "{text}");
    }
}

#[test]
fn diffs_are_counted_and_their_faults_told() {
    let verdict = judged(vec![], &[("change.diff", DIFF)], json!({"approvals": 0}));
    assert_eq!(
        (verdict.kind, verdict.summary.as_str()),
        (VerdictKind::Pass, "a diff of 1 file (+4 -1)")
    );
    let verdict =
        judged(vec![], &[("change.diff", DIFF)], json!({"approvals": 0, "max_changed_lines": 3}));
    assert_eq!(codes(&verdict), ["change-too-large"]);
    let cut = &DIFF[..DIFF.len() - 60];
    assert_eq!(
        judged(vec![approved("bob")], &[("change.diff", cut)], json!({})).kind,
        VerdictKind::Inconclusive
    );
    assert_eq!(judged(vec![], &[], json!({"approvals": 0})).kind, VerdictKind::Inconclusive);
}

#[test]
fn a_commit_must_be_one() {
    let error =
        judge::<CodeReview>(&evidence(vec![]), &FakeTarget::new(), json!({"head_commit": "main"}));
    let error = error.expect_err("is a branch").to_string();
    assert!(error.contains("expected 40 or 64 hexadecimal digits, found `main`"), "{error}");
}
