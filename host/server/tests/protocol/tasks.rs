//! Tasks: work that goes on after the answer, followed by the protocol's own means.

use serde_json::{Value, json};

use crate::wire::Wire;
use crate::{Era, World, by_hand, command};

fn tasks() -> Value {
    json!({"extensions": {"io.modelcontextprotocol/tasks": {}}})
}

async fn begin(client: &mut Wire, id: &str, steps: Value) -> Value {
    client.tool("create_workflow", json!({"workflow_id": id, "steps": steps})).await;
    client.call("execute_workflow", json!({"workflow_id": id})).await
}

/// Looks until the task is where it should be; every look is a call of its own, as clients do it.
async fn until(client: &mut Wire, task: &Value, status: &str) -> Value {
    for _ in 0..600 {
        let found = client.ok("tasks/get", json!({"taskId": task})).await;
        if found["status"] == status {
            return found;
        }
        let ended = ["completed", "failed", "cancelled"]
            .contains(&found["status"].as_str().unwrap_or_default());
        assert!(!ended, "{found:#}");
        // The engine tells when something happens, which is sooner than any pause.
        let wait = json!({"execution_id": task, "wait_s": 1});
        client.tool("get_workflow_status", wait).await;
    }
    panic!("the task never was {status}");
}

#[tokio::test]
async fn an_execution_is_followed_as_a_task_to_the_answer_its_schema_promises() {
    let world = World::new().await;
    let mut client = world.client(Era::Newer, tasks()).await;
    let schema =
        world.core.toolset.tool("execute_workflow").expect("the tool").output_schema.clone();

    let created = begin(&mut client, "followed", command("sleep 0.3; echo done")).await;
    let at_once = client.ok("tasks/get", json!({"taskId": created["taskId"]})).await;
    let done = until(&mut client, &created["taskId"], "completed").await;
    client.ok("tasks/cancel", json!({"taskId": created["taskId"]})).await;
    let still = client.ok("tasks/get", json!({"taskId": created["taskId"]})).await;

    assert_eq!((&created["resultType"], &created["status"]), (&json!("task"), &json!("working")));
    assert!(created["ttlMs"].is_null() && created["pollIntervalMs"].is_u64(), "{created:#}");
    assert_eq!(
        (&at_once["resultType"], &at_once["taskId"]),
        (&json!("complete"), &created["taskId"])
    );
    let structured = &done["result"]["structuredContent"];
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let problems: Vec<String> =
        validator.iter_errors(structured).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(
        (&structured["status"], &structured["completed_steps"]),
        (&json!("completed"), &json!(["run"]))
    );
    assert!(done["createdAt"].as_str() <= done["lastUpdatedAt"].as_str(), "{done:#}");
    assert_eq!(still["status"], "completed");
    world.core.close().await;
}

#[tokio::test]
async fn a_task_group_is_followed_as_a_task_and_cancelled_as_one() {
    let world = World::new().await;
    let mut client = world.client(Era::Newer, tasks()).await;
    let schema =
        world.core.toolset.tool("distribute_task").expect("the tool").output_schema.clone();
    let distribute = |line: &str| json!({"task_definition": {"program": line, "shell": true}, "target_machines": ["local"]});

    let good = client.call("distribute_task", distribute("sleep 0.3; echo hello")).await;
    let done = until(&mut client, &good["taskId"], "completed").await;
    let long = client.call("distribute_task", distribute("sleep 600")).await;
    client.ok("tasks/cancel", json!({"taskId": long["taskId"]})).await;
    until(&mut client, &long["taskId"], "cancelled").await;

    let structured = &done["result"]["structuredContent"];
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let problems: Vec<String> =
        validator.iter_errors(structured).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?} {structured:#}");
    assert_eq!(structured["waves"], json!([["local"]]));
    world.core.close().await;
}

#[tokio::test]
async fn a_task_outlives_the_server() {
    let world = World::new().await;
    let mut client = world.client(Era::Newer, tasks()).await;
    let created = begin(&mut client, "durable", command("sleep 0.5")).await;
    drop(client);

    let world = world.again().await;
    let mut client = world.client(Era::Newer, tasks()).await;
    let found = client.ok("tasks/get", json!({"taskId": created["taskId"]})).await;
    until(&mut client, &created["taskId"], "completed").await;

    assert_eq!(found["createdAt"], created["createdAt"]);
    world.core.close().await;
}

#[tokio::test]
async fn only_clients_that_can_follow_a_task_get_one() {
    let world = World::new().await;
    // One of the older era that declares the extension could not read it all the same.
    let cases = [
        (Era::Older, tasks(), "older"),
        (Era::Older, json!({}), "plain"),
        (Era::Newer, json!({}), "newer"),
    ];
    for (era, capabilities, id) in cases {
        let mut client = world.client(era, capabilities).await;

        let answer = begin(&mut client, id, command("sleep 0.2")).await;

        assert!(answer.get("taskId").is_none(), "{id}: {answer:#}");
        assert!(answer["structuredContent"]["execution_id"].is_string(), "{id}: {answer:#}");
        let task = json!({"taskId": answer["structuredContent"]["execution_id"]});
        let (code, _) = client.refused("tasks/get", task).await;
        assert!([-32601, -32021].contains(&code), "{id}: {code}");
    }
    world.core.close().await;
}

#[tokio::test]
async fn work_by_hand_is_no_task_and_a_review_is_one_where_somebody_can_be_asked() {
    let world = World::new().await;
    let mut asking = json!({"elicitation": {}});
    asking["extensions"] = tasks()["extensions"].clone();
    let mut client = world.client(Era::Newer, asking).await;
    let mut mute = world.client(Era::Newer, tasks()).await;
    let reviewed = json!([{"id": "run", "type": "development", "validation": "manual-review",
        "action": {"kind": "command", "shell": true, "program": "sleep 0.3"}}]);

    let by_hand = begin(&mut client, "hands", by_hand()).await;
    let unasked = begin(&mut mute, "reviewed-plain", reviewed.clone()).await;
    let created = begin(&mut client, "reviewed", reviewed).await;
    let waiting = until(&mut client, &created["taskId"], "input_required").await;
    let key = waiting["inputRequests"]
        .as_object()
        .and_then(|all| all.keys().next().cloned())
        .expect("a question");
    let answer = |decision: Value| json!({"taskId": created["taskId"], "inputResponses": {key.clone(): decision}});
    let (nothing, what) = client
        .refused(
            "tasks/update",
            answer(json!({"action": "accept", "content": {"reviewer": "bob"}})),
        )
        .await;
    client
        .ok(
            "tasks/update",
            answer(
                json!({"action": "accept", "content": {"decision": "approved", "reviewer": "bob"}}),
            ),
        )
        .await;
    until(&mut client, &created["taskId"], "completed").await;

    for plain in [&by_hand, &unasked] {
        assert!(plain.get("taskId").is_none(), "{plain:#}");
    }
    assert_eq!((nothing, what.contains("`content.decision` is missing")), (-32602, true), "{what}");
    world.core.close().await;
}

#[tokio::test]
async fn tasks_that_there_are_not_are_told_as_such() {
    let world = World::new().await;
    let mut client = world.client(Era::Newer, tasks()).await;

    for (method, more) in [
        ("tasks/get", json!({})),
        ("tasks/cancel", json!({})),
        ("tasks/update", json!({"inputResponses": {}})),
    ] {
        for id in ["exe_0", "", "../x", "\u{202e}"] {
            let mut params = more.clone();
            params["taskId"] = json!(id);
            let (code, message) = client.refused(method, params).await;
            assert_eq!(code, -32602, "{method} {id}: {message}");
        }
    }
    for method in ["tasks/list", "tasks/result"] {
        let (code, _) = client.refused(method, json!({})).await;
        assert_eq!(code, -32601, "{method}");
    }
    world.core.close().await;
}
