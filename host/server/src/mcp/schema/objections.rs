//! Names what in a schema would trip a client.

use serde_json::Value;

/// Returns what in a schema would trip a client, one line for each place; empty for a portable schema. Tests of a tool
/// set hold every schema against it.
pub fn objections(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if schema.get("type").is_none_or(|kind| kind != "object") {
        found.push("/: the root's type is not `object`".to_owned());
    }
    for keyword in ["oneOf", "anyOf", "allOf"] {
        if schema.get(keyword).is_some() {
            found.push(format!("/: `{keyword}` at the root"));
        }
    }
    collect_objections(schema, "", &mut found);
    found
}

fn collect_objections(schema: &Value, at: &str, found: &mut Vec<String>) {
    let Value::Object(object) = schema else {
        found.push(format!("{at}: a boolean schema"));
        return;
    };
    for keyword in ["$ref", "$defs", "$schema", "title", "nullable"] {
        if object.contains_key(keyword) {
            found.push(format!("{at}: `{keyword}`"));
        }
    }
    if object.get("type").is_some_and(Value::is_array) {
        found.push(format!("{at}: a list of types"));
    }
    if object.get("default").is_some_and(Value::is_null) {
        found.push(format!("{at}: `default: null`"));
    }
    if !["type", "enum", "const", "anyOf", "oneOf", "allOf"]
        .iter()
        .any(|keyword| object.contains_key(*keyword))
    {
        found.push(format!("{at}: says no type"));
    }
    if let Some(Value::Object(properties)) = object.get("properties") {
        for (name, property) in properties {
            let at = format!("{at}/{name}");
            if property.get("description").is_none() && property.get("const").is_none() {
                found.push(format!("{at}: no description"));
            }
            collect_objections(property, &at, found);
        }
    }
    if let Some(items) = object.get("items") {
        collect_objections(items, &format!("{at}/*"), found);
    }
    if let Some(others) = object.get("additionalProperties").filter(|others| others.is_object()) {
        collect_objections(others, &format!("{at}/*"), found);
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(branches)) = object.get(keyword) {
            for (index, branch) in branches.iter().enumerate() {
                collect_objections(branch, &format!("{at}/{keyword}/{index}"), found);
            }
        }
    }
}
