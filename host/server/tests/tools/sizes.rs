//! Every tool's answer about the largest that the server keeps fits a client: executions of 10,000 items, 1,000
//! executions, 500 findings. What does not fit is counted, and there is a way to the rest.

use std::fmt::Write;

use caelum_workflow::mcp::tool::ANSWER_MAX_BYTES;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::World;

/// Calls a tool and holds its answer to the limit: the structured content, and the text of it, which clients hand to
/// their model.
async fn fits(world: &World, tool: &str, arguments: Value) -> Value {
    let reply = match world.call(tool, arguments.clone()).await {
        Ok(reply) => reply,
        Err(error) => panic!("{tool} {arguments}: {}", error.text()),
    };
    let structured = Value::Object(reply.structured);
    let (json, text) = (structured.to_string().len(), reply.text.len());
    assert!(json <= ANSWER_MAX_BYTES, "{tool} {arguments}: {json} bytes of JSON");
    assert!(text <= ANSWER_MAX_BYTES, "{tool} {arguments}: {text} bytes of text");
    structured
}

/// An execution with this many items, of which one runs and the others wait.
async fn items(world: &World, count: usize) -> Value {
    let items: Vec<String> = (0..count).map(|index| format!("item-number-{index:05}")).collect();
    let action = json!({"kind": "command", "program": "sleep", "args": ["600"]});
    let steps = json!([{"id": "each", "type": "validation", "map": {"over": items, "max": 1},
        "action": action}]);
    world.ok("create_workflow", json!({"workflow_id": "items", "steps": steps})).await;
    let started = world.ok("execute_workflow", json!({"workflow_id": "items"})).await;
    started["execution_id"].clone()
}

#[tokio::test]
async fn ten_thousand_items_fit_into_every_answer_about_them() {
    let world = World::new().await;
    let id = items(&world, 10_000).await;

    let mut running = fits(&world, "get_workflow_status", json!({"execution_id": id})).await;
    while running["steps"][0]["machines_omitted"].as_u64().is_none_or(|omitted| omitted == 0) {
        assert_eq!(running["status"], "executing", "{running:#}");
        let news = json!({"execution_id": id, "wait_s": 5, "after_event": running["event_count"]});
        running = fits(&world, "get_workflow_status", news).await;
    }
    for detail in ["concise", "full"] {
        let question = json!({"execution_id": id, "detail": detail});
        fits(&world, "get_workflow_status", question).await;
    }
    let kept = fits(&world, "get_workflow", json!({"workflow_id": "items"})).await;
    let dry = json!({"workflow_id": "items", "dry_run": true});
    fits(&world, "execute_workflow", dry).await;
    fits(&world, "list_executions", json!({"workflow_id": "items"})).await;
    for format in ["json", "yaml", "ndjson", "csv", "markdown", "mermaid", "junit"] {
        let export = json!({"workflow_id": "items", "format": format, "include_executions": true});
        fits(&world, "export_workflow_data", export).await;
    }
    let cancel = json!({"execution_id": id, "action": "cancel", "reason": "enough"});
    fits(&world, "control_execution", cancel).await;
    let ended = world.settled(&id).await;
    let full = json!({"execution_id": id, "detail": "full"});
    fits(&world, "get_workflow_status", full).await;
    fits(&world, "get_workflow_metrics", json!({})).await;

    assert_eq!(running["steps"][0]["machines_omitted"], 9_980, "{:#}", running["steps"][0]);
    assert_eq!(ended["status"], "cancelled");
    let shown = kept["steps"][0]["map"]["over"].as_array().map_or(0, Vec::len);
    assert_eq!(kept["list_items_omitted"], 10_000 - shown);
    assert!(shown > 100, "{shown}");
    world.core.close().await;
}

#[tokio::test]
async fn a_thousand_executions_fit_into_every_answer_about_them() {
    let world = World::new().await;
    let steps = json!([{"id": "wait", "type": "validation", "validation": "manual-review",
        "action": {"kind": "manual", "instructions": "Wait for a word. ".repeat(20)}}]);
    let name = "n".repeat(100);
    world.ok("create_workflow", json!({"workflow_id": name, "steps": steps})).await;
    let start = || world.ok("execute_workflow", json!({"workflow_id": name}));
    for _ in 0..20 {
        join_all((0..50).map(|_| start())).await;
    }

    let mut seen = 0;
    let mut question = json!({"limit": 200});
    loop {
        let page = fits(&world, "list_executions", question.clone()).await;
        seen += page["executions"].as_array().map_or(0, Vec::len);
        match page.get("next_cursor") {
            Some(cursor) => question["cursor"] = cursor.clone(),
            None => break,
        }
    }
    fits(&world, "get_workflow", json!({"workflow_id": name})).await;
    fits(&world, "list_workflows", json!({"limit": 200})).await;
    fits(&world, "get_system_health", json!({})).await;
    fits(&world, "get_workflow_metrics", json!({"time_range": "all"})).await;
    fits(&world, "list_machines", json!({"limit": 200})).await;
    for format in ["json", "ndjson", "csv", "markdown"] {
        let export = json!({"workflow_id": name, "format": format, "include_executions": true});
        fits(&world, "export_workflow_data", export).await;
    }

    assert_eq!(seen, 1_000);
    world.core.close().await;
}

#[tokio::test]
async fn the_answers_about_a_task_on_very_many_machines_fit() {
    let world = World::new().await;
    let words = "a line of what it has to say; ".repeat(400);
    let work = json!({"task_definition": {"program": "printf", "args": [words]},
        "target_machines": ["local"]});

    let begun = fits(&world, "distribute_task", work).await;
    let group = begun["task_group_id"].clone();
    let question = json!({"task_id": group, "wait_s": 30});
    fits(&world, "get_task_status", question).await;
    fits(&world, "aggregate_task_results", json!({"task_group_id": group})).await;
    fits(&world, "cancel_task", json!({"task_id": group})).await;
    world.core.close().await;
}

/// A compose file in which very much is found: each service asks for its health with a tool that it does not have, does
/// not say how often, and waits for the one before it without saying for what.
fn untidy(services: usize) -> String {
    let mut text =
        String::from("services:\n  service-0000: {image: redis:7-alpine, restart: always}\n");
    for index in 1..services {
        // Writing into a string does not fail.
        let _ = write!(
            text,
            "  service-{index:04}:\n    image: redis:7-alpine\n    restart: always\n    depends_on: [service-{:04}]\n    \
             healthcheck:\n      test: [\"CMD\", \"curl\", \"-f\", \"http://localhost:8000/health\"]\n",
            index - 1
        );
    }
    text
}

#[tokio::test]
async fn five_hundred_findings_fit_into_every_answer_about_them() {
    // A busy machine needs its time for so many.
    let world = World::limited(&["plugin_call_ms=60000"]).await;
    let component = world.root().join("untidy");
    for part in 0..20 {
        let part = component.join(format!("part-{part:02}"));
        std::fs::create_dir_all(&part).expect("a component");
        std::fs::write(part.join("compose.yaml"), untidy(10)).expect("a file");
    }
    let pattern = json!("health-check");
    let of = |more: Value| {
        let mut arguments = json!({"pattern_name": pattern, "target_component": "untidy"});
        for (key, value) in more.as_object().into_iter().flatten() {
            arguments[key] = value.clone();
        }
        arguments
    };

    let looked = fits(&world, "validate_pattern_application", of(json!({}))).await;
    let planned = json!({"parameters": {}, "dry_run": true});
    fits(&world, "apply_pattern", of(planned)).await;
    fits(&world, "list_pattern_applications", json!({"limit": 100})).await;
    fits(&world, "list_patterns", json!({"limit": 100, "kind": "all", "include_refused": true}))
        .await;
    fits(&world, "list_validators", json!({"limit": 100})).await;

    let total = looked["findings_total"].as_u64().unwrap_or_default();
    assert!(total >= 500, "{total} findings");
    let shown = looked["findings"].as_array().map_or(0, Vec::len);
    assert!(shown > 0 && shown as u64 <= total, "{shown} of {total}");
    world.core.close().await;
}

#[tokio::test]
async fn why_it_failed_is_told_before_everything_else() {
    let world = World::new().await;
    let run = |id: &str, line: &str, after: &[&str]| {
        json!({"id": id, "type": "development", "dependencies": after,
            "action": {"kind": "command", "shell": true, "program": line}})
    };
    let mut steps: Vec<Value> =
        (0..40).map(|index| run(&format!("fine-{index:02}"), "true", &[])).collect();
    steps.push(run("root", "echo the disk is full >&2; exit 3", &["fine-00"]));
    steps.push(run("victim", "true", &["root"]));
    world.ok("create_workflow", json!({"workflow_id": "broken", "steps": steps})).await;

    let execution = world.ok("execute_workflow", json!({"workflow_id": "broken"})).await;
    let view = world.settled(&execution["execution_id"]).await;
    let question = json!({"execution_id": execution["execution_id"]});
    let text = world.call("get_workflow_status", question).await.expect("it is there").text;

    assert_eq!(view["failure"]["step_id"], "root", "{view:#}");
    let (failed, first) = (text.find("\nfailed: step root"), text.find("\n- fine-00"));
    assert!(failed.is_some() && failed < first, "{text}");
    assert!(text.find("the disk is full") < first, "{text}");
    world.core.close().await;
}
