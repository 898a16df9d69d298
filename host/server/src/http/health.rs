//! `GET` and `POST /health`: whether the server is well, for anyone briefly and for a trusted caller in full.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use futures::future::BoxFuture;
use http::StatusCode;
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::origin::Allowed;
use crate::listen::peer::Peer;
use crate::mcp::handler::SERVER_NAME;

/// How long the server may take to say how it is; a monitor gives up sooner or later, and a server that cannot say is
/// not well.
const CHECK_TIME: Duration = Duration::from_secs(2);

/// How long an answer is given again without asking anew: anyone may ask as often as they like.
const FRESH: Duration = Duration::from_millis(250);

/// How the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthStatus {
    /// Everything works.
    Healthy,
    /// It works, and something needs a look.
    Degraded,
    /// It does not do its work; the answer has status 503.
    Unhealthy,
}

impl HealthStatus {
    /// Returns the word used in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What the server says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// In one word, for anyone.
    pub status: HealthStatus,
    /// In full, for trusted callers; `status`, `service` and `version` are added to it.
    pub detail: Map<String, Value>,
}

/// Asks the server how it is.
pub type HealthCheck = Arc<dyn Fn() -> BoxFuture<'static, Health> + Send + Sync>;

type Recent = Arc<Mutex<Option<(Instant, Health)>>>;

/// Returns the route; it checks host and origin itself, because what fails them still gets the brief answer.
pub(super) fn route(check: HealthCheck, allowed: Arc<Allowed>) -> MethodRouter {
    let recent = Recent::default();
    let answer = move |request: Request| {
        let (check, allowed, recent) =
            (Arc::clone(&check), Arc::clone(&allowed), Arc::clone(&recent));
        let (head, _) = request.into_parts();
        async move { respond(&head, check, &allowed, &recent).await }
    };
    get(answer.clone()).post(answer)
}

async fn respond(head: &Parts, check: HealthCheck, allowed: &Allowed, recent: &Recent) -> Response {
    let health = ask(check, recent).await;
    let status = match health.status {
        HealthStatus::Healthy | HealthStatus::Degraded => StatusCode::OK,
        HealthStatus::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut body = json!({
        "status": health.status.as_str(),
        "service": SERVER_NAME,
        "version": env!("CARGO_PKG_VERSION"),
    });
    if may_see_all(head, allowed).await
        && let Value::Object(body) = &mut body
    {
        for (key, value) in health.detail {
            body.entry(key).or_insert(value);
        }
    }
    (status, Json(body)).into_response()
}

async fn may_see_all(head: &Parts, allowed: &Allowed) -> bool {
    let Some(peer) = head.extensions.get::<Peer>() else { return false };
    allowed.check(&head.headers, peer.local()).is_ok()
        && super::identify(peer, &head.headers).await.is_some()
}

async fn ask(check: HealthCheck, recent: &Recent) -> Health {
    let kept = recent.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    if let Some((at, health)) = kept
        && at.elapsed() < FRESH
    {
        return health;
    }
    // In a task of its own, so that a check that breaks is a finding and not a lost connection.
    let health = match tokio::time::timeout(CHECK_TIME, tokio::spawn(check())).await {
        Ok(Ok(health)) => health,
        Ok(Err(error)) => {
            tracing::error!(%error, "the health check broke off");
            unwell("the health check broke off".to_owned())
        }
        Err(_) => {
            unwell(format!("the health check did not answer within {} s", CHECK_TIME.as_secs()))
        }
    };
    *recent.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) =
        Some((Instant::now(), health.clone()));
    health
}

fn unwell(reason: String) -> Health {
    let mut detail = Map::new();
    detail.insert("reasons".to_owned(), json!([reason]));
    Health { status: HealthStatus::Unhealthy, detail }
}
