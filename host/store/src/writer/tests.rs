//! Batches whose members are known exactly: the writer is held by one request until the others are queued.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;

use rusqlite::ffi;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::Synchronous;
use crate::stats::read;

struct Held {
    writer: Arc<Writer>,
    counters: Arc<Counters>,
    /// While it is set, commits fail.
    refuse: Arc<AtomicBool>,
    release: SyncSender<()>,
    holder: JoinHandle<Result<(), StoreError>>,
    queued: Vec<JoinHandle<Result<usize, StoreError>>>,
    options: StoreOptions,
    _directory: TempDir,
}

/// A writer that is busy with one request until it is released.
async fn held() -> Held {
    let directory = tempfile::tempdir().expect("a directory");
    let mut options = StoreOptions::new(directory.path());
    options.synchronous = Synchronous::Off;
    let counters = Arc::new(Counters::default());
    let mut connection = schema::open_writer(&options, &counters.statements).expect("opens");
    let refuse = Arc::new(AtomicBool::new(false));
    let refused = Arc::clone(&refuse);
    connection.commit_hook(Some(move || refused.load(Ordering::SeqCst))).expect("the hook is set");
    let lock = DirectoryLock::take(&options.lock(), directory.path()).expect("free");
    let writer = Writer::start(connection, &options, Arc::clone(&counters), Arc::new(lock));
    let writer = Arc::new(writer.expect("started"));
    let (release, released) = std::sync::mpsc::sync_channel(1);
    let (began, begun) = oneshot::channel();
    let holder = tokio::spawn({
        let writer = Arc::clone(&writer);
        async move {
            let hold = move |_: &Connection| {
                let _ = began.send(());
                released.recv().map_err(|_| Fault::Store(StoreError::Closed))
            };
            writer.run(hold).await
        }
    });
    begun.await.expect("the request runs");
    Held {
        writer,
        counters,
        refuse,
        release,
        holder,
        queued: Vec::new(),
        options,
        _directory: directory,
    }
}

impl Held {
    /// Queues a request behind those that are queued.
    async fn queue(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<usize, Fault> + Send + 'static,
    ) {
        let writer = Arc::clone(&self.writer);
        let before = self.writer.queued();
        self.queued.push(tokio::spawn(async move { writer.run(work).await }));
        while self.writer.queued() == before {
            tokio::task::yield_now().await;
        }
    }

    async fn queue_insert(&mut self, key: usize) {
        self.queue(move |connection| insert(connection, key)).await;
    }

    /// Releases the writer and returns how each queued request ended.
    async fn end(&mut self) -> Vec<Result<usize, StoreError>> {
        self.release.send(()).expect("the writer waits");
        let holder = std::mem::replace(&mut self.holder, tokio::spawn(async { Ok(()) }));
        holder.await.expect("no panic").expect("released");
        let mut ends = Vec::new();
        for queued in self.queued.drain(..) {
            ends.push(queued.await.expect("no panic"));
        }
        ends
    }

    fn stored(&self) -> Vec<String> {
        let statements = Arc::default();
        let connection = schema::open_reader(&self.options, &statements).expect("opens");
        let mut statement =
            connection.prepare("SELECT key FROM setting ORDER BY key").expect("legal");
        let keys = statement.query_map([], |row| row.get(0)).expect("readable");
        keys.collect::<Result<_, _>>().expect("text")
    }
}

fn insert(connection: &Connection, key: usize) -> Result<usize, Fault> {
    let sql = "INSERT INTO setting (key, value) VALUES (?1, '')";
    connection.execute(sql, [format!("{key:05}")])?;
    Ok(key)
}

#[tokio::test]
async fn what_is_queued_shares_commits_of_at_most_the_largest_batch() {
    let mut held = held().await;
    for key in 0..1_100 {
        held.queue_insert(key).await;
    }

    let ends = held.end().await;

    let keys: Vec<usize> = ends.into_iter().map(|end| end.expect("stored")).collect();
    assert_eq!(keys, (0..1_100).collect::<Vec<_>>());
    assert_eq!(held.stored().len(), 1_100);
    assert_eq!(read(&held.counters.commits), 4, "the first, 512, 512 and 76");
    assert_eq!(read(&held.counters.batch_largest), 512);
}

#[tokio::test]
async fn a_failing_request_is_undone_alone_even_after_it_wrote() {
    let mut held = held().await;
    held.queue_insert(0).await;
    held.queue(|connection| {
        insert(connection, 1)?;
        Err(Fault::Store(StoreError::NotFound { kind: "thing", id: "x".into() }))
    })
    .await;
    held.queue(|connection| {
        insert(connection, 2)?;
        insert(connection, 0)
    })
    .await;
    held.queue(|connection| {
        insert(connection, 3)?;
        panic!("as a bug would")
    })
    .await;
    held.queue_insert(4).await;

    let ends = held.end().await;

    assert!(matches!(ends[0], Ok(0)));
    assert!(matches!(ends[1], Err(StoreError::NotFound { .. })));
    assert!(matches!(ends[2], Err(StoreError::Sqlite { .. })));
    assert_eq!(
        ends[3].as_ref().expect_err("it panicked").to_string(),
        "internal failure of the store: a request panicked"
    );
    assert!(matches!(ends[4], Ok(4)));
    assert_eq!(held.stored(), ["00000", "00004"]);
    assert_eq!(read(&held.counters.failed), 3);
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_everybody_in_it_and_the_writer_goes_on() {
    let mut held = held().await;
    held.release.send(()).expect("the writer waits");
    (&mut held.holder).await.expect("no panic").expect("released");
    held.refuse.store(true, Ordering::SeqCst);

    let refused = held.writer.run(|connection| insert(connection, 0)).await;
    held.refuse.store(false, Ordering::SeqCst);
    let stored = held.writer.run(|connection| insert(connection, 1)).await;

    assert!(matches!(refused, Err(StoreError::Sqlite { .. })), "{refused:?}");
    assert!(matches!(stored, Ok(1)));
    assert_eq!(held.stored(), ["00001"]);
}

#[tokio::test]
async fn a_transaction_that_sqlite_rolls_back_takes_those_before_and_spares_those_behind() {
    let mut held = held().await;
    held.queue_insert(0).await;
    held.queue_insert(1).await;
    held.queue(|connection| {
        // What SQLite does by itself when the disk is full.
        connection.execute_batch("ROLLBACK")?;
        let full = ffi::Error::new(ffi::SQLITE_FULL);
        Err(Fault::Sqlite(rusqlite::Error::SqliteFailure(full, None)))
    })
    .await;
    held.queue_insert(3).await;
    held.queue_insert(4).await;

    let ends = held.end().await;

    for lost in &ends[..3] {
        assert!(matches!(lost, Err(StoreError::Full { .. })), "{lost:?}");
    }
    assert!(matches!(ends[3..], [Ok(3), Ok(4)]), "{ends:?}");
    assert_eq!(held.stored(), ["00003", "00004"]);
}

#[tokio::test]
async fn a_closed_writer_has_done_what_was_queued_and_takes_nothing_more() {
    let mut held = held().await;
    for key in 0..20 {
        held.queue_insert(key).await;
    }
    let closing = tokio::task::spawn_blocking({
        let writer = Arc::clone(&held.writer);
        move || writer.close()
    });

    let ends = held.end().await;
    closing.await.expect("closed");

    assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 20);
    let late = held.writer.run(|connection| insert(connection, 99)).await;
    assert!(matches!(late, Err(StoreError::Closed)), "{late:?}");
}

#[tokio::test]
async fn whoever_comes_when_the_queue_is_full_waits_for_a_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut options = StoreOptions::new(directory.path());
    options.synchronous = Synchronous::Off;
    options.queue_max = 2;
    let store = crate::Store::open(options).expect("opens");
    let mut callers = tokio::task::JoinSet::new();

    for key in 0..50 {
        let store = store.clone();
        callers.spawn(async move { store.write(move |one| insert(one, key)).await });
    }

    let ends = callers.join_all().await;
    assert!(ends.iter().all(Result::is_ok), "{ends:?}");
    assert!(store.stats().await.expect("readable").batch_largest <= 2);
}
