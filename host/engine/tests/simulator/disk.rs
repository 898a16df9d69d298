//! What the engine does when its store fails in the middle: nothing is lost, everybody is told, and it goes on.

use std::time::Duration;

use caelum_core::task::{FailureClass, OutcomeStatus};
use caelum_core::workflow::command::Control;
use caelum_core::workflow::{
    EventBody, ExecutionStatus, RetryPolicy, Step, StepPhase, TargetPhase,
};
use caelum_engine::{Engine, EngineError, EngineOptions};

use crate::audit::Image;
use crate::broken_disk::{Held, fill, make_room};
use crate::by_hand::{Bench, Place, run};
use crate::life::until;
use crate::machines::failed;
use crate::plan::command;

/// Retries soon, and does not wait for a lock that will not come.
fn impatient(options: &mut EngineOptions) {
    options.store_retry = Duration::from_millis(20);
    options.store.busy_timeout = Duration::from_millis(1);
    options.cancel_wait = Duration::from_millis(50);
}

async fn failures(engine: &Engine) -> u64 {
    engine.health().await.store.expect("it can be read").failed_requests
}

/// Waits until the engine has tried to write and failed.
async fn until_it_fails(engine: &Engine) {
    let before = failures(engine).await;
    until("a write to fail", async || match failures(engine).await {
        now if now > before + 1 => Ok(()),
        now => Err(format!("{now} failures")),
    })
    .await;
}

async fn kinds(bench: &Bench, id: &str) -> Vec<&'static str> {
    let events = bench.engine.events(id, None, 1_000).await.expect("it exists");
    events.iter().map(|event| event.body.kind()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_that_cannot_be_stored_are_stored_when_they_can() {
    let place = Place::new();
    let mut bench = place.open(impatient).await;
    let mut steps: Vec<Step> = (0..50).map(|step| command(&format!("s{step}"), &[], &[])).collect();
    steps.push(command("last", &["s0", "s49"], &[]));
    bench.create("w", steps).await;
    let id = bench.start("w").await;
    let mut running = Vec::new();
    for _ in 0..50 {
        running.push(bench.next().await);
    }

    let held = Held::new(place.data.path());
    running.into_iter().for_each(crate::by_hand::Handed::succeed);
    until_it_fails(&bench.engine).await;
    let refused = bench
        .engine
        .control(&id, Control::Pause, "ann".into(), String::new())
        .await
        .expect_err("nothing can be stored");
    let text = refused.to_string();
    assert!(text.starts_with("nothing was changed: "), "{text}");
    assert!(text.contains("hint: mend the store"), "{text}");
    assert!(bench.handed.try_recv().is_err(), "nothing begins that is not stored");
    drop(held);

    bench.next().await.succeed();
    let ended = bench.wait_end(&id).await;
    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    let finished = kinds(&bench, &id).await;
    assert_eq!(finished.iter().filter(|kind| **kind == "target_finished").count(), 51);
    assert!(!finished.contains(&"paused"), "what was refused did not happen");
    bench.engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_and_cannot_be_stored_is_decided_again() {
    let place = Place::new();
    let mut bench = place.open(impatient).await;
    let mut step = command("a", &[], &[]);
    step.retry = Some(RetryPolicy { initial_ms: 100, jitter: false, ..RetryPolicy::default() });
    bench.create("w", vec![step]).await;
    let id = bench.start("w").await;
    bench.next().await.report(failed(OutcomeStatus::TimedOut, FailureClass::Transient));
    bench.wait(&id, |now| matches!(now.execution.step(0).phase, StepPhase::RetryWait { .. })).await;

    // The next attempt begins by itself: nobody asks, nobody reports.
    let held = Held::new(place.data.path());
    until_it_fails(&bench.engine).await;
    assert!(bench.handed.try_recv().is_err(), "nothing begins that is not stored");
    drop(held);

    bench.next().await.succeed();
    let ended = bench.wait_end(&id).await;
    assert_eq!(ended.execution.step(0).attempt, 2);
    bench.engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_cannot_be_stored_at_first_runs_nothing_under_the_old_epoch() {
    let place = Place::new();
    let mut bench = place.open(impatient).await;
    let mut once = command("once", &[], &[]);
    once.idempotent = false;
    bench.create("w", vec![command("again", &[], &[]), once]).await;
    let id = bench.start("w").await;
    let running = [bench.next().await, bench.next().await];
    bench.engine.close().await;
    drop((bench, running));

    let held = Held::new(place.data.path());
    let mut bench = place.open(impatient).await;
    until_it_fails(&bench.engine).await;
    assert!(bench.handed.try_recv().is_err(), "nothing begins that is not stored");
    drop(held);

    let again = bench.next().await;
    assert_eq!((again.spec.key.step.as_str(), again.spec.epoch), ("again", 2));
    again.succeed();
    let waits = bench.wait(&id, |now| now.execution.status() == ExecutionStatus::Paused).await;
    assert_eq!(waits.execution.step(1).targets[0].phase, TargetPhase::Unknown);
    assert!(bench.handed.try_recv().is_err(), "what must not run again did not");
    bench.engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_and_the_work_goes_on_when_there_is_room() {
    const ROOM: i64 = 4 * 1024 * 1024;
    let place = Place::new();
    let limited = |options: &mut EngineOptions| {
        impatient(options);
        options.store.database_bytes_max = Some(ROOM.unsigned_abs());
    };
    let mut bench = place.open(limited).await;
    let mut steps: Vec<Step> = (0..30).map(|step| command(&format!("s{step}"), &[], &[])).collect();
    steps.push(command("last", &["s7"], &[]));
    bench.create("w", steps).await;
    let id = bench.start("w").await;
    let mut running = Vec::new();
    for _ in 0..30 {
        running.push(bench.next().await);
    }
    fill(place.data.path(), ROOM);

    // What fits into pages that are there already may still be stored; what does not is refused with its reason.
    let mut started = Vec::new();
    let refused = loop {
        match bench.engine.execute(run("w")).await {
            Ok(snapshot) => started.push(snapshot.execution.id().to_string()),
            Err(refused) => break refused,
        }
    };
    let EngineError::Store(reason) = &refused else { panic!("{refused:?}") };
    assert!(reason.to_string().contains("no room left for the store"), "{reason}");
    assert!(reason.to_string().contains("hint: free disk space"), "{reason}");
    for handed in running {
        handed.succeed();
    }
    until_it_fails(&bench.engine).await;
    make_room(place.data.path());

    let mut machine = tokio::task::JoinSet::new();
    let mut handed = bench.handed;
    machine.spawn(async move {
        while let Some(next) = handed.recv().await {
            next.succeed();
        }
    });
    for id in started.iter().chain([&id]) {
        let ended =
            crate::by_hand::wait(&bench.engine, id, |now| now.execution.head().end.is_some()).await;
        assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
        let events = bench.engine.events(id, None, 1_000).await.expect("it exists");
        let finished = events
            .iter()
            .filter(|event| matches!(event.body, EventBody::TargetFinished { .. }))
            .count();
        assert_eq!(finished, 31, "each once");
    }
    bench.engine.close().await;
    let image = Image::read(place.data.path()).await;
    assert_eq!(image.executions.len(), started.len() + 1);
    for (execution, events) in image.executions.values() {
        crate::history::check(execution, events);
    }
}
