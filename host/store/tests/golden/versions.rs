//! Files of every version: read as they did, and what was open goes on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use caelum_core::task::{FailureClass, OutcomeStatus};
use caelum_core::workflow::command::Control;
use caelum_core::workflow::{Execution, Next, TargetPhase, recover};
use caelum_store::Store;
use tempfile::TempDir;

use crate::harness::{Run, load_checked, outcome, quick};
use crate::read::everything;
use crate::write::write;

/// Set to write the files of this version anew.
const WRITE: &str = "CAELUM_WRITE_GOLDEN";

/// A stored file grows with what it holds; a small one is quick to read and to keep for ever.
const BYTES_MAX: u64 = 320 * 1024;

/// The moment at which the newest file was written, in its own seconds: later than everything in it.
const LATER: u64 = 1_000;

/// What happened in the file of this version: every kind of event that it can store.
const KINDS: [&str; 23] = [
    "cancel_requested",
    "cancelled",
    "completed",
    "decision_given",
    "failed",
    "gate_judged",
    "late_report",
    "paused",
    "resumed",
    "retry_requested",
    "retry_scheduled",
    "review_given",
    "review_timed_out",
    "started",
    "step_completed",
    "step_failed",
    "step_skipped",
    "step_started",
    "step_timed_out",
    "target_finished",
    "target_lost",
    "target_started",
    "targets_given_up",
];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

pub(crate) fn this_version() -> PathBuf {
    golden().join(env!("CARGO_PKG_VERSION"))
}

fn versions() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(golden()).expect("the folder is there");
    let mut versions: Vec<PathBuf> =
        entries.map(|entry| entry.expect("readable").path()).filter(|path| path.is_dir()).collect();
    versions.sort();
    versions
}

/// Opens a copy of a version's file.
fn open(version: &Path) -> (Store, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = version.join("caelum.db");
    std::fs::copy(&file, quick(&directory).database()).unwrap_or_else(|error| {
        panic!("{}: {error}; hint: {WRITE}=1 writes the file of this version", file.display())
    });
    (Store::open(quick(&directory)).expect("a file of an earlier version opens"), directory)
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).expect("JSON can be written"))
}

#[tokio::test]
async fn this_version_writes_what_its_file_holds() {
    let directory = tempfile::tempdir().expect("a directory");
    write(directory.path()).await;
    let store = Store::open(quick(&directory)).expect("opens");
    let reads = pretty(&everything(&store).await);
    store.close().await;
    let version = this_version();
    if std::env::var_os(WRITE).is_some() {
        std::fs::create_dir_all(&version).expect("made");
        let connection = rusqlite::Connection::open(quick(&directory).database()).expect("opens");
        connection.execute_batch("VACUUM").expect("rewritten");
        drop(connection);
        let store = Store::open(quick(&directory)).expect("opens");
        store.close().await;
        std::fs::copy(quick(&directory).database(), version.join("caelum.db")).expect("copied");
        std::fs::write(version.join("reads.json"), &reads).expect("written");
    }

    let kept = std::fs::read_to_string(version.join("reads.json")).unwrap_or_default();

    let differs = kept.lines().zip(reads.lines()).position(|(kept, now)| kept != now);
    assert!(
        kept == reads,
        "what is written differs from {} at line {differs:?}; hint: before a release, {WRITE}=1 writes it anew; \
         after one, what is stored may grow and must not change",
        version.display()
    );
    let bytes = std::fs::metadata(version.join("caelum.db")).expect("it is there").len();
    assert!(bytes < BYTES_MAX, "{bytes} bytes");
}

#[tokio::test]
async fn files_of_every_version_read_as_they_did() {
    for version in versions() {
        let (store, _directory) = open(&version);

        store.check().await.expect("sound");
        let reads = pretty(&everything(&store).await);

        let kept = std::fs::read_to_string(version.join("reads.json")).expect("it is there");
        let differs = kept.lines().zip(reads.lines()).position(|(kept, now)| kept != now);
        assert!(kept == reads, "{} reads differently at line {differs:?}", version.display());
    }
}

#[tokio::test]
async fn the_file_of_this_version_has_something_of_everything_that_can_be_stored() {
    let kept = std::fs::read_to_string(this_version().join("reads.json")).expect("it is there");
    let reads: serde_json::Value = serde_json::from_str(&kept).expect("JSON");
    let executions = reads["executions"].as_array().expect("a list");
    let events =
        executions.iter().flat_map(|execution| execution["events"].as_array().expect("a list"));
    let kinds: BTreeSet<&str> =
        events.map(|event| event["body"]["type"].as_str().expect("a word")).collect();
    let statuses: BTreeSet<&str> =
        executions.iter().map(|one| one["status"].as_str().expect("a word")).collect();
    let actions: BTreeSet<&str> = reads["workflows"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|workflow| workflow["definition"]["steps"].as_array().expect("a list"))
        .map(|step| step["action"]["kind"].as_str().expect("a word"))
        .collect();

    let missing: Vec<&&str> = KINDS.iter().filter(|kind| !kinds.contains(**kind)).collect();
    assert!(missing.is_empty(), "no event of {missing:?}");
    assert_eq!(
        statuses,
        BTreeSet::from(["executing", "paused", "completed", "failed", "cancelled"])
    );
    let all = BTreeSet::from(caelum_core::workflow::Action::KINDS);
    assert!(actions.is_superset(&all), "{actions:?}");
}

/// Goes on with an execution as the engine does after a restart, and brings it to its end.
fn go_on(execution: Execution) -> Run {
    let mut run = Run { execution, unsaved: Vec::new(), wanted: Next::default(), seconds: LATER };
    for body in recover(&run.execution).record {
        run.record(body);
    }
    let control = |run: &mut Run, control: &Control| {
        if let Ok(Some(body)) = run.execution.control(control, "later".into(), "why".into()) {
            run.record(body);
        }
    };
    if run.execution.head().paused.is_some() {
        control(&mut run, &Control::Resume);
    }
    run.settle();
    while run.succeed_one() {}
    if run.execution.head().end.is_none() {
        control(&mut run, &Control::Cancel);
    }
    for step in 0..run.execution.steps().len() {
        let targets = run.execution.step(step).targets.len();
        for target in 0..targets {
            if run.execution.step(step).targets[target].phase == TargetPhase::Running {
                run.report(
                    step,
                    target,
                    outcome(OutcomeStatus::Cancelled, FailureClass::Permanent),
                );
            }
        }
    }
    run
}

#[tokio::test]
async fn what_was_open_in_files_of_every_version_goes_on_to_its_end() {
    for version in versions() {
        let (store, _directory) = open(&version);
        let read = store.unfinished(None).await.expect("readable");
        assert!(read.unreadable.is_empty() && read.next.is_none(), "{:?}", read.unreadable);
        assert!(read.executions.len() > 5, "{}", version.display());

        for execution in read.executions {
            let mut run = go_on(execution);
            run.save(&store).await.expect("saved");
            let stored = load_checked(&store, &run.id()).await;
            assert!(stored.head().end.is_some(), "{stored:#?}");
        }

        assert!(store.open_executions().await.expect("readable").is_empty());
        store.check().await.expect("sound");
    }
}
