//! What may take only so long, and reviews with their rules.

use super::*;

#[test]
fn a_step_that_takes_too_long_over_its_attempts_is_ended_and_not_retried() {
    let mut step = command("a", &[]);
    step.total_timeout_s = Some(10);
    step.retry = Some(RetryPolicy {
        attempts: 9,
        on: vec![FailureClass::Transient, FailureClass::Permanent],
        ..RetryPolicy::default()
    });
    let mut run = Run::new(vec![step]);
    assert_eq!(run.wanted.wake_at, Some(at(10)));
    run.report("a", "local", OutcomeStatus::TimedOut, FailureClass::Transient);
    run.wait(8);
    assert_eq!(run.running(), [0], "the second attempt runs");

    run.wait(2);

    assert!(matches!(run.wanted.effects.as_slice(), [Effect::Stop { attempt: 2, .. }]));
    assert_eq!(
        run.execution.status(),
        ExecutionStatus::Executing,
        "what runs is asked to end first"
    );
    run.report("a", "local", OutcomeStatus::Cancelled, FailureClass::Permanent);
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.message, "took longer than 10 s over all its attempts");

    run.control(&Control::RetryFailed);
    assert_eq!(run.wanted.wake_at, Some(at(20)), "a retry counts anew");
    run.succeed("a");
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn work_that_does_not_end_after_the_total_time_is_given_up() {
    let mut step = command("a", &[]);
    step.total_timeout_s = Some(10);
    step.target_machines = ["m1", "m2", "m3"].map(str::to_owned).to_vec();
    step.strategy = Strategy::Parallel { max: Some(1) };
    let mut run = Run::new(vec![step]);
    run.wait(10);
    assert_eq!(run.execution.step(0).targets[1].phase, TargetPhase::GivenUp);
    assert_eq!(run.wanted.wake_at, Some(at(70)));

    run.wait(60);

    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert!(run.kinds().contains(&"target_lost"), "{:?}", run.kinds());
}

#[test]
fn waiting_for_somebody_counts_towards_the_total_time() {
    let mut step = Step::new("a".parse().expect("legal"), StepType::Development);
    step.total_timeout_s = Some(3_600);
    let mut run = Run::new(vec![step]);
    assert_eq!(run.execution.status(), ExecutionStatus::Paused);

    run.wait(3_600);

    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert_eq!(run.execution.step(0).failure.clone().expect("failed").code, "total_timeout");
}

fn reviewed(on_timeout: OnReviewTimeout) -> Run {
    let mut step = command("a", &[]);
    step.validation = Some("after".parse().expect("legal"));
    step.review = Some(ReviewRules {
        approvals: None,
        reviewers: vec!["ann".into()],
        deadline_s: Some(60),
        on_timeout,
        escalate_to: vec!["zoe".into()],
    });
    let mut run = Run::new(vec![step]);
    run.succeed("a");
    run.wait(5);
    run.judge("a", VerdictKind::NeedsReview, None);
    assert_eq!(run.wanted.wake_at, Some(at(65)));
    run
}

#[test]
fn a_review_that_nobody_gives_ends_as_its_step_says() {
    for (on_timeout, end) in [
        (OnReviewTimeout::Reject, ExecutionStatus::Failed),
        (OnReviewTimeout::Approve, ExecutionStatus::Completed),
        (OnReviewTimeout::Escalate, ExecutionStatus::Paused),
    ] {
        let mut run = reviewed(on_timeout);
        run.wait(59);
        assert_eq!(run.execution.status(), ExecutionStatus::Paused, "a second is left");

        run.wait(1);

        assert_eq!(run.execution.status(), end, "{on_timeout:?}");
        assert!(run.kinds().contains(&"review_timed_out"));
    }
    let mut run = reviewed(OnReviewTimeout::Reject);
    run.wait(60);
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.message, "validation: nobody decided within 60 s");
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Gate, "review_timed_out"));
}

#[test]
fn a_second_review_does_not_move_the_deadline() {
    let mut run = reviewed(OnReviewTimeout::Reject);
    run.wait(30);
    let body = run.execution.review("a", review_of(&run, "Ann")).expect("names have no case");
    run.record(body);
    run.judge("a", VerdictKind::NeedsReview, None);
    assert_eq!(run.wanted.wake_at, Some(at(65)));
}

#[test]
fn only_reviewers_review_and_those_it_escalates_to_once_it_has() {
    let mut run = reviewed(OnReviewTimeout::Escalate);
    let refused = run.execution.review("a", review_of(&run, "zoe")).expect_err("not yet");
    assert_eq!(refused.message, "`zoe` is not a reviewer of step `a`");
    assert_eq!(refused.hint.as_deref(), Some("it is reviewed by ann"));

    run.wait(60);

    assert!(run.wanted.wake_at.is_none(), "it waits without a deadline");
    let body = run.execution.review("a", review_of(&run, "zoe")).expect("it escalated");
    run.record(body);
    run.judge("a", VerdictKind::Pass, None);
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn a_child_execution_is_not_lost_by_a_restart() {
    let mut step = command("a", &[]);
    step.action =
        Action::Workflow { workflow_id: "other".into(), revision: None, parameters: Map::new() };
    step.idempotent = false;
    let run = Run::new(vec![step]);

    assert!(recover(&run.execution).record.is_empty());
    assert!(matches!(run.wanted.effects.as_slice(), [Effect::Run { epoch: 1, .. }]));
}
