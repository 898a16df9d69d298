//! Rows and events tell the same story, whatever happens to an execution.

use std::sync::Arc;

use caelum_core::evidence::{Review, ReviewDecision, VerdictKind, WorkReport};
use caelum_core::id::Digest;
use caelum_core::task::{FailureClass, OutcomeStatus, Strategy as Spread};
use caelum_core::workflow::command::Control;
use caelum_core::workflow::{Action, Effect, OnFailure, RetryPolicy, Step, recover};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use proptest::strategy::Strategy;
use serde_json::Map;

use crate::harness::{Run, at, command, definition, id, load_checked, outcome, store};

/// A random workflow: dependencies point backwards, so it has no cycle.
fn workflows() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        0_u8..4,
        0_usize..3,
        0_u8..3,
        prop::bool::weighted(0.8),
        0_usize..4,
    );
    prop::collection::vec(step, 0..6).prop_map(|rows| {
        rows.into_iter()
            .enumerate()
            .map(|(index, (dependencies, gates, on_failure, action, idempotent, machines))| {
                let mut step = command(&format!("s{index}"), &[]);
                if index > 0 {
                    step.dependencies = dependencies
                        .iter()
                        .map(|dependency| id(&format!("s{}", dependency.index(index))))
                        .collect();
                    step.dependencies.sort();
                    step.dependencies.dedup();
                }
                if action == 0 {
                    step.action = Action::Manual { instructions: "do it".into() };
                }
                if gates & 1 == 1 {
                    step.enforcement = Some(id(if index % 2 == 0 { "before" } else { "after" }));
                }
                if gates & 2 == 2 {
                    step.validation = Some(id("both"));
                }
                step.on_failure =
                    [OnFailure::Stop, OnFailure::Continue, OnFailure::SkipDependents][on_failure];
                step.retry = Some(RetryPolicy {
                    on: vec![FailureClass::Transient, FailureClass::Exit],
                    ..RetryPolicy::default()
                });
                step.idempotent = idempotent;
                step.target_machines =
                    ["m1", "m2", "m3"][..machines].iter().map(|name| (*name).to_owned()).collect();
                if machines == 3 {
                    step.strategy = Spread::Sequential { continue_on_failure: index % 2 == 1 };
                }
                step
            })
            .collect()
    })
}

/// Does one thing that somebody or something outside could do.
fn poke(run: &mut Run, choice: usize, pick: usize) {
    if run.execution.head().end.is_some() && choice != 9 {
        return;
    }
    let effects = run.wanted.effects.clone();
    let effect = (!effects.is_empty()).then(|| effects[pick % effects.len()]);
    match (choice, effect) {
        (0..=4, Some(Effect::Run { step, target, .. } | Effect::Stop { step, target, .. })) => {
            let (status, class) = [
                (OutcomeStatus::Succeeded, FailureClass::Exit),
                (OutcomeStatus::Succeeded, FailureClass::Exit),
                (OutcomeStatus::Failed, FailureClass::Exit),
                (OutcomeStatus::TimedOut, FailureClass::Transient),
                (OutcomeStatus::NotStarted, FailureClass::Permanent),
            ][choice];
            run.report(step, target, outcome(status, class));
        }
        (0..=4, Some(Effect::Judge { step, .. })) => {
            let kinds = [
                VerdictKind::Pass,
                VerdictKind::Pass,
                VerdictKind::Fail,
                VerdictKind::NeedsReview,
                VerdictKind::Inconclusive,
            ];
            run.judge(step, kinds[choice], "no_tests_executed");
        }
        (5 | 6, _) => answer(run, choice == 5, pick),
        (7, _) => {
            let paused = run.execution.head().paused.is_some();
            control(run, if paused { &Control::Resume } else { &Control::Pause });
        }
        (8, _) => {
            for body in recover(&run.execution).record {
                run.record(body);
            }
        }
        (9, _) => control(run, &Control::RetryFailed),
        (10, _) if pick.is_multiple_of(8) => control(run, &Control::Cancel),
        _ => run.wait(1 + (pick as u64 % 90)),
    }
}

/// Gives whatever an open step waits for: work, a review, a decision.
fn answer(run: &mut Run, good: bool, pick: usize) {
    let open: Vec<usize> = run.execution.open_steps().collect();
    let Some(step) = (!open.is_empty()).then(|| open[pick % open.len()]) else { return };
    let step = run.execution.definition().steps[step].id.to_string();
    let report = WorkReport {
        performer: "bob".into(),
        succeeded: good,
        summary: "done".into(),
        outputs: Map::from_iter([("tag".to_owned(), pick.into())]),
        files: vec![],
    };
    let review = Review {
        reviewer: "ann".into(),
        decision: ReviewDecision::Approved,
        reason: String::new(),
        at: at(run.seconds),
        subject_digest: Digest::from_bytes(&[1; 32]),
    };
    let decided = run.execution.decide(&step, good.then_some(true), "ann".into(), "looked".into());
    let bodies = [run.execution.complete_step(&step, report), run.execution.review(&step, review)]
        .into_iter()
        .find_map(Result::ok)
        .map(|body| vec![body])
        .or(decided.ok());
    for body in bodies.unwrap_or_default() {
        run.record(body);
    }
}

fn control(run: &mut Run, control: &Control) {
    if let Ok(Some(body)) = run.execution.control(control, "ann".into(), "because".into()) {
        run.record(body);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_loaded_is_what_was_stored_and_what_its_events_say(
        steps in workflows(),
        pokes in prop::collection::vec((0_usize..12, any::<u16>()), 0..50),
        reload in any::<u8>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (store, _directory) = store();
            let mut run = Run::new("ex_1", Arc::new(definition("w", steps)));
            run.create(&store).await;
            for (count, (choice, pick)) in pokes.into_iter().enumerate() {
                poke(&mut run, choice, pick as usize);
                run.save(&store).await.expect("saved");
                if count.is_multiple_of(usize::from(reload % 7) + 1) {
                    let loaded = store.load_execution(&run.id()).await.expect("readable");
                    let loaded = loaded.expect("it exists");
                    assert!(loaded == run.execution);
                    // As after a restart: what follows is decided from the rows.
                    run.execution = loaded;
                }
            }
            assert!(load_checked(&store, &run.id()).await == run.execution);
            let open = store.open_executions().await.expect("readable");
            assert_eq!(open.is_empty(), run.execution.head().end.is_some());
        });
    }
}
