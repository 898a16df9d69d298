//! Reports that nobody waits for (late, twice, of another attempt, delivery, machine or item) at any moment of random
//! runs: each is an event, and nothing else changes, neither in memory nor in the rows.

use std::sync::Arc;

use caelum_core::task::{FailureClass, OutcomeStatus, Strategy};
use caelum_core::workflow::command::Report;
use caelum_core::workflow::{EventBody, Execution, RetryPolicy, Step, TargetPhase, recover};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::{Config, TestCaseError};

#[path = "store/harness.rs"]
#[expect(dead_code, reason = "the harness is shared with tests that need more of it")]
mod harness;

use harness::{Run, at, command, definition, id, load_checked, outcome, store};

/// Two steps on several machines, one of them for each item of a list, and one that waits for them.
fn steps() -> Vec<Step> {
    let retry = RetryPolicy {
        attempts: 3,
        initial_ms: 1_000,
        jitter: false,
        on: vec![FailureClass::Transient, FailureClass::Exit],
        ..RetryPolicy::default()
    };
    let mut wide = command("wide", &[]);
    wide.target_machines = ["m1", "m2", "m3"].map(str::to_owned).to_vec();
    wide.strategy = Strategy::Parallel { max: Some(2) };
    wide.retry = Some(retry.clone());
    let mut mapped = command("mapped", &[]);
    mapped.map = serde_json::from_value(serde_json::json!({"over": ["a", "b", "c"], "max": 2}))
        .expect("a map as it is stored");
    mapped.retry = Some(retry);
    let mut once = command("once", &["wide"]);
    once.idempotent = false;
    vec![wide, mapped, once, command("last", &["wide", "mapped", "once"])]
}

/// A report that somebody might send, by chance one that is waited for.
fn some_report(pick: u16, status: OutcomeStatus) -> Report {
    let pick = usize::from(pick);
    let step = ["wide", "mapped", "once", "last"][pick % 4];
    let machine = ["m1", "m2", "m3", "local", "m9"][pick / 4 % 5];
    Report {
        step: id(step),
        attempt: u32::try_from(pick / 20 % 4).expect("small"),
        machine: id(machine),
        item: (step == "mapped").then(|| u32::try_from(pick / 80 % 4).expect("small")),
        epoch: u32::try_from(pick / 320 % 5).expect("small"),
        outcome: Box::new(outcome(status, FailureClass::Exit)),
    }
}

/// Whether somebody waits for exactly this report.
fn is_awaited(execution: &Execution, report: &Report) -> bool {
    let Some(index) = execution.step_index(report.step.as_str()) else { return false };
    let state = execution.step(index);
    let open = execution.head().end.is_none() && state.attempt == report.attempt;
    open && state.targets.iter().any(|target| {
        let out = matches!(target.phase, TargetPhase::Running | TargetPhase::Unknown);
        let same = target.machine == report.machine && target.item_index() == report.item;
        out && same && target.epoch == report.epoch
    })
}

/// Sends a report that nobody waits for, and checks that nothing but its event is new.
fn send_stale(run: &mut Run, report: Report) -> Result<(), TestCaseError> {
    let (before, wanted) = (run.execution.clone(), run.wanted.clone());
    let body = run.execution.receive(report, at(run.seconds));
    prop_assert!(matches!(body, EventBody::LateReport { .. }), "{body:?}");
    run.record(body);
    prop_assert_eq!(run.execution.head().events, before.head().events + 1);
    prop_assert_eq!(run.execution.steps(), before.steps());
    prop_assert_eq!(run.execution.status(), before.status());
    prop_assert_eq!(&run.wanted, &wanted);
    Ok(())
}

/// Lets the first piece of work that is under way end, and sends its report once more.
fn end_one_twice(run: &mut Run, status: OutcomeStatus) -> Result<(), TestCaseError> {
    let running = run.execution.open_steps().find_map(|step| {
        let targets = &run.execution.step(step).targets;
        let target = targets.iter().find(|target| target.phase == TargetPhase::Running)?;
        Some((step, target.machine.clone(), target.item_index(), target.epoch))
    });
    let Some((step, machine, item, epoch)) = running else { return Ok(()) };
    let report = Report {
        step: run.execution.definition().steps[step].id.clone(),
        attempt: run.execution.step(step).attempt,
        machine,
        item,
        epoch,
        outcome: Box::new(outcome(status, FailureClass::Exit)),
    };
    let body = run.execution.receive(report.clone(), at(run.seconds));
    prop_assert!(matches!(body, EventBody::TargetFinished { .. }), "{body:?}");
    run.record(body);
    send_stale(run, report)
}

proptest! {
    #![proptest_config(Config { cases: 256, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_report_that_nobody_waits_for_changes_nothing(
        pokes in prop::collection::vec((0_u8..10, any::<u16>()), 1..80),
    ) {
        let mut run = Run::new("ex_1", Arc::new(definition("w", steps())));
        for (choice, pick) in pokes {
            let status = match pick % 3 {
                0 => OutcomeStatus::Failed,
                _ => OutcomeStatus::Succeeded,
            };
            match choice {
                0..3 => end_one_twice(&mut run, status)?,
                3 => run.wait(2),
                4 => {
                    // The server dies: what was handed out is lost, and reports of it come too late.
                    for body in recover(&run.execution).record {
                        run.record(body);
                    }
                }
                _ => {
                    let report = some_report(pick, status);
                    if !is_awaited(&run.execution, &report) {
                        send_stale(&mut run, report)?;
                    }
                }
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (store, _directory) = store();
            run.create(&store).await;
            let stored = load_checked(&store, &run.id()).await;
            assert!(stored == run.execution, "{stored:#?}");
        });
    }
}
