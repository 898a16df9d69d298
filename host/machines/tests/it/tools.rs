//! Tools of other MCP servers: a server of a few lines of shell, one behind a socket, and those that do not serve.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use caelum_core::task::{FailureClass, OutcomeStatus, TaskOutcome, TaskSpec, ToolSpec, Work};
use caelum_machines::{Fabric, LocalFabric, MachineOptions, ToolServer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::harness::{code, is_alive, number, open, program, task, until_gone};

/// An MCP server in shell. Its tools: `pid` tells which process answers, `add` fails as a tool, `unknown` is refused,
/// `hang` never answers, `die` ends the server.
const SERVER: &str = r#"
echo "the server begins" >&2
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  answer() { printf '{"jsonrpc":"2.0","id":%s,%s}\n' "$id" "$1"; }
  case "$line" in
    *'"method":"initialize"'*)
      answer '"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"name":"pid"'*)
      answer "\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"hello\"}],\"structuredContent\":{\"pid\":$$,\"secret\":\"${SECRET}\",\"home\":\"${CARGO_MANIFEST_DIR}\"}}" ;;
    *'"name":"line"'*)
      answer '"result":{"content":[{"type":"text","text":"{\"n\": 7}"}]}' ;;
    *'"name":"add"'*)
      answer '"result":{"isError":true,"content":[{"type":"text","text":"one and one is unknown"}]}' ;;
    *'"name":"unknown"'*)
      answer '"error":{"code":-32602,"message":"no such tool"}' ;;
    *'"name":"die"'*) exit 3 ;;
  esac
done
"#;

struct World {
    fabric: Arc<LocalFabric>,
    _places: (TempDir, TempDir),
}

impl World {
    fn new(servers: Vec<(&str, ToolServer)>, options: MachineOptions) -> Self {
        let places = (
            tempfile::tempdir().expect("temporary directory"),
            tempfile::tempdir().expect("temporary directory"),
        );
        let servers: BTreeMap<String, ToolServer> =
            servers.into_iter().map(|(name, server)| (name.to_owned(), server)).collect();
        let fabric = open(places.0.path(), places.1.path(), options).with_tools(servers);
        World { fabric: Arc::new(fabric), _places: places }
    }

    fn shell(line: &str) -> Self {
        Self::new(vec![("sh", stdio(line))], MachineOptions::default())
    }

    async fn run(&self, spec: &TaskSpec, cancel: CancellationToken) -> TaskOutcome {
        self.fabric.run(&spec.key.machine, spec, cancel).await
    }

    async fn call(&self, tool: &str) -> TaskOutcome {
        self.run(&calling("sh", tool), CancellationToken::new()).await
    }
}

fn stdio(line: &str) -> ToolServer {
    ToolServer::Stdio {
        program: "sh".to_owned(),
        args: vec!["-c".to_owned(), line.to_owned()],
        env: BTreeMap::from([("SECRET".to_owned(), "given".to_owned())]),
    }
}

fn calling(server: &str, tool: &str) -> TaskSpec {
    let mut spec = task(program("unused", &[]));
    spec.work = Work::Tool(ToolSpec {
        server: server.to_owned(),
        tool: tool.to_owned(),
        arguments: json!({"a": 1}).as_object().cloned().unwrap_or_default(),
    });
    spec
}

fn message(outcome: &TaskOutcome) -> String {
    outcome.failure.clone().expect("it failed").message
}

fn class(outcome: &TaskOutcome) -> FailureClass {
    outcome.failure.clone().expect("it failed").class
}

#[tokio::test]
async fn a_tool_answers_over_one_connection_that_is_kept() {
    let world = World::shell(SERVER);

    let first = world.call("pid").await;
    let second = world.call("pid").await;
    let line = world.call("line").await;

    assert_eq!(first.status, OutcomeStatus::Succeeded, "{:?}", first.failure);
    assert_eq!(first.stdout.text, "hello\n");
    assert_eq!(first.outputs["pid"], second.outputs["pid"], "the same process answers");
    assert_eq!(first.outputs["secret"], "given");
    assert_eq!(first.outputs["home"], "", "a server inherits no more than it needs");
    assert_eq!(line.outputs["n"], 7, "without structured content the text is read");
    let pid = number(&first.outputs["pid"].to_string());
    drop(world);
    tokio::task::spawn_blocking(move || until_gone(pid)).await.expect("it ends with its machine");
}

#[tokio::test]
async fn what_a_tool_and_a_server_refuse_is_told_apart() {
    let world = World::shell(SERVER);

    let failed = world.call("add").await;
    let refused = world.call("unknown").await;
    let nobody = world.run(&calling("shh", "pid"), CancellationToken::new()).await;

    assert_eq!((code(&failed), class(&failed)), ("tool_failed", FailureClass::Exit));
    assert_eq!(message(&failed), "`add` of `sh` failed: one and one is unknown");
    assert_eq!((code(&refused), class(&refused)), ("tool_refused", FailureClass::Permanent));
    assert_eq!(message(&refused), "`sh` refused `unknown`: no such tool");
    assert_eq!(code(&nobody), "tool_server_unknown");
    assert_eq!(nobody.failure.expect("refused").hint.as_deref(), Some("did you mean `sh`?"));
}

#[tokio::test]
async fn a_server_that_dies_is_a_failure_and_is_started_again() {
    let world = World::shell(SERVER);
    let before = world.call("pid").await;

    let died = world.call("die").await;
    let after = world.call("pid").await;

    assert_eq!((code(&died), class(&died)), ("tool_server_died", FailureClass::Transient));
    assert!(after.succeeded(), "{:?}", after.failure);
    assert_ne!(before.outputs["pid"], after.outputs["pid"]);
}

#[tokio::test]
async fn a_hung_server_runs_into_the_time_limit_and_is_left_behind() {
    let world = World::shell(SERVER);
    let before = world.call("pid").await;
    let mut hanging = calling("sh", "hang");
    hanging.run_timeout_ms = 200;

    let hung = world.run(&hanging, CancellationToken::new()).await;
    let after = world.call("pid").await;

    assert_eq!(hung.status, OutcomeStatus::TimedOut);
    assert_eq!(message(&hung), "`hang` of `sh` gave no answer within 200 ms");
    assert!(after.succeeded() && before.outputs["pid"] != after.outputs["pid"]);
    let pid = number(&before.outputs["pid"].to_string());
    tokio::task::spawn_blocking(move || until_gone(pid)).await.expect("the hung one is ended");
}

#[tokio::test]
async fn a_cancelled_call_ends_at_once_and_harms_no_other() {
    let world = World::shell(SERVER);
    let before = world.call("pid").await;
    let cancel = CancellationToken::new();
    cancel.cancel();

    let cancelled = world.run(&calling("sh", "hang"), cancel).await;
    let after = world.call("pid").await;

    assert_eq!(cancelled.status, OutcomeStatus::Cancelled);
    assert_eq!(before.outputs["pid"], after.outputs["pid"]);
    assert!(is_alive(number(&after.outputs["pid"].to_string())));
}

#[tokio::test]
async fn a_server_that_does_not_serve_is_named_with_its_last_words() {
    let options = MachineOptions {
        tool_connect_timeout: Duration::from_millis(300),
        ..MachineOptions::default()
    };
    let missing = ToolServer::Stdio {
        program: "no-such-program-anywhere".to_owned(),
        args: vec![],
        env: BTreeMap::new(),
    };
    let world = World::new(
        vec![
            ("missing", missing),
            ("broken", stdio("echo 'no licence found' >&2; exit 1")),
            ("silent", stdio("exec sleep 600")),
            ("noisy", stdio("yes nonsense")),
        ],
        options,
    );
    let call = async |name: &str| world.run(&calling(name, "x"), CancellationToken::new()).await;

    let (missing, broken) = (call("missing").await, call("broken").await);
    let (silent, noisy) = (call("silent").await, call("noisy").await);

    assert_eq!((code(&missing), class(&missing)), ("tool_server_invalid", FailureClass::Permanent));
    assert_eq!(code(&broken), "tool_server_unreachable");
    assert!(message(&broken).ends_with("; it wrote: no licence found"), "{}", message(&broken));
    assert_eq!((code(&silent), class(&silent)), ("tool_server_silent", FailureClass::Transient));
    assert_eq!(class(&noisy), FailureClass::Transient, "{:?}", noisy.failure);
}

/// Serves MCP over streamable HTTP, as far as one tool needs it. Returns its URL.
async fn http_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}/mcp", listener.local_addr().expect("has one"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 64 * 1024];
            let mut length = 0;
            while let Ok(read @ 1..) = stream.read(&mut bytes[length..]).await {
                length += read;
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let head = head.to_lowercase();
                let announced: usize = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                    .unwrap_or(0);
                if body.len() < announced {
                    continue;
                }
                let allowed = head.contains("\r\nx-key: hidden\r\n");
                let request: Value = serde_json::from_str(body).unwrap_or_default();
                let answer = match request["method"].as_str() {
                    _ if !allowed => None,
                    Some("initialize") => Some(json!({
                        "protocolVersion": "2025-06-18",
                        "capabilities": {"tools": {}},
                        "serverInfo": {"name": "http", "version": "1"},
                    })),
                    Some("tools/call") => Some(json!({
                        "content": [],
                        "structuredContent": {"got": request["params"]["arguments"]},
                    })),
                    _ => None,
                };
                let text = match (allowed, answer) {
                    (false, _) => "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned(),
                    (true, None) => "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
                    (true, Some(result)) => {
                        let body = json!({"jsonrpc": "2.0", "id": request["id"], "result": result});
                        let body = body.to_string();
                        format!(
                            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        )
                    }
                };
                let _ = stream.write_all(text.as_bytes()).await;
                break;
            }
            let _ = stream.shutdown().await;
        }
    });
    url
}

#[tokio::test]
async fn a_server_behind_a_url_is_called_with_its_headers_and_tells_no_secret() {
    let url = http_server().await;
    let with = |value: &str| ToolServer::Http {
        url: url.clone(),
        headers: BTreeMap::from([("x-key".to_owned(), value.to_owned())]),
    };
    let servers = vec![("right", with("hidden")), ("wrong", with("guessed"))];
    assert!(!format!("{servers:?}").contains("hidden"), "{servers:?}");
    let world = World::new(servers, MachineOptions::default());

    let right = world.run(&calling("right", "echo"), CancellationToken::new()).await;
    let wrong = world.run(&calling("wrong", "echo"), CancellationToken::new()).await;

    assert!(right.succeeded(), "{:?}", right.failure);
    assert_eq!(right.outputs["got"], json!({"a": 1}));
    assert_eq!(code(&wrong), "tool_server_unreachable");
    assert!(!message(&wrong).contains("guessed"), "{}", message(&wrong));
}
