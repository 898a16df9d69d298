//! Looks at how large the server and its log grow, again and again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::world::World;

/// How often to look.
const EVERY: Duration = Duration::from_millis(100);

/// Looks until somebody says that it is enough.
pub(crate) fn sample(world: &Arc<World>, enough: &Receiver<()>) {
    let wal = world.server.home().data().join("caelum.db-wal");
    while let Err(RecvTimeoutError::Timeout) = enough.recv_timeout(EVERY) {
        if let Some(kib) = world.server.id().and_then(resident_kib) {
            world.figures.rss_max_kib.fetch_max(kib, Ordering::Relaxed);
        }
        let bytes = std::fs::metadata(&wal).map_or(0, |metadata| metadata.len());
        world.figures.wal_max_bytes.fetch_max(bytes, Ordering::Relaxed);
    }
}

fn resident_kib(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
