//! The other end of one connection: its address, its place among the connections, its share of the calls, and what the
//! kernel says about who it is.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{OnceCell, OwnedSemaphorePermit};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::mcp::session::{Origin, Session, Transport};
use crate::trust::{self, Caller, Policy};

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
    owner: OnceCell<Option<u32>>,
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
        Self(Arc::new(Inner {
            remote,
            local,
            policy,
            session,
            owner: OnceCell::new(),
            _place: place,
            _task: task,
        }))
    }

    /// Returns this server's end of the connection.
    pub(crate) fn local(&self) -> SocketAddr {
        self.0.local
    }

    /// Returns the connection's share of the calls, with what is known so far of where it comes from.
    pub(crate) fn session(&self) -> Session {
        let uid = self.0.owner.get().copied().flatten();
        let origin = Origin { transport: Transport::Http, remote: Some(self.0.remote), uid };
        self.0.session.clone().with_origin(origin)
    }

    /// Returns who the connection comes from, if that can be told without a token.
    pub(crate) async fn recognise(&self) -> Option<Caller> {
        let owner = self.owner().await;
        self.0.policy.recognise(owner)
    }

    /// Returns who shows this `Authorization` header.
    pub(crate) async fn authorize(&self, header: &str) -> Option<Caller> {
        // A token says what may be done; the audit log says who did it, too.
        self.owner().await;
        self.0.policy.authorize(header)
    }

    async fn owner(&self) -> Option<u32> {
        let ask = || async {
            let (remote, local) = (self.0.remote, self.0.local);
            // Reads the kernel's table, which takes longer the more connections the machine has.
            tokio::task::spawn_blocking(move || trust::owner_of_peer(remote, local))
                .await
                .unwrap_or_default()
        };
        *self.0.owner.get_or_init(ask).await
    }
}
