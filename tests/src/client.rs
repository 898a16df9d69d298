//! An MCP client of the official SDK that holds every answer to the schema its tool has promised.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use jsonschema::Validator;
use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientConfig, Implementation, ProtocolVersion, Tool,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RunningService, ServiceError};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;

use crate::server::Log;
use crate::{PATIENCE, soon};

/// Which era of the protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// With `initialize`: 2025-11-25.
    Initialize,
    /// Without it, every request by itself: 2026-07-28.
    Stateless,
}

impl Era {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::Initialize, Self::Stateless];

    fn lifecycle(self) -> ClientLifecycleMode {
        match self {
            Self::Initialize => ClientLifecycleMode::Initialize,
            Self::Stateless => {
                ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::LATEST] }
            }
        }
    }
}

/// The name that tests give of themselves; it is who does things where a call does not say.
const NAME: &str = "journeys";

/// A connected client. Cheap to clone; the connection closes with the last clone.
#[derive(Debug, Clone)]
pub struct Client(Arc<Connected>);

#[derive(Debug)]
struct Connected {
    service: RunningService<RoleClient, ClientConfig>,
    tools: Vec<Tool>,
    outputs: BTreeMap<String, Validator>,
    log: Option<Log>,
}

impl Client {
    /// Starts a server on its standard input and output, and connects to it.
    pub async fn over_stdio(mut command: Command, era: Era) -> Self {
        // The transport sets up input and output; the log is ours to read.
        command.stderr(Stdio::piped());
        let command = tokio::process::Command::from(command);
        let (transport, log) = TokioChildProcess::builder(command)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = log.expect("standard error is a pipe").into_owned_fd();
        let log = Log::of(std::fs::File::from(log.expect("a pipe can be taken over")));
        Self::connect(transport, era, Some(log)).await
    }

    /// Connects over raw TCP.
    pub async fn over_tcp(address: SocketAddr, era: Era) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a connected socket has options");
        let (read, write) = stream.into_split();
        Self::connect(AsyncRwTransport::new_client(read, write), era, None).await
    }

    /// Connects over streamable HTTP.
    pub async fn over_http(url: &str, era: Era) -> Self {
        let config = StreamableHttpClientTransportConfig::with_uri(url);
        let transport = StreamableHttpClientTransport::with_client(http_client(), config);
        Self::connect(transport, era, None).await
    }

    async fn connect<T, E, A>(transport: T, era: Era, log: Option<Log>) -> Self
    where
        T: rmcp::transport::IntoTransport<RoleClient, E, A>,
        E: std::error::Error + Send + Sync + 'static,
    {
        let mut info = ClientConfig::default();
        info.client_info = Implementation::new(NAME, "1");
        info.protocol_version = ProtocolVersion::LATEST_WITH_INITIALIZE;
        // Boxed, because the handshake of every transport and era is one large future.
        let serving = Box::pin(info.serve_with_lifecycle(transport, era.lifecycle()));
        let service = soon("the server to greet", serving).await.unwrap_or_else(|error| {
            let log = log.as_ref().map(Log::text).unwrap_or_default();
            panic!("the client does not connect: {error}\n{log}")
        });
        let listed = soon("the list of tools", service.list_all_tools()).await;
        let tools = listed.expect("tools are listed");
        let outputs = tools
            .iter()
            .map(|tool| {
                let schema = tool.output_schema.as_ref().expect("every tool has an output schema");
                let schema = Value::Object((**schema).clone());
                let validator = jsonschema::validator_for(&schema)
                    .unwrap_or_else(|error| panic!("{}: {error}", tool.name));
                (tool.name.to_string(), validator)
            })
            .collect();
        Self(Arc::new(Connected { service, tools, outputs, log }))
    }

    /// Returns the tools as they were listed.
    pub fn tools(&self) -> &[Tool] {
        &self.0.tools
    }

    /// Returns what the server has logged, where this client has started it.
    pub fn log(&self) -> String {
        self.0.log.as_ref().map(Log::text).unwrap_or_default()
    }

    /// Calls a tool and returns the result as it came, without looking at it; an error is one of the protocol or of
    /// the connection.
    pub async fn call_raw(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
    ) -> Result<CallToolResult, ServiceError> {
        let request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        soon(&format!("`{tool}` to answer"), self.0.service.call_tool(request)).await
    }

    /// Calls a tool: its structured answer, or the text of its error. Every answer is checked: a good one has text and
    /// fits the output schema, a bad one has text and nothing else.
    ///
    /// # Panics
    ///
    /// When the answer is not what was promised, or when the protocol or the connection fails.
    pub async fn call(&self, tool: &str, arguments: Value) -> Result<Value, String> {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        let shown = short(&Value::Object(arguments.clone()));
        let result = self.call_raw(tool, arguments).await.unwrap_or_else(|error| {
            panic!("`{tool}` {shown}: {error}\n{}", self.log());
        });
        let text = result
            .content
            .first()
            .and_then(|block| block.as_text())
            .map(|text| text.text.clone())
            .unwrap_or_default();
        assert!(!text.trim().is_empty(), "`{tool}` {shown}: an answer without text");
        if result.is_error == Some(true) {
            assert_eq!(result.structured_content, None, "`{tool}` {shown}: an error with content");
            return Err(text);
        }
        let structured = result.structured_content.unwrap_or_else(|| {
            panic!("`{tool}` {shown}: an answer without structured content");
        });
        let validator = self.0.outputs.get(tool).expect("only tools that are listed answer");
        let faults: Vec<String> = validator
            .iter_errors(&structured)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(faults.is_empty(), "`{tool}` {shown}: {}\n{structured:#}", faults.join("\n"));
        Ok(structured)
    }

    /// Calls a tool that must succeed.
    pub async fn ok(&self, tool: &str, arguments: Value) -> Value {
        let shown = short(&arguments);
        self.call(tool, arguments)
            .await
            .unwrap_or_else(|text| panic!("`{tool}` {shown} was refused:\n{text}\n{}", self.log()))
    }

    /// Calls a tool that must refuse, and returns why.
    pub async fn refused(&self, tool: &str, arguments: Value) -> String {
        let shown = short(&arguments);
        match self.call(tool, arguments).await {
            Ok(answer) => panic!("`{tool}` {shown} was not refused:\n{answer:#}"),
            Err(text) => text,
        }
    }

    /// Creates a workflow of these steps.
    pub async fn create(&self, workflow_id: &str, steps: Value) -> Value {
        self.ok("create_workflow", json!({"workflow_id": workflow_id, "steps": steps})).await
    }

    /// Starts an execution and returns its id.
    pub async fn execute(&self, workflow_id: &str) -> String {
        self.execute_with(json!({"workflow_id": workflow_id})).await
    }

    /// Starts an execution with all arguments given, and returns its id.
    pub async fn execute_with(&self, arguments: Value) -> String {
        let started = self.ok("execute_workflow", arguments).await;
        started["execution_id"].as_str().expect("an execution has an id").to_owned()
    }

    /// Returns where an execution stands.
    pub async fn status(&self, execution_id: &str) -> Value {
        self.ok("get_workflow_status", json!({"execution_id": execution_id})).await
    }

    /// Waits until an execution has ended or waits for somebody, and returns where it stands.
    pub async fn settled(&self, execution_id: &str) -> Value {
        self.wait_for(execution_id, "to settle", |status| status["status"] != "executing").await
    }

    /// Waits until an execution has ended in the given way, and returns where it stands.
    ///
    /// # Panics
    ///
    /// When it ends in another way.
    pub async fn ended(&self, execution_id: &str, wanted: &str) -> Value {
        let is_final = |status: &Value| {
            ["completed", "failed", "cancelled"].contains(&status["status"].as_str().unwrap_or(""))
        };
        let status = self.wait_for(execution_id, "to end", is_final).await;
        assert_eq!(status["status"], wanted, "{status:#}\n{}", self.log());
        status
    }

    /// Polls an execution, each time as long as its events are the same, until it stands as wanted.
    pub async fn wait_for(
        &self,
        execution_id: &str,
        what: &str,
        stands: impl Fn(&Value) -> bool,
    ) -> Value {
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut status = self.status(execution_id).await;
        while !stands(&status) {
            assert!(
                tokio::time::Instant::now() < end,
                "waited {PATIENCE:?} for an execution {what}:\n{status:#}\n{}",
                self.log()
            );
            let arguments = json!({
                "execution_id": execution_id,
                "wait_s": 5,
                "after_event": status["event_count"],
            });
            status = self.ok("get_workflow_status", arguments).await;
        }
        status
    }

    /// Closes the connection in order, if this is its last clone.
    pub async fn close(self) {
        if let Ok(connected) = Arc::try_unwrap(self.0) {
            soon("the connection to close", connected.service.cancel()).await.ok();
        }
    }
}

/// Returns an HTTP client that speaks to the loopback without a proxy.
pub fn http_client() -> reqwest::Client {
    // Several tests may come here first; one of them wins.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().no_proxy().build().expect("a plain client can be built")
}

/// Writes arguments for a message.
fn short(arguments: &Value) -> String {
    let text = arguments.to_string();
    match text.char_indices().nth(400) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
