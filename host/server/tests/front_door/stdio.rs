//! MCP on byte streams as on standard input and output.

use caelum_workflow::audit::Audit;
use caelum_workflow::mcp::stdio::{Options, serve_streams};
use caelum_workflow::mcp::toolset::Limits;
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::door::{Probe, modern_call, soon, text, toolset};

struct Served {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
    probe: std::sync::Arc<Probe>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

fn serve() -> Served {
    let (toolset, probe) = toolset(Limits::default(), false, Audit::off());
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (read, write) = tokio::io::split(theirs);
    let shutdown = CancellationToken::new();
    let task =
        tokio::spawn(serve_streams(toolset, read, write, Options::default(), shutdown.clone()));
    let (read, write) = tokio::io::split(ours);
    Served { read: BufReader::new(read), write, probe, shutdown, task }
}

impl Served {
    async fn send(&mut self, message: &Value) {
        self.write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let count = soon("a line", self.read.read_line(&mut line)).await.unwrap();
        (count > 0).then(|| serde_json::from_str(&line).unwrap())
    }
}

#[tokio::test]
async fn an_sdk_client_lists_and_calls_as_the_local_user() {
    let served = serve();

    let client = ().serve((served.read.into_inner(), served.write)).await.unwrap();
    let tools = client.list_all_tools().await.unwrap();
    let answer = client.call_tool(CallToolRequestParams::new("whoami")).await.unwrap();

    assert_eq!(tools.len(), 8);
    let who = answer.structured_content.unwrap();
    assert_eq!((&who["proof"], &who["scope"]), (&json!("Stdio"), &json!("admin")));
    client.cancel().await.unwrap();
    soon("the server to end with its input", served.task).await.unwrap();
}

#[tokio::test]
async fn a_call_that_runs_when_the_input_ends_is_still_answered() {
    let mut served = serve();
    served.send(&modern_call(1, "slow", json!({}))).await;
    served.probe.wait_begun().await;

    served.write.shutdown().await.unwrap();
    served.probe.may_end.add_permits(1);
    let answer = served.next().await.unwrap();

    assert_eq!(text(&answer), "slow is done");
    assert_eq!(served.next().await, None);
    soon("the server to end", served.task).await.unwrap();
}

#[tokio::test]
async fn a_call_that_runs_when_the_server_stops_is_still_answered() {
    let mut served = serve();
    served.send(&modern_call(1, "slow", json!({}))).await;
    served.probe.wait_begun().await;

    served.shutdown.cancel();
    served.probe.may_end.add_permits(1);
    let answer = served.next().await.unwrap();

    assert_eq!(text(&answer), "slow is done");
    soon("the server to end", served.task).await.unwrap();
}

#[tokio::test]
async fn what_is_no_json_is_answered_with_a_parse_error() {
    let mut served = serve();

    served.write.write_all(b"hello\n").await.unwrap();
    let answer = served.next().await.unwrap();

    assert_eq!(answer["error"]["code"], -32700);
    served.shutdown.cancel();
    soon("the server to end", served.task).await.unwrap();
}
