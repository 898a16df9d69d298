//! One GET: status, headers, the beginning of the body.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use reqwest::{Client, Response, Url};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{NoAnswer, millis};

/// How long a connection is kept for the next probe.
const IDLE: Duration = Duration::from_secs(5);

/// Builds the client: no redirects, no proxies, no cookies.
pub(super) fn client() -> Result<Client, reqwest::Error> {
    // Whoever comes first installs it; a provider that is there already does the same work.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let builder = || {
        Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_idle_timeout(IDLE)
            .user_agent(concat!("caelum-workflow/", env!("CARGO_PKG_VERSION")))
    };
    builder().build().or_else(|error| {
        // A machine without certificates of authorities can still ask by plain HTTP; by TLS it trusts nobody.
        tracing::warn!(error = chain(&error), "https probes will fail: no authorities are known");
        builder().tls_certs_only([]).build()
    })
}

pub(super) async fn fetch(
    client: &Client,
    url: &str,
    headers: &BTreeMap<String, String>,
    bytes_max: usize,
) -> Result<Value, NoAnswer> {
    let (parsed, headers) =
        checked(url, headers).map_err(|error| NoAnswer::new("invalid", error))?;
    let begun = Instant::now();
    let response = client
        .get(parsed)
        .headers(headers)
        .send()
        .await
        .map_err(|error| NoAnswer::new(code(&error), chain(&error)))?;
    let status = response.status().as_u16();
    let shown = shown(response.headers());
    let body = read(response, bytes_max).await;
    let mut answer = json!({
        "url": url,
        "status": status,
        "headers": shown,
        "body": String::from_utf8_lossy(&body.bytes),
        "body_bytes": body.bytes.len(),
        "body_truncated": body.truncated,
        "duration_ms": millis(begun.elapsed()),
    });
    if let Some(error) = body.error {
        answer["body_error"] = error.into();
    }
    Ok(answer)
}

fn checked(url: &str, headers: &BTreeMap<String, String>) -> Result<(Url, HeaderMap), String> {
    let parsed = Url::parse(url)
        .map_err(|error| format!("`{}` is not a URL: {error}", url.escape_debug()))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(format!("`{}` is no URL for this; expected http or https", url.escape_debug()));
    }
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let shown = name.escape_debug();
        let name =
            HeaderName::try_from(name).map_err(|_| format!("`{shown}` is not a header name"))?;
        let value = HeaderValue::try_from(value).map_err(|_| {
            format!("the value of the header `{shown}` has characters that are not allowed")
        })?;
        map.append(name, value);
    }
    Ok((parsed, map))
}

struct Body {
    bytes: Vec<u8>,
    truncated: bool,
    error: Option<String>,
}

async fn read(mut response: Response, bytes_max: usize) -> Body {
    let mut body = Body { bytes: Vec::new(), truncated: false, error: None };
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = bytes_max - body.bytes.len();
                body.bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    body.truncated = true;
                    return body;
                }
            }
            Ok(None) => return body,
            Err(error) => {
                body.truncated = true;
                body.error = Some(chain(&error));
                return body;
            }
        }
    }
}

fn shown(headers: &HeaderMap) -> Map<String, Value> {
    let mut shown = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|value| match name == SET_COOKIE {
                true => "(withheld)".into(),
                false => String::from_utf8_lossy(value.as_bytes()),
            })
            .collect();
        shown.insert(name.as_str().to_owned(), values.join(", ").into());
    }
    shown
}

/// Classifies a failure by what lies at its bottom: the client's own classes do not tell these apart.
fn code(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        return "timeout";
    }
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return "tls";
        }
        if error.to_string().contains("dns error") {
            return "unreachable";
        }
        let io = error.downcast_ref::<io::Error>();
        match io.map(io::Error::kind) {
            Some(ErrorKind::ConnectionRefused) => return "refused",
            Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => {
                return "unreachable";
            }
            Some(ErrorKind::TimedOut) => return "timeout",
            _ => {}
        }
        // What an I/O error wraps is no source of it.
        let wrapped = io.and_then(io::Error::get_ref).map(|inner| inner as &(dyn Error + 'static));
        cause = wrapped.or_else(|| error.source());
    }
    "io"
}

/// Writes an error with everything beneath it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = cause.source();
    }
    text
}
