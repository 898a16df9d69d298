//! The log as the tool set uses it.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::mcp::session::{Origin, Transport};
use crate::mcp::tool::Client;
use crate::mcp::toolset::{self, Toolset};
use crate::trust::{Proof, Scope};

fn started(directory: &Path, mode: Mode) -> Audit {
    let options = Options { directory: directory.to_owned(), mode, limits: Limits::default() };
    Audit::start(options).unwrap()
}

fn lines(directory: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.join("audit.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn context() -> CallContext {
    let toolset = Toolset::new([], "", toolset::Limits::default()).unwrap();
    let mut context = CallContext::local(&toolset);
    context.caller = Caller { scope: Scope::Read, proof: Proof::Token };
    let remote = Some("127.0.0.1:5000".parse().unwrap());
    context.session =
        context.session.with_origin(Origin { transport: Transport::Http, remote, uid: Some(7) });
    context.client = Some(Client { name: "agent\u{1b}[2J".to_owned(), version: "1".to_owned() });
    context.method = "tools/call";
    context.request = Some("42".to_owned());
    context
}

fn arguments(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn reply(value: Value) -> Result<Reply, ToolError> {
    Ok(Reply { structured: arguments(value), text: String::new() })
}

#[tokio::test]
async fn a_line_says_who_called_what_with_what_outcome_and_nothing_of_the_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let audit = started(dir.path(), Mode::All);
    let given =
        arguments(json!({"workflow_id": "w".repeat(300), "parameters": {"password": "hunter2"},
        "steps": [{"id": "hunter2"}], "dry_run": false, "execution_id": ""}));

    let entry = audit.begin(&context(), "execute_workflow", true, &given);
    entry
        .finish(&reply(json!({"execution_id": "e1", "revision": 3, "parameters": "hunter2"})))
        .await;

    let line = &lines(dir.path())[0];
    assert_eq!(line["event"], "call");
    assert_eq!((&line["proof"], &line["token"]), (&json!("token"), &json!("read_token")));
    assert_eq!((&line["uid"], &line["from"]), (&json!(7), &json!("127.0.0.1:5000")));
    assert_eq!((&line["method"], &line["request"]), (&json!("tools/call"), &json!("42")));
    assert_eq!((&line["tool"], &line["outcome"]), (&json!("execute_workflow"), &json!("ok")));
    assert_eq!(line["client"], "agent\\u{1b}[2J 1");
    assert_eq!(line["ids"]["workflow_id"], format!("{}…", "w".repeat(200)));
    let ids = [&line["ids"]["execution_id"], &line["ids"]["revision"], &line["ids"]["dry_run"]];
    assert_eq!(ids, [&json!("e1"), &json!(3), &json!(false)]);
    assert!(line["ms"].is_u64() && line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    assert!(!line.to_string().contains("hunter2"), "{line}");
    audit.close().await;
}

#[tokio::test]
async fn denied_refused_failed_and_abandoned_calls_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let audit = started(dir.path(), Mode::All);
    let begin = |tool| audit.begin(&context(), tool, false, &Map::new());

    begin("a").finish(&Err(ToolError::new("forbidden", "no"))).await;
    begin("b").finish(&Err(ToolError::new("unknown_workflow", "no"))).await;
    begin("c").finish(&Err(ToolError::internal("do it", "secret cause"))).await;
    begin("d").unknown().await;
    drop(begin("e"));
    audit.close().await;

    let told: Vec<(String, String)> = lines(dir.path())
        .iter()
        .map(|line| (line["outcome"].as_str().unwrap().to_owned(), line["code"].to_string()))
        .collect();
    let expected = [
        ("denied", "\"forbidden\""),
        ("refused", "\"unknown_workflow\""),
        ("failed", "\"internal\""),
        ("denied", "\"unknown_tool\""),
        ("abandoned", "null"),
    ];
    assert_eq!(told, expected.map(|(outcome, code)| (outcome.to_owned(), code.to_owned())));
}

#[tokio::test]
async fn with_changes_only_reading_calls_are_left_out_unless_they_were_denied() {
    let dir = tempfile::tempdir().unwrap();
    let audit = started(dir.path(), Mode::Changes);
    let begin = |tool, changes| audit.begin(&context(), tool, changes, &Map::new());

    begin("reads", false).finish(&reply(json!({}))).await;
    begin("misread", false).finish(&Err(ToolError::new("unknown_workflow", "no"))).await;
    begin("spied", false).finish(&Err(ToolError::new("forbidden", "no"))).await;
    begin("changes", true).finish(&reply(json!({}))).await;
    audit.close().await;

    let tools: Vec<Value> = lines(dir.path()).iter().map(|line| line["tool"].clone()).collect();
    assert_eq!(tools, ["spied", "changes"]);
}

#[tokio::test]
async fn those_who_are_kept_out_cannot_fill_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let audit = started(dir.path(), Mode::All);
    let session = context().session;
    let denial =
        Denial { code: "unauthorized", reason: "no token", path: Some("/mcp"), caller: None };

    for _ in 0..5_000 {
        audit.denied(&session, denial);
    }
    audit.close().await;

    let lines = lines(dir.path());
    let suppressed = audit.0.as_ref().unwrap().suppressed.load(Ordering::Relaxed);
    let told: u64 = lines.iter().filter_map(|line| line["suppressed"].as_u64()).sum();
    assert!(lines.len() >= 600 && lines.len() < 3_000, "{}", lines.len());
    assert_eq!(lines.len() as u64 + told + suppressed, 5_000);
    assert_eq!((&lines[0]["code"], &lines[0]["path"]), (&json!("unauthorized"), &json!("/mcp")));
}

#[tokio::test]
async fn a_log_that_cannot_be_written_says_so_counts_and_goes_on_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit");
    std::fs::write(&path, "").unwrap();
    let audit = started(&path, Mode::All);

    for _ in 0..2 {
        audit.begin(&context(), "lost", true, &Map::new()).finish(&reply(json!({}))).await;
    }
    let trouble = audit.trouble().unwrap();
    std::fs::remove_file(&path).unwrap();
    audit.begin(&context(), "kept", true, &Map::new()).finish(&reply(json!({}))).await;

    assert!(trouble.contains("cannot be written") && trouble.contains("audit"), "{trouble}");
    let lines = lines(&path);
    assert_eq!((&lines[0]["event"], &lines[0]["suppressed"]), (&json!("lost"), &json!(2)));
    assert_eq!(lines[1]["tool"], "kept");
    assert_eq!(audit.trouble(), None);
    audit.close().await;
}

#[tokio::test]
async fn a_log_that_is_off_makes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let audit = started(dir.path(), Mode::Off);

    audit.begin(&context(), "any", true, &Map::new()).finish(&reply(json!({}))).await;
    audit.close().await;

    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
