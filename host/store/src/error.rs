//! Why the store did not do what it was asked: every variant is a decision that the caller can make.

use std::path::{Path, PathBuf};

use caelum_core::clock::Timestamp;
use rusqlite::ErrorCode;
use rusqlite::ffi;

/// What an idempotency key was used for before.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyUse {
    /// The same request: this is what it was answered.
    Same {
        /// The answer, as it was given.
        answer: serde_json::Value,
    },
    /// Another request.
    Different {
        /// Digest of the request that used the key.
        request_digest: String,
        /// When.
        at: Timestamp,
    },
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is nothing of that name.
    #[error("{kind} `{id}` does not exist")]
    NotFound {
        /// What kind of thing, such as `workflow`.
        kind: &'static str,
        /// Its name.
        id: String,
    },
    /// Something of that name exists.
    #[error("{kind} `{id}` exists already")]
    AlreadyExists {
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        id: String,
    },
    /// Somebody else changed it first; nothing was written.
    #[error(
        "{kind} `{id}` was changed by somebody else: expected length {expected}, found {found}"
    )]
    Conflict {
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        id: String,
        /// Events (of an execution) or revisions (of a workflow) that the caller knew of.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// The idempotency key was used before; nothing was written.
    #[error("idempotency key `{key}` of {scope} was used before")]
    KeyUsed {
        /// What the key is for, such as `execute_workflow`.
        scope: String,
        /// The key.
        key: String,
        /// What it was used for.
        used: KeyUse,
    },
    /// The plan was taken before; a plan is applied once.
    #[error("plan `{id}` was used at {used_at}; hint: make a new plan with dry_run")]
    PlanUsed {
        /// The plan.
        id: String,
        /// When it was taken.
        used_at: Timestamp,
    },
    /// One value is larger than values may be; nothing was written.
    #[error("{what} has {bytes} bytes; at most {max} are kept")]
    TooLarge {
        /// Which value.
        what: String,
        /// Its size.
        bytes: u64,
        /// The limit (`StoreOptions::body_bytes_max`).
        max: u64,
    },
    /// The cursor is not one that this list gave.
    #[error(
        "`{cursor}` is not a cursor of this list; hint: pass `next_cursor` of the page before, or none"
    )]
    BadCursor {
        /// The cursor as it came, shortened.
        cursor: String,
    },
    /// What was to be stored does not fit together. A bug of the caller; nothing was written.
    #[error("what was to be stored does not fit together: {what}")]
    Inconsistent {
        /// What does not fit.
        what: String,
    },
    /// The file was written by a newer version.
    #[error(
        "the store {} has schema version {found}; this program knows versions up to {supported}; \
         hint: use the version of the program that wrote it, or a newer one",
        path.display()
    )]
    NewerFile {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that this program knows.
        supported: i64,
    },
    /// The file is a database of another program.
    #[error(
        "{} is a database of another program (application id {found:#x}, expected {expected:#x}); \
         hint: choose another data directory",
        path.display()
    )]
    ForeignFile {
        /// The database file.
        path: PathBuf,
        /// Its application id.
        found: i64,
        /// Ours.
        expected: i64,
    },
    /// The file is damaged.
    #[error(
        "the store {} is damaged: {why}; hint: stop the server and put a backup in its place",
        path.display()
    )]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What SQLite or a reader of a row said.
        why: String,
    },
    /// The disk is full, or the store has reached the size that it may have. Nothing was written.
    #[error(
        "no room left for the store {}; hint: free disk space, or raise the store's size limit; \
         nothing that was acknowledged is lost",
        path.display()
    )]
    Full {
        /// The database file.
        path: PathBuf,
    },
    /// The file or its directory cannot be written.
    #[error(
        "the store {} cannot be written; hint: look at the owner and the permissions of its directory",
        path.display()
    )]
    ReadOnly {
        /// The database file.
        path: PathBuf,
    },
    /// Another process has the data directory.
    #[error(
        "the data directory {} is in use by {}; hint: stop it, or choose another data directory",
        path.display(), owner(*.pid)
    )]
    Busy {
        /// The data directory.
        path: PathBuf,
        /// The process that has it, when it could be read.
        pid: Option<u32>,
    },
    /// The data directory, or a file in it, cannot be made or opened.
    #[error("failed to {doing} {}", path.display())]
    Directory {
        /// What was tried, such as `make the data directory`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A query broke a promise of this crate. A bug of ours; nothing was written.
    #[error("internal failure of the store: {what}")]
    Internal {
        /// What happened.
        what: String,
    },
    /// SQLite failed in a way that has no other name here. Nothing was written.
    #[error("SQLite failed on the store {}", path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: rusqlite::Error,
    },
}

fn owner(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

impl StoreError {
    /// Gives a failure of SQLite the name that callers decide by.
    pub(crate) fn of_sqlite(error: rusqlite::Error, path: &Path) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full { path },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                StoreError::ReadOnly { path }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Corrupt { path, why: error.to_string() }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                let path = path.parent().map_or_else(|| path.clone(), Path::to_owned);
                StoreError::Busy { path, pid: None }
            }
            _ => StoreError::Sqlite { path, source: error },
        }
    }

    /// Returns whether the same request may succeed later without a change to it: the disk was full, the file was
    /// held, the system failed.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            StoreError::Full { .. }
                | StoreError::ReadOnly { .. }
                | StoreError::Busy { .. }
                | StoreError::Sqlite { .. }
        )
    }
}

/// What went wrong inside a query, before the file's path is known.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite said so.
    Sqlite(rusqlite::Error),
    /// A stored value cannot be read.
    Unreadable(String),
    /// This crate said so.
    Store(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Store(error)
    }
}

impl Fault {
    pub(crate) fn into_error(self, path: &Path) -> StoreError {
        match self {
            Fault::Sqlite(error) => StoreError::of_sqlite(error, path),
            Fault::Unreadable(why) => StoreError::Corrupt { path: path.to_owned(), why },
            Fault::Store(error) => error,
        }
    }

    /// Returns a second copy of a failure of SQLite, so that every request of a lost batch hears of it.
    pub(crate) fn again(error: &rusqlite::Error) -> rusqlite::Error {
        let code = error.sqlite_error().map_or(ffi::SQLITE_ERROR, |error| error.extended_code);
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: i32) -> String {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        StoreError::of_sqlite(error, Path::new("/data/caelum.db")).to_string()
    }

    #[test]
    fn failures_of_sqlite_get_names_and_hints() {
        assert_eq!(
            told(ffi::SQLITE_FULL),
            "no room left for the store /data/caelum.db; hint: free disk space, or raise the store's size limit; \
             nothing that was acknowledged is lost"
        );
        assert_eq!(
            told(ffi::SQLITE_READONLY),
            "the store /data/caelum.db cannot be written; hint: look at the owner and the permissions of its directory"
        );
        assert!(told(ffi::SQLITE_CORRUPT).starts_with("the store /data/caelum.db is damaged: "));
        assert_eq!(told(ffi::SQLITE_IOERR), "SQLite failed on the store /data/caelum.db");
    }

    #[test]
    fn a_held_directory_names_its_holder() {
        let error = StoreError::Busy { path: "/data".into(), pid: Some(42) };
        assert_eq!(
            error.to_string(),
            "the data directory /data is in use by process 42; hint: stop it, or choose another data directory"
        );
    }
}
