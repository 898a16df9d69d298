//! The schema: how the file is recognised, brought to the present version, and how connections to it are set up.

use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, MAIN_DB, OpenFlags, TransactionBehavior};
use tracing::debug;

use crate::error::Fault;
use crate::lock::private;
use crate::{StoreError, StoreOptions, Synchronous};

/// Marks the file as ours in its header: `Cael`.
pub(crate) const APPLICATION_ID: i64 = 0x4361_656c;

/// The steps from an empty file to the present schema; a file of version `n` has seen the first `n` of them. A
/// released step is never changed.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_initial.sql")];

/// The version of the schema that this program writes.
pub(crate) const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// Size of the header that every database file begins with (SQLite file format, 1.3), in bytes. An empty file is a new one.
const HEADER_BYTES: u64 = 100;

/// Statements that each connection keeps prepared: more than this crate has.
const STATEMENTS_CACHED: usize = 128;

/// Opens the one connection that writes: makes the file when it is missing, recognises it, brings it to the present
/// version.
pub(crate) fn open_writer(
    options: &StoreOptions,
    statements: &Arc<AtomicU64>,
) -> Result<Connection, StoreError> {
    let path = options.database();
    make_file(&path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    open(&path, flags, options, statements)
        .and_then(|mut connection| {
            recognise(&connection, &path)?;
            set_up_writing(&connection, options)?;
            migrate(&mut connection)?;
            lay_out_log(&connection, options);
            Ok(connection)
        })
        .map_err(|fault| fault.into_error(&path))
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(
    options: &StoreOptions,
    statements: &Arc<AtomicU64>,
) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(&options.database(), flags, options, statements)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Opens the connection that only moves pages from the write-ahead log into the file.
pub(crate) fn open_checkpointer(
    options: &StoreOptions,
    statements: &Arc<AtomicU64>,
) -> Result<Connection, StoreError> {
    let path = options.database();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    open(&path, flags, options, statements)
        .and_then(|connection| {
            set_up_writing(&connection, options)?;
            Ok(connection)
        })
        .map_err(|fault| fault.into_error(&path))
}

fn make_file(path: &Path) -> Result<(), StoreError> {
    let mut file = OpenOptions::new();
    file.read(true).write(true).create(true).truncate(false);
    private(&mut file);
    let file = file.open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::ReadOnly { path: path.to_owned() }
        }
        std::io::ErrorKind::StorageFull => StoreError::Full { path: path.to_owned() },
        _ => {
            StoreError::Directory { doing: "open the database file", path: path.to_owned(), source }
        }
    })?;
    // SQLite takes a file of one byte for an empty one.
    match file.metadata().map_or(0, |metadata| metadata.len()) {
        bytes @ 1..HEADER_BYTES => Err(StoreError::Corrupt {
            path: path.to_owned(),
            why: format!("it has {bytes} bytes; a database has at least {HEADER_BYTES}"),
        }),
        _ => Ok(()),
    }
}

fn open(
    path: &Path,
    flags: OpenFlags,
    options: &StoreOptions,
    statements: &Arc<AtomicU64>,
) -> Result<Connection, Fault> {
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(options.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    let cache_kib = i64::try_from(options.cache_bytes / 1024).unwrap_or(i64::MAX);
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Counts every statement that runs, so that a test and the health report can see an idle store do nothing.
    let counter = Arc::clone(statements);
    connection.trace_v2(
        TraceEventCodes::SQLITE_TRACE_STMT,
        Some(move |_: TraceEvent<'_>| {
            counter.fetch_add(1, Ordering::Relaxed);
        }),
    )?;
    Ok(connection)
}

/// Refuses files that are not ours, newer than this program, or no databases at all.
fn recognise(connection: &Connection, path: &Path) -> Result<(), Fault> {
    let number =
        |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let found = number("application_id")?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if found != APPLICATION_ID && !(found == 0 && tables == 0) {
        return Err(Fault::Store(StoreError::ForeignFile {
            path: path.to_owned(),
            found,
            expected: APPLICATION_ID,
        }));
    }
    let version = number("user_version")?;
    if version > SCHEMA_VERSION {
        return Err(Fault::Store(StoreError::NewerFile {
            path: path.to_owned(),
            found: version,
            supported: SCHEMA_VERSION,
        }));
    }
    Ok(())
}

fn set_up_writing(connection: &Connection, options: &StoreOptions) -> Result<(), Fault> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Store(StoreError::Internal {
            what: format!(
                "the file system of {} allows no write-ahead log (journal mode is `{mode}`); \
                 hint: keep the data directory on a local disk",
                options.directory.display()
            ),
        }));
    }
    connection.pragma_update(None, "synchronous", options.synchronous.as_sql())?;
    // Checkpoints are made by the writer and the checkpoint thread, never in the middle of a commit.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(
        None,
        "journal_size_limit",
        i64::try_from(options.wal_bytes_max).unwrap_or(i64::MAX),
    )?;
    if let Some(bytes) = options.database_bytes_max {
        let pages = (bytes / page_bytes(connection)?).max(1);
        connection.pragma_update_and_check(
            None,
            "max_page_count",
            i64::try_from(pages).unwrap_or(i64::MAX),
            |_| Ok(()),
        )?;
    }
    Ok(())
}

/// Gives the write-ahead log its usual size before the first commit. A flush of bytes that a file has already is one
/// write; a file that grows makes the file system flush its own journal too, which is about half as much again
/// (measured: 215 µs against 150 µs for four pages on ext4).
///
/// SQLite takes zeros at the beginning of the file for an empty log and writes over them. Nothing depends on it: where
/// it cannot be done, the log grows as it is needed.
fn lay_out_log(connection: &Connection, options: &StoreOptions) {
    if options.synchronous != Synchronous::Full {
        return;
    }
    let laid_out = connection
        .wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE)
        .map_err(|error| error.to_string())
        .and_then(|_| write_zeros(options).map_err(|error| error.to_string()));
    if let Err(error) = laid_out {
        debug!(%error, "the write-ahead log grows as it is needed");
    }
}

/// Writes an empty log of the size at which checkpoints begin.
fn write_zeros(options: &StoreOptions) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(options.write_ahead_log())?;
    if file.metadata()?.len() > 0 {
        return Ok(());
    }
    std::io::copy(&mut std::io::repeat(0).take(options.wal_checkpoint_bytes), &mut file)
        .and_then(|_| file.sync_all())
        // What was written stays in nobody's way, but a full disk wants it back.
        .inspect_err(|_| drop(file.set_len(0)))
}

/// Returns the size of a page, in bytes.
pub(crate) fn page_bytes(connection: &Connection) -> Result<u64, Fault> {
    let bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    Ok(u64::try_from(bytes).unwrap_or(4096).max(512))
}

/// Takes the steps that the file has not seen, each in a transaction of its own.
fn migrate(connection: &mut Connection) -> Result<(), Fault> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let seen = usize::try_from(version).unwrap_or_default();
    for (index, step) in MIGRATIONS.iter().enumerate().skip(seen) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
