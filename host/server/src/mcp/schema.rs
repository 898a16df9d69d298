//! Makes JSON Schemas that every MCP client can read, from Rust types: no `$ref`, no `$defs`, no lists of types, no
//! `null`, objects closed on the way in. What plain schemars emits trips several clients: references they do not follow,
//! `"type": ["string", "null"]`, `"default": null`, boolean schemas, number formats of Rust.

mod absent;
mod objections;
mod whole;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

pub use self::absent::drop_absent;
pub use self::objections::objections;
pub use self::whole::whole_numbers;

/// The formats JSON Schema 2020-12 defines and clients know; the others (`uint32`, `double`) are Rust's own.
const KNOWN_FORMATS: &[&str] = &[
    "date-time",
    "date",
    "time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "uuid",
    "regex",
];

/// Returns the portable schema of a tool's arguments; its objects refuse names they do not declare.
pub fn input<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().for_deserialize().with(inline).into_generator();
    portable(generator.into_root_schema_for::<T>().to_value(), Direction::Input)
}

/// Returns the portable schema of a tool's answer, as it is serialized.
pub fn output<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().with(inline).into_generator();
    portable(generator.into_root_schema_for::<T>().to_value(), Direction::Output)
}

fn inline(settings: &mut SchemaSettings) {
    settings.inline_subschemas = true;
    settings.meta_schema = None;
}

/// Which way a value travels: arguments are held to what is declared, answers may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the tool.
    Input,
    /// From the tool to the client.
    Output,
}

/// Rewrites a schema so that every client can read it; see the module's first lines for what goes.
pub fn portable(mut schema: Value, direction: Direction) -> Value {
    let definitions = match &mut schema {
        Value::Object(root) => match root.remove("$defs") {
            Some(Value::Object(definitions)) => definitions,
            _ => Map::new(),
        },
        _ => Map::new(),
    };
    let rewriter = Rewriter { definitions, direction };
    let mut schema = rewriter.schema(schema, &mut Vec::new());
    if let Value::Object(root) = &mut schema
        && !root.contains_key("type")
    {
        root.insert("type".into(), json!("object"));
    }
    if let Value::Object(root) = &mut schema
        && direction == Direction::Input
    {
        // An object without arguments is still a closed object with a list of properties.
        root.entry("properties").or_insert_with(|| json!({}));
        root.entry("additionalProperties").or_insert_with(|| json!(false));
    }
    schema
}

/// The largest whole number that every JSON reader holds exactly: 2^53 - 1 (RFC 8259, section 6).
const WHOLE_MAX: i64 = 9_007_199_254_740_991;

/// Says in the portable keywords what a number format of Rust says: what does not fit the type is then refused by the
/// name of the argument, with the range.
fn bound(object: &mut Map<String, Value>, format: &str) {
    let (min, max) = match format {
        "int32" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        "uint32" => (0, i64::from(u32::MAX)),
        "int" | "int64" => (-WHOLE_MAX, WHOLE_MAX),
        "uint" | "uint64" => (0, WHOLE_MAX),
        _ => return,
    };
    object.entry("minimum").or_insert_with(|| json!(min));
    object.entry("maximum").or_insert_with(|| json!(max));
}

struct Rewriter {
    definitions: Map<String, Value>,
    direction: Direction,
}

impl Rewriter {
    fn schema(&self, schema: Value, open: &mut Vec<String>) -> Value {
        match schema {
            Value::Object(object) => Value::Object(self.object(object, open)),
            // `true` allows anything, and so does the object form, which clients read better.
            Value::Bool(true) => json!({}),
            other => other,
        }
    }

    fn object(&self, mut object: Map<String, Value>, open: &mut Vec<String>) -> Map<String, Value> {
        if let Some(Value::String(reference)) = object.remove("$ref") {
            return self.referenced(&reference, object, open);
        }
        for gone in ["$schema", "$id", "$comment", "title", "nullable"] {
            object.remove(gone);
        }
        if object.get("default").is_some_and(Value::is_null) {
            object.remove("default");
        }
        if let Some(Value::String(format)) = object.get("format")
            && !KNOWN_FORMATS.contains(&format.as_str())
        {
            let format = format.clone();
            object.remove("format");
            if self.direction == Direction::Input {
                bound(&mut object, &format);
            }
        }
        if let Some(Value::String(description)) = object.get_mut("description") {
            *description = unwrap_lines(description);
        }
        drop_null_type(&mut object);
        self.children(&mut object, open);
        // One alternative left after `null` went is no alternative: its keywords move up.
        for keyword in ["anyOf", "oneOf", "allOf"] {
            lift_single(&mut object, keyword);
        }
        fold_constants(&mut object);
        if self.direction == Direction::Input
            && object.contains_key("properties")
            && !object.contains_key("additionalProperties")
        {
            object.insert("additionalProperties".into(), json!(false));
        }
        object
    }

    fn children(&self, object: &mut Map<String, Value>, open: &mut Vec<String>) {
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            let mut optional = Vec::new();
            for (name, property) in properties.iter_mut() {
                if allows_null(property) {
                    optional.push(name.clone());
                }
                *property = self.schema(property.take(), open);
            }
            // What may be null is left out instead, so it cannot be required.
            if let Some(Value::Array(required)) = object.get_mut("required") {
                required.retain(|name| !optional.iter().any(|optional| name == optional));
            }
        }
        if object.get("required").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            object.remove("required");
        }
        for keyword in ["items", "contains", "not", "propertyNames"] {
            if let Some(child) = object.get_mut(keyword) {
                *child = self.schema(child.take(), open);
            }
        }
        if let Some(child) = object.get_mut("additionalProperties")
            && child.is_object()
        {
            *child = self.schema(child.take(), open);
        }
        if let Some(Value::Object(patterns)) = object.get_mut("patternProperties") {
            for child in patterns.values_mut() {
                *child = self.schema(child.take(), open);
            }
        }
        for keyword in ["anyOf", "oneOf", "allOf", "prefixItems"] {
            if let Some(Value::Array(list)) = object.get_mut(keyword) {
                if keyword == "anyOf" || keyword == "oneOf" {
                    list.retain(|child| !is_null_schema(child));
                }
                for child in list.iter_mut() {
                    *child = self.schema(child.take(), open);
                }
            }
        }
    }

    /// Puts the definition in place of the reference; keywords beside the reference win over those of the definition.
    fn referenced(
        &self,
        reference: &str,
        beside: Map<String, Value>,
        open: &mut Vec<String>,
    ) -> Map<String, Value> {
        let name = reference.rsplit('/').next().unwrap_or(reference).to_owned();
        let definition = match self.definitions.get(&name) {
            Some(Value::Object(definition)) if !open.contains(&name) => definition.clone(),
            // A type that holds itself cannot be written out; its inside is left free and its type is kept.
            Some(Value::Object(definition)) => {
                let mut outline = Map::new();
                for keyword in ["type", "description"] {
                    if let Some(value) = definition.get(keyword) {
                        outline.insert(keyword.into(), value.clone());
                    }
                }
                outline
            }
            _ => Map::new(),
        };
        let mut merged = definition;
        merged.extend(beside);
        open.push(name);
        let object = self.object(merged, open);
        open.pop();
        object
    }
}

fn is_null_schema(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
        || schema.get("const").is_some_and(Value::is_null)
}

fn allows_null(schema: &Value) -> bool {
    let in_type = schema
        .get("type")
        .and_then(Value::as_array)
        .is_some_and(|kinds| kinds.iter().any(|kind| kind == "null"));
    let in_branch = ["anyOf", "oneOf"]
        .iter()
        .filter_map(|keyword| schema.get(*keyword).and_then(Value::as_array))
        .any(|branches| branches.iter().any(is_null_schema));
    let in_enum = schema
        .get("enum")
        .and_then(Value::as_array)
        .is_some_and(|values| values.iter().any(Value::is_null));
    in_type || in_branch || in_enum
}

fn drop_null_type(object: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        match kinds.len() {
            1 => {
                let kind = kinds.remove(0);
                object.insert("type".into(), kind);
            }
            _ => {
                // Several types become alternatives, which say the same in the form clients read.
                let branches: Vec<Value> =
                    kinds.iter().map(|kind| json!({ "type": kind })).collect();
                object.remove("type");
                if !branches.is_empty() && !object.contains_key("anyOf") {
                    object.insert("anyOf".into(), Value::Array(branches));
                }
            }
        }
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
}

fn lift_single(object: &mut Map<String, Value>, keyword: &str) {
    let single = match object.get_mut(keyword) {
        Some(Value::Array(list)) if list.len() == 1 && list[0].is_object() => list.remove(0),
        _ => return,
    };
    object.remove(keyword);
    if let Value::Object(single) = single {
        for (key, value) in single {
            match (object.get_mut(&key), value) {
                (None, value) => {
                    object.insert(key, value);
                }
                // The outer description says what the field is for; the inner one lists the cases, which is still news.
                (Some(Value::String(outer)), Value::String(inner)) if key == "description" => {
                    if let Some(list) =
                        inner.find("- `").filter(|at| *at == 0 || inner[..*at].ends_with('\n'))
                    {
                        outer.push('\n');
                        outer.push_str(&inner[list..]);
                    }
                }
                (Some(_), _) => {}
            }
        }
    }
}

/// Turns alternatives that are all constant strings (an enum with documented cases) into one `enum`, their
/// descriptions into the description's lines.
fn fold_constants(object: &mut Map<String, Value>) {
    for keyword in ["oneOf", "anyOf"] {
        let Some(Value::Array(branches)) = object.get(keyword) else { continue };
        if branches.is_empty() {
            continue;
        }
        let mut values = Vec::new();
        let mut lines = Vec::new();
        let all_strings = branches.iter().all(|branch| {
            let description = branch.get("description").and_then(Value::as_str);
            let cases: Vec<&Value> = match (branch.get("const"), branch.get("enum")) {
                (Some(constant), None) => vec![constant],
                (None, Some(Value::Array(cases))) => cases.iter().collect(),
                _ => return false,
            };
            for case in &cases {
                let Some(name) = case.as_str() else { return false };
                if let Some(description) = description {
                    lines.push(format!("- `{name}`: {description}"));
                }
            }
            values.extend(cases.into_iter().cloned());
            true
        });
        if !all_strings {
            continue;
        }
        object.remove(keyword);
        object.insert("type".into(), json!("string"));
        object.insert("enum".into(), Value::Array(values));
        if !lines.is_empty() {
            let mut description =
                object.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
            if !description.is_empty() {
                description.push('\n');
            }
            description.push_str(&lines.join("\n"));
            object.insert("description".into(), Value::String(description));
        }
        return;
    }
}

/// Joins the lines of a doc comment that were broken for the width of the source; paragraphs and lists stay.
fn unwrap_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.trim();
        let starts_item = line.starts_with(['-', '*', '|', '`'])
            && line.chars().nth(1).is_some_and(|c| c == ' ' || c == '`')
            || line.split_once(". ").is_some_and(|(number, _)| {
                !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
            });
        if out.is_empty() || line.is_empty() || out.ends_with('\n') || starts_item {
            if !out.is_empty() {
                out.push('\n');
            }
        } else {
            out.push(' ');
        }
        out.push_str(line);
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Arguments {
        /// The workflow's id,
        /// in kebab case.
        workflow_id: String,
        /// How many at most.
        #[serde(default)]
        limit: Option<u32>,
        /// Where it runs.
        #[serde(default)]
        place: Option<Place>,
        /// Its status.
        #[serde(default)]
        status: Option<Status>,
        /// What a step does.
        #[serde(default)]
        actions: Vec<Action>,
        /// Free values.
        #[serde(default)]
        parameters: Map<String, Value>,
        /// Which tree.
        #[serde(default)]
        tree: Option<Tree>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Place {
        /// The machine.
        machine: String,
    }

    #[derive(JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Status {
        /// Not yet usable.
        Draft,
        /// In use.
        Active,
    }

    #[derive(JsonSchema)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Action {
        /// Runs a program.
        Command {
            /// Which one.
            program: String,
        },
        /// Waits for somebody.
        Manual,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Tree {
        /// Its branches.
        branches: Vec<Tree>,
    }

    #[test]
    fn arguments_become_a_closed_schema_without_references_or_null() {
        let schema = input::<Arguments>();

        let text = schema.to_string();
        for gone in ["$ref", "$defs", "$schema", "null", "\"title\"", "uint32"] {
            assert!(!text.contains(gone), "{gone} in {text}");
        }
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["required"], json!(["workflow_id"]));
        assert_eq!(
            schema["properties"]["workflow_id"]["description"],
            "The workflow's id, in kebab case."
        );
        assert_eq!(
            schema["properties"]["limit"],
            json!({"description": "How many at most.", "type": "integer", "minimum": 0, "maximum": u32::MAX})
        );
        assert_eq!(schema["properties"]["place"]["properties"]["machine"]["type"], "string");
        assert_eq!(schema["properties"]["place"]["additionalProperties"], json!(false));
    }

    #[test]
    fn documented_cases_become_one_enum_with_a_list_in_its_description() {
        let schema = input::<Arguments>();

        let status = &schema["properties"]["status"];
        assert_eq!(status["enum"], json!(["draft", "active"]));
        assert_eq!(
            status["description"],
            "Its status.\n- `draft`: Not yet usable.\n- `active`: In use."
        );
    }

    #[test]
    fn a_type_that_holds_itself_is_cut_and_not_referenced() {
        let schema = input::<Arguments>();

        let tree = &schema["properties"]["tree"];
        assert_eq!(tree["properties"]["branches"]["type"], "array");
        assert!(!tree.to_string().contains("$ref"));
    }

    #[test]
    fn a_portable_schema_has_no_objections() {
        assert_eq!(objections(&input::<Arguments>()), Vec::<String>::new());
    }

    #[test]
    fn objections_name_the_place_of_each_trap() {
        let schema = json!({"type": "object", "properties": {"a": {"$ref": "#/x", "type": ["string", "null"]}, "b": true}});

        let found = objections(&schema);

        assert_eq!(
            found,
            [
                "/a: no description",
                "/a: `$ref`",
                "/a: a list of types",
                "/b: no description",
                "/b: a boolean schema"
            ]
        );
    }

    #[test]
    fn absent_members_are_dropped_and_free_ones_keep_their_null() {
        let schema = input::<Arguments>();
        let mut value = json!({"workflow_id": null, "limit": null, "parameters": {"a": null}, "actions": [{"kind": "manual"}]});

        drop_absent(&schema, &mut value);

        assert_eq!(
            value,
            json!({"workflow_id": null, "parameters": {"a": null}, "actions": [{"kind": "manual"}]})
        );
    }

    #[test]
    fn lines_broken_for_width_are_joined_and_lists_are_kept() {
        assert_eq!(unwrap_lines("One\ntwo.\n\nThree\n- a\n- b"), "One two.\n\nThree\n- a\n- b");
    }
}
