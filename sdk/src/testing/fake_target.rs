//! A tree in memory that keeps the rules of the real target. Plans are applied to it in `apply.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::glob::Glob;
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
    pub(super) files: BTreeMap<String, Vec<u8>>,
    directories: BTreeSet<String>,
    symlinks: BTreeSet<String>,
    denied: BTreeSet<String>,
}

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

    pub(super) fn kind(&self, path: &str) -> Option<Kind> {
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

/// Makes a tree from pairs of a path and what the file holds.
///
/// ```
/// use caelum_sdk::{Target, testing::FakeTarget};
/// let target = FakeTarget::from_iter([("a.yml", "one"), ("src/b.rs", "fn main() {}")]);
/// assert_eq!(target.entries("").expect("listed").len(), 2);
/// ```
impl<P: Into<String>, C: Into<Vec<u8>>> FromIterator<(P, C)> for FakeTarget {
    fn from_iter<I: IntoIterator<Item = (P, C)>>(files: I) -> Self {
        files.into_iter().fold(Self::new(), |target, (path, content)| target.file(path, content))
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

pub(super) fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// Answers whether a path keeps the rules of the contract.
pub(super) fn is_path(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX
        && path.as_bytes().get(1) != Some(&b':')
        && !path.chars().any(|character| character.is_control() || character == '\\')
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn code<T: std::fmt::Debug>(result: Result<T, TargetError>) -> TargetErrorCode {
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
}
