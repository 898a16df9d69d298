//! What a plugin saw of a tree, kept and played back. A recording holds what was looked at and nothing else, so that a
//! run over a large or private component becomes a small case that stands alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use caelum_core::tree::{Entry, EntryKind, Tree, TreeError};
use serde::{Deserialize, Serialize};

/// The largest file that is recorded, in bytes; what is read of a larger one cannot be played back and is refused. As
/// much as a component's file may have to be changed by a plan.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What was seen, by path; the root is the empty path.
pub(super) type Recording = BTreeMap<String, Seen>;

/// What was seen at one path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Seen {
    /// What is there; nothing when nothing is, or when the tree did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    /// The length of a file.
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    /// What a file holds, when it was read and is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// What a file holds, when it was read and is no text: two digits a byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    /// The names in a directory, when it was listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<String>>,
    /// Why the tree did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

fn is_zero(size: &u64) -> bool {
    *size == 0
}

impl From<EntryKind> for Kind {
    fn from(kind: EntryKind) -> Self {
        match kind {
            EntryKind::File => Kind::File,
            EntryKind::Directory => Kind::Directory,
            EntryKind::Symlink => Kind::Symlink,
            EntryKind::Other => Kind::Other,
        }
    }
}

impl From<Kind> for EntryKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::File => EntryKind::File,
            Kind::Directory => EntryKind::Directory,
            Kind::Symlink => EntryKind::Symlink,
            Kind::Other => EntryKind::Other,
        }
    }
}

/// A tree that remembers what was seen of another one.
pub(super) struct Recorder {
    inner: Arc<dyn Tree>,
    seen: Mutex<Recording>,
}

impl Recorder {
    /// Begins to record.
    pub(super) fn new(inner: Arc<dyn Tree>) -> Self {
        Recorder { inner, seen: Mutex::default() }
    }

    /// Returns what was seen so far.
    pub(super) fn recording(&self) -> Recording {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, path: &str, note: impl FnOnce(&mut Seen)) {
        // The root has two names in a tree and one here.
        let path = if path == "." { "" } else { path };
        note(
            self.seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(path.to_owned())
                .or_default(),
        );
    }

    fn note_entry(&self, entry: &Entry) {
        self.note(&entry.path, |seen| {
            seen.kind = Some(entry.kind.into());
            seen.size = entry.size;
        });
    }

    fn note_error(&self, path: &str, error: &TreeError) {
        match error {
            TreeError::NotFound { .. } => self.note(path, |_| {}),
            // What is there instead answers the same question when it is played back.
            TreeError::NotAFile { .. } | TreeError::NotADirectory { .. } => {
                if let Ok(entry) = self.inner.metadata(path) {
                    self.note_entry(&entry);
                }
            }
            TreeError::Denied { reason, .. } => {
                self.note(path, |seen| seen.error = Some(format!("denied: {reason}")));
            }
            other => self.note(path, |seen| seen.error = Some(other.to_string())),
        }
    }
}

impl Tree for Recorder {
    fn entries(&self, path: &str, max: usize) -> Result<Vec<Entry>, TreeError> {
        let entries =
            self.inner.entries(path, max).inspect_err(|error| self.note_error(path, error))?;
        let name = |entry: &Entry| entry.path.rsplit('/').next().unwrap_or(&entry.path).to_owned();
        self.note(path, |seen| {
            seen.kind = Some(Kind::Directory);
            seen.entries = Some(entries.iter().map(name).collect());
        });
        entries.iter().for_each(|entry| self.note_entry(entry));
        Ok(entries)
    }

    fn metadata(&self, path: &str) -> Result<Entry, TreeError> {
        let entry = self.inner.metadata(path).inspect_err(|error| self.note_error(path, error))?;
        self.note(path, |seen| {
            seen.kind = Some(entry.kind.into());
            seen.size = entry.size;
        });
        Ok(entry)
    }

    fn read(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, TreeError> {
        let known = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .is_some_and(|seen| seen.text.is_some() || seen.hex.is_some());
        if !known {
            // The whole file, so that the recording does not depend on the pieces in which it is read.
            let bytes = self
                .inner
                .read(path, 0, FILE_BYTES_MAX + 1)
                .inspect_err(|error| self.note_error(path, error))?;
            if bytes.len() > FILE_BYTES_MAX {
                return Err(TreeError::Io {
                    path: path.to_owned(),
                    message: format!("a file of more than {FILE_BYTES_MAX} bytes is not recorded"),
                });
            }
            self.note(path, |seen| {
                seen.kind = Some(Kind::File);
                seen.size = bytes.len() as u64;
                match String::from_utf8(bytes) {
                    Ok(text) => seen.text = Some(text),
                    Err(error) => seen.hex = Some(hex(error.as_bytes())),
                }
            });
        }
        self.inner.read(path, offset, length)
    }

    fn may_block(&self) -> bool {
        self.inner.may_block()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok())
        .collect()
}

/// A tree that is played back from a recording. Remembers what was asked for and is not in it.
pub(super) struct Replay {
    seen: Recording,
    /// What files hold, decoded once.
    files: BTreeMap<String, Vec<u8>>,
    missing: Mutex<Vec<String>>,
}

impl Replay {
    /// Prepares to play back.
    ///
    /// # Errors
    ///
    /// The first path whose `hex` is no pairs of hexadecimal digits.
    pub(super) fn new(seen: Recording) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        for (path, what) in &seen {
            let bytes = match (&what.text, &what.hex) {
                (Some(text), _) => text.clone().into_bytes(),
                (None, Some(digits)) => unhex(digits).ok_or_else(|| {
                    format!("`hex` of the recorded `{path}` is no pairs of hexadecimal digits")
                })?,
                (None, None) => continue,
            };
            files.insert(path.clone(), bytes);
        }
        Ok(Replay { seen, files, missing: Mutex::default() })
    }

    /// Returns what was asked for and is not in the recording.
    pub(super) fn missing(&self) -> Vec<String> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look(&self, path: &str, what: &str) -> Result<&Seen, TreeError> {
        let path = if path == "." { "" } else { path };
        let Some(seen) = self.seen.get(path) else {
            return Err(self.miss(path, what));
        };
        match &seen.error {
            Some(error) => Err(match error.strip_prefix("denied: ") {
                Some(reason) => {
                    TreeError::Denied { path: path.to_owned(), reason: reason.to_owned() }
                }
                None => TreeError::Io { path: path.to_owned(), message: error.clone() },
            }),
            None => Ok(seen),
        }
    }

    fn miss(&self, path: &str, what: &str) -> TreeError {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.push(format!("{what} `{path}`"));
        TreeError::Io { path: path.to_owned(), message: "it is not in the recording".to_owned() }
    }

    fn entry(&self, path: String, seen: &Seen) -> Option<Entry> {
        Some(Entry { path, kind: seen.kind?.into(), size: seen.size })
    }
}

impl Tree for Replay {
    fn entries(&self, path: &str, max: usize) -> Result<Vec<Entry>, TreeError> {
        let seen = self.look(path, "the entries of")?;
        match (seen.kind, &seen.entries) {
            (Some(Kind::Directory), Some(names)) => {
                if names.len() > max {
                    return Err(TreeError::TooManyEntries { path: path.to_owned(), max });
                }
                let root = matches!(path, "" | ".");
                let below = names
                    .iter()
                    .map(|name| if root { name.clone() } else { format!("{path}/{name}") });
                below
                    .map(|path| {
                        let seen = self.seen.get(&path);
                        seen.and_then(|seen| self.entry(path.clone(), seen))
                            .ok_or_else(|| self.miss(&path, "what is at"))
                    })
                    .collect()
            }
            (Some(Kind::Directory), None) => Err(self.miss(path, "the entries of")),
            (Some(_), _) => Err(TreeError::NotADirectory { path: path.to_owned() }),
            (None, _) => Err(TreeError::NotFound { path: path.to_owned() }),
        }
    }

    fn metadata(&self, path: &str) -> Result<Entry, TreeError> {
        let seen = self.look(path, "what is at")?;
        self.entry(path.to_owned(), seen)
            .ok_or_else(|| TreeError::NotFound { path: path.to_owned() })
    }

    fn read(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, TreeError> {
        let seen = self.look(path, "the content of")?;
        match seen.kind {
            Some(Kind::File) => {}
            Some(_) => return Err(TreeError::NotAFile { path: path.to_owned() }),
            None => return Err(TreeError::NotFound { path: path.to_owned() }),
        }
        let bytes = self.files.get(path).ok_or_else(|| self.miss(path, "the content of"))?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(length).min(bytes.len());
        Ok(bytes[start..end].to_vec())
    }

    fn may_block(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use caelum_core::tree::MapTree;

    use super::*;

    fn tree() -> Arc<dyn Tree> {
        let files: [(&str, &[u8]); 3] =
            [("a.txt", b"one"), ("src/b.bin", &[0xff, 0x00]), ("src/c.txt", b"three")];
        Arc::new(files.into_iter().collect::<MapTree>())
    }

    #[test]
    fn what_was_seen_is_played_back_and_nothing_else() {
        let recorder = Recorder::new(tree());
        let root = recorder.entries("", 9);
        let sources = recorder.entries("src", 9);
        let (text, bytes) = (recorder.read("a.txt", 1, 2), recorder.read("src/b.bin", 0, 9));
        let (gone, wrong) = (recorder.read("gone", 0, 1), recorder.entries("a.txt", 9));
        let denied = recorder.read("../x", 0, 1);

        let json = serde_json::to_string(&recorder.recording()).expect("JSON");
        let replay = Replay::new(serde_json::from_str(&json).expect("read")).expect("legal");

        assert_eq!(replay.entries("", 9), root);
        assert_eq!(replay.entries("src", 9), sources);
        assert_eq!((replay.read("a.txt", 1, 2), replay.read("src/b.bin", 0, 9)), (text, bytes));
        assert_eq!((replay.read("gone", 0, 1), replay.entries("a.txt", 9)), (gone, wrong));
        assert_eq!(replay.read("../x", 0, 1), denied);
        assert!(replay.missing().is_empty());
        assert!(!json.contains("three"), "what was not read is not kept: {json}");

        let mut torn = recorder.recording();
        torn.remove("src/c.txt");
        let torn = Replay::new(torn).expect("legal");
        assert!(torn.entries("src", 9).is_err());
        assert_eq!(torn.missing(), ["what is at `src/c.txt`"]);

        assert!(replay.read("src/c.txt", 0, 9).is_err());
        assert!(replay.metadata("other").is_err());
        assert_eq!(replay.missing(), ["the content of `src/c.txt`", "what is at `other`"]);
    }

    #[test]
    fn digits_that_are_none_are_refused() {
        for digits in ["0", "0g", "ä0"] {
            let seen = Seen { hex: Some(digits.to_owned()), ..Seen::default() };
            let recording = Recording::from([("x".to_owned(), seen)]);
            assert!(Replay::new(recording).is_err(), "{digits}");
        }
    }
}
