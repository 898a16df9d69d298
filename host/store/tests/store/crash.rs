//! Processes that are killed: what was acknowledged is there, and the directory is free.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use caelum_store::{Store, StoreError, StoreOptions};

use crate::harness::{Run, chain, definition, id, load_checked};

/// Tells this program, started again, to be the process that is killed, and where.
const DIRECTORY: &str = "CAELUM_STORE_TEST_DIRECTORY";

/// Callers that write at the same time in that process.
const CALLERS: usize = 8;

fn start(test: &str, directory: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("started")
}

fn directory_of_child() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// Tells the parent, in one write, so that lines of different callers do not mix.
fn tell(line: &str) {
    let mut out = std::io::stdout();
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).expect("told");
}

/// Runs executions to their ends for ever, and tells of every append after it was acknowledged.
fn write_until_killed(directory: PathBuf) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(StoreOptions::new(directory)).expect("opens");
        let definition = Arc::new(definition("w", chain(6)));
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..CALLERS {
            let (store, definition) = (store.clone(), Arc::clone(&definition));
            callers.spawn(async move {
                for round in 0_u64.. {
                    let name = format!("ex_{caller}_{round}");
                    let mut run = Run::new(&name, Arc::clone(&definition));
                    run.create(&store).await;
                    tell(&format!("ack {name} {}", run.execution.head().events));
                    while run.succeed_one() {
                        run.save(&store).await.expect("saved");
                        tell(&format!("ack {name} {}", run.execution.head().events));
                    }
                }
            });
        }
        callers.join_all().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_event_survives_the_death_of_the_process() {
    if let Some(directory) = directory_of_child() {
        return tokio::task::spawn_blocking(move || write_until_killed(directory))
            .await
            .expect("never ends by itself");
    }
    let directory = tempfile::tempdir().expect("a directory");

    for (round, lines) in [40, 333, 1_000].into_iter().enumerate() {
        let data = directory.path().join(round.to_string());
        let mut child =
            start("crash::every_acknowledged_event_survives_the_death_of_the_process", &data);
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
        let mut line = String::new();
        let mut seen = 0;
        while seen < lines {
            line.clear();
            assert_ne!(out.read_line(&mut line).expect("readable"), 0, "the child ended by itself");
            seen += usize::from(witness(&mut acknowledged, &line));
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        // What it said before it died counts as well; its last line may be cut off.
        let mut rest = String::new();
        out.read_to_string(&mut rest).expect("readable");
        for line in rest.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            witness(&mut acknowledged, line);
        }

        let store = Store::open(StoreOptions::new(&data)).expect("opens after the crash");
        assert!(acknowledged.len() >= CALLERS.min(lines / 8), "{acknowledged:?}");
        for (name, events) in acknowledged {
            let loaded = load_checked(&store, &id(&name)).await;
            assert!(loaded.head().events >= events, "{name}: {events} acknowledged");
        }
        store.check().await.expect("sound");
    }
}

/// Notes one line of the child; returns whether it was an acknowledgement.
fn witness(acknowledged: &mut BTreeMap<String, u64>, line: &str) -> bool {
    let mut words = line.split_whitespace();
    // The test runner writes its own words in front of the first line.
    if !words.any(|word| word == "ack") {
        return false;
    }
    let (Some(name), Some(events)) = (words.next(), words.next()) else { return false };
    acknowledged.insert(name.to_owned(), events.parse().expect("a number"));
    true
}

#[test]
fn the_directory_of_another_process_is_refused_until_that_process_dies() {
    if let Some(directory) = directory_of_child() {
        let _store = Store::open(StoreOptions::new(directory)).expect("opens");
        tell("open");
        // Until the parent kills this process, or goes away and closes the pipe.
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let test = "crash::the_directory_of_another_process_is_refused_until_that_process_dies";
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("open") {
        line.clear();
        assert_ne!(out.read_line(&mut line).expect("readable"), 0, "the child ended by itself");
    }

    let refused = Store::open(StoreOptions::new(directory.path())).expect_err("in use");
    child.kill().expect("killed");
    child.wait().expect("ended");

    assert!(
        matches!(&refused, StoreError::Busy { pid: Some(pid), .. } if *pid == child.id()),
        "{refused}"
    );
    Store::open(StoreOptions::new(directory.path())).expect("free again");
}
