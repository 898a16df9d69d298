//! Verdicts on reviews as a server records them.

use caelum_sdk::testing::{FakeTarget, approved, check_validator, evidence, judge, rejected};
use caelum_sdk::{Evidence, Review, Verdict, VerdictKind};
use manual_review::ManualReview;
use serde_json::{Value, json};

fn judged(reviews: Vec<Review>, parameters: Value) -> Verdict {
    let run = Evidence { reviews, performer: Some("ada".into()), ..evidence(vec![]) };
    judge::<ManualReview>(&run, &FakeTarget::new(), parameters).expect("a verdict")
}

fn codes(verdict: &Verdict) -> Vec<&str> {
    verdict.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

#[test]
fn it_keeps_the_contract() {
    check_validator::<ManualReview>();
}

#[test]
fn a_step_waits_until_enough_have_approved() {
    let verdict = judged(vec![], json!({}));
    assert_eq!(
        (verdict.kind, codes(&verdict)),
        (VerdictKind::NeedsReview, vec!["approvals-missing"])
    );
    let verdict = judged(vec![approved("bob")], json!({"approvals": 2}));
    assert_eq!(verdict.summary, "waits for 1 approval");
    let verdict = judged(vec![approved("bob"), approved("eve")], json!({"approvals": 2}));
    assert_eq!(
        (verdict.kind, verdict.summary.as_str()),
        (VerdictKind::Pass, "approved by bob, eve (2 of 2)")
    );
    // One person twice is one person.
    assert_eq!(
        judged(vec![approved("bob"), approved("Bob")], json!({"approvals": 2})).kind,
        VerdictKind::NeedsReview
    );
}

#[test]
fn a_rejection_wins() {
    let verdict = judged(vec![approved("bob"), rejected("eve", "no rollback")], json!({}));
    assert_eq!(
        (verdict.kind, verdict.summary.as_str()),
        (VerdictKind::Fail, "`eve` rejects: no rollback")
    );
    assert_eq!(
        judged(vec![approved("bob"), rejected("eve", "")], json!({})).kind,
        VerdictKind::NeedsReview
    );
}

#[test]
fn reviews_of_other_work_by_the_performer_or_from_before_do_not_count() {
    let other = Review { subject_digest: "sha256:2".into(), ..approved("bob") };
    let early = Review { at: "2025-12-31T12:00:00Z".into(), ..approved("eve") };
    let verdict = judged(vec![other, early, approved("Ada")], json!({}));
    assert_eq!(
        (verdict.kind, codes(&verdict)),
        (
            VerdictKind::NeedsReview,
            vec!["approvals-missing", "reviewer-is-performer", "wrong-subject", "review-expired"]
        )
    );
}

#[test]
fn a_quorum_that_can_never_be_reached_is_refused() {
    let run = evidence(vec![]);
    let parameters = json!({"approvals": 2, "reviewers": ["bob", "BOB"], "checklist": [""]});
    let error = judge::<ManualReview>(&run, &FakeTarget::new(), parameters).expect_err("cannot be");
    assert_eq!(
        error.to_string(),
        "invalid parameters: /approvals: 2 approvals can never come from 1 reviewers; /checklist/0: expected one line of text"
    );
}

#[test]
fn an_attempt_without_a_subject_shows_nothing() {
    let run = Evidence {
        subject_digest: String::new(),
        reviews: vec![approved("bob")],
        ..evidence(vec![])
    };
    let verdict = judge::<ManualReview>(&run, &FakeTarget::new(), json!({})).expect("a verdict");
    assert_eq!((verdict.kind, codes(&verdict)), (VerdictKind::Inconclusive, vec!["no-subject"]));
}
