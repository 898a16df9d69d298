//! What retention takes away, and what stays.

use std::sync::Arc;

use caelum_core::task::{FailureClass, OutcomeStatus, Output};
use caelum_store::{
    ExecutionFilter, ExecutionKind, IdempotencyEntry, IfExists, PageRequest, Retained,
};
use rusqlite::Connection;

use crate::harness::{Run, at, chain, definition, id, load_checked, outcome, quick, store};

#[tokio::test]
async fn what_ended_long_ago_is_forgotten_with_everything_that_only_it_named() {
    let (store, directory) = store();
    store.create_definition(definition("w", chain(1)), IfExists::Error, None).await.expect("new");
    let stored = store.definition(&id("w"), None).await.expect("readable").expect("exists");
    for index in 0..200_u64 {
        let definition = if index % 2 == 0 {
            Arc::clone(&stored.definition)
        } else {
            // A task group has a definition of its own.
            let mut group = definition("task", chain(1));
            group.description = format!("group {index}");
            Arc::new(group)
        };
        let mut run = Run::begin(&format!("ex_{index}"), definition, index);
        let kind = if index % 2 == 0 { ExecutionKind::Workflow } else { ExecutionKind::TaskGroup };
        let key = IdempotencyEntry {
            scope: "execute".into(),
            key: format!("k{index}"),
            request_digest: "r".into(),
            answer: serde_json::Value::Null,
            at: at(index),
        };
        let new = run.new_execution(kind);
        store.create_execution(new, Some(key)).await.expect("created");
        if index == 0 {
            // Old and still open.
            continue;
        }
        let mut finished = outcome(OutcomeStatus::Succeeded, FailureClass::Exit);
        let letter = if index < 100 { "x" } else { "y" };
        finished.stdout =
            Output { text: letter.repeat(70_000), total_bytes: 70_000, truncated: false };
        run.report(0, 0, finished);
        run.save(&store).await.expect("saved");
    }
    store.save_plan(&id("pl_old"), &serde_json::Value::Null, at(1)).await.expect("saved");
    store.save_plan(&id("pl_new"), &serde_json::Value::Null, at(150)).await.expect("saved");

    let retained = store.retain(at(100)).await.expect("retained");

    assert_eq!(retained.executions, 99);
    assert_eq!((retained.plans, retained.keys, retained.documents), (1, 100, 50));
    assert!(retained.blobs > 0);
    assert_eq!(store.retain(at(100)).await.expect("retained"), Retained::default());
    assert!(store.load_execution(&id("ex_99")).await.expect("readable").is_none());
    for kept in ["ex_0", "ex_100", "ex_199"] {
        load_checked(&store, &id(kept)).await;
    }
    assert!(store.plan(&id("pl_new")).await.expect("readable").is_some());
    let counts = store.count_executions().await.expect("readable");
    assert_eq!(counts.iter().map(|count| count.executions).sum::<u64>(), 101);
    let connection = Connection::open(quick(&directory).database()).expect("opens");
    for table in ["event", "step", "target"] {
        let orphans: i64 = connection
            .query_row(
                &format!(
                    "SELECT count(*) FROM {table} WHERE execution NOT IN (SELECT key FROM execution)"
                ),
                [],
                |row| row.get(0),
            )
            .expect("a count");
        assert_eq!(orphans, 0, "{table}");
    }
}

#[tokio::test]
async fn a_workflow_whose_executions_are_gone_stays_and_runs_again() {
    let (store, _directory) = store();
    store.create_definition(definition("w", chain(1)), IfExists::Error, None).await.expect("new");
    let stored = store.definition(&id("w"), None).await.expect("readable").expect("exists");
    let mut run = Run::begin("ex_1", Arc::clone(&stored.definition), 1);
    run.create(&store).await;
    run.succeed_all();
    run.save(&store).await.expect("saved");

    assert_eq!(store.retain(at(1_000)).await.expect("retained").executions, 1);

    let list = store.list_definitions(&Default::default(), &PageRequest::first(5)).await;
    assert_eq!(list.expect("readable").items[0].last_execution, None);
    let mut again = Run::begin("ex_2", Arc::clone(&stored.definition), 2_000);
    again.create(&store).await;
    let list = store.list_executions(&ExecutionFilter::default(), &PageRequest::first(5)).await;
    assert_eq!(list.expect("readable").items.len(), 1);
}

#[tokio::test]
async fn a_definition_that_retention_took_away_is_written_again() {
    let (store, _directory) = store();
    let group = Arc::new(definition("task", chain(1)));
    let mut run = Run::begin("ex_1", Arc::clone(&group), 1);
    run.create(&store).await;
    run.succeed_all();
    run.save(&store).await.expect("saved");
    assert_eq!(store.retain(at(1_000)).await.expect("retained").documents, 1);

    let mut again = Run::begin("ex_2", group, 2_000);
    again.create(&store).await;

    load_checked(&store, &id("ex_2")).await;
}
