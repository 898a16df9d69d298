//! Finds all problems of a JSON document against the schema that a Rust type gave. It knows what `schemars` writes for
//! types and no more: whatever it overlooks, reading the type finds. The host checks against the full schema anyway;
//! this is for plugins that are called without one, in tests above all.

use serde_json::{Map, Value};

use crate::error::ParameterProblem;

/// How deep a document may be nested, as the contract says.
const DEPTH_MAX: usize = 64;

/// Returns all problems of a document, in its order.
pub(super) fn problems(schema: &Value, value: &Value) -> Vec<ParameterProblem> {
    let mut check = Check { root: schema, problems: Vec::new() };
    check.value(schema, value, "", 0);
    check.problems
}

struct Check<'a> {
    root: &'a Value,
    problems: Vec<ParameterProblem>,
}

impl<'a> Check<'a> {
    fn report(&mut self, pointer: &str, message: String) {
        self.problems.push(ParameterProblem { pointer: pointer.to_owned(), message });
    }

    fn value(&mut self, schema: &'a Value, value: &Value, pointer: &str, depth: usize) {
        let Some(members) = schema.as_object() else {
            if schema == &Value::Bool(false) {
                self.report(pointer, "nothing is allowed here".to_owned());
            }
            return;
        };
        if depth > DEPTH_MAX {
            self.report(pointer, format!("nested deeper than {DEPTH_MAX} levels"));
            return;
        }
        if let Some(referred) =
            members.get("$ref").and_then(Value::as_str).and_then(|to| self.resolve(to))
        {
            self.value(referred, value, pointer, depth + 1);
        }
        let types = members.get("type");
        if let Some(types) = types.filter(|types| !types_of(types).any(|name| is_type(value, name)))
        {
            let names = types_of(types).filter(|name| *name != "null");
            let expected: Vec<_> = names.map(with_article).collect();
            self.report(
                pointer,
                format!("expected {}, found {}", expected.join(" or "), found(value)),
            );
            return;
        }
        self.allowed(schema, value, pointer);
        self.alternatives(members, value, pointer, depth);
        match value {
            Value::Object(object) => self.object(members, object, pointer, depth),
            Value::Array(items) => self.array(members, items, pointer, depth),
            Value::Number(number) => self.number(members, number, pointer),
            Value::String(text) => {
                let length = text.chars().count() as u64;
                self.count(members, ("minLength", "maxLength"), length, "characters", pointer);
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn resolve(&self, reference: &str) -> Option<&'a Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }

    fn allowed(&mut self, schema: &Value, value: &Value, pointer: &str) {
        if let Some(allowed) = names_of(schema).filter(|allowed| !allowed.contains(value)) {
            self.report(pointer, expected_one_of(allowed, value));
        }
    }

    fn alternatives(
        &mut self,
        members: &'a Map<String, Value>,
        value: &Value,
        pointer: &str,
        depth: usize,
    ) {
        for all in members.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.value(all, value, pointer, depth + 1);
        }
        for branches in ["anyOf", "oneOf"].into_iter().filter_map(|key| members.get(key)) {
            let branches: Vec<&Value> = branches.as_array().into_iter().flatten().collect();
            let mut attempts = branches.iter().map(|branch| {
                let mut attempt = Check { root: self.root, problems: Vec::new() };
                attempt.value(branch, value, pointer, depth + 1);
                attempt.problems
            });
            if !attempts.any(|problems| problems.is_empty()) {
                self.no_alternative(&branches, value, pointer, depth);
            }
        }
    }

    /// Reports that a value is none of the alternatives, as close to the cause as can be told.
    fn no_alternative(
        &mut self,
        branches: &[&'a Value],
        value: &Value,
        pointer: &str,
        depth: usize,
    ) {
        let names: Vec<_> =
            branches.iter().filter_map(|branch| names_of(branch)).flatten().cloned().collect();
        if branches.iter().all(|branch| names_of(branch).is_some() || is_null(branch)) {
            return self.report(pointer, expected_one_of(&names, value));
        }
        let mut fitting = branches.iter().filter(|branch| self.fits_type(branch, value));
        if let (Some(only), None) = (fitting.next(), fitting.next()) {
            return self.value(only, value, pointer, depth + 1);
        }
        let mut forms: Vec<_> =
            branches.iter().filter_map(|branch| branch.get("type")).flat_map(types_of).collect();
        forms.retain(|name| *name != "null");
        forms.dedup();
        let forms: Vec<_> = forms.into_iter().map(with_article).collect();
        let expected = if forms.is_empty() {
            "one of the allowed forms".to_owned()
        } else {
            forms.join(" or ")
        };
        self.report(
            pointer,
            format!("expected {expected} as the description says, found {}", found(value)),
        );
    }

    fn fits_type(&self, schema: &'a Value, value: &Value) -> bool {
        let referred = schema.get("$ref").and_then(Value::as_str).and_then(|to| self.resolve(to));
        referred
            .unwrap_or(schema)
            .get("type")
            .is_none_or(|types| types_of(types).any(|name| is_type(value, name)))
    }

    fn object(
        &mut self,
        members: &'a Map<String, Value>,
        object: &Map<String, Value>,
        pointer: &str,
        depth: usize,
    ) {
        let properties = members.get("properties").and_then(Value::as_object);
        for name in members
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !object.contains_key(name) {
                self.report(pointer, format!("`{name}` is missing"));
            }
        }
        for (name, value) in object {
            let below = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            match (
                properties.and_then(|known| known.get(name)),
                members.get("additionalProperties"),
            ) {
                (Some(schema), _) => self.value(schema, value, &below, depth + 1),
                (None, Some(Value::Bool(false))) => {
                    let known: Vec<_> = properties
                        .into_iter()
                        .flat_map(Map::keys)
                        .map(|name| format!("`{name}`"))
                        .collect();
                    let known = if known.is_empty() {
                        "there are none".to_owned()
                    } else {
                        format!("known are {}", known.join(", "))
                    };
                    self.report(&below, format!("unknown; {known}"));
                }
                (None, Some(schema)) => self.value(schema, value, &below, depth + 1),
                (None, None) => {}
            }
        }
    }

    fn array(
        &mut self,
        members: &'a Map<String, Value>,
        items: &[Value],
        pointer: &str,
        depth: usize,
    ) {
        self.count(members, ("minItems", "maxItems"), items.len() as u64, "items", pointer);
        let leading = members
            .get("prefixItems")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = leading.get(index).or_else(|| members.get("items")) {
                self.value(schema, item, &format!("{pointer}/{index}"), depth + 1);
            }
        }
        if members.get("uniqueItems") == Some(&Value::Bool(true)) {
            for (index, item) in items.iter().enumerate() {
                if items[..index].contains(item) {
                    self.report(&format!("{pointer}/{index}"), "stands there twice".to_owned());
                }
            }
        }
    }

    fn number(&mut self, members: &Map<String, Value>, number: &serde_json::Number, pointer: &str) {
        let Some(value) = number.as_f64() else { return };
        let bound = |key: &str| {
            members.get(key).and_then(|bound| Some((bound.as_f64()?, bound.to_string())))
        };
        type Test = fn(f64, f64) -> bool;
        let tests: [(&str, Test, &str); 4] = [
            ("minimum", |value, bound| value >= bound, "at least"),
            ("maximum", |value, bound| value <= bound, "at most"),
            ("exclusiveMinimum", |value, bound| value > bound, "more than"),
            ("exclusiveMaximum", |value, bound| value < bound, "less than"),
        ];
        for (key, holds, words) in tests {
            if let Some((limit, shown)) = bound(key).filter(|(limit, _)| !holds(value, *limit)) {
                // Bounds come as floats (`65535.0`); people wrote integers.
                let shown = if limit.fract() == 0.0 && limit.abs() < 1e15 {
                    format!("{limit:.0}")
                } else {
                    shown
                };
                self.report(pointer, format!("expected {words} {shown}, found {number}"));
            }
        }
    }

    fn count(
        &mut self,
        members: &Map<String, Value>,
        keys: (&str, &str),
        count: u64,
        what: &str,
        pointer: &str,
    ) {
        if let Some(min) = members.get(keys.0).and_then(Value::as_u64).filter(|min| count < *min) {
            self.report(pointer, format!("expected at least {min} {what}, found {count}"));
        }
        if let Some(max) = members.get(keys.1).and_then(Value::as_u64).filter(|max| count > *max) {
            self.report(pointer, format!("expected at most {max} {what}, found {count}"));
        }
    }
}

/// Returns the values that a schema allows by name, if it does.
fn names_of(schema: &Value) -> Option<&[Value]> {
    let single = schema.get("const").map(std::slice::from_ref);
    schema.get("enum").and_then(Value::as_array).map(Vec::as_slice).or(single)
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

fn types_of(types: &Value) -> impl Iterator<Item = &str> {
    let many = types.as_array().map(Vec::as_slice).unwrap_or_default();
    types.as_str().into_iter().chain(many.iter().filter_map(Value::as_str))
}

fn is_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

fn with_article(name: &str) -> &'static str {
    match name {
        "boolean" => "true or false",
        "integer" => "an integer",
        "number" => "a number",
        "string" => "a string",
        "array" => "an array",
        "object" => "an object",
        _ => "another form",
    }
}

/// Shows what was found: scalars with their value, cut to a length that fits a message.
fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) if number.is_f64() => format!("the number {number}"),
        Value::Number(number) => format!("the integer {number}"),
        Value::String(text) => format!("`{}`", shortened(text)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn expected_one_of(allowed: &[Value], value: &Value) -> String {
    let shown = |name: &Value| match name {
        Value::String(text) => format!("`{text}`"),
        other => other.to_string(),
    };
    let names: Vec<_> = allowed.iter().filter(|name| !name.is_null()).map(shown).collect();
    format!("expected one of {}, found {}", names.join(", "), found(value))
}
