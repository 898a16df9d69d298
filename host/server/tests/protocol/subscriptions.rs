//! Being told what changed.

use serde_json::{Value, json};

use crate::{Era, World, by_hand};

#[tokio::test]
async fn a_client_of_the_older_era_is_told_what_it_subscribed_to_until_it_unsubscribes() {
    let world = World::new().await;
    let mut watcher = world.client(Era::Older, json!({})).await;
    let mut worker = world.client(Era::Newer, json!({})).await;
    let execution = worker.start("watched", by_hand()).await;
    let uri = format!("execution://{execution}");

    watcher.heard("notifications/resources/list_changed").await;
    watcher.ok("resources/subscribe", json!({"uri": uri})).await;
    let report = json!({"execution_id": execution, "step_id": "look", "performer": "ann", "summary": "looked"});
    worker.tool("complete_step", report).await;
    let told = watcher.heard("notifications/resources/updated").await;
    watcher.ok("resources/unsubscribe", json!({"uri": uri})).await;
    let review = json!({"execution_id": execution, "step_id": "look", "reviewer": "bob", "decision": "approved"});
    worker.tool("review_step", review).await;
    // News of something else behind it prove that nothing was told of the execution any more.
    watcher.ok("resources/subscribe", json!({"uri": "workflow://other"})).await;
    worker.tool("create_workflow", json!({"workflow_id": "other", "steps": []})).await;
    let other = watcher.wait(|message| message["params"]["uri"] == "workflow://other").await;

    assert_eq!(told["params"]["uri"], *uri);
    assert_eq!(other["method"], "notifications/resources/updated");
    let after: Vec<&Value> =
        watcher.beside().filter(|message| message["params"]["uri"] == *uri).collect();
    assert!(after.len() <= 1, "one notice may have been under way: {after:#?}");
    world.core.close().await;
}

#[tokio::test]
async fn plugins_that_come_and_go_are_told() {
    let world = World::new().await;
    world.core.engine.plugins_loaded().await;
    let mut watcher = world.client(Era::Older, json!({})).await;
    watcher.ok("resources/subscribe", json!({"uri": "pattern://hostile"})).await;
    let file = world.dir.path().join("data/plugins/hostile.wasm");
    let hostile = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/0.1.0/hostile.wasm");

    std::fs::copy(hostile, &file).expect("it is dropped");
    watcher.heard("notifications/resources/list_changed").await;
    let came = watcher.heard("notifications/resources/updated").await;
    std::fs::remove_file(&file).expect("it is taken away");
    watcher.heard("notifications/resources/list_changed").await;
    let went = watcher.heard("notifications/resources/updated").await;

    for told in [came, went] {
        assert_eq!(told["params"]["uri"], "pattern://hostile");
    }
    world.core.close().await;
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused() {
    let world = World::new().await;
    let mut client = world.client(Era::Older, json!({})).await;

    for method in ["resources/subscribe", "resources/unsubscribe"] {
        let (code, message) = client.refused(method, json!({"uri": "file:///etc/passwd"})).await;
        assert_eq!(code, -32002, "{method}: {message}");
    }
    world.core.close().await;
}

#[tokio::test]
async fn a_stream_of_the_newer_era_begins_with_what_was_accepted_and_ends_with_the_server() {
    let world = World::new().await;
    let mut watcher = world.client(Era::Newer, json!({})).await;
    let mut worker = world.client(Era::Older, json!({})).await;
    let execution = worker.start("streamed", by_hand()).await;
    let uri = format!("execution://{execution}");

    let wanted = json!({"notifications": {"resourceSubscriptions": [uri, "file:///etc/passwd"],
        "resourcesListChanged": true, "toolsListChanged": true}});
    let id = watcher.send("subscriptions/listen", wanted).await;
    let first = watcher.wait(|_| true).await;
    let report = json!({"execution_id": execution, "step_id": "look", "performer": "ann", "summary": "looked"});
    worker.tool("complete_step", report).await;
    let told = watcher.heard("notifications/resources/updated").await;
    worker.tool("create_workflow", json!({"workflow_id": "another", "steps": []})).await;
    let listed = watcher.heard("notifications/resources/list_changed").await;
    world.core.close().await;
    let end = watcher.answer(id).await;

    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    let accepted = &first["params"]["notifications"];
    assert_eq!(accepted["resourceSubscriptions"], json!([uri]));
    // The tool list never changes while the server runs, so nobody is promised to be told.
    let is_promised = accepted.get("toolsListChanged").is_some();
    assert_eq!(is_promised, cfg!(feature = "conformance"), "{accepted:#}");
    for message in [&first, &told, &listed] {
        let stream = &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
        assert_eq!(stream.to_string().trim_matches('"'), id.to_string(), "{message:#}");
    }
    assert_eq!(told["params"]["uri"], *uri);
    assert!(end["result"].is_object(), "{end:#}");
}
