//! Why a plugin could not be built, in words for its author.

use std::io;
use std::path::{Path, PathBuf};

use crate::toolchain::NoToolchain;

/// Why a plugin could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The request names no package.
    #[error("no package to build was named")]
    NothingToBuild,
    /// The packages do not belong together.
    #[error("packages of one build must belong to one workspace, found `{first}` and `{second}`")]
    Workspaces {
        /// The root of the first package's workspace.
        first: PathBuf,
        /// The root of another package's workspace.
        second: PathBuf,
    },
    /// There is no package where one was named.
    #[error("`{path}` is no package: {reason}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The package makes no library that WebAssembly can load.
    #[error(
        "`{manifest}` makes no `cdylib`\nhint: add `[lib]` with `crate-type = [\"cdylib\", \"rlib\"]`"
    )]
    NotCdylib {
        /// The manifest.
        manifest: PathBuf,
    },
    /// Nothing on this machine can build for WebAssembly.
    #[error(transparent)]
    NoToolchain(#[from] NoToolchain),
    /// Cargo did not start.
    #[error("`{program}` did not start")]
    Start {
        /// What was to be run.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Cargo ended with an error.
    #[error("cargo could not build {packages} ({status}){output}")]
    Cargo {
        /// The packages, for people.
        packages: String,
        /// How cargo ended.
        status: String,
        /// A line end and what cargo said; empty when it was shown already.
        output: String,
    },
    /// What cargo made is not what a plugin must be.
    #[error("package `{package}` makes no plugin: {reason}")]
    NotAPlugin {
        /// The package.
        package: String,
        /// What is missing, with a hint.
        reason: String,
    },
    /// A directory holds no plugin.
    #[error(
        "`{directory}` is no plugin's project: expected a `Cargo.toml` or a `caelum-plugin.toml`\nhint: `caelum-workflow plugin new NAME` makes one"
    )]
    NoProject {
        /// The directory.
        directory: PathBuf,
    },
    /// A toolchain is not there and could not be installed.
    #[error("{tool} cannot be had: {reason}")]
    Toolchain {
        /// What it is called.
        tool: &'static str,
        /// Why not, with a hint.
        reason: String,
    },
    /// A tool refused a project.
    #[error("{tool} could not build `{directory}` ({status}){output}")]
    Tool {
        /// What it is called.
        tool: String,
        /// The project.
        directory: PathBuf,
        /// How it ended.
        status: String,
        /// A line end and what it said; empty when that was shown already.
        output: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl BuildError {
    /// Returns a function that adds what was tried to an I/O error.
    pub(crate) fn file<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::File { action, path: path.to_owned(), source }
    }
}

/// Makes a path absolute without asking whether it exists.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, BuildError> {
    std::path::absolute(path).map_err(BuildError::file("find", path))
}
