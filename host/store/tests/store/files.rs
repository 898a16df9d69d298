//! The files: who may open them, what is refused, what happens when there is no room.

use std::sync::Arc;
use std::time::Duration;

use caelum_core::task::{FailureClass, OutcomeStatus, Output};
use caelum_store::{Store, StoreError, StoreOptions, Synchronous};
use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::harness::{Run, chain, definition, id, load_checked, outcome, quick, store};

async fn with_one_execution(options: &StoreOptions) -> Run {
    let store = Store::open(options.clone()).expect("opens");
    let mut run = Run::new("ex_1", Arc::new(definition("w", chain(3))));
    run.create(&store).await;
    run.succeed_one();
    run.save(&store).await.expect("saved");
    store.close().await;
    run
}

#[tokio::test]
async fn everything_is_there_after_closing_and_opening() {
    let directory = tempfile::tempdir().expect("a directory");
    let run = with_one_execution(&quick(&directory)).await;

    let store = Store::open(quick(&directory)).expect("opens again");

    assert!(load_checked(&store, &run.id()).await == run.execution);
    assert_eq!(store.open_executions().await.expect("readable"), [run.id()]);
    store.check().await.expect("sound");
}

#[tokio::test]
async fn closing_leaves_one_file_and_no_log() {
    let directory = tempfile::tempdir().expect("a directory");
    with_one_execution(&quick(&directory)).await;

    let mut names: Vec<String> = std::fs::read_dir(directory.path())
        .expect("readable")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();

    names.sort();
    assert_eq!(names, ["caelum.db", "caelum.lock"]);
}

#[cfg(unix)]
#[test]
fn the_files_belong_to_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("a/b");
    let options = StoreOptions { synchronous: Synchronous::Off, ..StoreOptions::new(&data) };
    let _store = Store::open(options).expect("opens");

    let mode = |name: &str| {
        let path = if name.is_empty() { data.clone() } else { data.join(name) };
        std::fs::metadata(path).expect("exists").permissions().mode() & 0o777
    };

    assert_eq!(mode(""), 0o700);
    for name in ["caelum.db", "caelum.db-wal", "caelum.lock"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_second_store_on_the_same_directory_is_refused() {
    let (first, directory) = store();

    let error = Store::open(quick(&directory)).expect_err("in use");

    let pid = std::process::id();
    assert_eq!(
        error.to_string(),
        format!(
            "the data directory {} is in use by process {pid}; hint: stop it, or choose another data directory",
            directory.path().display()
        )
    );
    drop(first);
    Store::open(quick(&directory)).expect("free again");
}

#[test]
fn a_newer_file_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(Store::open(quick(&directory)).expect("opens"));
    let path = quick(&directory).database();
    let version = |set: Option<i64>| {
        let connection = Connection::open(&path).expect("opens");
        if let Some(version) = set {
            connection.pragma_update(None, "user_version", version).expect("set");
        }
        connection
            .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
            .expect("a version")
    };
    version(Some(99));

    let error = Store::open(quick(&directory)).expect_err("newer");

    assert!(matches!(error, StoreError::NewerFile { found: 99, supported: 1, .. }));
    assert!(
        error.to_string().contains("has schema version 99; this program knows versions up to 1"),
        "{error}"
    );
    assert_eq!(version(None), 99);
}

#[test]
fn a_database_of_another_program_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = quick(&directory).database();
    let connection = Connection::open(&path).expect("opens");
    connection.execute_batch("CREATE TABLE customer (name TEXT)").expect("created");
    drop(connection);
    let before = std::fs::read(&path).expect("readable");

    let error = Store::open(quick(&directory)).expect_err("not ours");

    assert!(matches!(error, StoreError::ForeignFile { found: 0, .. }), "{error}");
    assert!(error.to_string().contains("is a database of another program"), "{error}");
    assert_eq!(std::fs::read(&path).expect("readable"), before);
}

#[tokio::test]
async fn a_damaged_file_is_named_as_such() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = quick(&directory).database();
    std::fs::write(&path, "this is no database, and never was one".repeat(100)).expect("written");
    let error = Store::open(quick(&directory)).expect_err("no database");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("put a backup in its place"), "{error}");

    std::fs::remove_file(&path).expect("removed");
    with_one_execution(&quick(&directory)).await;
    let mut bytes = std::fs::read(&path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[4096..middle].fill(0xA5);
    std::fs::write(&path, bytes).expect("written");
    let found = match Store::open(quick(&directory)) {
        Ok(store) => store.check().await.expect_err("damaged"),
        Err(error) => error,
    };
    assert!(matches!(found, StoreError::Corrupt { .. }), "{found}");
}

#[test]
fn a_directory_that_cannot_be_made_or_written_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("written");
    let error = Store::open(StoreOptions::new(file.join("data"))).expect_err("not a directory");
    assert!(error.to_string().starts_with("failed to make the data directory "), "{error}");
    assert!(std::error::Error::source(&error).is_some());

    let database = directory.path().join("caelum.db");
    std::fs::create_dir(&database).expect("made");
    let error = Store::open(StoreOptions::new(directory.path())).expect_err("a directory");
    assert!(error.to_string().starts_with("failed to open the database file "), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_directory_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    with_one_execution(&quick(&directory)).await;
    let allow = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(directory.path(), mode).expect("set");
    };
    std::fs::set_permissions(quick(&directory).database(), std::fs::Permissions::from_mode(0o400))
        .expect("set");
    allow(0o500);
    // The superuser may write everywhere: then there is nothing to refuse.
    let superuser = std::fs::write(directory.path().join("probe"), "").is_ok();

    let opened = Store::open(quick(&directory));

    allow(0o700);
    match opened {
        Ok(_) => assert!(superuser),
        Err(error) => {
            assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
            assert!(error.to_string().contains("the permissions of its directory"), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_refuses_clearly_loses_nothing_and_goes_on_with_more_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let small = StoreOptions { database_bytes_max: Some(1024 * 1024), ..quick(&directory) };
    let store = Store::open(small).expect("opens");
    let definition = Arc::new(definition("w", chain(40)));
    let mut callers = JoinSet::new();

    for caller in 0..8 {
        let (store, definition) = (store.clone(), Arc::clone(&definition));
        callers.spawn(async move {
            let mut run = Run::new(&format!("ex_{caller}"), definition);
            run.create(&store).await;
            loop {
                let stored = run.execution.head().events;
                let mut finished = outcome(OutcomeStatus::Succeeded, FailureClass::Exit);
                let text = format!("{caller} {stored} ").repeat(1_000);
                finished.stdout = Output { total_bytes: text.len() as u64, text, truncated: false };
                let step = run.execution.open_steps().next().expect("a step runs");
                run.report(step, 0, finished);
                let append = run.append();
                if let Err(error) = store.append(append.clone()).await {
                    assert!(matches!(error, StoreError::Full { .. }), "{error}");
                    assert!(error.is_transient());
                    return (run, stored, append);
                }
            }
        });
    }
    let ends = callers.join_all().await;

    for (run, stored, _) in &ends {
        assert_eq!(load_checked(&store, &run.id()).await.head().events, *stored);
    }
    store.close().await;
    let store = Store::open(quick(&directory)).expect("opens with more room");
    for (run, _, append) in ends {
        store.append(append).await.expect("the same request, with room");
        assert!(load_checked(&store, &run.id()).await == run.execution);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_small_under_load_and_is_moved_when_it_is_quiet() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = StoreOptions {
        wal_checkpoint_bytes: 128 * 1024,
        wal_bytes_max: 1024 * 1024,
        idle_checkpoint: Duration::from_millis(20),
        ..quick(&directory)
    };
    let store = Store::open(options).expect("opens");
    let mut largest = 0;

    for execution in 0..60 {
        let mut run = Run::new(&format!("ex_{execution}"), Arc::new(definition("w", chain(2))));
        run.create(&store).await;
        let mut finished = outcome(OutcomeStatus::Succeeded, FailureClass::Exit);
        let text = format!("{execution:08}").repeat(32 * 1024);
        finished.stdout = Output { total_bytes: text.len() as u64, text, truncated: false };
        run.report(0, 0, finished);
        run.save(&store).await.expect("saved");
        largest = largest.max(store.stats().await.expect("readable").wal_bytes);
    }

    let stats = store.stats().await.expect("readable");
    assert!(stats.database_bytes > 10 * 1024 * 1024, "{stats:?}");
    assert!(largest < 3 * 1024 * 1024, "the log grew to {largest} bytes");
    assert!(stats.checkpoints > 0);
    let moved = tokio::time::timeout(Duration::from_secs(20), async {
        while store.stats().await.expect("readable").wal_pages > 0 {
            tokio::task::yield_now().await;
        }
    });
    moved.await.expect("all of it is in the file when the store is quiet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_laid_out_ahead_is_used_from_its_beginning() {
    let directory = tempfile::tempdir().expect("a directory");
    let options =
        StoreOptions { synchronous: Synchronous::Full, ..StoreOptions::new(directory.path()) };
    let log = options.write_ahead_log();
    let size = |when: &str| std::fs::metadata(&log).expect(when).len();
    for value in 0..3 {
        let store = Store::open(options.clone()).expect("opens");
        assert_eq!(size("laid out"), options.wal_checkpoint_bytes);

        store.set_setting("a", &value.into()).await.expect("set");

        assert_eq!(size("still there"), options.wal_checkpoint_bytes, "it did not grow");
        // As a killed process leaves it: the log holds the commit, with zeros behind it.
        let copies = tempfile::tempdir().expect("a directory");
        for name in ["caelum.db", "caelum.db-wal"] {
            let from = directory.path().join(name);
            std::fs::copy(from, copies.path().join(name)).expect("copied");
        }
        let copy = Store::open(StoreOptions::new(copies.path())).expect("opens");
        assert_eq!(copy.setting("a").await.expect("readable"), Some(value.into()));
        store.close().await;
        assert!(!log.exists(), "closed, the file holds everything");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_whole_of_one_moment_and_opens_as_a_store() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(quick(&directory)).expect("opens");
    let copies = tempfile::tempdir().expect("a directory");
    let restored = copies.path().join("restored");
    std::fs::create_dir(&restored).expect("made");
    let to = restored.join("caelum.db");
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for execution in 0..50 {
                let mut run =
                    Run::new(&format!("ex_{execution}"), Arc::new(definition("w", chain(5))));
                run.create(&store).await;
                while run.succeed_one() {
                    run.save(&store).await.expect("saved");
                }
            }
        }
    });
    let mut before = Run::new("before", Arc::new(definition("w", chain(3))));
    before.create(&store).await;

    store.backup(&to).await.expect("copied");
    writer.await.expect("written");

    let error = store.backup(&to).await.expect_err("exists");
    assert!(error.to_string().contains("exists already"), "{error}");
    let missing = store.backup(&copies.path().join("no/such/file.db")).await.expect_err("no place");
    assert!(matches!(missing, StoreError::Directory { .. }), "{missing}");
    assert_eq!(std::fs::read_dir(&restored).expect("readable").count(), 1, "one whole file");
    let copy = Store::open(StoreOptions::new(&restored)).expect("opens");
    copy.check().await.expect("sound");
    load_checked(&copy, &id("before")).await;
    for execution in copy.open_executions().await.expect("readable") {
        load_checked(&copy, &execution).await;
    }
}
