//! A client that sends bytes as they are, over every transport, and hears everything that comes back.

use std::process::Stdio;

use caelum_tests::{Era, Home, Log, Server, http_client, soon};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Stdio,
    Tcp,
    WebSocket,
    Http,
}

/// What came back for one message.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) answers: Vec<Value>,
    /// The server has ended the connection.
    pub(crate) closed: bool,
}

enum Channel {
    Lines {
        read: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
        write: Option<Box<dyn AsyncWrite + Send + Unpin>>,
        child: Option<Box<Child>>,
    },
    WebSocket(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
    Http {
        client: reqwest::Client,
        url: String,
        session: Option<String>,
    },
}

/// One connection, greeted.
pub(crate) struct Link {
    channel: Channel,
    era: Era,
    asked: u64,
    log: Option<Log>,
}

/// Returns what every request of the newer era says of its client.
pub(crate) fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "fuzzing", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

impl Link {
    /// Connects and greets; over standard input and output it starts the program.
    pub(crate) async fn open(
        transport: Transport,
        era: Era,
        home: &Home,
        server: Option<&Server>,
    ) -> Self {
        let address = server.map(Server::address);
        let listening = || address.expect("a server listens");
        let channel = match transport {
            Transport::Stdio => {
                let mut command = tokio::process::Command::from(home.command());
                command.args(["serve", "--stdio"]).kill_on_drop(true);
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut child = command.spawn().expect("the program starts");
                let read = child.stdout.take().expect("a pipe");
                let write = child.stdin.take().expect("a pipe");
                Channel::Lines {
                    read: BufReader::new(Box::new(read)),
                    write: Some(Box::new(write)),
                    child: Some(Box::new(child)),
                }
            }
            Transport::Tcp => {
                let stream = TcpStream::connect(listening()).await.expect("the server listens");
                let (read, write) = stream.into_split();
                Channel::Lines {
                    read: BufReader::new(Box::new(read)),
                    write: Some(Box::new(write)),
                    child: None,
                }
            }
            Transport::WebSocket => {
                let request = format!("ws://{}/ws", listening());
                let mut request = request.into_client_request().expect("a URL");
                request
                    .headers_mut()
                    .insert("sec-websocket-protocol", "mcp".parse().expect("a token"));
                let (socket, _) = connect_async(request).await.expect("the server listens");
                Channel::WebSocket(Box::new(socket))
            }
            Transport::Http => Channel::Http {
                client: http_client(),
                url: format!("http://{}/mcp", listening()),
                session: None,
            },
        };
        let mut link = Self { channel, era, asked: 0, log: None };
        if let Channel::Lines { child: Some(child), .. } = &mut link.channel {
            let error = child.stderr.take().expect("a pipe").into_owned_fd();
            let error = std::fs::File::from(error.expect("a pipe can be taken over"));
            link.log = Some(Log::of(error));
        }
        if era == Era::Initialize {
            let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {},
                               "clientInfo": {"name": "fuzzing", "version": "1"}});
            link.ask("initialize", hello).await;
            let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            link.say(ready.to_string().as_bytes()).await;
        } else {
            // Until then a connection belongs to no era, and a `ping` of the older one is answered.
            link.ask("server/discover", json!({})).await;
        }
        link
    }

    /// Asks what must be answered.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let (id, text) = self.question(method, params);
        let mut heard = Heard::default();
        let said = self.say(text.as_bytes()).await;
        heard.answers.extend(said);
        while !heard.answers.iter().any(|answer| answer["id"] == id) {
            match soon(&format!("an answer to {method}"), self.hear()).await {
                Some(answer) => heard.answers.push(answer),
                None => panic!("the server hung up on {method}"),
            }
        }
        heard.answers.retain(|answer| answer["id"] == id);
        heard.answers.remove(0)
    }

    fn question(&mut self, method: &str, mut params: Value) -> (Value, String) {
        self.asked += 1;
        if self.era == Era::Stateless {
            params["_meta"] = meta();
        }
        let id = json!(format!("asked-{}", self.asked));
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        (id, message.to_string())
    }

    /// Sends bytes, and behind them a plain request: what comes until both are answered is what the bytes have caused.
    /// `id` is the request's in the bytes, where there is one.
    pub(crate) async fn exchange(
        &mut self,
        bytes: &[u8],
        id: Option<Value>,
        shown: &dyn Fn() -> String,
    ) -> Heard {
        let mut heard = Heard { answers: self.say(bytes).await, closed: false };
        let call = json!({"name": "list_machines", "arguments": {}});
        let (probe, text) = self.question("tools/call", call);
        heard.answers.extend(self.say(text.as_bytes()).await);
        let is_in = |heard: &Heard, id: &Value| heard.answers.iter().any(|one| &one["id"] == id);
        while !is_in(&heard, &probe) || id.as_ref().is_some_and(|id| !is_in(&heard, id)) {
            match soon(&format!("an answer; {}", shown()), self.hear()).await {
                Some(answer) => heard.answers.push(answer),
                None => {
                    heard.closed = true;
                    break;
                }
            }
        }
        let answered = heard.answers.iter().find(|answer| answer["id"] == probe);
        let is_good = answered.is_some_and(|answer| answer["result"]["isError"] != true);
        assert!(is_good || heard.closed, "the next request failed: {answered:?}\n{}", shown());
        heard.answers.retain(|answer| answer["id"] != probe);
        heard
    }

    /// Sends bytes; what a transport of requests answers comes back at once.
    async fn say(&mut self, bytes: &[u8]) -> Vec<Value> {
        match &mut self.channel {
            Channel::Lines { write, .. } => {
                let write = write.as_mut().expect("the connection is open");
                // A server that has hung up is noticed where it is listened to.
                drop(write.write_all(&[bytes, b"\n"].concat()).await);
                drop(write.flush().await);
                Vec::new()
            }
            Channel::WebSocket(socket) => {
                let message = match std::str::from_utf8(bytes) {
                    Ok(text) => Message::text(text),
                    Err(_) => Message::binary(bytes.to_vec()),
                };
                drop(socket.send(message).await);
                Vec::new()
            }
            Channel::Http { client, url, session } => {
                let parsed = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
                let mut request = client
                    .post(&*url)
                    .header("content-type", "application/json")
                    .header("accept", "application/json, text/event-stream");
                if self.era == Era::Stateless {
                    request = request.header("mcp-protocol-version", "2026-07-28");
                    let method = parsed["method"].as_str().filter(|text| is_plain(text));
                    if let Some(method) = method {
                        request = request.header("mcp-method", method);
                    }
                    let params = &parsed["params"];
                    let name =
                        ["name", "uri", "taskId"].iter().find_map(|key| params[key].as_str());
                    if let Some(name) = name.filter(|name| is_plain(name)) {
                        request = request.header("mcp-name", name);
                    }
                }
                if let Some(session) = session {
                    request = request.header("mcp-session-id", &*session);
                }
                let request = request.body(bytes.to_vec()).send();
                let answer = soon("an answer over HTTP", request).await.expect("an answer");
                let status = answer.status();
                assert!(!status.is_server_error(), "{status}");
                let head = answer.headers().get("mcp-session-id");
                let opened = head.and_then(|id| id.to_str().ok()).map(str::to_owned);
                if session.is_none() {
                    *session = opened;
                }
                let text = soon("the whole answer", answer.text()).await.expect("a body");
                answers(&text)
            }
        }
    }

    /// Waits for one message; nothing when the server has hung up.
    async fn hear(&mut self) -> Option<Value> {
        match &mut self.channel {
            Channel::Lines { read, .. } => {
                let mut line = String::new();
                match read.read_line(&mut line).await {
                    Ok(0) | Err(_) => None,
                    Ok(_) => Some(serde_json::from_str(&line).expect("every line is JSON")),
                }
            }
            Channel::WebSocket(socket) => loop {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        return Some(serde_json::from_str(&text).expect("every frame is JSON"));
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            },
            Channel::Http { .. } => None,
        }
    }

    /// Closes the connection; where it had started the program, it waits for its end and returns its log.
    pub(crate) async fn close(self) -> String {
        if let Channel::Lines { mut read, write, child: Some(mut child) } = self.channel {
            drop(write);
            let mut rest = Vec::new();
            soon("the last output", read.read_to_end(&mut rest)).await.expect("a pipe");
            let status = soon("the program to end", child.wait()).await.expect("a child");
            assert!(status.success(), "{status:?}");
        }
        self.log.map(|log| log.text()).unwrap_or_default()
    }
}

/// Says whether a text can stand in the head of a request as it is.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
}

/// Reads the body of an answer: nothing, one document, or a stream of events.
fn answers(text: &str) -> Vec<Value> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    if let Ok(answer) = serde_json::from_str(text) {
        return vec![answer];
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
    data.filter(|data| !data.is_empty())
        .map(|data| serde_json::from_str(data).expect("every event is JSON"))
        .collect()
}
