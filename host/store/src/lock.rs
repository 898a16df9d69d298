//! One data directory, one process: a lock that the operating system gives back when the process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::StoreError;

/// The held lock of a data directory. Everything that has the database open holds a share of it, so that it is given
/// back when the last connection is closed.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Takes the lock, and leaves the number of this process in the file for whoever comes second.
    pub(crate) fn take(path: &Path, directory: &Path) -> Result<Self, StoreError> {
        let failed =
            |doing| move |source| StoreError::Directory { doing, path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        private(&mut options);
        let mut file = options.open(path).map_err(failed("open the lock file"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = file
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| text.trim().parse::<u32>().ok());
                return Err(StoreError::Busy { path: directory.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        // The number only helps whoever is refused: on a full disk the store opens without it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()));
        Ok(DirectoryLock { file })
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing the file gives the lock back as well; an error here has nobody to tell.
        let _ = self.file.unlock();
    }
}

/// Makes a file that is created readable by its owner alone: it holds parameters and outputs of workflows.
pub(crate) fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = options;
}

/// Makes the data directory, readable by its owner alone, when it is missing.
pub(crate) fn make_directory(path: &Path) -> Result<(), StoreError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path).map_err(|source| StoreError::Directory {
        doing: "make the data directory",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_holder_is_told_who_the_first_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("caelum.lock");
        let first = DirectoryLock::take(&path, directory.path()).expect("free");

        let error = DirectoryLock::take(&path, directory.path()).expect_err("held");

        assert!(
            matches!(&error, StoreError::Busy { pid: Some(pid), .. } if *pid == std::process::id()),
            "{error}"
        );
        drop(first);
        DirectoryLock::take(&path, directory.path()).expect("free again");
    }
}
