//! Values that fit a schema, values that do not, and values that fit nothing.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt};
use serde_json::{Map, Value, json};

/// Texts that have broken something somewhere.
const TEXTS: [&str; 16] = [
    "",
    " ",
    "\0",
    "../../etc/passwd",
    "/dev/stdin",
    "{{ parameters.x }}",
    "{% for x in range(1000000000) %}x{% endfor %}",
    "'; DROP TABLE workflows; --",
    "<script>alert(1)</script>",
    "$(reboot)",
    "\u{202e}abc",
    "\u{feff}",
    "e\u{301}\u{301}\u{301}",
    "%00%s%n",
    "exe_0",
    "2026-02-31T25:61:61Z",
];

/// Returns one of these.
pub(crate) fn one_of<'a, T>(random: &mut ChaCha8Rng, all: &'a [T]) -> &'a T {
    &all[random.random_range(0..all.len())]
}

/// Returns any value at all.
pub(crate) fn any(random: &mut ChaCha8Rng) -> Value {
    match random.random_range(0..14) {
        0 => Value::Null,
        1 => json!(random.random_bool(0.5)),
        2 => json!(-1),
        3 => json!(0),
        4 => json!(u64::MAX),
        5 => json!(i64::MIN),
        6 => json!(1e308),
        7 => json!(random.random::<i32>()),
        8 => json!(0.5),
        9 => json!([]),
        10 => json!({}),
        11 => json!("x".repeat(random.random_range(1..20_000))),
        12 => deep(random.random_range(1..200)),
        _ => json!(one_of(random, &TEXTS)),
    }
}

/// Returns a value within values.
fn deep(levels: usize) -> Value {
    let mut value = json!(7);
    for level in 0..levels {
        value = if level % 2 == 0 { json!([value]) } else { json!({ "x": value }) };
    }
    value
}

/// Returns a value that a schema asks for, as far as this understands it.
pub(crate) fn fitting(random: &mut ChaCha8Rng, schema: &Value) -> Value {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return one_of(random, values).clone();
    }
    if let Some(examples) = schema.get("examples").and_then(Value::as_array)
        && !examples.is_empty()
        && random.random_bool(0.3)
    {
        return one_of(random, examples).clone();
    }
    for keyword in ["oneOf", "anyOf"] {
        if let Some(branches) = schema.get(keyword).and_then(Value::as_array) {
            let branch = one_of(random, branches);
            return fitting(random, branch);
        }
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => {
            let required: Vec<&str> = schema
                .get("required")
                .and_then(Value::as_array)
                .map(|names| names.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            let mut made = Map::new();
            if let Some(Value::Object(properties)) = schema.get("properties") {
                for (name, property) in properties {
                    if required.contains(&name.as_str()) || random.random_bool(0.2) {
                        made.insert(name.clone(), fitting(random, property));
                    }
                }
            }
            Value::Object(made)
        }
        Some("array") => {
            let items = schema.get("items").unwrap_or(&Value::Null);
            (0..random.random_range(0..3)).map(|_| fitting(random, items)).collect()
        }
        Some("integer") => {
            let bound =
                |name: &str, or: i64| schema.get(name).and_then(Value::as_i64).unwrap_or(or);
            let least = bound("minimum", 0);
            json!(random.random_range(least..=bound("maximum", least + 100).max(least)))
        }
        Some("number") => json!(random.random_range(0..100)),
        Some("boolean") => json!(random.random_bool(0.5)),
        Some("string") => json!(one_of(random, &["a", "fuzzed", "local", "v1", "step-1"])),
        _ => any(random),
    }
}

/// Bends a value somewhere, so that it may fit no longer.
pub(crate) fn bend(random: &mut ChaCha8Rng, value: &mut Value) {
    let goes_in = random.random_bool(0.6);
    match value {
        Value::Object(members) if goes_in && !members.is_empty() => {
            let at = random.random_range(0..members.len());
            let name = members.keys().nth(at).expect("one of them").clone();
            match random.random_range(0..4) {
                0 => {
                    members.remove(&name);
                }
                1 => {
                    let taken = members.remove(&name).unwrap_or_default();
                    members.insert(format!("{name}s"), taken);
                }
                2 => bend(random, &mut members[&name]),
                _ => {
                    members.insert(name, any(random));
                }
            }
        }
        Value::Object(members) if random.random_bool(0.5) => {
            let name: String = one_of(random, &TEXTS).chars().collect();
            members.insert(name, any(random));
        }
        Value::Array(items) if goes_in && !items.is_empty() => {
            let at = random.random_range(0..items.len());
            bend(random, &mut items[at]);
        }
        Value::Array(items) if random.random_bool(0.3) => {
            let item = any(random);
            items.extend(std::iter::repeat_n(item, random.random_range(1..2_000)));
        }
        _ => *value = any(random),
    }
}

/// Damages bytes; a line stays one line.
pub(crate) fn damage(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..bytes.len().max(1)).min(bytes.len());
        match random.random_range(0..6) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] = random.next_u32().to_le_bytes()[0],
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.insert(at, *one_of(random, b"{}[]\",:\\\0\xff\x80")),
            4 => {
                let open = random.random_range(1..3_000);
                drop(bytes.splice(at..at, std::iter::repeat_n(b'[', open)));
            }
            _ => {
                let copied = bytes[at..].to_vec();
                bytes.extend(copied);
            }
        }
    }
    for byte in bytes.iter_mut() {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}
