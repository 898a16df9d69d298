//! Copies of everything, made while work goes on.

use std::path::Path;

use caelum_engine::EngineError;

use super::machine::{Place, by_hand, command, create, run};
use crate::harness::{start, wait_for};

fn mistake(error: EngineError) -> (&'static str, String) {
    match error {
        EngineError::Mistake(mistake) => (mistake.code, mistake.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_started_on_a_backup_has_what_was_there_and_goes_on_with_it() {
    let place = Place::new();
    let plugins = place.dir.path().join("plugins");
    std::fs::create_dir(&plugins).expect("made");
    std::fs::write(plugins.join("own.wasm"), "whatever").expect("written");
    std::fs::write(place.dir.path().join("names.toml"), "").expect("written");
    let engine = place
        .open(|options| {
            options.plugins.directory = Some(plugins.clone());
            options.components_file = Some(place.dir.path().join("names.toml"));
        })
        .await;
    create(&engine, "w", vec![command("a", &[], "ok", 1)]).await;
    create(&engine, "waits", vec![by_hand("a")]).await;
    let ended = run(&engine, "w").await;
    let open = start(&engine, "waits").await;
    wait_for(&engine, &open, |now| now.execution.status().as_str() == "paused").await;
    let to = place.dir.path().join("copy");

    let made = engine.back_up(&to).await.expect("backed up");
    let later = run(&engine, "w").await;

    assert_eq!((made.path.as_path(), made.whole), (to.as_path(), true));
    assert!(made.bytes > 10_000, "{made:?}");
    for file in ["caelum.db", "journal/blobs", "components.toml", "plugins/own.wasm"] {
        assert!(to.join(file).exists(), "{file}");
    }
    let copied = place.open_at(&to, |_| {}).await;
    wait_for(&copied, &ended, |now| now.execution.head().end.is_some()).await;
    wait_for(&copied, &open, |now| now.execution.head().end.is_none()).await;
    assert!(copied.execution(&later, Default::default()).await.is_err(), "it came later");
    run(&copied, "w").await;
    copied.close().await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_exists_gets_a_new_one_for_each_backup() {
    let place = Place::new();
    let engine = place.open(|_| {}).await;
    let into = place.dir.path().join("backups");
    std::fs::create_dir(&into).expect("made");

    let first = engine.back_up(&into).await.expect("backed up");
    let at_the_same_moment = engine.back_up(&into).await;
    place.clock.advance(std::time::Duration::from_secs(1));
    let second = engine.back_up(&into).await.expect("backed up");

    assert_eq!(mistake(at_the_same_moment.expect_err("taken")).0, "backup_exists");
    assert_ne!(first.path, second.path);
    assert_eq!(std::fs::read_dir(&into).expect("readable").count(), 2, "nothing half is left");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_alone_is_checked_and_nothing_is_overwritten() {
    let place = Place::new();
    let engine = place.open(|_| {}).await;
    create(&engine, "w", vec![command("a", &[], "ok", 1)]).await;
    run(&engine, "w").await;
    let to = place.dir.path().join("copy.db");

    let made = engine.back_up(&to).await.expect("backed up");
    let again = engine.back_up(&to).await.expect_err("taken");

    assert_eq!((made.whole, made.bytes), (false, std::fs::metadata(&to).expect("there").len()));
    let connection = rusqlite::Connection::open(&to).expect("it opens");
    let checked: String =
        connection.pragma_query_value(None, "integrity_check", |row| row.get(0)).expect("a word");
    let executions: i64 = connection
        .query_row("SELECT count(*) FROM execution", [], |row| row.get(0))
        .expect("a count");
    assert_eq!((checked.as_str(), executions), ("ok", 1));
    let (code, text) = mistake(again);
    assert_eq!(code, "backup_exists");
    assert!(text.contains("copy.db` exists already\nhint: nothing is ever overwritten"), "{text}");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_that_cannot_be_written_are_named() {
    let place = Place::new();
    let engine = place.open(|_| {}).await;

    let relative = engine.back_up(Path::new("copy")).await.expect_err("whose directory?");
    let missing = engine.back_up(&place.dir.path().join("gone/copy")).await.expect_err("missing");
    let database =
        engine.back_up(&place.dir.path().join("gone/copy.db")).await.expect_err("missing");

    assert_eq!(mistake(relative).0, "backup_path");
    for error in [missing, database] {
        let (code, text) = mistake(error);
        assert_eq!(code, "backup_unwritable");
        assert!(text.contains("hint: there is no directory `"), "{text}");
    }
    engine.close().await;
}
