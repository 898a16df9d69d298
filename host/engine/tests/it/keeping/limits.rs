//! How long a run may take when its step does not say.

use caelum_engine::Engine;

use super::machine::{Place, command, create, run};

const MINUTE_MS: u64 = 60_000;

fn last_limit(place: &Place) -> u64 {
    *place.machine.limits.lock().expect("unpoisoned").last().expect("something ran")
}

async fn reads(engine: &Engine) -> u64 {
    engine.health().await.store.expect("it can be read").reads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_times_what_nearly_all_of_the_last_runs_took_and_never_less_than_the_default() {
    let place = Place::new();
    let engine = place.open(|_| {}).await;
    create(&engine, "w", vec![command("a", &[], "ok", 600)]).await;

    run(&engine, "w").await;
    assert_eq!(last_limit(&place), 5 * MINUTE_MS, "nothing is known yet");
    run(&engine, "w").await;
    assert_eq!(last_limit(&place), 40 * MINUTE_MS, "four times ten minutes");

    // A new revision is as slow as the old one until it has shown otherwise.
    create(&engine, "w", vec![command("a", &[], "ok", 1)]).await;
    for _ in 0..19 {
        run(&engine, "w").await;
        assert_eq!(last_limit(&place), 40 * MINUTE_MS);
    }
    for _ in 0..2 {
        run(&engine, "w").await;
    }
    assert_eq!(last_limit(&place), 5 * MINUTE_MS, "the slow ones are too long ago");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_and_an_estimate_of_the_step_count_and_failed_runs_do_not() {
    let place = Place::new();
    let engine = place.open(|_| {}).await;
    let mut limited = command("a", &[], "ok", 6_000);
    limited.timeout_s = Some(7);
    create(&engine, "limited", vec![limited]).await;
    let mut estimated = command("a", &[], "ok", 1);
    estimated.estimated_duration = Some(30);
    create(&engine, "estimated", vec![estimated]).await;
    create(&engine, "fails", vec![command("a", &[], "fail", 6_000)]).await;

    for _ in 0..2 {
        run(&engine, "limited").await;
        assert_eq!(last_limit(&place), 7_000);
        run(&engine, "estimated").await;
        assert_eq!(last_limit(&place), 120 * MINUTE_MS);
        run(&engine, "fails").await;
        assert_eq!(last_limit(&place), 5 * MINUTE_MS);
    }
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_known_after_a_restart_and_asked_once() {
    let place = Place::new();
    let engine = place.open(|_| {}).await;
    create(&engine, "w", vec![command("a", &[], "ok", 600), command("b", &["a"], "ok", 900)]).await;
    run(&engine, "w").await;
    engine.close().await;

    let engine = place.open(|_| {}).await;
    let limits =
        |place: &Place| std::mem::take(&mut *place.machine.limits.lock().expect("unpoisoned"));
    limits(&place);
    run(&engine, "w").await;
    assert_eq!(limits(&place), [40 * MINUTE_MS, 60 * MINUTE_MS]);

    let mut with_limits = vec![command("a", &[], "ok", 600), command("b", &["a"], "ok", 900)];
    for step in &mut with_limits {
        step.timeout_s = Some(60);
    }
    create(&engine, "limited", with_limits).await;
    let mut cost = Vec::new();
    for workflow in ["w", "limited"] {
        let before = reads(&engine).await;
        for _ in 0..5 {
            run(&engine, workflow).await;
        }
        cost.push(reads(&engine).await - before);
    }
    assert_eq!(cost[0], cost[1], "what is known is not asked again");
    engine.close().await;
}
