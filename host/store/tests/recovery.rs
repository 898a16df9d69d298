//! What a restart reads: the same as reading each execution alone, at a cost that follows batches of open executions and
//! never what has ended. A process of its own, because it counts every statement.

use std::sync::Arc;

use caelum_core::workflow::Execution;
use caelum_core::workflow::command::Control;
use caelum_store::{Store, StoreOptions, Synchronous, UNFINISHED_MAX};

#[path = "store/harness.rs"]
#[expect(dead_code, reason = "the harness is shared with tests that need more of it")]
mod harness;

use harness::{Run, chain, definition, id, quick};

/// Statements that one batch takes: heads, first events, steps and targets, between a begin and an end.
const PER_BATCH: u64 = 6;

/// Statements that are needed once: the connection sets itself up, the definition is read.
const ONCE: u64 = 2;

/// Creates executions that have begun and wait for a report.
async fn begin(store: &Store, names: impl Iterator<Item = String>) {
    let definition = Arc::new(definition("w", chain(3)));
    for name in names {
        let mut run = Run::new(&name, Arc::clone(&definition));
        run.create(store).await;
    }
}

/// Runs executions to their end.
async fn finish(store: &Store, names: impl Iterator<Item = String>) {
    let definition = Arc::new(definition("w", chain(3)));
    for name in names {
        let mut run = Run::new(&name, Arc::clone(&definition));
        run.create(store).await;
        while run.succeed_one() {
            run.save(store).await.expect("saved");
        }
    }
}

/// Reads everything that is open, and says how many statements that took.
async fn recover(store: &Store) -> (Vec<Execution>, u64) {
    let before = store.statements();
    let (mut all, mut behind) = (Vec::new(), None);
    loop {
        let some = store.unfinished(behind).await.expect("readable");
        assert!(some.unreadable.is_empty(), "{:?}", some.unreadable);
        all.extend(some.executions);
        behind = some.next;
        if behind.is_none() {
            return (all, store.statements() - before);
        }
    }
}

#[tokio::test]
async fn a_restart_costs_statements_by_batches_of_what_is_open_and_none_for_what_has_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(quick(&directory)).expect("opens");
    begin(&store, (0..10).map(|run| format!("few_{run}"))).await;
    store.close().await;
    let store = Store::open(quick(&directory)).expect("opens");
    let (few, cost_of_few) = recover(&store).await;
    finish(&store, (0..300).map(|run| format!("ended_{run}"))).await;
    store.close().await;
    let store = Store::open(quick(&directory)).expect("opens");
    let (same, cost_with_ended) = recover(&store).await;
    let many = 2 * u64::from(UNFINISHED_MAX) + 100;
    begin(&store, (0..many).map(|run| format!("many_{run}"))).await;
    let (all, cost_of_many) = recover(&store).await;

    assert_eq!((few.len(), same.len(), all.len() as u64), (10, 10, many + 10));
    assert!(cost_of_few <= PER_BATCH + ONCE, "{cost_of_few} statements for ten");
    assert_eq!(cost_with_ended, cost_of_few, "what has ended costs nothing");
    assert!(cost_of_many <= 3 * PER_BATCH + ONCE, "{cost_of_many} statements for {}", all.len());
}

#[tokio::test]
async fn what_is_read_together_is_what_is_read_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = StoreOptions {
        // Some values are blobs.
        blob_bytes_min: 256,
        synchronous: Synchronous::Off,
        ..StoreOptions::new(directory.path())
    };
    let store = Store::open(options).expect("opens");
    for run in 0..40 {
        let steps = chain(1 + run % 4);
        let workflow = format!("w{}", run % 4);
        let mut run_now = Run::new(&format!("ex_{run}"), Arc::new(definition(&workflow, steps)));
        run_now.create(&store).await;
        for _ in 0..run % 3 {
            run_now.succeed_one();
            run_now.save(&store).await.expect("saved");
        }
        let control = match run % 5 {
            0 => Control::Pause,
            1 => Control::Cancel,
            _ => continue,
        };
        if let Ok(Some(body)) = run_now.execution.control(&control, "ann".into(), "why".into()) {
            run_now.record(body);
            run_now.save(&store).await.expect("saved");
        }
    }

    let (together, _) = recover(&store).await;

    let open = store.open_executions().await.expect("readable");
    assert!(open.len() > 10);
    let names: Vec<_> = together.iter().map(|execution| execution.id().clone()).collect();
    assert_eq!(names, open, "the oldest first");
    for execution in together {
        let alone = store.load_execution(execution.id()).await.expect("readable").expect("exists");
        assert!(execution == alone, "{execution:#?}\n{alone:#?}");
    }
}

#[tokio::test]
async fn an_execution_that_cannot_be_read_keeps_no_other_from_going_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(quick(&directory)).expect("opens");
    begin(&store, (0..5).map(|run| format!("ex_{run}"))).await;
    store.close().await;
    let connection = rusqlite::Connection::open(quick(&directory).database()).expect("opens");
    for (table, column, run) in
        [("event", "body", "ex_0"), ("step", "state", "ex_2"), ("target", "state", "ex_3")]
    {
        let sql = format!(
            "UPDATE {table} SET {column} = '{{\"torn' \
             WHERE execution = (SELECT key FROM execution WHERE id = '{run}')"
        );
        assert!(connection.execute(&sql, []).expect("updated") > 0);
    }
    drop(connection);

    let store = Store::open(quick(&directory)).expect("opens");
    let read = store.unfinished(None).await.expect("the store itself is well");

    let names: Vec<_> = read.executions.iter().map(|execution| execution.id().clone()).collect();
    assert_eq!(names, [id("ex_1"), id("ex_4")]);
    let (bad, why): (Vec<_>, Vec<_>) = read.unreadable.into_iter().unzip();
    assert_eq!(bad, [id("ex_0"), id("ex_2"), id("ex_3")]);
    assert!(why[0].starts_with("event 0 of execution `ex_0` cannot be read: "), "{why:?}");
    assert!(why[1].starts_with("step 0 of execution `ex_2` cannot be read: "), "{why:?}");
    assert!(why[2].starts_with("a target of step 0 of execution `ex_3`"), "{why:?}");
    assert_eq!(read.next, None);
}
