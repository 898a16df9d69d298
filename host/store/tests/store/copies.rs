//! The files copied while they are written, as a crash of the machine would leave them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use caelum_store::{Store, StoreOptions};

use crate::harness::{Run, chain, definition, id, load_checked};

/// Copies the database and then its log. The two belong together when the log did not start anew in between, which
/// its header tells.
fn copy(from: &StoreOptions, to: &StoreOptions) -> bool {
    let log = |options: &StoreOptions| options.directory.join("caelum.db-wal");
    let before = header(&log(from));
    std::fs::copy(from.database(), to.database()).expect("copied");
    std::fs::copy(log(from), log(to)).expect("copied");
    before.is_some() && before == header(&log(from)) && before == header(&log(to))
}

fn header(log: &Path) -> Option<[u8; 32]> {
    let mut header = [0; 32];
    std::fs::File::open(log).and_then(|mut file| file.read_exact(&mut header)).ok()?;
    Some(header)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_at_any_moment_opens_with_everything_that_was_acknowledged_before_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = StoreOptions {
        // Often enough that copies fall into checkpoints.
        wal_checkpoint_bytes: 64 * 1024,
        wal_bytes_max: 512 * 1024,
        ..StoreOptions::new(directory.path())
    };
    let store = Store::open(options.clone()).expect("opens");
    let acknowledged: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..6 {
        let (store, acknowledged, stop) =
            (store.clone(), Arc::clone(&acknowledged), Arc::clone(&stop));
        callers.spawn(async move {
            let definition = Arc::new(definition("w", chain(5)));
            for round in 0_u64.. {
                let mut run = Run::new(&format!("ex_{caller}_{round}"), Arc::clone(&definition));
                run.create(&store).await;
                loop {
                    let events = run.execution.head().events;
                    let name = run.id().to_string();
                    acknowledged.lock().expect("unpoisoned").insert(name, events);
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if !run.succeed_one() {
                        break;
                    }
                    run.save(&store).await.expect("saved");
                }
            }
        });
    }

    let mut copies = 0;
    while copies < 12 {
        // Any moment will do; each copy waits until something new was acknowledged.
        let known = acknowledged.lock().expect("unpoisoned").clone();
        let sum: u64 = known.values().sum();
        while acknowledged.lock().expect("unpoisoned").values().sum::<u64>() < sum + 20 {
            tokio::task::yield_now().await;
        }
        let known = acknowledged.lock().expect("unpoisoned").clone();
        let place = tempfile::tempdir().expect("a directory");
        let to = StoreOptions::new(place.path());
        if !copy(&options, &to) {
            continue;
        }
        copies += 1;
        let copied = Store::open(to).expect("the copy opens");
        copied.check().await.expect("the copy is sound");
        for (name, events) in known.iter().rev().take(40) {
            let loaded = load_checked(&copied, &id(name)).await;
            assert!(loaded.head().events >= *events, "{name}: {events} acknowledged");
        }
    }
    stop.store(true, Ordering::Relaxed);
    callers.join_all().await;
}
