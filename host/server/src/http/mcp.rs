//! `/mcp`: MCP over streamable HTTP, in both eras. rmcp speaks the protocol; what it leaves open is done here: bodies of
//! bounded size and time, answers in JSON-RPC for what is no message, a bound on sessions.
//!
//! A simple call is answered as one JSON document, and as a stream of events only where the tool reports progress or the
//! client has a session of the older protocol: one document is almost twice as fast and no client stumbles over it.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, SessionConfig};
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use crate::listen::Limits;
use crate::mcp::handler::Handler;
use crate::mcp::message::{self, AT_LIMIT, Refusal};
use crate::mcp::session::Admission;

/// How many times the body limit is read and thrown away before a body that is too large is cut off: a client that is
/// still sending would not see the answer.
const DISCARD_FACTOR: usize = 4;

/// The state of the route.
#[derive(Clone)]
pub(super) struct Endpoint {
    service: StreamableHttpService<Handler, LocalSessionManager>,
    sessions: Arc<LocalSessionManager>,
    sessions_max: usize,
    body_max_bytes: usize,
    body_timeout: Duration,
}

impl Endpoint {
    pub(super) fn new(handler: Handler, limits: &Limits, cut: CancellationToken) -> Self {
        let mut sessions = LocalSessionManager::default();
        let mut config = SessionConfig::default();
        config.keep_alive = Some(limits.session_idle_timeout);
        config.init_timeout = limits.connection.initialize_timeout;
        sessions.session_config = config;
        let sessions = Arc::new(sessions);
        // Host and origin were checked before a request comes here.
        let config = StreamableHttpServerConfig::default()
            .disable_allowed_hosts()
            .disable_allowed_origins()
            .with_json_response(true)
            .with_max_request_body_bytes(limits.request_body_max_bytes)
            .with_cancellation_token(cut);
        let service = StreamableHttpService::new(
            move || Ok(handler.for_session()),
            Arc::clone(&sessions),
            config,
        );
        Self {
            service,
            sessions,
            sessions_max: limits.sessions_max,
            body_max_bytes: limits.request_body_max_bytes,
            body_timeout: limits.request_body_timeout,
        }
    }
}

/// Answers one request.
pub(super) async fn serve(
    State(endpoint): State<Endpoint>,
    Extension(admission): Extension<Admission>,
    request: Request,
) -> Response {
    if request.method() != Method::POST {
        return endpoint.service.handle(request).await.map(Body::new);
    }
    let (mut head, body) = request.into_parts();
    let read = read_body(&head.headers, body, endpoint.body_max_bytes);
    let bytes = match tokio::time::timeout(endpoint.body_timeout, read).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(Unread::TooLarge)) => {
            return json_rpc(
                StatusCode::PAYLOAD_TOO_LARGE,
                &Refusal::too_long(endpoint.body_max_bytes),
            );
        }
        Ok(Err(Unread::Gone)) => {
            return json_rpc(
                StatusCode::BAD_REQUEST,
                &Refusal::new(
                    rmcp::model::ErrorCode::INVALID_REQUEST.0,
                    "the body ended before it was whole",
                ),
            );
        }
        Err(_) => {
            let seconds = endpoint.body_timeout.as_secs();
            let message = format!("the body did not arrive within {seconds} s");
            return json_rpc(
                StatusCode::REQUEST_TIMEOUT,
                &Refusal::new(rmcp::model::ErrorCode::INVALID_REQUEST.0, message),
            );
        }
    };
    let message = match message::read(&bytes) {
        Ok(message) => message,
        Err(refusal) => return json_rpc(StatusCode::BAD_REQUEST, &refusal),
    };
    if let JsonRpcMessage::Request(request) = &message
        && let Err(early) = admission.admit()
    {
        let refusal = Refusal::too_many(serde_json::to_value(&request.id).ok(), &early);
        let mut response = json_rpc(StatusCode::TOO_MANY_REQUESTS, &refusal);
        response.headers_mut().insert(RETRY_AFTER, early.wait_s().into());
        return response;
    }
    if opens_session(&message)
        && endpoint.sessions.sessions.read().await.len() >= endpoint.sessions_max
    {
        let message = format!(
            "the server has {} sessions open, which is the most it may; try again later, or use protocol 2026-07-28, which needs none",
            endpoint.sessions_max
        );
        let mut response =
            json_rpc(StatusCode::SERVICE_UNAVAILABLE, &Refusal::new(AT_LIMIT, message));
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("30"));
        return response;
    }
    accept_both(&mut head.headers);
    endpoint.service.handle(Request::from_parts(head, Body::from(bytes))).await.map(Body::new)
}

fn opens_session(message: &ClientJsonRpcMessage) -> bool {
    matches!(message, JsonRpcMessage::Request(request) if matches!(request.request, ClientRequest::InitializeRequest(_)))
}

/// A client that takes anything takes both forms of answer; rmcp wants them spelled out.
fn accept_both(headers: &mut HeaderMap) {
    let takes_anything = match headers.get(ACCEPT) {
        None => true,
        Some(accept) => accept.to_str().is_ok_and(|accept| {
            accept
                .split(',')
                .any(|media| media.split(';').next().is_some_and(|media| media.trim() == "*/*"))
        }),
    };
    if takes_anything {
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    }
}

fn json_rpc(status: StatusCode, refusal: &Refusal) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], refusal.to_json()).into_response()
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    TooLarge,
    Gone,
}

async fn read_body(headers: &HeaderMap, body: Body, max: usize) -> Result<Bytes, Unread> {
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let mut kept = Vec::with_capacity(announced.unwrap_or_default().min(max));
    let mut total = 0_usize;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Unread::Gone)?;
        total = total.saturating_add(chunk.len());
        if total <= max {
            kept.extend_from_slice(&chunk);
        } else if total > max.saturating_mul(DISCARD_FACTOR) {
            return Err(Unread::TooLarge);
        } else {
            kept = Vec::new();
        }
    }
    if total > max { Err(Unread::TooLarge) } else { Ok(Bytes::from(kept)) }
}
