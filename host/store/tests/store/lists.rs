//! Lists of executions, and the counts of them.

use std::sync::Arc;

use caelum_core::workflow::ExecutionStatus;
use caelum_core::workflow::command::Control;
use caelum_store::{ExecutionCount, ExecutionFilter, ExecutionKind, PageRequest, Store};

use crate::harness::{Run, chain, definition, id, store};

/// Twelve executions of two workflows and a task group; every third has completed, every fourth is cancelled.
async fn filled(store: &Store) {
    for index in 0..12 {
        let (kind, workflow) = match index % 3 {
            0 => (ExecutionKind::Workflow, "a"),
            1 => (ExecutionKind::Workflow, "b"),
            _ => (ExecutionKind::TaskGroup, "task"),
        };
        let mut run = Run::new(&format!("ex_{index}"), Arc::new(definition(workflow, chain(2))));
        let new = run.new_execution(kind);
        store.create_execution(new, None).await.expect("created");
        if index % 4 == 0 {
            let body = run
                .execution
                .control(&Control::Cancel, "ann".into(), "why not".into())
                .expect("allowed");
            run.record(body.expect("something to do"));
            run.wait(100);
        } else if index % 3 == 0 {
            run.succeed_all();
        }
        if !run.unsaved.is_empty() {
            run.save(store).await.expect("saved");
        }
    }
}

async fn names(store: &Store, filter: ExecutionFilter, limit: u32) -> Vec<String> {
    let mut page = PageRequest::first(limit);
    let mut names = Vec::new();
    loop {
        let shown = store.list_executions(&filter, &page).await.expect("readable");
        names.extend(shown.items.iter().map(|one| one.id.to_string()));
        match shown.next {
            Some(next) => page.cursor = Some(next),
            None => return names,
        }
    }
}

#[tokio::test]
async fn every_filter_shows_what_it_names_in_pages_of_every_size() {
    let (store, _directory) = store();
    filled(&store).await;
    let workflow_id = Some(id("a"));
    let status = Some(ExecutionStatus::Cancelled);
    let kind = Some(ExecutionKind::TaskGroup);
    let none = ExecutionFilter::default;
    let all: Vec<String> = (0..12).rev().map(|index| format!("ex_{index}")).collect();

    for limit in [1, 2, 5, 12, 100] {
        assert_eq!(names(&store, none(), limit).await, all);
        let filter = ExecutionFilter { workflow_id: workflow_id.clone(), ..none() };
        assert_eq!(names(&store, filter, limit).await, ["ex_9", "ex_6", "ex_3", "ex_0"]);
        let filter = ExecutionFilter { status, ..none() };
        assert_eq!(names(&store, filter, limit).await, ["ex_8", "ex_4", "ex_0"]);
        let filter = ExecutionFilter { kind, ..none() };
        assert_eq!(names(&store, filter, limit).await, ["ex_11", "ex_8", "ex_5", "ex_2"]);
        let filter = ExecutionFilter { kind, status, ..none() };
        assert_eq!(names(&store, filter, limit).await, ["ex_8"]);
        let filter = ExecutionFilter { workflow_id: workflow_id.clone(), status, kind: None };
        assert_eq!(names(&store, filter, limit).await, ["ex_0"]);
        let filter = ExecutionFilter { workflow_id: workflow_id.clone(), status, kind };
        assert!(names(&store, filter, limit).await.is_empty());
    }
}

#[tokio::test]
async fn a_cursor_stays_right_while_executions_are_added() {
    let (store, _directory) = store();
    filled(&store).await;
    let first = store
        .list_executions(&ExecutionFilter::default(), &PageRequest::first(4))
        .await
        .expect("readable");

    let mut run = Run::new("later", Arc::new(definition("a", chain(1))));
    run.create(&store).await;
    let page = PageRequest { limit: 4, cursor: first.next };
    let second = store.list_executions(&ExecutionFilter::default(), &page).await;

    let second = second.expect("readable").items;
    let names: Vec<&str> = second.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(names, ["ex_7", "ex_6", "ex_5", "ex_4"]);
    let summary = &second[1];
    assert_eq!(
        (summary.kind, summary.status),
        (ExecutionKind::Workflow, ExecutionStatus::Completed)
    );
    assert_eq!((summary.done, summary.total, summary.revision), (2, 2, 1));
    assert!(summary.ended_at.is_some());
}

#[tokio::test]
async fn counts_follow_every_change_of_status() {
    let (store, _directory) = store();
    filled(&store).await;
    let count = |kind, status, executions| ExecutionCount { kind, status, executions };

    let mut counts = store.count_executions().await.expect("readable");
    counts.sort_by_key(|one| (one.kind.as_str(), one.status.as_str()));

    assert_eq!(
        counts,
        [
            count(ExecutionKind::TaskGroup, ExecutionStatus::Cancelled, 1),
            count(ExecutionKind::TaskGroup, ExecutionStatus::Executing, 3),
            count(ExecutionKind::Workflow, ExecutionStatus::Cancelled, 2),
            count(ExecutionKind::Workflow, ExecutionStatus::Completed, 3),
            count(ExecutionKind::Workflow, ExecutionStatus::Executing, 3),
        ]
    );
    assert_eq!(store.stats().await.expect("readable").executions.len(), 5);
    assert_eq!(store.open_executions().await.expect("readable").len(), 6);
    let kind = store.execution_kind(&id("ex_2")).await.expect("readable");
    assert_eq!(kind, Some(ExecutionKind::TaskGroup));
    assert_eq!(store.execution_kind(&id("ex_99")).await.expect("readable"), None);
}

#[tokio::test]
async fn a_failed_execution_that_is_retried_is_open_again() {
    let (store, _directory) = store();
    let mut run = Run::new("ex_1", Arc::new(definition("w", chain(2))));
    run.create(&store).await;
    let broken = crate::harness::outcome(
        caelum_core::task::OutcomeStatus::Failed,
        caelum_core::task::FailureClass::Exit,
    );
    run.report(0, 0, broken.clone());
    run.save(&store).await.expect("saved");
    assert!(store.open_executions().await.expect("readable").is_empty());

    let retry = |run: &mut Run| {
        let body = run.execution.control(&Control::RetryFailed, "ann".into(), String::new());
        run.record(body.expect("allowed").expect("something to do"));
    };
    retry(&mut run);
    run.save(&store).await.expect("saved");
    assert_eq!(store.open_executions().await.expect("readable"), [id("ex_1")]);

    // Failed, retried and failed again within one transaction: the end is the last one.
    run.report(0, 0, broken.clone());
    run.save(&store).await.expect("saved");
    retry(&mut run);
    run.seconds += 7;
    run.report(0, 0, broken);
    run.save(&store).await.expect("saved");
    let loaded = crate::harness::load_checked(&store, &id("ex_1")).await;
    assert_eq!(loaded.head().ended_at, Some(crate::harness::at(7)));
}
