//! The third stage: the custom section `caelum:plugin`, by which a file names itself without being run.

use std::collections::BTreeMap;

use serde::Deserialize;
use wasmparser::{Parser, Payload};

use crate::text;

/// The name of the section.
const SECTION: &str = "caelum:plugin";

/// The longest section, in bytes; it holds names, not documents.
const SECTION_BYTES_MAX: usize = 64 * 1024;

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Manifest {
    /// The plugin's id.
    pub(crate) id: String,
    /// The plugin's version.
    pub(crate) version: String,
    /// What it wants to be allowed beyond reading one component, by name. Nothing of that kind exists: what a plugin
    /// asks for and does not get would break it later, so that it is refused now.
    #[serde(default)]
    pub(crate) rights: BTreeMap<String, serde_json::Value>,
}

/// What is wrong with the section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is too long.
    #[error(
        "its section `caelum:plugin` has {bytes} bytes; at most {SECTION_BYTES_MAX} are allowed"
    )]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It is not what it should be.
    #[error(
        "its section `caelum:plugin` cannot be read: {message}; expected a JSON object with `id` and `version`"
    )]
    Unreadable {
        /// What the parser said.
        message: String,
    },
    /// It asks for more than any plugin gets.
    #[error(
        "it asks for the rights {}, and this server gives plugins none: they read one component and return data",
        .names.join(", ")
    )]
    Rights {
        /// What it asks for.
        names: Vec<String>,
    },
    /// There are several, which differ.
    #[error("it has several sections `caelum:plugin`, which name `{first}` and `{second}`")]
    Several {
        /// The first name and version.
        first: String,
        /// The other.
        second: String,
    },
    /// It says something else than the plugin.
    #[error(
        "its section `caelum:plugin` names `{section}` and its `describe` answers `{described}`"
    )]
    Differs {
        /// Name and version in the section.
        section: String,
        /// Name and version that it answered.
        described: String,
    },
}

impl ManifestError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            ManifestError::Rights { .. } => {
                "take `rights` out of the section, and let a step's action or probe do what the plugin wanted to do"
            }
            _ => "write the section again with `caelum-workflow plugin pack`",
        }
    }
}

impl Manifest {
    fn shown(&self) -> String {
        format!("{} {}", text::line(&self.id), text::line(&self.version))
    }

    /// Compares with what the plugin answered.
    pub(crate) fn agrees(&self, id: &str, version: &str) -> Result<(), ManifestError> {
        if self.id == id && self.version == version {
            return Ok(());
        }
        Err(ManifestError::Differs { section: self.shown(), described: format!("{id} {version}") })
    }
}

/// Finds the section at any level. A file without it is told by `describe` alone; one that cannot be parsed is left to
/// the next stage, which says more.
pub(crate) fn manifest(bytes: &[u8]) -> Result<Option<Manifest>, ManifestError> {
    let mut found: Option<Manifest> = None;
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else { break };
        let Payload::CustomSection(section) = payload else { continue };
        if section.name() != SECTION {
            continue;
        }
        let data = section.data();
        if data.len() > SECTION_BYTES_MAX {
            return Err(ManifestError::TooLong { bytes: data.len() });
        }
        let manifest: Manifest = serde_json::from_slice(data).map_err(|error| {
            ManifestError::Unreadable { message: text::line(&error.to_string()) }
        })?;
        if !manifest.rights.is_empty() {
            let names = manifest.rights.keys().map(|name| format!("`{}`", text::line(name)));
            return Err(ManifestError::Rights { names: names.collect() });
        }
        match &found {
            Some(first) if *first != manifest => {
                return Err(ManifestError::Several {
                    first: first.shown(),
                    second: manifest.shown(),
                });
            }
            _ => found = Some(manifest),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_sections(sections: &[&str]) -> Vec<u8> {
        let sections: Vec<String> = sections
            .iter()
            .map(|data| format!("(@custom \"caelum:plugin\" \"{}\")", data.replace('"', "\\22")))
            .collect();
        wat::parse_str(format!("(component (core module {}))", sections.join(" "))).expect("wat")
    }

    #[test]
    fn the_section_is_found_inside_the_core_module() {
        let bytes = with_sections(&[r#"{"id":"a","version":"1.0.0","world":"x"}"#]);

        let manifest = manifest(&bytes).expect("readable").expect("is there");

        assert_eq!((manifest.id.as_str(), manifest.version.as_str()), ("a", "1.0.0"));
        assert_eq!(manifest.agrees("a", "1.0.0"), Ok(()));
        assert_eq!(
            manifest.agrees("a", "1.0.1").expect_err("differs").to_string(),
            "its section `caelum:plugin` names `a 1.0.0` and its `describe` answers `a 1.0.1`"
        );
    }

    #[test]
    fn a_file_without_the_section_has_no_manifest() {
        assert_eq!(manifest(&with_sections(&[])), Ok(None));
    }

    #[test]
    fn lies_in_the_section_are_refused() {
        let same = r#"{"id":"a","version":"1.0.0"}"#;
        assert!(manifest(&with_sections(&[same, same])).is_ok());
        assert_eq!(
            manifest(&with_sections(&[same, r#"{"id":"b","version":"1.0.0"}"#]))
                .expect_err("two")
                .to_string(),
            "it has several sections `caelum:plugin`, which name `a 1.0.0` and `b 1.0.0`"
        );
        assert_eq!(
            manifest(&with_sections(&[r#"{"id":"a"}"#])).expect_err("no version").to_string(),
            "its section `caelum:plugin` cannot be read: missing field `version` at line 1 column 10; expected a JSON \
             object with `id` and `version`"
        );
        assert_eq!(
            manifest(&with_sections(&[
                r#"{"id":"a","version":"1","rights":{"network":["*"],"write":true}}"#
            ]))
            .expect_err("there are no rights")
            .to_string(),
            "it asks for the rights `network`, `write`, and this server gives plugins none: they read one component and \
             return data"
        );
        let long = format!(r#"{{"id":"{}","version":"1"}}"#, "x".repeat(SECTION_BYTES_MAX));
        assert_eq!(
            manifest(&with_sections(&[&long])).expect_err("long").to_string(),
            "its section `caelum:plugin` has 65559 bytes; at most 65536 are allowed"
        );
    }
}
