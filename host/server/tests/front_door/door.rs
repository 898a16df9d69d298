//! Opens a front door on a free port with a few small tools behind it, and clients that speak to it in raw bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use caelum_workflow::audit::Audit;
use caelum_workflow::http::health::{Health, HealthCheck, HealthStatus};
use caelum_workflow::listen::{Front, Listener, Options};
use caelum_workflow::mcp::error::ToolError;
use caelum_workflow::mcp::tool::{Annotations, Answer, Call, Tool, tool};
use caelum_workflow::mcp::toolset::{Limits, Toolset};
use caelum_workflow::port_registry::PortRegistry;
use caelum_workflow::trust::token::Tokens;
use caelum_workflow::trust::{Policy, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The largest sum that the tool `add` of these tests gives: the largest whole number that every client keeps exact.
pub(crate) const SUM_MAX: i64 = (1 << 53) - 1;

/// How long a test waits for what must happen; far above what it takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// Adds two numbers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Add {
    /// The first number.
    a: i64,
    /// The second number, from 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    b: Option<i64>,
    /// How to write the sum.
    #[serde(default)]
    #[expect(dead_code, reason = "only its schema matters")]
    style: Option<Style>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Style {
    /// In digits.
    Digits,
    /// In words.
    Words,
}

#[derive(Serialize, JsonSchema)]
struct Sum {
    /// The sum.
    sum: i64,
    /// Never there.
    nothing: Option<String>,
}

impl Answer for Sum {
    fn text(&self) -> String {
        format!("the sum is {}", self.sum)
    }
}

/// Takes no arguments.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Serialize, JsonSchema)]
struct Said {
    /// What there is to say.
    said: String,
}

impl Answer for Said {
    fn text(&self) -> String {
        self.said.clone()
    }
}

#[derive(Serialize, JsonSchema)]
struct Who {
    /// The scope.
    scope: String,
    /// The proof.
    proof: String,
    /// The protocol version.
    protocol: String,
    /// The client's name.
    client: String,
}

impl Answer for Who {}

/// Answers with so many bytes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Big {
    /// How many.
    bytes: usize,
}

/// Lets a test see into the tools and hold them back.
pub(crate) struct Probe {
    /// A permit for each `slow` call that has begun.
    pub(crate) begun: Semaphore,
    /// A `slow` call ends when it gets a permit of these.
    pub(crate) may_end: Semaphore,
    /// A permit for each `slow` call that was cancelled.
    pub(crate) cancelled: Semaphore,
}

impl Probe {
    /// Waits until a `slow` call has begun.
    pub(crate) async fn wait_begun(&self) {
        soon("a slow call to begin", self.begun.acquire()).await.unwrap().forget();
    }

    /// Waits until a `slow` call was cancelled.
    pub(crate) async fn wait_cancelled(&self) {
        soon("a slow call to be cancelled", self.cancelled.acquire()).await.unwrap().forget();
    }
}

fn tools(probe: &Arc<Probe>) -> Vec<Tool> {
    let slow = Arc::clone(probe);
    let stubborn = Arc::clone(probe);
    vec![
        tool("add", "Add", Annotations::READS, |_call: Call, add: Add| async move {
            let sum = add.a + add.b.unwrap_or(0);
            let sum = (sum <= SUM_MAX).then_some(sum).ok_or_else(|| {
                ToolError::new("overflow", "the sum is too large")
                    .hint("add smaller numbers")
                    .next_call("add {\"a\": 1}")
            })?;
            Ok(Sum { sum, nothing: None })
        }),
        tool("boom", "Boom", Annotations::READS, |_call: Call, _: Nothing| async move {
            if std::env::var_os("CAELUM_TEST_THAT_IS_NEVER_SET").is_none() {
                panic!("a tool broke");
            }
            Ok(Said { said: "not reached".to_owned() })
        }),
        tool("slow", "Slow", Annotations::READS, move |call: Call, _: Nothing| {
            let probe = Arc::clone(&slow);
            async move {
                probe.begun.add_permits(1);
                call.progress.report(1.0, Some(2.0), "half way").await;
                tokio::select! {
                    permit = probe.may_end.acquire() => permit.unwrap().forget(),
                    () = call.cancel.cancelled() => {
                        probe.cancelled.add_permits(1);
                        return Err(ToolError::new("cancelled", "the call was cancelled"));
                    }
                }
                call.progress.report(2.0, Some(2.0), "done").await;
                Ok(Said { said: "slow is done".to_owned() })
            }
        }),
        tool("stubborn", "Stubborn", Annotations::ACTS, move |_call: Call, _: Nothing| {
            let probe = Arc::clone(&stubborn);
            async move {
                probe.begun.add_permits(1);
                probe.may_end.acquire().await.unwrap().forget();
                Ok(Said { said: "stubborn is done".to_owned() })
            }
        })
        .description("Does not look at its cancellation.")
        .deadline(Duration::from_millis(300)),
        tool("note", "Note", Annotations::ADDS, |_call: Call, _: Nothing| async move {
            Ok(Said { said: "noted".to_owned() })
        }),
        tool("reset", "Reset", Annotations::CHANGES, |_call: Call, _: Nothing| async move {
            Ok(Said { said: "reset".to_owned() })
        })
        .requires(Scope::Admin),
        tool("big", "Big", Annotations::READS, |_call: Call, big: Big| async move {
            Ok(Said { said: "x".repeat(big.bytes) })
        })
        .answer_max(4096, "ask for fewer `bytes`"),
        tool("whoami", "Who am I", Annotations::READS, |call: Call, _: Nothing| async move {
            Ok(Who {
                scope: call.caller.scope.to_string(),
                proof: format!("{:?}", call.caller.proof),
                protocol: call.protocol_version.clone(),
                client: call.client.map(|client| client.name).unwrap_or_default(),
            })
        }),
    ]
}

/// What a test may change before the door opens.
pub(crate) struct Plan {
    pub(crate) options: Options,
    pub(crate) calls: Limits,
    pub(crate) audit: Audit,
    pub(crate) read_only: bool,
    pub(crate) health: HealthCheck,
    pub(crate) routes: axum::Router,
}

/// An open door.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) probe: Arc<Probe>,
    pub(crate) toolset: Arc<Toolset>,
    pub(crate) gauges: caelum_workflow::listen::Gauges,
    pub(crate) shutdown: CancellationToken,
    pub(crate) served: JoinHandle<()>,
}

/// Builds the tools alone.
pub(crate) fn toolset(calls: Limits, read_only: bool, audit: Audit) -> (Arc<Toolset>, Arc<Probe>) {
    let probe = Arc::new(Probe {
        begun: Semaphore::new(0),
        may_end: Semaphore::new(0),
        cancelled: Semaphore::new(0),
    });
    let toolset = Toolset::new(tools(&probe), "Call `add` to add.", calls)
        .expect("the tools fit")
        .read_only(read_only)
        .audited(audit);
    (Arc::new(toolset), probe)
}

pub(crate) fn well() -> HealthCheck {
    Arc::new(|| {
        Box::pin(async {
            let mut detail = Map::new();
            detail.insert("secret_detail".to_owned(), json!(7));
            Health { status: HealthStatus::Healthy, detail }
        })
    })
}

pub(crate) fn policy(tokens: Tokens) -> Policy {
    Policy { tokens, allow_unauthenticated: false }
}

/// Opens a door on a free port of the loopback.
pub(crate) async fn open() -> Door {
    open_with(|_| {}).await
}

/// Opens a door after the test has changed the plan.
pub(crate) async fn open_with(change: impl FnOnce(&mut Plan)) -> Door {
    let address = "127.0.0.1:0".parse().unwrap();
    let mut plan = Plan {
        options: Options::new(address, PortRegistry::bundled(), policy(Tokens::none())),
        calls: Limits::default(),
        audit: Audit::off(),
        read_only: false,
        health: well(),
        routes: axum::Router::new(),
    };
    change(&mut plan);
    let (toolset, probe) = toolset(plan.calls, plan.read_only, plan.audit);
    let listener = Listener::bind(plan.options).expect("the port opens");
    let address = listener.local_addr();
    let gauges = listener.gauges();
    let shutdown = CancellationToken::new();
    let front = Front::new(Arc::clone(&toolset), plan.health).mount(plan.routes, ["/extra"]);
    let served = tokio::spawn(listener.serve(front, shutdown.clone()));
    Door { address, probe, toolset, gauges, shutdown, served }
}

impl Door {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Connects for lines of JSON.
    pub(crate) async fn lines(&self) -> Lines {
        Lines::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// Connects for lines of JSON and agrees on the newest protocol that knows `initialize`.
    pub(crate) async fn session(&self) -> Lines {
        let mut lines = self.lines().await;
        lines.initialize("2025-11-25").await;
        lines
    }

    /// Sends raw bytes and returns everything that comes back until the server closes.
    pub(crate) async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may close before it has read everything.
        stream.write_all(bytes).await.ok();
        let mut answer = Vec::new();
        soon("the server to close", stream.read_to_end(&mut answer)).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Posts one message of the 2026-07-28 protocol.
    pub(crate) async fn post(&self, message: Value) -> reqwest::Response {
        modern(client().post(self.url("/mcp")), &message).send().await.unwrap()
    }

    /// Stops the server and waits until it is gone.
    pub(crate) async fn close(self) {
        self.shutdown.cancel();
        soon("the server to stop", self.served).await.unwrap();
    }
}

/// Returns an HTTP client that speaks to the loopback without a proxy.
pub(crate) fn client() -> reqwest::Client {
    // Several tests may come here first; one of them wins.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

/// Adds what the 2026-07-28 protocol wants in the headers.
pub(crate) fn modern(request: reqwest::RequestBuilder, message: &Value) -> reqwest::RequestBuilder {
    let mut request = request
        .header("Accept", "application/json, text/event-stream")
        .header("Content-Type", "application/json")
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", message["method"].as_str().unwrap_or_default());
    if let Some(name) = message["params"]["name"].as_str() {
        request = request.header("Mcp-Name", name);
    }
    request.body(message.to_string())
}

/// The `_meta` every request of the 2026-07-28 protocol carries.
pub(crate) fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    })
}

/// A call of the older protocols.
pub(crate) fn call(id: u64, tool: &str, arguments: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

/// A call of the 2026-07-28 protocol.
pub(crate) fn modern_call(id: u64, tool: &str, arguments: Value) -> Value {
    let mut message = call(id, tool, arguments);
    message["params"]["_meta"] = meta();
    message
}

/// The first text of a tool's result.
pub(crate) fn text(response: &Value) -> &str {
    response["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("no text in {response}"))
}

/// A client that speaks lines of JSON.
pub(crate) struct Lines {
    stream: BufReader<TcpStream>,
}

impl Lines {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends bytes to a server that may be gone.
    pub(crate) async fn try_send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_bytes(format!("{message}\n").as_bytes()).await;
    }

    /// Returns the next message, or nothing when the server has closed.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let count = soon("a line", self.stream.read_line(&mut line)).await.unwrap_or(0);
        (count > 0)
            .then(|| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    pub(crate) async fn receive(&mut self) -> Value {
        self.next().await.expect("the server closed the connection")
    }

    pub(crate) async fn ask(&mut self, message: &Value) -> Value {
        self.send(message).await;
        self.receive().await
    }

    pub(crate) async fn initialize(&mut self, version: &str) -> Value {
        let answer = self
            .ask(&json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {
                "protocolVersion": version,
                "capabilities": {},
                "clientInfo": {"name": "raw", "version": "1"},
            }}))
            .await;
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        answer
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }
}
