//! Reads of one call: what a plugin may see of a tree, and how much of it. The only way for a plugin to learn anything
//! about files.

mod glob;
mod policy;

use std::sync::Arc;

use caelum_core::pattern::check_path;
use caelum_core::tree::{Entry, EntryKind, Tree, TreeError, is_root};

use crate::limits::Limits;

use glob::TreeGlob;

pub(crate) use policy::Policy;
pub use policy::{PolicyError, TargetPolicy};

/// Why a read gave nothing; the cases of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadError {
    NotFound,
    Denied,
    NotAFile,
    NotADirectory,
    NotUtf8,
    BudgetExceeded,
    Io(String),
}

impl From<TreeError> for ReadError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::NotFound { .. } => ReadError::NotFound,
            TreeError::Denied { .. } => ReadError::Denied,
            TreeError::NotAFile { .. } => ReadError::NotAFile,
            TreeError::NotADirectory { .. } => ReadError::NotADirectory,
            TreeError::TooManyEntries { .. } => ReadError::BudgetExceeded,
            TreeError::Io { message, .. } => ReadError::Io(message),
            other => ReadError::Io(other.to_string()),
        }
    }
}

/// What a call has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReadCounts {
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) denied: u64,
}

/// The tree of one call with its policy and what is left of its budget.
pub(crate) struct Reads {
    tree: Arc<dyn Tree>,
    policy: Arc<Policy>,
    calls_max: u64,
    bytes_max: u64,
    entries_max: u64,
    read_bytes_max: u64,
    counts: ReadCounts,
    /// Set once a budget was passed: from then on every answer is `budget-exceeded`.
    exhausted: bool,
}

impl Reads {
    pub(crate) fn new(tree: Arc<dyn Tree>, policy: Arc<Policy>, limits: &Limits) -> Self {
        Reads {
            tree,
            policy,
            calls_max: limits.target_calls_max,
            bytes_max: limits.target_bytes_max,
            entries_max: limits.target_entries_max,
            read_bytes_max: limits.target_read_bytes_max,
            counts: ReadCounts::default(),
            exhausted: false,
        }
    }

    /// Builds reads that give nothing: for `describe`, which may depend on nothing.
    pub(crate) fn nothing(tree: Arc<dyn Tree>, policy: Arc<Policy>, limits: &Limits) -> Self {
        Reads { exhausted: true, ..Reads::new(tree, policy, limits) }
    }

    pub(crate) fn counts(&self) -> ReadCounts {
        self.counts
    }

    pub(crate) fn may_block(&self) -> bool {
        self.tree.may_block()
    }

    /// Lists one level of a directory.
    pub(crate) fn entries(&mut self, path: &str) -> Result<Vec<Entry>, ReadError> {
        self.begin()?;
        self.check(path)?;
        let mut entries = self.look_at(path)?;
        entries.retain(|entry| !self.policy.denies(&entry.path));
        Ok(entries)
    }

    /// Lists the files that match a pattern, sorted by path, at most `limit`.
    pub(crate) fn glob(&mut self, pattern: &str, limit: usize) -> Result<Vec<Entry>, ReadError> {
        self.begin()?;
        let glob = TreeGlob::parse(pattern).map_err(ReadError::Io)?;
        let base = glob.base().to_owned();
        if !base.is_empty() && (check_path(&base).is_err() || self.policy.denies(&base)) {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        // What is still to be looked at, the next one last.
        let mut open = vec![Entry { path: base, kind: EntryKind::Directory, size: 0 }];
        while let Some(entry) = open.pop() {
            if found.len() >= limit {
                break;
            }
            match entry.kind {
                EntryKind::File if glob.is_match(&entry.path) => found.push(entry),
                EntryKind::Directory => {
                    let beneath = match self.look_at(&entry.path) {
                        Ok(beneath) => beneath,
                        Err(ReadError::BudgetExceeded) => return Err(ReadError::BudgetExceeded),
                        // It is no directory, or went away: there is nothing beneath it.
                        Err(_) => continue,
                    };
                    open.extend(self.worth_a_look(&glob, beneath));
                }
                EntryKind::File | EntryKind::Symlink | EntryKind::Other => {}
            }
        }
        Ok(found)
    }

    /// Returns what can lead to a match, in the reverse order of the paths of the files.
    fn worth_a_look(&self, glob: &TreeGlob, entries: Vec<Entry>) -> Vec<Entry> {
        let mut entries: Vec<(String, Entry)> = entries
            .into_iter()
            .filter(|entry| match entry.kind {
                EntryKind::File => true,
                EntryKind::Directory => glob.may_match_beneath(&entry.path),
                EntryKind::Symlink | EntryKind::Other => false,
            })
            .filter(|entry| !self.policy.denies(&entry.path))
            // `a.txt` comes before `a/b`, so a directory is ordered by what its files begin with.
            .map(|entry| match entry.kind {
                EntryKind::Directory => (format!("{}/", entry.path), entry),
                _ => (entry.path.clone(), entry),
            })
            .collect();
        entries.sort_by(|one, other| other.0.cmp(&one.0));
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Reads a piece of a file.
    pub(crate) fn read(
        &mut self,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, ReadError> {
        self.begin()?;
        self.check(path)?;
        if length > self.read_bytes_max {
            return Err(ReadError::BudgetExceeded);
        }
        self.take(path, offset, length)
    }

    /// Reads a whole file as text.
    pub(crate) fn read_text(&mut self, path: &str) -> Result<String, ReadError> {
        self.begin()?;
        self.check(path)?;
        let entry = self.tree.metadata(path)?;
        if entry.kind == EntryKind::File && entry.size > self.read_bytes_max {
            return Err(ReadError::BudgetExceeded);
        }
        // One byte more, so that a file that has grown meanwhile is not cut without a word.
        let bytes = self.take(path, 0, self.read_bytes_max + 1)?;
        if bytes.len() as u64 > self.read_bytes_max {
            return Err(ReadError::BudgetExceeded);
        }
        String::from_utf8(bytes).map_err(|_| ReadError::NotUtf8)
    }

    fn begin(&mut self) -> Result<(), ReadError> {
        self.counts.calls += 1;
        if self.counts.calls > self.calls_max {
            self.exhausted = true;
        }
        if self.exhausted { Err(ReadError::BudgetExceeded) } else { Ok(()) }
    }

    /// Refuses what the rules of paths or the policy forbid. A withheld path that is not there is not there.
    fn check(&mut self, path: &str) -> Result<(), ReadError> {
        if is_root(path) {
            return Ok(());
        }
        if check_path(path).is_err() {
            self.counts.denied += 1;
            return Err(ReadError::Denied);
        }
        if self.policy.denies(path) {
            self.counts.denied += 1;
            return match self.tree.metadata(path) {
                Err(TreeError::NotFound { .. }) => Err(ReadError::NotFound),
                _ => Err(ReadError::Denied),
            };
        }
        Ok(())
    }

    /// Lists a directory and takes what was looked at from the budget.
    fn look_at(&mut self, path: &str) -> Result<Vec<Entry>, ReadError> {
        let left = self.entries_max.saturating_sub(self.counts.entries);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        match self.tree.entries(path, left) {
            Ok(entries) => {
                self.counts.entries += entries.len() as u64;
                Ok(entries)
            }
            Err(error) => {
                let error = ReadError::from(error);
                if error == ReadError::BudgetExceeded {
                    self.exhausted = true;
                } else if error == ReadError::Denied {
                    self.counts.denied += 1;
                }
                Err(error)
            }
        }
    }

    /// Reads bytes and takes them from the budget.
    fn take(&mut self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>, ReadError> {
        let left = self.bytes_max.saturating_sub(self.counts.bytes);
        let wanted = usize::try_from(length.min(left.saturating_add(1))).unwrap_or(usize::MAX);
        let bytes = self.tree.read(path, offset, wanted).inspect_err(|error| {
            if matches!(error, TreeError::Denied { .. }) {
                self.counts.denied += 1;
            }
        })?;
        if bytes.len() as u64 > left {
            self.exhausted = true;
            return Err(ReadError::BudgetExceeded);
        }
        self.counts.bytes += bytes.len() as u64;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use caelum_core::tree::MapTree;

    use super::*;

    fn limits() -> Limits {
        Limits {
            target_calls_max: 5,
            target_bytes_max: 10,
            target_entries_max: 8,
            target_read_bytes_max: 6,
            ..Limits::default()
        }
    }

    fn reads_of(files: &[(&str, &str)], limits: &Limits) -> Reads {
        let tree: MapTree = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
        let policy = TargetPolicy::default().compile().expect("the defaults are globs");
        Reads::new(Arc::new(tree), Arc::new(policy), limits)
    }

    fn paths(entries: Vec<Entry>) -> Vec<String> {
        entries.into_iter().map(|entry| entry.path).collect()
    }

    #[test]
    fn paths_that_leave_the_root_are_denied() {
        for path in ["../x", "/etc/passwd", "a/../../b", "a//b", "./a", "a\0b", "a\\b", "c:/x"] {
            let mut reads = reads_of(&[("a", "1")], &Limits::default());
            assert_eq!(reads.read(path, 0, 1), Err(ReadError::Denied), "{path:?}");
            assert_eq!(reads.read_text(path), Err(ReadError::Denied), "{path:?}");
            assert_eq!(reads.entries(path), Err(ReadError::Denied), "{path:?}");
            assert_eq!(reads.counts().denied, 3);
        }
    }

    #[test]
    fn what_is_withheld_is_not_listed_and_not_read_but_can_be_told_from_nothing() {
        let mut reads = reads_of(
            &[(".env", "A=1"), (".git/HEAD", "x"), ("a", "1"), ("b/.env", "B=2")],
            &Limits::default(),
        );

        assert_eq!(paths(reads.entries("").expect("root")), ["a", "b"]);
        assert_eq!(reads.glob("**/.env", 9), Ok(vec![]));
        assert_eq!(reads.read_text(".env"), Err(ReadError::Denied));
        assert_eq!(reads.entries(".git"), Err(ReadError::Denied));
        assert_eq!(reads.read_text("c/.env"), Err(ReadError::NotFound));
    }

    #[test]
    fn a_glob_answers_in_the_order_of_the_paths_and_stops_at_its_limit() {
        let files =
            [("a.txt", ""), ("a/b.txt", ""), ("a/c/d.txt", ""), ("a0.txt", ""), ("z.md", "")];
        let mut reads = reads_of(&files, &Limits::default());

        assert_eq!(
            paths(reads.glob("**/*.txt", 9).expect("four")),
            ["a.txt", "a/b.txt", "a/c/d.txt", "a0.txt"]
        );
        assert_eq!(paths(reads.glob("**/*.txt", 2).expect("two")), ["a.txt", "a/b.txt"]);
        assert_eq!(paths(reads.glob("a/*.txt", 9).expect("one")), ["a/b.txt"]);
        assert_eq!(reads.glob("nowhere/*.txt", 9), Ok(vec![]));
        assert_eq!(reads.glob("../**", 9), Ok(vec![]));
    }

    #[test]
    fn a_narrow_glob_looks_at_little() {
        let files = [("a/b/c/d", ""), ("a/b/e", ""), ("f/g/h", "")];
        let mut reads = reads_of(&files, &Limits::default());

        assert_eq!(paths(reads.glob("a/*/e", 9).expect("one")), ["a/b/e"]);

        // Beneath `a` one, beneath `a/b` two; `a/b/c` and `f` were not opened.
        assert_eq!(reads.counts().entries, 3);
    }

    #[test]
    fn the_last_call_of_the_budget_is_answered_and_the_next_is_not() {
        let mut reads = reads_of(&[("a", "1")], &limits());

        for _ in 0..5 {
            assert_eq!(reads.read("a", 0, 1), Ok(b"1".to_vec()));
        }

        assert_eq!(reads.read("a", 0, 1), Err(ReadError::BudgetExceeded));
        assert_eq!(reads.entries(""), Err(ReadError::BudgetExceeded));
    }

    #[test]
    fn the_last_byte_of_the_budget_is_given_and_the_next_is_not() {
        let mut reads = reads_of(&[("a", "123456"), ("b", "1234"), ("c", "1")], &limits());

        assert_eq!(reads.read_text("a"), Ok("123456".to_owned()));
        assert_eq!(reads.read_text("b"), Ok("1234".to_owned()));
        assert_eq!(reads.read_text("c"), Err(ReadError::BudgetExceeded));
        assert_eq!(reads.read("a", 0, 1), Err(ReadError::BudgetExceeded));
    }

    #[test]
    fn one_read_gives_only_so_much_and_does_not_end_the_budget() {
        let mut reads = reads_of(&[("a", "1234567")], &limits());

        assert_eq!(reads.read("a", 0, 7), Err(ReadError::BudgetExceeded));
        assert_eq!(reads.read_text("a"), Err(ReadError::BudgetExceeded));
        assert_eq!(reads.read("a", 0, 6), Ok(b"123456".to_vec()));
    }

    #[test]
    fn entries_beyond_the_budget_are_not_listed() {
        let names: Vec<String> = (0..9).map(|number| format!("f{number}")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();

        assert_eq!(reads_of(&files[..8], &limits()).entries("").map(|found| found.len()), Ok(8));
        assert_eq!(reads_of(&files, &limits()).entries(""), Err(ReadError::BudgetExceeded));
        assert_eq!(reads_of(&files, &limits()).glob("*", 1), Err(ReadError::BudgetExceeded));
    }

    #[test]
    fn text_that_is_not_utf_8_can_still_be_read_as_bytes() {
        let tree: MapTree = [("a", b"\xff\xfe".as_slice())].into_iter().collect();
        let policy = TargetPolicy::default().compile().expect("the defaults are globs");
        let mut reads = Reads::new(Arc::new(tree), Arc::new(policy), &Limits::default());

        assert_eq!(reads.read_text("a"), Err(ReadError::NotUtf8));
        assert_eq!(reads.read("a", 0, 9), Ok(b"\xff\xfe".to_vec()));
    }
}
