//! One data directory, one process: a lock that the operating system gives back when the process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::StoreError;

/// How long to wait for a lock whose holder is dead. A program that the holder was just about to start has a share of all
/// its open files until it really starts; on a busy machine that takes a moment, and the holder may be killed in it.
const DEAD_HOLDER_WAIT: Duration = Duration::from_secs(2);

/// How often to look meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(5);

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
        let until = Instant::now() + DEAD_HOLDER_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let pid = holder(&mut file);
                    if pid.is_some_and(is_alive) || Instant::now() > until {
                        return Err(StoreError::Busy { path: directory.to_owned(), pid });
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
            }
        }
        // The number only helps whoever is refused: on a full disk the store opens without it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()));
        Ok(DirectoryLock { file })
    }
}

/// Reads who holds the lock, where that is known.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text)).ok()?;
    text.trim().parse().ok()
}

/// Whether a process is there and has not ended, as far as can be seen.
fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // Its name may hold anything; behind the last parenthesis comes the state.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| !rest.starts_with(['Z', 'X']))
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

    /// A server that was killed while it started a program: its successor came when the program had not started yet, and
    /// was told that the dead one held the directory.
    #[test]
    fn a_lock_that_outlives_its_dead_holder_for_a_moment_is_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("caelum.lock");
        let mut dead = std::process::Command::new("true").spawn().expect("it starts");
        dead.wait().expect("it ends");
        std::fs::write(&path, format!("{}\n", dead.id())).expect("written");
        let share = File::open(&path).expect("opens");
        share.lock().expect("free");
        let (begun, begins) = std::sync::mpsc::channel();
        let starts = std::thread::spawn(move || {
            begins.recv().expect("it comes");
            std::thread::sleep(10 * LOOK_EVERY);
            drop(share);
        });

        begun.send(()).expect("it waits");
        let taken = DirectoryLock::take(&path, directory.path());

        taken.expect("given back in time");
        starts.join().expect("it does not panic");
    }
}
