//! Steps that go over a list: a row for each item, read back as they were, and cheap to keep.

use std::sync::Arc;

use caelum_core::task::{FailureClass, OutcomeStatus};
use caelum_core::workflow::command::Control;
use caelum_core::workflow::{RetryPolicy, Step, StepMap, TargetPhase};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Run, command, definition, load_checked, outcome, quick, store};

fn map(items: usize, max: u32) -> Step {
    let mut step = command("a", &[]);
    let list = (0..items).map(|item| json!({"name": format!("item {item}")})).collect();
    step.map = Some(StepMap { max, ..StepMap::over(Value::Array(list)) });
    step.retry =
        Some(RetryPolicy { attempts: 2, initial_ms: 1, jitter: false, ..RetryPolicy::default() });
    step
}

#[tokio::test]
async fn items_are_read_back_as_they_were_at_every_moment() {
    let (store, _directory) = store();
    let mut run = Run::new("ex_1", Arc::new(definition("w", vec![map(9, 2)])));
    run.create(&store).await;
    assert!(load_checked(&store, &run.id()).await == run.execution);

    // One fails for good, one fails and is tried again, the others succeed.
    run.report(0, 0, outcome(OutcomeStatus::Failed, FailureClass::Exit));
    run.save(&store).await.expect("saved");
    run.report(0, 1, outcome(OutcomeStatus::TimedOut, FailureClass::Transient));
    run.save(&store).await.expect("saved");
    let loaded = load_checked(&store, &run.id()).await;
    assert!(loaded.step(0).targets[1].rests(), "{:#?}", loaded.step(0).targets[1]);
    assert_eq!(loaded.step(0).targets.tally(), run.execution.step(0).targets.tally());
    run.wait(1);
    while run.succeed_one() {
        run.save(&store).await.expect("saved");
        assert!(load_checked(&store, &run.id()).await == run.execution);
    }
    let ended = load_checked(&store, &run.id()).await;
    assert_eq!(ended.step(0).targets[0].phase, TargetPhase::Failed);

    let retry = run.execution.control(&Control::RetryFailed, "x".into(), String::new());
    run.record(retry.expect("it failed").expect("something to do"));
    run.save(&store).await.expect("saved");
    let resumed = load_checked(&store, &run.id()).await;
    assert_eq!((resumed.step(0).targets.tally().succeeded, resumed.step(0).attempt), (8, 2));
    run.succeed_all();
    run.save(&store).await.expect("saved");
    let outputs = load_checked(&store, &run.id()).await.step(0).outputs.clone();
    assert_eq!(outputs["items"].as_array().expect("a list").len(), 9);
}

#[tokio::test]
async fn an_item_that_waits_for_another_attempt_has_not_ended_for_metrics() {
    let (store, directory) = store();
    let mut run = Run::new("ex_1", Arc::new(definition("w", vec![map(2, 2)])));
    run.report(0, 0, outcome(OutcomeStatus::TimedOut, FailureClass::Transient));
    run.report(0, 1, outcome(OutcomeStatus::Succeeded, FailureClass::Exit));
    run.create(&store).await;
    store.close().await;

    let connection = Connection::open(quick(&directory).database()).expect("opens");
    let rows: Vec<(i64, bool)> = connection
        .prepare("SELECT idx, ended_at IS NOT NULL FROM target ORDER BY idx")
        .expect("a table")
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("columns");

    assert_eq!(rows, [(0, false), (1, true)]);
}

#[tokio::test]
async fn a_round_of_a_large_map_writes_what_changed_and_nothing_else() {
    let (store, _directory) = store();
    let mut run = Run::new("ex_1", Arc::new(definition("w", vec![map(2_000, 4)])));
    run.create(&store).await;

    for _ in 0..20 {
        assert!(run.succeed_one());
        let dirty = {
            let mut copy = run.execution.clone();
            copy.take_dirty()
        };
        assert_eq!(
            (dirty.steps.len(), dirty.new_targets.len()),
            (0, 0),
            "the step's own row stands"
        );
        assert_eq!(dirty.targets.len(), 2, "one ended, one began");
        run.save(&store).await.expect("saved");
    }

    assert!(load_checked(&store, &run.id()).await == run.execution);
}
