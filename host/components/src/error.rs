//! What can go wrong with components.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use caelum_core::id::ApplicationId;

use crate::plan::Conflict;

/// Something about a component did not work. Each variant is a decision that the caller can make.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComponentsError {
    /// There are no roots.
    #[error("there is no root directory for components; hint: name at least one")]
    NoRoot,
    /// A root is not there or is no directory.
    #[error("the root `{}` is not a directory that can be used", .path.display())]
    Root {
        /// The root as it was named.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file with component names cannot be used; all its faults.
    #[error("the components file `{}` cannot be used: {}", .path.display(), .faults.join("; "))]
    Registry {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        faults: Vec<String>,
    },
    /// Neither a registered name nor a directory.
    #[error("there is no component `{}`; hint: {hint}", .target.escape_debug())]
    Unknown {
        /// What was asked for.
        target: String,
        /// Near names, and where paths begin.
        hint: String,
    },
    /// It lies beneath no root.
    #[error(
        "the component `{}` is not beneath an allowed root; allowed: {}",
        .target.escape_debug(),
        shown(.roots)
    )]
    Outside {
        /// What was asked for.
        target: String,
        /// The roots.
        roots: Vec<PathBuf>,
    },
    /// It is something else than a directory.
    #[error("the component `{}` is not a directory", .target.escape_debug())]
    NotADirectory {
        /// What was asked for.
        target: String,
    },
    /// Files are not what they were when the plan was made, or when it was applied. Nothing was written.
    #[error("{} changed meanwhile: {}", count(.0), list(.0))]
    Conflict(Vec<Conflict>),
    /// Somebody else is writing to the component.
    #[error(
        "the component `{}` is being written by somebody else; waited {} s",
        .component.display(),
        .waited.as_secs()
    )]
    Busy {
        /// The component.
        component: PathBuf,
        /// How long this one waited.
        waited: Duration,
    },
    /// The application is there already: an id stands for one application only.
    #[error("the application `{0}` is applied already")]
    AlreadyApplied(ApplicationId),
    /// No such application is kept here.
    #[error("there is no application `{0}` that could be reverted")]
    NoSuchApplication(ApplicationId),
    /// It was taken back already.
    #[error("the application `{0}` is reverted already")]
    AlreadyReverted(ApplicationId),
    /// The record in the component cannot be read.
    #[error(
        "`{}` cannot be read: {problem}; hint: restore it from version control, or delete it and apply the patterns again",
        crate::provenance::LOCK_PATH
    )]
    Provenance {
        /// What is wrong with it.
        problem: String,
    },
    /// The journal in the data directory failed.
    #[error("failed to {action} the journal at `{}`", .path.display())]
    Journal {
        /// What was tried: `write`, `read`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the component cannot be read or written. Nothing is half written.
    #[error("failed to {action} `{path}` in the component")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path relative to the component.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something failed half-way, and putting the rest back failed, too. The next start tries again.
    #[error(
        "the application `{application}` failed half-way and could not be put back ({rollback}); hint: mend the cause and start the server again, it then puts the component back"
    )]
    HalfDone {
        /// Which.
        application: ApplicationId,
        /// What hindered putting back.
        rollback: String,
        /// What failed first.
        source: Box<ComponentsError>,
    },
}

impl ComponentsError {
    /// Returns whether the caller can mend it by asking differently.
    pub fn is_callers_mistake(&self) -> bool {
        matches!(
            self,
            ComponentsError::Unknown { .. }
                | ComponentsError::Outside { .. }
                | ComponentsError::NotADirectory { .. }
                | ComponentsError::Conflict(_)
                | ComponentsError::AlreadyApplied(_)
                | ComponentsError::NoSuchApplication(_)
                | ComponentsError::AlreadyReverted(_)
        )
    }
}

fn shown(roots: &[PathBuf]) -> String {
    let roots: Vec<String> = roots.iter().map(|root| format!("`{}`", root.display())).collect();
    roots.join(", ")
}

fn count(conflicts: &[Conflict]) -> String {
    match conflicts.len() {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    }
}

fn list(conflicts: &[Conflict]) -> String {
    let list: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
    list.join("; ")
}
