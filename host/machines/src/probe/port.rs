//! Who listens on a TCP port of this machine, and who claims it.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use serde_json::{Value, json};

use super::NoAnswer;
use crate::procfs;

/// Who claims a port in the port registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortClaim {
    /// The service.
    pub service: String,
    /// The project that it belongs to.
    pub project: Option<String>,
}

type Lookup = dyn Fn(u16) -> Option<PortClaim> + Send + Sync;

/// Answers who claims a port. Given by the owner of the port registry, so that this crate need not know it.
#[derive(Clone)]
pub struct PortClaims(Arc<Lookup>);

impl PortClaims {
    /// Asks `lookup`. It must answer at once.
    pub fn new(lookup: impl Fn(u16) -> Option<PortClaim> + Send + Sync + 'static) -> Self {
        PortClaims(Arc::new(lookup))
    }

    /// Knows of no claims.
    pub fn none() -> Self {
        PortClaims::new(|_| None)
    }
}

impl fmt::Debug for PortClaims {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PortClaims")
    }
}

pub(super) fn fetch(
    claims: &PortClaims,
    port: u16,
    service: Option<String>,
) -> Result<Value, NoAnswer> {
    if port == 0 {
        return Err(NoAnswer::new("invalid", "0 is not a port; expected 1 to 65535"));
    }
    let tables: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect();
    if tables.is_empty() {
        return Err(NoAnswer::new("unavailable", "this machine has no `/proc/net/tcp`"));
    }
    let mut listening: Vec<Listener> =
        tables.iter().flat_map(|table| table.lines().filter_map(listener)).collect();
    listening.retain(|listener| listener.address.port() == port);
    listening.sort_by_key(|listener| listener.address);
    let owners = if listening.is_empty() { HashMap::new() } else { owners(&listening) };
    let listeners: Vec<Value> = listening
        .iter()
        .map(|listener| {
            let owner = owners.get(&listener.inode);
            json!({
                "address": listener.address.to_string(),
                "pid": owner.map(|(pid, _)| pid),
                "process": owner.map(|(_, name)| name),
                "uid": listener.uid,
            })
        })
        .collect();
    let claim = (claims.0)(port);
    let matches =
        claim.as_ref().zip(service.as_ref()).map(|(claim, wanted)| claim.service == *wanted);
    Ok(json!({
        "port": port,
        "listening": !listeners.is_empty(),
        "listeners": listeners,
        "claim": claim.map(|claim| json!({"service": claim.service, "project": claim.project})),
        "expected_service": service,
        "claim_matches": matches,
    }))
}

#[derive(Debug, PartialEq, Eq)]
struct Listener {
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

/// Reads one line of the kernel's socket table; nothing for its head and for sockets that do not listen.
fn listener(line: &str) -> Option<Listener> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != LISTEN {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    Some(Listener {
        address: SocketAddr::new(ip(address)?, u16::from_str_radix(port, 16).ok()?),
        uid: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// The kernel writes addresses as 32-bit words in the machine's own order.
fn ip(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for start in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(hex.get(start..start + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes.as_slice()).ok()?;
    Some(Ipv6Addr::from(sixteen).into())
}

/// Finds the processes that hold sockets, as far as this process may look.
fn owners(listeners: &[Listener]) -> HashMap<u64, (i32, String)> {
    let mut owners = HashMap::new();
    for process in procfs::processes() {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", process.pid)) else {
            continue;
        };
        for link in descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()) {
            let inode = link
                .to_str()
                .and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode
                && listeners.iter().any(|listener| listener.inode == inode)
            {
                owners.entry(inode).or_insert((process.pid, process.name.clone()));
            }
        }
        if owners.len() == listeners.len() {
            break;
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_table() {
        let line = "   0: 0100007F:1FB1 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0 100 0 0 10 0";
        assert_eq!(
            listener(line),
            Some(Listener {
                address: "127.0.0.1:8113".parse().expect("an address"),
                uid: 1000,
                inode: 12345
            })
        );
        let six = "   1: 00000000000000000000000001000000:1FB1 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0 100 0 0 10 0";
        assert_eq!(
            listener(six).map(|found| found.address.to_string()).as_deref(),
            Some("[::1]:8113")
        );
        let established = line.replace(" 0A ", " 01 ");
        assert_eq!(listener(&established), None);
        assert_eq!(listener("  sl  local_address rem_address   st"), None);
    }
}
