//! One TCP connect.

use std::io::ErrorKind;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{NoAnswer, millis};

pub(super) async fn fetch(address: &str) -> Result<Value, NoAnswer> {
    let well_formed = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if !well_formed {
        return Err(NoAnswer::new(
            "invalid",
            format!("`{}` is not an address; expected `host:port`", address.escape_debug()),
        ));
    }
    let begun = Instant::now();
    let found = tokio::net::lookup_host(address).await.map_err(|error| {
        NoAnswer::new("unreachable", format!("`{address}` is not known: {error}"))
    })?;
    let addresses: Vec<_> = found.collect();
    let stream = TcpStream::connect(addresses.as_slice()).await.map_err(|error| {
        let code = match error.kind() {
            ErrorKind::ConnectionRefused => "refused",
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "unreachable",
            ErrorKind::TimedOut => "timeout",
            _ => "io",
        };
        NoAnswer::new(code, format!("`{address}` does not take a connection: {error}"))
    })?;
    let peer = stream.peer_addr().ok().map(|peer| peer.to_string());
    Ok(json!({
        "address": address,
        "connected": true,
        "peer": peer,
        "duration_ms": millis(begun.elapsed()),
    }))
}
