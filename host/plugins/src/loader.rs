//! From a file to a plugin: capture → trust → header → manifest → validate → world → compile → link → describe → publish. Each
//! stage refuses with an error of its own and says what would help. One bad file never affects another.

mod capture;
mod essence;
mod header;
mod inspect;
mod manifest;
mod notes;
mod world;

use std::fmt;
use std::path::PathBuf;

use caelum_core::id::Digest;

use crate::compile::CompileError;
use crate::trust::TrustError;

pub use capture::CaptureError;
pub use header::HeaderError;
pub use inspect::{Inspection, inspect, inspect_bytes};
pub use manifest::ManifestError;
pub use world::{ValidateError, WorldError};

pub(crate) use capture::{Captured, Identity, capture, check_owner, identity};
pub(crate) use essence::essence;
pub(crate) use header::{Form, form};
pub(crate) use manifest::{Manifest, manifest};
pub(crate) use world::{validate, world};

/// What parsers say of a file that ends too early.
const CUT_OFF: &str = "unexpected end";

/// A stage of loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Reading the file.
    Capture,
    /// Has the operator allowed it?
    Trust,
    /// Is it WebAssembly?
    Header,
    /// What does it say of itself?
    Manifest,
    /// Is it valid?
    Validate,
    /// Does it fit our worlds?
    World,
    /// Making native code of it.
    Compile,
    /// Joining it with what the host offers.
    Link,
    /// Asking who it is.
    Describe,
    /// Putting it among the others.
    Publish,
}

impl Stage {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Capture => "capture",
            Stage::Trust => "trust",
            Stage::Header => "header",
            Stage::Manifest => "manifest",
            Stage::Validate => "validate",
            Stage::World => "world",
            Stage::Compile => "compile",
            Stage::Link => "link",
            Stage::Describe => "describe",
            Stage::Publish => "publish",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why a file is not a plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It could not be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The operator has not allowed it.
    #[error(transparent)]
    Untrusted(#[from] TrustError),
    /// It is not WebAssembly of a form that we know.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// What it says of itself cannot be read, or is not true.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It is not valid.
    #[error(transparent)]
    Validate(#[from] ValidateError),
    /// It fits no world.
    #[error(transparent)]
    World(#[from] WorldError),
    /// It could not be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It does not fit what the host offers in the details.
    #[error("it does not fit this server: {message}")]
    Link {
        /// What the engine said.
        message: String,
    },
    /// No instance of it could be made.
    #[error("no instance of it could be made: it {message}")]
    Instantiate {
        /// What happened.
        message: String,
    },
    /// It did not say who it is.
    #[error("its `describe` {message}")]
    Describe {
        /// What happened.
        message: String,
    },
    /// What it says about itself breaks the contract.
    #[error("its description breaks the contract: {}", .breaches.join("; "))]
    Description {
        /// Every breach.
        breaches: Vec<String>,
    },
    /// The same name and version is served already, with other content.
    #[error("version {version} of `{name}` is served already from {by}, with other content")]
    VersionTaken {
        /// The name.
        name: String,
        /// The version of both.
        version: String,
        /// Which one is served.
        by: String,
    },
    /// The same name is served already by a plugin of the other kind.
    #[error("`{name}` is the name of a {kind} that is served already from {by}")]
    NameTaken {
        /// The name.
        name: String,
        /// What holds it.
        kind: &'static str,
        /// Which one is served.
        by: String,
    },
}

impl LoadError {
    /// The stage that refused.
    pub fn stage(&self) -> Stage {
        match self {
            LoadError::Capture(_) => Stage::Capture,
            LoadError::Untrusted(_) => Stage::Trust,
            LoadError::Header(_) => Stage::Header,
            LoadError::Manifest(_) => Stage::Manifest,
            LoadError::Validate(_) => Stage::Validate,
            LoadError::World(_) => Stage::World,
            LoadError::Compile(_) => Stage::Compile,
            LoadError::Link { .. } => Stage::Link,
            LoadError::Instantiate { .. }
            | LoadError::Describe { .. }
            | LoadError::Description { .. } => Stage::Describe,
            LoadError::VersionTaken { .. } | LoadError::NameTaken { .. } => Stage::Publish,
        }
    }

    /// Whether the file looks as if the rest of it were still to come.
    pub(crate) fn is_cut_off(&self) -> bool {
        match self {
            LoadError::Capture(CaptureError::Changing) => true,
            LoadError::Header(HeaderError::Empty | HeaderError::CutOff { .. }) => true,
            LoadError::Header(HeaderError::Encode { message }) => message.contains(CUT_OFF),
            LoadError::Validate(error) => error.message.contains(CUT_OFF),
            _ => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            LoadError::Capture(error) => error.hint().to_owned(),
            LoadError::Header(error) => error.hint().to_owned(),
            LoadError::Untrusted(error) => error.hint().to_owned(),
            LoadError::Manifest(error) => error.hint().to_owned(),
            LoadError::Validate(error) => error.hint().to_owned(),
            LoadError::World(error) => error.hints.join("; "),
            LoadError::Compile(error) => error.hint().to_owned(),
            LoadError::Link { .. } => {
                "build with the caelum-sdk (or the WIT files) of this server's version".to_owned()
            }
            LoadError::Instantiate { .. } => {
                "keep start code and global constructors short, and what the plugin begins with small"
                    .to_owned()
            }
            LoadError::Describe { .. } => {
                "`describe` takes no input, reads nothing and returns constants: compute nothing in it"
                    .to_owned()
            }
            LoadError::Description { .. } => {
                "the rules for descriptions are in wit/types.wit, `description`".to_owned()
            }
            LoadError::VersionTaken { .. } => "raise the plugin's version".to_owned(),
            LoadError::NameTaken { .. } => "give the plugin another id".to_owned(),
        }
    }
}

/// Where a plugin came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// It is part of the server.
    Bundled {
        /// The name it is bundled under.
        name: String,
    },
    /// It is a file of the plugins directory.
    File {
        /// Where.
        path: PathBuf,
    },
    /// It was served once, and is kept for executions that began with it.
    Kept {
        /// Whether it was part of a server.
        was_bundled: bool,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Bundled { name } => write!(formatter, "the bundled `{name}`"),
            Source::File { path } => write!(formatter, "`{}`", path.display()),
            Source::Kept { was_bundled: true } => formatter.write_str("an earlier server"),
            Source::Kept { was_bundled: false } => formatter.write_str("an earlier file"),
        }
    }
}

/// A file that was kept out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which one.
    pub source: Source,
    /// Where it was refused.
    pub stage: Stage,
    /// Why.
    pub reason: String,
    /// What would help.
    pub hint: String,
    /// The SHA-256 of its bytes, when they could be read.
    pub digest: Option<Digest>,
}

impl Refused {
    pub(crate) fn new(source: Source, digest: Option<Digest>, error: &LoadError) -> Self {
        Refused {
            source,
            stage: error.stage(),
            reason: error.to_string(),
            hint: error.hint(),
            digest,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} was refused at the stage `{}`: {}; hint: {}",
            self.source, self.stage, self.reason, self.hint
        )
    }
}
