//! How much work it is to check parameters against a schema, told before it is done: a schema is the word of a plugin,
//! and a short one can ask for more work than anybody has time for. Checks nothing itself.

use serde_json::{Map, Value};

/// The most steps that a check may take: a few milliseconds, and a thousand times what honest schemas ask for.
pub(super) const STEPS_MAX: usize = 100_000;

/// How many characters of a text a regular expression reads in one step.
const CHARACTERS_PER_STEP: usize = 64;

/// Returns a reference that leads somewhere else than by a path into the schema itself, when there is one.
pub(super) fn outward_reference(schema: &Value) -> Option<&str> {
    anywhere(schema).find_map(|(key, value)| {
        let reference = value.as_str()?;
        let is_inward = reference == "#" || reference.starts_with("#/");
        let refers = matches!(key, "$ref" | "$dynamicRef" | "$recursiveRef");
        (refers && !is_inward).then_some(reference)
    })
}

/// Returns how many regular expressions a schema has at most.
pub(super) fn patterns(schema: &Value) -> usize {
    anywhere(schema)
        .map(|(key, value)| match (key, value) {
            ("pattern", Value::String(_)) => 1,
            ("patternProperties", Value::Object(patterns)) => patterns.len(),
            _ => 0,
        })
        .sum()
}

/// Every member of every object in a document, at any depth.
fn anywhere(document: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let mut open = vec![document];
    let mut members: Vec<(&str, &Value)> = Vec::new();
    std::iter::from_fn(move || {
        while members.is_empty() {
            match open.pop()? {
                Value::Object(object) => {
                    members.extend(object.iter().map(|(key, value)| (key.as_str(), value)));
                }
                Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
        let member = members.pop()?;
        open.push(member.1);
        Some(member)
    })
}

/// Whether a check takes at most [`STEPS_MAX`] steps, whatever it finds. Takes about as many itself.
pub(super) fn is_affordable(schema: &Value, parameters: &Value) -> bool {
    let mut walk = Walk { root: schema, open: vec![(schema, parameters)], left: STEPS_MAX };
    while let Some((schema, instance)) = walk.open.pop() {
        if let Value::Object(keywords) = schema {
            for (keyword, value) in keywords {
                walk.keyword(keyword, value, instance);
            }
        }
        walk.spend(1);
        if walk.left == 0 {
            return false;
        }
    }
    true
}

/// Pairs of a schema and what it is held against that are still to be looked at.
struct Walk<'a> {
    root: &'a Value,
    open: Vec<(&'a Value, &'a Value)>,
    left: usize,
}

impl<'a> Walk<'a> {
    fn spend(&mut self, steps: usize) {
        self.left = self.left.saturating_sub(steps);
    }

    /// Holds a schema against something, as long as there are steps left.
    fn hold(&mut self, schema: &'a Value, instance: &'a Value) {
        self.spend(1);
        if self.left > 0 {
            self.open.push((schema, instance));
        }
    }

    fn hold_all(
        &mut self,
        schemas: impl IntoIterator<Item = &'a Value>,
        instances: impl IntoIterator<Item = &'a Value> + Clone,
    ) {
        for schema in schemas {
            for instance in instances.clone() {
                self.hold(schema, instance);
                if self.left == 0 {
                    return;
                }
            }
        }
    }

    fn keyword(&mut self, keyword: &str, value: &'a Value, instance: &'a Value) {
        let here = std::iter::once(instance);
        match (keyword, value) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                if let Some(schema) = self.referred(reference) {
                    self.hold(schema, instance);
                }
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => self.hold_all(schemas, here),
            ("not" | "if" | "then" | "else", schema) => self.hold(schema, instance),
            ("dependentSchemas" | "dependencies", Value::Object(schemas)) => {
                self.hold_all(schemas.values(), here);
            }
            ("properties", Value::Object(schemas)) => self.properties(schemas, instance),
            ("patternProperties", Value::Object(schemas)) => {
                self.spend(schemas.len() * text_steps(instance));
                self.hold_all(schemas.values(), members(instance));
            }
            ("additionalProperties" | "unevaluatedProperties" | "propertyNames", schema) => {
                self.hold_all([schema], members(instance));
            }
            ("items" | "prefixItems", Value::Array(schemas)) => {
                for (schema, item) in schemas.iter().zip(elements(instance)) {
                    self.hold(schema, item);
                }
            }
            ("items" | "additionalItems" | "unevaluatedItems" | "contains", schema) => {
                self.hold_all([schema], elements(instance));
            }
            ("enum", Value::Array(values)) => self.spend(values.len()),
            ("uniqueItems", _) => self.spend(elements(instance).count()),
            ("pattern", _) => self.spend(text_steps(instance)),
            _ => self.spend(1),
        }
    }

    fn properties(&mut self, schemas: &'a Map<String, Value>, instance: &'a Value) {
        self.spend(schemas.len());
        let Value::Object(given) = instance else { return };
        for (name, schema) in schemas {
            if let Some(member) = given.get(name) {
                self.hold(schema, member);
            }
        }
    }

    fn referred(&self, reference: &str) -> Option<&'a Value> {
        let path = reference.strip_prefix('#')?;
        if !path.contains('%') {
            return self.root.pointer(path);
        }
        self.root.pointer(&percent_decoded(path)?)
    }
}

/// How many steps a regular expression takes over a text, or over the names of an object.
fn text_steps(instance: &Value) -> usize {
    let characters = match instance {
        Value::String(text) => text.len(),
        Value::Object(members) => members.keys().map(String::len).sum(),
        _ => 0,
    };
    1 + characters / CHARACTERS_PER_STEP
}

fn members(instance: &Value) -> impl Iterator<Item = &Value> + Clone {
    instance.as_object().into_iter().flat_map(Map::values)
}

fn elements(instance: &Value) -> impl Iterator<Item = &Value> + Clone {
    instance.as_array().into_iter().flatten()
}

/// Takes the `%XX` out of a path, as references may have them.
fn percent_decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_that_refer_to_themselves_are_walked_as_far_as_the_parameters_go() {
        let tree = json!({
            "$defs": {"a b": {"type": "array", "items": {"$ref": "#"}}},
            "properties": {"under": {"$ref": "#/$defs/a%20b"}},
            "additionalProperties": {"enum": [1, 2]},
            "patternProperties": {"^x": {"pattern": "y"}},
        });
        let parameters = (0..50).fold(json!({}), |inner, _| json!({"under": [inner], "x": "y"}));

        assert!(is_affordable(&tree, &parameters));
    }

    #[test]
    fn long_lists_against_long_lists_are_too_much() {
        let numbers: Vec<usize> = (0..1_000).collect();
        let schema = json!({"properties": {"a": {"items": {"enum": numbers}}}});

        assert!(is_affordable(&schema, &json!({"a": numbers[..90]})));
        assert!(!is_affordable(&schema, &json!({"a": numbers})));
    }

    #[test]
    fn a_schema_that_is_only_itself_is_left() {
        assert!(!is_affordable(&json!({"$ref": "#"}), &json!({})));
    }
}
