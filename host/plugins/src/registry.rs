//! All plugins of a process, behind one handle: what is bundled, what lies in the plugins directory, what was refused.

mod folder;
mod keeper;
mod retired;
mod shelf;
mod snapshot;
mod watch;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use caelum_core::evidence::{Evidence, Verdict};
use caelum_core::id::Digest;
use caelum_core::pattern::{Assessment, Plan};
use caelum_core::plugin::{Phase, PluginKind};
use caelum_core::tree::Tree;
use serde_json::Value;
use tokio::sync::{Semaphore, watch as channel};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use crate::cache::Cache;
use crate::call::{self, CallControl, Called};
use crate::compile::Compiler;
use crate::host::Host;
use crate::limits::{LimitProblem, Limits};
use crate::plugin::Plugin;
use crate::runtime::{Allocator, Runtime, RuntimeError};
use crate::target::{PolicyError, TargetPolicy};
use crate::trust::Trust;

use keeper::Keeper;
use retired::Retired;
use shelf::Shelf;
use watch::Watch;

pub use snapshot::{Snapshot, UnknownPlugin};

/// How many files are loaded at the same time: each is held in memory, and most of them wait for the compiler.
const LOADS_MAX: usize = 8;

/// When plugins are loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Loading {
    /// Before [`Plugins::open`] returns: for programs that ask at once and are gone in a moment.
    #[default]
    First,
    /// Behind it: for servers, which greet their clients at once.
    Behind,
}

/// Whether changes of the plugins directory are followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reload {
    /// What was there at the start is what serves.
    #[default]
    Never,
    /// A file that is dropped, replaced or taken away is seen within two seconds. Nothing wakes up while nothing
    /// changes, where the system tells of changes; the directory is made when it is missing.
    Live,
}

/// How the host of plugins is set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What a plugin may use.
    pub limits: Limits,
    /// What plugins may not see of a component.
    pub policy: TargetPolicy,
    /// How the memory of instances is found.
    pub allocator: Allocator,
    /// Where plugins are looked for; nothing means that only the bundled ones serve. It need not exist.
    pub directory: Option<PathBuf>,
    /// When plugins are loaded.
    pub loading: Loading,
    /// Whether changes of the directory are followed.
    pub reload: Reload,
    /// Which files may serve.
    pub trust: Trust,
    /// Who compiles plugins.
    pub compiler: Compiler,
    /// Where compiled plugins are kept, a directory of our own (mode 0700); made when it is missing. Nothing means
    /// that plugins are compiled at every start.
    pub cache_directory: Option<PathBuf>,
}

/// A plugin that is part of the server.
#[derive(Debug, Clone)]
pub struct BundledPlugin {
    /// What it is called in messages.
    pub name: String,
    /// The component.
    pub bytes: Cow<'static, [u8]>,
}

/// The host could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginsError {
    /// Limits out of their range.
    #[error("the limits of plugins are not legal: {}", list(.0))]
    Limits(Vec<LimitProblem>),
    /// Globs that cannot be parsed.
    #[error("the policy of what plugins may see is not legal: {}", list(.0))]
    Policy(Vec<PolicyError>),
    /// The engine or its threads.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

fn list<T: ToString>(problems: &[T]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What has become of the plugins so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// The [`Snapshot::generation`] that is served.
    pub generation: u64,
    /// Whether everything that was found has been loaded or refused.
    pub is_settled: bool,
}

/// The handle of all plugins. Cheap to clone.
#[derive(Clone)]
pub struct Plugins {
    host: Arc<Host>,
    /// Many read it with each call; it is replaced as a whole and never changed.
    current: Arc<ArcSwap<Snapshot>>,
    changes: channel::Receiver<Change>,
    retired: Arc<Retired>,
    cache_problem: Option<Arc<str>>,
    /// Ends the keeper when the last handle is dropped.
    _stop: Arc<DropGuard>,
}

impl Plugins {
    /// Sets up the engine and loads the bundled plugins and those of the directory, several at a time.
    ///
    /// A file that cannot be loaded is listed in [`Snapshot::refused`] and keeps nothing else from serving. A cache
    /// directory that cannot be used costs time at each start and is told by [`Plugins::cache_problem`].
    ///
    /// With [`Loading::Behind`] this returns at once; [`Plugins::settled`] tells when everything is there.
    ///
    /// # Errors
    ///
    /// [`PluginsError`] when the limits or the policy are not legal, with all faults, or the engine does not start.
    pub async fn open(options: Options, bundled: Vec<BundledPlugin>) -> Result<Self, PluginsError> {
        let limits = options.limits.checked().map_err(PluginsError::Limits)?;
        let policy = options.policy.compile().map_err(PluginsError::Policy)?;
        let runtime = Runtime::new(&limits, options.allocator)?;
        let mut cache_problem = None;
        let cache = options.cache_directory.as_deref().and_then(|directory| {
            Cache::open(directory)
                .inspect_err(|error| {
                    warn!(%error, "plugins are compiled at each start");
                    cache_problem = Some(Arc::from(error.to_string()));
                })
                .ok()
        });
        let host = Arc::new(Host::new(runtime, limits, policy, cache, options.compiler)?);
        let current = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let (sender, changes) = channel::channel(Change::default());
        let retired = Arc::new(Retired::default());
        let mut keeper = Keeper {
            host: Arc::clone(&host),
            bundled: bundled.into_iter().map(in_memory).collect(),
            directory: options.directory.clone(),
            trust: options.trust.clone(),
            current: Arc::clone(&current),
            changes: sender,
            retired: Arc::clone(&retired),
            shelf: Shelf::default(),
            loads: JoinSet::new(),
            several: Arc::new(Semaphore::new(LOADS_MAX)),
        };
        // Watched before it is looked at, so that nothing that changes meanwhile is missed.
        let watch = match options.reload {
            Reload::Never => None,
            Reload::Live => {
                let lock = options.trust.lock.as_deref().and_then(Path::parent);
                let lock = lock.map(Path::to_owned);
                let directories = options.directory.into_iter().chain(lock).collect();
                let start = move || Watch::start(directories);
                host.runtime.threads().spawn_blocking(start).await.ok()
            }
        };
        keeper.begin().await;
        if options.loading == Loading::First {
            keeper.finish().await;
        }
        let stop = CancellationToken::new();
        let guard = Arc::new(stop.clone().drop_guard());
        if options.reload == Reload::Live || options.loading == Loading::Behind {
            host.runtime.threads().spawn(keeper.keep(watch, stop));
        }
        Ok(Plugins { host, current, changes, retired, cache_problem, _stop: guard })
    }

    /// Returns what tells of each change of what is served.
    pub fn changes(&self) -> channel::Receiver<Change> {
        self.changes.clone()
    }

    /// Waits until everything that was found has been loaded or refused, at most [`Limits::load_deadline`]. Returns
    /// whether it has.
    pub async fn settled(&self) -> bool {
        self.until(|_| false, self.host.limits.load_deadline).await;
        self.changes.borrow().is_settled
    }

    /// Waits until a snapshot is as wanted or nothing is being loaded any more, at most for `deadline`, and returns the
    /// snapshot as it is then.
    pub async fn until(
        &self,
        wanted: impl Fn(&Snapshot) -> bool,
        deadline: Duration,
    ) -> Arc<Snapshot> {
        let mut changes = self.changes.clone();
        let done = |change: &Change| change.is_settled || wanted(&self.current.load());
        if !done(&changes.borrow_and_update()) {
            tokio::time::timeout(deadline, changes.wait_for(done)).await.ok();
        }
        self.snapshot()
    }

    /// Finds a plugin of one kind by name; when it is not there yet, waits until everything is loaded, at most
    /// [`Limits::load_deadline`].
    ///
    /// # Errors
    ///
    /// As [`Plugins::find`].
    pub async fn find_loaded(
        &self,
        kind: PluginKind,
        name: &str,
    ) -> Result<Arc<Plugin>, UnknownPlugin> {
        let known = |snapshot: &Snapshot| snapshot.plugins.contains_key(name);
        self.until(known, self.host.limits.load_deadline).await.find(kind, name)
    }

    /// Finds the plugin that an execution began with, by what it hashes to: one that serves, one that was served since
    /// the process began, or one that the cache has kept from an earlier life. What the operator has put away is not
    /// found.
    pub async fn pinned(&self, digest: &Digest) -> Option<Arc<Plugin>> {
        if let Some(plugin) = self.by_digest(digest) {
            return Some(plugin);
        }
        let known = |snapshot: &Snapshot| snapshot.by_digest.contains_key(digest);
        self.until(known, self.host.limits.load_deadline).await;
        if let Some(plugin) = self.by_digest(digest) {
            return Some(plugin);
        }
        let plugin = Arc::new(self.host.load_kept(digest).await?);
        if self.host.trusted.load().allows(plugin.source(), digest).is_err() {
            return None;
        }
        self.retired.keep(vec![plugin]);
        self.by_digest(digest)
    }

    /// Returns what is wrong with `plugins.lock`, when it cannot be used.
    pub fn trust_problem(&self) -> Option<String> {
        self.host.trusted.load().problem().map(str::to_owned)
    }

    /// Whether a plugin is pinned in `plugins.lock`.
    pub fn is_pinned(&self, digest: &Digest) -> bool {
        self.host.trusted.load().lock().is_some_and(|lock| lock.is_pinned(digest))
    }

    /// Returns what is served now. What was taken stays as it is while it is held.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Returns why compiled plugins cannot be kept, when they cannot.
    pub fn cache_problem(&self) -> Option<&str> {
        self.cache_problem.as_deref()
    }

    /// Returns the limits in force.
    pub fn limits(&self) -> &Limits {
        &self.host.limits
    }

    /// Finds a plugin of one kind by name.
    ///
    /// # Errors
    ///
    /// [`UnknownPlugin`] with near names, or with what stands in the way.
    pub fn find(&self, kind: PluginKind, name: &str) -> Result<Arc<Plugin>, UnknownPlugin> {
        self.current.load().find(kind, name)
    }

    /// Finds a plugin by what it hashes to: one that serves, or one of the last that were served since the process
    /// began. See [`Plugins::pinned`] for executions.
    pub fn by_digest(&self, digest: &Digest) -> Option<Arc<Plugin>> {
        if let Some(plugin) = self.current.load().by_digest.get(digest) {
            return Some(Arc::clone(plugin));
        }
        let plugin = self.retired.find(digest)?;
        self.host.trusted.load().allows(plugin.source(), digest).is_ok().then_some(plugin)
    }

    /// Asks a pattern what it thinks of a component.
    ///
    /// `parameters` and `context` are JSON objects. Parameters are checked against the plugin's schema first; every
    /// problem comes back as [`caelum_core::plugin::PluginFailure::InvalidParameters`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the guest within a few milliseconds.
    pub async fn validate(
        &self,
        plugin: &Arc<Plugin>,
        tree: Arc<dyn Tree>,
        parameters: &Value,
        context: &Value,
        control: CallControl,
    ) -> Called<Assessment> {
        call::validate(&self.host, plugin, tree, parameters, context, control).await
    }

    /// Asks a pattern what it would change. The plan has passed [`caelum_core::pattern::check_plan`].
    ///
    /// # Cancel safety
    ///
    /// As for [`Plugins::validate`].
    pub async fn plan(
        &self,
        plugin: &Arc<Plugin>,
        tree: Arc<dyn Tree>,
        parameters: &Value,
        context: &Value,
        control: CallControl,
    ) -> Called<Plan> {
        call::plan(&self.host, plugin, tree, parameters, context, control).await
    }

    /// Asks a validator for its judgement of `evidence`, whose files it reads under `evidence/<machine>/`, over `tree`.
    ///
    /// `phase` is the gate that asks, when there is one. A failure is never a negative verdict: make
    /// [`Verdict::broken_down`] of it.
    ///
    /// # Cancel safety
    ///
    /// As for [`Plugins::validate`].
    pub async fn judge(
        &self,
        plugin: &Arc<Plugin>,
        evidence: &Evidence,
        phase: Option<Phase>,
        tree: Arc<dyn Tree>,
        parameters: &Value,
        control: CallControl,
    ) -> Called<Verdict> {
        call::judge(&self.host, plugin, evidence, phase, tree, parameters, control).await
    }
}

fn in_memory(plugin: BundledPlugin) -> (String, Bytes) {
    let bytes = match plugin.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    (plugin.name, bytes)
}
