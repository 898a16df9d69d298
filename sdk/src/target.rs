//! The tree that a call is about, as a plugin sees it. The real one asks the host (`host.rs`), the fake one for tests
//! is `testing::FakeTarget`.

use std::fmt;

/// The most that one read gives, in bytes: 1 MiB. The contract's limit; [`Target::read_all`] reads in pieces of it.
pub const READ_BYTES_MAX: u32 = 1024 * 1024;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, wherever it leads. It cannot be read through.
    Symlink,
    /// Anything else. It cannot be read.
    Other,
}

/// One thing in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, relative to the root.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes when it is a file, otherwise 0.
    pub size: u64,
}

impl Entry {
    /// Returns the last part of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Answers whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }
}

/// Why a read failed, without the path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetErrorCode {
    /// Nothing is there.
    NotFound,
    /// It is withheld, leads out of the root, passes through a link, or the path breaks the rules of paths.
    Denied,
    /// A file was asked for and something else is there.
    NotAFile,
    /// A directory was asked for and something else is there.
    NotADirectory,
    /// The file is not UTF-8 text.
    NotUtf8,
    /// The call has used up what it may read, or asked for more at once than one read may give.
    BudgetExceeded,
    /// The host's file system failed, or a glob cannot be parsed.
    Io(String),
}

/// Why a read failed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    /// The path or glob that was asked for.
    pub path: String,
    /// Why it failed.
    pub code: TargetErrorCode,
}

impl TargetError {
    /// Makes an error about a path.
    pub fn new(path: impl Into<String>, code: TargetErrorCode) -> Self {
        Self { path: path.into(), code }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, code } = self;
        match code {
            TargetErrorCode::NotFound => write!(formatter, "`{path}` does not exist"),
            TargetErrorCode::Denied => write!(formatter, "`{path}` may not be read"),
            TargetErrorCode::NotAFile => write!(formatter, "`{path}` is not a regular file"),
            TargetErrorCode::NotADirectory => write!(formatter, "`{path}` is not a directory"),
            TargetErrorCode::NotUtf8 => write!(formatter, "`{path}` is not UTF-8 text"),
            TargetErrorCode::BudgetExceeded => {
                write!(formatter, "`{path}` is more than this call may read")
            }
            TargetErrorCode::Io(message) => write!(formatter, "`{path}` cannot be read: {message}"),
        }
    }
}

impl std::error::Error for TargetError {}

/// Reads the tree of the current call. Paths are relative to its root, `/` between their parts; the root is `""`.
///
/// All reads of a call share a budget (10,000 calls, 32 MiB, 100,000 entries). The tree does not change during a call.
pub trait Target {
    /// Lists one level of a directory, sorted by path.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `NotADirectory`, `BudgetExceeded`, `Io`.
    fn entries(&self, path: &str) -> Result<Vec<Entry>, TargetError>;

    /// Lists the files of the whole tree that match a glob, sorted by path, at most `limit`. Write `**/Dockerfile` to
    /// look in every directory; see [`Glob`](crate::Glob) for the grammar.
    ///
    /// # Errors
    /// `BudgetExceeded`; `Io` when the glob cannot be parsed.
    fn glob(&self, pattern: &str, limit: u32) -> Result<Vec<Entry>, TargetError>;

    /// Reads at most `length` bytes from `offset` on. Fewer come back only at the end of the file.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `NotAFile`, `Io`; `BudgetExceeded` also for a `length` above [`READ_BYTES_MAX`].
    fn read(&self, path: &str, offset: u64, length: u32) -> Result<Vec<u8>, TargetError>;

    /// Reads a whole file of at most [`READ_BYTES_MAX`] bytes as text.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `NotAFile`, `NotUtf8`, `Io`; `BudgetExceeded` also for a larger file.
    fn read_text(&self, path: &str) -> Result<String, TargetError>;

    /// Reads a whole file of any length, in pieces.
    ///
    /// # Errors
    /// Those of [`Target::read`].
    fn read_all(&self, path: &str) -> Result<Vec<u8>, TargetError> {
        let mut bytes = Vec::new();
        loop {
            let piece = self.read(path, bytes.len() as u64, READ_BYTES_MAX)?;
            let last = piece.len() < READ_BYTES_MAX as usize;
            bytes.extend(piece);
            if last {
                return Ok(bytes);
            }
        }
    }

    /// Reads a text file that need not be there: `None` when it is not.
    ///
    /// # Errors
    /// Those of [`Target::read_text`] except `NotFound`.
    fn read_text_if_present(&self, path: &str) -> Result<Option<String>, TargetError> {
        match self.read_text(path) {
            Ok(text) => Ok(Some(text)),
            Err(TargetError { code: TargetErrorCode::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Answers whether a readable file stands at a path.
    ///
    /// # Errors
    /// `BudgetExceeded`, `Io`.
    fn is_file(&self, path: &str) -> Result<bool, TargetError> {
        match self.read(path, 0, 0) {
            Ok(_) => Ok(true),
            Err(error) => match error.code {
                TargetErrorCode::BudgetExceeded | TargetErrorCode::Io(_) => Err(error),
                _ => Ok(false),
            },
        }
    }
}
