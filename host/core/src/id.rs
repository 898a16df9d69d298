//! Names and identifiers: newtypes that are parsed once, at the edge, and are legal from then on.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name or identifier, in bytes. Long enough for any host name (253) and short enough for a table row.
pub const ID_BYTES_MAX: usize = 253;

/// The text is not a legal name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{}` is not a legal name: {problem}", shown(.text))]
pub struct IdError {
    /// What the text should have named, such as `workflow_id`.
    pub kind: &'static str,
    /// The text as it came.
    pub text: String,
    /// What is wrong with it and what would be right.
    pub problem: String,
}

/// Cuts a text that came from outside to a length that an error message may repeat.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().count() > 80 {
        shown.push('…');
    }
    shown
}

fn check(kind: &'static str, text: &str, also: &str) -> Result<(), IdError> {
    let problem = if text.is_empty() {
        "it is empty".to_owned()
    } else if text.len() > ID_BYTES_MAX {
        format!("it has {} bytes; at most {ID_BYTES_MAX} are allowed", text.len())
    } else if let Some(wrong) =
        text.chars().find(|letter| !(letter.is_ascii_alphanumeric() || also.contains(*letter)))
    {
        let also: Vec<String> = also.chars().map(|letter| format!("`{letter}`")).collect();
        format!(
            "`{}` is not allowed; use letters, digits, {}",
            wrong.escape_debug(),
            also.join(", ")
        )
    } else if !text.starts_with(|letter: char| letter.is_ascii_alphanumeric()) {
        "it must begin with a letter or a digit".to_owned()
    } else {
        return Ok(());
    };
    Err(IdError { kind, text: text.to_owned(), problem })
}

macro_rules! id {
    ($(#[$docs:meta])* $name:ident, $kind:literal, $also:literal) => {
        $(#[$docs])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check($kind, text, $also)?;
                Ok($name(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id!(
    /// Names a workflow definition; chosen by its author.
    WorkflowId, "workflow_id", "-_."
);
id!(
    /// Names a step within its definition; chosen by the author.
    StepId, "step id", "-_."
);
id!(
    /// Names one run of one revision; made by the server. A task group is a run of its own, so its id is one too.
    ExecutionId, "execution_id", "-_."
);
id!(
    /// Names a machine: the host name of one, or `local` for the one that the server runs on.
    MachineId, "machine id", "-_.:"
);
id!(
    /// Names a plugin (a pattern or a validator); chosen by its author, taken from its manifest.
    PluginName, "plugin name", "-_."
);
id!(
    /// Names one recorded use of a pattern; made by the server.
    ApplicationId, "application_id", "-_."
);
id!(
    /// Names a plan that was shown and may be applied once; made by the server.
    PlanId, "plan_id", "-_."
);

impl MachineId {
    /// Returns the name for the machine that the server itself runs on.
    pub fn local() -> Self {
        MachineId("local".into())
    }
}

/// A SHA-256 digest in lower-case hexadecimal: of a plugin, a file or a stored document.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Arc<str>);

impl Digest {
    /// Builds a digest from its 32 bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        use fmt::Write;
        let mut text = String::with_capacity(64);
        for byte in bytes {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        Digest(text.into())
    }

    /// Returns the 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first twelve digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = |letter: char| letter.is_ascii_digit() || ('a'..='f').contains(&letter);
        if text.len() != 64 || !text.chars().all(digits) {
            return Err(IdError {
                kind: "sha256",
                text: text.to_owned(),
                problem: "expected 64 lower-case hexadecimal digits".to_owned(),
            });
        }
        Ok(Digest(text.into()))
    }
}

impl TryFrom<String> for Digest {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0.as_ref().to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_which_letter_is_wrong() {
        let error = "my workflow".parse::<WorkflowId>().expect_err("has a space");
        assert_eq!(
            error.to_string(),
            "workflow_id `my workflow` is not a legal name: ` ` is not allowed; use letters, digits, `-`, `_`, `.`"
        );
    }

    #[test]
    fn hostile_ids_are_refused_and_shortened_in_the_message() {
        for text in ["", "../etc", "a/b", ".hidden", "a\u{202e}b", "a\0b"] {
            assert!(text.parse::<WorkflowId>().is_err(), "{text:?}");
        }
        let long = "x".repeat(10_000).parse::<StepId>().expect_err("too long");
        assert!(long.to_string().len() < 300, "{long}");
    }
}
