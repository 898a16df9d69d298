//! One change to a tree as data: what changes, who looks after it, how much care it needs, and why.

use std::ops::Range;

use crate::file::FileRef;
use crate::finding::Finding;

/// Who looks after a file, or a part of it, once the plan is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The pattern: the whole file is its work and a later version replaces it.
    Managed,
    /// Shared: the pattern looks after the part it wrote, people after the rest.
    Block,
    /// People: the pattern wrote a beginning and will not touch it again.
    Seed,
}

/// How much care an edit needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// Cannot change what the component does, or only as the pattern promises.
    Safe,
    /// May change behavior; applied only when the caller agreed to such edits.
    Review,
}

/// What a new file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// UTF-8 text, written as it stands.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Content {
    /// Returns the bytes that will be written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// Text that takes the place of a range of bytes of the file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The bytes that go. Empty to insert before `range.start`.
    pub range: Range<usize>,
    /// What stands there instead. Empty to remove.
    pub text: String,
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Makes a file where nothing is.
    Create {
        /// Where.
        path: String,
        /// What it holds.
        content: Content,
    },
    /// Changes parts of a file.
    Replace {
        /// The file as it was read.
        base: FileRef,
        /// What to replace, sorted by start, without overlaps.
        ranges: Vec<Replacement>,
    },
    /// Removes a file.
    Delete {
        /// The file as it was read.
        base: FileRef,
    },
    /// Gives a file another path.
    Rename {
        /// The file as it was read.
        base: FileRef,
        /// Its new path, where nothing is.
        destination: String,
    },
}

impl Change {
    /// Returns the path that changes; of a rename, the old one.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Create { path, .. } => path,
            Self::Replace { base, .. } | Self::Delete { base } | Self::Rename { base, .. } => {
                &base.path
            }
        }
    }
}

/// A change, why it is made, and how much care it needs.
///
/// Edits need review until [`Edit::safe`] is said: forgetting it costs a question, not a broken component.
///
/// ```
/// use caelum_sdk::{Edit, SourceFile};
/// let file = SourceFile::new("compose.yml", "services:\n  db:\n    image: postgres\n");
/// let edit = file.edit().insert(file.text().len(), "    healthcheck: {}\n").safe().because("`db` needs a health check");
/// let created = Edit::create(".caelum/component.json", "{}\n").safe().because("declares the component");
/// # let _ = (edit, created);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// What changes.
    pub change: Change,
    /// Who looks after it from then on. By default `Managed` for new files and `Block` otherwise.
    pub ownership: Ownership,
    /// How much care it needs. By default `Review`.
    pub risk: Risk,
    /// Fingerprints of the findings that it answers.
    pub resolves: Vec<String>,
    /// Why, in one sentence.
    pub rationale: String,
}

impl Edit {
    /// Makes a file where nothing is.
    pub fn create(path: impl Into<String>, content: impl Into<Content>) -> Self {
        Self::new(Change::Create { path: path.into(), content: content.into() }, Ownership::Managed)
    }

    /// Begins an edit of a file; say what with [`Edit::insert`], [`Edit::substitute`] and [`Edit::remove`].
    /// [`SourceFile::edit`](crate::SourceFile::edit) is shorter.
    #[must_use]
    pub fn replace(base: &FileRef) -> Self {
        Self::new(Change::Replace { base: base.clone(), ranges: Vec::new() }, Ownership::Block)
    }

    /// Removes a file.
    #[must_use]
    pub fn delete(base: &FileRef) -> Self {
        Self::new(Change::Delete { base: base.clone() }, Ownership::Block)
    }

    /// Gives a file another path.
    pub fn rename(base: &FileRef, destination: impl Into<String>) -> Self {
        Self::new(
            Change::Rename { base: base.clone(), destination: destination.into() },
            Ownership::Block,
        )
    }

    fn new(change: Change, ownership: Ownership) -> Self {
        Self {
            change,
            ownership,
            risk: Risk::Review,
            resolves: Vec::new(),
            rationale: String::new(),
        }
    }

    /// Inserts text before a byte of the file.
    ///
    /// # Panics
    /// When the edit does not change parts of a file, that is, was not begun by [`Edit::replace`].
    #[must_use]
    pub fn insert(self, at: usize, text: impl Into<String>) -> Self {
        self.substitute(at..at, text)
    }

    /// Removes bytes of the file.
    ///
    /// # Panics
    /// As [`Edit::insert`].
    #[must_use]
    pub fn remove(self, range: Range<usize>) -> Self {
        self.substitute(range, "")
    }

    /// Puts text in the place of bytes of the file. All positions are those of the file as it was read.
    ///
    /// # Panics
    /// As [`Edit::insert`].
    #[must_use]
    pub fn substitute(mut self, range: Range<usize>, text: impl Into<String>) -> Self {
        let Change::Replace { ranges, .. } = &mut self.change else {
            panic!(
                "only an edit begun with `Edit::replace` or `SourceFile::edit` can change ranges"
            );
        };
        ranges.push(Replacement { range, text: text.into() });
        // Stable, so that equal positions keep their order and the host can name both.
        ranges.sort_by_key(|replacement| (replacement.range.start, replacement.range.end));
        self
    }

    /// Says that the edit cannot change what the component does, or only as the pattern promises.
    #[must_use]
    pub fn safe(mut self) -> Self {
        self.risk = Risk::Safe;
        self
    }

    /// Says that the edit may change behavior.
    #[must_use]
    pub fn review(mut self) -> Self {
        self.risk = Risk::Review;
        self
    }

    /// Says who looks after it from then on.
    #[must_use]
    pub fn owned(mut self, ownership: Ownership) -> Self {
        self.ownership = ownership;
        self
    }

    /// Says that it answers a finding. Use the finding of the assessment, whose number among equals is settled.
    #[must_use]
    pub fn resolves(mut self, finding: &Finding) -> Self {
        let fingerprint = finding.fingerprint();
        if !self.resolves.contains(&fingerprint) {
            self.resolves.push(fingerprint);
        }
        self
    }

    /// Says that it answers several findings.
    #[must_use]
    pub fn resolves_all<'a>(self, findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        findings.into_iter().fold(self, Edit::resolves)
    }

    /// Says why it is made, in one sentence.
    #[must_use]
    pub fn because(mut self, rationale: impl Into<String>) -> Self {
        self.rationale = rationale.into();
        self
    }

    /// Returns the path that changes.
    #[must_use]
    pub fn path(&self) -> &str {
        self.change.path()
    }

    /// Answers whether the edit would change anything: a replacement without ranges does not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.change, Change::Replace { ranges, .. } if ranges.is_empty())
    }
}
