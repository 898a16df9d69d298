//! Asks the kernel about one socket by its two addresses, through `NETLINK_SOCK_DIAG`: exact, and as fast with ten
//! thousand sockets as with ten. Reading `/proc/net/tcp` instead takes time with every socket of the machine, and can
//! pass over a row while others come and go.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLMSG_ERROR` of `linux/netlink.h`.
const NLMSG_ERROR: u16 = 2;
/// `NLM_F_REQUEST`: a question, and no dump of the whole table.
const NLM_F_REQUEST: u16 = 1;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// The length of `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// The length of `struct inet_diag_sockid`.
const SOCKET_ID_BYTES: usize = 48;
/// The length of `struct inet_diag_msg`.
const ANSWER_BYTES: usize = 4 + SOCKET_ID_BYTES + 20;
/// The errors that say "no such socket".
const ENOENT: i32 = 2;
/// The kernel answers at once; this only keeps a broken one from holding a thread.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the kernel says about a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) state: u8,
    pub(super) uid: u32,
    pub(super) inode: u32,
}

/// Finds the socket whose own address is `local` and whose peer is `remote`.
pub(super) fn find(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<Found>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    let id = socket_id(local, remote)?;
    send(&socket, &question(local, &id), SendFlags::empty())?;
    let mut buffer = [0; 4096];
    let (_, count) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
    answer(buffer.get(..count).unwrap_or_default(), &id)
}

/// Writes `struct inet_diag_sockid` without interface and cookie: ports and addresses in network order.
fn socket_id(local: SocketAddr, remote: SocketAddr) -> io::Result<[u8; 40]> {
    let mut id = [0; 40];
    id[0..2].copy_from_slice(&local.port().to_be_bytes());
    id[2..4].copy_from_slice(&remote.port().to_be_bytes());
    match (local.ip(), remote.ip()) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => {
            id[4..8].copy_from_slice(&local.octets());
            id[20..24].copy_from_slice(&remote.octets());
        }
        (IpAddr::V6(local), IpAddr::V6(remote)) => {
            id[4..20].copy_from_slice(&local.octets());
            id[20..36].copy_from_slice(&remote.octets());
        }
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the two ends are of different families",
            ));
        }
    }
    Ok(id)
}

/// Writes `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn question(local: SocketAddr, id: &[u8; 40]) -> Vec<u8> {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut body = Vec::with_capacity(8 + SOCKET_ID_BYTES);
    // Address families are small numbers.
    let family = u8::try_from(family.as_raw()).unwrap_or_default();
    body.extend_from_slice(&[family, TCP, 0, 0]);
    // Every state.
    body.extend_from_slice(&u32::MAX.to_ne_bytes());
    body.extend_from_slice(id);
    // No cookie: whichever socket it is.
    body.extend_from_slice(&[0xFF; 8]);
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or_default();
    let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&body);
    message
}

/// Reads the answer: `struct inet_diag_msg`, or an error.
fn answer(message: &[u8], id: &[u8; 40]) -> io::Result<Option<Found>> {
    let short = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel's answer about a socket is too short",
        )
    };
    let word = |at: usize| -> io::Result<u32> {
        let bytes = message
            .get(at..at + 4)
            .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())
            .ok_or_else(short)?;
        Ok(u32::from_ne_bytes(bytes))
    };
    let kind =
        message.get(4..6).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok()).ok_or_else(short)?;
    match u16::from_ne_bytes(kind) {
        NLMSG_ERROR => {
            let code = word(HEADER_BYTES)?.cast_signed();
            if code == -ENOENT { Ok(None) } else { Err(io::Error::from_raw_os_error(-code)) }
        }
        SOCK_DIAG_BY_FAMILY if message.len() >= HEADER_BYTES + ANSWER_BYTES => {
            let found = &message[HEADER_BYTES..];
            // Asked for a connection that is gone, the kernel may name a listener at the same port.
            if found[4..40] != id[..36] {
                return Ok(None);
            }
            let numbers = HEADER_BYTES + 4 + SOCKET_ID_BYTES;
            Ok(Some(Found {
                state: found[1],
                uid: word(numbers + 12)?,
                inode: word(numbers + 16)?,
            }))
        }
        _ => Err(short()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_found_with_its_owner_on_both_families() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has no second family to ask about.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();

            let found = find(client.local_addr().unwrap(), client.peer_addr().unwrap())
                .unwrap()
                .expect("it is open");

            assert_eq!(found.uid, rustix::process::geteuid().as_raw());
            assert_ne!(found.inode, 0);
            assert_eq!(found.state, 1);
        }
    }

    #[test]
    fn a_connection_that_is_not_there_is_not_found_even_where_somebody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();

        assert_eq!(find(listener.local_addr().unwrap(), nowhere).unwrap(), None);
        assert_eq!(find(nowhere, nowhere).unwrap(), None);
    }

    #[test]
    fn an_answer_that_is_cut_short_is_an_error_and_not_a_user() {
        for length in [0, 5, 16, 40] {
            let mut message = vec![0; length];
            if length >= 6 {
                message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
            }
            assert!(answer(&message, &[0; 40]).is_err(), "{length}");
        }
    }
}
