//! Writes into a component what it is, so that everybody can read it without running it: the section `caelum:plugin`,
//! and the fields that tools for WebAssembly know. For toolchains that write neither (those of Python and JavaScript).

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use wasm_metadata::{AddMetadata, AddMetadataField};
use wasmparser::{Parser, Payload};

use crate::component::SECTION;

/// The longest section `caelum:plugin`, in bytes. The host's limit: it refuses a longer one.
pub const SECTION_BYTES_MAX: usize = 64 * 1024;

/// A custom section: its name, and its text.
type Section<'a> = (&'static str, Cow<'a, str>);

/// The package of the contract, as exports name it.
const PACKAGE: &str = "caelum:plugin/";

/// Magic number and version: what every file begins with.
const HEADER_BYTES: usize = 8;

/// What a plugin answers when it is asked who it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The world that it implements: `improvement-pattern` or `step-validator`.
    pub world: String,
    /// A few words.
    pub title: String,
    /// One paragraph.
    pub summary: String,
    /// JSON Schema of its parameters.
    pub parameters_schema: Value,
    /// Its licence as an SPDX expression.
    pub licence: Option<String>,
    /// Where more is told of it: a URL.
    pub homepage: Option<String>,
    /// Who made it.
    pub authors: Vec<String>,
}

/// Why a file cannot be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// It is not WebAssembly, or not whole.
    #[error("it is not WebAssembly: {0}")]
    NotWasm(String),
    /// A core module that cannot be made a component.
    #[error("it cannot be made a component: {0}")]
    Encode(String),
    /// A component that is no plugin.
    #[error(
        "it exports nothing of `{PACKAGE}`; expected `{PACKAGE}pattern` or `{PACKAGE}validator`"
    )]
    NoExport,
    /// The licence is no expression that tools can read.
    #[error(
        "its licence `{licence}` is no SPDX expression: {reason}\nhint: for example `MIT OR Apache-2.0`; of a licence that is \
         not on SPDX's list say `LicenseRef-` and a name"
    )]
    Licence {
        /// What was found.
        licence: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The place on the web is none.
    #[error(
        "its homepage `{homepage}` is no URL: expected it to begin with `https://` or `http://`"
    )]
    Homepage {
        /// What was found.
        homepage: String,
    },
    /// What the plugin answers does not fit.
    #[error(
        "id, version, title and summary have {bytes} bytes; at most {SECTION_BYTES_MAX} fit into the section `{SECTION}`"
    )]
    TooLong {
        /// How many they have.
        bytes: usize,
    },
}

/// Makes a component of a core module that carries its component type; a component stays what it is.
///
/// # Errors
/// `NotWasm` and `Encode`.
pub fn encode(bytes: &[u8]) -> Result<Vec<u8>, PackError> {
    if Parser::is_component(bytes) {
        return Ok(bytes.to_owned());
    }
    if !Parser::is_core_wasm(bytes) {
        return Err(PackError::NotWasm("it begins with other bytes than `\\0asm`".to_owned()));
    }
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(bytes)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| PackError::Encode(format!("{error:#}")))
}

/// Writes into a component what it answered when it was asked who it is. What an earlier packing wrote is replaced, so
/// packing twice changes nothing more.
///
/// The schema of the parameters is left out when it does not fit; `describe` tells it anyway. Licence, homepage and
/// authors that a toolchain has written stay where the plugin answers none.
///
/// # Errors
/// `NotWasm`, `NoExport`, `Licence`, `Homepage`, `TooLong`.
pub fn pack(component: &[u8], described: &Described) -> Result<Vec<u8>, PackError> {
    let contract = contract(component)?;
    let sections = sections(described, &contract)?;
    let names: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
    let bytes = without(component, &names)?;
    let mut metadata = AddMetadata::default();
    metadata.name = AddMetadataField::Set(described.id.clone());
    metadata.processed_by =
        vec![("caelum-plugin-build".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    let mut bytes =
        metadata.to_wasm(&bytes).map_err(|error| PackError::NotWasm(format!("{error:#}")))?;
    for (name, text) in sections {
        append(&mut bytes, name, text.as_bytes());
    }
    Ok(bytes)
}

/// Returns what is written: our own section, and those of the WebAssembly tool conventions that there is a text for.
fn sections<'a>(described: &'a Described, contract: &str) -> Result<Vec<Section<'a>>, PackError> {
    let mut sections: Vec<Section<'a>> = vec![
        ("version", described.version.as_str().into()),
        ("description", described.summary.as_str().into()),
    ];
    if let Some(licence) = &described.licence {
        spdx::Expression::parse(licence).map_err(|error| PackError::Licence {
            licence: licence.clone(),
            reason: error.reason.to_string(),
        })?;
        sections.push(("licenses", licence.as_str().into()));
    }
    if let Some(homepage) = &described.homepage {
        if !["https://", "http://"].iter().any(|scheme| homepage.starts_with(scheme)) {
            return Err(PackError::Homepage { homepage: homepage.clone() });
        }
        sections.push(("homepage", homepage.as_str().into()));
    }
    if !described.authors.is_empty() {
        sections.push(("authors", described.authors.join(", ").into()));
    }
    sections.push((SECTION, section(described, contract)?.into()));
    Ok(sections)
}

/// Returns the version of the contract that a component was built for.
fn contract(component: &[u8]) -> Result<String, PackError> {
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| PackError::NotWasm(error.to_string()))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    let export = export.map_err(|error| PackError::NotWasm(error.to_string()))?;
                    let name = export.name.name;
                    if let Some((_, version)) =
                        name.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@'))
                    {
                        return Ok(version.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Err(PackError::NoExport)
}

fn section(described: &Described, contract: &str) -> Result<String, PackError> {
    let Value::Object(mut members) = json!({
        "id": described.id,
        "version": described.version,
        "world": described.world,
        "wit": contract,
        "title": described.title,
        "summary": described.summary,
    }) else {
        unreachable!("the literal above is an object");
    };
    let text = |members: &Map<String, Value>| Value::Object(members.clone()).to_string();
    let short = text(&members);
    members.insert("parameters_schema".to_owned(), described.parameters_schema.clone());
    let whole = text(&members);
    if whole.len() <= SECTION_BYTES_MAX {
        Ok(whole)
    } else if short.len() <= SECTION_BYTES_MAX {
        Ok(short)
    } else {
        Err(PackError::TooLong { bytes: short.len() })
    }
}

/// Returns a component without some of its own custom sections; what is nested in it stays as it is.
fn without(component: &[u8], names: &[&str]) -> Result<Vec<u8>, PackError> {
    let cut_off = || PackError::NotWasm("it ends in the middle of a section".to_owned());
    let mut kept = component.get(..HEADER_BYTES).ok_or_else(cut_off)?.to_owned();
    let mut at = HEADER_BYTES;
    while at < component.len() {
        let (length, body) = leb(component, at + 1).ok_or_else(cut_off)?;
        let end = body.checked_add(length).ok_or_else(cut_off)?;
        let content = component.get(body..end).ok_or_else(cut_off)?;
        let named = (component[at] == 0)
            .then(|| {
                let (length, start) = leb(content, 0)?;
                content.get(start..start.checked_add(length)?)
            })
            .flatten();
        if !named.is_some_and(|found| names.iter().any(|name| name.as_bytes() == found)) {
            kept.extend_from_slice(&component[at..end]);
        }
        at = end;
    }
    Ok(kept)
}

/// Reads an unsigned LEB128 number of at most 32 bits, and where it ends.
fn leb(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (index, byte) in bytes.get(from..)?.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, from + index + 1));
        }
    }
    None
}

fn push_leb(bytes: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Appends a custom section.
fn append(bytes: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut content = Vec::with_capacity(name.len() + data.len() + 5);
    push_leb(&mut content, name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(data);
    bytes.push(0);
    push_leb(bytes, content.len());
    bytes.extend_from_slice(&content);
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: [u8; HEADER_BYTES] = *b"\0asm\x0d\0\x01\0";

    fn described() -> Described {
        Described {
            id: "a".to_owned(),
            version: "1.0.0".to_owned(),
            world: "step-validator".to_owned(),
            title: "A".to_owned(),
            summary: "Judges.".to_owned(),
            parameters_schema: json!({"type": "object"}),
            licence: Some("MIT OR Apache-2.0".to_owned()),
            homepage: Some("https://example.com".to_owned()),
            authors: vec!["Ada".to_owned(), "Bob".to_owned()],
        }
    }

    #[test]
    fn licence_homepage_and_authors_are_written_for_every_tool() {
        let described = described();
        let sections = sections(&described, "0.1.0").expect("legal");
        let told: Vec<(&str, &str)> =
            sections.iter().map(|(name, text)| (*name, text.as_ref())).collect();

        assert_eq!(
            told[2..5],
            [
                ("licenses", "MIT OR Apache-2.0"),
                ("homepage", "https://example.com"),
                ("authors", "Ada, Bob"),
            ]
        );
        let none =
            Described { licence: None, homepage: None, authors: vec![], ..described.clone() };
        assert_eq!(
            super::sections(&none, "0.1.0").expect("legal").len(),
            3,
            "nothing is taken out"
        );
    }

    #[test]
    fn a_licence_or_homepage_that_no_tool_can_read_is_refused() {
        let slash = Described { licence: Some("MIT/Apache-2.0".to_owned()), ..described() };
        let told = sections(&slash, "0.1.0").expect_err("no expression").to_string();
        assert!(told.starts_with("its licence `MIT/Apache-2.0` is no SPDX expression: "), "{told}");
        assert!(told.contains("hint: for example `MIT OR Apache-2.0`"), "{told}");

        let nowhere = Described { homepage: Some("example.com".to_owned()), ..described() };
        assert_eq!(
            sections(&nowhere, "0.1.0").expect_err("no URL").to_string(),
            "its homepage `example.com` is no URL: expected it to begin with `https://` or `http://`"
        );
    }

    #[test]
    fn numbers_of_any_length_come_back() {
        for value in [0, 1, 127, 128, 300, 65_536, 4_000_000_000] {
            let mut bytes = vec![9];
            push_leb(&mut bytes, value);
            assert_eq!(leb(&bytes, 1), Some((value, bytes.len())));
        }
        assert_eq!(leb(&[0x80], 0), None);
        assert_eq!(leb(&[], 1), None);
    }

    #[test]
    fn own_sections_are_taken_out_and_others_stay() {
        let mut bytes = COMPONENT.to_vec();
        append(&mut bytes, "other", b"kept");
        let before = bytes.clone();
        append(&mut bytes, SECTION, &[b'x'; 300]);
        append(&mut bytes, "version", b"1");

        assert_eq!(without(&bytes, &[SECTION, "version"]).expect("whole"), before);
    }

    #[test]
    fn a_schema_that_does_not_fit_is_left_out() {
        let mut described = described();
        let whole = section(&described, "0.1.0").expect("fits");
        assert!(whole.contains("parameters_schema"), "{whole}");

        described.parameters_schema = json!("x".repeat(SECTION_BYTES_MAX));
        let short = section(&described, "0.1.0").expect("fits without");
        assert!(!short.contains("parameters_schema"));

        described.summary = "x".repeat(SECTION_BYTES_MAX);
        assert!(matches!(section(&described, "0.1.0"), Err(PackError::TooLong { .. })));
    }

    #[test]
    fn what_is_no_plugin_is_refused() {
        assert!(matches!(pack(&COMPONENT, &described()), Err(PackError::NoExport)));
        assert!(matches!(pack(b"\0asm", &described()), Err(PackError::NotWasm(_))));
        assert!(matches!(pack(b"hello", &described()), Err(PackError::NotWasm(_))));
        assert!(matches!(encode(b"hello"), Err(PackError::NotWasm(_))));
        let silent = encode(b"\0asm\x01\0\0\0").expect("a component of a module without a type");
        assert!(matches!(pack(&silent, &described()), Err(PackError::NoExport)));
        assert!(matches!(encode(b"\0asm\x01\0\0\0\x01\x7f"), Err(PackError::Encode(_))));
        let mut cut = COMPONENT.to_vec();
        cut.extend([0, 9, 1]);
        assert!(matches!(without(&cut, &[SECTION]), Err(PackError::NotWasm(_))));
    }
}
