//! What every HTTP request of this machine shares: the client, checked URLs and headers, bounded reading, and names for
//! what goes wrong. Nothing here knows probes or tasks.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use caelum_core::causes::chain;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use reqwest::{Client, Response, Url};
use serde_json::{Map, Value};

/// How long a connection is kept for the next probe.
const IDLE: Duration = Duration::from_secs(5);

/// Builds the client: no redirects, no proxies, no cookies.
pub(crate) fn client() -> Result<Client, reqwest::Error> {
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
        tracing::warn!(error = chain(&error), "https requests will fail: no authorities are known");
        builder().tls_certs_only([]).build()
    })
}

/// Checks a URL and header lines before anything is sent.
pub(crate) fn checked(
    url: &str,
    headers: &BTreeMap<String, String>,
) -> Result<(Url, HeaderMap), String> {
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

/// What was read of a body.
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) truncated: bool,
    /// Why reading broke off.
    pub(crate) error: Option<String>,
}

/// Reads at most `bytes_max` bytes of a body and shows each part to `seen`.
pub(crate) async fn read(
    mut response: Response,
    bytes_max: usize,
    mut seen: impl FnMut(&[u8]),
) -> Body {
    let mut body = Body { bytes: Vec::new(), truncated: false, error: None };
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = bytes_max - body.bytes.len();
                let kept = &chunk[..chunk.len().min(room)];
                seen(kept);
                body.bytes.extend_from_slice(kept);
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

/// Returns the headers of an answer as they may be shown: cookies are withheld.
pub(crate) fn shown(headers: &HeaderMap) -> Map<String, Value> {
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
pub(crate) fn code(error: &reqwest::Error) -> &'static str {
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
