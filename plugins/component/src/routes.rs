//! What sources say about the routes of a service: which addresses are written in them.
//!
//! No language is parsed. An address is a quoted text that begins with `/`; a route is one that stands on a line which
//! looks as if it declared or compared one. Good enough to tell whether `/health` is spoken of at all, and never used
//! for more.

use std::collections::BTreeSet;

/// Addresses under which services usually tell their health, the most telling first.
pub const HEALTH_PATHS: [&str; 10] = [
    "/health",
    "/healthz",
    "/health-check",
    "/healthcheck",
    "/api/health",
    "/api/healthz",
    "/readyz",
    "/livez",
    "/ready",
    "/actuator/health",
];

/// How many addresses are kept. Beyond it a component is too large to say anything about single routes.
const ADDRESSES_MAX: usize = 20_000;
/// The longest address that is kept.
const ADDRESS_BYTES_MAX: usize = 200;

/// Addresses found in sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Path of the source and the address.
    addresses: BTreeSet<(String, String)>,
    /// Directories of sources that declare routes.
    declaring: BTreeSet<String>,
    sources: BTreeSet<String>,
}

impl Routes {
    /// Looks through a source.
    pub(crate) fn scan(&mut self, path: &str, text: &str) {
        self.sources.insert(path.to_owned());
        for line in text.lines() {
            if self.addresses.len() >= ADDRESSES_MAX {
                return;
            }
            let addresses = quoted(line);
            let declares = !addresses.is_empty() && declares(line);
            for address in addresses {
                if declares {
                    self.declaring.insert(path.to_owned());
                }
                self.addresses.insert((path.to_owned(), address.to_owned()));
            }
        }
    }

    /// Returns the first of the usual addresses of health, or the wanted one, that a source beneath a directory speaks
    /// of. The empty directory is the whole component.
    pub fn health(&self, directory: &str, wanted: &str) -> Option<&str> {
        let candidates = std::iter::once(wanted).chain(HEALTH_PATHS);
        for candidate in candidates {
            let found = self.addresses.iter().find(|(path, address)| {
                beneath(path, directory) && address.trim_end_matches('/') == candidate
            });
            if let Some((_, address)) = found {
                return Some(address.trim_end_matches('/'));
            }
        }
        None
    }

    /// Answers whether an address is surely not served from a directory: routes are declared there, and no source so
    /// much as mentions the last part of the address.
    pub fn lacks(&self, directory: &str, address: &str) -> bool {
        let address = address.split(['?', '#']).next().unwrap_or(address).trim_end_matches('/');
        let Some(last) = address.rsplit('/').next().filter(|last| !last.is_empty()) else {
            return false;
        };
        let declared = self.declaring.iter().any(|path| beneath(path, directory));
        declared
            && !self
                .addresses
                .iter()
                .any(|(path, known)| beneath(path, directory) && known.contains(last))
    }

    /// Answers whether there are sources beneath a directory.
    pub fn has_sources(&self, directory: &str) -> bool {
        self.sources.iter().any(|path| beneath(path, directory))
    }

    /// Answers whether a source beneath a directory declares routes.
    pub fn declares(&self, directory: &str) -> bool {
        self.declaring.iter().any(|path| beneath(path, directory))
    }
}

fn beneath(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

fn declares(line: &str) -> bool {
    const WORDS: [&str; 22] = [
        "route",
        "Route",
        ".get(",
        ".post(",
        ".put(",
        ".delete(",
        ".all(",
        ".use(",
        "@app.",
        "@router.",
        "Handle(",
        "HandleFunc(",
        "MapGet(",
        "Mapping(",
        "path(",
        "re_path(",
        "url.path ==",
        "self.path ==",
        "url.pathname",
        "req.url",
        "scope(",
        "resource(",
    ];
    WORDS.iter().any(|word| line.contains(word))
}

/// Returns the quoted texts of a line that begin with a slash and look like an address.
fn quoted(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let quote = bytes[at];
        if !matches!(quote, b'"' | b'\'' | b'`') {
            at += 1;
            continue;
        }
        let Some(length) = bytes[at + 1..].iter().position(|byte| *byte == quote) else { break };
        let inner = &line[at + 1..at + 1 + length];
        // Go writes the method in front: "GET /health".
        let address = inner.rsplit(' ').next().unwrap_or(inner);
        let plain = address
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'\\' | b';'));
        if address.starts_with('/')
            && address.len() > 1
            && address.len() <= ADDRESS_BYTES_MAX
            && plain
        {
            found.push(address);
        }
        at += length + 2;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(sources: &[(&str, &str)]) -> Routes {
        let mut routes = Routes::default();
        for (path, text) in sources {
            routes.scan(path, text);
        }
        routes
    }

    #[test]
    fn health_is_found_in_many_languages() {
        for source in [
            "if url.path == \"/health\":",
            "@app.get('/health')",
            "app.get('/health/', (q, s) => s.json({ok: true}))",
            "mux.HandleFunc(\"GET /health\", health)",
            ".route(\"/health\", get(health))",
            "@GetMapping(\"/health\")",
        ] {
            assert_eq!(
                routes(&[("app/x.py", source)]).health("app", "/health"),
                Some("/health"),
                "{source}"
            );
        }
        assert_eq!(routes(&[("x.py", "\"/healthz\"")]).health("", "/health"), Some("/healthz"));
        assert_eq!(routes(&[("x.py", "\"/status\"")]).health("", "/status"), Some("/status"));
        assert_eq!(routes(&[("web/x.js", "app.get('/health')")]).health("api", "/health"), None);
        assert_eq!(routes(&[("x.py", "print('healthy')")]).health("", "/health"), None);
    }

    #[test]
    fn an_address_is_lacking_only_where_routes_are_declared() {
        let api = routes(&[("api/x.js", "app.get('/users')\nconst a = '/about-us'")]);
        assert!(api.lacks("api", "/health"));
        assert!(!api.lacks("api", "/users?x=1"));
        assert!(!api.lacks("api", "/"));
        assert!(!api.lacks("web", "/health"));
        assert!(!routes(&[("x.js", "const a = 1")]).lacks("", "/health"));
    }

    #[test]
    fn odd_lines_do_no_harm() {
        for line in ["'", "\"/", "'/é'", "`/a", "'\"/x\"'", "\u{1F600}'/a'"] {
            quoted(line);
        }
    }
}
