//! The second stage: is it WebAssembly at all, and of which form? A core module that carries its component type can be
//! made a component.

use wasmparser::{Parser, Payload};

use crate::text;

const MAGIC: [u8; 4] = *b"\0asm";
const CORE_MODULE: [u8; 4] = [0x01, 0x00, 0x00, 0x00];
const COMPONENT: [u8; 4] = [0x0d, 0x00, 0x01, 0x00];
const HEADER_BYTES: usize = 8;

/// How `wit-bindgen` names the section with a module's component type; a suffix may follow.
const COMPONENT_TYPE: &str = "component-type";

/// What the bytes are instead of a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// The text format.
    #[error("it is WebAssembly text; expected a binary component")]
    Text,
    /// Native code.
    #[error("it is native code (ELF); expected a component")]
    Native,
    /// Something else.
    #[error(
        "it begins with the bytes {first}; expected a component, which begins with 00 61 73 6d"
    )]
    NotWasm {
        /// The first bytes.
        first: String,
    },
    /// The beginning of a header.
    #[error("it ends after {bytes} bytes, in its header")]
    CutOff {
        /// How many there are.
        bytes: usize,
    },
    /// A version that nobody knows yet, or no longer.
    #[error("it has the WebAssembly version {version}; expected a component (0d 00 01 00)")]
    Version {
        /// The four bytes.
        version: String,
    },
    /// A core module that does not say which component it is.
    #[error("it is a core module without a component type; expected a component")]
    CoreModule,
    /// A core module that says so, and cannot be made one.
    #[error("it is a core module that cannot be made a component: {message}")]
    Encode {
        /// What the encoder said.
        message: String,
    },
}

impl HeaderError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            HeaderError::Empty | HeaderError::CutOff { .. } => "copy the file again, completely",
            HeaderError::Text => "encode it with `wasm-tools parse`, or build the plugin again",
            HeaderError::Native => "put the `.wasm` file there; the server compiles it by itself",
            HeaderError::NotWasm { .. } | HeaderError::Version { .. } => {
                "build the plugin with `caelum-workflow plugin build`"
            }
            HeaderError::CoreModule => {
                "build the plugin with caelum-sdk (`caelum-workflow plugin build`), or make a component of it with `wasm-tools component new`"
            }
            HeaderError::Encode { message } if message.contains("wasi_snapshot_preview1") => {
                "build for wasm32-wasip2 or wasm32-unknown-unknown instead of wasm32-wasip1"
            }
            HeaderError::Encode { .. } => {
                "build the plugin with the caelum-sdk of this server's version"
            }
        }
    }
}

/// What WebAssembly the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A component.
    Component,
    /// A core module that carries its component type, and can be made a component.
    TypedModule,
}

/// Finds out what the bytes are.
pub(crate) fn form(bytes: &[u8]) -> Result<Form, HeaderError> {
    if bytes.is_empty() {
        return Err(HeaderError::Empty);
    }
    if !MAGIC.starts_with(&bytes[..bytes.len().min(4)]) && !bytes.starts_with(&MAGIC) {
        return Err(not_wasm(bytes));
    }
    if bytes.len() < HEADER_BYTES {
        return Err(HeaderError::CutOff { bytes: bytes.len() });
    }
    match &bytes[4..HEADER_BYTES] {
        version if version == COMPONENT => Ok(Form::Component),
        version if version == CORE_MODULE => typed_module(bytes),
        version => Err(HeaderError::Version { version: hex(version) }),
    }
}

fn not_wasm(bytes: &[u8]) -> HeaderError {
    let beginning = String::from_utf8_lossy(&bytes[..bytes.len().min(256)]);
    let beginning = beginning.trim_start_matches('\u{feff}').trim_start();
    if beginning.starts_with("(module")
        || beginning.starts_with("(component")
        || beginning.starts_with(";;")
        || beginning.starts_with("(;")
    {
        HeaderError::Text
    } else if bytes.starts_with(b"\x7fELF") {
        HeaderError::Native
    } else {
        HeaderError::NotWasm { first: hex(&bytes[..bytes.len().min(4)]) }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn typed_module(module: &[u8]) -> Result<Form, HeaderError> {
    let mut typed = false;
    for payload in Parser::new(0).parse_all(module) {
        match payload {
            Ok(Payload::CustomSection(section)) => {
                typed |= section.name().starts_with(COMPONENT_TYPE);
            }
            Ok(_) => {}
            Err(error) => {
                return Err(HeaderError::Encode { message: text::line(&error.to_string()) });
            }
        }
    }
    if typed { Ok(Form::TypedModule) } else { Err(HeaderError::CoreModule) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &'static [u8]) -> HeaderError {
        form(bytes).expect_err("must be refused")
    }

    #[test]
    fn everything_that_is_no_component_is_called_by_its_name() {
        let messages = [
            (b"".as_slice(), "it is empty"),
            (b"\0as", "it ends after 3 bytes, in its header"),
            (b"\0asm\x0d", "it ends after 5 bytes, in its header"),
            (b"\n (component)", "it is WebAssembly text; expected a binary component"),
            (b"\x7fELF\x02\x01\x01", "it is native code (ELF); expected a component"),
            (
                b"#!/bin/sh\n",
                "it begins with the bytes 23 21 2f 62; expected a component, which begins with 00 61 73 6d",
            ),
            (
                b"\0asm\x0c\0\x01\0",
                "it has the WebAssembly version 0c 00 01 00; expected a component (0d 00 01 00)",
            ),
            (
                b"\0asm\x01\0\0\0",
                "it is a core module without a component type; expected a component",
            ),
        ];
        for (bytes, message) in messages {
            assert_eq!(refused(bytes).to_string(), message);
            assert!(!refused(bytes).hint().is_empty());
        }
    }

    #[test]
    fn a_core_module_that_is_cut_off_says_where() {
        assert_eq!(
            refused(b"\0asm\x01\0\0\0\x01\x7f").to_string(),
            "it is a core module that cannot be made a component: unexpected end-of-file (at offset 0xa)"
        );
    }
}
