//! What ended long ago goes by itself, by a clock that the test moves.

use caelum_engine::Engine;
use caelum_engine::request::PageRequest;
use caelum_engine::retention::RetentionOptions;

use super::machine::{DAY, Place, by_hand, command, create, run, until};
use crate::harness::{start, wait_for};

async fn listed(engine: &Engine) -> Vec<String> {
    let page = PageRequest { limit: 200, cursor: None };
    let listed = engine.list_executions(None, None, page).await.expect("readable");
    listed.items.into_iter().map(|row| row.execution_id).collect()
}

async fn until_listed(engine: &Engine, wanted: &[&String]) {
    until("the executions that stay", async || {
        let mut now = listed(engine).await;
        now.reverse();
        match now.iter().eq(wanted.iter().copied()) {
            true => Ok(()),
            false => Err(format!("{now:?}, expected {wanted:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_is_archived_and_goes_and_what_is_open_stays() {
    let place = Place::new();
    let archive = place.dir.path().join("archive");
    let engine = place
        .open(|options| {
            options.retention = RetentionOptions {
                days: 30,
                archive: Some(archive.clone()),
                ..RetentionOptions::default()
            };
        })
        .await;
    create(&engine, "w", vec![command("a", &[], "ok", 1)]).await;
    create(&engine, "waits", vec![by_hand("a")]).await;
    let open = start(&engine, "waits").await;
    wait_for(&engine, &open, |now| now.execution.status().as_str() == "paused").await;
    let (first, second) = (run(&engine, "w").await, run(&engine, "w").await);
    place.clock.advance(DAY * 29);
    let third = run(&engine, "w").await;
    until_listed(&engine, &[&open, &first, &second, &third]).await;

    place.clock.advance(DAY * 2);
    // Nobody moves a real clock by two days: the next end notices.
    let fourth = run(&engine, "w").await;

    until_listed(&engine, &[&open, &third, &fourth]).await;
    let files: Vec<_> = std::fs::read_dir(&archive)
        .expect("the archive is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let packed = std::fs::read(&files[0]).expect("readable");
    let (text, cut) = caelum_store::unpack(&packed, u64::MAX).expect("an archive");
    let text = String::from_utf8(text).expect("text");
    assert!(!cut && text.contains(&first) && text.contains(&second) && !text.contains(&third));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_there_are_too_many_the_oldest_go() {
    let place = Place::new();
    let engine = place
        .open(|options| {
            options.retention =
                RetentionOptions { days: 0, executions_max: 3, ..RetentionOptions::default() };
        })
        .await;
    create(&engine, "w", vec![command("a", &[], "ok", 1)]).await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        // Ends at one moment cannot be told apart, and then more stay.
        place.clock.advance(std::time::Duration::from_secs(1));
        ids.push(run(&engine, "w").await);
    }

    until_listed(&engine, &[&ids[7], &ids[8], &ids[9]]).await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expired_while_no_server_ran_goes_at_the_next_start() {
    let place = Place::new();
    let engine = place.open(|_| {}).await;
    create(&engine, "w", vec![command("a", &[], "ok", 1)]).await;
    run(&engine, "w").await;
    engine.close().await;
    place.clock.advance(DAY * 91);

    let looks = place.open(|options| options.resume = false).await;
    assert_eq!(listed(&looks).await.len(), 1, "a program that only looks takes nothing away");
    looks.close().await;
    let engine = place.open(|_| {}).await;

    until_listed(&engine, &[]).await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_cannot_be_written_keeps_everything_and_is_tried_again() {
    let place = Place::new();
    let archive = place.dir.path().join("archive");
    std::fs::write(&archive, "a file, and no directory").expect("written");
    let engine = place
        .open(|options| {
            options.retention = RetentionOptions {
                archive: Some(archive.clone()),
                pause: std::time::Duration::from_millis(50),
                ..RetentionOptions::default()
            };
        })
        .await;
    create(&engine, "w", vec![command("a", &[], "ok", 1)]).await;
    let first = run(&engine, "w").await;
    place.clock.advance(DAY * 91);
    let second = run(&engine, "w").await;
    until("retention to fail", async || {
        match engine.health().await.reasons.iter().any(|reason| reason.contains("archive")) {
            true => Ok(()),
            false => Err("nothing is said".to_owned()),
        }
    })
    .await;
    until_listed(&engine, &[&first, &second]).await;

    std::fs::remove_file(&archive).expect("removed");

    until_listed(&engine, &[&second]).await;
    until("health to forget it", async || {
        let reasons = engine.health().await.reasons;
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
    })
    .await;
    engine.close().await;
}
