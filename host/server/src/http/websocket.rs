//! `/ws`: MCP over WebSocket, one JSON-RPC message for each text frame, subprotocol `mcp`. No specification blesses it;
//! the official SDKs of several years speak it this way.

use std::future::ready;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures::{SinkExt, StreamExt};
use http::StatusCode;
use http::header::{HeaderValue, UPGRADE};
use tokio_util::sync::CancellationToken;

use super::answer::refusal;
use crate::listen::peer::Peer;
use crate::mcp::connection::{self, Connection, Incoming, Limits, Outgoing};
use crate::mcp::handler::Handler;
use crate::mcp::session::{Session, Transport};
use crate::trust::Caller;

/// The subprotocol; it is echoed when a client asks for it, because browsers and Node insist.
const SUBPROTOCOL: &str = "mcp";

/// How much longer than the limit a frame may be and still be answered with an error; beyond that the connection ends.
const FRAME_SLACK_BYTES: usize = 64 * 1024;

/// How much is read from a connection at once, in bytes; 16 KiB. The library's own 128 KiB would be what most of an idle
/// connection's memory goes to, and messages that are longer are read in several turns.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// The WebSocket close codes of RFC 6455 that are used here.
const UNSUPPORTED_DATA: u16 = 1003;
const MESSAGE_TOO_BIG: u16 = 1009;

/// The state of the route.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) handler: Handler,
    pub(super) limits: Limits,
    pub(super) drained: CancellationToken,
}

/// Answers the handshake and serves the connection in a task of its own.
pub(super) async fn serve(
    State(endpoint): State<Endpoint>,
    Extension(peer): Extension<Peer>,
    Extension(caller): Extension<Caller>,
    Extension(session): Extension<Session>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            let message = format!("this is no WebSocket handshake: {rejection}");
            let mut response = refusal(
                StatusCode::UPGRADE_REQUIRED,
                "upgrade_required",
                message,
                "connect with a WebSocket client",
            );
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            return response;
        }
    };
    let max = endpoint.limits.message_max_bytes + FRAME_SLACK_BYTES;
    upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(max)
        .max_frame_size(max)
        .read_buffer_size(READ_BUFFER_BYTES)
        .on_failed_upgrade(
            |error| tracing::debug!(%error, "a WebSocket handshake was not completed"),
        )
        .on_upgrade(move |socket| async move {
            run(socket, endpoint, caller, session).await;
            // Gives back the connection's place.
            drop(peer);
        })
}

async fn run(socket: WebSocket, endpoint: Endpoint, caller: Caller, session: Session) {
    let max = endpoint.limits.message_max_bytes;
    let (sink, stream) = socket.split();
    let incoming = stream.filter_map(move |frame| {
        ready(match frame {
            Ok(Message::Text(text)) if text.len() > max => Some(Incoming::TooLong),
            Ok(Message::Text(text)) => Some(Incoming::Message(Bytes::from(text))),
            Ok(Message::Binary(_)) => Some(Incoming::Unsupported {
                code: UNSUPPORTED_DATA,
                reason: "MCP is text, one message a frame",
            }),
            // The library answers pings and close frames by itself.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => None,
            Err(error) if error.to_string().contains("too long") => Some(Incoming::Unsupported {
                code: MESSAGE_TOO_BIG,
                reason: "the message is too long",
            }),
            // The stream ends after an error.
            Err(_) => None,
        })
    });
    let outgoing = sink.with(|item: Outgoing| {
        ready(match item {
            Outgoing::Message(bytes) => {
                Utf8Bytes::try_from(bytes).map(Message::Text).map_err(axum::Error::new)
            }
            Outgoing::Ping => Ok(Message::Ping(Bytes::new())),
            Outgoing::Close { code, reason } => Ok(Message::Close(Some(CloseFrame {
                code,
                reason: Utf8Bytes::from_static(reason),
            }))),
        })
    });
    let connection = Connection::new(incoming, outgoing, endpoint.limits, true);
    let handler = endpoint.handler.for_connection(caller, session.over(Transport::WebSocket));
    connection::serve(handler, connection, endpoint.drained).await;
}
