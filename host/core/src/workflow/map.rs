//! A step that is performed once for each item of a list: what its author writes, and how the list comes about.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::template::{Scope, TemplateError, evaluate, render_value};

/// How many items a list may have. More belong into several executions: every item is a row of its own.
pub const MAP_ITEMS_MAX: usize = 10_000;

/// How large a list may be as JSON, in bytes: it is stored with the event that begins its step.
pub const MAP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many targets a step may have, which is its items times its machines.
pub const MAP_TARGETS_MAX: usize = 100_000;

/// How large the outputs of all items may be together as JSON, in bytes: they are stored with the event that ends the
/// step, and templates of later steps read them.
pub const MAP_OUTPUTS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many items are under way at once where the author does not say.
pub const MAP_AT_ONCE_DEFAULT: u32 = 16;

/// How many items may be under way at once: each is work that somebody's machine holds a place for.
pub const MAP_AT_ONCE_MAX: u32 = 1_000;

/// The name of an item in templates where the author does not choose one.
pub const ITEM_NAME: &str = "item";

/// Names that templates see already, and words of their language: no item can have one of them.
pub(super) const NAMES_TAKEN: [&str; 28] = [
    "parameters",
    "steps",
    "step",
    "execution",
    "self",
    "loop",
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "elif",
    "else",
    "for",
    "endfor",
    "endif",
    "set",
    "range",
    "dict",
    "namespace",
    "debug",
];

/// A step is performed once for each item of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepMap {
    /// The list: an expression such as `{{ parameters.files }}` that gives one, or the list itself, whose strings are
    /// templates.
    pub over: Value,
    /// What templates of the action call an item; `<name>_index` is its position, from 0.
    #[serde(rename = "as", default = "item_name", skip_serializing_if = "is_item_name")]
    pub name: String,
    /// How many items are under way at once, at most; at least 1.
    #[serde(default = "at_once")]
    pub max: u32,
}

fn item_name() -> String {
    ITEM_NAME.to_owned()
}

fn is_item_name(name: &str) -> bool {
    name == ITEM_NAME
}

fn at_once() -> u32 {
    MAP_AT_ONCE_DEFAULT
}

impl StepMap {
    /// Builds a map with the default name and width.
    pub fn over(list: Value) -> Self {
        StepMap { over: list, name: item_name(), max: at_once() }
    }

    /// Returns what templates call the position of an item.
    pub fn index_name(&self) -> String {
        format!("{}_index", self.name)
    }

    /// Evaluates the list.
    ///
    /// # Errors
    ///
    /// A template that does not work, something that is no list, or a list that is too long or too large.
    pub fn items(&self, scope: &Scope<'_>) -> Result<Vec<Value>, MapError> {
        let found = match &self.over {
            Value::String(expression) => evaluate(expression, scope)?,
            literal => render_value(literal, scope)?,
        };
        let items = match found {
            Value::Array(items) => items,
            other => return Err(MapError::NoList { found: kind_of(&other) }),
        };
        if items.len() > MAP_ITEMS_MAX {
            return Err(MapError::TooMany { items: items.len() });
        }
        let bytes: usize = items.iter().map(|item| item.to_string().len() + 1).sum();
        if bytes > MAP_BYTES_MAX {
            return Err(MapError::TooLarge { bytes });
        }
        Ok(items)
    }
}

/// Why there is no list to go over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Its template does not work.
    #[error("map over: {0}")]
    Template(#[from] TemplateError),
    /// It gives something else.
    #[error("map over: expected a list, found {found}")]
    NoList {
        /// What it gives.
        found: &'static str,
    },
    /// It has too many items.
    #[error("map over: the list has {items} items; at most {MAP_ITEMS_MAX} are allowed")]
    TooMany {
        /// How many.
        items: usize,
    },
    /// It is too large.
    #[error("map over: the list has {bytes} bytes as JSON; at most {MAP_BYTES_MAX} are allowed")]
    TooLarge {
        /// How large.
        bytes: usize,
    },
    /// It has too many items for so many machines.
    #[error(
        "map over: {items} items on {machines} machines are {} targets; at most {MAP_TARGETS_MAX} are allowed",
        items * machines
    )]
    TooManyTargets {
        /// How many items.
        items: usize,
        /// How many machines.
        machines: usize,
    },
}

impl MapError {
    /// Returns the stable code of the failure.
    pub fn code(&self) -> &'static str {
        match self {
            MapError::Template(_) => "template",
            MapError::NoList { .. } => "map_no_list",
            MapError::TooMany { .. } | MapError::TooLarge { .. } => "map_too_large",
            MapError::TooManyTargets { .. } => "map_too_many_targets",
        }
    }

    /// Returns what would help.
    pub fn hint(&self) -> &'static str {
        match self {
            MapError::Template(_) => "templates see `parameters` and `steps.<id>.outputs`",
            MapError::NoList { .. } => {
                "name a list, such as `{{ parameters.files }}`; `| items | list` makes one of an object"
            }
            MapError::TooMany { .. } | MapError::TooLarge { .. } => {
                "split the list, and let a step run a child workflow for each part"
            }
            MapError::TooManyTargets { .. } => "name fewer machines, or split the list",
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn items(over: Value) -> Result<Vec<Value>, String> {
        let scope = Scope::of(json!({
            "parameters": {"files": ["a", "b"], "one": {"x": 1}, "text": "a,b", "many": vec![0; 10_001]},
        }));
        StepMap::over(over).items(&scope).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_is_named_computed_or_written_out() {
        for (over, expected) in [
            (json!("{{ parameters.files }}"), json!(["a", "b"])),
            (json!("parameters.files"), json!(["a", "b"])),
            (json!("{{ parameters.text | split(',') }}"), json!(["a", "b"])),
            (json!("{{ range(2) }}"), json!([0, 1])),
            (
                json!(["{{ parameters.one }}", 2, {"f": "{{ parameters.files[1] }}!"}]),
                json!([{"x": 1}, 2, {"f": "b!"}]),
            ),
            (json!([]), json!([])),
        ] {
            assert_eq!(items(over.clone()).map(Value::from), Ok(expected), "{over}");
        }
    }

    #[test]
    fn what_gives_no_list_says_what_it_gives() {
        for (over, error) in [
            (json!("{{ parameters.text }}"), "map over: expected a list, found a text"),
            (json!("{{ parameters.one }}"), "map over: expected a list, found an object"),
            (json!("{{ 3 }}"), "map over: expected a list, found a number"),
            (
                json!("{{ parameters.nothing }}"),
                "map over: template `{{ parameters.nothing }}`: `parameters.nothing` is undefined",
            ),
            (
                json!("{{ parameters.many }}"),
                "map over: the list has 10001 items; at most 10000 are allowed",
            ),
        ] {
            assert_eq!(items(over.clone()), Err(error.to_owned()), "{over}");
        }
        let large = items(json!(["x".repeat(MAP_BYTES_MAX)])).expect_err("too large");
        assert!(large.contains("bytes as JSON; at most 4194304 are allowed"), "{large}");
    }
}
