//! Looking at a file without running anything of it: every stage up to the world.

use std::path::Path;

use bytes::Bytes;
use caelum_core::id::Digest;
use caelum_core::plugin::PluginKind;

use crate::compile::CompileError;
use crate::limits::Limits;

use super::header::{Form, form};
use super::manifest::manifest;
use super::notes::notes;
use super::world::{names, validate, world};
use super::{Captured, HeaderError, LoadError, capture};

/// What a file is, as far as it can be told without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// How many there are.
    pub bytes: u64,
    /// Whether it is a core module, of which a component is made when it is loaded.
    pub is_core_module: bool,
    /// What it would be: the world that it fits.
    pub kind: PluginKind,
    /// The id and version that its section `caelum:plugin` names, when it has one.
    pub identity: Option<(String, String)>,
    /// What else its file says of it: `licenses`, `homepage` and `authors`, as WebAssembly tools write and read them.
    pub notes: Vec<(String, String)>,
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
}

/// Looks at a file through the stages capture, header, manifest, validate and world. Runs nothing of it. Blocks.
///
/// # Errors
///
/// [`LoadError`], as the server would refuse it.
pub fn inspect(path: &Path, limits: &Limits) -> Result<Inspection, LoadError> {
    inspect_captured(capture(path, limits.component_bytes_max)?)
}

/// Looks at bytes that are in memory, as [`inspect`] looks at a file. Blocks.
///
/// # Errors
///
/// [`LoadError`], as the server would refuse them.
pub fn inspect_bytes(bytes: Bytes) -> Result<Inspection, LoadError> {
    inspect_captured(Captured::new(bytes))
}

fn inspect_captured(captured: Captured) -> Result<Inspection, LoadError> {
    let Captured { bytes, digest } = captured;
    let form = form(&bytes)?;
    let component = match form {
        Form::Component => bytes.clone(),
        Form::TypedModule => {
            let encoded = crate::compile::encode(&bytes).map_err(|error| match error {
                CompileError::Refused { message } | CompileError::Panicked { message } => {
                    LoadError::from(HeaderError::Encode { message })
                }
                other => LoadError::Compile(other),
            })?;
            Bytes::from(encoded)
        }
    };
    let manifest = manifest(&bytes)?;
    let types = validate(&component)?;
    let kind = world(&component, &types)?;
    let names = names(&component);
    Ok(Inspection {
        digest,
        bytes: bytes.len() as u64,
        is_core_module: form == Form::TypedModule,
        kind,
        notes: notes(&bytes),
        identity: manifest.map(|manifest| (manifest.id, manifest.version)),
        imports: names.imports,
        exports: names.exports,
    })
}
