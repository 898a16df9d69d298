//! Reviews with rules: how many, who, until when; many at once.

use std::time::Duration;

use caelum_core::evidence::ReviewDecision;
use caelum_core::workflow::{ExecutionStatus, OnReviewTimeout, ReviewRules, Step};
use caelum_engine::Engine;
use caelum_engine::request::StepReview;

use crate::harness::{Place, create, failure, shell, start, state, wait_end, wait_for};

fn reviewed(rules: ReviewRules) -> Step {
    let mut step = shell("work", &[], "true");
    step.validation = Some("manual-review".parse().expect("legal"));
    step.review = Some(rules);
    step
}

fn review(execution: &str, reviewer: &str) -> StepReview {
    StepReview {
        execution_id: execution.to_owned(),
        step_id: "work".to_owned(),
        reviewer: reviewer.to_owned(),
        decision: ReviewDecision::Approved,
        reason: "read it".to_owned(),
    }
}

async fn waits(engine: &Engine, execution: &str, reviews: usize) {
    wait_for(engine, execution, |now| {
        now.execution.step(0).waiting_for().is_some()
            && now.execution.step(0).reviews.len() == reviews
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_reviewers_open_the_gate() {
    let place = Place::new();
    let engine = place.open().await;
    let rules = ReviewRules {
        approvals: Some(2),
        reviewers: ["ann", "bob", "cid"].map(str::to_owned).to_vec(),
        ..ReviewRules::default()
    };
    create(&engine, "w", vec![reviewed(rules)]).await;
    let id = start(&engine, "w").await;
    waits(&engine, &id, 0).await;

    let stranger = engine.review_step(review(&id, "zoe")).await.expect_err("no reviewer");
    engine.review_step(review(&id, "ann")).await.expect("taken");
    waits(&engine, &id, 1).await;
    engine.review_step(review(&id, "cid")).await.expect("taken");
    let ended = wait_end(&engine, &id).await;

    assert!(stranger.to_string().contains("`zoe` is not a reviewer"), "{stranger}");
    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    let summary = &state(&ended, "work").gates[0].verdict.summary;
    assert!(summary.contains("2 of 2"), "{summary}");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_passes_and_the_step_ends_as_its_rules_say_even_over_a_restart() {
    let place = Place::new();
    let engine = place.open().await;
    let rules =
        |on_timeout| ReviewRules { deadline_s: Some(1), on_timeout, ..ReviewRules::default() };
    create(&engine, "rejects", vec![reviewed(rules(OnReviewTimeout::Reject))]).await;
    create(&engine, "approves", vec![reviewed(rules(OnReviewTimeout::Approve))]).await;
    let (rejected, approved) = (start(&engine, "rejects").await, start(&engine, "approves").await);
    waits(&engine, &rejected, 0).await;

    engine.close().await;
    drop(engine);
    let engine = place.open().await;
    let rejected = wait_end(&engine, &rejected).await;
    let approved = wait_end(&engine, &approved).await;

    assert_eq!(failure(&rejected, "work").code, "review_timed_out");
    assert_eq!(approved.execution.status(), ExecutionStatus::Completed);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reviews_are_taken_at_once_each_with_its_own_answer() {
    let place = Place::new();
    let engine = place.open().await;
    create(&engine, "w", vec![reviewed(ReviewRules::default())]).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(start(&engine, "w").await);
    }
    for id in &ids {
        waits(&engine, id, 0).await;
    }
    let mut reviews: Vec<StepReview> = ids.iter().map(|id| review(id, "ann")).collect();
    reviews.insert(7, review("ex_nothing", "ann"));
    reviews.push(StepReview { step_id: "wrok".to_owned(), ..review(&ids[0], "ann") });

    let answers = engine.review_steps(reviews).await.expect("not too many");

    assert_eq!(answers.len(), 22);
    for (place, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), place != 7 && place != 21, "{place}: {answer:?}");
    }
    for id in &ids {
        assert_eq!(wait_end(&engine, id).await.execution.status(), ExecutionStatus::Completed);
    }
    let many = (0..1_001).map(|_| review("ex_nothing", "ann")).collect();
    let refused = engine.review_steps(many).await.expect_err("too many");
    assert!(refused.to_string().contains("1001 reviews at once; at most 1000"), "{refused}");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_takes_too_long_is_ended_with_all_that_runs() {
    let place = Place::new();
    let engine = place.open().await;
    let mut step = shell("work", &[], "sleep 600");
    step.total_timeout_s = Some(1);
    create(&engine, "w", vec![step]).await;

    let began = std::time::Instant::now();
    let id = start(&engine, "w").await;
    let ended = wait_end(&engine, &id).await;

    assert_eq!(failure(&ended, "work").code, "total_timeout");
    assert!(state(&ended, "work").targets[0].outcome.is_some(), "the program's end was awaited");
    assert!(began.elapsed() < Duration::from_secs(30));
    engine.close().await;
}
