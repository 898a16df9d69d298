//! All plugins of a process, behind one handle: what is bundled, what lies in the plugins directory, what was refused.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use caelum_core::evidence::{Evidence, Verdict};
use caelum_core::id::{Digest, PluginName};
use caelum_core::near::did_you_mean;
use caelum_core::pattern::{Assessment, Plan};
use caelum_core::plugin::{Phase, PluginKind};
use caelum_core::tree::Tree;
use serde_json::Value;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::cache::Cache;
use crate::call::{self, CallControl, Called};
use crate::host::Host;
use crate::limits::{LimitProblem, Limits};
use crate::loader::{CaptureError, Captured, LoadError, Refused, Source, capture, check_owner};
use crate::plugin::Plugin;
use crate::runtime::{Allocator, Runtime, RuntimeError};
use crate::target::{PolicyError, TargetPolicy};

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

/// No plugin of this kind has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {kind} is called `{}`{}", shown(.name), .hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
pub struct UnknownPlugin {
    /// What was looked for.
    pub kind: PluginKind,
    /// Under which name.
    pub name: String,
    /// Near names, the kind that has the name, or why its file was refused.
    pub hint: Option<String>,
}

fn shown(name: &str) -> String {
    crate::text::line(name).chars().take(80).collect()
}

/// What is served at one moment. Never changes; a new one takes its place.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts the changes, from 1.
    pub generation: u64,
    /// What serves, by name.
    pub plugins: BTreeMap<PluginName, Arc<Plugin>>,
    /// What would serve if another one with a higher version did not.
    pub shadowed: Vec<Arc<Plugin>>,
    /// What was kept out.
    pub refused: Vec<Refused>,
    by_digest: HashMap<Digest, Arc<Plugin>>,
}

/// The handle of all plugins. Cheap to clone.
#[derive(Clone)]
pub struct Plugins {
    host: Arc<Host>,
    /// Many read it with each call; it is replaced as a whole and never changed.
    current: Arc<ArcSwap<Snapshot>>,
    cache_problem: Option<Arc<str>>,
}

impl Plugins {
    /// Sets up the engine and loads the bundled plugins and those of the directory, several at a time.
    ///
    /// A file that cannot be loaded is listed in [`Snapshot::refused`] and keeps nothing else from serving. A cache
    /// directory that cannot be used costs time at each start and is told by [`Plugins::cache_problem`].
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
        let host = Arc::new(Host::new(runtime, limits, policy, cache)?);
        let found = {
            let (host, directory) = (Arc::clone(&host), options.directory.clone());
            let bytes_max = host.limits.component_bytes_max;
            let look = move || collect(bundled, directory.as_deref(), bytes_max);
            host.runtime.threads().spawn_blocking(look).await.unwrap_or_default()
        };
        let snapshot = load_all(&host, found).await;
        for refused in &snapshot.refused {
            warn!(stage = refused.stage.as_str(), "{refused}");
        }
        info!(
            plugins = snapshot.plugins.len(),
            shadowed = snapshot.shadowed.len(),
            refused = snapshot.refused.len(),
            "plugins are loaded"
        );
        let current = Arc::new(ArcSwap::from_pointee(snapshot));
        Ok(Plugins { host, current, cache_problem })
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

    /// Finds a plugin by what it hashes to: one that serves, or one that was served since the process began, so that
    /// an execution goes on with exactly what it began with.
    ///
    /// After a restart only the files that are there are known: an execution pinned to a digest that is gone cannot go
    /// on with it, and its owner has to be told.
    pub fn by_digest(&self, digest: &Digest) -> Option<Arc<Plugin>> {
        self.current.load().by_digest.get(digest).cloned()
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

impl Snapshot {
    /// Finds a plugin of one kind by name.
    ///
    /// # Errors
    ///
    /// [`UnknownPlugin`] with near names, or with what stands in the way.
    pub fn find(&self, kind: PluginKind, name: &str) -> Result<Arc<Plugin>, UnknownPlugin> {
        let hint = match self.plugins.get(name) {
            Some(plugin) if plugin.kind() == kind => return Ok(Arc::clone(plugin)),
            Some(other) => Some(format!("`{}` is a {}", other.name(), other.kind())),
            None => did_you_mean(name, self.of_kind(kind).map(|plugin| plugin.name().as_str())),
        };
        Err(UnknownPlugin { kind, name: name.to_owned(), hint })
    }

    /// Returns the plugins of one kind that serve, by name.
    pub fn of_kind(&self, kind: PluginKind) -> impl Iterator<Item = &Arc<Plugin>> {
        self.plugins.values().filter(move |plugin| plugin.kind() == kind)
    }

    /// Puts a plugin among the others. Of two with one name the higher version serves; what came first is never
    /// displaced by an equal.
    fn publish(&mut self, plugin: Plugin) {
        let plugin = Arc::new(plugin);
        let refuse = |error: LoadError| {
            Refused::new(plugin.source().clone(), Some(plugin.digest().clone()), &error)
        };
        if let Some(served) = self.plugins.get(plugin.name()) {
            let (name, by) = (plugin.name().to_string(), served.source().to_string());
            if served.digest() == plugin.digest() {
                return;
            }
            if served.kind() != plugin.kind() {
                let kind = match served.kind() {
                    PluginKind::Pattern => "pattern",
                    PluginKind::Validator => "validator",
                };
                self.refused.push(refuse(LoadError::NameTaken { name, kind, by }));
                return;
            }
            match plugin.version().cmp_precedence(served.version()) {
                std::cmp::Ordering::Equal => {
                    let version = plugin.version().to_string();
                    self.refused.push(refuse(LoadError::VersionTaken { name, version, by }));
                    return;
                }
                std::cmp::Ordering::Less => {
                    self.by_digest.insert(plugin.digest().clone(), Arc::clone(&plugin));
                    self.shadowed.push(plugin);
                    return;
                }
                std::cmp::Ordering::Greater => {}
            }
        }
        self.by_digest.insert(plugin.digest().clone(), Arc::clone(&plugin));
        if let Some(displaced) = self.plugins.insert(plugin.name().clone(), plugin) {
            self.shadowed.push(displaced);
        }
    }
}

/// A file that was looked at, in the order in which it may serve.
type Found = (Source, Result<Captured, LoadError>);

/// Reads everything that could be a plugin. Blocks.
fn collect(bundled: Vec<BundledPlugin>, directory: Option<&Path>, bytes_max: u64) -> Vec<Found> {
    let mut found: Vec<Found> = bundled
        .into_iter()
        .map(|plugin| {
            let bytes = match plugin.bytes {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => Bytes::from(bytes),
            };
            (Source::Bundled { name: plugin.name }, Ok(Captured::new(bytes)))
        })
        .collect();
    if let Some(directory) = directory {
        found.extend(files(directory, bytes_max));
    }
    found
}

fn files(directory: &Path, bytes_max: u64) -> Vec<Found> {
    let refused = |error: CaptureError| {
        vec![(Source::File { path: directory.to_owned() }, Err(LoadError::Capture(error)))]
    };
    let metadata = match std::fs::metadata(directory) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return vec![],
        Err(error) => return refused(CaptureError::Io(error)),
    };
    // Who can put files here can have code run, if only in the sandbox.
    if let Err(error) = check_owner(&metadata) {
        return refused(error);
    }
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return refused(CaptureError::Io(error)),
    };
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_candidate(path)).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let captured = capture(&path, bytes_max).map_err(LoadError::Capture);
            (Source::File { path }, captured)
        })
        .collect()
}

/// Whether a file's name says that somebody wants it to be a plugin.
fn is_candidate(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("wasm" | "cwasm"))
}

/// Loads what was found, several at a time, and publishes in the order in which it was found.
async fn load_all(host: &Arc<Host>, found: Vec<Found>) -> Snapshot {
    let mut snapshot = Snapshot { generation: 1, ..Snapshot::default() };
    let mut loading = JoinSet::new();
    let several = Arc::new(tokio::sync::Semaphore::new(
        usize::try_from(host.limits.calls_max).unwrap_or(1).max(1),
    ));
    let mut results: Vec<(usize, Result<Plugin, Refused>)> = Vec::with_capacity(found.len());
    for (place, (source, captured)) in found.into_iter().enumerate() {
        let captured = match captured {
            Ok(captured) => captured,
            Err(error) => {
                results.push((place, Err(Refused::new(source, None, &error))));
                continue;
            }
        };
        let (loader, several) = (Arc::clone(host), Arc::clone(&several));
        let task = async move {
            let _permit = several.acquire().await;
            let (from, digest) = (source.clone(), captured.digest.clone());
            let loaded = loader
                .load(source, captured)
                .await
                .map_err(|error| Refused::new(from, Some(digest), &error));
            (place, loaded)
        };
        loading.spawn_on(task, host.runtime.threads());
    }
    while let Some(done) = loading.join_next().await {
        match done {
            Ok(done) => results.push(done),
            Err(error) => warn!(%error, "loading a plugin broke down"),
        }
    }
    results.sort_by_key(|(place, _)| *place);
    for (_, result) in results {
        match result {
            Ok(plugin) => snapshot.publish(plugin),
            Err(refused) => snapshot.refused.push(refused),
        }
    }
    snapshot
}
