//! The journal in the data directory: what is being written to components, what was, and the bytes that were there
//! before.
//!
//! ```text
//! journal/<application id>.json            applied
//! journal/open/<application id>.json       under way: undone at the next start
//! journal/reverted/<application id>.json   taken back
//! journal/undone/<application id>.json     broke off, and could not be undone for every file
//! journal/blobs/<application id>/<sha256>  bytes before the change
//! ```
//!
//! A record is complete on disk before it gets its name, and moving it from `open` to where it belongs is the moment at
//! which a change counts: before it, a crash leads back, after it, the change stays.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use caelum_core::id::{ApplicationId, Digest, PluginName};
use caelum_core::pattern::Ownership;
use serde::{Deserialize, Serialize};

use crate::error::ComponentsError;
use crate::provenance::PatternRecord;

/// The version of the records that this code reads and writes.
pub(crate) const VERSION: u32 = 1;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Operation {
    Apply,
    Revert,
}

/// One side of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Side {
    pub(crate) sha256: Digest,
    /// Mode bits; nothing means those of a new file.
    pub(crate) mode: Option<u32>,
}

/// What happens to one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) path: String,
    /// Nothing for the host's own record in the component.
    pub(crate) ownership: Option<Ownership>,
    pub(crate) before: Option<Side>,
    pub(crate) after: Option<Side>,
}

/// Everything about one change of a component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) application_id: ApplicationId,
    pub(crate) operation: Operation,
    /// Canonical path of the component.
    pub(crate) component: PathBuf,
    pub(crate) pattern: PluginName,
    /// What the component's record said of the pattern before.
    pub(crate) previous: Option<PatternRecord>,
    pub(crate) changes: Vec<Change>,
    /// Directories to make, parents first.
    pub(crate) created_directories: Vec<String>,
    /// Directories to remove afterwards where they are empty, children first.
    pub(crate) removed_directories: Vec<String>,
}

/// Called before every step that changes something on disk; a test counts, fails or breaks off there.
type Hook = Box<dyn Fn(&str) -> io::Result<()> + Send + Sync>;

/// The journal of one data directory.
pub(crate) struct Journal {
    folder: PathBuf,
    hook: OnceLock<Hook>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Journal").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal, making it where it is missing.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, ComponentsError> {
        let folder = data_dir.join("journal");
        for below in ["open", "reverted", "undone", "blobs"] {
            let path = folder.join(below);
            fs::create_dir_all(&path).map_err(|source| failed("write", &path, source))?;
        }
        Ok(Journal { folder, hook: OnceLock::new() })
    }

    /// Returns where it lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Announces a step. Fails only in tests.
    pub(crate) fn step(&self, step: &str) -> io::Result<()> {
        self.hook.get().map_or(Ok(()), |hook| hook(step))
    }

    /// Lets a test see every step.
    #[cfg(test)]
    pub(crate) fn watch(&self, hook: impl Fn(&str) -> io::Result<()> + Send + Sync + 'static) {
        assert!(self.hook.set(Box::new(hook)).is_ok(), "one watcher for one journal");
    }

    /// Lists the ids of what is under way.
    pub(crate) fn open_ids(&self) -> Result<Vec<String>, ComponentsError> {
        let folder = self.folder.join("open");
        let entries = fs::read_dir(&folder).map_err(|source| failed("read", &folder, source))?;
        let mut ids: Vec<String> = entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name();
                Some(name.to_str()?.strip_suffix(".json")?.to_owned())
            })
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// Reads what is under way.
    pub(crate) fn read_open(&self, id: &str) -> Result<Record, ComponentsError> {
        read(&self.folder.join("open").join(format!("{id}.json")))
    }

    /// Reads what was applied; nothing when there is no such application.
    pub(crate) fn applied(&self, id: &ApplicationId) -> Result<Option<Record>, ComponentsError> {
        match read(&self.applied_path(id)) {
            Err(ComponentsError::Journal { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    pub(crate) fn is_applied(&self, id: &ApplicationId) -> bool {
        self.applied_path(id).exists()
    }

    pub(crate) fn is_reverted(&self, id: &ApplicationId) -> bool {
        self.path("reverted", id).exists()
    }

    /// Keeps bytes for as long as the application is known. They are on disk when this returns, their names are once
    /// [`Journal::begin`] has returned.
    pub(crate) fn keep(
        &self,
        id: &ApplicationId,
        sha256: &Digest,
        bytes: &[u8],
    ) -> Result<(), ComponentsError> {
        let folder = self.folder.join("blobs").join(id.as_str());
        let path = folder.join(sha256.as_str());
        let written = self
            .step("keep a before-image")
            .and_then(|()| fs::create_dir_all(&folder))
            .and_then(|()| write(&path, bytes));
        written.map_err(|source| failed("write", &path, source))
    }

    /// Returns bytes that were kept.
    pub(crate) fn kept(
        &self,
        id: &ApplicationId,
        sha256: &Digest,
    ) -> Result<Vec<u8>, ComponentsError> {
        let path = self.folder.join("blobs").join(id.as_str()).join(sha256.as_str());
        fs::read(&path).map_err(|source| failed("read", &path, source))
    }

    /// Writes down what is about to happen. On disk when this returns.
    pub(crate) fn begin(&self, record: &Record) -> Result<(), ComponentsError> {
        let path = self.path("open", &record.application_id);
        let text = serde_json::to_vec_pretty(record).expect("a record is JSON");
        let blobs = self.folder.join("blobs");
        let begun = self
            .step("begin")
            .and_then(|()| sync(&blobs))
            .and_then(|()| sync_if_there(&blobs.join(record.application_id.as_str())))
            .and_then(|()| write(&path, &text));
        begun.map_err(|source| failed("write", &path, source))
    }

    /// Makes what happened count. On disk when this returns.
    pub(crate) fn commit(&self, record: &Record) -> Result<(), ComponentsError> {
        let id = &record.application_id;
        let (open, applied) = (self.path("open", id), self.applied_path(id));
        let to = match record.operation {
            Operation::Apply => applied.clone(),
            Operation::Revert => self.path("reverted", id),
        };
        let moved = self.step("commit").and_then(|()| fs::rename(&open, &to)).and_then(|()| {
            sync(to.parent().unwrap_or(&self.folder))
                .and_then(|()| sync(&self.folder.join("open")))
                // Not known to be on disk: back to what is undone.
                .inspect_err(|_| drop(fs::rename(&to, &open)))
        });
        moved.map_err(|source| failed("write", &to, source))?;
        if record.operation == Operation::Revert {
            // What is reverted is known from its own folder; should this fail, the record is only one too many.
            let removed =
                self.step("forget the application").and_then(|()| fs::remove_file(&applied));
            if let Err(error) = removed {
                tracing::warn!(application = %id, %error, "the journal keeps a reverted application");
            }
        }
        Ok(())
    }

    /// Forgets what was under way and is undone.
    pub(crate) fn undone(&self, record: &Record, whole: bool) -> Result<(), ComponentsError> {
        let id = &record.application_id;
        let open = self.path("open", id);
        let step = self.step("close what was undone");
        let closed = match whole {
            true => step.and_then(|()| fs::remove_file(&open)),
            false => step.and_then(|()| fs::rename(&open, self.path("undone", id))),
        };
        closed
            .and_then(|()| sync(&self.folder.join("open")))
            .map_err(|source| failed("write", &open, source))?;
        if whole && record.operation == Operation::Apply {
            self.drop_blobs(id);
        }
        Ok(())
    }

    /// Forgets an application and the bytes from before it.
    pub(crate) fn forget(&self, id: &ApplicationId) -> Result<(), ComponentsError> {
        for path in [self.applied_path(id), self.path("reverted", id), self.path("undone", id)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("write", &path, error));
                }
                _ => {}
            }
        }
        self.drop_blobs(id);
        Ok(())
    }

    /// Forgets the bytes from before an application.
    pub(crate) fn drop_blobs(&self, id: &ApplicationId) {
        let folder = self.folder.join("blobs").join(id.as_str());
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(application = %id, %error, "before-images stay on disk");
            }
            _ => {}
        }
    }

    fn applied_path(&self, id: &ApplicationId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn path(&self, below: &str, id: &ApplicationId) -> PathBuf {
        self.folder.join(below).join(format!("{id}.json"))
    }
}

fn read(path: &Path) -> Result<Record, ComponentsError> {
    let bytes = fs::read(path).map_err(|source| failed("read", path, source))?;
    let record: Record =
        serde_json::from_slice(&bytes).map_err(|error| failed("read", path, error.into()))?;
    if record.version != VERSION {
        let problem = format!("it has version {}; this server knows {VERSION}", record.version);
        return Err(failed("read", path, io::Error::other(problem)));
    }
    Ok(record)
}

/// Writes a file whole: its bytes are on disk before it gets its name.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn sync_if_there(folder: &Path) -> io::Result<()> {
    match sync(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> ComponentsError {
    ComponentsError::Journal { action, path: path.to_owned(), source }
}
