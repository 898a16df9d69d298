//! The ways in: stdio, raw TCP and streamable HTTP, both eras of the protocol, one catalogue of tools; and `/health`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use caelum_tests::{Client, Era, http_client, soon};
use serde_json::{Value, json};

use crate::home;

/// The contract: what the guide promises.
const GUIDE: [&str; 14] = [
    "create_workflow",
    "get_workflow",
    "list_workflows",
    "execute_workflow",
    "get_workflow_status",
    "apply_pattern",
    "list_patterns",
    "validate_pattern_application",
    "distribute_task",
    "get_task_status",
    "aggregate_task_results",
    "get_system_health",
    "get_workflow_metrics",
    "export_workflow_data",
];

/// What is offered beyond it.
const BEYOND: [&str; 13] = [
    "complete_step",
    "review_step",
    "control_execution",
    "list_executions",
    "revert_pattern_application",
    "update_workflow",
    "archive_workflow",
    "list_validators",
    "list_pattern_applications",
    "list_machines",
    "cancel_task",
    "import_workflow",
    "create_backup",
];

/// The tools that change nothing.
const READING: [&str; 14] = [
    "get_workflow",
    "list_workflows",
    "get_workflow_status",
    "list_patterns",
    "validate_pattern_application",
    "get_task_status",
    "aggregate_task_results",
    "get_system_health",
    "get_workflow_metrics",
    "export_workflow_data",
    "list_executions",
    "list_validators",
    "list_pattern_applications",
    "list_machines",
];

/// Returns the tools as they came over the wire.
fn listed(client: &Client) -> Value {
    serde_json::to_value(client.tools()).expect("tools are plain JSON")
}

#[tokio::test]
async fn the_tools_of_the_guide_are_there_with_titles_schemas_and_annotations() {
    let home = home();
    let client = home.stdio(Era::Initialize).await;

    let names: BTreeSet<&str> = client.tools().iter().map(|tool| &*tool.name).collect();
    assert_eq!(names, GUIDE.into_iter().chain(BEYOND).collect());
    for tool in client.tools() {
        let name = &tool.name;
        assert!(tool.title.as_ref().is_some_and(|title| !title.is_empty()), "{name}");
        let description = tool.description.as_deref().unwrap_or_default();
        assert!(description.len() >= 80, "{name}: {description}");
        assert!(!description.contains("TODO"), "{name}");
        let annotations = tool.annotations.as_ref().expect("annotations");
        let hints = [
            annotations.read_only_hint,
            annotations.destructive_hint,
            annotations.idempotent_hint,
            annotations.open_world_hint,
        ];
        assert!(hints.iter().all(Option::is_some), "{name}: {hints:?}");
        if READING.contains(&&**name) {
            assert_eq!(annotations.read_only_hint, Some(true), "{name}");
        }
        let properties = tool.input_schema.get("properties").and_then(Value::as_object);
        for (property, schema) in properties.into_iter().flatten() {
            assert!(schema["description"].is_string(), "{name}/{property} has no description");
        }
        assert_eq!(tool.input_schema.get("additionalProperties"), Some(&json!(false)), "{name}");
    }
    let writes: Vec<&str> = client
        .tools()
        .iter()
        .filter(|tool| {
            let annotations = tool.annotations.as_ref();
            annotations.and_then(|annotations| annotations.read_only_hint) == Some(false)
        })
        .map(|tool| &*tool.name)
        .collect();
    for name in ["create_workflow", "execute_workflow", "apply_pattern", "distribute_task"] {
        assert!(writes.contains(&name), "{name} changes something and says so");
    }
}

#[tokio::test]
async fn every_way_in_and_both_eras_offer_the_same_tools_and_work() {
    let home = home();
    let server = home.serve().await;
    let mut first = None;

    for era in Era::BOTH {
        for (link, client) in [("tcp", server.tcp(era).await), ("http", server.http(era).await)] {
            let id = format!("{link}-{era:?}").to_lowercase();
            let tools = listed(&client);
            assert_eq!(*first.get_or_insert_with(|| tools.clone()), tools, "{id}");
            let steps = json!([{"id": "say", "type": "development", "action":
                {"kind": "command", "program": "echo", "args": ["hello"]}}]);
            client.create(&id, steps).await;
            let execution = client.execute(&id).await;
            client.ended(&execution, "completed").await;
            client.close().await;
        }
    }
    drop(server);
    for era in Era::BOTH {
        let client = home.stdio(era).await;
        assert_eq!(first.as_ref(), Some(&listed(&client)), "stdio {era:?}");
        let workflows = client.ok("list_workflows", json!({})).await;
        assert_eq!(workflows["workflows"].as_array().map(Vec::len), Some(4));
        client.close().await;
    }
}

#[tokio::test]
async fn a_workflow_made_by_one_client_is_seen_by_the_others() {
    let home = home();
    let server = home.serve().await;
    let (one, other) = (server.tcp(Era::Initialize).await, server.http(Era::Stateless).await);

    one.create("shared", json!([{"id": "work", "type": "development"}])).await;
    let execution = other.execute("shared").await;
    one.settled(&execution).await;
    let poll = one.clone();
    let arguments = json!({"execution_id": execution, "wait_s": 30, "wait_until": "change"});
    let polling = tokio::spawn(async move { poll.ok("get_workflow_status", arguments).await });
    let report = json!({"execution_id": execution, "step_id": "work", "summary": "done"});
    other.ok("complete_step", report).await;
    soon("the other client to hear of it", polling).await.expect("a good answer");
    let done = one.ended(&execution, "completed").await;

    assert_eq!(done["completed_steps"], json!(["work"]));
}

#[tokio::test]
async fn nothing_but_the_protocol_appears_on_standard_output() {
    let home = home();
    let mut command = home.command();
    command.args(["serve", "--stdio"]).env("CAELUM_WORKFLOW_LOG", "trace");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    let mut input = child.stdin.take().expect("standard input is a pipe");
    let output = child.stdout.take().expect("standard output is a pipe");
    let steps = json!([{"id": "noise", "type": "development", "action":
        {"kind": "command", "shell": true, "program": "echo loud; echo louder >&2"}}]);

    let messages = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"}}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
            "name": "create_workflow", "arguments": {"workflow_id": "noisy", "steps": steps}}}),
        json!({"jsonrpc": "2.0", "id": 3, "method": "no/such/method"}),
        json!({"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {
            "name": "execute_workflow", "arguments": {"workflow_id": "noisy", "wait_s": 30}}}),
    ];
    let reading = tokio::task::spawn_blocking(move || {
        let lines = BufReader::new(output).lines();
        lines.map(|line| line.expect("lines of text")).collect::<Vec<String>>()
    });
    let mut answers = BTreeSet::new();
    for message in &messages {
        writeln!(input, "{message}").expect("the program reads");
    }
    writeln!(input, "this is no JSON").expect("the program reads");
    drop(input);
    let lines = soon("the program to end with its input", reading).await.expect("a reader");
    for line in &lines {
        let message: Value = serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{error} on standard output: {line}"));
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
        answers.extend(message["id"].as_u64());
    }
    let status = child.wait().expect("a child can be waited for");

    assert_eq!(answers, (1..=4).collect(), "{lines:#?}");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn health_answers_get_and_post() {
    let home = home();
    let server = home.serve().await;
    let client = http_client();

    let (get, post) = (client.get(server.url("/health")), client.post(server.url("/health")));
    for request in [get, post] {
        let response = soon("an answer", request.send()).await.expect("the server answers");
        assert_eq!(response.status(), 200);
        let body: Value = response.json().await.expect("JSON");
        assert_eq!(body["status"], "healthy", "{body:#}");
        assert_eq!(body["service"], "caelum-workflow-orchestration");
    }
}

#[tokio::test]
async fn a_hostile_page_gets_nothing() {
    let home = home();
    let server = home.serve().await;
    let client = http_client();
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    let post = |header: &'static str, value: &'static str| {
        client
            .post(server.url("/mcp"))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2025-06-18")
            .header(header, value)
            .body(list.clone())
            .send()
    };

    let origin = soon("an answer", post("origin", "https://evil.example")).await;
    let host = soon("an answer", post("host", "evil.example")).await;

    assert!(origin.expect("an answer").status().is_client_error());
    assert!(host.expect("an answer").status().is_client_error());
}
