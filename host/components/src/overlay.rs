//! A tree as it would look after a plan, without writing anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use caelum_core::tree::{Entry, EntryKind, Tree, TreeError, is_root};

use crate::plan::StagedPlan;

/// A base tree with planned edits laid over it, in memory.
///
/// Directories that a plan empties stay, and directories that it needs are there, just like on disk.
pub struct OverlayTree {
    base: Arc<dyn Tree>,
    /// Every path that the plan touches: its new bytes, or nothing when it goes away.
    files: BTreeMap<String, Option<Arc<[u8]>>>,
    /// Directories on the way to new files.
    directories: BTreeSet<String>,
}

impl fmt::Debug for OverlayTree {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OverlayTree")
            .field("files", &self.files.keys())
            .finish_non_exhaustive()
    }
}

impl OverlayTree {
    /// Lays what was staged over the tree that it was staged against.
    pub fn new(base: Arc<dyn Tree>, staged: &StagedPlan) -> Self {
        let mut files = BTreeMap::new();
        let mut directories = BTreeSet::new();
        for file in staged.files() {
            if file.after.is_some() {
                let path = file.path.as_str();
                directories.extend(path.match_indices('/').map(|(end, _)| path[..end].to_owned()));
            }
            let after = file.after.as_ref().map(|image| Arc::clone(&image.bytes));
            files.insert(file.path.clone(), after);
        }
        OverlayTree { base, files, directories }
    }
}

impl Tree for OverlayTree {
    fn entries(&self, path: &str, max: usize) -> Result<Vec<Entry>, TreeError> {
        if let Some(Some(_)) = self.files.get(path) {
            return Err(TreeError::NotADirectory { path: path.to_owned() });
        }
        let prefix = if is_root(path) { String::new() } else { format!("{path}/") };
        // Room for what the plan takes away again.
        let mut merged: BTreeMap<String, Entry> = match self
            .base
            .entries(path, max.saturating_add(self.files.len()))
        {
            Ok(entries) => entries.into_iter().map(|entry| (entry.path.clone(), entry)).collect(),
            Err(TreeError::NotFound { .. }) if self.directories.contains(path) => BTreeMap::new(),
            Err(TreeError::TooManyEntries { path, .. }) => {
                return Err(TreeError::TooManyEntries { path, max });
            }
            Err(error) => return Err(error),
        };
        let is_here = |candidate: &str| {
            candidate
                .strip_prefix(&prefix)
                .is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
        };
        for directory in self.directories.iter().filter(|directory| is_here(directory)) {
            let entry = Entry { path: directory.clone(), kind: EntryKind::Directory, size: 0 };
            merged.insert(directory.clone(), entry);
        }
        for (path, bytes) in self.files.iter().filter(|(path, _)| is_here(path)) {
            match bytes {
                Some(bytes) => {
                    let size = bytes.len() as u64;
                    let entry = Entry { path: path.clone(), kind: EntryKind::File, size };
                    merged.insert(path.clone(), entry);
                }
                None => drop(merged.remove(path)),
            }
        }
        if merged.len() > max {
            return Err(TreeError::TooManyEntries { path: path.to_owned(), max });
        }
        let mut entries: Vec<Entry> = merged.into_values().collect();
        entries.sort();
        Ok(entries)
    }

    fn metadata(&self, path: &str) -> Result<Entry, TreeError> {
        match self.files.get(path) {
            Some(Some(bytes)) => {
                Ok(Entry { path: path.to_owned(), kind: EntryKind::File, size: bytes.len() as u64 })
            }
            Some(None) => Err(TreeError::NotFound { path: path.to_owned() }),
            None if self.directories.contains(path) => {
                Ok(Entry { path: path.to_owned(), kind: EntryKind::Directory, size: 0 })
            }
            None => self.base.metadata(path),
        }
    }

    fn read(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, TreeError> {
        match self.files.get(path) {
            Some(Some(bytes)) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = start.saturating_add(length).min(bytes.len());
                Ok(bytes[start..end].to_vec())
            }
            Some(None) => Err(TreeError::NotFound { path: path.to_owned() }),
            None if self.directories.contains(path) => {
                Err(TreeError::NotAFile { path: path.to_owned() })
            }
            None => self.base.read(path, offset, length),
        }
    }

    fn may_block(&self) -> bool {
        self.base.may_block()
    }
}
