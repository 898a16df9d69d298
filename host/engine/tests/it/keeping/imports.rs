//! History and workflows that come from another engine.

use std::sync::Arc;

use caelum_core::workflow::{Event, EventBody, RetryPolicy};
use caelum_engine::import::{History, NewImport};
use caelum_engine::request::IfExists;
use caelum_engine::{Engine, EngineError};

use super::machine::{Place, by_hand, command, create, run};
use crate::harness::{start, wait_for};

/// Everything of a workflow, as it is handed over.
async fn exported(engine: &Engine, workflow: &str) -> NewImport {
    let export = engine.export(workflow, true).await.expect("it exists");
    NewImport {
        definition: Some((*export.definition).clone()),
        if_exists: IfExists::Error,
        histories: export
            .executions
            .into_iter()
            .map(|(execution, events)| History {
                place: format!("/{}", execution.id()),
                execution_id: execution.id().to_string(),
                kind: None,
                definition: Some(Arc::clone(execution.definition())),
                events,
            })
            .collect(),
        idempotency_key: None,
    }
}

fn details(error: EngineError) -> Vec<String> {
    match error {
        EngineError::Mistake(mistake) => mistake.details,
        other => panic!("{other:?}"),
    }
}

/// A workflow with two revisions and executions of both that ended in every way, and one that is open.
async fn filled(place: &Place) -> Engine {
    let engine = place.open(|_| {}).await;
    create(&engine, "w", vec![command("a", &[], "ok", 1), command("b", &["a"], "fail", 2)]).await;
    run(&engine, "w").await;
    let mut again = command("a", &[], "time-out", 1);
    again.retry = Some(RetryPolicy { attempts: 3, initial_ms: 0, ..RetryPolicy::default() });
    create(&engine, "w", vec![again, command("b", &[], "ok", 2)]).await;
    run(&engine, "w").await;
    create(&engine, "w", vec![by_hand("a")]).await;
    start(&engine, "w").await;
    let cancelled = start(&engine, "w").await;
    let by = || "ann".to_owned();
    let cancel = caelum_core::workflow::command::Control::Cancel;
    engine.control(&cancelled, cancel, by(), by()).await.expect("it is open");
    wait_for(&engine, &cancelled, |now| now.execution.head().end.is_some()).await;
    engine
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_comes_along_the_same_and_is_never_run_or_taken_in_twice() {
    let (place, other) = (Place::new(), Place::new());
    let engine = filled(&place).await;
    let parcel = exported(&engine, "w").await;
    let copy = other.open(|_| {}).await;

    let imported = copy.import(parcel.clone()).await.expect("it is right");

    assert_eq!(imported.workflow, Some(("w".to_owned(), 3)));
    assert_eq!(imported.executions.len(), 3);
    assert_eq!(imported.skipped.len(), 1, "{:?}", imported.skipped);
    assert!(imported.skipped[0].1.contains("had not ended"), "{:?}", imported.skipped);
    let (there, here) = (
        engine.export("w", true).await.expect("it exists"),
        copy.export("w", true).await.expect("it exists"),
    );
    assert_eq!(here.definition, there.definition);
    let ended = |export: &caelum_engine::report::Export| {
        export
            .executions
            .iter()
            .filter(|(execution, _)| execution.head().end.is_some())
            .map(|(execution, events)| (execution.as_ref().clone(), events.clone()))
            .collect::<Vec<_>>()
    };
    assert!(ended(&here) == ended(&there), "rows and events are the same, in the same order");
    assert!(other.machine.limits.lock().expect("unpoisoned").is_empty(), "nothing ran");
    assert_eq!(copy.health().await.open_executions, 0);

    let histories = NewImport { definition: None, ..parcel.clone() };
    let again = copy.import(histories).await.expect("it is right");
    assert_eq!((again.executions.len(), again.skipped.len()), (0, 4));
    let refused = copy.import(parcel.clone()).await.expect_err("it exists");
    assert!(refused.to_string().contains("a workflow `w` exists already"), "{refused}");
    let same = NewImport { if_exists: IfExists::NewRevision, ..parcel };
    let same = copy.import(same).await.expect("it is right");
    assert_eq!((same.workflow, same.unchanged), (Some(("w".to_owned(), 3)), true));
    create(&copy, "w", vec![command("a", &[], "ok", 1)]).await;
    run(&copy, "w").await;
    copy.close().await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_of_the_same_name_is_never_overwritten() {
    let (place, other) = (Place::new(), Place::new());
    let engine = filled(&place).await;
    let mut parcel = exported(&engine, "w").await;
    let copy = other.open(|_| {}).await;
    copy.import(parcel.clone()).await.expect("it is right");
    let id = parcel.histories[3].execution_id.clone();
    let before = copy.events(&id, None, 1_000).await.expect("it is here");
    // The same name, and other events.
    let cut = parcel.histories[2].events.clone();
    parcel.histories[3].events = cut;
    parcel.histories[3].definition = parcel.histories[2].definition.clone();
    parcel.definition = None;

    let imported = copy.import(parcel).await.expect("it is right");

    let told = imported.skipped.iter().find(|(skipped, _)| *skipped == id).expect("skipped");
    assert!(told.1.starts_with("another execution"), "{told:?}");
    assert_eq!(copy.events(&id, None, 1_000).await.expect("it is here"), before);
    copy.close().await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_named_and_nothing_is_stored() {
    let (place, other) = (Place::new(), Place::new());
    let engine = filled(&place).await;
    let right = exported(&engine, "w").await;
    let copy = other.open(|_| {}).await;
    let mut wrong = right.clone();
    let definition = wrong.definition.as_mut().expect("a definition");
    definition.steps[0].validation = Some("no-such-validator".parse().expect("legal"));
    definition.steps.push(definition.steps[0].clone());
    wrong.histories[1].execution_id = "no name".to_owned();
    wrong.histories[2].events.remove(1);
    wrong.histories[3].events.remove(0);
    let mut foreign = right.histories[2].clone();
    foreign.execution_id = "ex_foreign".to_owned();
    foreign.definition = None;
    if let EventBody::Started(started) = &mut foreign.events[0].body {
        started.workflow_id = "elsewhere".parse().expect("legal");
    }
    wrong.histories.push(foreign);

    let found = details(copy.import(wrong).await.expect_err("it is wrong"));

    for expected in [
        "no-such-validator",
        "is not a legal name",
        "event 1 is next",
        "is not `started`",
        "of workflow `elsewhere` is not here",
    ] {
        assert!(found.iter().any(|one| one.contains(expected)), "{expected}: {found:#?}");
    }
    assert!(found.len() >= 6, "{found:#?}");
    assert!(copy.export("w", false).await.is_err(), "nothing was stored");
    copy.close().await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_somebody_made_up_are_refused_and_take_nothing_with_them() {
    let (place, other) = (Place::new(), Place::new());
    let engine = filled(&place).await;
    let right = exported(&engine, "w").await;
    let copy = other.open(|_| {}).await;
    copy.import(NewImport { histories: vec![], ..right.clone() }).await.expect("it is right");

    // Every event in every other place, and every event twice.
    let mut tried = 0;
    for history in &right.histories {
        for from in 1..history.events.len() {
            for to in 1..history.events.len() {
                let mut events = history.events.clone();
                let event = events.remove(from);
                events.insert(to, event);
                let events: Vec<Event> = events
                    .into_iter()
                    .enumerate()
                    .map(|(seq, event)| Event { seq: seq as u64, ..event })
                    .collect();
                let mut made_up = History { events, ..history.clone() };
                made_up.execution_id = format!("ex_{tried}");
                tried += 1;
                let new = NewImport {
                    definition: None,
                    if_exists: IfExists::Error,
                    histories: vec![made_up],
                    idempotency_key: None,
                };
                // Some orders are possible: what matters is that the answer is one.
                match copy.import(new).await {
                    Ok(_) | Err(EngineError::Mistake(_)) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    }

    assert!(tried > 50, "{tried}");
    assert!(copy.health().await.reasons.is_empty());
    copy.close().await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_makes_one_workflow_and_another_request_under_it_is_refused() {
    let (place, other) = (Place::new(), Place::new());
    let engine = filled(&place).await;
    let key = Some("once".to_owned());
    let parcel = NewImport { idempotency_key: key.clone(), ..exported(&engine, "w").await };
    let copy = other.open(|_| {}).await;

    let first = copy.import(parcel.clone()).await.expect("it is right");
    let again = copy.import(parcel.clone()).await.expect("the same request");
    let mut different = parcel;
    different.definition.as_mut().expect("a definition").name = "another".to_owned();
    let refused = copy.import(different).await.expect_err("another request");

    assert_eq!(first.workflow, again.workflow);
    assert!(refused.to_string().contains("was used for another request"), "{refused}");
    copy.close().await;
    engine.close().await;
}
