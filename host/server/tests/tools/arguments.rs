//! Arguments that are missing, of the wrong type, unknown or hostile: every tool says what is wrong with them, and none
//! breaks over them.

use caelum_workflow::trust::Scope;
use serde_json::{Map, Value, json};

use crate::World;

/// A value of another type than the schema wants; nothing where it wants none in particular.
fn wrong(schema: &Value) -> Option<Value> {
    match schema.get("type").and_then(Value::as_str)? {
        "string" => Some(json!(7)),
        "integer" | "number" => Some(json!("many")),
        "boolean" => Some(json!("perhaps")),
        "array" => Some(json!("one")),
        "object" => Some(json!([1])),
        _ => None,
    }
}

/// A value of the right type that says nothing.
fn filler(schema: &Value) -> Value {
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => {
            schema.pointer("/enum/0").cloned().unwrap_or_else(|| json!("nothing-of-this-name"))
        }
        Some("array") => json!([]),
        Some("object") => {
            let mut object = Map::new();
            for name in
                schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
            {
                object.insert(name.to_owned(), filler(&schema["properties"][name]));
            }
            Value::Object(object)
        }
        Some("boolean") => json!(false),
        _ => json!(1),
    }
}

fn required(schema: &Value) -> Map<String, Value> {
    match filler(schema) {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

#[tokio::test]
async fn every_argument_of_every_tool_is_held_to_its_type() {
    let world = World::new().await;
    let tools: Vec<(&str, Value)> = world
        .core
        .toolset
        .tools(Scope::Admin)
        .map(|tool| (tool.name, tool.input_schema.clone()))
        .collect();

    for (name, schema) in tools {
        let base = required(&schema);
        for (argument, property) in schema["properties"].as_object().into_iter().flatten() {
            let Some(value) = wrong(property) else { continue };
            let mut arguments = base.clone();
            arguments.insert(argument.clone(), value);
            let text = world.refused(name, Value::Object(arguments)).await;
            assert!(text.starts_with("invalid_arguments: "), "{name}: {text}");
            assert!(text.contains(&format!("- /{argument}: found ")), "{name}: {text}");
        }
        for argument in
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
        {
            let mut arguments = base.clone();
            arguments.shift_remove(argument);
            let text = world.refused(name, Value::Object(arguments)).await;
            assert!(
                text.contains(&format!("- /{argument}: required, and missing")),
                "{name}: {text}"
            );
        }
        let mut arguments = base.clone();
        arguments.insert("surprise".to_owned(), json!(1));
        let text = world.refused(name, Value::Object(arguments)).await;
        assert!(text.contains("- /surprise: unknown argument"), "{name}: {text}");
    }
    world.core.close().await;
}

#[tokio::test]
async fn hostile_texts_get_an_answer_that_teaches_and_break_nothing() {
    let world = World::new().await;
    let hostile = [
        String::new(),
        "../../../../etc/passwd".to_owned(),
        "a\0b".to_owned(),
        "\u{202e}evil\u{1b}[2J".to_owned(),
        "'; DROP TABLE execution; --".to_owned(),
        "{{ 1/0 }}{% for i in range(10000000) %}x{% endfor %}".to_owned(),
        "x".repeat(100_000),
    ];
    let tools: Vec<(&str, Value)> = world
        .core
        .toolset
        .tools(Scope::Admin)
        .map(|tool| (tool.name, tool.input_schema.clone()))
        .collect();

    for (name, schema) in &tools {
        for (argument, property) in schema["properties"].as_object().into_iter().flatten() {
            if property["type"] != "string" || property.get("enum").is_some() {
                continue;
            }
            for text in &hostile {
                let mut arguments = required(schema);
                arguments.insert(argument.clone(), json!(text));
                if let Err(error) = world.call(name, Value::Object(arguments)).await {
                    let told = error.text();
                    assert_ne!(error.code(), "internal", "{name} {argument}: {told}");
                    assert!(told.len() < 16 * 1024, "{name} {argument}: {} bytes", told.len());
                }
            }
        }
    }
    let health = world.ok("get_system_health", json!({})).await;
    assert_eq!(health["status"], "healthy", "{health:#}");
    world.core.close().await;
}
