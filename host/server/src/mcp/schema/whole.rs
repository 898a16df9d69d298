//! A whole number is a whole number, however it was written.

use serde_json::{Number, Value};

/// The largest whole number that a 64-bit float holds without doubt: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Writes `3.0` as `3` wherever the schema says `integer`: JSON Schema takes both for the same, typed readers do not,
/// and some clients send every number with a fraction.
pub fn whole_numbers(schema: &Value, value: &mut Value) {
    if schema.get("type").is_some_and(|kind| kind == "integer")
        && let Value::Number(number) = &*value
        && number.is_f64()
        && let Some(float) = number.as_f64()
        && float.fract() == 0.0
        && float.abs() < EXACT_MAX
    {
        *value = Value::Number(Number::from(float as i64));
        return;
    }
    match value {
        Value::Object(members) => {
            let declared = schema.get("properties").and_then(Value::as_object);
            let others = schema.get("additionalProperties").filter(|others| others.is_object());
            for (name, member) in members.iter_mut() {
                let own = declared.and_then(|declared| declared.get(name));
                if let Some(schema) = own.or(others) {
                    whole_numbers(schema, member);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| whole_numbers(schema, item));
            }
        }
        _ => {}
    }
    for keyword in ["oneOf", "anyOf", "allOf"] {
        for branch in schema.get(keyword).and_then(Value::as_array).into_iter().flatten() {
            whole_numbers(branch, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_lose_their_fraction_where_integers_are_wanted() {
        let schema = json!({"properties": {
            "limit": {"type": "integer"},
            "factor": {"type": "number"},
            "steps": {"items": {"anyOf": [{"type": "string"}, {"properties": {"max": {"type": "integer"}}}]}},
            "free": {"type": "object"},
        }});
        let mut value = json!({
            "limit": 3.0, "factor": 2.0, "steps": ["x", {"max": 4.0}], "free": {"limit": 3.0},
        });

        whole_numbers(&schema, &mut value);

        let text = value.to_string();
        assert_eq!(
            text,
            r#"{"limit":3,"factor":2.0,"steps":["x",{"max":4}],"free":{"limit":3.0}}"#
        );
    }

    #[test]
    fn fractions_and_numbers_too_large_to_be_exact_stay_as_they_are() {
        for number in [json!(1.5), json!(1e300), json!(-9.1e15), json!(7)] {
            let mut value = number.clone();

            whole_numbers(&json!({"type": "integer"}), &mut value);

            assert_eq!(value, number);
        }
    }
}
