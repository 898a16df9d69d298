//! A copy of what taking applications back needs: which were applied, and the bytes from before them.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::error::ComponentsError;
use crate::resolve::Components;

/// What is under way belongs to the files of this machine at this moment, and to no copy.
const LEFT_OUT: &str = "open";

impl Components {
    /// Copies the journal beneath the data directory `to`, which exists and has none. Whatever was applied before the
    /// call is in the copy; on disk when this returns. Reads and writes the disk: call it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// [`ComponentsError::Journal`] with what could not be read or written.
    pub fn back_up(&self, to: &Path) -> Result<(), ComponentsError> {
        let from = self.0.journal.folder();
        let to = to.join(from.file_name().unwrap_or_default());
        copy(from, &to, true)
    }
}

fn copy(from: &Path, to: &Path, top: bool) -> Result<(), ComponentsError> {
    let reading = |source| failed("read", from, source);
    fs::create_dir(to).map_err(|source| failed("write", to, source))?;
    for entry in fs::read_dir(from).map_err(reading)? {
        let entry = entry.map_err(reading)?;
        let (name, path) = (entry.file_name(), entry.path());
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed("read", &path, error)),
        };
        if kind.is_dir() && top && name == LEFT_OUT {
            fs::create_dir(to.join(&name)).map_err(|source| failed("write", to, source))?;
        } else if kind.is_dir() {
            copy(&path, &to.join(&name), false)?;
        } else if kind.is_file() && path.extension().is_none_or(|end| end != "tmp") {
            copy_file(&path, &to.join(&name))?;
        }
    }
    File::open(to)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| failed("write", to, source))
}

fn copy_file(from: &Path, to: &Path) -> Result<(), ComponentsError> {
    match fs::copy(from, to) {
        Ok(_) => {}
        // Taken back and forgotten since the folder was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !from.exists() => return Ok(()),
        Err(error) => return Err(failed("write", to, error)),
    }
    File::open(to).and_then(|file| file.sync_all()).map_err(|source| failed("write", to, source))
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> ComponentsError {
    ComponentsError::Journal { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_what_is_under_way_is_copied() {
        let place = tempfile::tempdir().expect("a directory");
        let (data, copy) = (place.path().join("data"), place.path().join("copy"));
        fs::create_dir_all(&data).expect("made");
        fs::create_dir_all(&copy).expect("made");
        let components =
            Components::open(&[place.path().to_owned()], None, &data).expect("it opens");
        let journal = data.join("journal");
        fs::create_dir(journal.join("blobs/ap_1")).expect("made");
        for file in ["ap_1.json", "blobs/ap_1/ab", "open/ap_2.json", "reverted/ap_0.json", "x.tmp"]
        {
            fs::write(journal.join(file), file).expect("written");
        }

        components.back_up(&copy).expect("copied");

        let copied = copy.join("journal");
        for file in ["ap_1.json", "blobs/ap_1/ab", "reverted/ap_0.json"] {
            assert_eq!(fs::read_to_string(copied.join(file)).expect("is there"), file);
        }
        assert!(!copied.join("open/ap_2.json").exists() && !copied.join("x.tmp").exists());
        Components::open(&[place.path().to_owned()], None, &copy).expect("the copy opens");
    }
}
