//! A tree in memory that keeps the rules of the real target, and applies plans as the host does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use crate::edit::{Change, Edit};
use crate::file::{FileRef, sha256_hex};
use crate::glob::Glob;
use crate::plan::Plan;
use crate::target::{Entry, Kind, READ_BYTES_MAX, Target, TargetError, TargetErrorCode};

/// The longest path, in bytes. The contract's limit.
const PATH_BYTES_MAX: usize = 1_024;

/// A tree in memory. Directories exist because of the files in them, unless they are added empty.
///
/// ```
/// use caelum_sdk::{Target, testing::FakeTarget};
/// let target = FakeTarget::new().file("app/main.py", "print(1)\n").denied(".env").symlink("link");
/// assert_eq!(target.read_text("app/main.py").expect("text"), "print(1)\n");
/// assert!(target.read_text(".env").is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FakeTarget {
    files: BTreeMap<String, Vec<u8>>,
    directories: BTreeSet<String>,
    symlinks: BTreeSet<String>,
    denied: BTreeSet<String>,
}

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
    /// Two edits touch the path and are not both replacements.
    Twice(String),
    /// Ranges overlap, insert at the same place, or reach beyond the end.
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
    /// Makes an empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a real directory, hidden files and all, without following links.
    ///
    /// # Panics
    /// When it cannot be read: tests want to know at once.
    pub fn from_directory(root: impl AsRef<Path>) -> Self {
        let mut target = Self::new();
        target.read_directory(root.as_ref(), "");
        target
    }

    fn read_directory(&mut self, directory: &Path, prefix: &str) {
        let entries = std::fs::read_dir(directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for entry in entries {
            let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
            let kind = entry
                .file_type()
                .unwrap_or_else(|error| panic!("{}: {error}", entry.path().display()));
            let name = entry
                .file_name()
                .into_string()
                .unwrap_or_else(|name| panic!("{name:?} is not UTF-8"));
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            if kind.is_symlink() {
                self.symlinks.insert(path);
            } else if kind.is_dir() {
                self.read_directory(&entry.path(), &path);
                self.directories.insert(path);
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path())
                    .unwrap_or_else(|error| panic!("{}: {error}", entry.path().display()));
                self.files.insert(path, bytes);
            }
        }
    }

    /// Adds or replaces a file.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), content.into());
        self
    }

    /// Adds an empty directory.
    #[must_use]
    pub fn directory(mut self, path: impl Into<String>) -> Self {
        self.directories.insert(path.into());
        self
    }

    /// Adds a symbolic link, which can be seen and not be read through.
    #[must_use]
    pub fn symlink(mut self, path: impl Into<String>) -> Self {
        self.symlinks.insert(path.into());
        self
    }

    /// Withholds a path and everything below it.
    #[must_use]
    pub fn denied(mut self, path: impl Into<String>) -> Self {
        self.denied.insert(path.into());
        self
    }

    /// Removes a file.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        self.files.remove(path);
        self
    }

    /// Returns what a file holds, as text.
    ///
    /// # Panics
    /// When it is not there or not text.
    #[must_use]
    pub fn text(&self, path: &str) -> &str {
        let bytes = self.files.get(path).unwrap_or_else(|| panic!("`{path}` does not exist"));
        std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("`{path}` is not UTF-8 text"))
    }

    /// Returns the paths of all files, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Returns the tree as it would look after a plan. Every rule that the host checks is checked.
    ///
    /// # Errors
    /// The first thing that the host would refuse.
    pub fn apply(&self, plan: &Plan) -> Result<Self, ApplyError> {
        let mut after = self.clone();
        let mut replaced: BTreeMap<&str, Vec<&Edit>> = BTreeMap::new();
        let mut touched = BTreeSet::new();
        for edit in &plan.edits {
            let path = edit.path();
            if !is_path(path) {
                return Err(ApplyError::Path(path.to_owned()));
            }
            let is_replace = matches!(edit.change, Change::Replace { .. });
            let new = touched.insert(path);
            let joins = is_replace && replaced.contains_key(path);
            if !(new || joins) {
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
                    if !touched.insert(destination) {
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
        let under_a_file = parents(path)
            .any(|parent| matches!(before.kind(parent), Some(kind) if kind != Kind::Directory));
        if before.kind(path).is_some() || under_a_file {
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

    fn kind(&self, path: &str) -> Option<Kind> {
        if self.files.contains_key(path) {
            Some(Kind::File)
        } else if self.symlinks.contains(path) {
            Some(Kind::Symlink)
        } else if path.is_empty() || self.directories.contains(path) || self.has_below(path) {
            Some(Kind::Directory)
        } else {
            None
        }
    }

    fn has_below(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        let mut all = self.files.keys().chain(&self.directories).chain(&self.symlinks);
        all.any(|other| other.starts_with(&prefix))
    }

    fn withheld(&self, path: &str) -> bool {
        self.denied.contains(path) || parents(path).any(|parent| self.denied.contains(parent))
    }

    /// Answers what every read begins with: whether the path may be looked at, and what is there.
    fn look(&self, path: &str) -> Result<Kind, TargetErrorCode> {
        let through_link = parents(path).any(|parent| self.symlinks.contains(parent));
        if !(path.is_empty() || is_path(path)) || self.withheld(path) || through_link {
            return Err(TargetErrorCode::Denied);
        }
        match self.kind(path) {
            Some(Kind::Symlink) => Err(TargetErrorCode::Denied),
            Some(kind) => Ok(kind),
            None => Err(TargetErrorCode::NotFound),
        }
    }

    fn bytes(&self, path: &str) -> Result<&Vec<u8>, TargetErrorCode> {
        match self.look(path)? {
            Kind::File => Ok(&self.files[path]),
            _ => Err(TargetErrorCode::NotAFile),
        }
    }

    fn entry(&self, path: &str) -> Entry {
        let size = self.files.get(path).map_or(0, |bytes| bytes.len() as u64);
        Entry { path: path.to_owned(), kind: self.kind(path).unwrap_or(Kind::Other), size }
    }
}

impl Target for FakeTarget {
    fn entries(&self, path: &str) -> Result<Vec<Entry>, TargetError> {
        let fail = |code| TargetError::new(path, code);
        if self.look(path).map_err(fail)? != Kind::Directory {
            return Err(fail(TargetErrorCode::NotADirectory));
        }
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let all = self.files.keys().chain(&self.directories).chain(&self.symlinks);
        let children: BTreeSet<String> = all
            .filter_map(|other| other.strip_prefix(&prefix))
            .filter(|rest| !rest.is_empty())
            .map(|rest| format!("{prefix}{}", rest.split('/').next().unwrap_or(rest)))
            .filter(|child| !self.withheld(child))
            .collect();
        Ok(children.iter().map(|child| self.entry(child)).collect())
    }

    fn glob(&self, pattern: &str, limit: u32) -> Result<Vec<Entry>, TargetError> {
        let glob = Glob::new(pattern)
            .map_err(|error| TargetError::new(pattern, TargetErrorCode::Io(error.to_string())))?;
        let matching = self.files.keys().filter(|path| !self.withheld(path) && glob.matches(path));
        Ok(matching.take(limit as usize).map(|path| self.entry(path)).collect())
    }

    fn read(&self, path: &str, offset: u64, length: u32) -> Result<Vec<u8>, TargetError> {
        let fail = |code| TargetError::new(path, code);
        if length > READ_BYTES_MAX {
            return Err(fail(TargetErrorCode::BudgetExceeded));
        }
        let bytes = self.bytes(path).map_err(fail)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(length as usize).min(bytes.len());
        Ok(bytes[start..end].to_vec())
    }

    fn read_text(&self, path: &str) -> Result<String, TargetError> {
        let fail = |code| TargetError::new(path, code);
        let bytes = self.bytes(path).map_err(fail)?;
        if bytes.len() > READ_BYTES_MAX as usize {
            return Err(fail(TargetErrorCode::BudgetExceeded));
        }
        String::from_utf8(bytes.clone()).map_err(|_| fail(TargetErrorCode::NotUtf8))
    }
}

/// Applies all replacements of one file at once.
fn splice(path: &str, bytes: &[u8], edits: &[&Edit]) -> Result<Vec<u8>, ApplyError> {
    let ranges = |edit: &&Edit| match &edit.change {
        Change::Replace { ranges, .. } => ranges.clone(),
        _ => Vec::new(),
    };
    let mut ranges: Vec<_> = edits.iter().flat_map(ranges).collect();
    ranges.sort_by_key(|replacement| (replacement.range.start, replacement.range.end));
    let was_text = std::str::from_utf8(bytes).is_ok();
    let mut result = Vec::with_capacity(bytes.len());
    let (mut at, mut inserted_at) = (0, None);
    for replacement in ranges {
        let range = replacement.range;
        let ordered = at <= range.start && range.start <= range.end && range.end <= bytes.len();
        if !ordered || (range.is_empty() && inserted_at == Some(range.start)) {
            return Err(ApplyError::Ranges(path.to_owned()));
        }
        inserted_at = range.is_empty().then_some(range.start);
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

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// Answers whether a path keeps the rules of the contract.
fn is_path(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX
        && !path.chars().any(|character| character.is_control() || character == '\\')
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::SourceFile;

    fn sample() -> FakeTarget {
        FakeTarget::new()
            .file("a.yml", "one\ntwo\n")
            .file("src/b.rs", "fn main() {}")
            .file("src/deep/c.rs", "")
            .file("secret/key.pem", "k")
            .file("bin", vec![0xff, 0xfe])
            .directory("empty")
            .symlink("link")
            .denied("secret")
    }

    fn code<T: fmt::Debug>(result: Result<T, TargetError>) -> TargetErrorCode {
        result.expect_err("refused").code
    }

    #[test]
    fn directories_are_listed_sorted_and_without_what_is_withheld() {
        let entries = sample().entries("").expect("listed");

        let shown: Vec<_> = entries.iter().map(|entry| (entry.path.as_str(), entry.kind)).collect();
        assert_eq!(
            shown,
            [
                ("a.yml", Kind::File),
                ("bin", Kind::File),
                ("empty", Kind::Directory),
                ("link", Kind::Symlink),
                ("src", Kind::Directory),
            ]
        );
        assert_eq!(sample().entries("src").expect("listed")[0].path, "src/b.rs");
        assert_eq!(sample().entries("empty"), Ok(vec![]));
    }

    #[test]
    fn reads_fail_as_the_contract_says() {
        let target = sample();

        assert_eq!(code(target.read_text("none")), TargetErrorCode::NotFound);
        assert_eq!(code(target.read_text("src")), TargetErrorCode::NotAFile);
        assert_eq!(code(target.entries("a.yml")), TargetErrorCode::NotADirectory);
        assert_eq!(code(target.read_text("bin")), TargetErrorCode::NotUtf8);
        assert_eq!(
            code(target.read("a.yml", 0, READ_BYTES_MAX + 1)),
            TargetErrorCode::BudgetExceeded
        );
        for path in [
            "secret/key.pem",
            "link",
            "link/x",
            "../a.yml",
            "/a.yml",
            "./a.yml",
            "src//b.rs",
            "a\0",
            "a\\b",
        ] {
            assert_eq!(code(target.read_text(path)), TargetErrorCode::Denied, "{path:?}");
        }
    }

    #[test]
    fn reads_at_and_beyond_the_end_give_what_is_there() {
        let target = sample();

        assert_eq!(target.read("a.yml", 4, 100), Ok(b"two\n".to_vec()));
        assert_eq!(target.read("a.yml", 8, 1), Ok(vec![]));
        assert_eq!(target.read("a.yml", u64::MAX, 1), Ok(vec![]));
        let large = FakeTarget::new().file("large", vec![b'x'; READ_BYTES_MAX as usize]);
        assert_eq!(large.read_all("large").expect("read").len(), READ_BYTES_MAX as usize);
    }

    #[test]
    fn globs_find_files_in_order_up_to_the_limit() {
        let paths = |pattern, limit| -> Vec<String> {
            sample()
                .glob(pattern, limit)
                .expect("a glob")
                .into_iter()
                .map(|entry| entry.path)
                .collect()
        };

        assert_eq!(paths("**/*.rs", 9), ["src/b.rs", "src/deep/c.rs"]);
        assert_eq!(paths("**/*.rs", 1), ["src/b.rs"]);
        assert_eq!(paths("**/*.pem", 9), Vec::<String>::new());
    }

    #[test]
    fn several_replacements_of_one_file_are_applied_by_their_original_positions() {
        let target = sample();
        let file = SourceFile::read(&target, "a.yml").expect("read");
        let mut plan = Plan::new("test");
        plan.edit(file.edit().substitute(4..7, "zwei"));
        plan.edit(file.edit().insert(0, "zero\n").remove(0..4));

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
            (vec![base.edit().remove(7..9)], ApplyError::Ranges("a.yml".into())),
            (vec![umlaut.edit().insert(1, "x")], ApplyError::CutsCharacter("ä".into())),
        ];
        for (edits, expected) in table {
            let plan = Plan { edits, ..Plan::default() };
            assert_eq!(target.apply(&plan), Err(expected));
        }
    }
}
