//! Which port belongs to which service of the ecosystem, and the one way this server opens a port: a reserved port is
//! refused with its owner's name, a busy one with the process that holds it, and both suggest a free one.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::socket_table::{self, Holder};

/// The name under which this server stands in the registry.
pub const OWN_SERVICE: &str = "caelum-workflow-orchestration";

/// The port this server listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 8113;

/// The kind whose range serves everything that has none of its own.
const GENERAL: &str = "general";

const BUNDLED: &str = include_str!("port_registry/bundled.toml");

/// A registry file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The file cannot be read.
    #[error("the port registry `{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no registry.
    #[error("the port registry `{}` is malformed; hint: it holds [[service]] tables with port, name, kind, project, purpose and [[range]] tables with kind, first, last", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// The file contradicts itself; every contradiction is listed.
    #[error("the port registry `{}` contradicts itself: {}", path.display(), problems.join("; "))]
    Contradictory {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problems: Vec<String>,
    },
}

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// It belongs to another service.
    #[error(
        "port {port} is reserved for `{owner}` ({purpose}), and this is `{service}`{suggestion}"
    )]
    Reserved {
        /// The port.
        port: u16,
        /// The service that asked.
        service: String,
        /// The service it belongs to.
        owner: String,
        /// What that service is for.
        purpose: String,
        /// A free port of the right range.
        suggestion: Suggestion,
    },
    /// Somebody listens on it.
    #[error("port {port} on {address} is in use by {}{suggestion}", Shown(holder))]
    InUse {
        /// The port.
        port: u16,
        /// The address that was asked for.
        address: IpAddr,
        /// Who holds it, as far as this process may see.
        holder: Option<Holder>,
        /// A free port of the right range.
        suggestion: Suggestion,
    },
    /// The operating system refuses it for another reason.
    #[error("port {port} on {address} cannot be opened{}", hint(source))]
    Refused {
        /// The port.
        port: u16,
        /// The address that was asked for.
        address: IpAddr,
        /// Its reason.
        source: io::Error,
    },
}

/// A free port to offer instead, where one was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suggestion(pub Option<u16>);

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(port) => write!(f, "; hint: port {port} is free, use --port {port}"),
            None => {
                f.write_str("; hint: no port of its range is free either; give one with --port")
            }
        }
    }
}

struct Shown<'a>(&'a Option<Holder>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Holder { process: Some(process), .. }) => {
                write!(f, "process {} (`{}`)", process.pid, process.command)
            }
            Some(Holder { uid, process: None }) => {
                write!(f, "a process of user {uid}, which is not visible to this one")
            }
            None => f.write_str("another process"),
        }
    }
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "; hint: ports below 1024 need a privilege, use --port 8113"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; hint: no interface of this machine has the address, use --host 127.0.0.1"
        }
        _ => "",
    }
}

/// One service of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The port that is its own.
    pub port: u16,
    /// Its name.
    pub name: String,
    /// Other names for the same service.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Which range it belongs to.
    pub kind: String,
    /// The project that owns it.
    pub project: String,
    /// What it is for, in a few words.
    pub purpose: String,
}

/// A range of ports, where a service of its kind finds a free one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The kind of service.
    pub kind: String,
    /// The first port.
    pub first: u16,
    /// The last port, which belongs to the range.
    pub last: u16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    service: Vec<Service>,
    range: Vec<Range>,
}

/// The registry: every reserved port and every range.
#[derive(Debug, Clone)]
pub struct PortRegistry {
    services: BTreeMap<u16, Service>,
    ranges: Vec<Range>,
}

impl PortRegistry {
    /// Returns the registry that comes with the server.
    pub fn bundled() -> Self {
        Self::parse(Path::new("bundled"), BUNDLED).expect("the bundled registry is read by a test")
    }

    /// Reads a registry from a file that replaces the bundled one.
    ///
    /// # Errors
    ///
    /// [`RegistryError`] when the file cannot be read, is malformed, or contradicts itself.
    pub fn from_file(path: &Path) -> Result<Self, RegistryError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| RegistryError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, RegistryError> {
        let file: File = toml::from_str(text).map_err(|source| RegistryError::Malformed {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let mut problems = Vec::new();
        let mut services: BTreeMap<u16, Service> = BTreeMap::new();
        for service in file.service {
            if let Some(first) = services.get(&service.port) {
                problems.push(format!(
                    "port {} belongs to `{}` and to `{}`",
                    service.port, first.name, service.name
                ));
            } else {
                services.insert(service.port, service);
            }
        }
        for range in &file.range {
            if range.first > range.last {
                problems.push(format!("the range `{}` ends before it begins", range.kind));
            }
        }
        if problems.is_empty() {
            return Ok(Self { services, ranges: file.range });
        }
        Err(RegistryError::Contradictory { path: path.to_owned(), problems })
    }

    /// Returns the service a port is reserved for.
    pub fn owner(&self, port: u16) -> Option<&Service> {
        self.services.get(&port)
    }

    /// Returns every service, in the order of the ports.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// Says whether `service` may listen on this port: it is not another's, and nobody listens on it. Port 0, which
    /// asks for any free one, may always be had.
    ///
    /// # Errors
    ///
    /// [`PortError`], each with a free port to use instead.
    pub fn check(&self, address: IpAddr, port: u16, service: &str) -> Result<(), PortError> {
        self.bind(SocketAddr::new(address, port), service).map(drop)
    }

    /// Opens a port for `service`, in non-blocking mode; the one way this server listens.
    ///
    /// # Errors
    ///
    /// [`PortError`], each with a free port to use instead.
    pub fn bind(
        &self,
        address: SocketAddr,
        service: &str,
    ) -> Result<std::net::TcpListener, PortError> {
        let port = address.port();
        if let Some(owner) = self.owner(port).filter(|owner| !owner.is_called(service)) {
            return Err(PortError::Reserved {
                port,
                service: service.to_owned(),
                owner: owner.name.clone(),
                purpose: owner.purpose.clone(),
                suggestion: self.suggest(address.ip(), service),
            });
        }
        match open(address) {
            Ok(listener) => Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(PortError::InUse {
                port,
                address: address.ip(),
                holder: socket_table::holder_of_port(port).unwrap_or_default(),
                suggestion: self.suggest(address.ip(), service),
            }),
            Err(source) => Err(PortError::Refused { port, address: address.ip(), source }),
        }
    }

    /// Finds a port that `service` may have now: its own first, then those of its kind's range, then the general ones.
    pub fn suggest(&self, address: IpAddr, service: &str) -> Suggestion {
        let own = self.services.values().find(|entry| entry.is_called(service));
        let kind = own.map_or(GENERAL, |entry| entry.kind.as_str());
        let ranges = self
            .ranges
            .iter()
            .filter(|range| range.kind == kind)
            .chain(self.ranges.iter().filter(|range| range.kind == GENERAL && kind != GENERAL));
        let free = own
            .map(|entry| entry.port)
            .into_iter()
            .chain(ranges.flat_map(|range| range.first..=range.last))
            .filter(|port| self.owner(*port).is_none_or(|owner| owner.is_called(service)))
            .find(|port| open(SocketAddr::new(address, *port)).is_ok());
        Suggestion(free)
    }
}

impl Service {
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}

fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    // The standard library sets SO_REUSEADDR, so that a restart need not wait for connections that are winding down; a
    // port somebody listens on is refused all the same.
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn registry(text: &str) -> Result<PortRegistry, RegistryError> {
        PortRegistry::parse(Path::new("ports.toml"), text)
    }

    #[test]
    fn the_bundled_registry_holds_the_twenty_eight_services_and_ours() {
        let registry = PortRegistry::bundled();

        assert_eq!(registry.services().count(), 28);
        let ours = registry.owner(DEFAULT_PORT).expect("8113 is reserved");
        assert_eq!((ours.name.as_str(), ours.kind.as_str()), (OWN_SERVICE, "mcp"));
        for service in registry.services() {
            assert!(!service.purpose.is_empty() && !service.project.is_empty(), "{service:?}");
        }
    }

    #[test]
    fn a_port_of_another_service_is_refused_with_its_name_and_purpose() {
        let error = PortRegistry::bundled().check(HERE, 8102, OWN_SERVICE).unwrap_err();

        let text = error.to_string();
        assert!(
            text.starts_with(
                "port 8102 is reserved for `caelum-code-analysis` (Code analysis MCP server), and this is `caelum-workflow-orchestration`; hint: port 8"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_busy_port_is_refused_with_the_process_that_holds_it_and_a_free_one() {
        let held = TcpListener::bind((HERE, 0)).unwrap();
        let port = held.local_addr().unwrap().port();

        let error = PortRegistry::bundled().check(HERE, port, OWN_SERVICE).unwrap_err();

        let text = error.to_string();
        let expected =
            format!("port {port} on 127.0.0.1 is in use by process {} (`", std::process::id());
        assert!(text.starts_with(&expected) && text.contains("; hint: port 8"), "{text}");
    }

    #[test]
    fn a_suggested_port_is_free_in_the_range_of_the_kind_and_nobody_elses() {
        let registry = PortRegistry::bundled();

        let Suggestion(Some(port)) = registry.suggest(HERE, "analytics-dashboard") else {
            panic!("no port is free")
        };

        assert!(
            port == 8090 || (8091..=8099).contains(&port) || (8400..=8999).contains(&port),
            "{port}"
        );
        assert!(registry.owner(port).is_none_or(|owner| owner.name == "analytics-dashboard"));
    }

    #[test]
    fn a_service_may_use_its_port_under_either_of_its_names() {
        let registry = PortRegistry::bundled();
        let owner = registry.owner(8080).expect("8080 is reserved");

        assert!(owner.is_called("cluster-websocket") && owner.is_called("cluster-communication"));
    }

    #[test]
    fn port_zero_asks_for_any_free_port() {
        let listener = PortRegistry::bundled().bind(SocketAddr::new(HERE, 0), OWN_SERVICE).unwrap();

        assert_ne!(listener.local_addr().unwrap().port(), 0);
    }

    #[test]
    fn a_registry_that_contradicts_itself_is_refused_with_every_contradiction() {
        let text = r#"
            service = [
                { port = 1, name = "a", kind = "mcp", project = "p", purpose = "x" },
                { port = 1, name = "b", kind = "mcp", project = "p", purpose = "y" },
            ]
            range = [{ kind = "mcp", first = 9, last = 8 }]
        "#;

        let error = registry(text).unwrap_err().to_string();

        assert_eq!(
            error,
            "the port registry `ports.toml` contradicts itself: port 1 belongs to `a` and to `b`; the range `mcp` ends before it begins"
        );
    }

    #[test]
    fn an_unknown_key_in_a_registry_is_refused() {
        let error = registry("service = []\nrange = []\nservcie = 1").unwrap_err();

        assert!(matches!(error, RegistryError::Malformed { .. }), "{error}");
    }
}
