//! Takes connections from the port, gives each a place, and sends it the way its first byte says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::peer::Peer;
use super::{Shared, raw};
use crate::mcp::message::{AT_LIMIT, Refusal};
use crate::mcp::session::{Origin, Transport};

/// How long to rest when the operating system has no more file descriptors; long enough for some to come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections over the limit are told so at once; the rest are closed without a word.
const TURNED_AWAY_MAX: usize = 16;

/// How long a connection over the limit may take to show what it speaks and to read the refusal.
const TURN_AWAY_TIME: Duration = Duration::from_secs(1);

/// When the kernel begins to ask whether a silent peer is still there, and how often.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    Http,
    Lines,
}

/// Accepts until the server stops.
pub(super) async fn run(
    listener: TcpListener,
    places: Arc<Semaphore>,
    shared: &Arc<Shared>,
    tasks: &TaskTracker,
) {
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.shutdown.cancelled() => return,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::select! {
                    () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                    () = shared.shutdown.cancelled() => return,
                }
            }
        };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                let shared = Arc::clone(shared);
                let tracker = tasks.clone();
                tasks.spawn(async move {
                    if let Err(error) = serve(stream, remote, place, &shared, &tracker).await {
                        tracing::debug!(%error, "connection ended");
                    }
                });
            }
            Err(_) => {
                tracing::warn!(
                    max = shared.limits.connections_max,
                    "a connection was turned away: too many are open"
                );
                if let Ok(turn) = Arc::clone(&turned_away).try_acquire_owned() {
                    let max = shared.limits.connections_max;
                    tasks.spawn(async move {
                        let _turn = turn;
                        tokio::time::timeout(TURN_AWAY_TIME, turn_away(stream, max)).await.ok();
                    });
                }
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    remote: SocketAddr,
    place: OwnedSemaphorePermit,
    shared: &Arc<Shared>,
    tasks: &TaskTracker,
) -> std::io::Result<()> {
    // Without this, an answer waits up to 40 ms for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
    rustix::net::sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
    rustix::net::sockopt::set_tcp_keepintvl(&stream, KEEPALIVE)?;
    let local = stream.local_addr()?;
    let speech = tokio::select! {
        speech = tokio::time::timeout(shared.limits.first_byte_timeout, listen_for(&stream)) => speech,
        () = shared.shutdown.cancelled() => return Ok(()),
    };
    let Ok(speech) = speech else {
        tracing::debug!(%remote, "connection closed: it said nothing");
        return Ok(());
    };
    let session = shared.handler.toolset().session(Origin {
        transport: Transport::Http,
        remote: Some(remote),
        uid: None,
    });
    let peer = Peer::new(remote, local, Arc::clone(&shared.policy), session, place, tasks.token());
    match speech? {
        Some(Speech::Lines) => raw::serve(stream, peer, shared).await,
        Some(Speech::Http) => http(stream, peer, shared).await,
        None => Ok(()),
    }
}

/// Looks at the first byte without taking it; `None` when the peer left without a word.
async fn listen_for(stream: &TcpStream) -> std::io::Result<Option<Speech>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    Ok(Some(match first[0] {
        // The beginnings of JSON text; 0xEF is that of a byte order mark. A method of HTTP begins with a letter.
        b'{' | b'[' | b'"' | b' ' | b'\t' | b'\r' | b'\n' | 0xEF => Speech::Lines,
        _ => Speech::Http,
    }))
}

async fn http(stream: TcpStream, peer: Peer, shared: &Arc<Shared>) -> std::io::Result<()> {
    let router = shared.router.clone();
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.request_head_timeout)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = Box::pin(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shared.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = shared.cut.cancelled() => Ok(()),
            }
        }
    };
    ended.map_err(std::io::Error::other)
}

/// Tells a connection over the limit, in its own tongue, and closes it.
async fn turn_away(mut stream: TcpStream, max: usize) -> std::io::Result<()> {
    let reason =
        format!("the server has {max} connections open, which is the most it may; try again later");
    let mut answer = Refusal::new(AT_LIMIT, reason).to_json();
    answer.push(b'\n');
    match listen_for(&stream).await? {
        Some(Speech::Lines) => stream.write_all(&answer).await?,
        Some(Speech::Http) => {
            let head = format!(
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n",
                answer.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&answer).await?;
        }
        None => {}
    }
    stream.shutdown().await?;
    // What the peer was still sending is taken from it, or the kernel would throw our answer away with the connection.
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}
