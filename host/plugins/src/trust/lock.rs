//! `plugins.lock`: the file in which an operator says what may serve. TOML, one table a plugin; written by the command
//! line as a whole, read by the server whenever it changes.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use caelum_core::id::Digest;
use serde::{Deserialize, Serialize};

use crate::loader::check_owner;
use crate::text;

/// The form of the file.
const VERSION: i64 = 1;

/// The longest file that is read: ten thousand entries.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What stands above the entries.
const HEAD: &str = "# Which plugins may serve. Written by `caelum-workflow plugin pin` and `plugin quarantine`.\n\n";

/// What an operator has said of one plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockEntry {
    /// SHA-256 of the plugin's file.
    pub digest: Digest,
    /// What it was called when the entry was written; for people.
    #[serde(default)]
    pub name: String,
    /// The version that it had; for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Whether it may serve where only pinned plugins may.
    #[serde(default)]
    pub pinned: bool,
    /// Why it may not serve, when it may not. Empty when nobody has said why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
    /// Counts how often it was let go after failures; a server that sees another number forgets them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub released: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The lock cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The file system failed.
    #[error("`{}`: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may write to it.
    #[error("`{}`: {message}", .path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// It is no lock.
    #[error("`{}`: {message}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

/// The content of `plugins.lock`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    entries: BTreeMap<Digest, Result<LockEntry, String>>,
}

#[derive(Serialize)]
struct Written<'a> {
    version: i64,
    plugin: Vec<&'a LockEntry>,
}

impl Lock {
    /// Reads a lock; one that is not there is empty. Blocks.
    ///
    /// An entry that says something unknown is kept as a fault of that plugin alone.
    ///
    /// # Errors
    ///
    /// [`LockError`], when the file as a whole cannot be believed.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: path.to_owned(), source };
        let file = match OpenOptions::new()
            .read(true)
            .custom_flags(
                (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32
            )
            .open(path)
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock::default()),
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        let not_ours = |message: String| LockError::NotOurs { path: path.to_owned(), message };
        check_owner(&metadata)
            .map_err(|error| not_ours(format!("{error}; hint: {}", error.hint())))?;
        if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
            let message = format!("expected a file of at most {FILE_BYTES_MAX} bytes");
            return Err(not_ours(message));
        }
        let mut content = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut content).map_err(failed)?;
        Lock::parse(&content)
            .map_err(|message| LockError::Malformed { path: path.to_owned(), message })
    }

    fn parse(content: &str) -> Result<Self, String> {
        let mut table: toml::Table =
            content.parse().map_err(|error: toml::de::Error| text::line(&error.to_string()))?;
        match table.remove("version") {
            Some(toml::Value::Integer(VERSION)) => {}
            Some(other) => {
                return Err(format!("`version` is {other}; this server reads {VERSION}"));
            }
            None => return Err(format!("`version` is missing; expected `version = {VERSION}`")),
        }
        let plugins = match table.remove("plugin") {
            None => vec![],
            Some(toml::Value::Array(plugins)) => plugins,
            Some(_) => return Err("`plugin` is no list of tables; expected [[plugin]]".to_owned()),
        };
        if let Some(unknown) = table.keys().next() {
            return Err(format!("`{}` is not known; expected `plugin`", text::line(unknown)));
        }
        let mut lock = Lock::default();
        for (index, plugin) in plugins.into_iter().enumerate() {
            let digest = plugin
                .get("digest")
                .and_then(toml::Value::as_str)
                .and_then(|digest| digest.parse::<Digest>().ok())
                .ok_or_else(|| {
                    format!(
                        "[[plugin]] number {} names no `digest` of 64 hexadecimal digits",
                        index + 1
                    )
                })?;
            let entry = plugin.try_into::<LockEntry>().map_err(|error| text::line(error.message()));
            if lock.entries.insert(digest.clone(), entry).is_some() {
                return Err(format!("{digest} stands there twice"));
            }
        }
        Ok(lock)
    }

    /// Writes the lock as a whole, and makes its directory when it is missing. Entries that could not be read are gone
    /// afterwards. Blocks.
    ///
    /// # Errors
    ///
    /// [`LockError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let failed = |source| LockError::Io { path: path.to_owned(), source };
        let directory = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let written = Written { version: VERSION, plugin: self.entries().collect() };
        let content = toml::to_string(&written).expect("a lock is plain TOML");
        let temporary = directory.join(format!(".plugins.lock.{}", std::process::id()));
        let place = (|| {
            let mut file: File = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(HEAD.as_bytes())?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        })();
        if place.is_err() {
            std::fs::remove_file(&temporary).ok();
        }
        place.map_err(failed)
    }

    /// Returns the entries that can be read, by digest.
    pub fn entries(&self) -> impl Iterator<Item = &LockEntry> {
        self.entries.values().filter_map(|entry| entry.as_ref().ok())
    }

    /// Returns what is said of a plugin; an error when it cannot be read.
    ///
    /// # Errors
    ///
    /// What is wrong with the entry.
    pub fn entry(&self, digest: &Digest) -> Result<Option<&LockEntry>, &str> {
        match self.entries.get(digest) {
            None => Ok(None),
            Some(Ok(entry)) => Ok(Some(entry)),
            Some(Err(message)) => Err(message),
        }
    }

    /// Whether a plugin may serve where only pinned ones may.
    pub fn is_pinned(&self, digest: &Digest) -> bool {
        matches!(self.entry(digest), Ok(Some(entry)) if entry.pinned)
    }

    /// Returns why a plugin may not serve, when it was put away; an empty text when nobody has said why.
    pub fn put_away(&self, digest: &Digest) -> Option<&str> {
        self.entry(digest).ok().flatten()?.quarantined.as_deref()
    }

    /// Allows a digest where only pinned ones may serve.
    pub fn pin(&mut self, digest: Digest, name: &str, version: &str) {
        self.edit(digest, name, version).pinned = true;
    }

    /// Takes a pin back. Returns whether there was one.
    pub fn unpin(&mut self, digest: &Digest) -> bool {
        let Some(Ok(entry)) = self.entries.get_mut(digest) else { return false };
        let was = std::mem::replace(&mut entry.pinned, false);
        self.tidy(digest);
        was
    }

    /// Keeps a digest from serving, with a reason for people.
    pub fn put_it_away(&mut self, digest: Digest, name: &str, reason: &str) {
        self.edit(digest, name, "").quarantined = Some(reason.to_owned());
    }

    /// Lets a digest serve again, and has its failures forgotten.
    pub fn release(&mut self, digest: &Digest, name: &str) {
        let entry = self.edit(digest.clone(), name, "");
        entry.quarantined = None;
        entry.released += 1;
    }

    fn edit(&mut self, digest: Digest, name: &str, version: &str) -> &mut LockEntry {
        let fresh = || LockEntry {
            digest: digest.clone(),
            name: String::new(),
            version: String::new(),
            pinned: false,
            quarantined: None,
            released: 0,
        };
        let place = self.entries.entry(digest.clone()).or_insert_with(|| Ok(fresh()));
        if place.is_err() {
            *place = Ok(fresh());
        }
        let entry = place.as_mut().expect("it was just made readable");
        if !name.is_empty() {
            entry.name = name.to_owned();
        }
        if !version.is_empty() {
            entry.version = version.to_owned();
        }
        entry
    }

    /// Takes out an entry that says nothing.
    fn tidy(&mut self, digest: &Digest) {
        let says_nothing = matches!(
            self.entries.get(digest),
            Some(Ok(entry)) if !entry.pinned && entry.quarantined.is_none() && entry.released == 0
        );
        if says_nothing {
            self.entries.remove(digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::from_bytes(&[byte; 32])
    }

    #[test]
    fn what_is_written_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trust/plugins.lock");
        assert_eq!(Lock::read(&path).expect("nothing is an empty lock"), Lock::default());
        let mut lock = Lock::default();
        lock.pin(digest(1), "unit-tests", "1.0.0");
        lock.put_it_away(digest(2), "bad", "");
        lock.release(&digest(3), "slow");

        lock.write(&path).expect("writes");

        let read = Lock::read(&path).expect("reads");
        assert_eq!(read, lock);
        assert!(read.is_pinned(&digest(1)));
        assert_eq!(read.put_away(&digest(2)), Some(""));
        assert_eq!(read.put_away(&digest(3)), None);
        assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_says_nothing_any_more_is_taken_out() {
        let mut lock = Lock::default();
        lock.pin(digest(1), "a", "1.0.0");

        assert!(lock.unpin(&digest(1)));
        assert!(!lock.unpin(&digest(1)));

        assert_eq!(lock, Lock::default());
    }

    #[test]
    fn an_unknown_word_is_a_fault_of_its_plugin_alone() {
        let (one, other) = (digest(1), digest(2));
        let lock = Lock::parse(&format!(
            "version = 1\n[[plugin]]\ndigest = \"{one}\"\npinned = true\nmemory = \"64 potatoes\"\n\
             [[plugin]]\ndigest = \"{other}\"\npinned = true\n"
        ))
        .expect("the file as a whole is fine");

        let fault = lock.entry(&one).expect_err("an unknown word");
        assert!(fault.contains("unknown field `memory`"), "{fault}");
        assert!(!lock.is_pinned(&one));
        assert!(lock.is_pinned(&other));
    }

    #[test]
    fn what_cannot_be_believed_is_refused_as_a_whole() {
        for (content, told) in [
            ("", "`version` is missing; expected `version = 1`"),
            ("version = 2", "`version` is 2; this server reads 1"),
            ("version = 1\nplugins = []", "`plugins` is not known; expected `plugin`"),
            ("version = 1\nplugin = 1", "`plugin` is no list of tables; expected [[plugin]]"),
            (
                "version = 1\n[[plugin]]\nname = \"a\"",
                "[[plugin]] number 1 names no `digest` of 64 hexadecimal digits",
            ),
        ] {
            assert_eq!(Lock::parse(content).expect_err("refused"), told);
        }
        assert!(Lock::parse("version = ").is_err());
    }

    #[test]
    fn a_lock_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plugins.lock");
        Lock::default().write(&path).expect("writes");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o602)).expect("sets");

        let message = Lock::read(&path).expect_err("others may write").to_string();

        assert!(message.contains("others may write to it (mode 602)"), "{message}");
    }
}
