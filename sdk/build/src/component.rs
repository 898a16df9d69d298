//! From what cargo made to a component: encoding, and the identity inside.

use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use wasmparser::{Parser, Payload};

use crate::error::BuildError;
use crate::manifest::Package;

/// The custom section in which a plugin names itself.
pub(crate) const SECTION: &str = "caelum:plugin";

/// What a plugin says of itself inside its file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Identity {
    /// The plugin's id.
    pub id: String,
    /// The plugin's version.
    pub version: String,
    /// The world that it implements: `improvement-pattern` or `step-validator`.
    pub world: String,
}

/// A component and what it says of itself.
pub(crate) struct Component {
    pub(crate) bytes: Vec<u8>,
    pub(crate) identity: Identity,
}

/// Reads what cargo made and makes a component of it where it is none yet.
pub(crate) fn from_artifact(package: &Package, artifact: &Path) -> Result<Component, BuildError> {
    let bytes = std::fs::read(artifact).map_err(BuildError::file("read", artifact))?;
    let identity = read_identity(&bytes).map_err(|reason| not_a_plugin(package, reason))?;
    let bytes = if Parser::is_component(&bytes) { bytes } else { encode(package, &bytes)? };
    Ok(Component { bytes, identity })
}

fn encode(package: &Package, module: &[u8]) -> Result<Vec<u8>, BuildError> {
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| not_a_plugin(package, format!("it cannot be made a component: {error:#}")))
}

fn not_a_plugin(package: &Package, reason: String) -> BuildError {
    BuildError::NotAPlugin { package: package.name.clone(), reason }
}

/// Reads what a plugin's file says of itself, without running it and at whatever level it stands.
///
/// # Errors
/// A text that says what is missing or malformed, with a hint.
pub fn read_identity(bytes: &[u8]) -> Result<Identity, String> {
    let mut found: Vec<Identity> = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| format!("it is not WebAssembly: {error}"))?;
        if let Payload::CustomSection(section) = payload
            && section.name() == SECTION
        {
            let identity = serde_json::from_slice(section.data())
                .map_err(|error| format!("its `{SECTION}` section is malformed: {error}"))?;
            // What was packed says it twice: inside, where the compiler wrote it, and outside.
            if !found.contains(&identity) {
                found.push(identity);
            }
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(format!(
            "it has no `{SECTION}` section\nhint: end the crate's `lib.rs` with `caelum_sdk::export_pattern!(Type);` or \
             `caelum_sdk::export_validator!(Type);`"
        )),
        _ => Err(format!(
            "it has {} `{SECTION}` sections that differ: a file holds one plugin, export one type",
            found.len()
        )),
    }
}

/// Returns the SHA-256 of bytes in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Writes bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A core module with custom sections only.
    fn module(sections: &[&str]) -> Vec<u8> {
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        for section in sections {
            let length = 1 + SECTION.len() + section.len();
            assert!(length < 128, "one byte of length");
            bytes.extend([
                0,
                u8::try_from(length).expect("short"),
                u8::try_from(SECTION.len()).expect("short"),
            ]);
            bytes.extend(SECTION.bytes().chain(section.bytes()));
        }
        bytes
    }

    #[test]
    fn the_identity_is_read_without_running_the_file() {
        let section = r#"{"id":"a","version":"1.0.0","world":"step-validator","wit":"0.1.0"}"#;

        let identity = read_identity(&module(&[section])).expect("an identity");

        assert_eq!((identity.id.as_str(), identity.version.as_str()), ("a", "1.0.0"));
    }

    #[test]
    fn files_that_name_no_plugin_are_told_apart() {
        let reason = |bytes: &[u8]| read_identity(bytes).expect_err("refused");

        assert!(reason(&module(&[])).contains("hint: end the crate's `lib.rs`"));
        let [a, b] = ["a", "b"]
            .map(|id| format!(r#"{{"id":"{id}","version":"1.0.0","world":"step-validator"}}"#));
        assert!(reason(&module(&[&a, &b])).contains("2 `caelum:plugin` sections that differ"));
        assert!(read_identity(&module(&[&a, &a])).is_ok());
        assert!(reason(&module(&["{}"])).contains("malformed: missing field `id`"));
        assert!(reason(b"hello").contains("not WebAssembly"));
    }
}
