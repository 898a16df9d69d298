//! A component's files as patterns see them: straight from disk, no link followed.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use caelum_core::pattern::check_path;
use caelum_core::tree::{Entry, EntryKind, Tree, TreeError, is_root};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use crate::folder::{Folder, Miss, kind, size};

/// A directory on disk.
#[derive(Debug)]
pub struct DirTree(Arc<Folder>);

impl DirTree {
    pub(crate) fn new(folder: Arc<Folder>) -> Self {
        DirTree(folder)
    }
}

impl Tree for DirTree {
    fn entries(&self, path: &str, max: usize) -> Result<Vec<Entry>, TreeError> {
        let within = if is_root(path) { "" } else { plain(path)? };
        let folder = self.0.folder(within).map_err(|miss| told(path, miss))?;
        let mut entries = Vec::new();
        let names = folder.names(max).map_err(|miss| told(path, miss))?;
        if names.len() > max {
            return Err(TreeError::TooManyEntries { path: path.to_owned(), max });
        }
        for name in names {
            let path = if within.is_empty() { name.clone() } else { format!("{within}/{name}") };
            match rustix::fs::statat(&folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entries.push(entry(path, &stat)),
                // It went away between the listing and the look.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(told(&path, error.into())),
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn metadata(&self, path: &str) -> Result<Entry, TreeError> {
        if is_root(path) {
            return Ok(Entry { path: String::new(), kind: EntryKind::Directory, size: 0 });
        }
        let stat = self.0.look(plain(path)?).map_err(|miss| match miss {
            Miss::NotADirectory => TreeError::NotFound { path: path.to_owned() },
            other => told(path, other),
        })?;
        Ok(entry(path.to_owned(), &stat))
    }

    fn read(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, TreeError> {
        let (file, stat) = self.0.open(plain(path)?).map_err(|miss| match miss {
            Miss::NotADirectory => TreeError::NotFound { path: path.to_owned() },
            other => told(path, other),
        })?;
        let left = usize::try_from(size(&stat).saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(left)];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(told(path, Miss::Io(error))),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

fn plain(path: &str) -> Result<&str, TreeError> {
    match check_path(path) {
        Ok(()) => Ok(path),
        Err(reason) => Err(TreeError::Denied { path: path.to_owned(), reason }),
    }
}

fn entry(path: String, stat: &rustix::fs::Stat) -> Entry {
    let kind = match kind(stat) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Other,
    };
    let size = if kind == EntryKind::File { size(stat) } else { 0 };
    Entry { path, kind, size }
}

fn told(path: &str, miss: Miss) -> TreeError {
    let path = path.to_owned();
    match miss {
        Miss::NotFound => TreeError::NotFound { path },
        Miss::Link(part) => TreeError::Denied {
            path,
            reason: format!("`{}` is a symbolic link", part.escape_debug()),
        },
        Miss::NotADirectory => TreeError::NotADirectory { path },
        Miss::NotAFile => TreeError::NotAFile { path },
        Miss::Io(error) => TreeError::Io { path, message: error.to_string() },
    }
}
