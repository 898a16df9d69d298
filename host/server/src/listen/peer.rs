//! The other end of one connection: its address, its place among the connections, its share of the calls, and what the
//! kernel says about who it is.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{OnceCell, OwnedSemaphorePermit};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::mcp::toolset::Session;
use crate::trust::{Caller, Policy};

/// One connection's peer. Every request and the task of an upgraded connection hold a clone, so that its place is given
/// back only when the last of them has ended.
#[derive(Debug, Clone)]
pub(crate) struct Peer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    remote: SocketAddr,
    local: SocketAddr,
    policy: Arc<Policy>,
    session: Session,
    // Asked once: the answer cannot change while the connection lasts.
    recognised: OnceCell<Option<Caller>>,
    _place: OwnedSemaphorePermit,
    _task: TaskTrackerToken,
}

impl Peer {
    pub(crate) fn new(
        remote: SocketAddr,
        local: SocketAddr,
        policy: Arc<Policy>,
        session: Session,
        place: OwnedSemaphorePermit,
        task: TaskTrackerToken,
    ) -> Self {
        let recognised = OnceCell::new();
        Self(Arc::new(Inner {
            remote,
            local,
            policy,
            session,
            recognised,
            _place: place,
            _task: task,
        }))
    }

    /// Returns this server's end of the connection.
    pub(crate) fn local(&self) -> SocketAddr {
        self.0.local
    }

    /// Returns the connection's share of the calls.
    pub(crate) fn session(&self) -> Session {
        self.0.session.clone()
    }

    /// Returns who the connection comes from, if that can be told without a token.
    pub(crate) async fn recognise(&self) -> Option<Caller> {
        let ask = || async {
            let (policy, remote, local) = (Arc::clone(&self.0.policy), self.0.remote, self.0.local);
            // Reads the kernel's table, which takes longer the more connections the machine has.
            tokio::task::spawn_blocking(move || policy.recognise(remote, local))
                .await
                .unwrap_or_default()
        };
        *self.0.recognised.get_or_init(ask).await
    }

    /// Returns who shows this `Authorization` header.
    pub(crate) fn authorize(&self, header: &str) -> Option<Caller> {
        self.0.policy.authorize(header)
    }
}
