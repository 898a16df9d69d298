//! Being told that something in a directory has changed. The system tells; where it cannot, somebody looks every two
//! seconds.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tracing::{debug, info};

/// How often a directory is looked at when the system does not tell of changes.
const POLL: Duration = Duration::from_secs(2);

/// Watches directories.
pub(super) struct Watch {
    directories: Vec<Watched>,
    watcher: Option<RecommendedWatcher>,
    touched: Arc<Notify>,
}

struct Watched {
    path: PathBuf,
    /// Which directory the system watches for us: another one may come in its place.
    identity: Option<(u64, u64)>,
}

impl Watch {
    /// Begins to watch these directories, which are made where they are missing. Blocks.
    pub(super) fn start(directories: Vec<PathBuf>) -> Self {
        let touched = Arc::new(Notify::new());
        let tell = Arc::clone(&touched);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Looking at a directory is an event too; answering it by looking would never end.
            let is_change = event.is_ok_and(|event| {
                !matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
            });
            if is_change {
                tell.notify_one();
            }
        })
        .inspect_err(|error| {
            info!(%error, "the system does not tell of changed files; they are looked for every two seconds");
        })
        .ok();
        let mut directories: Vec<Watched> =
            directories.into_iter().map(|path| Watched { path, identity: None }).collect();
        directories.dedup_by(|one, other| one.path == other.path);
        let mut watch = Watch { directories, watcher, touched };
        for watched in &watch.directories {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&watched.path)
                .inspect_err(|error| {
                    debug!(directory = %watched.path.display(), %error, "cannot be made");
                })
                .ok();
        }
        watch.renew();
        watch
    }

    /// Watches the directories that have come since, or have come in the place of others. Blocks.
    pub(super) fn renew(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for watched in &mut self.directories {
            let found = identity(&watched.path);
            if found == watched.identity {
                continue;
            }
            if watched.identity.take().is_some() {
                watcher.unwatch(&watched.path).ok();
            }
            if found.is_none() {
                continue;
            }
            match watcher.watch(&watched.path, RecursiveMode::NonRecursive) {
                Ok(()) => watched.identity = found,
                Err(error) => {
                    info!(directory = %watched.path.display(), %error, "cannot be watched; it is looked at every two seconds");
                }
            }
        }
    }

    /// Returns when something may have changed. Never returns while nothing does, unless a directory cannot be watched.
    pub(super) async fn touched(&self) {
        let is_watched = self.watcher.is_some()
            && self.directories.iter().all(|watched| watched.identity.is_some());
        if is_watched {
            self.touched.notified().await;
        } else {
            tokio::time::timeout(POLL, self.touched.notified()).await.ok();
        }
    }
}

fn identity(directory: &Path) -> Option<(u64, u64)> {
    fs::metadata(directory).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
