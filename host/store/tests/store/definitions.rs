//! Workflows and their revisions.

use std::sync::Arc;

use caelum_core::workflow::DefinitionStatus;
use caelum_store::{
    DefinitionFilter, IdempotencyEntry, IfExists, KeyUse, PageRequest, Saved, StoreError,
};
use tokio::task::JoinSet;

use crate::harness::{Run, at, chain, definition, id, store};

#[tokio::test]
async fn a_workflow_comes_back_at_every_revision() {
    let (store, _directory) = store();
    let first = definition("deploy", chain(2));
    let saved =
        store.create_definition(first.clone(), IfExists::Error, None).await.expect("it is new");
    assert_eq!(saved.revision, 1);

    let mut second = definition("deploy", chain(3));
    second.created_at = at(50);
    second.updated_at = at(50);
    let again = store.create_definition(second.clone(), IfExists::NewRevision, None).await;
    assert_eq!(again.expect("a revision").revision, 2);

    let newest = store.definition(&id("deploy"), None).await.expect("readable").expect("exists");
    assert_eq!((newest.definition.revision, newest.definition.steps.len()), (2, 3));
    assert_eq!(newest.definition.created_at, at(0), "the first revision was made then");
    assert_eq!(newest.graph.dependencies(2), [1]);
    let old = store.definition(&id("deploy"), Some(1)).await.expect("readable").expect("exists");
    assert_eq!((*old.definition).clone(), first);
    assert_eq!(old.digest, saved.digest);
    assert!(store.definition(&id("deploy"), Some(3)).await.expect("readable").is_none());
    assert!(store.definition(&id("other"), None).await.expect("readable").is_none());
    let revisions = store.revisions(&id("deploy")).await.expect("readable");
    let seen: Vec<_> = revisions.iter().map(|one| (one.revision, one.steps)).collect();
    assert_eq!(seen, [(2, 3), (1, 2)]);
    assert_eq!(store.workflow_ids().await.expect("readable"), ["deploy"]);
}

#[tokio::test]
async fn an_existing_workflow_is_not_replaced_unasked() {
    let (store, _directory) = store();
    let one = || definition("deploy", chain(1));
    store.create_definition(one(), IfExists::Error, None).await.expect("it is new");

    let error = store.create_definition(one(), IfExists::Error, None).await.expect_err("exists");

    assert_eq!(error.to_string(), "workflow `deploy` exists already");
}

#[tokio::test]
async fn a_key_answers_again_with_the_revision_that_was_made() {
    let (store, _directory) = store();
    let entry = IdempotencyEntry {
        scope: "create_workflow".into(),
        key: "k".into(),
        request_digest: "r".into(),
        answer: serde_json::json!({ "workflow_id": "deploy" }),
        at: at(0),
    };
    let create = |entry: IdempotencyEntry| {
        store.create_definition(definition("deploy", chain(1)), IfExists::Error, Some(entry))
    };
    create(entry.clone()).await.expect("fresh");

    let error = create(entry).await.expect_err("used");

    let StoreError::KeyUsed { used: KeyUse::Same { answer }, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(answer, serde_json::json!({ "workflow_id": "deploy", "revision": 1 }));
}

#[tokio::test]
async fn a_revision_is_added_behind_the_one_it_was_made_from_and_nowhere_else() {
    let (store, _directory) = store();
    store
        .create_definition(definition("deploy", chain(1)), IfExists::Error, None)
        .await
        .expect("new");
    let next = || {
        let mut next = definition("deploy", chain(2));
        next.revision = 2;
        next
    };
    let entry = IdempotencyEntry {
        scope: "update_workflow".into(),
        key: "k".into(),
        request_digest: "r".into(),
        answer: serde_json::json!({}),
        at: at(3),
    };

    let added = store.add_revision(next(), Some(entry)).await.expect("behind the newest");
    let late = store.add_revision(next(), None).await.expect_err("another one came first");

    assert_eq!(added.revision, 2);
    let Err(StoreError::Conflict { expected: 1, found: 2, .. }) = Err::<Saved, _>(late) else {
        panic!("a conflict names both revisions")
    };
    let kept = store.begin_idempotent("update_workflow", "k", "r").await.expect("readable");
    assert_eq!(kept, Some(KeyUse::Same { answer: serde_json::json!({"revision": 2}) }));
}

#[tokio::test]
async fn the_answer_to_a_request_that_made_nothing_is_kept_once() {
    let (store, _directory) = store();
    let entry = |digest: &str| IdempotencyEntry {
        scope: "update_workflow".into(),
        key: "k".into(),
        request_digest: digest.into(),
        answer: serde_json::json!({"revision": 7}),
        at: at(3),
    };

    store.keep_answer(entry("r")).await.expect("fresh");
    let again = store.keep_answer(entry("other")).await.expect_err("used");

    assert!(matches!(again, StoreError::KeyUsed { .. }), "{again}");
}

#[tokio::test]
async fn a_status_is_a_revision_of_its_own() {
    let (store, _directory) = store();
    store
        .create_definition(definition("deploy", chain(1)), IfExists::Error, None)
        .await
        .expect("it is new");
    let archive = || {
        let id = id("deploy");
        let store = store.clone();
        async move { store.set_definition_status(&id, DefinitionStatus::Archived, "ann", at(9)).await }
    };

    let Saved { revision, .. } = archive().await.expect("a revision");
    let again = archive().await.expect("nothing to do");

    assert_eq!((revision, again.revision), (2, 2));
    let stored = store.definition(&id("deploy"), None).await.expect("readable").expect("exists");
    assert_eq!(stored.definition.status, DefinitionStatus::Archived);
    assert_eq!(
        (stored.definition.created_by.as_str(), stored.definition.updated_at),
        ("ann", at(9))
    );
    let error = store
        .set_definition_status(&id("other"), DefinitionStatus::Draft, "ann", at(9))
        .await
        .expect_err("unknown");
    assert_eq!(error.to_string(), "workflow `other` does not exist");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_made_at_the_same_time_are_all_kept() {
    let (store, _directory) = store();
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        let store = store.clone();
        callers.spawn(async move {
            let mut definition = definition("deploy", chain(1));
            definition.description = format!("by {caller}");
            store.create_definition(definition, IfExists::NewRevision, None).await
        });
    }

    let mut revisions: Vec<u32> = callers
        .join_all()
        .await
        .into_iter()
        .map(|saved| saved.expect("a revision").revision)
        .collect();

    revisions.sort_unstable();
    assert_eq!(revisions, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(store.revisions(&id("deploy")).await.expect("readable").len(), 8);
}

#[tokio::test]
async fn lists_show_the_newest_first_with_their_last_execution() {
    let (store, _directory) = store();
    for index in 0..5 {
        let mut definition = definition(&format!("w{index}"), chain(1));
        definition.pattern = if index % 2 == 0 { "even".into() } else { "odd".into() };
        if index == 4 {
            definition.status = DefinitionStatus::Draft;
        }
        store.create_definition(definition, IfExists::Error, None).await.expect("new");
    }
    let stored = store.definition(&id("w1"), None).await.expect("readable").expect("exists");
    let mut run = Run::new("ex_1", Arc::clone(&stored.definition));
    run.create(&store).await;
    run.succeed_all();
    run.save(&store).await.expect("saved");
    let names = |filter: DefinitionFilter| {
        let store = store.clone();
        async move {
            let mut names = Vec::new();
            let mut page = PageRequest::first(2);
            loop {
                let shown = store.list_definitions(&filter, &page).await.expect("readable");
                assert!(shown.items.len() <= 2);
                names.extend(shown.items.into_iter().map(|one| one.workflow_id.to_string()));
                match shown.next {
                    Some(next) => page.cursor = Some(next),
                    None => return names,
                }
            }
        }
    };

    assert_eq!(names(DefinitionFilter::default()).await, ["w4", "w3", "w2", "w1", "w0"]);
    let pattern = Some("even".to_owned());
    let filter = DefinitionFilter { pattern: pattern.clone(), ..DefinitionFilter::default() };
    assert_eq!(names(filter).await, ["w4", "w2", "w0"]);
    let status = Some(DefinitionStatus::Active);
    let filter = DefinitionFilter { status, pattern, ..DefinitionFilter::default() };
    assert_eq!(names(filter).await, ["w2", "w0"]);
    let status = Some(DefinitionStatus::Draft);
    let filter = DefinitionFilter { status, ..DefinitionFilter::default() };
    assert_eq!(names(filter).await, ["w4"]);
    let last_execution = Some(caelum_core::workflow::ExecutionStatus::Completed);
    let filter = DefinitionFilter { last_execution, ..DefinitionFilter::default() };
    assert_eq!(names(filter).await, ["w1"]);
    let all = store
        .list_definitions(&DefinitionFilter::default(), &PageRequest::first(10))
        .await
        .expect("readable");
    let last = all.items[3].last_execution.clone().expect("it ran");
    assert_eq!(last.id, id("ex_1"));
    let cursor = Some("e1".to_owned());
    let error = store
        .list_definitions(&DefinitionFilter::default(), &PageRequest { limit: 1, cursor })
        .await
        .expect_err("a cursor of another list");
    assert!(matches!(error, StoreError::BadCursor { .. }), "{error}");
}

#[tokio::test]
async fn settings_are_remembered() {
    let (store, _directory) = store();
    assert_eq!(store.setting("token").await.expect("readable"), None);
    store.set_setting("token", &"a".into()).await.expect("set");
    store.set_setting("token", &serde_json::json!(["b"])).await.expect("set again");
    assert_eq!(store.setting("token").await.expect("readable"), Some(serde_json::json!(["b"])));
}
