//! The addresses of resources, written and read.

use std::fmt;
use std::str::FromStr;

/// The longest address that is looked at, in bytes; ids have at most 128 characters.
const ADDRESS_MAX: usize = 1_024;

/// The address of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Address {
    /// A workflow, at a revision or at its newest.
    Workflow {
        /// The workflow's id.
        workflow_id: String,
        /// The revision.
        revision: Option<u32>,
    },
    /// An execution or a task group, by its id.
    Execution(String),
    /// A pattern or a validator, by its name.
    Pattern(String),
    /// A recorded use of a pattern, by its id.
    Application(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workflow { workflow_id, revision: None } => write!(f, "workflow://{workflow_id}"),
            Self::Workflow { workflow_id, revision: Some(revision) } => {
                write!(f, "workflow://{workflow_id}?revision={revision}")
            }
            Self::Execution(id) => write!(f, "execution://{id}"),
            Self::Pattern(name) => write!(f, "pattern://{name}"),
            Self::Application(id) => write!(f, "application://{id}"),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(uri: &str) -> Result<Self, String> {
        const FORMS: &str =
            "`workflow://<id>`, `execution://<id>`, `pattern://<name>` or `application://<id>`";
        if uri.len() > ADDRESS_MAX {
            return Err(format!("it has {} bytes, at most {ADDRESS_MAX} are looked at", uri.len()));
        }
        let (scheme, rest) =
            uri.split_once("://").ok_or_else(|| format!("an address is {FORMS}"))?;
        let (name, query) = match rest.split_once('?') {
            Some((name, query)) => (name, Some(query)),
            None => (rest, None),
        };
        // Some clients write the empty path of a URL.
        let name = name.strip_suffix('/').unwrap_or(name);
        let is_legal = |char: char| char.is_ascii_alphanumeric() || "-_.:".contains(char);
        if name.is_empty() || !name.chars().all(is_legal) {
            return Err(format!(
                "`{}` is no id: ids have letters, digits, `-`, `_` and `.`",
                name.escape_debug()
            ));
        }
        let name = name.to_owned();
        let address = match (scheme, query) {
            ("workflow", None) => Self::Workflow { workflow_id: name, revision: None },
            ("workflow", Some(query)) => {
                let revision = query
                    .strip_prefix("revision=")
                    .and_then(|revision| revision.parse().ok())
                    .filter(|revision| *revision > 0)
                    .ok_or("a workflow's query is `revision=<number>`, from 1")?;
                Self::Workflow { workflow_id: name, revision: Some(revision) }
            }
            ("execution", None) => Self::Execution(name),
            ("pattern", None) => Self::Pattern(name),
            ("application", None) => Self::Application(name),
            ("execution" | "pattern" | "application", Some(_)) => {
                return Err(format!("`{scheme}` takes no query"));
            }
            _ => return Err(format!("an address is {FORMS}")),
        };
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for uri in [
            "workflow://deploy-v1",
            "workflow://deploy-v1?revision=3",
            "execution://exe_0190",
            "pattern://port-registry",
            "application://app_1",
        ] {
            let address: Address = uri.parse().expect("an address");
            assert_eq!(address.to_string(), uri);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_would_be_one() {
        let cases = [
            ("deploy", "an address is `workflow://<id>`"),
            ("file:///etc/passwd", "is no id"),
            ("file://x", "an address is `workflow://<id>`"),
            ("workflow://", "`` is no id"),
            ("workflow://../x", "`../x` is no id"),
            ("workflow://a?revision=0", "`revision=<number>`, from 1"),
            ("execution://a?x=1", "`execution` takes no query"),
            ("execution://a\u{202e}b", "is no id"),
        ];
        for (uri, reason) in cases {
            let found = uri.parse::<Address>().expect_err("no address");
            assert!(found.contains(reason), "{uri}: {found}");
        }
        assert!(format!("workflow://{}", "x".repeat(5_000)).parse::<Address>().is_err());
    }
}
