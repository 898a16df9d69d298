//! How steps and executions go: in order, judged, failing, retried, paused, cancelled, restarted.

use super::*;

#[test]
fn a_chain_runs_in_order_and_completes() {
    let mut run = Run::new(vec![command("a", &[]), command("b", &["a"])]);
    assert_eq!(run.running(), [0]);

    run.succeed("a");
    assert_eq!(run.running(), [1]);
    run.succeed("b");

    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
    assert_eq!(
        run.kinds(),
        [
            "started",
            "step_started",
            "target_started",
            "target_finished",
            "step_completed",
            "step_started",
            "target_started",
            "target_finished",
            "step_completed",
            "completed"
        ]
    );
}

#[test]
fn an_empty_workflow_completes_at_once() {
    assert_eq!(Run::new(vec![]).execution.status(), ExecutionStatus::Completed);
}

#[test]
fn a_gate_before_the_action_keeps_it_from_running() {
    let mut step = command("a", &[]);
    step.enforcement = Some("before".parse().expect("legal"));
    let mut run = Run::new(vec![step]);
    assert_eq!(run.running(), [0; 0]);
    assert!(matches!(run.wanted.effects.as_slice(), [Effect::Judge { step: 0, .. }]));

    run.judge("a", VerdictKind::Fail, None);

    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.code, "gate_failed");
    assert_eq!(failure.message, "enforcement `before`: as told");
    assert!(!run.kinds().contains(&"target_started"), "{:?}", run.kinds());
}

#[test]
fn a_failure_of_a_gate_says_its_summary_once() {
    for (reasons, message) in [
        (&["as told"][..], "validation `after`: as told"),
        (&["as told ", "two tests failed"], "validation `after`: as told (two tests failed)"),
        (&["", "a", "b", "c", "d"], "validation `after`: as told (a; b; c)"),
    ] {
        let mut step = command("a", &[]);
        step.validation = Some("after".parse().expect("legal"));
        let mut run = Run::new(vec![step]);
        run.succeed("a");

        run.judge_with("a", VerdictKind::Fail, None, reasons);

        assert_eq!(run.execution.step(0).failure.clone().expect("failed").message, message);
    }
}

#[test]
fn an_enforcement_gate_is_judged_once_even_when_its_validator_knows_both_phases() {
    let mut step = command("a", &[]);
    step.enforcement = Some("both".parse().expect("legal"));
    step.validation = Some("both".parse().expect("legal"));
    let mut run = Run::new(vec![step]);

    run.judge("a", VerdictKind::Pass, None);
    assert_eq!(run.running(), [0]);
    run.succeed("a");
    run.judge("a", VerdictKind::Pass, None);

    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
    assert_eq!(run.kinds().iter().filter(|kind| **kind == "gate_judged").count(), 2);
}

#[test]
fn a_failing_program_is_still_judged_and_never_healed_by_a_gate() {
    for verdict in [VerdictKind::Pass, VerdictKind::Fail, VerdictKind::NeedsReview] {
        let mut step = command("a", &[]);
        step.validation = Some("after".parse().expect("legal"));
        let mut run = Run::new(vec![step]);

        run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
        run.judge("a", verdict, None);

        assert_eq!(run.execution.status(), ExecutionStatus::Failed, "{verdict:?}");
        let code = run.execution.step(0).failure.clone().expect("failed").code;
        let expected = if verdict == VerdictKind::Fail { "gate_failed" } else { "code" };
        assert_eq!(code, expected);
    }
}

#[test]
fn a_validators_breakdown_blocks_unless_the_step_only_wants_a_warning() {
    for (policy, end) in [
        (OnValidatorError::Block, ExecutionStatus::Failed),
        (OnValidatorError::Warn, ExecutionStatus::Completed),
    ] {
        let mut step = command("a", &[]);
        step.validation = Some("after".parse().expect("legal"));
        step.on_validator_error = policy;
        let mut run = Run::new(vec![step]);

        run.succeed("a");
        run.judge("a", VerdictKind::Inconclusive, Some(HostReason::Timeout { limit_ms: 5_000 }));

        assert_eq!(run.execution.status(), end, "{policy:?}");
    }
}

#[test]
fn a_review_is_asked_for_given_and_judged_again() {
    let mut step = command("a", &[]);
    step.validation = Some("after".parse().expect("legal"));
    let mut run = Run::new(vec![step]);
    run.succeed("a");

    run.judge("a", VerdictKind::NeedsReview, None);
    assert_eq!(run.execution.status(), ExecutionStatus::Paused);
    let review = Review {
        reviewer: "ann".into(),
        decision: ReviewDecision::Approved,
        reason: String::new(),
        at: at(1),
        subject_digest: Digest::from_bytes(&[1; 32]),
    };
    let rejected = Review { decision: ReviewDecision::Rejected, ..review.clone() };
    assert_eq!(run.execution.review("a", rejected).expect_err("no reason").code, "no_reason");
    let body = run.execution.review("a", review).expect("it waits for one");
    run.record(body);
    assert!(matches!(run.wanted.effects.as_slice(), [Effect::Judge { reviews: 1, .. }]));
    run.judge("a", VerdictKind::Pass, None);

    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn a_second_review_counts_while_the_first_is_being_judged() {
    let mut step = command("a", &[]);
    step.validation = Some("after".parse().expect("legal"));
    let mut run = Run::new(vec![step]);
    run.succeed("a");
    assert_eq!(
        run.execution.review("a", review_of(&run, "ann")).expect_err("nobody was asked").code,
        "not_waiting"
    );
    run.judge("a", VerdictKind::NeedsReview, None);

    for (count, reviewer) in [(1, "ann"), (2, "bob"), (3, "ann")] {
        let body = run.execution.review("a", review_of(&run, reviewer)).expect("it counts");
        run.record(body);
        let [Effect::Judge { reviews, .. }] = run.wanted.effects[..] else {
            panic!("it is judged: {:?}", run.wanted);
        };
        assert_eq!(reviews, count, "each review means another judgement");
    }

    let reviewers: Vec<&str> =
        run.execution.step(0).reviews.iter().map(|review| review.reviewer.as_str()).collect();
    assert_eq!(reviewers, ["bob", "ann"], "whoever reviews again takes the first word back");
    assert!(!run.execution.saw_every_review(0, 2) && run.execution.saw_every_review(0, 3));
    run.judge("a", VerdictKind::Pass, None);
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn the_performer_cannot_review_their_own_work() {
    let mut step = Step::new("a".parse().expect("legal"), StepType::Development);
    step.validation = Some("after".parse().expect("legal"));
    let mut run = Run::new(vec![step]);
    assert_eq!(run.execution.status(), ExecutionStatus::Paused);
    let report = WorkReport {
        performer: "bob".into(),
        succeeded: true,
        summary: "done".into(),
        outputs: Map::new(),
        files: vec![],
    };
    let body = run.execution.complete_step("a", report).expect("it waits for work");
    run.record(body);
    run.judge("a", VerdictKind::NeedsReview, None);

    let refused = run
        .execution
        .review(
            "a",
            Review {
                reviewer: "bob".into(),
                decision: ReviewDecision::Approved,
                reason: String::new(),
                at: at(1),
                subject_digest: Digest::from_bytes(&[1; 32]),
            },
        )
        .expect_err("own work");

    assert_eq!(refused.message, "`bob` performed step `a` and cannot review it");
}

#[test]
fn transient_failures_are_retried_and_exits_are_not_unless_asked() {
    let mut run = Run::new(vec![command("a", &[])]);
    run.report("a", "local", OutcomeStatus::TimedOut, FailureClass::Transient);
    assert_eq!(run.execution.status(), ExecutionStatus::Executing);
    assert!(run.wanted.wake_at.is_some());
    run.wait(2);
    assert_eq!(run.running(), [0]);
    run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);

    let mut step = command("a", &[]);
    step.retry =
        Some(RetryPolicy { attempts: 2, on: vec![FailureClass::Exit], ..RetryPolicy::default() });
    let mut run = Run::new(vec![step]);
    run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
    run.wait(60);
    run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert_eq!(run.execution.step(0).attempt, 2);
}

#[test]
fn a_failure_stops_what_has_not_begun_and_a_retry_lets_it_go_on() {
    let mut run = Run::new(vec![command("a", &[]), command("b", &["a"]), command("c", &[])]);
    run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
    assert_eq!(run.execution.status(), ExecutionStatus::Executing, "c still runs");
    run.succeed("c");
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert_eq!(run.step("b"), StepStatus::Pending);

    run.control(&Control::RetryFailed);
    run.succeed("a");
    run.succeed("b");

    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
    assert_eq!(
        run.events
            .iter()
            .filter(|event| {
                matches!(&event.body, EventBody::StepStarted { step, .. } if step.as_str() == "c")
            })
            .count(),
        1,
        "a completed step does not run again"
    );
}

#[test]
fn nothing_begins_in_the_same_breath_as_a_failure_that_stops() {
    let mut broken = command("a", &[]);
    broken.when = Some("parameters.nothing == 1".into());
    let run = Run::new(vec![broken, command("b", &[])]);
    assert_eq!(run.kinds(), ["started", "step_failed", "failed"]);

    let mut run = Run::new(vec![command("a", &[]), command("b", &[]), command("c", &["b"])]);
    run.control(&Control::Pause);
    run.succeed("b");
    // While nothing is decided, a failure and the way on arrive together.
    let report = Report {
        step: "a".parse().expect("legal"),
        attempt: 1,
        machine: MachineId::local(),
        item: None,
        epoch: 1,
        outcome: outcome(OutcomeStatus::Failed, FailureClass::Exit),
    };
    for body in [run.execution.receive(report, at(0)), EventBody::Resumed { by: "x".into() }] {
        let event = run.execution.event(body, at(run.seconds));
        run.execution.apply(&event).expect("the event is legal");
        run.events.push(event);
    }
    run.settle();

    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert_eq!(run.step("c"), StepStatus::Pending);
}

#[test]
fn on_failure_decides_about_dependents() {
    let mut tolerant = command("a", &[]);
    tolerant.on_failure = OnFailure::Continue;
    let mut run = Run::new(vec![tolerant, command("b", &["a"])]);
    run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
    run.succeed("b");
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);

    let mut skipping = command("a", &[]);
    skipping.on_failure = OnFailure::SkipDependents;
    let mut run =
        Run::new(vec![skipping, command("b", &["a"]), command("c", &["b"]), command("d", &[])]);
    run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
    run.succeed("d");
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert_eq!((run.step("b"), run.step("c")), (StepStatus::Skipped, StepStatus::Skipped));

    run.control(&Control::RetryFailed);
    run.succeed("a");
    run.succeed("b");
    run.succeed("c");
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn a_condition_skips_its_step_and_not_the_steps_behind_it() {
    let mut step = command("a", &[]);
    step.when = Some("1 > 2".into());
    let mut broken = command("c", &["b"]);
    broken.when = Some("parameters.nothing == 1".into());
    let mut run = Run::new(vec![step, command("b", &["a"]), broken]);
    assert_eq!(run.step("a"), StepStatus::Skipped);
    run.succeed("b");

    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    let failure = run.execution.step(2).failure.clone().expect("the condition is wrong");
    assert_eq!(failure.code, "condition");
}

#[test]
fn pausing_stops_dispatch_and_kills_nothing() {
    let mut run = Run::new(vec![command("a", &[]), command("b", &["a"])]);
    run.control(&Control::Pause);
    assert_eq!(run.running(), [0]);
    assert_eq!(run.execution.status(), ExecutionStatus::Paused);
    run.succeed("a");
    assert_eq!((run.step("a"), run.step("b")), (StepStatus::Completed, StepStatus::Pending));

    run.control(&Control::Resume);

    assert_eq!(run.running(), [1]);
}

#[test]
fn cancelling_waits_for_what_runs_and_gives_up_in_the_end() {
    let mut run = Run::new(vec![command("a", &[]), command("b", &["a"])]);
    run.control(&Control::Cancel);
    assert!(matches!(run.wanted.effects.as_slice(), [Effect::Stop { .. }]));
    run.report("a", "local", OutcomeStatus::Cancelled, FailureClass::Permanent);
    assert_eq!(run.execution.status(), ExecutionStatus::Cancelled);
    assert_eq!((run.step("a"), run.step("b")), (StepStatus::Cancelled, StepStatus::Cancelled));

    let mut run = Run::new(vec![command("a", &[])]);
    run.control(&Control::Cancel);
    run.wait(61);
    assert_eq!(run.execution.status(), ExecutionStatus::Cancelled);
}

#[test]
fn a_late_report_is_an_event_and_never_a_transition() {
    let mut run = Run::new(vec![command("a", &[])]);
    let stale = Report {
        step: "a".parse().expect("legal"),
        attempt: 1,
        machine: MachineId::local(),
        item: None,
        epoch: 1,
        outcome: outcome(OutcomeStatus::Failed, FailureClass::Exit),
    };
    run.succeed("a");
    let before = run.execution.clone();

    let body = run.execution.receive(stale, at(0));
    run.record(body);

    assert_eq!(run.events.last().expect("some").body.kind(), "late_report");
    assert_eq!(run.execution.steps(), before.steps());
}

#[test]
fn a_restart_runs_lost_work_again_under_a_new_epoch_or_asks() {
    let mut run = Run::new(vec![command("a", &[])]);
    for body in recover(&run.execution).record {
        run.record(body);
    }
    assert!(matches!(run.wanted.effects.as_slice(), [Effect::Run { epoch: 2, .. }]));

    let mut once = command("a", &[]);
    once.idempotent = false;
    let mut run = Run::new(vec![once]);
    for body in recover(&run.execution).record {
        run.record(body);
    }
    assert_eq!(run.execution.status(), ExecutionStatus::Paused);
    assert_eq!(run.execution.step(0).phase, StepPhase::AwaitingDecision);
    let bodies = run
        .execution
        .decide("a", Some(true), "ann".into(), "I saw it".into())
        .expect("it waits for a decision");
    for body in bodies {
        run.record(body);
    }
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn work_that_is_lost_too_often_fails() {
    let mut run = Run::new(vec![command("a", &[])]);
    for _ in 0..=5 {
        for body in recover(&run.execution).record {
            run.record(body);
        }
    }
    let step = run.execution.step(0);
    assert_eq!(step.failure.clone().expect("failed").code, "machine_lost");
}

#[test]
fn a_sequence_of_machines_stops_at_the_first_failure() {
    let mut step = command("a", &[]);
    step.target_machines = ["m1", "m2", "m3"].map(str::to_owned).to_vec();
    step.strategy = Strategy::Sequential { continue_on_failure: false };
    let mut run = Run::new(vec![step]);
    run.report("a", "m1", OutcomeStatus::Succeeded, FailureClass::Exit);
    run.report("a", "m2", OutcomeStatus::Failed, FailureClass::Exit);

    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.message, "m2: it broke");
    assert!(run.kinds().contains(&"targets_given_up"));
}
