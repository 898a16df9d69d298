//! Many callers, few commits; and what happens to the one that fails among them.

use std::sync::Arc;

use caelum_core::workflow::{EventBody, ExecutionStatus};
use caelum_store::{
    ExecutionKind, IdempotencyEntry, KeyUse, Store, StoreError, StoreOptions, Synchronous,
};
use tokio::task::JoinSet;

use crate::harness::{Run, all_events, at, chain, definition, id, load_checked, store};

fn key(name: &str, request: &str) -> IdempotencyEntry {
    IdempotencyEntry {
        scope: "execute_workflow".into(),
        key: name.into(),
        request_digest: request.into(),
        answer: serde_json::json!({ "execution_id": "ex_1" }),
        at: at(1),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_commits_that_are_durable() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(StoreOptions::new(directory.path())).expect("opens");
    let definition = Arc::new(definition("w", chain(4)));
    let mut callers = JoinSet::new();

    for caller in 0..256 {
        let (store, definition) = (store.clone(), Arc::clone(&definition));
        callers.spawn(async move {
            let mut run = Run::new(&format!("ex_{caller}"), definition);
            run.create(&store).await;
            while run.succeed_one() {
                run.save(&store).await.expect("saved");
            }
            assert_eq!(run.execution.status(), ExecutionStatus::Completed);
        });
    }
    callers.join_all().await;

    let stats = store.stats().await.expect("readable");
    assert_eq!(stats.requests, 256 * 5);
    assert!(stats.commits * 4 < stats.requests, "{stats:?}");
    assert!(stats.batch_largest > 4 && stats.batch_largest <= 512, "{stats:?}");
    assert_eq!(stats.batches.iter().sum::<u64>(), stats.commits);
    assert_eq!(stats.queued, 0);
    for caller in [0, 100, 255] {
        load_checked(&store, &id(&format!("ex_{caller}"))).await;
    }
}

#[tokio::test]
async fn of_two_owners_of_one_execution_the_second_is_refused() {
    let (store, _directory) = store();
    let mut first = Run::new("ex_1", Arc::new(definition("w", chain(2))));
    first.create(&store).await;
    let mut second = Run::new("ex_1", Arc::new(definition("w", chain(2))));
    second.unsaved.clear();
    second.execution.take_dirty();

    first.succeed_one();
    first.save(&store).await.expect("it is the first");
    second.succeed_one();
    let error = second.save(&store).await.expect_err("it knows of fewer events");

    assert_eq!(
        error.to_string(),
        "execution `ex_1` was changed by somebody else: expected length 3, found 7"
    );
    assert!(matches!(error, StoreError::Conflict { expected: 3, found: 7, .. }));
    assert!(load_checked(&store, &first.id()).await == first.execution);
}

#[tokio::test]
async fn an_append_that_is_sent_twice_is_stored_once() {
    let (store, _directory) = store();
    let mut run = Run::new("ex_1", Arc::new(definition("w", chain(2))));
    run.create(&store).await;
    run.succeed_one();
    let append = run.append();

    store.append(append.clone()).await.expect("the first");
    let error = store.append(append).await.expect_err("the second");

    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    load_checked(&store, &run.id()).await;
}

#[tokio::test]
async fn what_does_not_exist_and_what_does_not_fit_is_refused() {
    let (store, _directory) = store();
    let mut run = Run::new("ex_1", Arc::new(definition("w", chain(2))));

    let error = store.append(run.append()).await.expect_err("never created");
    assert_eq!(error.to_string(), "execution `ex_1` does not exist");
    assert!(store.load_execution(&id("ex_1")).await.expect("readable").is_none());
    let error = store.events(&id("ex_1"), None, 10).await.expect_err("never created");
    assert_eq!(error.to_string(), "execution `ex_1` does not exist");

    let gap = caelum_store::Append::of(&mut run.execution, 7, vec![]).expect_err("a gap");
    assert!(gap.to_string().contains("0 were given to go behind event 7"), "{gap}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_fails_takes_nothing_with_it_and_leaves_nothing() {
    let (store, _directory) = store();
    let definition = Arc::new(definition("w", chain(2)));
    let mut taken = Run::new("taken", Arc::clone(&definition));
    taken.create(&store).await;
    let mut callers = JoinSet::new();

    for caller in 0..64 {
        let (store, definition) = (store.clone(), Arc::clone(&definition));
        callers.spawn(async move {
            let fails = caller % 2 == 0;
            let name = if fails { "taken".to_owned() } else { format!("ex_{caller}") };
            let mut run = Run::new(&name, definition);
            let new = run.new_execution(ExecutionKind::Workflow);
            let created = store.create_execution(new, Some(key(&format!("k{caller}"), "r"))).await;
            let error = created.is_err();
            assert_eq!(error, fails, "{created:?}");
        });
    }
    callers.join_all().await;

    for caller in 0..64 {
        let used = store.begin_idempotent("execute_workflow", &format!("k{caller}"), "r").await;
        assert_eq!(used.expect("readable").is_some(), caller % 2 == 1, "k{caller}");
    }
    assert_eq!(store.open_executions().await.expect("readable").len(), 33);
    load_checked(&store, &id("taken")).await;
    assert_eq!(store.stats().await.expect("readable").failed_requests, 32);
}

#[tokio::test]
async fn the_same_key_gives_the_same_answer_and_creates_nothing() {
    let (store, _directory) = store();
    let definition = Arc::new(definition("w", chain(1)));
    let mut run = Run::new("ex_1", Arc::clone(&definition));
    let new = run.new_execution(ExecutionKind::Workflow);
    store.create_execution(new, Some(key("k", "request"))).await.expect("fresh");

    let mut again = Run::new("ex_2", Arc::clone(&definition));
    let again = again.new_execution(ExecutionKind::Workflow);
    let same = store.create_execution(again, Some(key("k", "request"))).await.expect_err("used");
    let mut other = Run::new("ex_3", definition);
    let other = other.new_execution(ExecutionKind::Workflow);
    let different = store.create_execution(other, Some(key("k", "other"))).await.expect_err("used");

    let StoreError::KeyUsed { used: KeyUse::Same { answer }, .. } = same else { panic!("{same}") };
    assert_eq!(answer["execution_id"], "ex_1");
    assert!(
        matches!(
            &different,
            StoreError::KeyUsed { used: KeyUse::Different { request_digest, .. }, .. }
                if request_digest == "request"
        ),
        "{different}"
    );
    assert_eq!(different.to_string(), "idempotency key `k` of execute_workflow was used before");
    assert_eq!(store.open_executions().await.expect("readable"), [id("ex_1")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_for_is_done_although_its_caller_went_away() {
    let (store, _directory) = store();
    let mut run = Run::new("ex_1", Arc::new(definition("w", chain(1))));
    let new = run.new_execution(ExecutionKind::Workflow);

    let caller = tokio::spawn({
        let store = store.clone();
        async move { store.create_execution(new, None).await }
    });
    // Long enough to be queued or not at all: either way nothing may be half done.
    tokio::task::yield_now().await;
    caller.abort();
    let _ = caller.await;
    store.close().await;

    let error = store.open_executions().await.expect_err("closed");
    assert_eq!(error.to_string(), "the store is closed");
    let store = Store::open(StoreOptions::new(store.directory())).expect("opens again");
    for execution in store.open_executions().await.expect("readable") {
        load_checked(&store, &execution).await;
    }
}

#[tokio::test]
async fn closing_finishes_what_is_queued() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = StoreOptions {
        synchronous: Synchronous::Normal,
        batch_max: 3,
        ..StoreOptions::new(directory.path())
    };
    let store = Store::open(options.clone()).expect("opens");
    let definition = Arc::new(definition("w", chain(1)));
    let mut callers = JoinSet::new();
    for caller in 0..50 {
        let (store, definition) = (store.clone(), Arc::clone(&definition));
        callers.spawn(async move {
            let mut run = Run::new(&format!("ex_{caller}"), definition);
            let new = run.new_execution(ExecutionKind::Workflow);
            store.create_execution(new, None).await.is_ok()
        });
    }

    // Some are queued by now, others find the store closed.
    tokio::task::yield_now().await;
    store.close().await;
    let told = callers.join_all().await.into_iter().filter(|stored| *stored).count();

    let store = Store::open(options).expect("the directory is free");
    assert!(store.open_executions().await.expect("readable").len() >= told);
    assert!(told > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_events_are_stored_read_in_pages_and_never_in_the_way() {
    let (store, _directory) = store();
    let mut run = Run::new("ex_1", Arc::new(definition("w", chain(2))));
    run.create(&store).await;

    for _ in 0..100 {
        for _ in 0..1_000 {
            let body = EventBody::LateReport {
                step: id("s0"),
                attempt: 1,
                machine: id("local"),
                item: None,
                epoch: 1,
                status: caelum_core::task::OutcomeStatus::Failed,
            };
            let event = run.execution.event(body, at(2));
            run.execution.apply(&event).expect("legal");
            run.unsaved.push(event);
        }
        run.save(&store).await.expect("saved");
    }

    assert_eq!(all_events(&store, &run.id()).await.len(), 100_003);
    let tail = store.events(&run.id(), Some(100_000), 10).await.expect("readable");
    assert_eq!(tail.iter().map(|event| event.seq).collect::<Vec<_>>(), [100_001, 100_002]);
    // Loading costs by rows, not by history.
    let before = store.statements();
    assert!(
        store.load_execution(&run.id()).await.expect("readable").expect("exists") == run.execution
    );
    assert!(store.statements() - before < 10);
}
