//! A copy of the whole store while it is in use.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::error::Fault;
use crate::{Store, StoreError};

/// Every page in one step: the copy is of one moment, whatever is written meanwhile.
const ALL_PAGES: i32 = -1;

impl Store {
    /// Copies the store to the file `to`, as it stands at one moment; others go on reading and writing meanwhile.
    ///
    /// The copy is checked and on disk, under its name, when this returns; before that the name does not exist. To
    /// restore it, put it in an empty data directory as `caelum.db`.
    ///
    /// # Errors
    ///
    /// [`StoreError::AlreadyExists`] when there is such a file; [`StoreError::Directory`] when it cannot be written;
    /// [`StoreError::Corrupt`] when the copy is damaged, because the store is.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let to = to.to_owned();
        if to.exists() {
            return Err(StoreError::AlreadyExists { kind: "file", id: to.display().to_string() });
        }
        self.read(move |connection| {
            let partial = partial(&to);
            let copied = copy(connection, &partial).and_then(|()| publish(&partial, &to));
            if copied.is_err() {
                // Nobody needs half a copy; that it may not be removable changes nothing about the failure.
                let _ = std::fs::remove_file(&partial);
            }
            copied
        })
        .await
    }
}

/// Names the file that the copy is while it is made: another for each, so that two backups at once do not meet.
fn partial(to: &Path) -> PathBuf {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let mut name = to.file_name().unwrap_or_default().to_owned();
    let count = MADE.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{count}.partial", std::process::id()));
    to.with_file_name(name)
}

fn copy(from: &Connection, partial: &Path) -> Result<(), Fault> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    crate::lock::private(&mut options);
    options.open(partial).map_err(|source| failed("make", partial, source))?;
    let at_copy = |error: rusqlite::Error| Fault::Store(StoreError::of_sqlite(error, partial));
    let mut copy = Connection::open_with_flags(
        partial,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(at_copy)?;
    let step =
        Backup::new(from, &mut copy).and_then(|backup| backup.step(ALL_PAGES)).map_err(at_copy)?;
    if step != StepResult::Done {
        return Err(Fault::Store(StoreError::Busy { path: partial.to_owned(), pid: None }));
    }
    // One file without a log beside it.
    copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())).map_err(at_copy)?;
    let checked: String =
        copy.pragma_query_value(None, "integrity_check", |row| row.get(0)).map_err(at_copy)?;
    if checked != "ok" {
        let path = partial.to_owned();
        return Err(Fault::Store(StoreError::Corrupt { path, why: checked }));
    }
    Ok(())
}

/// Makes the copy durable and gives it its name.
fn publish(partial: &Path, to: &Path) -> Result<(), Fault> {
    File::open(partial)
        .and_then(|file| file.sync_all())
        .map_err(|source| failed("write", partial, source))?;
    name(partial, to)?;
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))
        .and_then(|directory| directory.sync_all())
        .map_err(|source| failed("write the directory of", to, source))
}

/// Gives the copy its name, unless something has come to be there meanwhile.
fn name(partial: &Path, to: &Path) -> Result<(), Fault> {
    match std::fs::hard_link(partial, to) {
        // A second name for one file: the first one goes, and that it may not is no failure of the copy.
        Ok(()) => drop(std::fs::remove_file(partial)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let id = to.display().to_string();
            return Err(Fault::Store(StoreError::AlreadyExists { kind: "file", id }));
        }
        // Not every file system has second names.
        Err(_) => {
            std::fs::rename(partial, to).map_err(|source| failed("rename", partial, source))?;
        }
    }
    Ok(())
}

fn failed(doing: &'static str, path: &Path, source: std::io::Error) -> Fault {
    Fault::Store(StoreError::Directory { doing, path: path.to_owned(), source })
}
