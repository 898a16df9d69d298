//! Every tool, with right, missing, wrong-typed, unknown and hostile arguments: a right answer, or an error that
//! teaches. That answers fit their schemas is held by the client itself.

use std::collections::{BTreeMap, BTreeSet};

use caelum_tests::{Client, Era, Home, Server};
use serde_json::{Map, Value, json};

use crate::home;

/// A server with something of everything in it, and for each tool arguments that are right.
struct World {
    home: Home,
    server: Server,
    client: Client,
    right: BTreeMap<&'static str, Value>,
}

impl World {
    async fn new(era: Era) -> Self {
        let home = home();
        home.project("service").with_service();
        let server = home.serve().await;
        let client = server.tcp(era).await;
        let steps = json!([
            {"id": "work", "type": "development"},
            {"id": "check", "type": "validation", "dependencies": ["work"], "validation": "manual-review"},
        ]);
        client.create("base", steps).await;
        let execution = client.execute("base").await;
        client.settled(&execution).await;
        let task = json!({"task_definition": {"program": "echo", "args": ["{\"n\": 1}"]},
                          "target_machines": ["local"]});
        let group = client.ok("distribute_task", task.clone()).await["task_group_id"].clone();
        client.ok("get_task_status", json!({"task_id": group, "wait_s": 30})).await;
        let apply = json!({"pattern_name": "health-check", "target_component": "service",
                           "parameters": {}});
        let application = client.ok("apply_pattern", apply.clone()).await["application_id"].clone();
        let right = BTreeMap::from([
            (
                "create_workflow",
                json!({"workflow_id": "base", "steps": [], "if_exists": "new_revision"}),
            ),
            ("get_workflow", json!({"workflow_id": "base"})),
            ("list_workflows", json!({"status_filter": "active", "limit": 10})),
            ("execute_workflow", json!({"workflow_id": "base", "dry_run": true})),
            ("get_workflow_status", json!({"execution_id": execution})),
            ("list_executions", json!({"workflow_id": "base", "status_filter": "paused"})),
            ("control_execution", json!({"execution_id": execution, "action": "pause"})),
            (
                "complete_step",
                json!({"execution_id": execution, "step_id": "work", "summary": "done"}),
            ),
            (
                "review_step",
                json!({"execution_id": execution, "step_id": "check", "reviewer": "grace",
                                   "decision": "approved"}),
            ),
            (
                "update_workflow",
                json!({"workflow_id": "base", "description": "as it is", "status": "active"}),
            ),
            ("archive_workflow", json!({"workflow_id": "base", "archived": false})),
            ("list_patterns", json!({"kind": "all", "include_refused": true})),
            ("list_validators", json!({"phase": "after", "include_refused": true})),
            (
                "list_pattern_applications",
                json!({"pattern_name": "health-check", "target_component": "service"}),
            ),
            ("list_machines", json!({"select": "local", "status_filter": "online"})),
            ("cancel_task", json!({"task_id": group})),
            ("validate_pattern_application", apply.clone()),
            (
                "apply_pattern",
                json!({"pattern_name": "health-check",
                                     "target_component": "service", "dry_run": true,
                                     "parameters": {}}),
            ),
            ("revert_pattern_application", json!({"application_id": application})),
            ("distribute_task", task),
            ("get_task_status", json!({"task_id": group})),
            ("aggregate_task_results", json!({"task_group_id": group})),
            ("get_system_health", json!({})),
            ("get_workflow_metrics", json!({"time_range": "15m"})),
            ("export_workflow_data", json!({"workflow_id": "base", "format": "json"})),
            (
                "import_workflow",
                json!({"data": "workflow_id: imported\nsteps: []\n", "if_exists": "new_revision"}),
            ),
            ("create_backup", json!({"path": home.path()})),
        ]);
        Self { home, server, client, right }
    }

    /// Returns right arguments of a tool.
    fn right(&self, tool: &str) -> Map<String, Value> {
        let right = self.right.get(tool).unwrap_or_else(|| panic!("nothing is right for `{tool}`"));
        right.as_object().cloned().expect("arguments are an object")
    }

    /// Returns the tools with the schemas of their arguments.
    fn tools(&self) -> Vec<(String, Value)> {
        let tools = self.client.tools().iter();
        tools
            .map(|tool| (tool.name.to_string(), Value::Object((*tool.input_schema).clone())))
            .collect()
    }

    /// Returns what a tool says of arguments that it must refuse.
    async fn refusal(&self, tool: &str, arguments: Map<String, Value>) -> String {
        let text = self.client.refused(tool, Value::Object(arguments)).await;
        teaches(tool, &text);
        text
    }

    /// Asserts that the server is as well as before and has nothing to hide.
    async fn is_well(&self) {
        let health = self.client.ok("get_system_health", json!({})).await;
        assert_eq!(health["status"], "healthy", "{health:#}");
        assert_eq!(health["stuck"], json!({}), "{health:#}");
        let log = self.server.log().text();
        assert!(!log.contains("panic"), "{log}");
    }
}

/// Asserts that the text of an error is one: a code, a message, of a length that can be read, without anything that a
/// terminal would obey; and that it is not an excuse of the server.
fn teaches(tool: &str, text: &str) {
    let shown: String = text.chars().take(2_000).collect();
    let code = text.split(':').next().unwrap_or_default();
    let is_code = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    assert!(!code.is_empty() && code.bytes().all(is_code), "{tool}: no code: {shown}");
    assert_ne!(code, "internal", "{tool}: {shown}");
    assert!(text.len() < 32 * 1024, "{tool}: {} bytes: {shown}", text.len());
    let obeyed = text.chars().find(|char| {
        (char.is_control() && *char != '\n') || ('\u{202a}'..='\u{202e}').contains(char)
    });
    assert_eq!(obeyed, None, "{tool}: a terminal would obey: {}", shown.escape_debug());
}

/// The members of an object's schema.
fn properties(schema: &Value) -> Vec<(String, Value)> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.map(|(name, schema)| (name.clone(), schema.clone())).collect()
}

/// The types that a schema allows, in whichever form it says so.
fn types(schema: &Value) -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    match &schema["type"] {
        Value::String(kind) => drop(types.insert(kind.clone())),
        Value::Array(kinds) => {
            types.extend(kinds.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        _ => {}
    }
    for form in ["anyOf", "oneOf"] {
        types.extend(schema[form].as_array().into_iter().flatten().flat_map(self::types));
    }
    if schema["enum"].is_array() || schema["const"].is_string() {
        types.insert("string".to_owned());
    }
    types
}

#[tokio::test]
async fn each_tool_answers_right_arguments() {
    for era in Era::BOTH {
        let world = World::new(era).await;
        let client = &world.client;
        let listed: BTreeSet<String> = world.tools().into_iter().map(|(tool, _)| tool).collect();
        assert_eq!(listed, world.right.keys().map(|tool| (*tool).to_owned()).collect());

        // In an order in which each finds what it needs.
        let control = "control_execution";
        let mut resume = world.right(control);
        client.ok(control, Value::Object(world.right(control))).await;
        resume.insert("action".to_owned(), json!("resume"));
        client.ok(control, Value::Object(resume)).await;
        for (tool, arguments) in &world.right {
            if ![control, "review_step"].contains(tool) {
                client.ok(tool, arguments.clone()).await;
            }
        }
        let mut check = world.right("complete_step");
        check.insert("step_id".to_owned(), json!("check"));
        client.ok("complete_step", Value::Object(check)).await;
        client.ok("review_step", world.right["review_step"].clone()).await;
        let execution = world.right["get_workflow_status"]["execution_id"].as_str().unwrap_or("");
        client.ended(execution, "completed").await;

        let metrics = client.ok("get_workflow_metrics", json!({"time_range": "all"})).await;
        assert_eq!(metrics["executions"]["ended"]["completed"], 1, "{metrics:#}");
        for (format, sign) in [
            ("json", "\"workflow_id\""),
            ("yaml", "workflow_id:"),
            ("ndjson", "\"execution_id\""),
            ("csv", ","),
            ("markdown", "#"),
            ("mermaid", "flowchart"),
            ("junit", "<testsuite"),
        ] {
            let arguments = json!({"workflow_id": "base", "format": format});
            let export = client.ok("export_workflow_data", arguments).await;
            let data = export["data"].as_str().unwrap_or_default();
            assert!(data.contains(sign), "{format}: {data}");
        }
        world.is_well().await;
    }
}

#[tokio::test]
async fn all_missing_arguments_are_named_at_once() {
    for era in Era::BOTH {
        let world = World::new(era).await;
        for (tool, schema) in world.tools() {
            let required: Vec<&str> = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if required.is_empty() {
                world.client.ok(&tool, json!({})).await;
                continue;
            }

            let text = world.refusal(&tool, Map::new()).await;

            for name in required {
                assert!(
                    text.contains(&format!("/{name}: required, and missing")),
                    "{tool}: {text}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_argument_of_the_wrong_type_is_named_with_the_right_one() {
    let values = [
        ("string", json!("text")),
        ("integer", json!(7)),
        ("number", json!(1.5)),
        ("boolean", json!(true)),
        ("array", json!([{"no": "such"}])),
        ("object", json!({"no_such": "member"})),
    ];
    for era in Era::BOTH {
        let world = World::new(era).await;
        for (tool, schema) in world.tools() {
            for (property, schema) in properties(&schema) {
                let allowed = types(&schema);
                for (kind, value) in &values {
                    let fits = allowed.contains(*kind)
                        || (*kind == "integer" && allowed.contains("number"));
                    if allowed.is_empty() || fits {
                        continue;
                    }
                    let mut arguments = world.right(&tool);
                    arguments.insert(property.clone(), value.clone());

                    let text = world.refusal(&tool, arguments).await;

                    assert!(
                        text.contains(&format!("/{property}")),
                        "{tool}/{property} {kind}: {text}"
                    );
                    assert!(text.contains("found") || text.contains("unknown"), "{tool}: {text}");
                }
            }
        }
        world.is_well().await;
    }
}

#[tokio::test]
async fn unknown_arguments_are_refused_by_name_with_the_nearest_known_one() {
    for era in Era::BOTH {
        let world = World::new(era).await;
        for (tool, schema) in world.tools() {
            let mut arguments = world.right(&tool);
            arguments.insert("zzz_qqq".to_owned(), json!(1));
            let text = world.refusal(&tool, arguments).await;
            assert!(text.contains("/zzz_qqq: unknown"), "{tool}: {text}");

            if let Some((property, _)) =
                properties(&schema).into_iter().find(|(name, _)| name.len() > 4)
            {
                let mut arguments = world.right(&tool);
                let mut slip = property.clone();
                slip.remove(2);
                arguments.insert(slip.clone(), json!(1));
                let text = world.refusal(&tool, arguments).await;
                assert!(
                    text.contains(&format!("/{slip}: unknown"))
                        && text.contains(&format!("`{property}`")),
                    "{tool}: {text}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_tool_is_a_fault_of_the_protocol_that_names_the_nearest() {
    for era in Era::BOTH {
        let world = World::new(era).await;

        let error = world.client.call_raw("create_workflw", Map::new()).await;

        let text = error.expect_err("there is no such tool").to_string();
        assert!(text.contains("-32602"), "{text}");
        assert!(
            text.contains("unknown tool `create_workflw`; did you mean `create_workflow`"),
            "{text}"
        );
    }
}

/// Texts that somebody sends who means no good, or does not mean anything.
fn hostile() -> Vec<String> {
    let texts = [
        "",
        " ",
        "\u{0}",
        ".",
        "..",
        "../../../../etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "'; DROP TABLE workflow; --",
        "{{ 7 * 7 }}",
        "{% for i in range(999999999) %}x{% endfor %}",
        "{{ [0] * 999999999 }}",
        "$(touch pwned) `touch pwned` ; touch pwned",
        "\u{202e}txt.exe",
        "\u{feff}😀\u{301}",
        "\r\n\t\u{1b}[31mred\u{7}",
        "%s%n%x%00",
        "<script>alert(1)</script>",
        "__proto__",
        "null",
        "-1",
        "NaN",
        "9999999999999999999999",
        "task-group.task",
        ":",
        "a:b:c",
        "all",
        "label:",
    ];
    texts.into_iter().map(str::to_owned).chain(["x".repeat(100_000), "é".repeat(5_000)]).collect()
}

#[tokio::test]
async fn hostile_texts_get_an_answer_or_an_error_and_do_no_harm() {
    let world = World::new(Era::Stateless).await;
    for (tool, schema) in world.tools() {
        for (property, schema) in properties(&schema) {
            let allowed = types(&schema);
            for text in hostile() {
                let mut values = Vec::new();
                if allowed.contains("string") {
                    values.push(json!(text));
                }
                if allowed.contains("array") {
                    values.push(json!([text]));
                }
                if allowed.contains("object") {
                    values.push(json!({ text.as_str(): text }));
                    values.push(json!({"program": text, "component_name": text}));
                }
                for value in values {
                    let mut arguments = world.right(&tool);
                    arguments.insert(property.clone(), value);
                    if let Err(text) = world.client.call(&tool, Value::Object(arguments)).await {
                        teaches(&tool, &text);
                    }
                }
            }
        }
    }
    world.is_well().await;
    let root = world.home.root();
    assert!(!root.join("pwned").exists() && !root.join("service/pwned").exists());
}

#[tokio::test]
async fn numbers_out_of_range_are_refused_with_the_range() {
    let world = World::new(Era::Stateless).await;
    for (tool, schema) in world.tools() {
        for (property, schema) in properties(&schema) {
            if !types(&schema).contains("integer") {
                continue;
            }
            for value in [json!(-1), json!(i64::MIN), json!(u64::MAX), json!(1.5), json!(1e300)] {
                let mut arguments = world.right(&tool);
                arguments.insert(property.clone(), value.clone());

                match world.client.call(&tool, Value::Object(arguments)).await {
                    Ok(_) => panic!("{tool}/{property} took {value}"),
                    Err(text) => {
                        teaches(&tool, &text);
                        assert!(text.contains(&property), "{tool}/{property} {value}: {text}");
                    }
                }
            }
        }
    }
    let page = world.client.ok("list_workflows", json!({"limit": 3.0})).await;
    assert_eq!(page["workflows"].as_array().map(Vec::len), Some(1), "3.0 is a whole number");
    world.is_well().await;
}

#[tokio::test]
async fn values_that_are_far_too_large_or_deep_are_refused_and_the_server_lives() {
    let world = World::new(Era::Initialize).await;
    let mut deep = json!({});
    for _ in 0..100 {
        deep = json!({"deeper": deep});
    }
    let wide: Map<String, Value> = (0..5_000).map(|n| (format!("k{n}"), json!(n))).collect();
    for (tool, schema) in world.tools() {
        for (property, schema) in properties(&schema) {
            let allowed = types(&schema);
            let mut values = Vec::new();
            if allowed.contains("object") {
                values.extend([deep.clone(), Value::Object(wide.clone())]);
            }
            if allowed.contains("array") {
                values.push(json!(vec!["x"; 5_000]));
            }
            if allowed.contains("string") {
                values.push(json!("x".repeat(256 * 1024)));
            }
            for value in values {
                let mut arguments = world.right(&tool);
                arguments.insert(property.clone(), value);
                if let Err(text) = world.client.call(&tool, Value::Object(arguments)).await {
                    teaches(&tool, &text);
                }
            }
        }
    }
    world.is_well().await;
}

#[tokio::test]
async fn optional_arguments_that_are_null_or_empty_count_as_absent() {
    let world = World::new(Era::Initialize).await;
    for (tool, schema) in world.tools() {
        let required: BTreeSet<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // Calls that would be refused the second time are not made: what counts here is the check of arguments.
        if ["complete_step", "review_step", "revert_pattern_application"].contains(&tool.as_str()) {
            continue;
        }
        let mut arguments = world.right(&tool);
        for (property, _) in properties(&schema) {
            if !required.contains(property.as_str()) && !arguments.contains_key(&property) {
                arguments.insert(property, Value::Null);
            }
        }

        world.client.ok(&tool, Value::Object(arguments)).await;
    }
}

#[tokio::test]
async fn what_does_not_exist_is_told_with_where_to_look() {
    let world = World::new(Era::Initialize).await;
    for (tool, arguments, next) in [
        ("get_workflow", json!({"workflow_id": "bsae"}), "base"),
        ("execute_workflow", json!({"workflow_id": "bsae"}), "base"),
        ("export_workflow_data", json!({"workflow_id": "bsae"}), "base"),
        ("get_workflow", json!({"workflow_id": "base", "revision": 99}), "1"),
        ("get_workflow_status", json!({"execution_id": "ex_nothing"}), "list_executions"),
        (
            "control_execution",
            json!({"execution_id": "ex_nothing", "action": "cancel"}),
            "list_executions",
        ),
        (
            "complete_step",
            json!({"execution_id": "ex_nothing", "step_id": "a", "summary": "b"}),
            "list_executions",
        ),
        ("get_task_status", json!({"task_id": "tg_nothing"}), "distribute_task"),
        ("cancel_task", json!({"task_id": "tg_nothing"}), "distribute_task"),
        ("update_workflow", json!({"workflow_id": "bsae", "name": "x"}), "base"),
        ("archive_workflow", json!({"workflow_id": "bsae"}), "base"),
        ("list_machines", json!({"select": "locla"}), "local"),
        ("list_validators", json!({"cursor": "no cursor"}), "cursor"),
        ("list_pattern_applications", json!({"cursor": "no cursor"}), "cursor"),
        (
            "review_step",
            json!({"execution_id": "ex_nothing", "all": true, "reviewer": "g", "decision": "approved"}),
            "list_executions",
        ),
        ("aggregate_task_results", json!({"task_group_id": "tg_nothing"}), "distribute_task"),
        ("revert_pattern_application", json!({"application_id": "app_nothing"}), "app_nothing"),
        ("get_workflow_metrics", json!({"time_range": "yesterday"}), "24h"),
        ("list_workflows", json!({"cursor": "no cursor"}), "cursor"),
    ] {
        let text = world.client.refused(tool, arguments.clone()).await;
        teaches(tool, &text);
        assert!(text.contains(next), "{tool} {arguments}: {text}");
    }
    let execution = world.right["get_workflow_status"]["execution_id"].clone();
    let arguments = json!({"execution_id": execution, "step_id": "wrok", "summary": "done"});
    let step = world.client.refused("complete_step", arguments).await;
    assert!(step.contains("`work`"), "{step}");
}

#[tokio::test]
async fn lists_come_in_pages_that_hold_everything_once() {
    let world = World::new(Era::Initialize).await;
    let client = &world.client;
    for number in 0..7 {
        client.create(&format!("page-{number}"), json!([])).await;
        client.execute(&format!("page-{number}")).await;
    }

    for (tool, list, id) in [
        ("list_workflows", "workflows", "workflow_id"),
        ("list_executions", "executions", "execution_id"),
    ] {
        let mut seen = Vec::new();
        let mut arguments = json!({"limit": 3});
        loop {
            let page = client.ok(tool, arguments.clone()).await;
            let rows = page[list].as_array().expect("a list").clone();
            assert!(rows.len() <= 3);
            seen.extend(rows.iter().map(|row| row[id].to_string()));
            if page["next_cursor"].is_null() {
                break;
            }
            arguments["cursor"] = page["next_cursor"].clone();
        }
        let distinct: BTreeSet<&String> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len()), (8, 8), "{tool}: {seen:?}");
        assert!(tool != "list_workflows" || seen[0] == "\"page-6\"", "newest first: {seen:?}");
    }
}
