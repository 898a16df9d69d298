//! A store that nobody asks anything does nothing: no statement, no wake-up. A program of its own, because it looks
//! at all threads of the process.

use std::time::Duration;

use caelum_store::{Store, StoreOptions, Synchronous};

/// Long enough that anything that polls would have been seen.
const QUIET: Duration = Duration::from_secs(2);

/// Returns how often each thread of the store has gone to sleep, by name.
#[cfg(target_os = "linux")]
fn sleeps() -> Vec<(String, String)> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the kernel lists threads");
    let mut threads: Vec<(String, String)> = tasks
        .filter_map(|task| {
            let path = task.ok()?.path();
            let name = std::fs::read_to_string(path.join("comm")).ok()?.trim().to_owned();
            let status = std::fs::read_to_string(path.join("status")).ok()?;
            let sleeps =
                status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"))?.to_owned();
            name.starts_with("store-").then_some((name, sleeps))
        })
        .collect();
    threads.sort();
    threads
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_store_runs_no_statement_and_wakes_no_thread() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(StoreOptions {
        synchronous: Synchronous::Off,
        idle_checkpoint: Duration::from_millis(10),
        ..StoreOptions::new(directory.path())
    })
    .expect("opens");
    store.set_setting("a", &1.into()).await.expect("set");
    assert_eq!(store.setting("a").await.expect("readable"), Some(1.into()));
    // The last thing that it does by itself is to move its log into the file.
    let moved = tokio::time::timeout(Duration::from_secs(20), async {
        while store.stats().await.expect("readable").wal_pages > 0 {
            tokio::task::yield_now().await;
        }
    });
    moved.await.expect("the log is moved");
    let (statements, threads) = (store.statements(), sleeps());
    assert!(threads.iter().any(|(name, _)| name == "store-writer"), "{threads:?}");

    // A wait on purpose: that nothing happens has no state to wait for.
    std::thread::sleep(QUIET);

    assert_eq!(store.statements(), statements);
    assert_eq!(sleeps(), threads);
    store.set_setting("a", &2.into()).await.expect("it wakes up when it is asked");
    assert!(store.statements() > statements);
}
