//! Whose turn it is: places for each plugin and for all together, and a queue with an end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use caelum_core::plugin::HostReason;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::host::Host;
use crate::plugin::Plugin;

/// A call's turn; given back when it is dropped.
pub(super) struct Turn {
    _own: OwnedSemaphorePermit,
    _common: OwnedSemaphorePermit,
}

/// One more that waits.
struct Waiting<'a>(&'a Host);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn {
    /// Takes a place when one is free.
    pub(super) fn free(host: &Host, plugin: &Plugin) -> Option<Turn> {
        let own = Arc::clone(&plugin.places).try_acquire_owned().ok()?;
        let common = Arc::clone(&host.places).try_acquire_owned().ok()?;
        Some(Turn { _own: own, _common: common })
    }

    /// Waits for the plugin and then for a place, so that a busy plugin's queue takes no places from others.
    pub(super) async fn wait(
        host: &Host,
        plugin: &Plugin,
        cancel: &CancellationToken,
    ) -> Result<Turn, HostReason> {
        if let Some(turn) = Turn::free(host, plugin) {
            return Ok(turn);
        }
        let closed = || HostReason::Internal { message: "the host is shutting down".to_owned() };
        let before = host.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(host);
        if before >= host.limits.calls_waiting_max {
            return Err(HostReason::Busy { waiting: before });
        }
        let both = async {
            let own = Arc::clone(&plugin.places).acquire_owned().await.map_err(|_| closed())?;
            let common = Arc::clone(&host.places).acquire_owned().await.map_err(|_| closed())?;
            Ok(Turn { _own: own, _common: common })
        };
        tokio::select! {
            turn = both => turn,
            () = cancel.cancelled() => Err(HostReason::Cancelled),
            () = tokio::time::sleep(host.limits.wait_deadline) => {
                Err(HostReason::Busy { waiting: host.waiting.load(Ordering::Relaxed) })
            }
        }
    }
}
