//! A plan checked against a tree: what every touched file was and what it will be. Nothing is written here.
//!
//! What the ownership of an edit means:
//!
//! | ownership | what it may do | afterwards |
//! |---|---|---|
//! | `managed` | anything | the pattern's file: later versions replace it; a change by somebody else is drift |
//! | `block` | anything | somebody else's file with a spot of the pattern's; a change of the file is drift |
//! | `seed` | create, where nothing is | the user's file: no later plan may touch it, its changes are never drift |

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use caelum_core::id::Digest;
use caelum_core::pattern::{
    Change, Edit, Ownership, Plan, PlanLimits, PlanProblem, Replacement, check_plan,
};
use caelum_core::tree::{EntryKind, Tree, TreeError};

use crate::content::digest_of;
use crate::diff::{self, Diff};
use crate::provenance::{self, LOCK_PATH, Provenance};

/// What a plan may work on.
#[derive(Debug, Clone, Copy)]
pub struct StageLimits {
    /// What the plan itself may hold.
    pub plan: PlanLimits,
    /// Bytes of one file that is changed, before and after (default 16 MiB): both are held in memory.
    pub file_bytes_max: u64,
    /// Bytes of all files before the change (default 64 MiB): before-images are kept for reverting.
    pub before_bytes_max: u64,
}

impl Default for StageLimits {
    fn default() -> Self {
        StageLimits {
            plan: PlanLimits::default(),
            file_bytes_max: 16 * 1024 * 1024,
            before_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// What stands where something else was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file with other bytes.
    File(Digest),
    /// Nothing.
    Nothing,
    /// A directory, a link, a device.
    Other,
}

/// A file that is not what it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Which, relative to the component.
    pub path: String,
    /// The hash that was expected; nothing when no file was expected.
    pub expected: Option<Digest>,
    /// What is there.
    pub found: Found,
}

impl fmt::Display for Conflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match (&self.expected, &self.found) {
            (Some(expected), Found::File(found)) => {
                write!(formatter, "`{path}` has {} and not {}", found.short(), expected.short())
            }
            (Some(_), Found::Nothing) => write!(formatter, "`{path}` is gone"),
            (Some(_), Found::Other) => write!(formatter, "`{path}` is no longer a file"),
            (None, _) => write!(formatter, "`{path}` is there already"),
        }
    }
}

/// Why a plan cannot be used on a tree: everything at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", shown(.faults, .conflicts))]
pub struct StageProblems {
    /// Faults of the plan: the pattern's, whatever the files are.
    pub faults: Vec<PlanProblem>,
    /// Files that are not what the plan was made for.
    pub conflicts: Vec<Conflict>,
}

impl StageProblems {
    /// Returns whether a new plan, made now, may do: files changed, and the plan is without fault.
    pub fn is_conflict(&self) -> bool {
        self.faults.is_empty()
    }
}

fn shown(faults: &[PlanProblem], conflicts: &[Conflict]) -> String {
    let faults = faults.iter().map(ToString::to_string);
    let all: Vec<String> = faults.chain(conflicts.iter().map(ToString::to_string)).collect();
    all.join("; ")
}

/// The bytes of a file and their hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The bytes.
    pub bytes: Arc<[u8]>,
    /// Their SHA-256.
    pub sha256: Digest,
}

impl Image {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Image { sha256: digest_of(&bytes), bytes: bytes.into() }
    }
}

/// One file that changes. At least one side is there, and the two differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedFile {
    /// Where, relative to the component.
    pub path: String,
    /// Who owns the result.
    pub ownership: Ownership,
    /// What was there; nothing when it is new.
    pub before: Option<Image>,
    /// What will be there; nothing when it goes away.
    pub after: Option<Image>,
    /// Where it comes from, when it moves; mode bits come along.
    pub renamed_from: Option<String>,
}

/// What a plan does to a tree, file by file. A plan that changes nothing is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedPlan {
    /// Sorted by path, each path once.
    files: Vec<StagedFile>,
}

impl StagedPlan {
    /// Returns whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the files that change, sorted by path.
    pub fn files(&self) -> &[StagedFile] {
        &self.files
    }

    /// Writes the changes as a unified diff.
    pub fn diff(&self) -> Diff {
        diff::unified(&self.files)
    }

    /// Names exactly these changes: the same paths with the same bytes before and after.
    pub fn digest(&self) -> Digest {
        let mut text = String::new();
        let hash = |image: &Option<Image>| {
            image.as_ref().map_or("-".to_owned(), |image| image.sha256.to_string())
        };
        for file in &self.files {
            // A path has no control characters, so lines cannot be forged.
            text.push_str(&format!(
                "{}\n{} {}\n",
                file.path,
                hash(&file.before),
                hash(&file.after)
            ));
        }
        digest_of(text.as_bytes())
    }
}

/// Checks a plan against a tree and works out what every file will be.
///
/// # Errors
///
/// Every fault of the plan and every file that is not what the plan expects.
pub fn stage(
    tree: &dyn Tree,
    plan: &Plan,
    limits: &StageLimits,
) -> Result<StagedPlan, StageProblems> {
    let faults = check_plan(plan, limits.plan);
    if !faults.is_empty() {
        // Paths that are not plain must not reach the tree.
        return Err(StageProblems { faults, conflicts: Vec::new() });
    }
    let mut staging = Staging {
        tree,
        limits,
        problems: StageProblems::default(),
        files: BTreeMap::new(),
        before_bytes: 0,
        provenance: Provenance::default(),
    };
    match provenance::read_from(tree) {
        Ok(provenance) => staging.provenance = provenance,
        Err(problem) => staging.problems.faults.push(PlanProblem { edit: None, message: problem }),
    }
    for (index, edit) in plan.edits.iter().enumerate() {
        staging.edit(index, edit);
    }
    if staging.problems != StageProblems::default() {
        return Err(staging.problems);
    }
    let files = staging.files.into_values().filter(|file| file.before != file.after).collect();
    Ok(StagedPlan { files })
}

struct Staging<'a> {
    tree: &'a dyn Tree,
    limits: &'a StageLimits,
    problems: StageProblems,
    files: BTreeMap<String, StagedFile>,
    before_bytes: u64,
    provenance: Provenance,
}

impl Staging<'_> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use caelum_core::pattern::Risk;
    use caelum_core::tree::MapTree;

    fn tree() -> MapTree {
        [("a.txt", "one two"), ("dir/ä.txt", "ä"), ("bin", "\u{0}")]
            .into_iter()
            .map(|(path, text)| (path, text.as_bytes().to_vec()))
            .chain([("raw", vec![0xff, 0xfe])])
            .collect()
    }

    fn edit(change: Change) -> Edit {
        owned(change, Ownership::Managed)
    }

    fn owned(change: Change, ownership: Ownership) -> Edit {
        Edit { change, ownership, risk: Risk::Safe, resolves: vec![], rationale: String::new() }
    }

    fn plan(edits: Vec<Edit>) -> Plan {
        Plan { summary: String::new(), edits, next_steps: vec![], findings: vec![] }
    }

    fn create(path: &str) -> Change {
        Change::Create { path: path.to_owned(), content: b"new".to_vec() }
    }

    fn replace(path: &str, base: &[u8], ranges: &[(u64, u64, &str)]) -> Change {
        let ranges = ranges
            .iter()
            .map(|(start, end, text)| Replacement {
                start: *start,
                end: *end,
                text: (*text).to_owned(),
            })
            .collect();
        Change::Replace { path: path.to_owned(), base_sha256: digest_of(base), ranges }
    }

    fn staged(edits: Vec<Edit>) -> Result<StagedPlan, StageProblems> {
        stage(&tree(), &plan(edits), &StageLimits::default())
    }

    fn problems(edits: Vec<Edit>) -> StageProblems {
        staged(edits).expect_err("has problems")
    }

    #[test]
    fn ranges_are_replaced_wherever_they_stand_in_the_list() {
        let change = replace("a.txt", b"one two", &[(7, 7, "!"), (0, 3, "1"), (4, 7, "2")]);

        let staged = staged(vec![edit(change)]).expect("good");

        let after = staged.files()[0].after.as_ref().expect("stays");
        assert_eq!(&*after.bytes, b"1 2!");
        assert_eq!(after.sha256, digest_of(b"1 2!"));
    }

    #[test]
    fn a_plan_that_changes_nothing_is_empty() {
        let change = replace("a.txt", b"one two", &[(0, 3, "one")]);

        assert!(staged(vec![edit(change)]).expect("good").is_empty());
        assert!(staged(vec![]).expect("good").is_empty());
    }

    #[test]
    fn faults_of_the_plan_and_changed_files_are_told_apart_and_all_named() {
        let problems = problems(vec![
            edit(replace("a.txt", b"other", &[(0, 1, "x")])),
            edit(replace("dir/ä.txt", "ä".as_bytes(), &[(1, 2, "x"), (3, 9, "y")])),
            edit(Change::Delete { path: "gone".to_owned(), base_sha256: digest_of(b"") }),
            edit(create("bin")),
            edit(replace("raw", &[0xff, 0xfe], &[(0, 1, "x")])),
        ]);

        let faults: Vec<String> = problems.faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "edit 1: the range 1..2 of `dir/ä.txt` cuts a character",
                "edit 1: the range 3..9 of `dir/ä.txt` is beyond its 2 bytes",
                "edit 4: `raw` is not UTF-8 text; its parts cannot be replaced",
            ]
        );
        let conflicts: Vec<String> = problems.conflicts.iter().map(ToString::to_string).collect();
        let (is, was) = (digest_of(b"one two"), digest_of(b"other"));
        assert_eq!(
            conflicts,
            [
                format!("`a.txt` has {} and not {}", is.short(), was.short()),
                "`gone` is gone".to_owned(),
                "`bin` is there already".to_owned(),
            ]
        );
        assert!(!problems.is_conflict());
    }

    #[test]
    fn a_rename_needs_a_free_destination_and_keeps_the_bytes() {
        let rename = |destination: &str| Change::Rename {
            source: "a.txt".to_owned(),
            destination: destination.to_owned(),
            base_sha256: digest_of(b"one two"),
        };

        let good = staged(vec![edit(rename("new/place"))]).expect("good");
        let taken = problems(vec![edit(rename("bin"))]);
        let beneath_a_file = problems(vec![edit(rename("bin/x"))]);

        let paths: Vec<&str> = good.files().iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a.txt", "new/place"]);
        assert_eq!(good.files()[0].after, None);
        assert_eq!(good.files()[1].after, good.files()[0].before);
        assert!(taken.is_conflict());
        assert_eq!(
            beneath_a_file.to_string(),
            "edit 0: `bin` on the way to `bin/x` is not a directory"
        );
    }

    #[test]
    fn seeds_are_written_once_and_never_touched_again() {
        let seed_edit =
            problems(vec![owned(replace("a.txt", b"one two", &[(0, 1, "x")]), Ownership::Seed)]);
        let over_a_file = problems(vec![owned(create("a.txt"), Ownership::Seed)]);

        assert_eq!(
            seed_edit.to_string(),
            "edit 0: `a.txt`: an edit owned as `seed` may only create a file"
        );
        assert_eq!(over_a_file.to_string(), "`a.txt` is there already");
    }

    #[test]
    fn the_hosts_own_record_is_out_of_bounds() {
        assert_eq!(
            problems(vec![edit(create(LOCK_PATH))]).to_string(),
            "edit 0: `.caelum/patterns.lock.json` is written by the host alone"
        );
    }

    #[test]
    fn sizes_are_limited_before_and_after() {
        let limits =
            StageLimits { file_bytes_max: 7, before_bytes_max: 7, ..StageLimits::default() };
        let at = |edits| stage(&tree(), &plan(edits), &limits);
        let grow = |text| edit(replace("a.txt", b"one two", &[(0, 3, text)]));

        assert!(at(vec![grow("ONE")]).is_ok());
        assert_eq!(
            at(vec![grow("four")]).expect_err("grows").to_string(),
            "edit 0: `a.txt` would have 8 bytes; at most 7 are allowed"
        );
        let two = vec![grow("1"), edit(replace("bin", b"\0", &[(0, 1, "x")]))];
        assert!(at(two).expect_err("too much").to_string().contains("more than 7 bytes in all"));
    }

    #[test]
    fn the_digest_names_the_changes_and_nothing_else() {
        let one = staged(vec![edit(create("x"))]).expect("good");
        let same = staged(vec![owned(create("x"), Ownership::Block)]).expect("good");
        let other = staged(vec![edit(create("y"))]).expect("good");

        assert_eq!(one.digest(), same.digest());
        assert_ne!(one.digest(), other.digest());
    }
}
