//! Asks the kernel's table of TCP sockets: who owns the other end of a loopback connection, and which process listens
//! on a port. One socket is asked for by name (`diag`); the table as text (`/proc/net/tcp`, `tcp6`) serves where the
//! kernel does not answer that, and for the port, which has no peer to name.

mod diag;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The kernel's number for a socket that listens (`TCP_LISTEN`).
const LISTENING: u8 = 0x0A;

/// How long a command line is shown, in characters; enough to recognise a process.
const COMMAND_CHARS_MAX: usize = 80;

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    uid: u32,
    // Zero once no process holds the socket any more.
    inode: u64,
}

/// Who holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The user that owns the socket.
    pub uid: u32,
    /// The process, where this process may see it: another user's are hidden from everybody but root.
    pub process: Option<Process>,
}

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its command line, shortened.
    pub command: String,
}

/// How often the table is read before a connection counts as missing: the kernel hands it out in pieces, and a row may
/// slip between two of them while others come and go.
const READINGS_MAX: usize = 4;

/// Returns the user that owns the socket at `local` which is connected to `remote`; `None` when there is no such socket
/// or no process holds it any more.
///
/// # Errors
///
/// The kernel does not answer and its table cannot be read.
pub fn owner_of_connection(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
    let (local, remote) = (canonical(local), canonical(remote));
    match diag::find(local, remote) {
        // A socket that lost its process shows the user 0, whoever it belonged to, and no inode: it proves nothing.
        Ok(found) => Ok(found
            .filter(|found| found.inode != 0 && found.state != LISTENING)
            .map(|found| found.uid)),
        Err(error) => {
            tracing::debug!(%error, "the kernel does not name single sockets; its table is read instead");
            owner_in_table(local, remote)
        }
    }
}

fn owner_in_table(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
    for _ in 0..READINGS_MAX {
        if let Some(row) = find(|row| row.local == local && row.remote == remote)? {
            return Ok((row.inode != 0).then_some(row.uid));
        }
    }
    Ok(None)
}

/// Returns who listens on a port, on any address.
///
/// # Errors
///
/// The table cannot be read.
pub fn holder_of_port(port: u16) -> io::Result<Option<Holder>> {
    let Some(row) = find(|row| row.state == LISTENING && row.local.port() == port)? else {
        return Ok(None);
    };
    Ok(Some(Holder { uid: row.uid, process: process_of_inode(row.inode) }))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn find(wanted: impl Fn(&Row) -> bool) -> io::Result<Option<Row>> {
    let mut read_one = false;
    let mut failure = None;
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // A kernel without IPv6 has no second table.
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => {
                failure = Some(error);
                continue;
            }
        };
        read_one = true;
        for line in BufReader::with_capacity(64 * 1024, file).lines().skip(1) {
            if let Some(row) = parse(&line?)
                && wanted(&row)
            {
                return Ok(Some(row));
            }
        }
    }
    match failure {
        Some(error) if !read_one => Err(error),
        _ => Ok(None),
    }
}

/// Reads one line; the columns are the kernel's (Documentation/networking/proc_net_tcp.rst).
fn parse(line: &str) -> Option<Row> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let local = address(columns.next()?)?;
    let remote = address(columns.next()?)?;
    let state = u8::from_str_radix(columns.next()?, 16).ok()?;
    let uid = columns.nth(3)?.parse().ok()?;
    let inode = columns.nth(1)?.parse().ok()?;
    Some(Row { local, remote, state, uid, inode })
}

/// Reads `0100007F:1F40`: the address in 32-bit words of the machine's byte order, the port in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for word in ip.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, port)))
}

/// Finds the process that has the socket open by looking through every process this one may look into.
fn process_of_inode(inode: u64) -> Option<Process> {
    let wanted = format!("socket:[{inode}]");
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(entry.path().join("fd")) else { continue };
        let holds = descriptors.flatten().any(|descriptor| {
            std::fs::read_link(descriptor.path())
                .is_ok_and(|target| target.as_os_str() == wanted.as_str())
        });
        if holds {
            return Some(Process { pid, command: command(pid) });
        }
    }
    None
}

fn command(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    // Control characters of a foreign process's name stay out of our messages.
    let line: String =
        line.trim().chars().filter(|c| !c.is_control()).take(COMMAND_CHARS_MAX).collect();
    if !line.is_empty() {
        return line;
    }
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_row_of_either_table_is_read() {
        let four = "   0: 0100007F:1FB1 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0 20 4 30 10 -1";
        let six = "   1: 0000000000000000FFFF00000100007F:1FB1 00000000000000000000000001000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1";

        let four = parse(four).expect("a row");
        let six = parse(six).expect("a row");

        assert_eq!(four.local, "127.0.0.1:8113".parse().unwrap());
        assert_eq!((four.state, four.uid, four.inode), (1, 1000, 12345));
        // A mapped address is the address it maps.
        assert_eq!(six.local, "127.0.0.1:8113".parse().unwrap());
        assert_eq!(six.remote, "[::1]:0".parse().unwrap());
    }

    #[test]
    fn lines_that_are_no_row_are_passed_over() {
        for line in
            ["", "  sl  local_address", "0: zz:1 00:1 01", "0: 0100007F 0100007F:1 01 a b c 0 0 1"]
        {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_owner_of_a_connection_of_our_own_is_our_user() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, peer) = listener.accept().unwrap();

        let local = listener.local_addr().unwrap();
        let us = Some(rustix::process::geteuid().as_raw());
        assert_eq!(owner_of_connection(peer, local).unwrap(), us);
        assert_eq!(owner_in_table(peer, local).unwrap(), us);
        drop(client);
    }

    #[test]
    fn a_connection_that_is_not_there_has_no_owner() {
        let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();

        assert_eq!(owner_of_connection(nowhere, nowhere).unwrap(), None);
        assert_eq!(owner_in_table(nowhere, nowhere).unwrap(), None);
    }

    #[test]
    fn the_holder_of_a_port_of_our_own_is_this_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();

        let holder = holder_of_port(listener.local_addr().unwrap().port())
            .unwrap()
            .expect("somebody listens");

        assert_eq!(holder.process.map(|process| process.pid), Some(std::process::id()));
    }
}
