//! A plan checked against a tree: what every touched file was and what it will be. Nothing is written here.
//!
//! What the ownership of an edit means:
//!
//! | ownership | what it may do | afterwards |
//! |---|---|---|
//! | `managed` | anything | the pattern's file: later versions replace it; a change by somebody else is drift |
//! | `block` | anything | somebody else's file with a spot of the pattern's; a change of the file is drift |
//! | `seed` | create, where nothing is | the user's file: no later plan may touch it, its changes are never drift |

mod staging;

use std::fmt;
use std::sync::Arc;

use caelum_core::id::Digest;
use caelum_core::pattern::{Ownership, Plan, PlanLimits, PlanProblem, check_plan};
use caelum_core::tree::Tree;

use crate::content::digest_of;
use crate::diff::{self, Diff};
use staging::Staging;

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
    let files = Staging::new(tree, limits).stage(&plan.edits)?;
    Ok(StagedPlan { files: files.into_values().filter(|file| file.before != file.after).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provenance::LOCK_PATH;
    use caelum_core::pattern::{Change, Edit, Replacement, Risk};
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
    fn several_edits_replace_parts_of_one_file_together() {
        let staged = staged(vec![
            owned(replace("a.txt", b"one two", &[(4, 7, "2")]), Ownership::Block),
            edit(replace("a.txt", b"one two", &[(0, 3, "1"), (7, 7, "!")])),
        ])
        .expect("good");

        let [file] = staged.files() else { panic!("one file: {:?}", staged.files()) };
        assert_eq!(&*file.after.as_ref().expect("stays").bytes, b"1 2!");
        assert_eq!(&*file.before.as_ref().expect("was there").bytes, b"one two");
        assert_eq!(file.ownership, Ownership::Block);
    }

    #[test]
    fn each_of_several_edits_of_one_file_is_told_what_is_wrong_with_it() {
        let problems = problems(vec![
            edit(replace("a.txt", b"one two", &[(0, 1, "x")])),
            edit(replace("a.txt", b"one two", &[(6, 9, "x")])),
            edit(replace("gone", b"x", &[(0, 1, "y")])),
            edit(replace("gone", b"x", &[(1, 1, "z")])),
        ]);

        assert_eq!(problems.faults.len(), 1, "{problems}");
        assert_eq!(problems.faults[0].edit, Some(1));
        assert_eq!(problems.conflicts.len(), 1, "one file is one conflict: {problems}");
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
