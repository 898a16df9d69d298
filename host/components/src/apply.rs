//! Applies a staged plan: the files, and the record that stays in the component, in one step that happens or does not.

use std::collections::HashMap;
use std::sync::Arc;

use caelum_core::id::{ApplicationId, Digest};
use caelum_core::pattern::Ownership;

use crate::content::digest_of;
use crate::error::ComponentsError;
use crate::folder::Folder;
use crate::journal::{self, Change, Operation, Record, Side};
use crate::lock;
use crate::plan::{Conflict, Image, StagedFile, StagedPlan};
use crate::provenance::{LOCK_PATH, Provenance, Recorded, Source, read_from};
use crate::recover;
use crate::resolve::{Component, Components};
use crate::transaction::{self, Present, carry_out, conflict, mode_of, present};

/// One file that changed on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Where, relative to the component.
    pub path: String,
    /// What it hashed to before; nothing when it was new.
    pub before_sha256: Option<Digest>,
    /// What it hashes to now; nothing when it is gone.
    pub after_sha256: Option<Digest>,
}

/// What was applied. The component's own record is not among the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The files, sorted by path.
    pub files: Vec<FileChange>,
}

impl Components {
    /// Writes a staged plan to a component, all or nothing, and records it under `application`.
    ///
    /// Hashes are compared again right before each file is replaced. When this returns, everything is on disk, and
    /// [`Components::revert`] can take it back. A plan that changes nothing writes nothing, its record included, and
    /// cannot be reverted.
    ///
    /// # Errors
    ///
    /// [`ComponentsError::Conflict`] with every file that is not what the plan was staged against,
    /// [`ComponentsError::AlreadyApplied`], [`ComponentsError::Busy`], [`ComponentsError::Provenance`],
    /// [`ComponentsError::Io`] and [`ComponentsError::Journal`]: nothing has changed then.
    /// [`ComponentsError::HalfDone`] when something failed and not even putting back worked.
    pub fn apply(
        &self,
        component: &Component,
        application: &ApplicationId,
        source: &Source,
        staged: &StagedPlan,
    ) -> Result<Applied, ComponentsError> {
        if staged.is_empty() {
            return Ok(Applied { files: Vec::new() });
        }
        let _lock = lock::exclusive(component)?;
        let journal = &self.0.journal;
        recover::of_component(&self.0, component)?;
        if journal.is_applied(application) || journal.is_reverted(application) {
            return Err(ComponentsError::AlreadyApplied(application.clone()));
        }
        let mut bytes: HashMap<Digest, Arc<[u8]>> = HashMap::new();
        let mut changes = changes_of(component.folder(), staged.files(), &mut bytes)?;
        let (lock_change, previous) = recorded(component, source, staged.files(), &mut bytes)?;
        changes.extend(lock_change);
        let created_directories = transaction::missing_directories(
            component.folder(),
            changes
                .iter()
                .filter(|change| change.after.is_some())
                .map(|change| change.path.as_str()),
        )?;
        let record = Record {
            version: journal::VERSION,
            application_id: application.clone(),
            operation: Operation::Apply,
            component: component.path().to_owned(),
            pattern: source.pattern.clone(),
            previous,
            changes,
            created_directories,
            removed_directories: Vec::new(),
        };
        carry_out(journal, component.folder(), &record, &bytes)?;
        Ok(Applied { files: staged.files().iter().map(file_change).collect() })
    }

    /// Returns whether an application is on disk and was not taken back.
    pub fn is_applied(&self, application: &ApplicationId) -> bool {
        self.0.journal.is_applied(application)
    }

    /// Forgets an application and the bytes from before it. It cannot be reverted any more.
    ///
    /// # Errors
    ///
    /// [`ComponentsError::Journal`].
    pub fn forget(&self, application: &ApplicationId) -> Result<(), ComponentsError> {
        self.0.journal.forget(application)
    }
}

fn file_change(file: &StagedFile) -> FileChange {
    let hash = |image: &Option<Image>| image.as_ref().map(|image| image.sha256.clone());
    FileChange {
        path: file.path.clone(),
        before_sha256: hash(&file.before),
        after_sha256: hash(&file.after),
    }
}

/// Compares every file with what the plan was staged against, and takes its mode.
fn changes_of(
    folder: &Folder,
    files: &[StagedFile],
    bytes: &mut HashMap<Digest, Arc<[u8]>>,
) -> Result<Vec<Change>, ComponentsError> {
    let mut conflicts: Vec<Conflict> = Vec::new();
    let mut changes: Vec<Change> = Vec::new();
    let mut modes: HashMap<&str, u32> = HashMap::new();
    for file in files {
        for image in [&file.before, &file.after].into_iter().flatten() {
            bytes.insert(image.sha256.clone(), Arc::clone(&image.bytes));
        }
        let there = present(folder, &file.path)?;
        let mode = match &there {
            Present::File { stat, .. } => Some(mode_of(stat)),
            _ => None,
        };
        if let Some(mode) = mode {
            modes.insert(&file.path, mode);
        }
        let side = |image: &Image| Side { sha256: image.sha256.clone(), mode };
        let change = Change {
            path: file.path.clone(),
            ownership: Some(file.ownership),
            before: file.before.as_ref().map(side),
            after: file.after.as_ref().map(side),
        };
        let expected = change.before.as_ref().map(|side| &side.sha256);
        let is_expected = match (&there, expected) {
            (Present::Nothing, None) => true,
            (Present::File { sha256, .. }, Some(expected)) => sha256 == expected,
            _ => false,
        };
        if !is_expected {
            conflicts.push(conflict(&change, &there));
        }
        changes.push(change);
    }
    if !conflicts.is_empty() {
        return Err(ComponentsError::Conflict(conflicts));
    }
    // A file that moves keeps its mode.
    for (change, file) in changes.iter_mut().zip(files) {
        let source = file.renamed_from.as_deref().and_then(|source| modes.get(source));
        if let (Some(after), Some(mode)) = (&mut change.after, source) {
            after.mode = Some(*mode);
        }
    }
    Ok(changes)
}

/// Makes the change of the component's own record, and returns what it said of the pattern before.
fn recorded(
    component: &Component,
    source: &Source,
    files: &[StagedFile],
    bytes: &mut HashMap<Digest, Arc<[u8]>>,
) -> Result<(Option<Change>, Option<crate::provenance::PatternRecord>), ComponentsError> {
    let mut provenance =
        read_from(&*component.tree()).map_err(|problem| ComponentsError::Provenance { problem })?;
    let previous = provenance.pattern(source.pattern.as_str()).cloned();
    let changes: Vec<Recorded<'_>> = files
        .iter()
        .map(|file| Recorded {
            path: &file.path,
            ownership: file.ownership,
            before: file.before.as_ref().map(|image| &image.sha256),
            after: file.after.as_ref().map(|image| &image.sha256),
        })
        .collect();
    provenance.record(source, &changes);
    let change = lock_change(component.folder(), &provenance, bytes)?;
    Ok((change, previous))
}

/// Makes the change that leads from the record on disk to `provenance`; nothing when they are the same.
pub(crate) fn lock_change(
    folder: &Folder,
    provenance: &Provenance,
    bytes: &mut HashMap<Digest, Arc<[u8]>>,
) -> Result<Option<Change>, ComponentsError> {
    let (before, mode) = match folder.open(LOCK_PATH) {
        Ok((mut file, stat)) => {
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut text).map_err(unreadable)?;
            (Some(text), Some(mode_of(&stat)))
        }
        Err(crate::folder::Miss::NotFound) => (None, None),
        Err(miss) => return Err(unreadable(miss.into_io())),
    };
    let after = (!provenance.is_empty()).then(|| provenance.render().into_bytes());
    if before == after {
        return Ok(None);
    }
    let mut side = |text: Vec<u8>| {
        let sha256 = digest_of(&text);
        bytes.insert(sha256.clone(), text.into());
        Side { sha256, mode }
    };
    Ok(Some(Change {
        path: LOCK_PATH.to_owned(),
        ownership: None,
        before: before.map(&mut side),
        after: after.map(&mut side),
    }))
}

fn unreadable(source: std::io::Error) -> ComponentsError {
    ComponentsError::Io { action: "read", path: LOCK_PATH.to_owned(), source }
}

/// Returns who owns a changed file; the component's own record is the host's and counts as managed.
pub(crate) fn ownership_of(change: &Change) -> Ownership {
    change.ownership.unwrap_or(Ownership::Managed)
}
