//! The audit log: who is in it, whichever way they came, and what is never in it.

use std::path::Path;

use caelum_workflow::audit::{Audit, Limits, Mode, Options};
use caelum_workflow::trust::Scope;
use caelum_workflow::trust::token::{Token, Tokens};
use serde_json::{Value, json};

use crate::door::{Door, call, client, modern, modern_call, open_with, policy};

const READER: &str = "reader-0123456789abcdef0123456789abcdef";

async fn audited(directory: &Path, change: impl FnOnce(&mut crate::door::Plan)) -> (Door, Audit) {
    let options =
        Options { directory: directory.to_owned(), mode: Mode::All, limits: Limits::default() };
    let audit = Audit::start(options).unwrap();
    let log = audit.clone();
    let door = open_with(|plan| {
        plan.audit = log;
        let reader = Token::new(READER).unwrap();
        plan.options.policy = policy(Tokens::none().with(reader, Scope::Read));
        change(plan);
    })
    .await;
    (door, audit)
}

/// Ends the log and returns its lines.
async fn lines(audit: Audit, directory: &Path) -> Vec<Value> {
    audit.close().await;
    let text = std::fs::read_to_string(directory.join("audit.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns some members of a line as one text.
fn told(line: &Value, members: &[&str]) -> String {
    let shown = members.iter().map(|member| match &line[*member] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn calls_are_told_with_who_made_them_over_every_transport() {
    let dir = tempfile::tempdir().unwrap();
    let (door, audit) = audited(dir.path(), |_| {}).await;
    let uid = rustix::process::geteuid().as_raw();

    let mut tcp = door.session().await;
    tcp.ask(&call(5, "note", json!({}))).await;
    door.post(modern_call(6, "add", json!({"a": 40_404}))).await;
    let message = modern_call(7, "add", json!({"a": 1}));
    let reader = modern(client().post(door.url("/mcp")), &message)
        .header("Authorization", format!("Bearer {READER}"));
    reader.send().await.unwrap();
    door.close().await;

    let lines = lines(audit, dir.path()).await;
    let members = ["transport", "proof", "uid", "scope", "method", "request", "tool", "outcome"];
    let found: Vec<String> = lines.iter().map(|line| told(line, &members)).collect();
    assert_eq!(
        found,
        [
            format!("tcp own_user {uid} admin tools/call 5 note ok"),
            format!("http own_user {uid} admin tools/call 6 add ok"),
            format!("http token {uid} read tools/call 7 add ok"),
        ]
    );
    assert_eq!((&lines[2]["token"], &lines[0]["client"]), (&json!("read_token"), &json!("raw 1")));
    for line in &lines {
        assert!(line["from"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        // Neither tokens nor arguments.
        assert!(!line.to_string().contains("0123456789abcdef"), "{line}");
        assert!(!line.to_string().contains("40404"), "{line}");
    }
}

#[tokio::test]
async fn whoever_is_turned_away_is_in_the_log_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (door, audit) = audited(dir.path(), |_| {}).await;
    let message = modern_call(7, "note", json!({}));
    let post = || modern(client().post(door.url("/mcp")), &message);

    let reader = post().header("Authorization", format!("Bearer {READER}")).send().await.unwrap();
    let wrong = post().header("Authorization", "Bearer wrong-secret").send().await.unwrap();
    let rebound = post().header("Host", "evil.example.com").send().await.unwrap();
    let page = post().header("Origin", "https://evil.example.com").send().await.unwrap();
    let unknown = door.post(modern_call(8, "nothing", json!({}))).await;
    let statuses = [reader, wrong, rebound, page, unknown].map(|answer| answer.status().as_u16());
    door.close().await;

    assert_eq!(statuses[1..4], [401, 403, 403]);
    let lines = lines(audit, dir.path()).await;
    let members = ["event", "outcome", "code", "tool", "path"];
    let mut found: Vec<String> = lines.iter().map(|line| told(line, &members)).collect();
    // Lines about calls and about those who did not get so far are written by different hands.
    found.sort();
    assert_eq!(
        found,
        [
            "call denied forbidden note null",
            "call denied unknown_tool nothing null",
            "denied denied foreign_host null /mcp",
            "denied denied foreign_origin null /mcp",
            "denied denied unauthorized null /mcp",
        ]
    );
    assert!(lines.iter().all(|line| !line.to_string().contains("wrong-secret")), "{lines:#?}");
}

#[tokio::test]
async fn a_request_that_came_too_early_is_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (door, audit) =
        audited(dir.path(), |plan| plan.calls.rates.session_per_minute_max = 1).await;

    let mut hasty = door.session().await;
    hasty.ask(&call(1, "add", json!({"a": 1}))).await;
    door.close().await;

    let lines = lines(audit, dir.path()).await;
    assert_eq!(told(&lines[0], &["event", "code", "proof"]), "denied rate_limited own_user");
}

#[tokio::test]
async fn a_call_whose_client_went_away_is_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (door, audit) = audited(dir.path(), |_| {}).await;
    let mut leaving = door.session().await;
    leaving.send(&call(1, "slow", json!({}))).await;
    door.probe.wait_begun().await;

    drop(leaving);
    door.probe.wait_cancelled().await;
    door.close().await;

    let lines = lines(audit, dir.path()).await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let outcome = lines[0]["outcome"].as_str().unwrap();
    // Whether the tool's own last word or the end of the connection came first is nobody's promise.
    assert!(["abandoned", "refused"].contains(&outcome), "{lines:#?}");
    assert_eq!(lines[0]["tool"], "slow");
}
