//! Looking at the plugins directory: which files want to be plugins, and whether they are what they were.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::loader::{CaptureError, Identity, LoadError, check_owner, identity};

/// A file that wants to be a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// What it is now; nothing when it cannot be looked at, which loading it will tell.
    pub(super) identity: Option<Identity>,
    /// How long ago it was changed.
    pub(super) age: Duration,
}

/// Lists the files that want to be plugins, by path. Blocks.
///
/// # Errors
///
/// Why nothing in the directory can be trusted or read. A directory that is not there is empty.
pub(super) fn list(directory: &Path) -> Result<Vec<Found>, LoadError> {
    let metadata = match fs::metadata(directory) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(CaptureError::Io(error).into()),
    };
    // Who can put files here can have code run, if only in the sandbox.
    check_owner(&metadata)?;
    let entries = fs::read_dir(directory).map_err(CaptureError::Io)?;
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_candidate(path)).collect();
    paths.sort();
    let now = SystemTime::now();
    Ok(paths
        .into_iter()
        .map(|path| {
            let metadata = fs::symlink_metadata(&path).ok();
            let age = metadata.as_ref().map_or(Duration::MAX, |metadata| age(metadata, now));
            Found { identity: metadata.as_ref().map(identity), age, path }
        })
        .collect())
}

/// Returns how long ago a file was changed, by the one of its times that nobody can set. A clock that was set back
/// makes it old, so that nothing waits for ever.
fn age(metadata: &fs::Metadata, now: SystemTime) -> Duration {
    let seconds = Duration::from_secs(u64::try_from(metadata.ctime()).unwrap_or(0));
    let rest = Duration::from_nanos(u64::try_from(metadata.ctime_nsec()).unwrap_or(0));
    let changed = SystemTime::UNIX_EPOCH + seconds + rest;
    now.duration_since(changed).unwrap_or(Duration::MAX)
}

/// Whether a file's name says that somebody wants it to be a plugin.
fn is_candidate(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("wasm" | "cwasm"))
}
