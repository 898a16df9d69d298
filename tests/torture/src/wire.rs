//! A client that takes hanging up for an answer: MCP over raw TCP, one JSON document a line, one call at a time.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// How long an answer may take from a server that lives: far above every freeze.
const PATIENCE: Duration = Duration::from_secs(60);

/// The revision of the protocol that it speaks.
const REVISION: &str = "2025-11-25";

/// What a tool answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A good answer.
    Good(Value),
    /// An error with its text.
    Refused(String),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
    next: u64,
}

impl Wire {
    /// Connects and greets.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut wire = Self { stream: BufReader::new(stream), next: 1 };
        let client = json!({"name": "torture", "version": "1"});
        wire.request(
            "initialize",
            &json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client}),
        )?;
        wire.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(wire)
    }

    /// Calls a tool. An error means that nobody knows whether it was done.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> io::Result<Answer> {
        let answer = self.request("tools/call", &json!({"name": tool, "arguments": arguments}))?;
        if let Some(error) = answer.get("error") {
            return Ok(Answer::Refused(format!("protocol: {error}")));
        }
        let result = &answer["result"];
        if result["isError"] == true {
            let text = result["content"][0]["text"].as_str().unwrap_or_default();
            return Ok(Answer::Refused(text.to_owned()));
        }
        Ok(Answer::Good(result["structuredContent"].clone()))
    }

    fn request(&mut self, method: &str, params: &Value) -> io::Result<Value> {
        let id = self.next;
        self.next += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // A server that was killed in the middle of a line leaves half of it.
            let answer: Value = serde_json::from_str(&line)
                .map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            if answer["id"] == id && answer.get("method").is_none() {
                return Ok(answer);
            }
        }
    }

    fn send(&mut self, message: &Value) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("{message}\n").as_bytes())
    }
}

/// Whether a call failed because nobody answered, on a connection that is open.
pub(crate) fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
