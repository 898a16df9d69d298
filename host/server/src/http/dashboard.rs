//! `GET /`: the dashboard, a page that is an MCP client of this server. What it is made of is embedded and holds no
//! secret, so it is given to anyone who reaches the port; what it shows is asked for with the reader's own rights.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;

use super::origin::Allowed;
use crate::listen::peer::Peer;

/// One embedded file.
struct Asset {
    path: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

/// Everything the page is made of; `dist` is built by `make dashboard`.
const ASSETS: &[Asset] = &[
    Asset {
        path: "/",
        media_type: "text/html; charset=utf-8",
        bytes: include_bytes!("../../dashboard/index.html"),
    },
    Asset {
        path: "/dashboard.js",
        media_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../dashboard/dist/dashboard.js"),
    },
    Asset {
        path: "/dashboard.css",
        media_type: "text/css; charset=utf-8",
        bytes: include_bytes!("../../dashboard/dist/dashboard.css"),
    },
    Asset {
        path: "/dashboard.svg",
        media_type: "image/svg+xml",
        bytes: include_bytes!("../../dashboard/dashboard.svg"),
    },
];

/// The page loads nothing from elsewhere, sends nothing elsewhere, and stands in nobody's frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Returns the routes. Host and origin are checked, the caller is not.
pub(super) fn routes(allowed: Arc<Allowed>) -> Router {
    let mut router = Router::new();
    for asset in ASSETS {
        let tag = tag(asset.bytes);
        router = router.route(
            asset.path,
            get(move |headers: HeaderMap| async move { serve(asset, &tag, &headers) }),
        );
    }
    router.layer(middleware::from_fn_with_state(allowed, our_own))
}

/// Lets a request through when it names this server: a page that reached it by a name of its own is not shown its face.
async fn our_own(State(allowed): State<Arc<Allowed>>, request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    match allowed.check(request.headers(), peer.local()) {
        Ok(()) => next.run(request).await,
        Err(foreign) => foreign.into_response(),
    }
}

fn serve(asset: &Asset, tag: &HeaderValue, headers: &HeaderMap) -> Response {
    let about = [
        (ETAG, tag.clone()),
        // Asked for each time, sent only when it changed: the page always fits the server.
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    if headers.get(IF_NONE_MATCH) == Some(tag) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, [(CONTENT_TYPE, asset.media_type)], asset.bytes).into_response()
}

fn tag(bytes: &[u8]) -> HeaderValue {
    let mut tag = String::from("\"");
    for byte in &Sha256::digest(bytes)[..16] {
        // Writing into a string does not fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))
}
