//! Damaged files: whatever is wrong is named, by opening, by checking or by reading, and the file stays as it is.

use std::path::Path;

use caelum_store::{Store, StoreError};
use rusqlite::Connection;

use crate::harness::{id, quick};
use crate::versions::this_version;

/// The size of a page in the file.
const PAGE: usize = 4096;

/// Where the header keeps the version of the schema and the mark of the program (SQLite file format, 1.3).
const USER_VERSION: usize = 60;
const APPLICATION_ID: usize = 68;

/// How a damage is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Corrupt,
    Foreign,
    Newer,
}

/// A name for a damage, what it does to the bytes, and what has to be told.
type Damage = (&'static str, fn(&mut Vec<u8>), Told);

const DAMAGES: &[Damage] = &[
    ("a byte is left", |bytes| bytes.truncate(1), Told::Corrupt),
    ("half a header is left", |bytes| bytes.truncate(50), Told::Corrupt),
    ("a page is left", |bytes| bytes.truncate(PAGE), Told::Corrupt),
    ("half of it is left", |bytes| bytes.truncate(bytes.len() / 2), Told::Corrupt),
    ("the last page is gone", |bytes| bytes.truncate(bytes.len() - PAGE), Told::Corrupt),
    ("the magic is gone", |bytes| bytes[..16].fill(b'x'), Told::Corrupt),
    ("it is text", |bytes| *bytes = b"this is no database\n".repeat(500), Told::Corrupt),
    ("it is zeros", |bytes| bytes.fill(0), Told::Corrupt),
    (
        "the first page is noise behind the header",
        |bytes| bytes[100..PAGE].fill(0xA5),
        Told::Corrupt,
    ),
    ("pages in the middle are noise", |bytes| noise(bytes, 0xA5), Told::Corrupt),
    ("pages in the middle are zeros", |bytes| noise(bytes, 0), Told::Corrupt),
    ("the page size is nonsense", |bytes| bytes[16..18].copy_from_slice(&[0, 7]), Told::Corrupt),
    ("another program's mark", |bytes| bytes[APPLICATION_ID..][..4].fill(1), Told::Foreign),
    ("no program's mark", |bytes| bytes[APPLICATION_ID..][..4].fill(0), Told::Foreign),
    (
        "a newer version",
        |bytes| bytes[USER_VERSION..][..4].copy_from_slice(&[0, 0, 3, 9]),
        Told::Newer,
    ),
];

fn noise(bytes: &mut [u8], with: u8) {
    let middle = bytes.len() / 2 / PAGE * PAGE;
    bytes[PAGE..middle].fill(with);
}

fn golden() -> Vec<u8> {
    std::fs::read(this_version().join("caelum.db")).expect("it is there")
}

/// Opens and checks a file; returns what is told about it.
async fn open(directory: &tempfile::TempDir) -> Result<(), StoreError> {
    let store = Store::open(quick(directory))?;
    let checked = store.check().await;
    store.close().await;
    checked
}

#[tokio::test]
async fn damaged_files_are_named_and_left_as_they_are() {
    for (name, damage, told) in DAMAGES {
        let directory = tempfile::tempdir().expect("a directory");
        let mut bytes = golden();
        damage(&mut bytes);
        std::fs::write(quick(&directory).database(), &bytes).expect("written");

        let error = open(&directory).await.err();

        let Some(error) = error else { panic!("{name}: nobody noticed") };
        let right = match told {
            Told::Corrupt => matches!(error, StoreError::Corrupt { .. }),
            Told::Foreign => matches!(error, StoreError::ForeignFile { .. }),
            Told::Newer => matches!(error, StoreError::NewerFile { found: 777, .. }),
        };
        assert!(right, "{name}: {error:?}");
        assert!(error.to_string().contains("hint: "), "{name}: {error}");
        let now = std::fs::read(quick(&directory).database()).expect("still there");
        assert!(now == bytes, "{name}: the file was changed");
    }
}

#[tokio::test]
async fn a_log_of_another_file_or_of_noise_is_not_taken_for_ours() {
    for noise in [b"noise".repeat(3_000), Vec::new(), vec![0; 40_000]] {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(quick(&directory).database(), golden()).expect("written");
        std::fs::write(directory.path().join("caelum.db-wal"), &noise).expect("written");

        open(&directory).await.expect("a log that is none holds nothing");

        let store = Store::open(quick(&directory)).expect("opens");
        let leaf = store.load_execution(&id("ex_leaf")).await.expect("readable");
        assert!(leaf.is_some());
    }
}

/// Damages a value in a row, as a bug or somebody with an editor would.
fn spoil(directory: &Path, sql: &str) {
    let connection = Connection::open(directory.join("caelum.db")).expect("opens");
    assert!(connection.execute(sql, []).expect("legal") > 0, "{sql}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_and_everything_else_is_there() {
    let of_leaf = "(SELECT key FROM execution WHERE id = 'ex_leaf')";
    for (sql, named) in [
        (
            format!("DELETE FROM event WHERE seq = 0 AND execution = {of_leaf}"),
            "event 0 of execution `ex_leaf` is missing",
        ),
        (
            format!("UPDATE event SET body = '{{}}' WHERE seq = 0 AND execution = {of_leaf}"),
            "event 0 of execution `ex_leaf` cannot be read",
        ),
        (
            format!("UPDATE step SET state = 'x' WHERE execution = {of_leaf}"),
            "step 0 of execution `ex_leaf` cannot be read",
        ),
        (
            format!("UPDATE target SET state = NULL, blob = x'00' WHERE execution = {of_leaf}"),
            "the blob of a target of step 0 of execution `ex_leaf` is missing",
        ),
        (
            "UPDATE execution SET status = 'dancing' WHERE id = 'ex_leaf'".to_owned(),
            "status `dancing` cannot be read",
        ),
        (
            format!(
                "UPDATE document SET body = '[]' WHERE key = (SELECT document FROM execution WHERE key = {of_leaf})"
            ),
            "cannot be read",
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(quick(&directory).database(), golden()).expect("written");
        spoil(directory.path(), &sql);

        let store = Store::open(quick(&directory)).expect("opens");
        let error = store.load_execution(&id("ex_leaf")).await.expect_err("spoilt");
        let other = store.load_execution(&id("ex_unknown")).await;

        let text = error.to_string();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{sql}: {error:?}");
        assert!(text.contains(named), "{sql}: {text}");
        assert!(other.expect("readable").is_some(), "{sql}");
    }
}
