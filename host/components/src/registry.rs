//! The file that gives components names: `components.toml`.
//!
//! ```toml
//! [components.payments]
//! directory = "services/payments"   # absolute, or relative to this file
//!
//! [components.payments.parameters]  # defaults for every pattern; what a call says is stronger
//! component_name = "payments"
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use caelum_core::near::did_you_mean;
use serde_json::{Map, Value};

use crate::error::ComponentsError;

/// The longest components file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The longest name of a component, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named {
    pub(crate) directory: PathBuf,
    pub(crate) parameters: Map<String, Value>,
}

/// Reads the file and names all its faults at once.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, Named>, ComponentsError> {
    let failed = |faults| ComponentsError::Registry { path: path.to_owned(), faults };
    let text = match fs::metadata(path) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            let fault = format!("it has {} bytes; at most {FILE_BYTES_MAX}", metadata.len());
            return Err(failed(vec![fault]));
        }
        _ => fs::read_to_string(path).map_err(|error| failed(vec![error.to_string()]))?,
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, folder).map_err(failed)
}

fn parse(text: &str, folder: &Path) -> Result<BTreeMap<String, Named>, Vec<String>> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // The line, but not the text of it: the file may hold what is nobody else's business.
        let line = error.span().map_or(1, |span| {
            1 + text.as_bytes()[..span.start.min(text.len())]
                .iter()
                .filter(|b| **b == b'\n')
                .count()
        });
        vec![format!("line {line}: {}", error.message())]
    })?;
    let mut faults = Vec::new();
    let mut named = BTreeMap::new();
    for (key, value) in table {
        match (key.as_str(), value) {
            ("components", toml::Value::Table(components)) => {
                for (name, value) in components {
                    match component(&name, value, folder) {
                        Ok(component) => drop(named.insert(name, component)),
                        Err(mut these) => faults.append(&mut these),
                    }
                }
            }
            ("components", _) => faults.push("`components` is not a table".to_owned()),
            (unknown, _) => faults.push(unknown_key(unknown, "", &["components"])),
        }
    }
    if faults.is_empty() { Ok(named) } else { Err(faults) }
}

fn component(name: &str, value: toml::Value, folder: &Path) -> Result<Named, Vec<String>> {
    let shown = format!("components.{}", name.escape_debug());
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let mut faults = Vec::new();
    if name.is_empty()
        || name.len() > NAME_BYTES_MAX
        || !name.chars().all(legal)
        || name.starts_with('.')
    {
        faults.push(format!(
            "`{shown}`: a name has 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`, and does not begin with `.`"
        ));
    }
    let toml::Value::Table(table) = value else {
        faults.push(format!("`{shown}` is not a table; expected `directory = \"…\"` in it"));
        return Err(faults);
    };
    let (mut directory, mut parameters) = (None, Map::new());
    for (key, value) in table {
        match (key.as_str(), value) {
            ("directory", toml::Value::String(text))
                if !text.is_empty() && !text.contains('\0') =>
            {
                directory = Some(folder.join(text));
            }
            ("directory", _) => faults.push(format!("`{shown}.directory` is not a path")),
            ("parameters", toml::Value::Table(table)) => {
                parameters = table.into_iter().map(|(key, value)| (key, json(value))).collect();
            }
            ("parameters", _) => faults.push(format!("`{shown}.parameters` is not a table")),
            (unknown, _) => faults.push(unknown_key(unknown, &shown, &["directory", "parameters"])),
        }
    }
    match directory {
        Some(directory) if faults.is_empty() => Ok(Named { directory, parameters }),
        Some(_) => Err(faults),
        None => {
            if !faults.iter().any(|fault| fault.contains(".directory`")) {
                faults.push(format!("`{shown}` has no `directory`"));
            }
            Err(faults)
        }
    }
}

fn unknown_key(key: &str, within: &str, known: &[&str]) -> String {
    let place = if within.is_empty() { String::new() } else { format!("{within}.") };
    let hint = did_you_mean(key, known.iter().copied()).unwrap_or_default();
    format!("`{place}{}` is not a known key; {hint}", key.escape_debug())
}

fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_stand_for_directories_with_default_parameters() {
        let text = r#"
            [components.payments]
            directory = "services/payments"
            [components.payments.parameters]
            ports = [8080, 8081]
            since = 2026-01-31T12:00:00Z
            [components."db-1.x"]
            directory = "/srv/db"
        "#;

        let named = parse(text, Path::new("/etc/caelum")).expect("a good file");

        assert_eq!(named["payments"].directory, Path::new("/etc/caelum/services/payments"));
        assert_eq!(
            Value::Object(named["payments"].parameters.clone()),
            json!({"ports": [8080, 8081], "since": "2026-01-31T12:00:00Z"})
        );
        assert_eq!(named["db-1.x"].directory, Path::new("/srv/db"));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let text = r#"
            version = 1
            [components.a]
            path = "x"
            [components.b]
            directory = 3
            [components."c/d"]
            directory = "x"
            parameters = 1
        "#;

        let mut faults = parse(text, Path::new("/")).expect_err("six faults");
        faults.sort();

        assert_eq!(
            faults,
            [
                "`components.a.path` is not a known key; known: directory, parameters",
                "`components.a` has no `directory`",
                "`components.b.directory` is not a path",
                "`components.c/d.parameters` is not a table",
                "`components.c/d`: a name has 1 to 128 letters, digits, `-`, `_` and `.`, and does not begin with `.`",
                "`version` is not a known key; known: components",
            ]
        );
    }

    #[test]
    fn a_file_that_is_no_toml_says_the_line_and_not_the_text() {
        let faults = parse("[components]\nsecret = = 1\n", Path::new("/")).expect_err("no TOML");

        assert!(faults[0].starts_with("line 2: "), "{faults:?}");
        assert!(!faults[0].contains("secret"), "{faults:?}");
    }
}
