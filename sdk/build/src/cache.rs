//! Components that were built before, by what they were made from, and the lock that lets builds run side by side.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::Built;
use crate::component::{self, Component};
use crate::error::BuildError;
use crate::manifest::Package;
use crate::toolchain::Toolchain;

/// How many contents of one package are kept: enough to go back and forth between a few branches.
const KEPT: usize = 8;

/// How many digits of the key a file name holds. 80 bits: no collision among the files of one directory.
const KEY_DIGITS: usize = 20;

/// The components of one target directory.
pub(crate) struct Cache {
    directory: PathBuf,
}

impl Cache {
    pub(crate) fn new(target_dir: &Path) -> Self {
        Self { directory: target_dir.join("components") }
    }

    /// Waits until no other process builds into this directory. Dropping the file ends the lock, and so does the end of
    /// the process, whatever its reason.
    pub(crate) fn lock(&self) -> Result<File, BuildError> {
        let path = self.directory.join(".lock");
        fs::create_dir_all(&self.directory).map_err(BuildError::file("make", &self.directory))?;
        let file = File::create(&path).map_err(BuildError::file("make", &path))?;
        file.lock().map_err(BuildError::file("lock", &path))?;
        Ok(file)
    }

    /// Finds what was made of the same input before. A file that is no plugin any more counts as absent.
    pub(crate) fn find(
        &self,
        package: &Package,
        key: &str,
        toolchain: &Toolchain,
    ) -> Result<Option<Built>, BuildError> {
        let path = self.path(package, key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BuildError::file("read", &path)(error)),
        };
        Ok(component::read_identity(&bytes).ok().map(|identity| Built {
            package: package.name.clone(),
            identity,
            sha256: component::sha256(&bytes),
            path,
            toolchain: toolchain.clone(),
            cached: true,
        }))
    }

    /// Keeps a component. On return the whole file is there under its name. Called with the lock held, so that one
    /// unfinished file for each package is enough.
    pub(crate) fn store(
        &self,
        package: &Package,
        key: &str,
        toolchain: &Toolchain,
        component: &Component,
    ) -> Result<Built, BuildError> {
        let path = self.path(package, key);
        let unfinished = self.directory.join(format!(".{}.unfinished", package.name));
        fs::write(&unfinished, &component.bytes).map_err(BuildError::file("write", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(BuildError::file("write", &path))?;
        self.forget_old(package);
        Ok(Built {
            package: package.name.clone(),
            identity: component.identity.clone(),
            sha256: component::sha256(&component.bytes),
            path,
            toolchain: toolchain.clone(),
            cached: false,
        })
    }

    fn path(&self, package: &Package, key: &str) -> PathBuf {
        self.directory.join(format!("{}.{}.wasm", package.name, &key[..KEY_DIGITS]))
    }

    /// Removes the oldest contents of a package beyond [`KEPT`]. Failing to is no reason to fail a build.
    fn forget_old(&self, package: &Package) {
        let prefix = format!("{}.", package.name);
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        let old = files.len().saturating_sub(KEPT);
        for (_, path) in files.into_iter().take(old) {
            fs::remove_file(path).ok();
        }
    }
}
