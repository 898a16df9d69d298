//! The first stage: a file's bytes, read once from one descriptor, and their digest.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::Bytes;
use caelum_core::id::Digest;
use rustix::fs::{CWD, Mode, OFlags, openat};
use sha2::{Digest as _, Sha256};

/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 3;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// It is a symbolic link.
    #[error("it is a symbolic link; expected a regular file")]
    Symlink,
    /// It is a directory, a pipe, a device.
    #[error("it is {found}; expected a regular file")]
    NotAFile {
        /// What it is.
        found: &'static str,
    },
    /// Somebody else owns it.
    #[error(
        "it belongs to the user with the number {owner}; expected this server's user ({ours}) or root"
    )]
    Owner {
        /// Whose it is.
        owner: u32,
        /// Who we are.
        ours: u32,
    },
    /// Others may write it.
    #[error("others may write to it (mode {mode:03o})")]
    Writable {
        /// Its permission bits.
        mode: u32,
    },
    /// It is too large.
    #[error("it has {bytes} bytes; at most {max} are allowed")]
    TooLarge {
        /// How large it is.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// It changed while it was read.
    #[error("it is still being written")]
    Changing,
    /// It is compiled code of some engine.
    #[error("it is a file of compiled code; expected a component")]
    Compiled,
    /// The file system failed.
    #[error("it cannot be read: {0}")]
    Io(#[source] io::Error),
}

impl CaptureError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            CaptureError::Symlink => "copy the file itself into the plugins directory",
            CaptureError::NotAFile { .. } => "put a component (`*.wasm`) there",
            CaptureError::Owner { .. } => "chown the file to the user that runs the server",
            CaptureError::Writable { .. } => "chmod 0644 the file",
            CaptureError::TooLarge { .. } => {
                "build it smaller (release, stripped), or raise `component_bytes_max`"
            }
            CaptureError::Changing => {
                "copy it under another name and rename it when it is complete"
            }
            CaptureError::Compiled => {
                "put the `.wasm` file there; the server compiles it by itself and keeps the result in its cache"
            }
            CaptureError::Io(_) => "check the file's permissions and the disk",
        }
    }
}

/// A file's bytes and their SHA-256.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
}

impl Captured {
    /// Takes bytes that are in memory already.
    pub(crate) fn new(bytes: Bytes) -> Self {
        let digest = Digest::from_bytes(&Sha256::digest(&bytes).into());
        Captured { bytes, digest }
    }
}

/// Reads a file. Blocks.
pub(crate) fn capture(path: &Path, bytes_max: u64) -> Result<Captured, CaptureError> {
    if path.extension().is_some_and(|extension| extension == "cwasm") {
        return Err(CaptureError::Compiled);
    }
    for _ in 0..ATTEMPTS {
        if let Some(bytes) = attempt(path, bytes_max)? {
            return Ok(Captured::new(bytes.into()));
        }
    }
    Err(CaptureError::Changing)
}

/// Reads a file once; nothing when it changed meanwhile.
fn attempt(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, CaptureError> {
    // NONBLOCK, so that a pipe without a writer does not hold us up before we see that it is one.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let descriptor = openat(CWD, path, flags, Mode::empty()).map_err(|error| {
        if error == rustix::io::Errno::LOOP {
            CaptureError::Symlink
        } else {
            CaptureError::Io(error.into())
        }
    })?;
    let mut file = File::from(descriptor);
    let before = file.metadata().map_err(CaptureError::Io)?;
    check(&before, bytes_max)?;
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0));
    // One byte more than it has, to see that it grows.
    (&mut file).take(before.len() + 1).read_to_end(&mut bytes).map_err(CaptureError::Io)?;
    let after = file.metadata().map_err(CaptureError::Io)?;
    let still = identity(&before) == identity(&after) && bytes.len() as u64 == before.len();
    Ok(still.then_some(bytes))
}

/// What tells a file from what it was: device, number, length, and both times of change.
pub(crate) type Identity = (u64, u64, u64, i64, i64, i64, i64);

/// Returns what tells a file from what it was.
pub(crate) fn identity(metadata: &Metadata) -> Identity {
    (
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

fn check(metadata: &Metadata, bytes_max: u64) -> Result<(), CaptureError> {
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a directory" } else { "a pipe, a socket or a device" };
        return Err(CaptureError::NotAFile { found });
    }
    check_owner(metadata)?;
    if metadata.len() > bytes_max {
        return Err(CaptureError::TooLarge { bytes: metadata.len(), max: bytes_max });
    }
    Ok(())
}

/// Refuses what another user owns or could change.
///
/// A group that is our own primary group may write: on many systems each user has a group of their own and new files
/// are writable for it.
pub(crate) fn check_owner(metadata: &Metadata) -> Result<(), CaptureError> {
    let ours = rustix::process::geteuid().as_raw();
    if metadata.uid() != ours && metadata.uid() != 0 {
        return Err(CaptureError::Owner { owner: metadata.uid(), ours });
    }
    let mode = metadata.mode() & 0o777;
    let group_may_write = mode & 0o020 != 0;
    let own_group = metadata.gid() == rustix::process::getegid().as_raw();
    if mode & 0o002 != 0 || (group_may_write && !own_group) {
        return Err(CaptureError::Writable { mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn message(result: Result<Captured, CaptureError>) -> String {
        result.expect_err("must be refused").to_string()
    }

    #[test]
    fn a_regular_file_is_read_with_its_digest() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.wasm");
        fs::write(&path, b"abc").expect("writes");

        let captured = capture(&path, 3).expect("a regular file");

        assert_eq!(captured.bytes, b"abc".as_slice());
        assert_eq!(
            captured.digest.as_str(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(message(capture(&path, 2)), "it has 3 bytes; at most 2 are allowed");
    }

    #[test]
    fn links_directories_pipes_and_compiled_files_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("real.wasm"), b"abc").expect("writes");
        std::os::unix::fs::symlink(at("real.wasm"), at("link.wasm")).expect("links");
        fs::create_dir(at("folder.wasm")).expect("makes");
        rustix::fs::mknodat(CWD, at("pipe.wasm"), rustix::fs::FileType::Fifo, Mode::RWXU, 0)
            .expect("makes");
        fs::write(at("a.cwasm"), b"abc").expect("writes");

        assert_eq!(
            message(capture(&at("link.wasm"), 9)),
            "it is a symbolic link; expected a regular file"
        );
        assert_eq!(
            message(capture(&at("folder.wasm"), 9)),
            "it is a directory; expected a regular file"
        );
        assert_eq!(
            message(capture(&at("pipe.wasm"), 9)),
            "it is a pipe, a socket or a device; expected a regular file"
        );
        assert_eq!(
            message(capture(&at("a.cwasm"), 9)),
            "it is a file of compiled code; expected a component"
        );
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.wasm");
        fs::write(&path, b"abc").expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).expect("sets");

        assert_eq!(message(capture(&path, 9)), "others may write to it (mode 646)");
    }
}
