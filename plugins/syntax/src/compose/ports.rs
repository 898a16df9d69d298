//! Ports of a service, in short and long form.

use crate::yaml::{Kind, Node};

/// A port, a range of ports, or something that is only known when variables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortNumber {
    /// One port.
    One(u16),
    /// From the first to the last.
    Range(u16, u16),
    /// Cannot be told from the file.
    Unknown,
}

impl PortNumber {
    fn parse(text: &str) -> Self {
        match text.split_once('-') {
            None => text.parse().map_or(PortNumber::Unknown, PortNumber::One),
            Some((first, last)) => match (first.parse(), last.parse()) {
                (Ok(first), Ok(last)) if first <= last => PortNumber::Range(first, last),
                _ => PortNumber::Unknown,
            },
        }
    }

    /// Returns the port when it is exactly one.
    pub fn one(self) -> Option<u16> {
        match self {
            PortNumber::One(port) => Some(port),
            _ => None,
        }
    }
}

/// A port that a service listens on, and where it is published.
#[derive(Debug, Clone)]
pub struct Port<'f> {
    /// The port inside the container.
    pub target: PortNumber,
    /// The port of the machine, when one is given.
    pub published: Option<PortNumber>,
    /// The address of the machine that it is bound to, when one is given.
    pub host_ip: Option<String>,
    /// `tcp` unless something else is given.
    pub protocol: String,
    /// Where it stands.
    pub node: Node<'f>,
}

impl<'f> Port<'f> {
    /// Reads one item of `ports`. Nothing when it is neither text nor a mapping with a target.
    pub fn read(node: Node<'f>) -> Option<Self> {
        if node.kind() == Kind::Mapping {
            let text = |key: &str| node.get(key).and_then(Node::as_str);
            return Some(Port {
                target: PortNumber::parse(text("target")?),
                published: text("published").filter(|text| !text.is_empty()).map(PortNumber::parse),
                host_ip: text("host_ip").map(str::to_owned),
                protocol: text("protocol").unwrap_or("tcp").to_owned(),
                node,
            });
        }
        let text = crate::image::interpolate(node.as_str()?, &|_| None);
        let Some(text) = text else {
            // A variable without a default: everything but the protocol is open.
            let protocol = node.as_str()?.rsplit_once('/').map_or("tcp", |(_, protocol)| protocol);
            let protocol = protocol.to_owned();
            return Some(Port {
                target: target_of(node.as_str()?),
                published: Some(PortNumber::Unknown),
                host_ip: None,
                protocol,
                node,
            });
        };
        let (text, protocol) = match text.split_once('/') {
            Some((ports, protocol)) => (ports, protocol.to_owned()),
            None => (text.as_str(), "tcp".to_owned()),
        };
        let (host, target) = match text.rsplit_once(':') {
            Some((host, target)) => (Some(host), target),
            None => (None, text),
        };
        let (host_ip, published) = match host {
            None => (None, None),
            Some(host) => match host.rsplit_once(':') {
                Some((ip, published)) => {
                    (Some(ip.trim_matches(['[', ']']).to_owned()), Some(published))
                }
                None if host.contains('.') => (Some(host.to_owned()), None),
                None => (None, Some(host)),
            },
        };
        Some(Port {
            target: PortNumber::parse(target),
            published: published.filter(|text| !text.is_empty()).map(PortNumber::parse),
            host_ip,
            protocol,
            node,
        })
    }
}

/// Returns the part behind the last colon that is outside of braces, when it is a port.
fn target_of(text: &str) -> PortNumber {
    let tail = text.rsplit(['}', ':']).next().unwrap_or_default();
    PortNumber::parse(tail.split('/').next().unwrap_or_default())
}
