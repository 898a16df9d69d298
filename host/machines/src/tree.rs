//! Reads files beneath a directory and never outside of it: links are followed only as long as they stay beneath.
//! Nothing but regular files is opened, so that a pipe or a device cannot hold a reader up.

use std::io::{self, Read};
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, Metadata, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;

/// Opens the directory that reads are confined to.
pub(crate) fn open(path: &Path) -> io::Result<Dir> {
    Dir::open_ambient_dir(path, ambient_authority())
}

/// Opens a regular file; nothing when something else stands there.
pub(crate) fn open_file(dir: &Dir, path: &Path) -> io::Result<Option<(File, Metadata)>> {
    if !dir.metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut options = OpenOptions::new();
    // Without waiting: between the look and the opening it may have become a pipe.
    options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = dir.open_with(path, &options)?;
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some((file, metadata)))
}

/// Reads the beginning of a file as text. Bytes that are not UTF-8 are replaced; a character that the limit cuts is left
/// out.
pub(crate) fn read_text(file: &mut impl Read, bytes_max: u64) -> io::Result<(String, bool)> {
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    let truncated = bytes.len() as u64 > bytes_max;
    if truncated {
        bytes.pop();
        let whole = match std::str::from_utf8(&bytes) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => bytes.len(),
        };
        bytes.truncate(whole);
    }
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Ok((text, truncated))
}
