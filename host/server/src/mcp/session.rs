//! One client's connection as calls see it: where it comes from, its share of the places, its share of the requests.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::toolset::Toolset;
use crate::rates::{Share, TooMany};
use crate::trust::Caller;

/// How a client speaks to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Standard input and output.
    Stdio,
    /// The socket in the data directory.
    Socket,
    /// Lines of JSON over TCP.
    Tcp,
    /// HTTP.
    Http,
    /// WebSocket.
    WebSocket,
    /// None: a command of the command line, in the same process.
    Command,
}

impl Transport {
    /// Returns the word used in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::Socket => "socket",
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Command => "command",
        }
    }
}

/// Where a client comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// How it speaks.
    pub transport: Transport,
    /// Its address, where it has one.
    pub remote: Option<SocketAddr>,
    /// The user it runs as, where the kernel says so.
    pub uid: Option<u32>,
}

impl Origin {
    /// Returns the origin of what this very user does over `transport`.
    pub fn own(transport: Transport) -> Self {
        Self { transport, remote: None, uid: Some(rustix::process::geteuid().as_raw()) }
    }
}

/// The share of one session (one connection, or one HTTP session) in the places and requests of the tool set. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Session {
    pub(super) places: Arc<Semaphore>,
    pub(super) share: Arc<Share>,
    origin: Origin,
}

impl Session {
    pub(super) fn new(places: usize, share: Share, origin: Origin) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), share: Arc::new(share), origin }
    }

    /// Returns where the client comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns the same share with more known of where the client comes from.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Returns the same share of a client that speaks otherwise than it was taken for.
    #[must_use]
    pub fn over(mut self, transport: Transport) -> Self {
        self.origin.transport = transport;
        self
    }
}

/// The gate that every request of one client passes before it is looked at. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    toolset: Arc<Toolset>,
    session: Session,
    caller: Caller,
}

impl Admission {
    pub(crate) fn new(toolset: Arc<Toolset>, session: Session, caller: Caller) -> Self {
        Self { toolset, session, caller }
    }

    /// Lets one request through.
    ///
    /// # Errors
    ///
    /// [`TooMany`], which is in the audit log then.
    pub(crate) fn admit(&self) -> Result<(), TooMany> {
        self.toolset.admit(&self.session, self.caller)
    }
}
