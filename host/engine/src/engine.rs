//! The engine's handle: its options, what it is made of, opening and closing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_components::Components;
use caelum_core::clock::{Clock, Timestamp};
use caelum_core::pattern::PlanLimits;
use caelum_core::workflow::{RuleLimits, Step};
use caelum_machines::{Fabric, MachineOptions, ToolServer};
use caelum_plugin_host::Plugins;
use caelum_store::{Store, StoreOptions};
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::error::EngineError;
use crate::estimates::Estimates;
use crate::meters::Meters;
use crate::retention::{self, Retention, RetentionOptions};
use crate::supervisor::{Changed, Supervisor};
use crate::system_clock::SystemClock;

/// How many changes a slow listener may lag behind before it misses some and has to ask again.
const CHANGES_MAX: usize = 1_024;

/// Everything that opening an engine needs. Filled in one place, from flags, environment and file.
#[derive(Debug)]
pub struct EngineOptions {
    /// Where the store, journals and the plugin cache live; made with mode 0700 when it is not there.
    pub data_dir: PathBuf,
    /// Directories beneath which components, and directories of commands, must lie. The first one is where relative
    /// paths begin.
    pub roots: Vec<PathBuf>,
    /// Names of components; need not exist.
    pub components_file: Option<PathBuf>,
    /// The plugins that ship with the binary.
    pub bundled: Vec<caelum_plugin_host::BundledPlugin>,
    /// The store.
    pub store: StoreOptions,
    /// The sandbox: its limits, the plugins directory, the cache of compiled plugins.
    pub plugins: caelum_plugin_host::Options,
    /// The local machine.
    pub machines: MachineOptions,
    /// How machines are reached; nothing means that there is the local one only.
    pub fabric: Option<Arc<dyn Fabric>>,
    /// Labels of the local machine, beside `os`, `arch` and `host`.
    pub labels: BTreeMap<String, String>,
    /// Who claims which port.
    pub port_claims: caelum_machines::probe::PortClaims,
    /// The port registry as patterns see it.
    pub ports: serde_json::Value,
    /// What a definition may hold.
    pub rules: RuleLimits,
    /// What a plan may hold.
    pub plans: PlanLimits,
    /// Executions with something under way at once; more wait in order (default 1,000).
    pub concurrent_executions_max: usize,
    /// Executions that have not ended (default 10,000); more are refused.
    pub open_executions_max: usize,
    /// Other MCP servers whose tools steps may call, by name.
    pub tool_servers: BTreeMap<String, ToolServer>,
    /// How deep executions may start each other as children (default 8): a workflow that runs itself ends there.
    pub workflow_depth_max: u32,
    /// How long one run may take at least when its step says nothing (default 5 min): it may take four times what the
    /// step's last runs took, and four times its estimate, when that is more.
    pub default_timeout: Duration,
    /// How long ended work may take to end after SIGTERM (default 5 s).
    pub grace: Duration,
    /// How long cancelled work may take to report before it counts as lost (default 60 s).
    pub cancel_wait: Duration,
    /// How long to wait before storing is tried again after it failed (default 1 s), so that a full disk is not asked
    /// all the time.
    pub store_retry: Duration,
    /// What is kept of executions that have ended, and for how long.
    pub retention: RetentionOptions,
    /// Whether unfinished executions go on by themselves, and what has expired goes (default yes). Without it each goes on
    /// when something is asked of it: for programs that only look and are gone in a moment.
    pub resume: bool,
    /// Tells the time: the system's clock, or one that a test moves.
    pub clock: Arc<dyn Clock>,
}

impl EngineOptions {
    /// Builds options with every default, for a data directory and one root.
    pub fn new(data_dir: PathBuf, root: PathBuf) -> Self {
        EngineOptions {
            store: StoreOptions::new(&data_dir),
            plugins: caelum_plugin_host::Options {
                directory: Some(data_dir.join("plugins")),
                cache_directory: Some(data_dir.join("plugin-cache")),
                ..caelum_plugin_host::Options::default()
            },
            data_dir,
            roots: vec![root],
            components_file: None,
            bundled: Vec::new(),
            machines: MachineOptions::default(),
            fabric: None,
            labels: BTreeMap::new(),
            port_claims: caelum_machines::probe::PortClaims::none(),
            ports: serde_json::Value::Array(Vec::new()),
            rules: RuleLimits::default(),
            plans: PlanLimits::default(),
            concurrent_executions_max: 1_000,
            open_executions_max: 10_000,
            tool_servers: BTreeMap::new(),
            workflow_depth_max: 8,
            default_timeout: Duration::from_secs(5 * 60),
            grace: Duration::from_secs(5),
            cancel_wait: Duration::from_secs(60),
            store_retry: Duration::from_secs(1),
            retention: RetentionOptions::default(),
            resume: true,
            clock: Arc::new(SystemClock),
        }
    }
}

/// What the engine is made of.
pub(crate) struct Inner {
    pub(crate) options: EngineOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Store,
    pub(crate) plugins: Plugins,
    pub(crate) components: Components,
    pub(crate) fabric: Arc<dyn Fabric>,
    pub(crate) supervisor: Supervisor,
    pub(crate) changes: broadcast::Sender<Changed>,
    pub(crate) meters: Meters,
    pub(crate) estimates: Estimates,
    pub(crate) retention: Retention,
    /// Places for executions with something under way.
    pub(crate) places: Arc<Semaphore>,
    /// Ends everything that the engine has started.
    pub(crate) stop: CancellationToken,
    /// Every task that the engine has started.
    pub(crate) tasks: TaskTracker,
    pub(crate) opened: Instant,
}

/// The use cases. A cheap handle: clone it freely.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Engine").field("data_dir", &self.0.options.data_dir).finish()
    }
}

impl Engine {
    /// Opens the engine: takes the data directory, ends what a dead server left running, finishes or undoes half
    /// applied plans, and lets unfinished executions go on.
    ///
    /// # Errors
    ///
    /// Says what of the data directory, the roots or the components file cannot be used. A plugin that cannot be
    /// loaded is no error: it is listed as refused.
    pub async fn open(options: EngineOptions) -> Result<Engine, EngineError> {
        let store_options = options.store.clone();
        let store = tokio::task::spawn_blocking(move || Store::open(store_options))
            .await
            .map_err(|panicked| EngineError::internal("failed to open the store", panicked))?
            .map_err(EngineError::Store)?;
        let data_dir = options.data_dir.clone();
        let orphans = blocking("ending what a dead server left running", move || {
            caelum_machines::reap_orphans(&data_dir)
        })
        .await?;
        if !orphans.is_empty() {
            warn!(orphans = orphans.len(), "ended programs that a dead server left running");
        }
        let components = {
            let (roots, file, data_dir) =
                (options.roots.clone(), options.components_file.clone(), options.data_dir.clone());
            blocking("opening the components", move || {
                let file = file.filter(|file| file.exists());
                Components::open(&roots, file.as_deref(), &data_dir)
            })
            .await?
        };
        let fabric = match &options.fabric {
            Some(fabric) => Arc::clone(fabric),
            None => local_fabric(&options)?,
        };
        let plugins = Plugins::open(options.plugins.clone(), options.bundled.clone())
            .await
            .map_err(|error| EngineError::internal("failed to open the plugins", error))?;
        let places = Arc::new(Semaphore::new(options.concurrent_executions_max.max(1)));
        let engine = Engine(Arc::new(Inner {
            clock: Arc::clone(&options.clock),
            store,
            plugins,
            components,
            fabric,
            supervisor: Supervisor::default(),
            changes: broadcast::Sender::new(CHANGES_MAX),
            meters: Meters::default(),
            estimates: Estimates::default(),
            retention: Retention::default(),
            places,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            opened: Instant::now(),
            options,
        }));
        engine.settle_applications().await?;
        if engine.0.options.resume {
            engine.resume().await?;
            engine.0.tasks.spawn(retention::keep(Arc::clone(&engine.0)));
        }
        Ok(engine)
    }

    /// Stops taking work, ends what runs, and closes the store. Unfinished executions stay as they are on disk and go
    /// on when the engine is opened again.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.store.close().await;
    }

    /// Returns the present moment by the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Returns a listener for every change of every execution. One that lags behind misses changes and is told so.
    pub fn watch_all(&self) -> broadcast::Receiver<Changed> {
        self.0.changes.subscribe()
    }

    /// Returns how long the engine has been open.
    pub fn uptime(&self) -> Duration {
        self.0.opened.elapsed()
    }

    /// Returns the rules' limits for definitions.
    pub fn rules(&self) -> RuleLimits {
        self.0.options.rules
    }
}

/// Runs something that waits for a disk where it may wait.
pub(crate) async fn blocking<T, E>(
    context: &str,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, EngineError>
where
    T: Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let failed = || format!("failed at {context}");
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(EngineError::internal(failed(), error)),
        Err(panicked) => Err(EngineError::internal(failed(), panicked)),
    }
}

fn local_fabric(options: &EngineOptions) -> Result<Arc<dyn Fabric>, EngineError> {
    let policy = caelum_machines::CommandPolicy::new(options.roots.iter().cloned())
        .map_err(|error| EngineError::internal("failed to prepare the roots of commands", error))?;
    let fabric = caelum_machines::LocalFabric::open(
        &options.data_dir,
        policy,
        options.machines,
        options.labels.clone(),
        Arc::clone(&options.clock),
        options.port_claims.clone(),
    )
    .map_err(|error| EngineError::internal("failed to open the local machine", error))?
    .with_tools(options.tool_servers.clone());
    Ok(Arc::new(fabric))
}

/// Names what a step needs of plugins: patterns and validators, each once.
pub(crate) fn plugins_of(steps: &[Step]) -> Vec<String> {
    let mut names: Vec<String> = steps
        .iter()
        .flat_map(|step| {
            let pattern = match &step.action {
                caelum_core::workflow::Action::Pattern { pattern, .. } => Some(pattern),
                _ => None,
            };
            step.enforcement.iter().chain(&step.validation).chain(pattern)
        })
        .map(ToString::to_string)
        .collect();
    names.sort();
    names.dedup();
    names
}
