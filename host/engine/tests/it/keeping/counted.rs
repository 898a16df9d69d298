//! What is counted is what happened, and counting asks the store nothing.

use caelum_core::meter::Distribution;
use caelum_core::workflow::RetryPolicy;
use caelum_core::workflow::command::Control;
use caelum_engine::meters::Measured;

use super::machine::{Place, by_hand, command, create, run};
use crate::harness::{start, wait_for};

fn of<const N: usize>(counted: &[(&'static str, u64)], words: [&str; N]) -> [u64; N] {
    words.map(|word| counted.iter().find(|(known, _)| *known == word).expect("a word").1)
}

fn steps(measured: &Measured, step_type: &str, how: &str) -> u64 {
    let found = measured.steps.iter().find(|(kind, end, _)| *kind == step_type && *end == how);
    found.expect("a pair of words").2
}

fn times<'a>(measured: &'a Measured, step_type: &str) -> &'a Distribution {
    &measured.step_times.iter().find(|(kind, _)| *kind == step_type).expect("a word").1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_steps_attempts_and_times_are_those_that_were() {
    let place = Place::new();
    let engine = place.open(|_| {}).await;
    create(&engine, "good", vec![command("a", &[], "ok", 1), command("b", &["a"], "ok", 1)]).await;
    let mut again = command("a", &[], "time-out", 1);
    again.retry = Some(RetryPolicy { attempts: 3, initial_ms: 0, ..RetryPolicy::default() });
    let mut never = command("never", &[], "ok", 1);
    never.when = Some("false".to_owned());
    create(&engine, "bad", vec![again, never]).await;
    create(&engine, "waits", vec![by_hand("a")]).await;

    for _ in 0..5 {
        run(&engine, "good").await;
    }
    let failed = run(&engine, "bad").await;
    let by = || "ann".to_owned();
    engine.control(&failed, Control::RetryFailed, by(), by()).await.expect("it failed");
    wait_for(&engine, &failed, |now| {
        now.execution.head().end.is_some() && now.execution.step(0).attempt == 6
    })
    .await;
    let cancelled = start(&engine, "waits").await;
    engine.control(&cancelled, Control::Cancel, by(), by()).await.expect("it is open");
    wait_for(&engine, &cancelled, |now| now.execution.head().end.is_some()).await;

    let before = engine.health().await.store.expect("readable").statements;
    let between = engine.health().await.store.expect("readable").statements;
    let measured = engine.measured();
    let after = engine.health().await.store.expect("readable").statements;
    assert_eq!(after - between, between - before, "measuring runs no statement");

    assert_eq!(measured.runs_started, 7);
    // The failed one was tried again and failed again.
    assert_eq!(of(&measured.runs_finished, ["completed", "failed", "cancelled"]), [5, 2, 1]);
    assert_eq!(steps(&measured, "development", "completed"), 10);
    assert_eq!(steps(&measured, "development", "failed"), 2);
    assert_eq!(steps(&measured, "development", "skipped"), 1);
    assert_eq!(steps(&measured, "validation", "cancelled"), 1);
    assert_eq!(steps(&measured, "deployment", "completed"), 0);
    assert_eq!(times(&measured, "development").count(), 12, "a skipped step takes no time");
    let attempts = of(&measured.attempts, ["first", "transient", "exit", "lost", "requested"]);
    assert_eq!(attempts, [12, 4, 0, 0, 1]);
    assert_eq!(measured.queued.count(), 16);
    assert_eq!(measured.overhead.count(), 5, "once for each step that waits for another");
    assert_eq!((measured.leases_expired, measured.stale_reports, measured.stuck), (0, 0, 0));
    assert_eq!(of(&measured.machines, ["online", "busy", "offline"]), [1, 0, 0]);
    let store = engine.health().await.store.expect("readable");
    assert_eq!(measured.store.commit_times.count(), store.commits);
    assert_eq!(measured.store.batch_sizes.sum, store.requests);
    assert!(measured.store.database_bytes > 0);
    engine.close().await;
}
