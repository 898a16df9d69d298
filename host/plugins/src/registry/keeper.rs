//! The one owner of what is served: it loads what was found, looks again when something has changed, and publishes.
//! Loading happens beside it, so that a file that takes minutes holds up nothing else.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use caelum_core::id::Digest;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::host::Host;
use crate::loader::{Captured, Identity, LoadError, Refused, Source, capture};
use crate::plugin::Plugin;
use crate::trust::{Trust, Trusted};

use super::Change;
use super::folder::{self, Found};
use super::retired::Retired;
use super::shelf::{Place, Shelf};
use super::snapshot::Snapshot;
use super::watch::Watch;

/// How long nothing may change before a change is looked at: files are copied in many steps.
const SETTLE: Duration = Duration::from_millis(150);

/// How long a change may wait for the next one at most.
const SETTLE_MAX: Duration = Duration::from_millis(600);

/// How long after its last change a file that ends too early is taken for one that is still being copied.
const COPYING: Duration = Duration::from_secs(2);

/// What the keeper works with.
pub(super) struct Keeper {
    pub(super) host: Arc<Host>,
    pub(super) bundled: Vec<(String, Bytes)>,
    pub(super) directory: Option<PathBuf>,
    pub(super) trust: Trust,
    pub(super) current: Arc<ArcSwap<Snapshot>>,
    pub(super) changes: watch::Sender<Change>,
    pub(super) retired: Arc<Retired>,
    pub(super) shelf: Shelf,
    pub(super) loads: JoinSet<Loaded>,
    /// Places for loading: captured files are held in memory.
    pub(super) several: Arc<Semaphore>,
}

/// What became of loading one thing.
pub(super) struct Loaded {
    place: Place,
    outcome: Outcome,
}

enum Outcome {
    Done(Result<Arc<Plugin>, Refused>),
    /// Its file is still being written.
    NotReady,
}

/// What a look at the directory has found.
struct Look {
    files: Result<Vec<Found>, LoadError>,
    trusted: Trusted,
}

impl Keeper {
    /// Begins to load everything that is there.
    pub(super) async fn begin(&mut self) {
        let look = self.look().await;
        self.host.trusted.store(Arc::new(look.trusted));
        for number in 0..self.bundled.len() {
            self.load_bundled(number);
        }
        self.load_files(look.files, true);
        self.publish();
    }

    /// Loads until everything that was there at the beginning is done, and publishes it at once.
    pub(super) async fn finish(&mut self) {
        while let Some(done) = self.loads.join_next().await {
            if let Ok(done) = done {
                self.settle(done);
            }
        }
        self.publish();
    }

    /// Keeps what is served in step with what is there, until it is stopped.
    pub(super) async fn keep(mut self, mut watch: Option<Watch>, stop: CancellationToken) {
        // When the first change came that has not been looked at, and when to look.
        let mut first: Option<Instant> = None;
        let mut look_at: Option<Instant> = None;
        loop {
            let looking = look_at.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(done) = self.loads.join_next(), if !self.loads.is_empty() => {
                    if let Ok(done) = done
                        && self.settle(done)
                    {
                        look_at.get_or_insert(Instant::now() + SETTLE);
                    }
                    self.publish();
                }
                () = touched(watch.as_ref()) => {
                    let now = Instant::now();
                    let limit = *first.get_or_insert(now) + SETTLE_MAX;
                    look_at = Some((now + SETTLE).min(limit));
                }
                () = tokio::time::sleep_until(looking), if look_at.is_some() => {
                    (first, look_at) = (None, None);
                    if let Some(held) = watch.take() {
                        watch = Some(self.renewed(held).await);
                    }
                    if self.look_again().await {
                        look_at = Some(Instant::now() + SETTLE);
                    }
                    self.publish();
                }
            }
        }
    }

    async fn renewed(&self, mut watch: Watch) -> Watch {
        let renew = self.host.runtime.threads().spawn_blocking(move || {
            watch.renew();
            watch
        });
        renew.await.unwrap_or_else(|_| Watch::start(vec![]))
    }

    async fn look(&self) -> Look {
        let (directory, trust) = (self.directory.clone(), self.trust.clone());
        let look = move || Look {
            files: directory.as_deref().map_or(Ok(vec![]), folder::list),
            trusted: Trusted::read(&trust),
        };
        let looked = self.host.runtime.threads().spawn_blocking(look).await;
        looked.unwrap_or_else(|_| Look { files: Ok(vec![]), trusted: Trusted::default() })
    }

    /// Looks at what has changed. Returns whether it has to be looked at once more.
    async fn look_again(&mut self) -> bool {
        let look = self.look().await;
        self.obey(look.trusted);
        self.load_files(look.files, false)
    }

    /// Applies the operator's word where it has changed.
    fn obey(&mut self, trusted: Trusted) {
        let before = self.host.trusted.load_full();
        if *before == trusted {
            return;
        }
        info!(problem = trusted.problem(), "the operator's word on plugins has changed");
        for digest in trusted.released_since(&before) {
            self.host.strikes.clear(&digest);
        }
        let now = Arc::new(trusted);
        self.host.trusted.store(Arc::clone(&now));
        let (gone, again) = self.shelf.judge(|source, digest| {
            now.allows(source, digest).map_err(|error| {
                Refused::new(source.clone(), Some(digest.clone()), &LoadError::from(error))
            })
        });
        self.retired.keep(gone);
        for place in again {
            if let Place::Bundled(number) = place {
                self.load_bundled(number);
            }
        }
    }

    fn load_bundled(&mut self, number: usize) {
        let (name, bytes) = self.bundled[number].clone();
        let (place, source) = (Place::Bundled(number), Source::Bundled { name });
        self.shelf.begin(&place, source.clone(), None);
        let (host, several) = (Arc::clone(&self.host), Arc::clone(&self.several));
        let load = async move {
            let _permit = several.acquire_owned().await;
            let hash = host.runtime.threads().spawn_blocking(move || Captured::new(bytes));
            let outcome = match hash.await {
                Ok(captured) => load(&host, source, captured).await,
                Err(_) => return Loaded { place, outcome: Outcome::NotReady },
            };
            Loaded { place, outcome: Outcome::Done(outcome.map_err(|(refused, _)| refused)) }
        };
        self.loads.spawn_on(load, self.host.runtime.threads());
    }

    /// Begins to load what is new or has changed. Returns whether something is not ready yet.
    fn load_files(&mut self, files: Result<Vec<Found>, LoadError>, is_first: bool) -> bool {
        let files = match files {
            Ok(files) => {
                self.shelf.folder = None;
                files
            }
            Err(error) => {
                let path = self.directory.clone().unwrap_or_default();
                let refused = Refused::new(Source::File { path }, None, &error);
                if self.shelf.folder.as_ref() != Some(&refused) {
                    warn!(stage = refused.stage.as_str(), "{refused}");
                }
                self.shelf.folder = Some(refused);
                vec![]
            }
        };
        let there: HashSet<&PathBuf> = files.iter().map(|found| &found.path).collect();
        let gone = self.shelf.retain_files(|path| there.contains(path));
        for plugin in &gone {
            info!(%plugin, "a plugin's file is gone");
        }
        self.retired.keep(gone);
        let mut is_unready = false;
        for found in files {
            if self.shelf.knows(&found.path, found.identity.as_ref()) {
                continue;
            }
            if !is_first && found.age < SETTLE {
                is_unready = true;
                continue;
            }
            // At the start nothing is waited for: what is still being written is told of when it is done.
            let may_wait = !is_first && found.age < COPYING;
            self.load_file(found.path, found.identity, may_wait);
        }
        is_unready
    }

    fn load_file(&mut self, path: PathBuf, identity: Option<Identity>, may_wait: bool) {
        let (place, source) = (Place::File(path.clone()), Source::File { path: path.clone() });
        self.shelf.begin(&place, source.clone(), identity);
        let (host, several) = (Arc::clone(&self.host), Arc::clone(&self.several));
        let load = async move {
            let _permit = several.acquire_owned().await;
            let bytes_max = host.limits.component_bytes_max;
            let read = move || capture(&path, bytes_max).map_err(LoadError::from);
            let captured = host.runtime.threads().spawn_blocking(read).await;
            let outcome = match captured {
                Ok(Ok(captured)) => load(&host, source, captured).await,
                Ok(Err(error)) => Err((Refused::new(source, None, &error), error.is_cut_off())),
                Err(_) => return Loaded { place, outcome: Outcome::NotReady },
            };
            let outcome = match outcome {
                Err((_, true)) if may_wait => Outcome::NotReady,
                outcome => Outcome::Done(outcome.map_err(|(refused, _)| refused)),
            };
            Loaded { place, outcome }
        };
        self.loads.spawn_on(load, self.host.runtime.threads());
    }

    /// Notes what became of loading. Returns whether it has to be tried again.
    fn settle(&mut self, loaded: Loaded) -> bool {
        match loaded.outcome {
            Outcome::NotReady => {
                self.shelf.postpone(&loaded.place);
                true
            }
            Outcome::Done(outcome) => {
                match &outcome {
                    Ok(plugin) => debug!(%plugin, digest = plugin.digest().short(), "loaded"),
                    Err(refused) => warn!(stage = refused.stage.as_str(), "{refused}"),
                }
                let before = self.shelf.settle(&loaded.place, outcome);
                self.retired.keep(before.into_iter().collect());
                // Its file may have changed again while it was being loaded.
                matches!(loaded.place, Place::File(_))
            }
        }
    }

    /// Publishes what is served now, when it differs from what was.
    fn publish(&mut self) {
        let mut next = self.shelf.snapshot();
        let before = self.current.load();
        let is_same = before.generation > 0 && next.shows_the_same(&before);
        if !is_same {
            next.generation = before.generation + 1;
            if self.loads.is_empty() {
                info!(
                    generation = next.generation,
                    plugins = next.plugins.len(),
                    shadowed = next.shadowed.len(),
                    refused = next.refused.len(),
                    "plugins are loaded"
                );
            }
            self.current.store(Arc::new(next));
        }
        let generation = self.current.load().generation;
        let change = Change { generation, is_settled: self.loads.is_empty() };
        self.changes.send_if_modified(|last| std::mem::replace(last, change) != change);
    }
}

/// Loads one thing. Returns beside the refusal whether its bytes seem to be cut off.
async fn load(
    host: &Arc<Host>,
    source: Source,
    captured: Captured,
) -> Result<Arc<Plugin>, (Refused, bool)> {
    let (from, digest) = (source.clone(), captured.digest.clone());
    let refused = |error: LoadError, digest: Digest| {
        (Refused::new(from.clone(), Some(digest), &error), error.is_cut_off())
    };
    let allowed = host.trusted.load().allows(&source, &digest);
    if let Err(error) = allowed {
        return Err(refused(error.into(), digest));
    }
    match host.load(source, captured).await {
        Ok(plugin) => Ok(Arc::new(plugin)),
        Err(error) => Err(refused(error, digest)),
    }
}

async fn touched(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.touched().await,
        None => std::future::pending().await,
    }
}
