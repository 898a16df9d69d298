//! Steps that go over a list.

use super::*;

fn map(over: Value, max: u32) -> Step {
    let mut step = command("a", &[]);
    step.map = Some(StepMap { max, ..StepMap::over(over) });
    step
}

fn tally(run: &Run) -> (usize, usize, usize, usize) {
    let tally = run.execution.step(0).targets.tally();
    (tally.waiting, tally.running, tally.succeeded, tally.failed)
}

#[test]
fn a_map_runs_once_for_each_item_and_never_wider_than_it_may() {
    let mut run =
        Run::new(vec![map(json!(["x", "y", {"z": 1}, 4, null]), 2), command("b", &["a"])]);
    assert_eq!(tally(&run), (3, 2, 0, 0));
    let values: Vec<Value> = run
        .execution
        .step(0)
        .targets
        .iter()
        .map(|target| target.item.clone().expect("it is for an item").value)
        .collect();
    assert_eq!(Value::from(values), json!(["x", "y", {"z": 1}, 4, null]));

    for item in [1, 0, 2, 4, 3] {
        let mut done = outcome(OutcomeStatus::Succeeded, FailureClass::Exit);
        done.outputs.insert("n".into(), item.into());
        run.report_target((0, item as usize), done);
        assert!(run.execution.step(0).targets.tally().running <= 2);
    }

    let step = run.execution.step(0);
    assert_eq!(step.status(), StepStatus::Completed);
    let outputs = json!({"items": [{"n": 0}, {"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]});
    assert_eq!(Value::Object(step.outputs.clone()), outputs, "in the order of the list");
    assert_eq!(run.running(), [1]);
    let seen = serde_json::to_value(&run.events[1].body).expect("JSON");
    assert_eq!(seen["items"], json!(["x", "y", {"z": 1}, 4, null]), "the list is on record");
}

#[test]
fn a_map_over_nothing_completes_and_is_judged_all_the_same() {
    let mut run = Run::new(vec![map(json!([]), 2)]);
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
    assert_eq!(Value::Object(run.execution.step(0).outputs.clone()), json!({"items": []}));

    let mut step = map(json!([]), 2);
    step.validation = Some("after".parse().expect("legal"));
    step.retry =
        Some(RetryPolicy { attempts: 2, on: vec![FailureClass::Gate], ..RetryPolicy::default() });
    run = Run::new(vec![step]);
    run.judge("a", VerdictKind::Fail, None);
    run.wait(60);
    run.judge("a", VerdictKind::Pass, None);
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn an_items_failure_is_retried_by_itself_while_the_others_go_on() {
    let mut run = Run::new(vec![map(json!([0, 1, 2]), 2)]);
    run.item(0, OutcomeStatus::TimedOut, FailureClass::Transient);
    assert_eq!(tally(&run), (1, 2, 0, 0), "it takes no place while it rests");
    assert!(run.wanted.wake_at.is_some());
    run.item(1, OutcomeStatus::Succeeded, FailureClass::Exit);
    run.item(2, OutcomeStatus::Succeeded, FailureClass::Exit);
    assert_eq!(run.execution.step(0).phase, StepPhase::Acting, "it is waited for");

    run.wait(2);
    let target = Arc::clone(&run.execution.step(0).targets[0]);
    assert_eq!((target.phase, target.epoch, target.attempt(1)), (TargetPhase::Running, 2, 2));
    run.item(0, OutcomeStatus::TimedOut, FailureClass::Transient);
    run.wait(60);
    run.item(0, OutcomeStatus::TimedOut, FailureClass::Transient);

    assert_eq!(run.execution.status(), ExecutionStatus::Failed, "three attempts are all");
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.message, "item 0 on local: it broke");
    assert!(!run.kinds().contains(&"retry_scheduled"), "the step has no attempts beside them");
}

#[test]
fn a_retry_runs_the_items_that_failed_and_no_other() {
    let mut run = Run::new(vec![map(json!(["a", "b", "c", "d"]), 4)]);
    for (item, status) in [
        (0, OutcomeStatus::Succeeded),
        (1, OutcomeStatus::Failed),
        (2, OutcomeStatus::Failed),
        (3, OutcomeStatus::Succeeded),
    ] {
        run.item(item, status, FailureClass::Exit);
    }
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.message, "item 1 on local: it broke (and 1 of 4 items more)");

    run.control(&Control::RetryFailed);

    assert_eq!(tally(&run), (0, 2, 2, 0));
    let targets = &run.execution.step(0).targets;
    assert_eq!((targets[1].epoch, targets[1].attempt(2)), (2, 2), "deliveries are counted on");
    assert_eq!(targets[0].epoch, 1);
    run.item(1, OutcomeStatus::Succeeded, FailureClass::Exit);
    run.item(2, OutcomeStatus::Succeeded, FailureClass::Exit);
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn a_gate_that_refuses_the_whole_makes_all_items_run_again() {
    let mut step = map(json!(["a", "b"]), 4);
    step.validation = Some("after".parse().expect("legal"));
    let mut run = Run::new(vec![step]);
    run.item(0, OutcomeStatus::Succeeded, FailureClass::Exit);
    run.item(1, OutcomeStatus::Succeeded, FailureClass::Exit);
    run.judge("a", VerdictKind::Fail, None);

    run.control(&Control::RetryFailed);

    assert_eq!(tally(&run), (0, 2, 0, 0));
    let last = run.events.iter().rev().find(|event| event.body.kind() == "step_started");
    let EventBody::StepStarted { items, resumes, .. } = &last.expect("it began").body else {
        panic!("a step began");
    };
    assert_eq!((items, *resumes), (&None, false), "the list was evaluated once");
    let value = run.execution.step(0).targets[1].item.clone().expect("an item").value;
    assert_eq!(value, json!("b"));
}

#[test]
fn a_map_that_cannot_begin_says_why() {
    for (over, code, message) in [
        (
            json!("{{ parameters.none }}"),
            "template",
            "map over: template `{{ parameters.none }}`: `parameters.none` is undefined",
        ),
        (json!("{{ 1 }}"), "map_no_list", "map over: expected a list, found a number"),
        (
            json!("{{ range(9000) | list + range(1001) | list }}"),
            "map_too_large",
            "map over: the list has 10001 items; at most 10000 are allowed",
        ),
    ] {
        let run = Run::new(vec![map(over, 1)]);
        let failure = run.execution.step(0).failure.clone().expect("failed");
        assert_eq!((failure.code.as_str(), failure.message.as_str()), (code, message));
        assert!(failure.hint.is_some());
    }
}

#[test]
fn items_run_on_every_machine_and_the_width_counts_items() {
    let mut step = map(json!(["a", "b", "c"]), 2);
    step.target_machines = ["m1", "m2"].map(str::to_owned).to_vec();
    let mut run = Run::new(vec![step]);
    assert_eq!(tally(&run), (2, 4, 0, 0));

    run.report_target((0, 0), outcome(OutcomeStatus::Succeeded, FailureClass::Exit));
    assert_eq!(tally(&run), (2, 3, 1, 0), "its other machine still works on the item");
    let mut done = outcome(OutcomeStatus::Succeeded, FailureClass::Exit);
    done.outputs.insert("on".into(), "m2".into());
    run.report_target((0, 1), done);
    assert_eq!(tally(&run), (0, 4, 2, 0));
    for target in 2..6 {
        run.report_target((0, target), outcome(OutcomeStatus::Succeeded, FailureClass::Exit));
    }

    let items = &run.execution.step(0).outputs["items"];
    assert_eq!(items[0], json!({"m1": {}, "m2": {"on": "m2"}}));
}

#[test]
fn strategies_order_items_as_they_order_machines() {
    let mut step = map(json!(["a", "b", "c"]), 9);
    step.strategy = Strategy::Sequential { continue_on_failure: false };
    let mut run = Run::new(vec![step]);
    assert_eq!(tally(&run), (2, 1, 0, 0));
    run.item(0, OutcomeStatus::TimedOut, FailureClass::Transient);
    assert_eq!(tally(&run), (3, 0, 0, 0), "the row waits for its first");
    run.wait(60);
    run.item(0, OutcomeStatus::Succeeded, FailureClass::Exit);
    run.item(1, OutcomeStatus::Failed, FailureClass::Exit);
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert_eq!(run.execution.step(0).targets.tally().given_up, 1);

    run.control(&Control::RetryFailed);
    assert_eq!(tally(&run), (1, 1, 1, 0));
}

#[test]
fn pausing_and_cancelling_hold_items_without_an_event_for_each() {
    let mut run = Run::new(vec![map((0..10_000).map(Value::from).collect(), 3)]);
    run.control(&Control::Pause);
    run.item(0, OutcomeStatus::Succeeded, FailureClass::Exit);
    assert_eq!(tally(&run), (9_997, 2, 1, 0));
    run.control(&Control::Resume);
    assert_eq!(tally(&run), (9_996, 3, 1, 0));
    let before = run.events.len();

    run.control(&Control::Cancel);
    for item in 1..4 {
        run.item(item, OutcomeStatus::Cancelled, FailureClass::Permanent);
    }

    assert_eq!(run.execution.status(), ExecutionStatus::Cancelled);
    assert_eq!(run.events.len() - before, 5, "one asked for it, three ended, and that was it");
}

#[test]
fn a_restart_runs_lost_items_again_and_no_list_is_evaluated_twice() {
    let mut run = Run::new(vec![map(json!(["a", "b", "c"]), 2)]);
    run.item(0, OutcomeStatus::Succeeded, FailureClass::Exit);
    for body in recover(&run.execution).record {
        run.record(body);
    }

    let epochs: Vec<u32> =
        run.execution.step(0).targets.iter().map(|target| target.epoch).collect();
    assert_eq!(epochs, [1, 2, 2]);
    assert_eq!(run.kinds().iter().filter(|kind| **kind == "step_started").count(), 1);

    let mut once = map(json!(["a", "b", "c"]), 2);
    once.idempotent = false;
    let mut run = Run::new(vec![once]);
    for body in recover(&run.execution).record {
        run.record(body);
    }
    assert_eq!(run.execution.step(0).phase, StepPhase::AwaitingDecision);
    let decided = run.execution.decide("a", Some(true), "ann".into(), "I saw them".into());
    for body in decided.expect("two wait for it") {
        run.record(body);
    }
    assert_eq!(tally(&run), (0, 1, 2, 0), "the rest goes on");
}

#[test]
fn late_reports_of_items_change_nothing() {
    let mut run = Run::new(vec![map(json!(["a", "b"]), 2)]);
    let report = |item: Option<u32>, epoch: u32| Report {
        step: "a".parse().expect("legal"),
        attempt: 1,
        machine: MachineId::local(),
        item,
        epoch,
        outcome: outcome(OutcomeStatus::Succeeded, FailureClass::Exit),
    };
    for (item, epoch) in [(None, 1), (Some(0), 2), (Some(2), 1), (Some(u32::MAX), 1)] {
        let before = run.execution.clone();
        let body = run.execution.receive(report(item, epoch), at(0));
        assert_eq!(body.kind(), "late_report");
        run.record(body);
        assert_eq!(run.execution.steps(), before.steps());
    }
    run.item(0, OutcomeStatus::TimedOut, FailureClass::Transient);
    let body = run.execution.receive(report(Some(0), 1), at(0));
    assert_eq!(body.kind(), "late_report", "that delivery has ended");
}

#[test]
fn an_expired_map_gives_its_queue_up() {
    let mut step = map(json!([1, 2, 3]), 1);
    step.total_timeout_s = Some(10);
    let mut run = Run::new(vec![step]);
    run.item(0, OutcomeStatus::TimedOut, FailureClass::Transient);
    run.wait(10);
    let tally = run.execution.step(0).targets.tally();
    assert_eq!((tally.given_up, tally.resting), (2, 0));
    run.item(1, OutcomeStatus::Failed, FailureClass::Transient);
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);

    run.control(&Control::RetryFailed);
    assert_eq!(run.execution.step(0).targets.tally().waiting, 2);
}
