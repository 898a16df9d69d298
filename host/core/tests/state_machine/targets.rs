//! The work of single machines: ended by hand, lost, unknown.

use super::*;

/// A step on three machines, one after the other or all at once, under way.
fn on_three_machines(strategy: Strategy, retry: Option<RetryPolicy>) -> Run {
    let mut step = command("roll", &[]);
    step.target_machines = vec!["m1".into(), "m2".into(), "m3".into()];
    step.strategy = strategy;
    step.retry = retry;
    Run::new(vec![step])
}

fn cancel_target(run: &mut Run, machine: &str) -> bool {
    let machine: MachineId = machine.parse().expect("legal");
    let body = run
        .execution
        .cancel_target("roll", &machine, "ann".into(), "not this one".into())
        .expect("the machine is one of them");
    let asked = body.is_some();
    if let Some(body) = body {
        run.record(body);
    }
    asked
}

fn phases(run: &Run) -> Vec<TargetPhase> {
    run.execution.step(0).targets.iter().map(|target| target.phase).collect()
}

#[test]
fn the_work_of_one_machine_is_ended_and_the_others_go_on() {
    use TargetPhase::{Cancelled, Running, Succeeded};
    let mut run = on_three_machines(Strategy::Parallel { max: None }, None);

    assert!(cancel_target(&mut run, "m2"));
    assert!(!cancel_target(&mut run, "m2"), "asking twice is asking once");

    assert_eq!(phases(&run), [Running, Running, Running], "it has not ended before it reports");
    let stops: Vec<usize> = run
        .wanted
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Stop { target, .. } => Some(*target),
            _ => None,
        })
        .collect();
    assert_eq!((stops, run.wanted.effects.len()), (vec![1], 3));
    run.report("roll", "m2", OutcomeStatus::Cancelled, FailureClass::Permanent);
    run.report("roll", "m1", OutcomeStatus::Succeeded, FailureClass::Exit);
    run.report("roll", "m3", OutcomeStatus::Succeeded, FailureClass::Exit);
    assert_eq!(phases(&run), [Succeeded, Cancelled, Succeeded]);
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert!(!cancel_target(&mut run, "m1"), "what has ended needs no end");
}

#[test]
fn work_that_waits_ends_at_once_and_work_that_is_silent_counts_as_lost() {
    use TargetPhase::{Cancelled, Running, Waiting};
    let one = Strategy::Parallel { max: Some(1) };
    let mut run = on_three_machines(one, None);

    cancel_target(&mut run, "m2");
    assert_eq!(phases(&run), [Running, Cancelled, Waiting]);
    cancel_target(&mut run, "m1");
    run.seconds += 61;
    run.settle();

    assert_eq!(phases(&run), [Cancelled, Cancelled, Running], "nobody waits for ever");
    assert!(matches!(
        &run.events[run.events.len() - 2].body,
        EventBody::TargetLost { reason, .. } if reason == "cancel_timeout"
    ));
}

#[test]
fn a_machine_whose_work_was_ended_gets_none_in_later_attempts() {
    use TargetPhase::{Cancelled, Running};
    let retry = RetryPolicy { jitter: false, ..RetryPolicy::default() };
    let mut run = on_three_machines(Strategy::Parallel { max: None }, Some(retry));
    for machine in ["m1", "m2", "m3"] {
        run.report("roll", machine, OutcomeStatus::Failed, FailureClass::Transient);
    }
    assert!(matches!(run.execution.step(0).phase, StepPhase::RetryWait { .. }));

    assert!(cancel_target(&mut run, "m1"), "between two attempts");
    run.seconds += 1;
    run.settle();

    assert_eq!(phases(&run), [Cancelled, Running, Running]);
    run.report("roll", "m2", OutcomeStatus::Succeeded, FailureClass::Exit);
    run.report("roll", "m3", OutcomeStatus::Succeeded, FailureClass::Exit);
    let failure = run.execution.step(0).failure.clone().expect("it is not complete");
    assert_eq!((failure.code.as_str(), failure.class), ("cancelled", FailureClass::Permanent));
    let again = run.execution.control(&Control::RetryFailed, "ann".into(), String::new());
    run.record(again.expect("it failed").expect("something to do"));
    assert_eq!(phases(&run), [Running, Running, Running], "asked anew, all of them");
}

#[test]
fn a_crash_does_not_hand_out_again_what_somebody_asked_to_end() {
    use TargetPhase::{Cancelled, Running};
    let mut run = on_three_machines(Strategy::Parallel { max: None }, None);
    cancel_target(&mut run, "m2");

    for body in recover(&run.execution).record {
        run.record(body);
    }

    assert_eq!(phases(&run), [Running, Cancelled, Running]);
    let unknown = run.execution.cancel_target(
        "roll",
        &"m4".parse().expect("legal"),
        "ann".into(),
        String::new(),
    );
    assert_eq!(
        unknown.expect_err("it is not one of them").to_string(),
        "the work of step `roll` is not for a machine `m4`"
    );
}

#[test]
fn an_unknown_machine_is_named_with_the_known_ones() {
    let mut step = command("a", &[]);
    step.target_machines = vec!["m9".into()];
    let run = Run::new(vec![step]);
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.message, "no machine is called `m9`; known: local, m1, m2, m3, any, all");
}
