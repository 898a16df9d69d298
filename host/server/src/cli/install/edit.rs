//! Changes one entry of a client's configuration and nothing else in it: comments, order and layout stay as they are.
//! Text in, text out.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde_json::Value;
use toml_edit::{DocumentMut, Item, Table};

use super::client::Form;

/// Where an entry stands in a configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The key of the table of servers.
    pub(super) table: &'a str,
    /// The server's name.
    pub(super) name: &'a str,
}

/// A configuration that cannot be changed as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EditError {
    /// It is not what it should be.
    #[error("it is not {expected}: {problem}")]
    Syntax { expected: &'static str, problem: String },
    /// A part of it has another shape.
    #[error("`{key}` in it is no table of servers")]
    Shape { key: String },
    /// An entry of that name is there already, and says something else.
    #[error("it has another server called `{name}`: {found}")]
    Taken { name: String, found: String },
}

/// Puts an entry in, or changes the one that is there when `replace` says so. Returns the new text; nothing when the entry
/// is there already.
pub(super) fn put(
    form: Form,
    text: &str,
    place: Place<'_>,
    entry: &Value,
    replace: bool,
) -> Result<Option<String>, EditError> {
    match form {
        Form::Json => put_json(text, place, entry, replace),
        Form::Toml => put_toml(text, place, entry, replace),
    }
}

/// Takes an entry out. Returns the new text; nothing when there is no such entry.
pub(super) fn take(form: Form, text: &str, place: Place<'_>) -> Result<Option<String>, EditError> {
    match form {
        Form::Json => take_json(text, place),
        Form::Toml => take_toml(text, place),
    }
}

fn taken(place: Place<'_>, found: impl ToString) -> EditError {
    EditError::Taken { name: place.name.to_owned(), found: found.to_string() }
}

fn shape(key: &str) -> EditError {
    EditError::Shape { key: key.to_owned() }
}

/// Reads JSON as lenient as the most lenient client: comments and trailing commas. An empty file is an empty object.
fn read_json(text: &str) -> Result<(CstRootNode, CstObject), EditError> {
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        ..ParseOptions::default()
    };
    let root = CstRootNode::parse(text, &options)
        .map_err(|error| EditError::Syntax { expected: "JSON", problem: error.to_string() })?;
    let object = root.object_value_or_create().ok_or_else(|| EditError::Syntax {
        expected: "a JSON object",
        problem: "the outermost value is of another kind".to_owned(),
    })?;
    Ok((root, object))
}

fn put_json(
    text: &str,
    place: Place<'_>,
    entry: &Value,
    replace: bool,
) -> Result<Option<String>, EditError> {
    let (root, object) = read_json(text)?;
    let servers = object.object_value_or_create(place.table).ok_or_else(|| shape(place.table))?;
    match servers.get(place.name) {
        Some(there) => match there.value().and_then(|value| value.to_serde_value()) {
            Some(found) if found == *entry => return Ok(None),
            Some(found) if !replace => return Err(taken(place, found)),
            _ => there.set_value(input(entry)),
        },
        None => {
            servers.append(place.name, input(entry));
        }
    }
    Ok(Some(ending(root.to_string())))
}

fn take_json(text: &str, place: Place<'_>) -> Result<Option<String>, EditError> {
    let (root, object) = read_json(text)?;
    let Some(servers) = object.get(place.table) else { return Ok(None) };
    let servers = servers.object_value().ok_or_else(|| shape(place.table))?;
    let Some(there) = servers.get(place.name) else { return Ok(None) };
    there.remove();
    Ok(Some(root.to_string()))
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(is) => CstInputValue::Bool(*is),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(fields) => CstInputValue::Object(
            fields.iter().map(|(key, value)| (key.clone(), input(value))).collect(),
        ),
    }
}

fn ending(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn read_toml(text: &str) -> Result<DocumentMut, EditError> {
    text.parse().map_err(|error: toml_edit::TomlError| EditError::Syntax {
        expected: "TOML",
        problem: error.to_string().trim_end().to_owned(),
    })
}

fn put_toml(
    text: &str,
    place: Place<'_>,
    entry: &Value,
    replace: bool,
) -> Result<Option<String>, EditError> {
    let mut document = read_toml(text)?;
    let mut outer = Table::new();
    outer.set_implicit(true);
    let servers = document
        .entry(place.table)
        .or_insert(Item::Table(outer))
        .as_table_mut()
        .ok_or_else(|| shape(place.table))?;
    let table = table(entry);
    if let Some(there) = servers.get(place.name) {
        let found = there.to_string();
        if there.as_table().is_some_and(|there| same(there, &table)) {
            return Ok(None);
        }
        if !replace {
            return Err(taken(place, found.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    servers.insert(place.name, Item::Table(table));
    Ok(Some(document.to_string()))
}

fn take_toml(text: &str, place: Place<'_>) -> Result<Option<String>, EditError> {
    let mut document = read_toml(text)?;
    let Some(servers) = document.get_mut(place.table) else { return Ok(None) };
    let servers = servers.as_table_mut().ok_or_else(|| shape(place.table))?;
    Ok(servers.remove(place.name).map(|_| document.to_string()))
}

/// Builds the table of an entry, whose values are texts and lists of texts.
fn table(entry: &Value) -> Table {
    let mut table = Table::new();
    for (key, value) in entry.as_object().into_iter().flatten() {
        let value = match value {
            Value::Array(items) => {
                items.iter().filter_map(Value::as_str).collect::<toml_edit::Array>().into()
            }
            other => toml_edit::Value::from(other.as_str().unwrap_or_default()),
        };
        table.insert(key, Item::Value(value));
    }
    table
}

/// Whether two tables hold the same, however they are laid out.
fn same(one: &Table, other: &Table) -> bool {
    let texts = |table: &Table| -> Vec<(String, String)> {
        let mut texts: Vec<_> = table
            .iter()
            .map(|(key, item)| {
                let plain = match item.as_array() {
                    Some(items) => items
                        .iter()
                        .map(|item| item.as_str())
                        .map(|text| format!("{text:?}"))
                        .collect(),
                    None => format!("{:?}", item.as_str()),
                };
                (key.to_owned(), plain)
            })
            .collect();
        texts.sort();
        texts
    };
    texts(one) == texts(other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const JSON: Place<'static> = Place { table: "mcpServers", name: "caelum-workflow" };
    const TOML: Place<'static> = Place { table: "mcp_servers", name: "caelum-workflow" };

    fn entry() -> Value {
        json!({"command": "/opt/caelum-workflow", "args": ["serve", "--stdio"]})
    }

    #[test]
    fn what_is_put_in_is_taken_out_again_and_everything_else_stays() {
        let json = [
            "{}",
            "{\n  // mine\n  \"theme\": \"dark\", /* yes */\n}\n",
            "{\n\t\"mcpServers\": {\n\t\t\"other\": { \"command\": \"x\" }, // keep\n\t},\n\t\"z\": [1,2 , 3]\n}\n",
            "{\"mcpServers\":{\"other\":{\"command\":\"x\"}}}",
        ];
        for text in json {
            let with = put(Form::Json, text, JSON, &entry(), false).expect("put").expect("new");
            let without = take(Form::Json, &with, JSON).expect("taken").expect("there");

            for piece in ["// mine", "/* yes */", "// keep", "[1,2 , 3]", "\"theme\": \"dark\""] {
                assert_eq!(text.contains(piece), without.contains(piece), "{piece} of {text}");
            }
            assert!(with.contains("/opt/caelum-workflow"), "{with}");
            assert!(!without.contains("caelum"), "{without}");
            assert_eq!(text.contains("\"other\""), without.contains("\"other\""), "{without}");
            assert_eq!(put(Form::Json, &with, JSON, &entry(), false), Ok(None), "{with}");
            assert_eq!(take(Form::Json, &without, JSON), Ok(None));
        }
        let toml = "# mine\nmodel = \"x\" # yes\n\n[mcp_servers.other]\ncommand = \"y\"\n";
        let with = put(Form::Toml, toml, TOML, &entry(), false).expect("put").expect("new");
        assert!(with.starts_with(toml), "{with}");
        assert!(with.contains("[mcp_servers.caelum-workflow]\n"), "{with}");
        assert_eq!(put(Form::Toml, &with, TOML, &entry(), false), Ok(None));
        let without = take(Form::Toml, &with, TOML).expect("taken").expect("there");
        assert_eq!(without.trim_end(), toml.trim_end());
    }

    #[test]
    fn an_empty_or_missing_configuration_becomes_one() {
        for (form, place) in [(Form::Json, JSON), (Form::Toml, TOML)] {
            let with = put(form, "", place, &entry(), false).expect("put").expect("new");

            assert!(with.contains("caelum-workflow") && with.ends_with('\n'), "{with}");
            assert_eq!(take(form, "", place), Ok(None));
        }
    }

    #[test]
    fn another_entry_of_that_name_is_replaced_only_on_purpose() {
        let json = r#"{"mcpServers": {"caelum-workflow": {"command": "/mine"}}}"#;
        let toml = "[mcp_servers.caelum-workflow]\ncommand = \"/mine\"\n";
        for (form, place, text) in [(Form::Json, JSON, json), (Form::Toml, TOML, toml)] {
            let refused = put(form, text, place, &entry(), false).expect_err("it is there");
            let replaced =
                put(form, text, place, &entry(), true).expect("on purpose").expect("new");

            assert!(refused.to_string().contains("/mine"), "{refused}");
            assert!(replaced.contains("/opt/") && !replaced.contains("/mine"), "{replaced}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_left_alone_and_told() {
        for (form, place, text, wanted) in [
            (Form::Json, JSON, "{\"a\": }", "line 1 column 7"),
            (Form::Json, JSON, "[1]", "JSON object"),
            (Form::Json, JSON, "{\"mcpServers\": []}", "`mcpServers` in it is no table"),
            (Form::Toml, TOML, "a = ", "line 1, column 5"),
            (Form::Toml, TOML, "mcp_servers = 3", "`mcp_servers` in it is no table"),
        ] {
            let put = put(form, text, place, &entry(), true).expect_err(text).to_string();
            let take = take(form, text, place).expect_err(text).to_string();

            assert!(put.contains(wanted), "{put}");
            assert!(take.contains(wanted), "{take}");
        }
    }
}
