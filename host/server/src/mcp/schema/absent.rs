//! Leaving out and `null` mean the same, on the way in and on the way out.

use serde_json::Value;

/// Removes the members of `value` that are `null` and that the portable `schema` declares as something else and does
/// not require: leaving out and `null` mean the same on both ways.
pub fn drop_absent(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(members) => {
            let mut branches = vec![schema];
            for keyword in ["oneOf", "anyOf", "allOf"] {
                if let Some(Value::Array(list)) = schema.get(keyword) {
                    branches.extend(list);
                }
            }
            for branch in branches {
                let Some(Value::Object(properties)) = branch.get("properties") else { continue };
                let required = branch.get("required").and_then(Value::as_array);
                for (name, property) in properties {
                    let needed = required
                        .is_some_and(|required| required.iter().any(|wanted| wanted == name));
                    let free = property.as_object().is_some_and(|p| {
                        !p.contains_key("type")
                            && !p.contains_key("anyOf")
                            && !p.contains_key("oneOf")
                    });
                    if !needed && !free && members.get(name).is_some_and(Value::is_null) {
                        // Keeps the order of the members, which is the order of the declaration.
                        members.shift_remove(name);
                    } else if let Some(member) = members.get_mut(name) {
                        drop_absent(property, member);
                    }
                }
            }
            if let Some(others) =
                schema.get("additionalProperties").filter(|others| others.is_object())
            {
                let declared = schema.get("properties").and_then(Value::as_object);
                for (name, member) in members.iter_mut() {
                    if declared.is_none_or(|declared| !declared.contains_key(name)) {
                        drop_absent(others, member);
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    drop_absent(schema, item);
                }
            }
        }
        _ => {}
    }
}
