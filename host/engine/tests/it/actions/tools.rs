//! Tools of other servers as steps.

use std::collections::BTreeMap;

use caelum_core::task::{FailureClass, ToolSpec};
use caelum_core::workflow::{Action, ExecutionStatus};
use caelum_engine::Engine;
use caelum_machines::ToolServer;
use serde_json::json;

use crate::harness::{Place, failure, run, shell, state, step};

/// An MCP server in shell with two tools: `greet` answers what it was asked with, anything else fails.
pub(crate) const SERVER: &str = r#"
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
  case "$line" in
    *'"method":"initialize"'*)
      answer '{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"name":"greet"'*)
      who=$(printf '%s' "$line" | sed -n 's/.*"who":"\([^"]*\)".*/\1/p')
      answer "{\"content\":[{\"type\":\"text\",\"text\":\"greeted\"}],\"structuredContent\":{\"said\":\"hello $who\"}}" ;;
    *'"method":"tools/call"'*)
      answer '{"isError":true,"content":[{"type":"text","text":"not today"}]}' ;;
  esac
done
"#;

pub(crate) fn calling(
    id: &str,
    dependencies: &[&str],
    tool: &str,
    who: &str,
) -> caelum_core::workflow::Step {
    let arguments = json!({"who": who}).as_object().cloned().unwrap_or_default();
    let call = ToolSpec { server: "sh".to_owned(), tool: tool.to_owned(), arguments };
    step(id, dependencies, Action::Tool(call))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_is_called_with_rendered_arguments_and_hands_its_result_on() {
    let place = Place::new();
    let mut options = place.options();
    let server = ToolServer::Stdio {
        program: "sh".to_owned(),
        args: vec!["-c".to_owned(), SERVER.to_owned()],
        env: BTreeMap::new(),
    };
    options.tool_servers.insert("sh".to_owned(), server);
    let engine = Engine::open(options).await.expect("it opens");
    let steps = vec![
        shell("who", &[], "echo '{\"name\": \"ann\"}'"),
        calling("greet", &["who"], "greet", "{{ steps.who.outputs.name }}"),
        shell("use", &["greet"], "echo it said {{ steps.greet.outputs.said }}"),
    ];

    let ended = run(&engine, "w", steps).await;
    let failed = run(&engine, "v", vec![calling("fail", &[], "other", "ann")]).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    let said = state(&ended, "use").targets[0].outcome.clone().expect("it ran").stdout.text;
    assert_eq!(said, "it said hello ann\n");
    let failure = failure(&failed, "fail");
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Exit, "tool_failed"));
    engine.close().await;
}
