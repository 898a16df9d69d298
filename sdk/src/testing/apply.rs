//! Applies plans to a tree in memory as the host does, and refuses what it would refuse.

use std::collections::BTreeMap;
use std::fmt;

use crate::edit::{Change, Edit};
use crate::file::{FileRef, sha256_hex};
use crate::plan::Plan;
use crate::target::Kind;

use super::fake_target::{FakeTarget, is_path, parents};

/// How many edits a plan may hold: the host's default limit.
const EDITS_MAX: usize = 1_000;

/// How much new text and bytes a plan may hold: the host's default limit.
const NEW_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a plan cannot be applied. The host would refuse it, too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApplyError {
    /// The path breaks the rules of paths.
    Path(String),
    /// Something is already where a file would be made.
    Exists(String),
    /// The file to change is not there.
    Missing(String),
    /// The file is not what it was when it was read.
    Changed(String),
    /// The plan has more edits or bytes than the host takes; holds which.
    TooLarge(&'static str),
    /// Two edits touch the path, or one that differs only in case, and are not both replacements.
    Twice(String),
    /// There are no ranges, or they overlap, begin at the same byte, or reach beyond the end.
    Ranges(String),
    /// A replacement leaves text that is not UTF-8, because a range cuts a character.
    CutsCharacter(String),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(formatter, "`{path}` is no path that a plan may use"),
            Self::Exists(path) => write!(formatter, "`{path}` exists already"),
            Self::Missing(path) => write!(formatter, "`{path}` does not exist"),
            Self::Changed(path) => write!(formatter, "`{path}` is not what the edit's hash says"),
            Self::TooLarge(what) => write!(formatter, "the plan has more than {what}"),
            Self::Twice(path) => {
                write!(formatter, "two edits touch `{path}` and are not both replacements")
            }
            Self::Ranges(path) => {
                write!(
                    formatter,
                    "the replacements of `{path}` overlap, insert at one place, or leave the file"
                )
            }
            Self::CutsCharacter(path) => {
                write!(formatter, "a replacement of `{path}` cuts a character in two")
            }
        }
    }
}

impl std::error::Error for ApplyError {}

impl FakeTarget {
    /// Returns the tree as it would look after a plan. Every rule that the host checks is checked.
    ///
    /// # Errors
    /// The first thing that the host would refuse.
    pub fn apply(&self, plan: &Plan) -> Result<Self, ApplyError> {
        check_size(plan)?;
        let mut after = self.clone();
        let mut replaced: BTreeMap<&str, Vec<&Edit>> = BTreeMap::new();
        // By lower case: a plan must mean the same where file systems fold case.
        let mut touched: BTreeMap<String, &str> = BTreeMap::new();
        for edit in &plan.edits {
            let path = edit.path();
            if !is_path(path) {
                return Err(ApplyError::Path(path.to_owned()));
            }
            let earlier = touched.insert(path.to_lowercase(), path);
            let joins =
                matches!(edit.change, Change::Replace { .. }) && replaced.contains_key(path);
            if earlier.is_some() && !joins {
                return Err(ApplyError::Twice(path.to_owned()));
            }
            match &edit.change {
                Change::Create { path, content } => {
                    after.make(path, content.as_bytes().to_vec(), self)?;
                }
                Change::Replace { base, .. } => {
                    self.unchanged(base)?;
                    replaced.entry(path).or_default().push(edit);
                }
                Change::Delete { base } => {
                    self.unchanged(base)?;
                    after.files.remove(path);
                }
                Change::Rename { base, destination } => {
                    let bytes = self.unchanged(base)?.clone();
                    after.make(destination, bytes, self)?;
                    after.files.remove(path);
                    if touched.insert(destination.to_lowercase(), destination).is_some() {
                        return Err(ApplyError::Twice(destination.clone()));
                    }
                }
            }
        }
        for (path, edits) in replaced {
            let bytes = splice(path, &self.files[path], &edits)?;
            after.files.insert(path.to_owned(), bytes);
        }
        Ok(after)
    }

    fn make(&mut self, path: &str, bytes: Vec<u8>, before: &Self) -> Result<(), ApplyError> {
        if !is_path(path) {
            return Err(ApplyError::Path(path.to_owned()));
        }
        // Also among what this plan makes: `a` cannot be a file and the directory of `a/b`.
        let is_file =
            |tree: &Self, path| tree.kind(path).is_some_and(|kind| kind != Kind::Directory);
        let under_a_file =
            parents(path).any(|parent| is_file(before, parent) || is_file(self, parent));
        if before.kind(path).is_some() || self.kind(path).is_some() || under_a_file {
            return Err(ApplyError::Exists(path.to_owned()));
        }
        self.files.insert(path.to_owned(), bytes);
        Ok(())
    }

    fn unchanged(&self, base: &FileRef) -> Result<&Vec<u8>, ApplyError> {
        let bytes =
            self.files.get(&base.path).ok_or_else(|| ApplyError::Missing(base.path.clone()))?;
        if sha256_hex(bytes) == base.sha256 {
            Ok(bytes)
        } else {
            Err(ApplyError::Changed(base.path.clone()))
        }
    }
}

/// Checks what the host's limits are by default.
fn check_size(plan: &Plan) -> Result<(), ApplyError> {
    let new_bytes = |edit: &Edit| match &edit.change {
        Change::Create { content, .. } => content.as_bytes().len(),
        Change::Replace { ranges, .. } => {
            ranges.iter().map(|replacement| replacement.text.len()).sum()
        }
        Change::Delete { .. } | Change::Rename { .. } => 0,
    };
    if plan.edits.len() > EDITS_MAX {
        return Err(ApplyError::TooLarge("1,000 edits"));
    }
    if plan.edits.iter().map(new_bytes).sum::<usize>() > NEW_BYTES_MAX {
        return Err(ApplyError::TooLarge("4 MiB of new text and bytes"));
    }
    Ok(())
}

/// Applies all replacements of one file at once.
fn splice(path: &str, bytes: &[u8], edits: &[&Edit]) -> Result<Vec<u8>, ApplyError> {
    let ranges = |edit: &&Edit| match &edit.change {
        Change::Replace { ranges, .. } => ranges.clone(),
        _ => Vec::new(),
    };
    if edits.iter().any(|edit| edit.is_empty()) {
        return Err(ApplyError::Ranges(path.to_owned()));
    }
    let mut ranges: Vec<_> = edits.iter().flat_map(ranges).collect();
    ranges.sort_by_key(|replacement| (replacement.range.start, replacement.range.end));
    let was_text = std::str::from_utf8(bytes).is_ok();
    let mut result = Vec::with_capacity(bytes.len());
    let (mut at, mut last_start) = (0, None);
    for replacement in ranges {
        let range = replacement.range;
        let ordered = at <= range.start && range.start <= range.end && range.end <= bytes.len();
        if !ordered || last_start.replace(range.start) == Some(range.start) {
            return Err(ApplyError::Ranges(path.to_owned()));
        }
        result.extend_from_slice(&bytes[at..range.start]);
        result.extend_from_slice(replacement.text.as_bytes());
        at = range.end;
    }
    result.extend_from_slice(&bytes[at..]);
    if was_text && std::str::from_utf8(&result).is_err() {
        return Err(ApplyError::CutsCharacter(path.to_owned()));
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::SourceFile;

    fn sample() -> FakeTarget {
        FakeTarget::new()
            .file("a.yml", "one\ntwo\n")
            .file("src/b.rs", "fn main() {}")
            .file("bin", vec![0xff, 0xfe])
    }

    #[test]
    fn several_replacements_of_one_file_are_applied_by_their_original_positions() {
        let target = sample();
        let file = SourceFile::read(&target, "a.yml").expect("read");
        let mut plan = Plan::new("test");
        plan.edit(file.edit().substitute(4..7, "zwei"));
        plan.edit(file.edit().substitute(0..4, "zero\n"));

        assert_eq!(target.apply(&plan).expect("applied").text("a.yml"), "zero\nzwei\n");
    }

    #[test]
    fn plans_that_the_host_would_refuse_are_refused() {
        let target = sample().file("ä", "ä");
        let base = SourceFile::read(&target, "a.yml").expect("read");
        let stale = SourceFile::new("a.yml", "other");
        let ghost = SourceFile::new("ghost", "");
        let umlaut = SourceFile::read(&target, "ä").expect("read");
        let table = [
            (vec![Edit::create("../x", "")], ApplyError::Path("../x".into())),
            (vec![Edit::create("a.yml", "")], ApplyError::Exists("a.yml".into())),
            (vec![Edit::create("src", "")], ApplyError::Exists("src".into())),
            (vec![Edit::create("a.yml/x", "")], ApplyError::Exists("a.yml/x".into())),
            (vec![Edit::rename(base.base(), "bin")], ApplyError::Exists("bin".into())),
            (vec![Edit::delete(ghost.base())], ApplyError::Missing("ghost".into())),
            (vec![stale.edit().insert(0, "x")], ApplyError::Changed("a.yml".into())),
            (
                vec![base.edit().insert(0, "x"), Edit::delete(base.base())],
                ApplyError::Twice("a.yml".into()),
            ),
            (vec![Edit::create("n", ""), Edit::create("n", "")], ApplyError::Twice("n".into())),
            (vec![base.edit().remove(0..4).remove(3..5)], ApplyError::Ranges("a.yml".into())),
            (vec![base.edit().insert(2, "x").insert(2, "y")], ApplyError::Ranges("a.yml".into())),
            (vec![base.edit().insert(0, "x").remove(0..2)], ApplyError::Ranges("a.yml".into())),
            (vec![base.edit()], ApplyError::Ranges("a.yml".into())),
            (vec![Edit::create("C:x", "")], ApplyError::Path("C:x".into())),
            (vec![Edit::create("n", ""), Edit::create("N", "")], ApplyError::Twice("N".into())),
            (
                vec![Edit::create("n", ""), Edit::create("n/b", "")],
                ApplyError::Exists("n/b".into()),
            ),
            (vec![Edit::create("n/b", ""), Edit::create("n", "")], ApplyError::Exists("n".into())),
            (vec![base.edit().remove(7..9)], ApplyError::Ranges("a.yml".into())),
            (vec![umlaut.edit().insert(1, "x")], ApplyError::CutsCharacter("ä".into())),
        ];
        for (edits, expected) in table {
            let plan = Plan { edits, ..Plan::default() };
            assert_eq!(target.apply(&plan), Err(expected));
        }
    }

    #[test]
    fn plans_beyond_the_limits_are_refused_and_those_at_them_are_not() {
        let edits = |count: usize| (0..count).map(|n| Edit::create(format!("n{n}"), "")).collect();
        let bytes = |length: usize| vec![Edit::create("n", vec![b'x'; length])];
        let apply = |edits| FakeTarget::new().apply(&Plan { edits, ..Plan::default() }).map(|_| ());

        assert_eq!(apply(edits(EDITS_MAX)), Ok(()));
        assert_eq!(apply(edits(EDITS_MAX + 1)), Err(ApplyError::TooLarge("1,000 edits")));
        assert_eq!(apply(bytes(NEW_BYTES_MAX)), Ok(()));
        assert!(matches!(apply(bytes(NEW_BYTES_MAX + 1)), Err(ApplyError::TooLarge(_))));
    }
}
