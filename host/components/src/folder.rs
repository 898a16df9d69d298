//! A directory held open, and steps beneath it that never follow a symbolic link: every part of a path is opened on its
//! own and refused when it is a link, so that nobody who renames or links things meanwhile can lead a step elsewhere.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Why a step did not get where it wanted.
#[derive(Debug)]
pub(crate) enum Miss {
    /// Nothing is there.
    NotFound,
    /// The path leads through a symbolic link, or is one.
    Link(String),
    /// A part of the path that should be a directory is something else.
    NotADirectory,
    /// It is no regular file.
    NotAFile,
    /// The operating system failed.
    Io(io::Error),
}

impl From<Errno> for Miss {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT => Miss::NotFound,
            Errno::NOTDIR => Miss::NotADirectory,
            other => Miss::Io(other.into()),
        }
    }
}

impl Miss {
    /// Returns the same as an I/O error, for steps after which nothing is decided by the reason.
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Miss::NotFound => io::ErrorKind::NotFound.into(),
            Miss::Link(part) => {
                io::Error::other(format!("`{}` is a symbolic link", part.escape_debug()))
            }
            Miss::NotADirectory => io::ErrorKind::NotADirectory.into(),
            Miss::NotAFile => io::Error::other("it is not a regular file"),
            Miss::Io(error) => error,
        }
    }
}

/// How directories are opened: for reading, so that they can be listed, synced and locked.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How files are opened for reading. Without waiting: between the look and the opening it may have become a pipe.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// A directory held open.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Folder {
    /// Takes a directory that somebody confined already.
    pub(crate) fn reopen(directory: &impl AsFd) -> io::Result<Folder> {
        Ok(Folder(rustix::fs::openat(directory, c".", DIRECTORY, Mode::empty())?))
    }

    /// Opens a directory of the host's own.
    pub(crate) fn ambient(path: &std::path::Path) -> io::Result<Folder> {
        Ok(Folder(rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?))
    }

    /// Opens the directory at a plain path; the empty path is this directory.
    pub(crate) fn folder(&self, path: &str) -> Result<Folder, Miss> {
        let mut at = rustix::fs::openat(self, c".", DIRECTORY, Mode::empty())?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at = match rustix::fs::openat(&at, part, DIRECTORY, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let there = rustix::fs::statat(&at, part, AtFlags::SYMLINK_NOFOLLOW)?;
                    return Err(match kind(&there) {
                        FileType::Symlink => Miss::Link(part.to_owned()),
                        _ => Miss::NotADirectory,
                    });
                }
                Err(error) => return Err(error.into()),
            };
        }
        Ok(Folder(at))
    }

    /// Opens the directory that a plain path lies in, and returns the last part beside it.
    pub(crate) fn parent<'p>(&self, path: &'p str) -> Result<(Folder, &'p str), Miss> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.folder(above)?, name))
    }

    /// Says what stands at a plain path, without following a link.
    pub(crate) fn look(&self, path: &str) -> Result<Stat, Miss> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Opens a regular file for reading.
    pub(crate) fn open(&self, path: &str) -> Result<(File, Stat), Miss> {
        let (parent, name) = self.parent(path)?;
        let there = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match kind(&there) {
            FileType::RegularFile => {}
            FileType::Symlink => return Err(Miss::Link(name.to_owned())),
            _ => return Err(Miss::NotAFile),
        }
        let file = match rustix::fs::openat(&parent, name, READ, Mode::empty()) {
            Err(Errno::LOOP) => return Err(Miss::Link(name.to_owned())),
            opened => opened?,
        };
        let stat = rustix::fs::fstat(&file)?;
        if kind(&stat) != FileType::RegularFile {
            return Err(Miss::NotAFile);
        }
        Ok((file.into(), stat))
    }

    /// Lists the names in this directory, at most `max` and one more.
    pub(crate) fn names(&self, max: usize) -> Result<Vec<String>, Miss> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(self)? {
            let entry = entry?;
            // A name that is not UTF-8 cannot be said to a plugin, nor named in a plan.
            let Ok(name) = CStr::to_str(entry.file_name()) else {
                continue;
            };
            if matches!(name, "." | "..") {
                continue;
            }
            names.push(name.to_owned());
            if names.len() > max {
                break;
            }
        }
        Ok(names)
    }

    /// Makes sure that what was done to names in this directory is on disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(self)?)
    }
}

/// Returns what a status is about.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Returns the length of a file.
pub(crate) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

/// Returns the permission bits.
pub(crate) fn permissions(stat: &Stat) -> u32 {
    stat.st_mode & 0o7777
}
