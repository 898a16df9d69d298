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
    /// Files whose parts are replaced, perhaps by several edits; nothing for those that cannot be.
    replacements: BTreeMap<String, Option<Replacements>>,
    before_bytes: u64,
    provenance: Provenance,
}

/// What all edits of a plan replace in one file.
struct Replacements {
    /// The first of the edits, which is named when the result is too large.
    index: usize,
    ownership: Ownership,
    before: Image,
    ranges: Vec<Replacement>,
}

impl<'a> Staging<'a> {
    pub(super) fn new(tree: &'a dyn Tree, limits: &'a StageLimits) -> Self {
        let mut problems = StageProblems::default();
        let provenance = provenance::read_from(tree).unwrap_or_else(|message| {
            problems.faults.push(PlanProblem { edit: None, message });
            Provenance::default()
        });
        Staging {
            tree,
            limits,
            problems,
            files: BTreeMap::new(),
            replacements: BTreeMap::new(),
            before_bytes: 0,
            provenance,
        }
    }

    /// Works out every file that the edits touch, or everything that is wrong with them.
    pub(super) fn stage(
        mut self,
        edits: &[Edit],
    ) -> Result<BTreeMap<String, StagedFile>, StageProblems> {
        for (index, edit) in edits.iter().enumerate() {
            self.edit(index, edit);
        }
        for (path, replacements) in std::mem::take(&mut self.replacements) {
            if let Some(replacements) = replacements {
                self.replace(&path, replacements);
            }
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
                if !self.replacements.contains_key(path) {
                    let replacements = self.base(index, path, base_sha256).map(|before| {
                        Replacements { index, ownership, before, ranges: Vec::new() }
                    });
                    self.replacements.insert(path.clone(), replacements);
                }
                let Some(Some(replacements)) = self.replacements.get_mut(path) else { return };
                // A file of the user's stays the user's, whoever else replaces parts of it.
                if ownership == Ownership::Block {
                    replacements.ownership = ownership;
                }
                let faults = range_faults(path, &replacements.before.bytes, ranges);
                replacements.ranges.extend_from_slice(ranges);
                faults.into_iter().for_each(|message| self.fault(index, message));
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

    /// Replaces the parts of one file, all at once: ranges are those of the file as it was.
    fn replace(&mut self, path: &str, replacements: Replacements) {
        let Replacements { index, ownership, before, ranges } = replacements;
        if self.problems != StageProblems::default() {
            // Ranges that are wrong cannot be replaced, and nothing will come of the plan.
            return;
        }
        let after = replaced(&before.bytes, &ranges);
        if self.fits(index, path, after.len() as u64) {
            self.put(path, ownership, Some(before), Some(Image::new(after)), None);
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

/// Says what is wrong with ranges of a file.
fn range_faults(path: &str, bytes: &[u8], ranges: &[Replacement]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return vec![format!("`{path}` is not UTF-8 text; its parts cannot be replaced")];
    };
    let mut faults = Vec::new();
    for Replacement { start, end, .. } in ranges {
        if *end > bytes.len() as u64 {
            faults.push(format!(
                "the range {start}..{end} of `{path}` is beyond its {} bytes",
                bytes.len()
            ));
        } else if !text.is_char_boundary(*start as usize) || !text.is_char_boundary(*end as usize) {
            faults.push(format!("the range {start}..{end} of `{path}` cuts a character"));
        }
    }
    faults
}

/// Puts texts where byte ranges were. The ranges lie in the file and do not overlap.
fn replaced(bytes: &[u8], ranges: &[Replacement]) -> Vec<u8> {
    let mut ranges: Vec<&Replacement> = ranges.iter().collect();
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut result = Vec::with_capacity(bytes.len());
    let mut done = 0;
    for range in ranges {
        // They are at most the length of a slice.
        result.extend_from_slice(&bytes[done..range.start as usize]);
        result.extend_from_slice(range.text.as_bytes());
        done = range.end as usize;
    }
    result.extend_from_slice(&bytes[done..]);
    result
}
