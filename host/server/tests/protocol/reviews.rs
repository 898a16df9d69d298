//! Reviews by a form that the client shows to its person.

use serde_json::{Value, json};

use crate::wire::Wire;
use crate::{Era, World, by_hand};

/// Brings an execution to where it waits for a review of ann's work.
async fn waiting(client: &mut Wire, workflow: &str) -> String {
    let execution = client.start(workflow, by_hand()).await;
    let report = json!({"execution_id": execution, "step_id": "look", "performer": "ann", "summary": "looked"});
    client.tool("complete_step", report).await;
    execution
}

fn wait_for(execution: &str) -> Value {
    json!({"execution_id": execution, "wait_s": 1, "wait_until": "settled"})
}

fn accept(decision: &str, reviewer: &str) -> Value {
    json!({"action": "accept", "content": {"decision": decision, "reviewer": reviewer, "reason": "seen it"}})
}

#[tokio::test]
async fn a_waiting_call_asks_the_person_and_goes_on_with_the_answer() {
    let world = World::new().await;
    let mut client = world.client(Era::Older, json!({"elicitation": {}})).await;
    let execution = waiting(&mut client, "asked").await;

    let call = json!({"name": "get_workflow_status", "arguments": wait_for(&execution)});
    let id = client.send("tools/call", call).await;
    let question = client.heard("elicitation/create").await;
    // Whoever did the work does not review it: the same question comes again.
    client
        .write(json!({"jsonrpc": "2.0", "id": question["id"], "result": accept("approved", "ann")}))
        .await;
    let again = client.heard("elicitation/create").await;
    client
        .write(json!({"jsonrpc": "2.0", "id": again["id"], "result": accept("approved", "bob")}))
        .await;
    let answer = client.answer(id).await;

    let message = question["params"]["message"].as_str().expect("a message");
    assert!(message.contains("Step `look`") && message.contains("anybody but ann"), "{message}");
    assert_eq!(question["params"]["requestedSchema"]["required"], json!(["decision", "reviewer"]));
    let result = &answer["result"];
    assert_eq!(result["structuredContent"]["status"], "completed", "{answer:#}");
    let notes = result["content"][1]["text"].as_str().expect("a note about ann");
    assert!(notes.contains("own_work"), "{notes}");
    world.core.close().await;
}

#[tokio::test]
async fn nobody_is_asked_who_declined_cannot_be_asked_or_does_not_wait() {
    let world = World::new().await;
    let mut client = world.client(Era::Older, json!({"elicitation": {}})).await;
    let mut mute = world.client(Era::Older, json!({})).await;
    let execution = waiting(&mut client, "declined").await;

    let unasked = mute.tool("get_workflow_status", wait_for(&execution)).await;
    let glance = client.tool("get_workflow_status", json!({"execution_id": execution})).await;
    let mut unwanted = wait_for(&execution);
    unwanted["ask"] = json!(false);
    let unwanted = client.tool("get_workflow_status", unwanted).await;
    let call = json!({"name": "get_workflow_status", "arguments": wait_for(&execution)});
    let id = client.send("tools/call", call).await;
    let question = client.heard("elicitation/create").await;
    client
        .write(json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}}))
        .await;
    let declined = client.answer(id).await;
    let later = client.tool("get_workflow_status", wait_for(&execution)).await;

    for answer in [&unasked, &glance, &unwanted, &declined["result"]["structuredContent"], &later] {
        assert_eq!(answer["waiting_for"][0]["kind"], "review", "{answer:#}");
    }
    assert_eq!(
        client.beside().filter(|message| message["method"] == "elicitation/create").count(),
        0
    );
    world.core.close().await;
}

#[tokio::test]
async fn a_cancelled_call_no_longer_waits_for_the_person() {
    let world = World::new().await;
    let mut client = world.client(Era::Older, json!({"elicitation": {}})).await;
    let execution = waiting(&mut client, "cancelled").await;

    let call = json!({"name": "get_workflow_status", "arguments": wait_for(&execution)});
    let id = client.send("tools/call", call).await;
    client.heard("elicitation/create").await;
    client.write(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})).await;
    let listed = client.tool("list_executions", json!({})).await;

    assert_eq!(listed["executions"][0]["status"], "paused");
    assert_eq!(client.beside().filter(|message| message["id"] == id).count(), 0);
    world.core.close().await;
}

#[tokio::test]
async fn in_the_newer_era_the_call_says_what_it_needs_and_takes_it_with_the_next() {
    let world = World::new().await;
    let mut client = world.client(Era::Newer, json!({"elicitation": {}})).await;
    let execution = waiting(&mut client, "needed").await;
    let arguments = wait_for(&execution);

    let needed = client.call("get_workflow_status", arguments.clone()).await;
    let key = needed["inputRequests"]
        .as_object()
        .and_then(|all| all.keys().next().cloned())
        .expect("a question");
    let state = needed["requestState"].as_str().expect("a state").to_owned();
    let with = |state: &str, answer: Value| {
        json!({"name": "get_workflow_status", "arguments": arguments.clone(), "requestState": state,
               "inputResponses": {key.clone(): answer, "surplus": {}}})
    };
    let (bent, _) =
        client.refused("tools/call", with(&format!("{state}x"), accept("approved", "bob"))).await;
    let mut other =
        Wire::open(&world.core.toolset, Era::Newer, "other", json!({"elicitation": {}})).await;
    let (foreign, _) = other.refused("tools/call", with(&state, accept("approved", "bob"))).await;
    let own = client.ok("tools/call", with(&state, accept("approved", "ann"))).await;
    let done = client.ok("tools/call", with(&state, accept("approved", "bob"))).await;

    assert_eq!(needed["resultType"], "input_required", "{needed:#}");
    assert_eq!(needed["inputRequests"][&key]["method"], "elicitation/create");
    assert_eq!((bent, foreign), (-32602, -32602));
    assert_eq!(own["resultType"], "input_required", "ann is asked for another reviewer: {own:#}");
    assert_eq!(done["structuredContent"]["status"], "completed", "{done:#}");
    world.core.close().await;
}
