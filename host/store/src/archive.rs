//! What retention takes away, kept in a file: one JSON object a line, compressed. `import` reads it back.
//!
//! | line | members |
//! |---|---|
//! | a definition | `document` (its digest), `definition` as it is stored |
//! | an execution | `execution_id`, `workflow_id`, `revision`, `kind`, `document` |
//! | an event | `execution_id`, `workflow_id`, `revision`, `seq`, `at`, `event` |
//!
//! A definition stands before the first execution that it belongs to, and an execution before its events. Each batch is
//! one frame of its own and on disk before the store forgets what is in it: a file that a crash cut short holds
//! everything that was forgotten, and perhaps something that was not.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use caelum_core::clock::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use crate::StoreError;
use crate::body::SELECT_BLOB;
use crate::documents::{SELECT_DOCUMENT, digest_of};
use crate::error::Fault;
use crate::retention::{EVENTS_PER_BATCH, EXECUTIONS_PER_BATCH};

/// How hard it is compressed: the library's own default, about 100 MB/s.
const LEVEL: i32 = 3;

pub(crate) const SELECT_ARCHIVED: &str = "
    SELECT key, events, id, kind, workflow_id, revision, document
    FROM execution
    WHERE ended_at IS NOT NULL AND ended_at < ?1 ORDER BY ended_at LIMIT ?2";
pub(crate) const SELECT_EVENT_BODIES: &str =
    "SELECT seq, at, body, blob FROM event WHERE execution = ?1 ORDER BY seq";

/// A file that executions are archived in. It is made with the first of them.
#[derive(Debug)]
pub(crate) struct Archive {
    path: PathBuf,
    file: Option<File>,
    /// Documents that are in the file already.
    documents: HashSet<i64>,
}

/// The row of an execution, as far as its line says it.
struct Row {
    key: i64,
    events: i64,
    id: String,
    kind: String,
    workflow_id: String,
    revision: u32,
    document: i64,
}

impl Archive {
    pub(crate) fn new(path: PathBuf) -> Self {
        Archive { path, file: None, documents: HashSet::new() }
    }

    /// Writes one batch of executions that ended before a moment; returns the keys of those that are on disk now, none
    /// when there are no more.
    pub(crate) fn write_batch(
        &mut self,
        connection: &Connection,
        before: i64,
    ) -> Result<Vec<i64>, Fault> {
        let batch = batch(connection, before)?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => make(&self.path).map_err(|source| self.failed("make", source))?,
        };
        self.write_frame(connection, &file, &batch)?;
        file.sync_all().map_err(|source| self.failed("write", source))?;
        self.file = Some(file);
        Ok(batch.into_iter().map(|row| row.key).collect())
    }

    fn write_frame(
        &mut self,
        connection: &Connection,
        file: &File,
        batch: &[Row],
    ) -> Result<(), Fault> {
        let failed = |source| failed("write", &self.path, source);
        let encoder = zstd::stream::write::Encoder::new(file, LEVEL).map_err(failed)?;
        // Lines are short, and each call of the encoder costs something.
        let mut out = BufWriter::with_capacity(64 * 1024, encoder);
        for row in batch {
            let (digest, definition): (Vec<u8>, String) = connection
                .prepare_cached(SELECT_DOCUMENT)?
                .query_row([row.document], |found| Ok((found.get(0)?, found.get(1)?)))
                .optional()?
                .ok_or_else(|| {
                    Fault::Unreadable(format!("document {} is missing", row.document))
                })?;
            let digest = digest_of(&digest)?.to_string();
            if self.documents.insert(row.document) {
                // The definition is written as it is kept: nothing is lost by reading it into another shape.
                writeln!(out, "{{\"document\":\"{digest}\",\"definition\":{definition}}}")
                    .map_err(failed)?;
            }
            let head = json!({
                "execution_id": row.id,
                "workflow_id": row.workflow_id,
                "revision": row.revision,
                "kind": row.kind,
                "document": digest,
            });
            writeln!(out, "{head}").map_err(failed)?;
            write_events(connection, &mut out, row, failed)?;
        }
        let encoder = out.into_inner().map_err(|error| failed(error.into_error()))?;
        encoder.finish().map(drop).map_err(failed)
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> Fault {
        failed(doing, &self.path, source)
    }
}

fn batch(connection: &Connection, before: i64) -> Result<Vec<Row>, Fault> {
    let mut statement = connection.prepare_cached(SELECT_ARCHIVED)?;
    let mut rows = statement.query((before, EXECUTIONS_PER_BATCH))?;
    let mut batch = Vec::new();
    let mut events = 0;
    while let Some(row) = rows.next()? {
        let row = Row {
            key: row.get(0)?,
            events: row.get(1)?,
            id: row.get(2)?,
            kind: row.get(3)?,
            workflow_id: row.get(4)?,
            revision: row.get(5)?,
            document: row.get(6)?,
        };
        events += row.events;
        batch.push(row);
        if events >= EVENTS_PER_BATCH {
            break;
        }
    }
    Ok(batch)
}

fn write_events(
    connection: &Connection,
    out: &mut impl Write,
    row: &Row,
    failed: impl Fn(io::Error) -> Fault + Copy,
) -> Result<(), Fault> {
    // Names are ASCII without anything that JSON would escape.
    let place = format!(
        "{{\"execution_id\":\"{}\",\"workflow_id\":\"{}\",\"revision\":{}",
        row.id, row.workflow_id, row.revision
    );
    let mut statement = connection.prepare_cached(SELECT_EVENT_BODIES)?;
    let mut rows = statement.query([row.key])?;
    while let Some(event) = rows.next()? {
        let (seq, at): (i64, i64) = (event.get(0)?, event.get(1)?);
        let at = Timestamp::from_micros(at);
        write!(out, "{place},\"seq\":{seq},\"at\":\"{at}\",\"event\":").map_err(failed)?;
        let inline = event.get_ref(2)?.as_str_or_null().map_err(rusqlite::Error::from)?;
        match inline {
            Some(text) => out.write_all(text.as_bytes()).map_err(failed)?,
            None => {
                let digest: Vec<u8> = event.get(3)?;
                let bytes: Vec<u8> = connection
                    .prepare_cached(SELECT_BLOB)?
                    .query_row([&digest], |found| found.get(0))
                    .optional()?
                    .ok_or_else(|| {
                        let id = &row.id;
                        Fault::Unreadable(format!("the blob of event {seq} of `{id}` is missing"))
                    })?;
                out.write_all(&bytes).map_err(failed)?;
            }
        }
        out.write_all(b"}\n").map_err(failed)?;
    }
    Ok(())
}

/// Makes the file, readable by its owner alone, and its directory where that is missing.
fn make(path: &Path) -> io::Result<File> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(directory)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    crate::lock::private(&mut options);
    let file = options.open(path)?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> Fault {
    if source.kind() == io::ErrorKind::StorageFull {
        return Fault::Store(StoreError::Full { path: path.to_owned() });
    }
    Fault::Store(StoreError::Directory { doing, path: path.to_owned(), source })
}

/// Why a compressed text cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It is more than is read at once.
    #[error("it has more than {bytes_max} bytes when it is unpacked")]
    TooLarge {
        /// How much is read.
        bytes_max: u64,
    },
    /// It is not what zstd makes.
    #[error("it cannot be unpacked")]
    Unreadable(#[source] io::Error),
}

/// Says whether bytes begin like an archive.
pub fn is_archive(bytes: &[u8]) -> bool {
    // RFC 8878, section 3.1.1.
    bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

/// Unpacks an archive. A frame that a crash cut short is left out, together with the rest of its last line; the second
/// value says so.
///
/// # Errors
///
/// [`ArchiveError::TooLarge`] when more than `bytes_max` come out, [`ArchiveError::Unreadable`] when it is no archive.
pub fn unpack(bytes: &[u8], bytes_max: u64) -> Result<(Vec<u8>, bool), ArchiveError> {
    let decoder =
        zstd::stream::read::Decoder::with_buffer(bytes).map_err(ArchiveError::Unreadable)?;
    let mut text = Vec::new();
    let read = decoder.take(bytes_max.saturating_add(1)).read_to_end(&mut text);
    if text.len() as u64 > bytes_max {
        return Err(ArchiveError::TooLarge { bytes_max });
    }
    match read {
        Ok(_) => Ok((text, false)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            text.truncate(whole);
            Ok((text, true))
        }
        Err(error) => Err(ArchiveError::Unreadable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_one_after_the_other_and_a_cut_one_is_noticed() {
        let mut packed = zstd::encode_all(&b"one\n"[..], LEVEL).expect("packed");
        packed.extend(zstd::encode_all(&b"two\nthree\n"[..], LEVEL).expect("packed"));

        let (text, cut) = unpack(&packed, 100).expect("unpacked");
        assert_eq!((text.as_slice(), cut), (&b"one\ntwo\nthree\n"[..], false));

        let (text, cut) = unpack(&packed[..packed.len() - 3], 100).expect("unpacked");
        assert!(text.starts_with(b"one\n") && text.ends_with(b"\n") && cut);
        assert!(is_archive(&packed) && !is_archive(b"{\"a\":1}"));
    }

    #[test]
    fn what_unpacks_to_too_much_or_to_nothing_is_refused() {
        let packed = zstd::encode_all(&vec![b'x'; 1_000_000][..], LEVEL).expect("packed");

        assert!(matches!(unpack(&packed, 1_000), Err(ArchiveError::TooLarge { .. })));
        assert!(matches!(unpack(b"no archive", 1_000), Err(ArchiveError::Unreadable(_))));
    }
}
