//! Which files may serve: the operator's word, in `plugins.lock`. In the mode `open` every file of the plugins directory
//! may, unless it is put away; in the mode `pinned` only what is pinned by its digest. What is bundled always may,
//! unless it is put away. No tool of the server writes this file.

mod lock;

use std::path::PathBuf;

use caelum_core::id::Digest;

use crate::loader::Source;

pub use lock::{Lock, LockEntry, LockError};

/// How much the plugins directory is trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TrustMode {
    /// Who may write to the directory may have plugins served.
    #[default]
    Open,
    /// Only digests that are pinned in `plugins.lock` are served.
    Pinned,
}

/// Which files may serve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// How much the directory is trusted.
    pub mode: TrustMode,
    /// Where `plugins.lock` lies. It need not exist; its directory is made when it is missing.
    pub lock: Option<PathBuf>,
}

/// Why a file that could be read may not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Nobody has pinned it.
    #[error("its digest {} is not pinned in `plugins.lock`, and only pinned plugins serve here", .digest.short())]
    NotPinned {
        /// What it hashes to.
        digest: Digest,
    },
    /// It was put away.
    #[error("it was put away{}", .reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    PutAway {
        /// Why, in the operator's words.
        reason: Option<String>,
    },
    /// What `plugins.lock` says of it cannot be read.
    #[error("what `plugins.lock` says of it cannot be used: {message}")]
    Entry {
        /// What is wrong.
        message: String,
    },
    /// `plugins.lock` cannot be read at all.
    #[error("`plugins.lock` cannot be used: {message}")]
    Lock {
        /// What is wrong.
        message: String,
    },
}

impl TrustError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            TrustError::NotPinned { .. } => {
                "look at it with `caelum-workflow plugin inspect`, then `caelum-workflow plugin pin`"
            }
            TrustError::PutAway { .. } => {
                "take it back with `caelum-workflow plugin quarantine --release`"
            }
            TrustError::Entry { .. } | TrustError::Lock { .. } => {
                "mend `plugins.lock`, or pin again with `caelum-workflow plugin pin`"
            }
        }
    }
}

/// The operator's word as it is now. Never changes; a new one takes its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trusted {
    mode: TrustMode,
    lock: Result<Lock, String>,
}

impl Default for Trusted {
    fn default() -> Self {
        Trusted { mode: TrustMode::Open, lock: Ok(Lock::default()) }
    }
}

impl Trusted {
    /// Reads the operator's word. Blocks.
    ///
    /// A lock that cannot be read keeps every file out: it may have said so.
    pub(crate) fn read(trust: &Trust) -> Self {
        let lock = match &trust.lock {
            None => Ok(Lock::default()),
            Some(path) => Lock::read(path).map_err(|error| error.to_string()),
        };
        Trusted { mode: trust.mode, lock }
    }

    /// Says whether what has this digest and comes from there may serve.
    pub(crate) fn allows(&self, source: &Source, digest: &Digest) -> Result<(), TrustError> {
        match source {
            Source::Bundled { .. } | Source::Kept { was_bundled: true } => self.bundled(digest),
            Source::File { .. } | Source::Kept { was_bundled: false } => self.file(digest),
        }
    }

    /// Returns the plugins that were let go after failures since the operator's earlier word.
    pub(crate) fn released_since(&self, earlier: &Trusted) -> Vec<Digest> {
        let Ok(lock) = &self.lock else { return vec![] };
        let before = |digest: &Digest| {
            let entry = earlier.lock().and_then(|lock| lock.entry(digest).ok().flatten());
            entry.map_or(0, |entry| entry.released)
        };
        lock.entries()
            .filter(|entry| entry.released != before(&entry.digest))
            .map(|entry| entry.digest.clone())
            .collect()
    }

    /// Says whether a file with this digest may serve.
    pub(crate) fn file(&self, digest: &Digest) -> Result<(), TrustError> {
        let lock = self.usable()?;
        lock.entry(digest).map_err(|message| TrustError::Entry { message: message.to_owned() })?;
        self.bundled(digest)?;
        if self.mode == TrustMode::Pinned && !lock.is_pinned(digest) {
            return Err(TrustError::NotPinned { digest: digest.clone() });
        }
        Ok(())
    }

    /// Says whether a part of this program may serve.
    pub(crate) fn bundled(&self, digest: &Digest) -> Result<(), TrustError> {
        // It is trusted as much as the program is; a lock that cannot be read takes nothing from it.
        let Ok(lock) = &self.lock else { return Ok(()) };
        match lock.put_away(digest) {
            Some(reason) => Err(TrustError::PutAway {
                reason: Some(reason.to_owned()).filter(|r| !r.is_empty()),
            }),
            None => Ok(()),
        }
    }

    /// Returns what is wrong with the lock.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.lock.as_ref().err().map(String::as_str)
    }

    /// Returns the lock, where it can be read.
    pub(crate) fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref().ok()
    }

    fn usable(&self) -> Result<&Lock, TrustError> {
        self.lock.as_ref().map_err(|message| TrustError::Lock { message: message.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::from_bytes(&[byte; 32])
    }

    fn lock() -> Lock {
        let mut lock = Lock::default();
        lock.pin(digest(1), "good", "1.0.0");
        lock.pin(digest(2), "bad", "1.0.0");
        lock.put_it_away(digest(2), "bad", "eats memory");
        lock
    }

    fn told(trusted: &Trusted, byte: u8) -> String {
        trusted.file(&digest(byte)).expect_err("kept out").to_string()
    }

    #[test]
    fn in_the_mode_open_everything_may_serve_that_was_not_put_away() {
        let trusted = Trusted { mode: TrustMode::Open, lock: Ok(lock()) };

        assert_eq!(trusted.file(&digest(1)), Ok(()));
        assert_eq!(told(&trusted, 2), "it was put away: eats memory");
        assert_eq!(trusted.file(&digest(3)), Ok(()));
    }

    #[test]
    fn in_the_mode_pinned_only_what_is_pinned_may_serve() {
        let trusted = Trusted { mode: TrustMode::Pinned, lock: Ok(lock()) };

        assert_eq!(trusted.file(&digest(1)), Ok(()));
        assert_eq!(told(&trusted, 2), "it was put away: eats memory");
        assert_eq!(
            told(&trusted, 3),
            "its digest 030303030303 is not pinned in `plugins.lock`, and only pinned plugins serve here"
        );
        assert_eq!(trusted.bundled(&digest(3)), Ok(()));
        assert!(trusted.bundled(&digest(2)).is_err());
    }

    #[test]
    fn a_lock_that_cannot_be_read_keeps_every_file_out_and_nothing_bundled() {
        for mode in [TrustMode::Open, TrustMode::Pinned] {
            let trusted = Trusted { mode, lock: Err("line 1: what?".to_owned()) };

            assert_eq!(told(&trusted, 1), "`plugins.lock` cannot be used: line 1: what?");
            assert_eq!(trusted.bundled(&digest(1)), Ok(()));
        }
    }
}
