//! The HTTP side of the port: which paths there are, and the checks every request passes before it reaches one. What a
//! path does lives in its room.

mod answer;
pub mod api_metrics;
mod dashboard;
pub mod events;
pub mod health;
mod mcp;
pub mod metrics;
pub mod origin;
mod websocket;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::{HeaderName, Method, StatusCode};
use tokio_util::sync::CancellationToken;

use self::answer::refusal;
use self::health::HealthCheck;
use self::origin::Allowed;
use crate::audit::Denial;
use crate::listen::Limits;
use crate::listen::peer::Peer;
use crate::mcp::handler::Handler;
use crate::mcp::session::Admission;
use crate::mcp::toolset::Toolset;
use crate::trust::Caller;

/// How long the request took, in milliseconds as a plain number: the form the ecosystem's monitor reads.
const RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");

/// The path of MCP; it refuses what comes too early in the words of its own protocol.
const MCP_PATH: &str = "/mcp";

/// The paths that are always there.
const PATHS: &[&str] = &["/", "/health", MCP_PATH, "/ws"];

/// Everything the routes need.
pub(crate) struct Endpoints {
    pub(crate) handler: Handler,
    pub(crate) health: HealthCheck,
    pub(crate) routes: Router,
    pub(crate) paths: Vec<&'static str>,
    pub(crate) allowed: Allowed,
    pub(crate) limits: Limits,
    pub(crate) drained: CancellationToken,
    pub(crate) cut: CancellationToken,
}

/// Builds the router of the port; each request must carry its [`Peer`] among its extensions.
pub(crate) fn router(endpoints: Endpoints) -> Router {
    let Endpoints { handler, health, routes, mut paths, allowed, limits, drained, cut } = endpoints;
    let allowed = Arc::new(allowed);
    paths.extend(PATHS);
    paths.sort_unstable();
    let open = Router::new()
        .route("/health", health::route(health, Arc::clone(&allowed)))
        .merge(dashboard::routes(Arc::clone(&allowed)));
    let gate = Gate { allowed, toolset: Arc::clone(handler.toolset()) };
    let guarded = Router::new()
        .route(
            MCP_PATH,
            any(mcp::serve).with_state(mcp::Endpoint::new(handler.clone(), &limits, cut)),
        )
        .route(
            "/ws",
            get(websocket::serve).with_state(websocket::Endpoint {
                handler,
                limits: limits.connection,
                drained,
            }),
        )
        .merge(routes)
        .layer(middleware::from_fn_with_state(gate, guard));
    let known = paths.join(", ");
    open.merge(guarded)
        .fallback(move |request: Request| {
            let known = known.clone();
            async move {
                let path: String = request.uri().path().chars().take(200).collect();
                refusal(
                    StatusCode::NOT_FOUND,
                    "not_found",
                    format!("there is nothing at `{path}`"),
                    format!("there are {known}"),
                )
            }
        })
        .method_not_allowed_fallback(|request: Request| async move {
            let method = request.method().clone();
            refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("`{}` does not answer {method}", request.uri().path()),
                "the Allow header names what it answers",
            )
        })
        .layer(middleware::from_fn(time))
}

/// What the guarded paths are guarded by.
#[derive(Clone)]
struct Gate {
    allowed: Arc<Allowed>,
    toolset: Arc<Toolset>,
}

impl Gate {
    /// Writes down who was turned away.
    fn deny(&self, peer: &Peer, path: &str, code: &'static str, reason: &str) {
        let denial = Denial { code, reason, path: Some(path), caller: None };
        self.toolset.audit().denied(&peer.session(), denial);
    }
}

/// Lets a request through to the guarded paths when its host, its origin and its caller are right and its caller has not
/// sent too many, in this order.
async fn guard(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().cloned() else {
        return refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the request came without a connection",
            "",
        );
    };
    if let Err(foreign) = gate.allowed.check(request.headers(), peer.local()) {
        tracing::warn!(error = %foreign, path = request.uri().path(), "request refused");
        gate.deny(&peer, request.uri().path(), foreign.code(), &foreign.to_string());
        return foreign.into_response();
    }
    let cross_origin = gate.allowed.cross_origin(request.headers());
    if request.method() == Method::OPTIONS
        && let Some(origin) = &cross_origin
    {
        // A browser asks without credentials before it sends the request itself.
        return origin::preflight(origin);
    }
    let Some(caller) = identify(&peer, request.headers()).await else {
        let shown = request.headers().contains_key(AUTHORIZATION);
        let message = if shown {
            "the token is not one of this server's"
        } else {
            "this connection does not come from the server's own user, so it needs a token"
        };
        gate.deny(&peer, request.uri().path(), "unauthorized", message);
        let mut response = refusal(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            message,
            "send `Authorization: Bearer <token>`",
        );
        response.headers_mut().insert(
            http::header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"caelum-workflow\""),
        );
        return response;
    };
    let session = peer.session();
    let admission = Admission::new(Arc::clone(&gate.toolset), session.clone(), caller);
    let speaks_mcp = request.uri().path() == MCP_PATH && request.method() == Method::POST;
    if !speaks_mcp && let Err(early) = admission.admit() {
        let mut response =
            refusal(StatusCode::TOO_MANY_REQUESTS, "rate_limited", early.to_string(), "");
        response.headers_mut().insert(http::header::RETRY_AFTER, early.wait_s().into());
        return response;
    }
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(session);
    request.extensions_mut().insert(admission);
    let mut response = next.run(request).await;
    if let Some(origin) = cross_origin {
        origin::expose(&mut response, &origin);
    }
    response
}

/// Returns who sends the request: whoever shows a token is taken by it, so that a narrow token narrows; otherwise the
/// kernel's word counts.
async fn identify(peer: &Peer, headers: &HeaderMap) -> Option<Caller> {
    match headers.get(AUTHORIZATION) {
        Some(header) => peer.authorize(header.to_str().ok()?).await,
        None => peer.recognise().await,
    }
}

async fn time(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let mut response = next.run(request).await;
    let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
    if let Ok(value) = HeaderValue::from_str(&format!("{milliseconds:.3}")) {
        response.headers_mut().insert(RESPONSE_TIME, value);
    }
    response
}
