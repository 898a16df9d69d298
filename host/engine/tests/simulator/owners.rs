//! Owners of executions: there is always one, it never waits for what will not come, and it ends when it should.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use caelum_core::id::ExecutionId;
use caelum_core::task::{FailureClass, OutcomeStatus};
use caelum_core::workflow::command::Control;
use caelum_core::workflow::{Action, ExecutionStatus, Step, StepType, TargetPhase};
use caelum_engine::EngineError;
use caelum_engine::request::{PageRequest, Patience, StepReport};

use crate::by_hand::{Bench, Place, run};
use crate::life::{until, within};
use crate::machines::failed;
use crate::plan::command;

fn manual(id: &str) -> Step {
    let mut step = Step::new(id.parse().expect("legal"), StepType::Development);
    step.action = Action::Manual { instructions: String::new() };
    step
}

async fn cancel(bench: &Bench, id: &str) {
    bench
        .engine
        .control(id, Control::Cancel, "ann".into(), "enough".into())
        .await
        .expect("it is open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_does_not_wait_for_a_machine_that_never_ends_its_work() {
    let place = Place::new();
    let mut bench = place.open(|options| options.cancel_wait = Duration::from_millis(20)).await;
    bench.create("w", vec![command("a", &[], &[])]).await;
    bench.start("w").await;
    let deaf = bench.next().await;

    within("the engine to close", bench.engine.close()).await;

    assert!(deaf.cancel.is_cancelled(), "it was asked to end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_execution_gives_its_place_back_though_a_machine_never_reports() {
    let place = Place::new();
    let mut bench = place
        .open(|options| {
            options.concurrent_executions_max = 1;
            options.open_executions_max = 1;
            options.cancel_wait = Duration::from_millis(20);
        })
        .await;
    bench.create("w", vec![command("a", &[], &[])]).await;
    let first = bench.start("w").await;
    let deaf = bench.next().await;
    cancel(&bench, &first).await;
    let ended = bench.wait_end(&first).await;
    assert_eq!(ended.execution.status(), ExecutionStatus::Cancelled);

    let second = bench.start("w").await;
    bench.next().await.succeed();
    let ended = bench.wait_end(&second).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    assert_eq!(bench.engine.health().await.open_executions, 0);
    // The late report is on record and changes nothing.
    deaf.succeed();
    until("the late report to be on record", async || {
        let events = bench.engine.events(&first, None, 100).await.expect("it exists");
        let last = events.last().expect("some").body.kind();
        if last == "late_report" { Ok(()) } else { Err(last.to_owned()) }
    })
    .await;
    let after = bench.wait_end(&first).await;
    assert_eq!(after.execution.status(), ExecutionStatus::Cancelled);
    bench.engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_for_an_execution_that_retention_took_is_nobodys_fault() {
    let place = Place::new();
    let mut bench = place.open(|options| options.cancel_wait = Duration::from_millis(20)).await;
    bench.create("w", vec![command("a", &[], &[])]).await;
    let id = bench.start("w").await;
    let deaf = bench.next().await;
    cancel(&bench, &id).await;
    bench.wait_end(&id).await;
    crate::broken_disk::take_away(place.data.path(), &id);

    deaf.succeed();
    until("the execution to be forgotten", async || {
        match bench.engine.execution(&id, Patience::default()).await {
            Err(EngineError::Mistake(mistake)) if mistake.code == "unknown_execution" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    assert_eq!(bench.engine.health().await.stuck.len(), 0);
    bench.engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executions_that_wait_for_somebody_take_no_place() {
    let place = Place::new();
    let mut bench = place.open(|options| options.concurrent_executions_max = 1).await;
    bench.create("by-hand", vec![manual("a"), command("b", &["a"], &[])]).await;
    bench.create("w", vec![command("a", &[], &[])]).await;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(bench.start("by-hand").await);
    }
    for id in &waiting {
        bench.wait(id, |now| now.execution.status() == ExecutionStatus::Paused).await;
    }

    let working = bench.start("w").await;
    bench.next().await.succeed();
    bench.wait_end(&working).await;
    for id in &waiting {
        let report = StepReport {
            execution_id: id.clone(),
            step_id: "a".to_owned(),
            report: caelum_core::evidence::WorkReport {
                performer: "bob".into(),
                succeeded: true,
                summary: String::new(),
                outputs: serde_json::Map::new(),
                files: vec![],
            },
            decision: None,
        };
        bench.engine.complete_step(report).await.expect("it waits for work");
    }

    for _ in &waiting {
        bench.next().await.succeed();
    }
    for id in &waiting {
        let ended = bench.wait_end(id).await;
        assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    }
    bench.engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executions_beyond_the_limit_run_in_order_though_they_are_asked_things_meanwhile() {
    let place = Place::new();
    let mut bench = place.open(|options| options.concurrent_executions_max = 1).await;
    bench.create("w", vec![command("a", &[], &[])]).await;
    let running = bench.start("w").await;
    let first = bench.next().await;
    let mut queued = Vec::new();
    for _ in 0..4 {
        queued.push(bench.start("w").await);
    }

    // Each message used to put its execution back to the end of the line.
    for id in &queued {
        let refused = bench
            .engine
            .control(id, Control::RetryFailed, "ann".into(), String::new())
            .await
            .expect_err("nothing failed");
        assert!(refused.to_string().contains("no failed step"), "{refused}");
        bench
            .engine
            .control(&queued[0], Control::RetryFailed, "ann".into(), String::new())
            .await
            .expect_err("nothing failed");
    }
    first.succeed();
    bench.wait_end(&running).await;

    for id in &queued {
        let next = bench.next().await;
        assert_eq!(next.spec.key.execution.as_str(), id);
        next.succeed();
        bench.wait_end(id).await;
    }
    bench.engine.close().await;
}

/// Polls a future some times and then drops it, as a caller does that goes away.
async fn hang_up<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            return Some(answer);
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_runs_though_its_caller_went_away_before_the_answer() {
    let place = Place::new();
    let mut bench = place.open(|_| {}).await;
    bench.create("w", vec![command("a", &[], &[])]).await;

    for polls in 0..40 {
        drop(hang_up(bench.engine.execute(run("w")), polls % 8).await);
    }

    until("everything that is stored to have ended", async || {
        while let Ok(handed) = bench.handed.try_recv() {
            handed.succeed();
        }
        let page = PageRequest { limit: 100, cursor: None };
        let listed = bench.engine.list_executions(None, None, page).await.expect("readable");
        let open: Vec<_> = listed.items.iter().filter(|row| row.ended_at.is_none()).collect();
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
    })
    .await;
    bench.engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_can_ask_an_ended_execution_at_once_and_it_never_stands_still() {
    let place = Place::new();
    let mut bench = place.open(|_| {}).await;
    bench.create("w", vec![command("a", &[], &[])]).await;
    let id = bench.start("w").await;
    bench.next().await.report(failed(OutcomeStatus::Failed, FailureClass::Exit));
    bench.wait_end(&id).await;
    let mut handed = bench.handed;
    let machine = tokio::spawn(async move {
        while let Some(next) = handed.recv().await {
            next.report(failed(OutcomeStatus::Failed, FailureClass::Exit));
        }
    });

    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let (engine, id) = (bench.engine.clone(), id.clone());
        callers.spawn(async move {
            for turn in 0..40 {
                let by = format!("{caller}-{turn}");
                match engine.control(&id, Control::RetryFailed, by, String::new()).await {
                    Ok(_) | Err(EngineError::Mistake(_)) => {}
                    Err(other) => panic!("the server is up and well: {other:?}"),
                }
            }
        });
    }
    callers.join_all().await;

    assert_eq!(bench.engine.health().await.stuck.len(), 0);
    bench.engine.close().await;
    machine.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fabric_that_panics_loses_its_work_and_nothing_else() {
    let place = Place::new();
    let mut bench = place.open(|_| {}).await;
    let mut once = command("once", &[], &[]);
    once.idempotent = false;
    bench.create("w", vec![command("a", &[], &[])]).await;
    bench.create("once", vec![once]).await;
    let again = bench.start("w").await;
    bench.next().await.panic();
    let second = bench.next().await;
    assert_eq!(second.spec.epoch, 2, "the work runs again under a new epoch");
    second.succeed();
    let ended = bench.wait_end(&again).await;
    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);

    let asks = bench.start("once").await;
    bench.next().await.panic();
    let waits = bench.wait(&asks, |now| now.execution.status() == ExecutionStatus::Paused).await;

    let target = &waits.execution.step(0).targets[0];
    assert_eq!((target.phase, target.losses), (TargetPhase::Unknown, 1));
    cancel(&bench, &asks).await;
    bench.wait_end(&asks).await;
    bench.engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_engine_says_that_it_is_stopping_and_not_that_it_is_busy() {
    let place = Place::new();
    let bench = place.open(|_| {}).await;
    bench.create("w", vec![manual("a")]).await;
    let id = bench.start("w").await;

    bench.engine.close().await;
    let refused = bench
        .engine
        .control(&id, Control::Pause, "ann".into(), String::new())
        .await
        .expect_err("it is closed");

    assert!(matches!(refused, EngineError::Stopping), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_well_while_the_engine_closes_is_not_done_again() {
    let place = Place::new();
    let mut bench = place.open(|_| {}).await;
    let mut once = command("once", &[], &[]);
    once.idempotent = false;
    bench.create("w", vec![once, command("next", &["once"], &[])]).await;
    let id = bench.start("w").await;
    let running = bench.next().await;

    let machine = tokio::spawn(async move {
        running.cancel.cancelled().await;
        running.succeed();
    });
    within("the engine to close", bench.engine.close()).await;
    machine.await.expect("machines do not panic");

    let mut again = place.open(|_| {}).await;
    let next = again.next().await;
    assert_eq!(next.spec.key.step.as_str(), "next");
    next.succeed();
    let ended = again.wait_end(&id).await;
    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    assert_eq!(ended.execution.step(0).targets[0].epoch, 1);
    again.engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_fails_no_step_whose_work_it_ends() {
    for _ in 0..20 {
        let place = Place::new();
        let mut bench = place.open(|options| options.cancel_wait = Duration::from_millis(50)).await;
        let steps: Vec<Step> = (0..20).map(|i| command(&format!("s{i}"), &[], &[])).collect();
        bench.create("w", steps).await;
        let id: ExecutionId = bench.start("w").await.parse().expect("legal");
        let mut running = Vec::new();
        for _ in 0..20 {
            running.push(bench.next().await);
        }
        // Some report well while the engine stops, some report that it ended them.
        let machines = tokio::spawn(async move {
            for (place, handed) in running.into_iter().enumerate() {
                if place % 2 == 0 {
                    handed.succeed();
                } else {
                    handed.cancel.cancelled().await;
                    handed.report(failed(OutcomeStatus::Cancelled, FailureClass::Permanent));
                }
            }
        });
        within("the engine to close", bench.engine.close()).await;
        machines.await.expect("machines do not panic");

        let again = place.open(|options| options.cancel_wait = Duration::from_millis(50)).await;
        let events = again.engine.events(id.as_str(), None, 1_000).await.expect("it exists");
        let cancelled = events.iter().filter(|event| {
            matches!(&event.body, caelum_core::workflow::EventBody::TargetFinished { outcome, .. }
                if outcome.status == OutcomeStatus::Cancelled)
        });
        assert_eq!(cancelled.count(), 0);
        within("the engine to close", again.engine.close()).await;
    }
}
