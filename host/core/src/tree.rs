//! A read-only tree of files as patterns and validators see it: the trait, and an implementation in memory. Nothing
//! here opens a file; trees over directories, and over directories with planned edits, live with components.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::pattern::check_path;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, wherever it leads. It is shown and never followed.
    Symlink,
    /// A socket, a device, a pipe. It is shown and never opened.
    Other,
}

/// One thing in a tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Where it is, relative to the root of the tree, `/` separated; empty for the root itself.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its length in bytes when it is a file, otherwise 0.
    pub size: u64,
}

/// Why a tree did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Nothing is there.
    #[error("`{path}` does not exist")]
    NotFound {
        /// The path as it was asked for.
        path: String,
    },
    /// The path may not be read: it is no plain path, leads out of the root, or passes through a symbolic link.
    #[error("`{path}` may not be read: {reason}")]
    Denied {
        /// The path as it was asked for.
        path: String,
        /// Why.
        reason: String,
    },
    /// A file was asked for and something else is there.
    #[error("`{path}` is not a file")]
    NotAFile {
        /// The path as it was asked for.
        path: String,
    },
    /// A directory was asked for and something else is there.
    #[error("`{path}` is not a directory")]
    NotADirectory {
        /// The path as it was asked for.
        path: String,
    },
    /// A directory holds more than the caller wanted to look at.
    #[error("`{path}` has more than {max} entries")]
    TooManyEntries {
        /// The directory.
        path: String,
        /// How many the caller would have taken.
        max: usize,
    },
    /// The file system failed.
    #[error("failed to read `{path}`: {message}")]
    Io {
        /// The path as it was asked for; never a path of the host's own file system.
        path: String,
        /// What the operating system said.
        message: String,
    },
}

/// A read-only tree of files.
///
/// Every implementation keeps these promises: `""` and `"."` mean the root for [`Tree::entries`] and
/// [`Tree::metadata`]; every other path must satisfy [`check_path`] and is refused with [`TreeError::Denied`]
/// otherwise; symbolic links are shown and never followed, neither as the last part of a path nor on the way;
/// answers are sorted by path, bytewise; and the tree does not change while it is in use, as far as it can help it.
/// What a policy withholds (hidden and secret files) is not the tree's business.
pub trait Tree: Send + Sync {
    /// Lists one level of a directory, without the directory itself, sorted by path (bytewise).
    ///
    /// # Errors
    ///
    /// [`TreeError::TooManyEntries`] when there are more than `max`, which bounds the work and the memory; the other
    /// variants as their names say.
    fn entries(&self, path: &str, max: usize) -> Result<Vec<Entry>, TreeError>;

    /// Says what stands at a path.
    ///
    /// # Errors
    ///
    /// [`TreeError::NotFound`], [`TreeError::Denied`] and [`TreeError::Io`].
    fn metadata(&self, path: &str) -> Result<Entry, TreeError>;

    /// Reads at most `length` bytes of a file, beginning `offset` bytes from its start. Fewer come back only at the
    /// end of the file, none at or beyond it.
    ///
    /// # Errors
    ///
    /// [`TreeError::NotAFile`] for anything but a regular file; the other variants as their names say.
    fn read(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, TreeError>;

    /// Whether an answer may have to wait for a disk. The caller then asks from a thread that may be blocked.
    fn may_block(&self) -> bool {
        true
    }
}

/// Returns whether a path means the root of a tree.
pub fn is_root(path: &str) -> bool {
    path.is_empty() || path == "."
}

/// A tree that is held in memory: the evidence of a step, or the fake of a test.
#[derive(Debug, Clone, Default)]
pub struct MapTree {
    files: BTreeMap<String, Arc<[u8]>>,
    directories: BTreeSet<String>,
}

impl MapTree {
    /// Builds a tree without files.
    pub fn new() -> Self {
        MapTree::default()
    }

    /// Adds a file, with the directories on its way. A file that is there already is replaced.
    ///
    /// # Errors
    ///
    /// [`TreeError::Denied`] when the path is not plain (see [`check_path`]), [`TreeError::NotADirectory`] when a
    /// file stands on its way, [`TreeError::NotAFile`] when it is a directory already.
    pub fn insert(&mut self, path: &str, bytes: impl Into<Arc<[u8]>>) -> Result<(), TreeError> {
        plain(path)?;
        if self.directories.contains(path) {
            return Err(TreeError::NotAFile { path: path.to_owned() });
        }
        let above: Vec<&str> = path.match_indices('/').map(|(end, _)| &path[..end]).collect();
        if let Some(file) = above.iter().find(|directory| self.files.contains_key(**directory)) {
            return Err(TreeError::NotADirectory { path: (*file).to_owned() });
        }
        self.directories.extend(above.into_iter().map(str::to_owned));
        self.files.insert(path.to_owned(), bytes.into());
        Ok(())
    }

    /// Returns the paths of all files, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    fn file(&self, path: &str) -> Result<&Arc<[u8]>, TreeError> {
        plain(path)?;
        match self.files.get(path) {
            Some(bytes) => Ok(bytes),
            None if self.directories.contains(path) => {
                Err(TreeError::NotAFile { path: path.to_owned() })
            }
            None => Err(TreeError::NotFound { path: path.to_owned() }),
        }
    }
}

/// Builds a tree from pairs of a path and a file's bytes.
///
/// # Panics
///
/// When a path is not plain or is a file and a directory: for values that are written in the source. Use
/// [`MapTree::insert`] for paths that come from outside.
impl<P: AsRef<str>, B: Into<Arc<[u8]>>> FromIterator<(P, B)> for MapTree {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(files: I) -> Self {
        let mut tree = MapTree::new();
        for (path, bytes) in files {
            tree.insert(path.as_ref(), bytes).expect("the paths are plain and do not collide");
        }
        tree
    }
}

fn plain(path: &str) -> Result<(), TreeError> {
    check_path(path).map_err(|reason| TreeError::Denied { path: path.to_owned(), reason })
}

impl Tree for MapTree {
    fn entries(&self, path: &str, max: usize) -> Result<Vec<Entry>, TreeError> {
        let prefix = if is_root(path) {
            String::new()
        } else {
            plain(path)?;
            if self.files.contains_key(path) {
                return Err(TreeError::NotADirectory { path: path.to_owned() });
            }
            if !self.directories.contains(path) {
                return Err(TreeError::NotFound { path: path.to_owned() });
            }
            format!("{path}/")
        };
        let beneath = |candidate: &str| {
            candidate
                .strip_prefix(&prefix)
                .is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
        };
        let directories = self
            .directories
            .range(prefix.clone()..)
            .take_while(|directory| directory.starts_with(&prefix))
            .filter(|directory| beneath(directory))
            .map(|directory| Entry {
                path: directory.clone(),
                kind: EntryKind::Directory,
                size: 0,
            });
        let files = self
            .files
            .range(prefix.clone()..)
            .take_while(|(file, _)| file.starts_with(&prefix))
            .filter(|(file, _)| beneath(file))
            .map(|(file, bytes)| Entry {
                path: file.clone(),
                kind: EntryKind::File,
                size: bytes.len() as u64,
            });
        let mut entries: Vec<Entry> =
            directories.chain(files).take(max.saturating_add(1)).collect();
        if entries.len() > max {
            return Err(TreeError::TooManyEntries { path: path.to_owned(), max });
        }
        entries.sort();
        Ok(entries)
    }

    fn metadata(&self, path: &str) -> Result<Entry, TreeError> {
        if is_root(path) {
            return Ok(Entry { path: String::new(), kind: EntryKind::Directory, size: 0 });
        }
        match self.file(path) {
            Ok(bytes) => {
                Ok(Entry { path: path.to_owned(), kind: EntryKind::File, size: bytes.len() as u64 })
            }
            Err(TreeError::NotAFile { path }) => {
                Ok(Entry { path, kind: EntryKind::Directory, size: 0 })
            }
            Err(error) => Err(error),
        }
    }

    fn read(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, TreeError> {
        let bytes = self.file(path)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(length).min(bytes.len());
        Ok(bytes[start..end].to_vec())
    }

    fn may_block(&self) -> bool {
        false
    }
}

/// Two trees seen as one: `prefix` and what lies beneath it come from `inner`, everything else from `outer`. Both are
/// asked with the same paths. This is how a validator sees a component together with the files under `evidence/`.
pub struct Mounted {
    outer: Arc<dyn Tree>,
    prefix: String,
    inner: Arc<dyn Tree>,
}

impl Mounted {
    /// Lays what `inner` has at `prefix`, one part of a path such as `evidence`, over `outer`. What `outer` has there
    /// is hidden, also when `inner` has nothing.
    pub fn new(outer: Arc<dyn Tree>, prefix: &str, inner: Arc<dyn Tree>) -> Self {
        Mounted { outer, prefix: prefix.to_owned(), inner }
    }

    fn owner(&self, path: &str) -> &dyn Tree {
        let inside = path
            .strip_prefix(self.prefix.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if inside { self.inner.as_ref() } else { self.outer.as_ref() }
    }
}

impl Tree for Mounted {
    fn entries(&self, path: &str, max: usize) -> Result<Vec<Entry>, TreeError> {
        if !is_root(path) {
            return self.owner(path).entries(path, max);
        }
        let mut entries = self.outer.entries(path, max)?;
        entries.retain(|entry| entry.path != self.prefix);
        match self.inner.metadata(&self.prefix) {
            Ok(entry) => entries.push(entry),
            Err(TreeError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        if entries.len() > max {
            return Err(TreeError::TooManyEntries { path: path.to_owned(), max });
        }
        entries.sort();
        Ok(entries)
    }

    fn metadata(&self, path: &str) -> Result<Entry, TreeError> {
        self.owner(path).metadata(path)
    }

    fn read(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, TreeError> {
        self.owner(path).read(path, offset, length)
    }

    fn may_block(&self) -> bool {
        self.outer.may_block() || self.inner.may_block()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> MapTree {
        [("src/main.rs", "fn main() {}"), ("src/a/b.txt", "b"), ("README.md", "hello")]
            .into_iter()
            .map(|(path, text)| (path, text.as_bytes()))
            .collect()
    }

    fn paths(entries: Vec<Entry>) -> Vec<String> {
        entries.into_iter().map(|entry| entry.path).collect()
    }

    #[test]
    fn lists_one_level_sorted_with_paths_from_the_root() {
        let tree = tree();

        assert_eq!(paths(tree.entries("", 10).expect("root")), ["README.md", "src"]);
        assert_eq!(paths(tree.entries(".", 10).expect("root")), ["README.md", "src"]);
        assert_eq!(paths(tree.entries("src", 10).expect("src")), ["src/a", "src/main.rs"]);
    }

    #[test]
    fn refuses_a_directory_with_more_entries_than_wanted() {
        assert_eq!(tree().entries("src", 2).expect("two fit").len(), 2);
        assert_eq!(
            tree().entries("src", 1).expect_err("one too many").to_string(),
            "`src` has more than 1 entries"
        );
    }

    #[test]
    fn reads_only_what_is_there() {
        let tree = tree();

        assert_eq!(tree.read("README.md", 1, 3).expect("inside"), b"ell");
        assert_eq!(tree.read("README.md", 3, 100).expect("to the end"), b"lo");
        assert_eq!(tree.read("README.md", u64::MAX, 1).expect("beyond"), b"");
    }

    #[test]
    fn every_wrong_question_has_its_own_answer() {
        let tree = tree();
        let read = |path| tree.read(path, 0, 1).expect_err("wrong").to_string();

        assert_eq!(read("nowhere"), "`nowhere` does not exist");
        assert_eq!(read("src"), "`src` is not a file");
        assert_eq!(
            read("../x"),
            "`../x` may not be read: `../x` leaves the component through `..`"
        );
        assert_eq!(
            tree.entries("README.md", 1).expect_err("a file").to_string(),
            "`README.md` is not a directory"
        );
    }

    #[test]
    fn a_file_cannot_stand_where_a_directory_is() {
        let mut tree = tree();

        assert_eq!(
            tree.insert("src", *b"x").expect_err("a directory").to_string(),
            "`src` is not a file"
        );
        assert_eq!(
            tree.insert("README.md/x", *b"x").expect_err("beneath a file").to_string(),
            "`README.md` is not a directory"
        );
    }

    #[test]
    fn a_mounted_tree_hides_what_was_beneath_it() {
        let mut outer = tree();
        outer.insert("evidence/forged.xml", *b"x").expect("plain");
        let inner: MapTree =
            [("evidence/local/report.xml", b"<ok/>".as_slice())].into_iter().collect();

        let mounted = Mounted::new(Arc::new(outer), "evidence", Arc::new(inner));

        assert_eq!(paths(mounted.entries("", 9).expect("root")), ["README.md", "evidence", "src"]);
        assert_eq!(paths(mounted.entries("evidence", 9).expect("inner")), ["evidence/local"]);
        assert_eq!(mounted.read("evidence/local/report.xml", 0, 99).expect("inner"), b"<ok/>");
        assert_eq!(mounted.read("src/a/b.txt", 0, 99).expect("outer"), b"b");
        assert_eq!(
            mounted.read("evidence/forged.xml", 0, 9).expect_err("hidden").to_string(),
            "`evidence/forged.xml` does not exist"
        );
        assert_eq!(
            mounted.read("evidence/../src/a/b.txt", 0, 9).expect_err("leaves").to_string(),
            "`evidence/../src/a/b.txt` may not be read: `evidence/../src/a/b.txt` leaves the component through `..`"
        );
    }
}
