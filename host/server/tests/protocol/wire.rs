//! A client that speaks the bare wire: it sees every message as it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use caelum_workflow::mcp::stdio::{Options, serve_streams};
use caelum_workflow::mcp::toolset::Toolset;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf,
};
use tokio_util::sync::CancellationToken;

use crate::Era;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub(crate) struct Wire {
    era: Era,
    name: String,
    capabilities: Value,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    output: WriteHalf<DuplexStream>,
    // Messages that came while another was waited for.
    inbox: VecDeque<Value>,
    last_id: u64,
    /// What the server said of itself, to a client of the older era.
    pub(crate) hello: Value,
}

impl Wire {
    pub(crate) async fn open(
        toolset: &Arc<Toolset>,
        era: Era,
        name: &str,
        capabilities: Value,
    ) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (read, write) = tokio::io::split(theirs);
        let serving = serve_streams(
            Arc::clone(toolset),
            read,
            write,
            Options::default(),
            CancellationToken::new(),
        );
        tokio::spawn(serving);
        let (input, output) = tokio::io::split(ours);
        let mut wire = Self {
            era,
            name: name.to_owned(),
            capabilities: capabilities.clone(),
            lines: BufReader::new(input).lines(),
            output,
            inbox: VecDeque::new(),
            last_id: 0,
            hello: Value::Null,
        };
        if era == Era::Older {
            let client = json!({"name": name, "version": "1"});
            let hello = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities,
                               "clientInfo": client});
            wire.hello = wire.ok("initialize", hello).await;
            wire.write(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        }
        wire
    }

    pub(crate) async fn write(&mut self, message: Value) {
        let line = format!("{message}\n");
        self.output.write_all(line.as_bytes()).await.expect("the server reads");
    }

    /// Sends a request and returns its id.
    pub(crate) async fn send(&mut self, method: &str, mut params: Value) -> u64 {
        if self.era == Era::Newer {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            params["_meta"]["io.modelcontextprotocol/clientInfo"] =
                json!({"name": self.name, "version": "1"});
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
                self.capabilities.clone();
        }
        self.last_id += 1;
        let id = self.last_id;
        self.write(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        id
    }

    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line())
            .await
            .expect("a message in time")
            .expect("the connection holds")
            .expect("the server does not hang up");
        serde_json::from_str(&line).expect("every line is JSON")
    }

    /// Waits for the first message that fits; others are kept.
    pub(crate) async fn wait(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(index) = self.inbox.iter().position(&fits) {
            return self.inbox.remove(index).expect("it was just there");
        }
        loop {
            let message = self.next().await;
            if fits(&message) {
                return message;
            }
            self.inbox.push_back(message);
        }
    }

    /// Drops what has come so far and was not waited for.
    pub(crate) async fn forget(&mut self) {
        self.inbox.clear();
        while !self.is_silent(Duration::ZERO).await {}
    }

    /// Says that nothing came for so long.
    pub(crate) async fn is_silent(&mut self, quiet: Duration) -> bool {
        self.inbox.is_empty() && tokio::time::timeout(quiet, self.lines.next_line()).await.is_err()
    }

    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        self.wait(|message| message["id"] == id && message.get("method").is_none()).await
    }

    /// Waits for a notification, or for a request of the server's own.
    pub(crate) async fn heard(&mut self, method: &str) -> Value {
        self.wait(|message| message["method"] == method).await
    }

    /// Returns the messages that came beside what was waited for.
    pub(crate) fn beside(&self) -> impl Iterator<Item = &Value> {
        self.inbox.iter()
    }

    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        self.answer(id).await
    }

    pub(crate) async fn ok(&mut self, method: &str, params: Value) -> Value {
        let mut answer = self.request(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer:#}");
        answer["result"].take()
    }

    pub(crate) async fn refused(&mut self, method: &str, params: Value) -> (i64, String) {
        let answer = self.request(method, params).await;
        let error = &answer["error"];
        assert!(error.is_object(), "{method}: {answer:#}");
        let message = error["message"].as_str().unwrap_or_default().to_owned();
        (error["code"].as_i64().unwrap_or_default(), message)
    }

    /// Calls a tool and returns its whole result.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ok("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// Calls a tool and returns its structured answer.
    pub(crate) async fn tool(&mut self, tool: &str, arguments: Value) -> Value {
        let mut result = self.call(tool, arguments).await;
        assert_ne!(result["isError"], true, "{tool}: {result:#}");
        result["structuredContent"].take()
    }

    /// Makes a workflow and starts it; returns the execution's id.
    pub(crate) async fn start(&mut self, id: &str, steps: Value) -> String {
        self.tool("create_workflow", json!({"workflow_id": id, "steps": steps})).await;
        let started = self.tool("execute_workflow", json!({"workflow_id": id})).await;
        started["execution_id"].as_str().expect("an id").to_owned()
    }
}
