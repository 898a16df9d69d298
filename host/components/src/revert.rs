//! Takes an application back: exact bytes and modes, or nothing at all.

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use caelum_core::id::{ApplicationId, Digest};

use crate::apply::{FileChange, lock_change, ownership_of};
use crate::content::digest_of;
use crate::error::ComponentsError;
use crate::folder::Folder;
use crate::journal::{Change, Operation, Record, Side};
use crate::lock;
use crate::plan::Conflict;
use crate::provenance::{LOCK_PATH, Recorded, read_from};
use crate::recover;
use crate::resolve::Components;
use crate::transaction::{self, carry_out, conflict, present};

/// What was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reverted {
    /// The component's directory.
    pub component: PathBuf,
    /// The files, sorted by path; the component's own record is not among them.
    pub files: Vec<FileChange>,
}

impl Components {
    /// Restores what was there before an application, as long as every file still is what the application made of it.
    ///
    /// Directories that the application made go away when they are empty. The component's own record loses the
    /// application; what other patterns recorded since stays.
    ///
    /// # Errors
    ///
    /// [`ComponentsError::Conflict`] with every file that changed since; nothing is done then.
    /// [`ComponentsError::NoSuchApplication`], [`ComponentsError::AlreadyReverted`], and those of
    /// [`Components::apply`].
    pub fn revert(&self, application: &ApplicationId) -> Result<Reverted, ComponentsError> {
        let journal = &self.0.journal;
        let known = || -> Result<Record, ComponentsError> {
            if journal.is_reverted(application) {
                return Err(ComponentsError::AlreadyReverted(application.clone()));
            }
            let applied = journal.applied(application)?;
            applied.ok_or_else(|| ComponentsError::NoSuchApplication(application.clone()))
        };
        let component = self.0.reopen(&known()?.component)?;
        let _lock = lock::exclusive(&component)?;
        recover::of_component(&self.0, &component)?;
        // Somebody else may have been quicker while this one waited.
        let applied = known()?;

        let mut bytes: HashMap<Digest, Arc<[u8]>> = HashMap::new();
        let mut changes = Vec::new();
        let mut conflicts: Vec<Conflict> = Vec::new();
        for change in applied.changes.iter().filter(|change| change.path != LOCK_PATH) {
            let back = Change {
                path: change.path.clone(),
                ownership: change.ownership,
                before: change.after.clone(),
                after: change.before.clone(),
            };
            let there = present(component.folder(), &back.path)?;
            let found = conflict(&back, &there);
            let is_expected = match (&found.expected, &found.found) {
                (None, crate::plan::Found::Nothing) => true,
                (Some(expected), crate::plan::Found::File(found)) => expected == found,
                _ => false,
            };
            if !is_expected {
                conflicts.push(found);
                continue;
            }
            if let Some(side) = &back.before {
                bytes.insert(side.sha256.clone(), read(component.folder(), &back.path, side)?);
            }
            if let Some(side) = &back.after {
                bytes.insert(side.sha256.clone(), journal.kept(application, &side.sha256)?.into());
            }
            changes.push(back);
        }
        if !conflicts.is_empty() {
            return Err(ComponentsError::Conflict(conflicts));
        }
        let files = changes.iter().map(file_change).collect();
        changes.extend(self.without(&component, &applied, &changes, &mut bytes)?);
        let created_directories = transaction::missing_directories(
            component.folder(),
            changes
                .iter()
                .filter(|change| change.after.is_some())
                .map(|change| change.path.as_str()),
        )?;
        let record = Record {
            operation: Operation::Revert,
            changes,
            created_directories,
            removed_directories: applied.created_directories.iter().rev().cloned().collect(),
            ..applied
        };
        carry_out(journal, component.folder(), &record, &bytes)?;
        Ok(Reverted { component: component.path().to_owned(), files })
    }

    /// Makes the change of the component's own record. When nobody wrote to it since, it gets its exact bytes back.
    fn without(
        &self,
        component: &crate::resolve::Component,
        applied: &Record,
        changes: &[Change],
        bytes: &mut HashMap<Digest, Arc<[u8]>>,
    ) -> Result<Option<Change>, ComponentsError> {
        let own = applied.changes.iter().find(|change| change.path == LOCK_PATH);
        if let Some(own) = own {
            let there = present(component.folder(), LOCK_PATH)?;
            let back = Change {
                path: LOCK_PATH.to_owned(),
                ownership: None,
                before: own.after.clone(),
                after: own.before.clone(),
            };
            let found = conflict(&back, &there);
            if found.expected.as_ref().map(|hash| crate::plan::Found::File(hash.clone()))
                == Some(found.found)
            {
                if let Some(side) = &back.before {
                    bytes.insert(side.sha256.clone(), read(component.folder(), LOCK_PATH, side)?);
                }
                if let Some(side) = &back.after {
                    let kept = self.0.journal.kept(&applied.application_id, &side.sha256)?;
                    bytes.insert(side.sha256.clone(), kept.into());
                }
                return Ok(Some(back));
            }
        }
        let mut provenance = read_from(&*component.tree())
            .map_err(|problem| ComponentsError::Provenance { problem })?;
        let recorded: Vec<Recorded<'_>> = changes
            .iter()
            .map(|change| Recorded {
                path: &change.path,
                ownership: ownership_of(change),
                before: change.before.as_ref().map(|side| &side.sha256),
                after: change.after.as_ref().map(|side| &side.sha256),
            })
            .collect();
        provenance.take_back(&applied.pattern, applied.previous.clone(), &recorded);
        lock_change(component.folder(), &provenance, bytes)
    }
}

fn file_change(change: &Change) -> FileChange {
    let hash = |side: &Option<Side>| side.as_ref().map(|side| side.sha256.clone());
    FileChange {
        path: change.path.clone(),
        before_sha256: hash(&change.before),
        after_sha256: hash(&change.after),
    }
}

/// Reads bytes that were hashed a moment ago.
fn read(folder: &Folder, path: &str, side: &Side) -> Result<Arc<[u8]>, ComponentsError> {
    let failed = |source| ComponentsError::Io { action: "read", path: path.to_owned(), source };
    let (mut file, _) = folder.open(path).map_err(|miss| failed(miss.into_io()))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    if digest_of(&bytes) != side.sha256 {
        return Err(failed(std::io::Error::other("it changed while it was read")));
    }
    Ok(bytes.into())
}
