//! A little HTTP service that is down until a test says otherwise: its port is taken, so that nobody else can have it,
//! and refuses connections.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// A little HTTP service. What it answers, and whether it answers, is the test's to say.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    socket: Option<TcpSocket>,
    answer: Arc<Mutex<(u16, String)>>,
}

impl Service {
    /// Takes a free port and does not answer there yet.
    pub fn down() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("the loopback has a port");
        let address = socket.local_addr().expect("a bound socket has an address");
        Self { address, socket: Some(socket), answer: Arc::new(Mutex::new((200, String::new()))) }
    }

    /// Returns a URL on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Begins to answer, or answers otherwise from now on.
    pub fn up(&mut self, status: u16, body: &str) {
        *self.answer.lock().expect("nobody breaks off while holding it") =
            (status, body.to_owned());
        if let Some(socket) = self.socket.take() {
            let listener = socket.listen(16).expect("a bound socket can listen");
            tokio::spawn(serve(listener, Arc::clone(&self.answer)));
        }
    }
}

async fn serve(listener: TcpListener, answer: Arc<Mutex<(u16, String)>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (status, body) = answer.lock().expect("nobody breaks off while holding it").clone();
        tokio::spawn(async move {
            // One request a connection; its end is an empty line, for a GET has no body.
            let mut request = Vec::new();
            let mut piece = [0; 1024];
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                match stream.read(&mut piece).await {
                    Ok(count) if count > 0 => request.extend_from_slice(&piece[..count]),
                    _ => return,
                }
            }
            let head = format!(
                "HTTP/1.1 {status} Test\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            // Who asked may be gone.
            stream.write_all(format!("{head}{body}").as_bytes()).await.ok();
        });
    }
}
