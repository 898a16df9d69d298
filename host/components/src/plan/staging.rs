//! Works out, edit by edit, what a plan makes of each file. The paths of the plan were checked before.

use std::collections::BTreeMap;

use caelum_core::id::Digest;
use caelum_core::pattern::{Change, Edit, Ownership, PlanProblem, Replacement};
use caelum_core::tree::{EntryKind, Tree, TreeError};

use super::{Conflict, Found, Image, StageLimits, StageProblems, StagedFile};
use crate::content::digest_of;
use crate::provenance::{self, LOCK_PATH, Provenance};

/// A plan while it is checked, edit by edit.
pub(super) struct Staging<'a> {
    tree: &'a dyn Tree,
    limits: &'a StageLimits,
    problems: StageProblems,
    files: BTreeMap<String, StagedFile>,
    before_bytes: u64,
    provenance: Provenance,
}

impl<'a> Staging<'a> {
    pub(super) fn new(tree: &'a dyn Tree, limits: &'a StageLimits) -> Self {
        let mut problems = StageProblems::default();
        let provenance = provenance::read_from(tree).unwrap_or_else(|message| {
            problems.faults.push(PlanProblem { edit: None, message });
            Provenance::default()
        });
        Staging { tree, limits, problems, files: BTreeMap::new(), before_bytes: 0, provenance }
    }

    /// Works out every file that the edits touch, or everything that is wrong with them.
    pub(super) fn stage(
        mut self,
        edits: &[Edit],
    ) -> Result<BTreeMap<String, StagedFile>, StageProblems> {
        for (index, edit) in edits.iter().enumerate() {
            self.edit(index, edit);
        }
        if self.problems == StageProblems::default() { Ok(self.files) } else { Err(self.problems) }
    }

    fn edit(&mut self, index: usize, edit: &Edit) {
        let creates = matches!(edit.change, Change::Create { .. });
        for path in edit.change.paths() {
            if path == LOCK_PATH {
                self.fault(index, format!("`{LOCK_PATH}` is written by the host alone"));
                return;
            }
            if self.provenance.is_seed(path) && !creates {
                self.fault(
                    index,
                    format!("`{path}` was seeded: it is the user's and no plan may touch it"),
                );
                return;
            }
        }
        if edit.ownership == Ownership::Seed && !creates {
            let path = edit.change.paths()[0];
            self.fault(index, format!("`{path}`: an edit owned as `seed` may only create a file"));
            return;
        }
        let ownership = edit.ownership;
        match &edit.change {
            Change::Create { path, content } => {
                if self.is_free(index, path) && self.fits(index, path, content.len() as u64) {
                    self.put(path, ownership, None, Some(Image::new(content.clone())), None);
                }
            }
            Change::Replace { path, base_sha256, ranges } => {
                let Some(before) = self.base(index, path, base_sha256) else {
                    return;
                };
                match replaced(path, &before.bytes, ranges) {
                    Ok(after) => {
                        if self.fits(index, path, after.len() as u64) {
                            self.put(path, ownership, Some(before), Some(Image::new(after)), None);
                        }
                    }
                    Err(messages) => {
                        messages.into_iter().for_each(|message| self.fault(index, message));
                    }
                }
            }
            Change::Delete { path, base_sha256 } => {
                if let Some(before) = self.base(index, path, base_sha256) {
                    self.put(path, ownership, Some(before), None, None);
                }
            }
            Change::Rename { source, destination, base_sha256 } => {
                let before = self.base(index, source, base_sha256);
                if let (Some(image), true) = (before, self.is_free(index, destination)) {
                    let from = Some(source.clone());
                    self.put(source, ownership, Some(image.clone()), None, None);
                    self.put(destination, ownership, None, Some(image), from);
                }
            }
        }
    }

    fn put(
        &mut self,
        path: &str,
        ownership: Ownership,
        before: Option<Image>,
        after: Option<Image>,
        renamed_from: Option<String>,
    ) {
        let path = path.to_owned();
        let file = StagedFile { path: path.clone(), ownership, before, after, renamed_from };
        self.files.insert(path, file);
    }

    fn fault(&mut self, index: usize, message: String) {
        self.problems.faults.push(PlanProblem { edit: Some(index), message });
    }

    fn fits(&mut self, index: usize, path: &str, bytes: u64) -> bool {
        let max = self.limits.file_bytes_max;
        if bytes > max {
            self.fault(
                index,
                format!("`{path}` would have {bytes} bytes; at most {max} are allowed"),
            );
        }
        bytes <= max
    }

    /// Checks that nothing stands at a path and that directories can be made on its way.
    fn is_free(&mut self, index: usize, path: &str) -> bool {
        for (end, _) in path.match_indices('/') {
            let above = &path[..end];
            match self.tree.metadata(above) {
                Ok(entry) if entry.kind == EntryKind::Directory => {}
                Ok(_) => {
                    self.fault(
                        index,
                        format!("`{above}` on the way to `{path}` is not a directory"),
                    );
                    return false;
                }
                Err(TreeError::NotFound { .. }) => break,
                Err(error) => {
                    self.fault(index, error.to_string());
                    return false;
                }
            }
        }
        match self.tree.metadata(path) {
            Err(TreeError::NotFound { .. }) => true,
            Ok(entry) => {
                let found = match entry.kind {
                    EntryKind::File => match self.whole(path, entry.size) {
                        Ok(bytes) => Found::File(digest_of(&bytes)),
                        Err(_) => Found::Other,
                    },
                    _ => Found::Other,
                };
                self.problems.conflicts.push(Conflict {
                    path: path.to_owned(),
                    expected: None,
                    found,
                });
                false
            }
            Err(error) => {
                self.fault(index, error.to_string());
                false
            }
        }
    }

    /// Reads a file that should have a hash.
    fn base(&mut self, index: usize, path: &str, expected: &Digest) -> Option<Image> {
        let conflict =
            |found| Conflict { path: path.to_owned(), expected: Some(expected.clone()), found };
        let size = match self.tree.metadata(path) {
            Ok(entry) if entry.kind == EntryKind::File => entry.size,
            Ok(_) => {
                self.problems.conflicts.push(conflict(Found::Other));
                return None;
            }
            Err(TreeError::NotFound { .. }) => {
                self.problems.conflicts.push(conflict(Found::Nothing));
                return None;
            }
            Err(error) => {
                self.fault(index, error.to_string());
                return None;
            }
        };
        if !self.fits(index, path, size) {
            return None;
        }
        let image = match self.whole(path, size) {
            Ok(bytes) => Image::new(bytes),
            Err(error) => {
                self.fault(index, error.to_string());
                return None;
            }
        };
        if image.sha256 != *expected {
            self.problems.conflicts.push(conflict(Found::File(image.sha256)));
            return None;
        }
        self.before_bytes += image.bytes.len() as u64;
        if self.before_bytes > self.limits.before_bytes_max {
            let max = self.limits.before_bytes_max;
            self.fault(index, format!("the plan changes files of more than {max} bytes in all"));
            return None;
        }
        Some(image)
    }

    fn whole(&self, path: &str, size: u64) -> Result<Vec<u8>, TreeError> {
        let length = usize::try_from(size.min(self.limits.file_bytes_max)).unwrap_or(usize::MAX);
        // One byte more, so that a file which grew meanwhile does not hash like its beginning.
        self.tree.read(path, 0, length.saturating_add(1))
    }
}

/// Puts texts where byte ranges were, from the end to the beginning. The ranges do not overlap.
fn replaced(path: &str, bytes: &[u8], ranges: &[Replacement]) -> Result<Vec<u8>, Vec<String>> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(vec![format!("`{path}` is not UTF-8 text; its parts cannot be replaced")]);
    };
    let mut faults = Vec::new();
    let mut spots = Vec::new();
    for range in ranges {
        let (start, end) = (range.start, range.end);
        if end > bytes.len() as u64 {
            faults.push(format!(
                "the range {start}..{end} of `{path}` is beyond its {} bytes",
                bytes.len()
            ));
            continue;
        }
        // They are at most the length of a slice.
        let (from, to) = (start as usize, end as usize);
        if !text.is_char_boundary(from) || !text.is_char_boundary(to) {
            faults.push(format!("the range {start}..{end} of `{path}` cuts a character"));
            continue;
        }
        spots.push((from, to, range.text.as_str()));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    spots.sort_unstable_by_key(|(from, to, _)| (*from, *to));
    let mut result = Vec::with_capacity(bytes.len());
    let mut done = 0;
    for (from, to, text) in spots {
        result.extend_from_slice(&bytes[done..from]);
        result.extend_from_slice(text.as_bytes());
        done = to;
    }
    result.extend_from_slice(&bytes[done..]);
    Ok(result)
}
