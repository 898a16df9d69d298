//! The socket in the data directory, through which programs of the same user speak to the server that holds it: the
//! command line, and a second `serve --stdio` that would otherwise find the directory taken. MCP, one message a line.
//! Only the owner can open it, so whoever does is trusted as the local user.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::mcp::session::{Origin, Transport};
use crate::mcp::stdio;
use crate::mcp::toolset::Toolset;

/// The socket's name in the data directory.
const SOCKET: &str = "server.sock";

/// The name of the file that says who serves.
const PRESENCE: &str = "server.json";

/// How many programs may be connected at once; one more waits in the kernel.
const CONNECTIONS_MAX: usize = 64;

/// Who serves a data directory; kept beside the socket for whoever wants to speak to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The process.
    pub pid: u32,
    /// The server's version.
    pub version: String,
    /// Its roots, absolute: where its commands run and its components lie.
    pub roots: Vec<PathBuf>,
    /// The address of its port, where it has one.
    pub address: Option<String>,
    /// Whether it offers only tools that change nothing.
    #[serde(default)]
    pub read_only: bool,
    /// The toolsets it offers; none where it is of a version that always offers all.
    #[serde(default)]
    pub toolsets: Vec<String>,
}

/// The open socket. Dropping it removes what it left in the data directory.
#[derive(Debug)]
pub struct LocalSocket {
    listener: UnixListener,
    data_dir: PathBuf,
}

impl LocalSocket {
    /// Opens the socket and says who serves. The caller holds the data directory, so a socket that lies there already
    /// is a dead server's and goes away. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the data directory cannot be written.
    pub fn bind(data_dir: &Path, presence: &Presence) -> io::Result<Self> {
        let path = data_dir.join(SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (_directory, short) = short_path(data_dir)?;
        let listener = UnixListener::bind(short)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let socket = Self { listener, data_dir: data_dir.to_owned() };
        let beside = data_dir.join(format!("{PRESENCE}.new"));
        fs::write(&beside, serde_json::to_vec_pretty(presence)?)?;
        fs::rename(&beside, data_dir.join(PRESENCE))?;
        Ok(socket)
    }

    /// Serves until `shutdown` is cancelled, then lets running calls end. Once it returns, no task of it runs.
    pub async fn serve(self, toolset: Arc<Toolset>, grace: Duration, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let tasks = TaskTracker::new();
        loop {
            let place = tokio::select! {
                () = shutdown.cancelled() => break,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (toolset, shutdown) = (Arc::clone(&toolset), shutdown.clone());
                    tasks.spawn(async move {
                        let _place = place;
                        // The one who connects is its owner, or root.
                        let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                        let origin = Origin { transport: Transport::Socket, remote: None, uid };
                        let (read, write) = stream.into_split();
                        let options = stdio::Options { grace, origin, ..stdio::Options::default() };
                        stdio::serve_streams(toolset, read, write, options, shutdown).await;
                    });
                }
                Err(error) => {
                    // Out of descriptors, as a rule; they come back.
                    tracing::warn!(%error, "a connection to the local socket was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        fs::remove_file(self.data_dir.join(SOCKET)).ok();
        fs::remove_file(self.data_dir.join(PRESENCE)).ok();
    }
}

/// Returns who serves a data directory, when somebody says so.
pub fn presence(data_dir: &Path) -> Option<Presence> {
    serde_json::from_slice(&fs::read(data_dir.join(PRESENCE)).ok()?).ok()
}

/// Connects to the server that holds a data directory. Must be called within a tokio runtime.
///
/// # Errors
///
/// When nobody listens there.
pub async fn connect(data_dir: &Path) -> io::Result<UnixStream> {
    let (_directory, short) = short_path(data_dir)?;
    UnixStream::connect(short).await
}

/// Returns a short name for the socket, good as long as the descriptor is open: a socket's own name has at most 107
/// bytes, and data directories lie deeper than that.
fn short_path(data_dir: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(data_dir, flags, Mode::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()));
    Ok((directory, path))
}

#[cfg(test)]
mod tests {
    use rmcp::ServiceExt;
    use rmcp::model::CallToolRequestParams;

    use super::*;
    use crate::mcp::toolset::Limits;

    fn presence_of(pid: u32) -> Presence {
        Presence {
            pid,
            version: "1".to_owned(),
            roots: vec!["/".into()],
            address: None,
            read_only: false,
            toolsets: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_program_of_the_same_user_speaks_to_the_server_however_deep_the_directory_lies() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("deep".repeat(40));
        fs::create_dir(&data_dir).unwrap();
        fs::write(data_dir.join(SOCKET), "left by a dead server").unwrap();
        let toolset = Arc::new(Toolset::new([], "", Limits::default()).unwrap());
        let shutdown = CancellationToken::new();

        let socket = LocalSocket::bind(&data_dir, &presence_of(7)).unwrap();
        let mode = fs::metadata(data_dir.join(SOCKET)).unwrap().permissions().mode() & 0o777;
        let served = tokio::spawn(socket.serve(toolset, Duration::ZERO, shutdown.clone()));
        let client = ().serve(connect(&data_dir).await.unwrap().into_split()).await.unwrap();
        let unknown = client.call_tool(CallToolRequestParams::new("nothing")).await;

        assert_eq!(mode, 0o600);
        assert_eq!(presence(&data_dir), Some(presence_of(7)));
        assert!(unknown.is_err());
        shutdown.cancel();
        served.await.unwrap();
        assert_eq!(fs::read_dir(&data_dir).unwrap().count(), 0, "nothing is left behind");
    }

    #[tokio::test]
    async fn nobody_listens_where_no_server_is() {
        let dir = tempfile::tempdir().unwrap();

        assert!(connect(dir.path()).await.is_err());
        assert_eq!(presence(dir.path()), None);
    }
}
