//! Another user of the same machine at the port: refused without a token, served with one, and in the audit log by the
//! kernel's word on who it was.

use std::process::Stdio;

use caelum_tests::{Server, soon};
use serde_json::{Value, json};

use crate::home;

/// A user that is neither root nor anybody with files on this machine.
const STRANGER: u32 = 65_534;

/// Says that a test did nothing, and why.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(reason: &str) {
    eprintln!("SKIPPED: another user at the port: {reason}");
}

/// Returns why no process of another user can be started here; nothing where it can.
async fn hindrance() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can start a process of another user".to_owned());
    }
    let id = STRANGER.to_string();
    let mut probe = tokio::process::Command::new("setpriv");
    probe.args(["--reuid", &id, "--regid", &id, "--clear-groups", "bash", "-c", "id -u"]);
    match soon("setpriv to end", probe.current_dir("/").stdin(Stdio::null()).output()).await {
        Ok(output) if String::from_utf8_lossy(&output.stdout).trim() == id => None,
        Ok(output) => Some(format!("setpriv: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Some(format!("setpriv cannot be started: {error}")),
    }
}

/// Sends bytes from a process of the other user and returns what comes back until the server closes.
async fn as_stranger(server: &Server, bytes: &str) -> String {
    let id = STRANGER.to_string();
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; printf '%s' \"$1\" >&3; cat <&3",
        server.address().port()
    );
    let mut command = tokio::process::Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "bash", "-c", &script]);
    command.args(["bash", bytes]).current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    let output = soon("the stranger to be answered", command.output()).await;
    String::from_utf8_lossy(&output.expect("setpriv was there a moment ago").stdout).into_owned()
}

/// Returns a request over HTTP that the server answers and then hangs up.
fn http(path: &str, method: &str, headers: &str, body: &Value) -> String {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json, text/event-stream\r\n\
         Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// Returns a call of the newer era, as a request over HTTP.
fn call(tool: &str, arguments: Value, headers: &str) -> String {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": tool, "arguments": arguments, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "stranger", "version": "1"}}}});
    let headers = format!(
        "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {tool}\r\n{headers}"
    );
    http("/mcp", "POST", &headers, &body)
}

#[tokio::test]
async fn another_user_is_refused_without_a_token_and_served_with_one() {
    if let Some(reason) = hindrance().await {
        return skipped(&reason);
    }
    let home = home();
    let reader = "reader-0123456789abcdef0123456789abcdef";
    let mut command = home.command();
    command.args(["serve", "--port", "0"]).env("CAELUM_WORKFLOW_READ_TOKEN", reader);
    let server = Server::start(command).await;
    let bearer = format!("Authorization: Bearer {reader}\r\n");
    let listing = || json!({"limit": 5});

    // Given no token, nothing but the brief health is told on any transport.
    let health = as_stranger(&server, &http("/health", "GET", "", &Value::Null)).await;
    let refused = as_stranger(&server, &call("list_workflows", listing(), "")).await;
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let websocket = as_stranger(&server, &http("/ws", "GET", upgrade, &Value::Null)).await;
    let metrics = as_stranger(&server, &http("/metrics", "GET", "", &Value::Null)).await;
    let figures = as_stranger(&server, &http("/api/metrics", "GET", "", &Value::Null)).await;
    let events = as_stranger(&server, &http("/events", "GET", "", &Value::Null)).await;
    let line = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call",
        "params": {"name": "list_workflows", "arguments": {}}});
    let raw = as_stranger(&server, &format!("{line}\n")).await;
    // With one, what its scope allows and nothing more.
    let served = as_stranger(&server, &call("list_workflows", listing(), &bearer)).await;
    let beyond = json!({"workflow_id": "mine", "steps": []});
    let beyond = as_stranger(&server, &call("create_workflow", beyond, &bearer)).await;
    let scraped = as_stranger(&server, &http("/metrics", "GET", &bearer, &Value::Null)).await;
    server.stop().await;

    assert!(health.starts_with("HTTP/1.1 200") && !health.contains("uptime_s"), "{health}");
    for answer in [&refused, &websocket, &metrics, &figures, &events] {
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    assert!(raw.contains("-32001") && raw.contains("raw TCP carries no token"), "{raw}");
    assert!(served.starts_with("HTTP/1.1 200") && served.contains("\"workflows\""), "{served}");
    assert!(beyond.contains("forbidden") && beyond.contains("needs the scope `write`"), "{beyond}");
    assert!(scraped.starts_with("HTTP/1.1 200"), "{scraped}");

    let log = std::fs::read_to_string(home.data().join("audit/audit.jsonl")).expect("a log");
    assert!(!log.contains(reader), "a token is in the log");
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |event: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["event"] == event).collect()
    };
    let (denied, calls) = (of("denied"), of("call"));
    assert_eq!(denied.len(), 6, "{denied:#?}");
    assert!(denied.iter().all(|line| line["uid"] == STRANGER), "{denied:#?}");
    let told: Vec<(&Value, &Value)> =
        calls.iter().map(|line| (&line["tool"], &line["outcome"])).collect();
    assert_eq!(
        told,
        [(&json!("list_workflows"), &json!("ok")), (&json!("create_workflow"), &json!("denied")),]
    );
    for line in calls {
        assert_eq!((&line["uid"], &line["token"]), (&json!(STRANGER), &json!("read_token")));
    }
}

#[tokio::test]
async fn another_user_cannot_open_what_lies_in_the_data_directory() {
    if let Some(reason) = hindrance().await {
        return skipped(&reason);
    }
    let home = home();
    let server = home.serve().await;
    let id = STRANGER.to_string();

    for name in ["token", "server.sock", "caelum.db", "audit/audit.jsonl"] {
        let path = home.data().join(name);
        assert!(path.exists(), "`{name}` is not there");
        let mut command = tokio::process::Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "bash", "-c"]);
        command.args(["test -r \"$1\" || test -w \"$1\"", "bash"]).arg(&path);
        let status = soon("the stranger's look", command.current_dir("/").status()).await;
        assert!(!status.expect("it starts").success(), "`{name}` is open to others");
    }
    server.stop().await;
}
