//! One connection that calls, over each transport, by the libraries that clients use beneath: hyper, tungstenite, lines
//! on a socket or a pipe. It holds every answer to the call it belongs to.

use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use futures::{SinkExt, StreamExt};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// The eras of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    Older,
    Newer,
}

impl Era {
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Older => "2025-11-25",
            Self::Newer => "2026-07-28",
        }
    }
}

/// How calls travel.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    Stdio,
    Http { address: SocketAddr },
    WebSocket { address: SocketAddr },
    Tcp { address: SocketAddr },
}

impl Way {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::Http { .. } => "http",
            Self::WebSocket { .. } => "websocket",
            Self::Tcp { .. } => "tcp",
        }
    }
}

/// A tool to call.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) arguments: Value,
}

/// What a good answer consists of; the rest is skipped.
#[derive(Deserialize)]
struct Answer {
    id: u64,
    result: Option<CallResult>,
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallResult {
    #[serde(default)]
    is_error: bool,
    #[serde(default)]
    structured_content: Option<IgnoredAny>,
}

/// Reads an answer: its id, or what is wrong with it.
fn id_of(answer: &[u8]) -> Result<u64, String> {
    let shown = || String::from_utf8_lossy(answer).chars().take(300).collect::<String>();
    let read: Answer =
        serde_json::from_slice(answer).map_err(|error| format!("{error}: {}", shown()))?;
    match (read.result, read.error) {
        (Some(result), None) if !result.is_error && result.structured_content.is_some() => {
            Ok(read.id)
        }
        _ => Err(format!("a bad answer: {}", shown())),
    }
}

enum Channel {
    Lines {
        read: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
        write: Box<dyn AsyncWrite + Send + Unpin>,
    },
    WebSocket(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
    Http {
        sender: SendRequest<Body>,
        address: SocketAddr,
        session: Option<String>,
    },
}

/// One connection, greeted.
pub(crate) struct Caller {
    channel: Channel,
    era: Era,
    next: u64,
}

impl Caller {
    /// Connects and greets.
    pub(crate) async fn connect(way: &Way, era: Era) -> Result<Self, String> {
        let channel = match way {
            Way::Stdio => return Err("standard input is not connected to".to_owned()),
            Way::Tcp { address } => {
                let stream = open(*address).await?;
                let (read, write) = stream.into_split();
                Channel::Lines { read: BufReader::new(Box::new(read)), write: Box::new(write) }
            }
            Way::WebSocket { address } => {
                let mut request =
                    format!("ws://{address}/ws").into_client_request().map_err(text)?;
                let protocol = "mcp".parse().map_err(text)?;
                request.headers_mut().insert("sec-websocket-protocol", protocol);
                let (socket, _) = connect_async(request).await.map_err(text)?;
                if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
                    stream.set_nodelay(true).map_err(text)?;
                }
                Channel::WebSocket(Box::new(socket))
            }
            Way::Http { address } => {
                let stream = open(*address).await?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(text)?;
                tokio::spawn(connection);
                Channel::Http { sender, address: *address, session: None }
            }
        };
        Self::greeted(channel, era).await
    }

    /// Greets over a pair of pipes.
    pub(crate) async fn over_pipes(
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, String> {
        let read = BufReader::new(Box::new(read) as Box<dyn AsyncRead + Send + Unpin>);
        let channel = Channel::Lines { read, write: Box::new(write) };
        Self::greeted(channel, Era::Older).await
    }

    async fn greeted(channel: Channel, era: Era) -> Result<Self, String> {
        let mut caller = Self { channel, era, next: 1 };
        if era == Era::Older {
            let hello = json!({"protocolVersion": era.version(), "capabilities": {},
                               "clientInfo": {"name": "bench", "version": "1"}});
            let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello});
            let answer = caller.exchange("initialize", "", hello.to_string()).await?;
            if !String::from_utf8_lossy(&answer).contains("serverInfo") {
                return Err(format!("no greeting: {}", String::from_utf8_lossy(&answer)));
            }
            let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            caller.tell("notifications/initialized", ready.to_string()).await?;
        }
        Ok(caller)
    }

    /// Says whether the server gave this connection a session.
    pub(crate) fn has_session(&self) -> bool {
        match &self.channel {
            Channel::Http { session, .. } => session.is_some(),
            Channel::Lines { .. } | Channel::WebSocket(_) => true,
        }
    }

    /// Calls once and waits for the answer.
    pub(crate) async fn call(&mut self, tool: &Tool) -> Result<(), String> {
        let id = self.next;
        let message = self.message(tool);
        let answer = self.exchange("tools/call", &tool.name, message).await?;
        match id_of(&answer)? {
            found if found == id => Ok(()),
            found => Err(format!("call {id} was answered as {found}")),
        }
    }

    /// Writes the next call down.
    fn message(&mut self, tool: &Tool) -> String {
        let id = self.next;
        self.next += 1;
        let mut params = json!({"name": tool.name, "arguments": tool.arguments});
        if self.era == Era::Newer {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.era.version(),
                "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()
    }

    /// Sends the next call, where answers come by themselves; returns its id.
    pub(crate) async fn send(&mut self, tool: &Tool) -> Result<u64, String> {
        let id = self.next;
        let message = self.message(tool);
        self.tell("tools/call", message).await?;
        Ok(id)
    }

    /// Waits for the next answer, where answers come by themselves; returns its id.
    pub(crate) async fn answered(&mut self) -> Result<u64, String> {
        id_of(&self.hear().await?)
    }

    async fn tell(&mut self, method: &str, message: String) -> Result<(), String> {
        match &mut self.channel {
            Channel::Lines { write, .. } => {
                let mut line = message.into_bytes();
                line.push(b'\n');
                write.write_all(&line).await.map_err(text)?;
                write.flush().await.map_err(text)
            }
            Channel::WebSocket(socket) => socket.send(Message::text(message)).await.map_err(text),
            Channel::Http { .. } => self.post(method, "", message).await.map(drop),
        }
    }

    async fn exchange(
        &mut self,
        method: &str,
        name: &str,
        message: String,
    ) -> Result<Vec<u8>, String> {
        if matches!(self.channel, Channel::Http { .. }) {
            return self.post(method, name, message).await;
        }
        self.tell(method, message).await?;
        self.hear().await
    }

    async fn hear(&mut self) -> Result<Vec<u8>, String> {
        loop {
            let heard = match &mut self.channel {
                Channel::Lines { read, .. } => {
                    let mut line = Vec::new();
                    if read.read_until(b'\n', &mut line).await.map_err(text)? == 0 {
                        return Err("the server hung up".to_owned());
                    }
                    line
                }
                Channel::WebSocket(socket) => match socket.next().await {
                    Some(Ok(Message::Text(text))) => text.as_bytes().to_vec(),
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Err(text(error)),
                    None => return Err("the server hung up".to_owned()),
                },
                Channel::Http { .. } => {
                    return Err("answers over HTTP belong to a request".to_owned());
                }
            };
            // Servers may notify beside answers, of lists that changed for one.
            if heard.starts_with(b"{\"jsonrpc\":\"2.0\",\"method\"")
                || heard.starts_with(b"{\"method\"")
            {
                continue;
            }
            return Ok(heard);
        }
    }

    async fn post(&mut self, method: &str, name: &str, message: String) -> Result<Vec<u8>, String> {
        let Channel::Http { sender, address, session } = &mut self.channel else {
            return Err("only HTTP posts".to_owned());
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri("/mcp")
            .header("host", address.to_string())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", self.era.version());
        if let Some(session) = session {
            request = request.header("mcp-session-id", &*session);
        }
        if self.era == Era::Newer {
            request = request.header("mcp-method", method).header("mcp-name", name);
        }
        let request = request.body(Body::from(message)).map_err(text)?;
        sender.ready().await.map_err(text)?;
        let answer = sender.send_request(request).await.map_err(text)?;
        let status = answer.status();
        let opened = answer.headers().get("mcp-session-id").and_then(|id| id.to_str().ok());
        if session.is_none() {
            *session = opened.map(str::to_owned);
        }
        let is_stream = answer
            .headers()
            .get("content-type")
            .is_some_and(|form| form.as_bytes().starts_with(b"text/event-stream"));
        let body = to_bytes(Body::new(answer.into_body()), ANSWER_MAX).await.map_err(text)?;
        if !status.is_success() {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
        }
        if !is_stream {
            return Ok(body.to_vec());
        }
        let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let mut data = lines.filter_map(|line| line.strip_prefix(b"data:")).map(<[u8]>::trim_ascii);
        let last = data.rfind(|data| !data.is_empty());
        last.map(<[u8]>::to_vec).ok_or_else(|| "a stream without an answer".to_owned())
    }
}

async fn open(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).await.map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    Ok(stream)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
