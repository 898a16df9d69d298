//! MCP over raw TCP: one JSON-RPC message a line. There is no place for a token in it, so only the server's own user is
//! served; everybody else is told where the token goes.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::bytes::Bytes;

use super::Shared;
use super::peer::Peer;
use crate::audit::Denial;
use crate::mcp::message::{self, Refusal, UNAUTHORIZED};
use crate::mcp::session::Transport;
use crate::mcp::{connection, lines};

/// How much of a stranger's first message is read to find its id, in bytes.
const FIRST_MESSAGE_MAX_BYTES: usize = 64 * 1024;

/// Serves one connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    peer: Peer,
    shared: &Arc<Shared>,
) -> std::io::Result<()> {
    let recognised = peer.recognise().await;
    let session = peer.session().over(Transport::Tcp);
    let Some(caller) = recognised else {
        let reason = "raw TCP carries no token, and this is not the server's own user";
        let denial = Denial { code: "unauthorized", reason, path: None, caller: None };
        shared.handler.toolset().audit().denied(&session, denial);
        return tokio::time::timeout(shared.limits.first_byte_timeout, refuse(stream))
            .await
            .unwrap_or(Ok(()));
    };
    let (read, write) = stream.into_split();
    let connection = lines::connection(Bytes::new(), read, write, shared.limits.connection.clone());
    let handler = shared.handler.for_connection(caller, session);
    connection::serve(handler, connection, shared.drained.clone()).await;
    drop(peer);
    Ok(())
}

async fn refuse(mut stream: TcpStream) -> std::io::Result<()> {
    let mut first = Vec::new();
    let mut chunk = [0; 4096];
    while !first.contains(&b'\n') && first.len() < FIRST_MESSAGE_MAX_BYTES {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            break;
        }
        first.extend_from_slice(&chunk[..count]);
    }
    let line = first
        .split(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty())
        .unwrap_or_default();
    let refusal = Refusal {
        id: message::request_id(line),
        code: UNAUTHORIZED,
        message: "this connection does not come from the server's own user, and raw TCP carries no token; use HTTP \
                  (/mcp) or WebSocket (/ws) on this port with `Authorization: Bearer <token>`"
            .to_owned(),
        retry_after_ms: None,
    };
    let mut answer = refusal.to_json();
    answer.push(b'\n');
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    // Takes what the peer still sends, up to a bound, so that the answer is not thrown away with it.
    let mut rest = stream.take(FIRST_MESSAGE_MAX_BYTES as u64);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}
