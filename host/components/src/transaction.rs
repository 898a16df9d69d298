//! Writes a list of changes to a component: all of them or none, over a crash at any point.
//!
//! The order is what makes it safe. First the bytes from before and the record of what will happen are on disk. Then all
//! new bytes are written beside their places and synced, so that a full disk shows before anything is replaced. Then each
//! place is looked at once more and changed by one rename. Then the directories are synced, and the journal commits.
//! Whoever finds a record that was not committed undoes it: a file that has the new bytes gets the old ones back, a file
//! that has the old ones stays, and a file that has neither is somebody else's work and is left alone.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use caelum_core::id::{ApplicationId, Digest};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::content::digest_of;
use crate::error::ComponentsError;
use crate::folder::{Folder, Miss, kind, permissions};
use crate::journal::{Change, Journal, Operation, Record, Side};
use crate::plan::{Conflict, Found};

/// What stands at a path now.
#[derive(Debug)]
pub(crate) enum Present {
    Nothing,
    File { sha256: Digest, stat: Stat },
    Other,
}

impl Present {
    /// Returns whether it is what one side of a change says.
    fn is(&self, side: Option<&Side>) -> bool {
        match (self, side) {
            (Present::Nothing, None) => true,
            (Present::File { sha256, .. }, Some(side)) => *sha256 == side.sha256,
            _ => false,
        }
    }

    pub(crate) fn found(&self) -> Found {
        match self {
            Present::Nothing => Found::Nothing,
            Present::File { sha256, .. } => Found::File(sha256.clone()),
            Present::Other => Found::Other,
        }
    }
}

/// Looks at a path and hashes the file that stands there, without holding it in memory.
pub(crate) fn present(folder: &Folder, path: &str) -> Result<Present, ComponentsError> {
    let (mut file, stat) = match folder.open(path) {
        Ok(opened) => opened,
        Err(Miss::NotFound | Miss::NotADirectory) => return Ok(Present::Nothing),
        Err(Miss::Link(_) | Miss::NotAFile) => return Ok(Present::Other),
        Err(Miss::Io(source)) => return Err(failed("read", path, source)),
    };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(failed("read", path, source)),
        }
    }
    Ok(Present::File { sha256: Digest::from_bytes(&hash.finalize().into()), stat })
}

/// Lists the directories that a file at each of `paths` needs and that are not there, parents first.
pub(crate) fn missing_directories<'a>(
    folder: &Folder,
    paths: impl Iterator<Item = &'a str>,
) -> Result<Vec<String>, ComponentsError> {
    let mut missing = BTreeSet::new();
    for path in paths {
        for (end, _) in path.match_indices('/') {
            let above = &path[..end];
            match folder.look(above) {
                Ok(_) => {}
                Err(Miss::NotFound) => drop(missing.insert(above.to_owned())),
                Err(miss) => return Err(failed("look at", above, miss.into_io())),
            }
        }
    }
    // A parent is a prefix of its children and sorts before them.
    Ok(missing.into_iter().collect())
}

/// Carries a record out. The caller holds the component's write lock.
///
/// On success every file is on disk and the journal has committed.
///
/// # Errors
///
/// [`ComponentsError::Conflict`] when a file changed at the last moment, [`ComponentsError::Io`] and
/// [`ComponentsError::Journal`]: nothing is changed then. [`ComponentsError::HalfDone`] when not even that worked.
pub(crate) fn carry_out(
    journal: &Journal,
    folder: &Folder,
    record: &Record,
    bytes: &HashMap<Digest, Arc<[u8]>>,
) -> Result<(), ComponentsError> {
    let id = &record.application_id;
    let of = |side: &Side| bytes.get(&side.sha256).expect("the caller gives every side's bytes");
    let mut befores = record.changes.iter().filter_map(|change| change.before.as_ref());
    let begun = befores
        .try_for_each(|side| journal.keep(id, &side.sha256, of(side)))
        .and_then(|()| journal.begin(record));
    if let Err(error) = begun {
        if record.operation == Operation::Apply {
            journal.drop_blobs(id);
        }
        return Err(error);
    }
    let writing = Writing { journal, folder, record };
    let done = writing.write(&of).and_then(|()| journal.commit(record));
    let Err(error) = done else {
        return Ok(());
    };
    match undo(journal, folder, record) {
        Ok(_) => Err(error),
        Err(rollback) => Err(ComponentsError::HalfDone {
            application: id.clone(),
            rollback: rollback.to_string(),
            source: Box::new(error),
        }),
    }
}

/// Takes back what a record did, as far as it did it, and closes the record. The caller holds the write lock. Returns
/// the paths that hold neither the old nor the new bytes and were left alone.
pub(crate) fn undo(
    journal: &Journal,
    folder: &Folder,
    record: &Record,
) -> Result<Vec<String>, ComponentsError> {
    let writing = Writing { journal, folder, record };
    let left = writing.undo()?;
    journal.undone(record, left.is_empty())?;
    Ok(left)
}

struct Writing<'a> {
    journal: &'a Journal,
    folder: &'a Folder,
    record: &'a Record,
}

impl Writing<'_> {
    fn step(&self, what: &str, path: &str) -> Result<(), ComponentsError> {
        self.journal.step(&format!("{what} {path}")).map_err(|source| failed("write", path, source))
    }

    fn write<'b>(&self, of: &impl Fn(&Side) -> &'b Arc<[u8]>) -> Result<(), ComponentsError> {
        for path in &self.record.created_directories {
            self.make_directory(path)?;
        }
        for (index, change) in self.record.changes.iter().enumerate() {
            if let Some(after) = &change.after {
                self.step("prepare", &change.path)?;
                self.prepare(index, &change.path, after, of(after))?;
            }
        }
        for (index, change) in self.record.changes.iter().enumerate() {
            self.step("look at", &change.path)?;
            let there = present(self.folder, &change.path)?;
            if !there.is(change.before.as_ref()) {
                return Err(ComponentsError::Conflict(vec![conflict(change, &there)]));
            }
            self.step("change", &change.path)?;
            self.swap(index, change, &there)?;
        }
        self.sync()?;
        self.remove_directories(&self.record.removed_directories);
        Ok(())
    }

    fn undo(&self) -> Result<Vec<String>, ComponentsError> {
        let mut left = Vec::new();
        for (index, change) in self.record.changes.iter().enumerate() {
            self.step("undo", &change.path)?;
            let there = present(self.folder, &change.path)?;
            if there.is(change.before.as_ref()) {
                continue;
            }
            if !there.is(change.after.as_ref()) {
                left.push(change.path.clone());
                continue;
            }
            let back = Change {
                path: change.path.clone(),
                ownership: change.ownership,
                before: change.after.clone(),
                after: change.before.clone(),
            };
            if let Some(side) = &back.after {
                let bytes = self.journal.kept(&self.record.application_id, &side.sha256)?;
                if digest_of(&bytes) != side.sha256 {
                    let source = io::Error::other("the kept bytes are damaged");
                    return Err(failed("restore", &change.path, source));
                }
                for (end, _) in change.path.match_indices('/') {
                    self.make_directory(&change.path[..end])?;
                }
                self.prepare(index, &change.path, side, &bytes)?;
            }
            self.swap(index, &back, &there)?;
        }
        for (index, change) in self.record.changes.iter().enumerate() {
            self.remove_temporary(index, &change.path)?;
        }
        self.sync()?;
        let created: Vec<String> = self.record.created_directories.iter().rev().cloned().collect();
        self.remove_directories(&created);
        Ok(left)
    }

    fn make_directory(&self, path: &str) -> Result<(), ComponentsError> {
        self.step("make the directory", path)?;
        let (parent, name) =
            self.folder.parent(path).map_err(|miss| failed("create", path, miss.into_io()))?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o777)) {
            Ok(()) => parent.sync().map_err(|source| failed("create", path, source)),
            Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(failed("create", path, error.into())),
        }
    }

    /// Writes new bytes beside their place and syncs them.
    fn prepare(
        &self,
        index: usize,
        path: &str,
        side: &Side,
        bytes: &[u8],
    ) -> Result<(), ComponentsError> {
        let failed = |source: io::Error| failed("write", path, source);
        let (parent, _) = self.folder.parent(path).map_err(|miss| failed(miss.into_io()))?;
        let name = temporary(&self.record.application_id, index);
        let mode = Mode::from_raw_mode(if bytes.starts_with(b"#!") { 0o777 } else { 0o666 });
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match rustix::fs::openat(&parent, name.as_str(), flags, mode) {
            // Left by an earlier try of this very record; nobody else uses the name.
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&parent, name.as_str(), AtFlags::empty())
                    .map_err(|error| failed(error.into()))?;
                rustix::fs::openat(&parent, name.as_str(), flags, mode)
            }
            other => other,
        };
        let mut file = File::from(opened.map_err(|error| failed(error.into()))?);
        if let Ok((_, there)) = self.folder.open(path) {
            keep_owner(&file, &there);
        }
        file.write_all(bytes).map_err(failed)?;
        if let Some(mode) = side.mode {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
                .map_err(|error| failed(error.into()))?;
        }
        file.sync_all().map_err(failed)
    }

    /// Changes one place by one step of the file system: a rename or an unlink.
    fn swap(&self, index: usize, change: &Change, there: &Present) -> Result<(), ComponentsError> {
        let path = change.path.as_str();
        let failed = |error: Errno| failed("replace", path, error.into());
        let (parent, name) = match self.folder.parent(path) {
            Ok(found) => found,
            // Nothing to remove where there is not even a directory.
            Err(Miss::NotFound) if change.after.is_none() => return Ok(()),
            Err(miss) => return Err(self::failed("replace", path, miss.into_io())),
        };
        if change.after.is_none() {
            return rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(failed);
        }
        let new = temporary(&self.record.application_id, index);
        if change.before.is_some() {
            return rustix::fs::renameat(&parent, new.as_str(), &parent, name).map_err(failed);
        }
        let only_if_free = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&parent, new.as_str(), &parent, name, only_if_free) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(ComponentsError::Conflict(vec![conflict(change, there)])),
            // Not every file system knows the flag. It was looked at a moment ago.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::renameat(&parent, new.as_str(), &parent, name).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn remove_temporary(&self, index: usize, path: &str) -> Result<(), ComponentsError> {
        let Ok((parent, _)) = self.folder.parent(path) else {
            return Ok(());
        };
        let name = temporary(&self.record.application_id, index);
        match rustix::fs::unlinkat(&parent, name.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("clean up beside", path, error.into())),
        }
    }

    /// Syncs every directory in which a name changed.
    fn sync(&self) -> Result<(), ComponentsError> {
        let above = |path: &'_ str| path.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
        let folders: BTreeSet<String> =
            self.record.changes.iter().map(|change| above(&change.path)).collect();
        for path in folders {
            self.step("sync", &path)?;
            match self.folder.folder(&path) {
                Ok(folder) => folder.sync().map_err(|source| failed("sync", &path, source))?,
                Err(Miss::NotFound | Miss::NotADirectory) => {}
                Err(miss) => return Err(failed("sync", &path, miss.into_io())),
            }
        }
        Ok(())
    }

    /// Removes directories that are empty. One that is not has become somebody's and stays.
    fn remove_directories(&self, paths: &[String]) {
        for path in paths {
            let removed =
                self.folder.parent(path).map_err(Miss::into_io).and_then(|(parent, name)| {
                    rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?;
                    parent.sync()
                });
            if let Err(error) = removed {
                tracing::debug!(path, %error, "a directory stays");
            }
        }
    }
}

/// Names the conflict between what a change expects and what is there.
pub(crate) fn conflict(change: &Change, there: &Present) -> Conflict {
    Conflict {
        path: change.path.clone(),
        expected: change.before.as_ref().map(|side| side.sha256.clone()),
        found: there.found(),
    }
}

/// Returns the mode bits of a file that is there.
pub(crate) fn mode_of(stat: &Stat) -> u32 {
    permissions(stat)
}

/// Name of the file in which a change's new bytes wait, beside the file that they are for.
fn temporary(id: &ApplicationId, index: usize) -> String {
    format!(".caelum-{}-{index}.tmp", digest_of(id.as_str().as_bytes()).short())
}

/// Gives a new file the owner of the one that it replaces, where the system lets us.
fn keep_owner(file: &File, there: &Stat) {
    debug_assert_eq!(kind(there), FileType::RegularFile, "only files are replaced");
    let Ok(own) = rustix::fs::fstat(file) else {
        return;
    };
    if (own.st_uid, own.st_gid) != (there.st_uid, there.st_gid) {
        let owner = rustix::fs::Uid::from_raw(there.st_uid);
        let group = rustix::fs::Gid::from_raw(there.st_gid);
        if let Err(error) = rustix::fs::fchown(file, Some(owner), Some(group)) {
            tracing::debug!(%error, "a replaced file gets a new owner");
        }
    }
}

fn failed(action: &'static str, path: &str, source: io::Error) -> ComponentsError {
    ComponentsError::Io { action, path: path.to_owned(), source }
}
