//! Keeps other people's web pages out: the `Host` header against DNS rebinding, the `Origin` header against pages that
//! call this server from a browser of the same user. Programs send no origin and are not concerned by it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HOST, HeaderMap, HeaderValue, ORIGIN,
    VARY,
};
use http::uri::Authority;
use http::{StatusCode, Uri};

use super::answer::refusal;

/// An entry of an allow list that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllowedError {
    /// Not a host.
    #[error(
        "`{entry}` is no host; hint: write `build.example.com` for any port or `build.example.com:8113` for one"
    )]
    Host {
        /// The entry.
        entry: String,
    },
    /// Not an origin.
    #[error(
        "`{entry}` is no origin; hint: write `https://app.example.com`, or `http://localhost:*` for any port"
    )]
    Origin {
        /// The entry.
        entry: String,
    },
}

/// A request from a place that is not allowed to send any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// No `Host` header, or one that is no host.
    NoHost,
    /// The name in `Host` is not one of this server's.
    Host(String),
    /// The page in `Origin` may not call this server.
    Origin(String),
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost => f.write_str("the Host header is missing or is no host"),
            Self::Host(host) => write!(f, "this server is not called `{host}`"),
            Self::Origin(origin) => write!(f, "pages of `{origin}` may not call this server"),
        }
    }
}

impl Foreign {
    /// Returns the word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoHost => "bad_host",
            Self::Host(_) => "foreign_host",
            Self::Origin(_) => "foreign_origin",
        }
    }
}

impl IntoResponse for Foreign {
    fn into_response(self) -> Response {
        let (code, message) = (self.code(), self.to_string());
        match self {
            Self::NoHost => {
                refusal(StatusCode::BAD_REQUEST, code, message, "send `Host: localhost:<port>`")
            }
            Self::Host(_) => refusal(
                StatusCode::FORBIDDEN,
                code,
                message,
                "reach it as localhost or by its address, or add the name to allowed_hosts",
            ),
            Self::Origin(_) => {
                refusal(StatusCode::FORBIDDEN, code, message, "add the origin to allowed_origins")
            }
        }
    }
}

/// A port in an allow list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Any,
    One(u16),
}

impl Port {
    fn fits(self, port: Option<u16>) -> bool {
        match self {
            Self::Any => true,
            Self::One(wanted) => port == Some(wanted),
        }
    }
}

/// An origin as browsers write it: scheme, host, port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// Reads `https://app.example.com:8443`; the port of the scheme is filled in.
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let authority = uri.authority()?;
        if !matches!(uri.path(), "" | "/")
            || uri.query().is_some()
            || authority.as_str().contains('@')
        {
            return None;
        }
        let default = match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        Some(Self { host: plain(authority.host()), port: authority.port_u16().or(default), scheme })
    }
}

/// The hosts under which this server may be reached and the origins that may call it, besides its own.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    hosts: Vec<(String, Port)>,
    origins: Vec<(String, String, Port)>,
}

impl Allowed {
    /// Reads both lists.
    ///
    /// # Errors
    ///
    /// [`AllowedError`] for the first entry that is no host or origin.
    pub fn parse(hosts: &[String], origins: &[String]) -> Result<Self, AllowedError> {
        let mut allowed = Self::default();
        for entry in hosts {
            let authority: Authority =
                entry.trim().parse().map_err(|_| AllowedError::Host { entry: entry.clone() })?;
            if authority.host().is_empty() || authority.as_str().contains('@') {
                return Err(AllowedError::Host { entry: entry.clone() });
            }
            let port = authority.port_u16().map_or(Port::Any, Port::One);
            allowed.hosts.push((plain(authority.host()), port));
        }
        for entry in origins {
            let no_origin = || AllowedError::Origin { entry: entry.clone() };
            let text = entry.trim();
            let (base, any) = text.strip_suffix(":*").map_or((text, false), |base| (base, true));
            let origin = Origin::parse(base).ok_or_else(no_origin)?;
            let port = match (any, origin.port) {
                (true, _) => Port::Any,
                (false, Some(port)) => Port::One(port),
                (false, None) => return Err(no_origin()),
            };
            allowed.origins.push((origin.scheme, origin.host, port));
        }
        Ok(allowed)
    }

    /// Checks the host and the origin of a request that arrived at this end of a connection.
    ///
    /// # Errors
    ///
    /// [`Foreign`], which is also the answer.
    pub fn check(&self, headers: &HeaderMap, local: SocketAddr) -> Result<(), Foreign> {
        let host = host_of(headers).ok_or(Foreign::NoHost)?;
        if !self.is_our_host(&host, local) {
            return Err(Foreign::Host(shown(host.as_str())));
        }
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let text = origin.to_str().unwrap_or("an origin that is no text");
        let parsed = Origin::parse(text);
        // Our own pages carry the host they were loaded from, and that one was just checked.
        let own = parsed.as_ref().is_some_and(|origin| {
            matches!(origin.scheme.as_str(), "http" | "https")
                && origin.host == plain(host.host())
                && origin.port
                    == host.port_u16().or(if origin.scheme == "https" {
                        Some(443)
                    } else {
                        Some(80)
                    })
        });
        if own || parsed.is_some_and(|origin| self.is_listed(&origin)) {
            return Ok(());
        }
        Err(Foreign::Origin(shown(text)))
    }

    /// Returns the origin of a request from a listed page, whose browser wants to be told that it may read the answer.
    pub(super) fn cross_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let parsed = Origin::parse(origin.to_str().ok()?)?;
        self.is_listed(&parsed).then(|| origin.clone())
    }

    fn is_listed(&self, origin: &Origin) -> bool {
        self.origins.iter().any(|(scheme, host, port)| {
            *scheme == origin.scheme && *host == origin.host && port.fits(origin.port)
        })
    }

    fn is_our_host(&self, host: &Authority, local: SocketAddr) -> bool {
        let name = plain(host.host());
        // An address cannot be rebound by a name server; it must be one the request really arrived at.
        if let Ok(ip) = name.parse::<IpAddr>() {
            let ip = ip.to_canonical();
            let arrived = local.ip().to_canonical();
            if ip == arrived || (ip.is_loopback() && arrived.is_loopback()) {
                return true;
            }
        }
        // A name under `localhost` never leaves the machine (RFC 6761).
        name == "localhost"
            || name.ends_with(".localhost")
            || self.hosts.iter().any(|(wanted, port)| *wanted == name && port.fits(host.port_u16()))
    }
}

fn host_of(headers: &HeaderMap) -> Option<Authority> {
    let mut values = headers.get_all(HOST).iter();
    let host = values.next()?.to_str().ok()?;
    // Two hosts are a trick to be checked by one and served by the other.
    if values.next().is_some() {
        return None;
    }
    let authority: Authority = host.parse().ok()?;
    (!authority.as_str().contains('@')).then_some(authority)
}

fn plain(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// Answers a browser that asks whether a listed page may call.
pub(super) fn preflight(origin: &HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, content-type, accept, last-event-id, mcp-session-id, mcp-protocol-version, mcp-method, mcp-name",
        ),
    );
    // Ten minutes: long enough to spare a question for each call, short enough for a change of the list.
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    expose(&mut response, origin);
    response
}

/// Tells a browser that a listed page may read the answer.
pub(super) fn expose(response: &mut Response, origin: &HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("mcp-session-id, x-response-time"),
    );
    headers.append(VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        headers
    }

    fn check(allowed: &Allowed, host: &str, origin: Option<&str>) -> Result<(), Foreign> {
        allowed.check(&headers(host, origin), "127.0.0.1:8113".parse().unwrap())
    }

    #[test]
    fn the_loopback_names_are_ours_and_others_are_not() {
        let allowed = Allowed::default();

        for host in [
            "127.0.0.1:8113",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8113",
            "app.localhost",
            "localhost.",
        ] {
            assert_eq!(check(&allowed, host, None), Ok(()), "{host}");
        }
        for host in ["evil.example.com", "localhost.evil.com", "10.0.0.1", "127.0.0.1.evil.com"] {
            assert!(matches!(check(&allowed, host, None), Err(Foreign::Host(_))), "{host}");
        }
        for host in ["user@localhost", "", "a b"] {
            assert_eq!(check(&allowed, host, None), Err(Foreign::NoHost), "{host}");
        }
    }

    #[test]
    fn two_hosts_in_one_request_are_none() {
        let mut headers = headers("localhost", None);
        headers.append(HOST, HeaderValue::from_static("localhost"));

        assert_eq!(
            Allowed::default().check(&headers, "127.0.0.1:1".parse().unwrap()),
            Err(Foreign::NoHost)
        );
    }

    #[test]
    fn an_address_is_ours_when_the_request_arrived_at_it() {
        let allowed = Allowed::default();
        let local = "192.168.7.9:8113".parse().unwrap();

        assert_eq!(allowed.check(&headers("192.168.7.9:8113", None), local), Ok(()));
        assert!(allowed.check(&headers("192.168.7.10:8113", None), local).is_err());
        assert!(allowed.check(&headers("127.0.0.1", None), local).is_err());
    }

    #[test]
    fn foreign_pages_are_kept_out_and_our_own_come_in() {
        let allowed = Allowed::default();

        assert_eq!(check(&allowed, "localhost:8113", Some("http://localhost:8113")), Ok(()));
        for origin in [
            "http://evil.example.com",
            "http://localhost:3000",
            "null",
            "file://",
            "http://localhost:8113.evil.com",
            "nonsense",
        ] {
            assert_eq!(
                check(&allowed, "localhost:8113", Some(origin)),
                Err(Foreign::Origin(origin.to_owned())),
                "{origin}"
            );
        }
    }

    #[test]
    fn listed_hosts_and_origins_come_in_on_the_ports_they_name() {
        let allowed = Allowed::parse(
            &["build.example.com".to_owned(), "ci.example.com:8113".to_owned()],
            &["https://app.example.com".to_owned(), "http://localhost:*".to_owned()],
        )
        .unwrap();

        for (host, origin) in [
            ("build.example.com:9", None),
            ("ci.example.com:8113", None),
            ("localhost", Some("https://app.example.com")),
            ("localhost", Some("https://app.example.com:443")),
            ("localhost", Some("http://localhost:6274")),
        ] {
            assert_eq!(check(&allowed, host, origin), Ok(()), "{host} {origin:?}");
        }
        assert!(check(&allowed, "ci.example.com:9", None).is_err());
        assert!(check(&allowed, "localhost", Some("https://app.example.com:8443")).is_err());
        assert!(check(&allowed, "localhost", Some("http://app.example.com")).is_err());
    }

    #[test]
    fn entries_that_are_no_host_or_origin_are_refused_with_a_hint() {
        let host = Allowed::parse(&["http://x".to_owned()], &[]).unwrap_err().to_string();
        let origin = Allowed::parse(&[], &["app.example.com".to_owned()]).unwrap_err().to_string();

        assert!(host.starts_with("`http://x` is no host; hint:"), "{host}");
        assert!(origin.starts_with("`app.example.com` is no origin; hint:"), "{origin}");
    }
}
