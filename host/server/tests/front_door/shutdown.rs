//! Stopping in order: no new calls, the running ones may end, their answers arrive, then everything closes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::door::{call, client, modern, modern_call, open, open_with, soon, text};

#[tokio::test]
async fn a_call_that_runs_when_the_server_stops_is_still_answered_on_every_transport() {
    let door = open().await;
    let mut lines = door.session().await;
    lines.send(&call(1, "slow", json!({}))).await;
    door.probe.wait_begun().await;
    let message = modern_call(1, "slow", json!({}));
    let request = modern(client().post(door.url("/mcp")), &message).send();
    let asking = tokio::spawn(async move { request.await.unwrap().json::<Value>().await.unwrap() });
    door.probe.wait_begun().await;

    door.shutdown.cancel();
    // New calls are refused while the old ones run.
    let stopping = async {
        for id in 2.. {
            let answer = lines.ask(&call(id, "add", json!({"a": 1}))).await;
            if answer["result"]["isError"] == true {
                return answer;
            }
        }
        unreachable!("the loop has no end of its own")
    };
    let refused = soon("new calls to be refused", stopping).await;
    door.probe.may_end.add_permits(2);
    let over_tcp = lines.receive().await;
    let over_http = soon("the answer over HTTP", asking).await.unwrap();

    assert!(
        text(&refused).starts_with("stopping: the server is stopping and takes no new calls"),
        "{refused}"
    );
    assert_eq!(text(&over_tcp), "slow is done");
    assert_eq!(text(&over_http), "slow is done");
    assert_eq!(lines.next().await, None);
    door.close().await;
}

#[tokio::test]
async fn a_call_that_outlasts_the_grace_time_is_cancelled() {
    let door = open_with(|plan| plan.options.limits.grace = Duration::from_millis(100)).await;
    let mut lines = door.session().await;
    lines.send(&call(1, "slow", json!({}))).await;
    door.probe.wait_begun().await;

    door.shutdown.cancel();

    door.probe.wait_cancelled().await;
    assert_eq!(text(&lines.receive().await), "cancelled: the call was cancelled");
    door.close().await;
}

#[tokio::test]
async fn a_call_that_never_ends_does_not_keep_the_server() {
    let door = open_with(|plan| plan.options.limits.grace = Duration::from_millis(50)).await;
    let mut lines = door.session().await;
    lines.send(&call(1, "stubborn", json!({}))).await;
    door.probe.wait_begun().await;

    door.close().await;
}

#[tokio::test]
async fn the_port_is_free_once_the_server_has_stopped() {
    let door = open().await;
    let address = door.address;
    let _idle = door.session().await;
    let _silent = TcpStream::connect(address).await.unwrap();
    let _kept_alive = client().get(door.url("/health")).send().await.unwrap();

    door.close().await;

    assert!(TcpStream::connect(address).await.is_err());
    assert!(std::net::TcpListener::bind(address).is_ok());
}

#[tokio::test]
async fn an_open_stream_of_events_is_cut() {
    let door = open().await;
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}});
    let http = client();
    let opened = http
        .post(door.url("/mcp"))
        .header("Accept", "application/json, text/event-stream")
        .header("Content-Type", "application/json")
        .body(initialize.to_string())
        .send()
        .await
        .unwrap();
    let session = opened.headers()["mcp-session-id"].clone();
    let stream = http
        .get(door.url("/mcp"))
        .header("Accept", "text/event-stream")
        .header("Mcp-Session-Id", session)
        .send()
        .await
        .unwrap();
    assert_eq!(stream.status(), 200);

    door.close().await;

    soon("the stream to end", stream.bytes()).await.ok();
}
