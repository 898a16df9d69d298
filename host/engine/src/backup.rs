//! A copy of everything that is kept, while it is in use.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use caelum_core::near::did_you_mean;
use caelum_store::StoreError;

use crate::engine::{Engine, blocking};
use crate::error::{EngineError, Mistake};
use crate::retention::file_time;

/// The database's name in a data directory.
const DATABASE: &str = "caelum.db";

/// A backup that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupMade {
    /// Where: a database file, or a data directory.
    pub path: PathBuf,
    /// Whether it is a data directory, with before-images, plugins and names of components beside the database.
    pub whole: bool,
    /// How large it is, in bytes.
    pub bytes: u64,
}

impl Engine {
    /// Makes a backup of one moment, while everything goes on; it is checked and on disk, under its name, when this
    /// returns. A name that ends with `.db` becomes a copy of the database; any other one a data directory that a server
    /// can be started on: a directory that exists gets a new one in it, named by the time.
    ///
    /// # Errors
    ///
    /// A path that is not absolute, a name that is taken, a disk that is full or cannot be written.
    pub async fn back_up(&self, path: &Path) -> Result<BackupMade, EngineError> {
        if !path.is_absolute() {
            return Err(Mistake::new(
                "backup_path",
                format!("`{}` is not an absolute path", path.display()),
            )
            .hint("begin it with `/`: the server's own directory is not yours")
            .into());
        }
        if path.extension().is_some_and(|end| end == "db") {
            self.0.store.backup(path).await.map_err(|error| refused(path, error))?;
            let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
            return Ok(BackupMade { path: path.to_owned(), whole: false, bytes });
        }
        let path = match path.is_dir() {
            true => path.join(format!("caelum-backup-{}", file_time(self.now()))),
            false => path.to_owned(),
        };
        if path.exists() {
            return Err(taken(&path));
        }
        let partial = partial(&path);
        let made = self.fill(&partial).await;
        let named = made.and_then(|()| publish(&partial, &path));
        match named {
            Ok(()) => {
                let bytes = size(&path);
                Ok(BackupMade { path, whole: true, bytes })
            }
            Err(failed) => {
                // Nobody needs half a copy; that it may not be removable changes nothing about the failure.
                drop(fs::remove_dir_all(&partial));
                Err(failed)
            }
        }
    }

    /// Makes a data directory with everything that belongs into it.
    async fn fill(&self, to: &Path) -> Result<(), EngineError> {
        let options = &self.0.options;
        make(to).map_err(|source| unwritable(to, &source))?;
        // The database first: whatever it names has its bytes in the journal by then.
        let database = to.join(DATABASE);
        self.0.store.backup(&database).await.map_err(|error| refused(&database, error))?;
        let (components, place) = (self.0.components.clone(), to.to_owned());
        blocking("copying the journal of applications", move || components.back_up(&place)).await?;
        let names = options.components_file.clone().filter(|file| file.is_file());
        let plugins = options.plugins.directory.clone().filter(|folder| folder.is_dir());
        let place = to.to_owned();
        blocking("copying plugins and names of components", move || {
            if let Some(names) = names {
                copy(&names, &place.join("components.toml"))?;
            }
            if let Some(plugins) = plugins {
                let to = place.join("plugins");
                make(&to)?;
                for entry in fs::read_dir(plugins)? {
                    let entry = entry?;
                    if entry.file_type()?.is_file() {
                        copy(&entry.path(), &to.join(entry.file_name()))?;
                    }
                }
                File::open(to)?.sync_all()?;
            }
            File::open(&place)?.sync_all()
        })
        .await
    }
}

/// Returns where a copy grows. No two grow at one place, so neither takes away what the other has made so far.
fn partial(path: &Path) -> PathBuf {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let count = MADE.fetch_add(1, Ordering::Relaxed);
    let mut name = path.to_path_buf().into_os_string();
    name.push(format!(".{}-{count}.partial", std::process::id()));
    PathBuf::from(name)
}

/// Makes a directory that is readable by its owner alone: what is in it may be secret.
fn make(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::copy(from, to) {
        Ok(_) => File::open(to)?.sync_all(),
        // Taken away since the folder was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !from.exists() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives a copy that is whole its name.
fn publish(partial: &Path, path: &Path) -> Result<(), EngineError> {
    if path.exists() {
        return Err(taken(path));
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::rename(partial, path)
        .and_then(|()| File::open(parent)?.sync_all())
        .map_err(|source| unwritable(path, &source))
}

fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn taken(path: &Path) -> EngineError {
    Mistake::new("backup_exists", format!("`{}` exists already", path.display()))
        .hint("nothing is ever overwritten: give a name that is free, or a directory to put it in")
        .into()
}

fn unwritable(path: &Path, source: &io::Error) -> EngineError {
    let mut mistake = Mistake::new(
        "backup_unwritable",
        format!("`{}` cannot be written: {source}", path.display()),
    );
    let missing = path.parent().filter(|parent| !parent.exists());
    if let Some(missing) = missing {
        let beside = missing.parent().and_then(|place| fs::read_dir(place).ok());
        let names: Vec<String> = beside
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        let name = missing.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let near = did_you_mean(&name, names.iter().map(String::as_str));
        let hint = format!("there is no directory `{}`", missing.display());
        mistake = mistake.hint(match near {
            Some(near) => format!("{hint}; {near}"),
            None => hint,
        });
    } else if source.kind() == io::ErrorKind::StorageFull {
        mistake = mistake.hint("free space there, or give another place");
    } else {
        mistake = mistake.hint("give a place that the server's user can write");
    }
    mistake.into()
}

/// Tells what is wrong with the place of a copy from what is wrong with the store.
fn refused(path: &Path, error: StoreError) -> EngineError {
    match error {
        StoreError::AlreadyExists { .. } => taken(path),
        StoreError::Directory { source, .. } => unwritable(path, &source),
        StoreError::Full { path: full } if full != path && full.parent() != path.parent() => {
            EngineError::Store(StoreError::Full { path: full })
        }
        StoreError::Full { .. } => unwritable(path, &io::ErrorKind::StorageFull.into()),
        StoreError::ReadOnly { .. } => unwritable(path, &io::ErrorKind::PermissionDenied.into()),
        other => crate::executions::stored(other),
    }
}
