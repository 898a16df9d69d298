//! Large values: kept as blobs, each once, up to a limit.

use std::sync::Arc;

use caelum_core::task::{FailureClass, OutcomeStatus, Output};
use caelum_store::{Store, StoreError, StoreOptions};
use rusqlite::{Connection, OpenFlags};

use crate::harness::{Run, chain, definition, load_checked, outcome, quick, store};

fn blobs(options: &StoreOptions) -> i64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(options.database(), flags).expect("opens");
    connection.query_row("SELECT count(*) FROM blob", [], |row| row.get(0)).expect("a count")
}

fn finish(run: &mut Run, text: String) {
    let mut finished = outcome(OutcomeStatus::Succeeded, FailureClass::Exit);
    finished.stdout = Output { total_bytes: text.len() as u64, text, truncated: false };
    let step = run.execution.open_steps().next().expect("a step runs");
    run.report(step, 0, finished);
}

#[tokio::test]
async fn values_of_every_size_come_back_as_they_were() {
    let (store, directory) = store();
    let sizes = [0_usize, 1, 10_001, 64 * 1024 - 1, 64 * 1024, 100 * 1024, 1024 * 1024, 3_000_000];
    let mut run = Run::new("ex_1", Arc::new(definition("w", chain(sizes.len()))));
    run.create(&store).await;

    for (index, size) in sizes.into_iter().enumerate() {
        let letter = ["a", "é", "\n", "\u{1F980}"][index % 4];
        finish(&mut run, letter.repeat(size.div_ceil(letter.len())));
        run.save(&store).await.expect("saved");
    }

    assert!(load_checked(&store, &run.id()).await == run.execution);
    assert!(blobs(&quick(&directory)) >= 8, "four events and four targets are large");
}

#[tokio::test]
async fn equal_values_are_kept_once() {
    let (store, directory) = store();
    let definition = Arc::new(definition("w", chain(1)));
    for execution in 0..5 {
        let mut run = Run::new(&format!("ex_{execution}"), Arc::clone(&definition));
        run.create(&store).await;
        finish(&mut run, "x".repeat(200_000));
        run.save(&store).await.expect("saved");
    }

    assert_eq!(blobs(&quick(&directory)), 2, "one for the event, one for the target");
}

#[tokio::test]
async fn a_value_at_the_limit_is_kept_and_one_byte_more_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut run = Run::new("ex_1", Arc::new(definition("w", chain(1))));
    let options = |max| StoreOptions { body_bytes_max: max, ..quick(&directory) };
    let measured = {
        let store = Store::open(options(64 * 1024 * 1024)).expect("opens");
        run.create(&store).await;
        let mut probe = Run::new("ex_1", Arc::clone(run.execution.definition()));
        finish(&mut probe, "x".repeat(500_000));
        let state = serde_json::to_string(&probe.execution.step(0).targets[0]).expect("JSON");
        let event = probe
            .unsaved
            .iter()
            .map(|event| serde_json::to_string(&event.body).expect("JSON").len())
            .max();
        state.len().max(event.expect("events"))
    };
    finish(&mut run, "x".repeat(500_000));
    let append = run.append();

    let store = Store::open(options(measured - 1)).expect("opens");
    let error = store.append(append.clone()).await.expect_err("one byte too many");
    let StoreError::TooLarge { what, bytes, max } = &error else { panic!("{error}") };
    assert!(what.contains("ex_1"), "{what}");
    assert_eq!((*bytes, *max), (measured as u64, measured as u64 - 1));
    assert!(error.to_string().ends_with(&format!("at most {max} are kept")), "{error}");
    drop(store);

    let store = Store::open(options(measured)).expect("opens");
    store.append(append).await.expect("exactly at the limit");
    load_checked(&store, &run.id()).await;
}
