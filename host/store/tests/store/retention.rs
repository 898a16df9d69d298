//! What retention takes away, and what stays.

use std::sync::Arc;

use caelum_core::task::{FailureClass, OutcomeStatus, Output};
use caelum_store::{
    ExecutionFilter, ExecutionKind, Expiry, IdempotencyEntry, IfExists, PageRequest, Retained,
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

    let retained = store.retain(&Expiry::before(at(100))).await.expect("retained");

    assert_eq!(retained.executions, 99);
    assert_eq!((retained.plans, retained.keys, retained.documents), (1, 100, 50));
    assert!(retained.blobs > 0);
    assert_eq!(
        store.retain(&Expiry::before(at(100))).await.expect("retained"),
        Retained::default()
    );
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

    assert_eq!(store.retain(&Expiry::before(at(1_000))).await.expect("retained").executions, 1);

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
    assert_eq!(store.retain(&Expiry::before(at(1_000))).await.expect("retained").documents, 1);

    let mut again = Run::begin("ex_2", group, 2_000);
    again.create(&store).await;

    load_checked(&store, &id("ex_2")).await;
}

/// Lets execution `name` of a task group or workflow run to its end at second `seconds`.
async fn finished(store: &caelum_store::Store, name: &str, seconds: u64) {
    let mut run = Run::begin(name, Arc::new(definition("w", chain(2))), seconds);
    run.create(store).await;
    run.succeed_all();
    run.save(store).await.expect("saved");
}

#[tokio::test]
async fn what_goes_is_archived_first_and_can_be_folded_again() {
    let (store, directory) = store();
    for index in 0..150_u64 {
        finished(&store, &format!("ex_{index}"), index).await;
    }
    let before = load_checked(&store, &id("ex_3")).await;
    let path = directory.path().join("archive/old.jsonl.zst");
    let expiry = Expiry { archive: Some(path.clone()), ..Expiry::before(at(140)) };

    let retained = store.retain(&expiry).await.expect("retained");

    assert_eq!(retained.executions, 140);
    assert_eq!(store.kept().await.expect("readable").executions, 10);
    let (text, cut) =
        caelum_store::unpack(&std::fs::read(&path).expect("a file"), u64::MAX).expect("unpacked");
    assert!(!cut);
    let text = String::from_utf8(text).expect("text");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let definitions = lines.iter().filter(|line| line.get("definition").is_some()).count();
    let heads = lines.iter().filter(|line| line.get("kind").is_some()).count();
    assert_eq!((definitions, heads), (1, 140));
    let events: Vec<caelum_core::workflow::Event> = lines
        .iter()
        .filter(|line| line["execution_id"] == "ex_3" && line.get("event").is_some())
        .map(|line| caelum_core::workflow::Event {
            seq: line["seq"].as_u64().expect("a number"),
            at: line["at"].as_str().expect("a time").parse().expect("a time"),
            body: serde_json::from_value(line["event"].clone()).expect("an event"),
        })
        .collect();
    let folded = caelum_core::workflow::Execution::fold(
        id("ex_3"),
        Arc::clone(before.definition()),
        Arc::clone(before.graph()),
        &events,
    )
    .expect("legal");
    assert!(folded == before);
    let again = store.retain(&expiry).await.expect("nothing is left to archive");
    assert_eq!(again, Retained::default());
}

#[tokio::test]
async fn an_archive_that_cannot_be_written_keeps_everything() {
    let (store, directory) = store();
    finished(&store, "ex_1", 1).await;
    let taken = directory.path().join("taken.jsonl.zst");
    std::fs::write(&taken, "somebody's").expect("written");

    for path in [taken.clone(), taken.join("below")] {
        let expiry = Expiry { archive: Some(path), ..Expiry::before(at(1_000)) };
        let error = store.retain(&expiry).await.expect_err("it cannot be written");
        assert!(error.to_string().contains("taken.jsonl.zst"), "{error}");
    }

    assert_eq!(store.kept().await.expect("readable").executions, 1);
    assert_eq!(std::fs::read(&taken).expect("a file"), b"somebody's");
}

#[tokio::test]
async fn what_may_expire_is_found_in_order() {
    let (store, _directory) = store();
    assert_eq!(store.kept().await.expect("readable"), caelum_store::Kept::default());
    for index in [30, 10, 20] {
        finished(&store, &format!("ex_{index}"), index).await;
    }
    store.save_plan(&id("pl_1"), &serde_json::Value::Null, at(5)).await.expect("saved");

    let kept = store.kept().await.expect("readable");

    assert_eq!((kept.executions, kept.oldest_execution), (3, Some(at(10))));
    assert_eq!(kept.oldest_other, Some(at(5)));
    assert_eq!(store.finished_at(1).await.expect("readable"), Some(at(20)));
    assert_eq!(store.finished_at(3).await.expect("readable"), None);
}
