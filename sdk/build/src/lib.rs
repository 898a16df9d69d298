//! Builds Caelum plugins into WebAssembly components with whatever toolchain the machine has, and writes into
//! components what they are ([`pack`](fn@pack)).
//!
//! [`build`] finds the way by itself: a Rust toolchain with the target `wasm32-wasip2` or `wasm32-unknown-unknown`, or
//! one that can build the standard library from its source (Debian's `rustc-web`, `cargo-web` and `rust-web-src`, or
//! rustup's component `rust-src`). When there is none it says what to install. Packages of one workspace are built by
//! one run of cargo; what has not changed is returned without running it.
//!
//! Safe to call from a build script (the child gets none of the outer cargo's variables and another target directory)
//! and from several processes at once (a file lock). Nothing outside the target directory is written, except a missing
//! `Cargo.lock`.

mod cache;
mod cargo;
mod component;
mod error;
mod manifest;
mod pack;
mod project;
mod search;
mod sources;
mod toolchain;

use std::path::{Path, PathBuf};

pub use component::{Identity, read_identity, sha256};
pub use error::BuildError;
pub use manifest::Package;
pub use pack::{Described, PackError, SECTION_BYTES_MAX, encode, pack};
pub use project::{Language, Project, Unpacked};
pub use toolchain::{Method, NoToolchain, Toolchain};

use cache::Cache;

/// The profile that plugins are built with when the workspace defines it; otherwise the same settings are given to
/// cargo on its command line.
pub const PROFILE: &str = "plugin";

/// What to build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The plugin packages: their directories, or their `Cargo.toml`. All of one workspace, at least one.
    pub packages: Vec<PathBuf>,
    /// Where cargo works and where components are kept. By default `plugins` in the workspace's target directory: one
    /// of its own, because the outer cargo of a build script holds the lock of the other.
    pub target_dir: Option<PathBuf>,
    /// The cargo profile; by default [`PROFILE`].
    pub profile: Option<String>,
    /// The only way that may be taken; by default the best that the machine has.
    pub method: Option<Method>,
    /// Whether cargo must not use the network.
    pub offline: bool,
    /// Where cargo's messages go.
    pub messages: Messages,
}

/// Where cargo's messages go while it builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// To this process's standard error, as they come.
    Shown,
    /// Nowhere, unless the build fails: then they are in the error.
    Kept,
}

impl BuildRequest {
    /// Asks for packages with everything else by default, and cargo's messages kept.
    pub fn new(packages: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self {
            packages: packages.into_iter().map(Into::into).collect(),
            target_dir: None,
            profile: None,
            method: None,
            offline: false,
            messages: Messages::Kept,
        }
    }
}

/// A component that was built, or was found built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The package's name.
    pub package: String,
    /// What the plugin says of itself inside the file.
    pub identity: Identity,
    /// The component. The name holds a hash of everything it was made from, and the file is never changed; files of
    /// earlier contents are removed after a while, so copy what must last.
    pub path: PathBuf,
    /// SHA-256 of the component, in hexadecimal.
    pub sha256: String,
    /// What built it.
    pub toolchain: Toolchain,
    /// Whether it was there already and cargo did not run for it.
    pub cached: bool,
}

/// Builds plugin packages into components, in the order of the request.
///
/// Returns when all components are on disk; an interrupted build leaves nothing half-written under their names.
///
/// # Errors
/// See [`BuildError`]; for a machine without a way, [`BuildError::NoToolchain`] says what to install.
pub fn build(request: &BuildRequest) -> Result<Vec<Built>, BuildError> {
    let packages = read_packages(request)?;
    let toolchain = toolchain(request.method)?;
    let workspace_root = packages[0].workspace_root.clone();
    let target_dir = match &request.target_dir {
        Some(directory) => error::absolute(directory)?,
        None => workspace_root.join("target").join("plugins"),
    };
    let profile = request.profile.as_deref().unwrap_or(PROFILE);
    let cache = Cache::new(&target_dir);

    let keys = || -> Result<Vec<String>, BuildError> {
        packages.iter().map(|package| sources::key(package, &toolchain, profile)).collect()
    };
    let before = keys()?;
    let find = |keys: &[String]| -> Result<Option<Vec<Built>>, BuildError> {
        let each = packages.iter().zip(keys);
        each.map(|(package, key)| cache.find(package, key, &toolchain)).collect()
    };
    if let Some(built) = find(&before)? {
        return Ok(built);
    }
    let _lock = cache.lock()?;
    // Somebody else may have built the same while this call waited.
    if let Some(built) = find(&before)? {
        return Ok(built);
    }
    let mut known = Vec::new();
    let mut stale = Vec::new();
    for (package, key) in packages.iter().zip(&before) {
        let found = cache.find(package, key, &toolchain)?;
        if found.is_none() {
            stale.push(package);
        }
        known.push(found);
    }
    cargo::run(&cargo::Run {
        packages: &stale,
        toolchain: &toolchain,
        workspace_root: &workspace_root,
        target_dir: &target_dir,
        profile,
        offline: request.offline,
        messages: request.messages,
    })?;
    // Cargo may just have written the lock file, which is part of the key.
    let after = keys()?;
    let mut built = Vec::new();
    for ((package, key), known) in packages.iter().zip(&after).zip(known) {
        built.push(match known {
            Some(known) => known,
            None => {
                let artifact = cargo::artifact(package, &toolchain, &target_dir, profile);
                let component = component::from_artifact(package, &artifact)?;
                cache.store(package, key, &toolchain, &component)?
            }
        });
    }
    Ok(built)
}

/// Returns the toolchain that [`build`] would use, without building anything.
///
/// # Errors
/// [`NoToolchain`], which says what to install.
pub fn toolchain(method: Option<Method>) -> Result<Toolchain, NoToolchain> {
    toolchain::choose(&search::found(), method)
}

/// Returns every file and directory whose change may change what [`build`] makes of a package: for
/// `cargo::rerun-if-changed`.
///
/// # Errors
/// Those of reading manifests.
pub fn inputs(package: &Path) -> Result<Vec<PathBuf>, BuildError> {
    sources::inputs(&Package::read(package)?)
}

fn read_packages(request: &BuildRequest) -> Result<Vec<Package>, BuildError> {
    let packages: Vec<_> =
        request.packages.iter().map(|path| Package::read(path)).collect::<Result<_, _>>()?;
    let Some(first) = packages.first() else {
        return Err(BuildError::NothingToBuild);
    };
    for package in &packages {
        if package.workspace_root != first.workspace_root {
            return Err(BuildError::Workspaces {
                first: first.workspace_root.clone(),
                second: package.workspace_root.clone(),
            });
        }
        if !package.is_cdylib {
            return Err(BuildError::NotCdylib { manifest: package.manifest.clone() });
        }
    }
    Ok(packages)
}
