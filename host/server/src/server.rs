//! The server put together: port, engine, tools, sockets, signals; started in an order in which nothing is half there,
//! and stopped in the opposite one.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use caelum_engine::{Engine, EngineError, EngineOptions};
use caelum_store::StoreError;
use rmcp::transport::stdio_pipes;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::audit::{self, Audit};
use crate::config::Config;
use crate::http::health::{Health, HealthCheck, HealthStatus};
use crate::http::{api_metrics, events, metrics};
use crate::listen::{self, Front, ListenError, Listener};
use crate::local_socket::{self, LocalSocket, Presence};
use crate::mcp::stdio;
use crate::mcp::tools::monitoring::HealthView;
use crate::mcp::tools::{Tools, instructions};
use crate::mcp::toolset::{Toolset, ToolsetError};
use crate::trust::token::{TOKEN_FILE, Token, TokenError, Tokens};
use crate::trust::{Policy, Scope};

/// The server could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The port cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Another server holds the data directory.
    #[error("the data directory `{}` is held by {}; hint: {hint}", data_dir.display(), holder(*pid))]
    Held {
        /// The directory.
        data_dir: PathBuf,
        /// The process that holds it, where it is known.
        pid: Option<u32>,
        /// What to do.
        hint: String,
    },
    /// The engine cannot be opened.
    #[error(transparent)]
    Engine(EngineError),
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The tools do not fit together: a defect that the first test finds.
    #[error(transparent)]
    Toolset(#[from] ToolsetError),
    /// The system refuses something that every server needs.
    #[error("{doing} failed")]
    System {
        /// What was being done.
        doing: String,
        /// Why.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// What a server speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// Whoever connects to its port.
    Port,
    /// Whoever started it, on standard input and output.
    Stdio,
}

/// What becomes of executions that an earlier process left unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// They go on by themselves.
    GoesOn,
    /// Each goes on when something is asked of it.
    Waits,
}

/// An engine with its tools: what serving and the command line are made of.
#[derive(Debug)]
pub struct Core {
    /// The use cases.
    pub engine: Engine,
    /// The tools over it.
    pub tools: Tools,
    /// The tools as clients call them.
    pub toolset: Arc<Toolset>,
}

impl Core {
    /// Opens the engine on the data directory and puts the tools over it.
    ///
    /// # Errors
    ///
    /// [`ServeError::Held`] when another process has the directory, [`ServeError::Engine`] when it cannot be used.
    pub async fn open(config: &Config, unfinished: Unfinished) -> Result<Self, ServeError> {
        let mut options = config.engine();
        options.resume = unfinished == Unfinished::GoesOn;
        if unfinished == Unfinished::GoesOn {
            // Whoever stays greets at once, and follows what becomes of the plugins.
            options.plugins.loading = caelum_plugin_host::Loading::Behind;
            options.plugins.reload = caelum_plugin_host::Reload::Live;
        }
        options.bundled = caelum_plugin_bundle::bundled()
            .iter()
            .map(|plugin| caelum_plugin_host::BundledPlugin {
                name: plugin.file_name.to_owned(),
                bytes: plugin.bytes.into(),
            })
            .collect();
        Self::with(options, config).await
    }

    /// Opens an engine with options of the caller's own and puts the tools over it.
    ///
    /// # Errors
    ///
    /// As [`Core::open`].
    pub async fn with(options: EngineOptions, config: &Config) -> Result<Self, ServeError> {
        make_private(&options.data_dir)?;
        let mut audited = config.audit.clone();
        if options.data_dir != config.data_dir {
            // What works in a directory of its own, for one command, is no part of this server's record.
            audited.mode = audit::Mode::Off;
        }
        let engine = Engine::open(options).await.map_err(|error| match error {
            EngineError::Store(StoreError::Busy { path, pid }) => ServeError::Held {
                data_dir: path,
                pid,
                hint: "speak to that server, end it, or use another --data-dir".to_owned(),
            },
            other => ServeError::Engine(other),
        })?;
        let audit = Audit::start(audited).map_err(|source| ServeError::System {
            doing: "starting the audit log".to_owned(),
            source,
        })?;
        let tools = Tools::new(engine.clone(), audit.clone());
        let instructions = instructions(&config.toolsets);
        let toolset = Toolset::new(tools.all(), instructions, config.calls())?
            .read_only(config.read_only)
            .offering(config.toolsets.clone())
            .audited(audit)
            .over(engine.clone());
        Ok(Self { engine, tools, toolset: Arc::new(toolset) })
    }

    /// Lets running calls end and closes the engine; unfinished executions go on when it is opened again.
    pub async fn close(self) {
        self.toolset.stop(std::time::Duration::ZERO).await;
        self.engine.close().await;
        self.toolset.audit().close().await;
    }
}

/// Serves until a signal or the end of standard input says that it is enough.
///
/// # Errors
///
/// [`ServeError`], before anything is served.
pub async fn serve(config: Config, speaks: Speaks) -> Result<(), ServeError> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let shutdown = stop_on_signals()?;
    // The port first: when it cannot be had, nothing has been touched.
    let listener = match speaks {
        Speaks::Port => Some(bind(&config)?),
        Speaks::Stdio => None,
    };
    let address = listener.as_ref().map(Listener::local_addr);
    let core = match Core::open(&config, Unfinished::GoesOn).await {
        Err(ServeError::Held { data_dir, pid, hint }) if speaks == Speaks::Stdio => {
            return speak_through(&config, data_dir, pid, hint, shutdown).await;
        }
        opened => opened?,
    };
    note_start(&core, &config, address).await;
    let socket = open_socket(&config, address);
    let sockets = async {
        if let Some(socket) = socket {
            socket.serve(Arc::clone(&core.toolset), config.front().grace, shutdown.clone()).await;
        }
    };
    let serving = async {
        match listener {
            Some(listener) => {
                core.tools.gauges.set(listener.gauges()).ok();
                let health = health_check(core.tools.clone());
                let metrics = metrics::route(core.engine.clone());
                let events = events::route(core.engine.clone(), shutdown.clone());
                let front = Front::new(Arc::clone(&core.toolset), health)
                    .mount(metrics, [metrics::PATH])
                    .mount(api_metrics::route(core.tools.clone()), [api_metrics::PATH])
                    .mount(events, [events::PATH]);
                announce(&config, address);
                listener.serve(front, shutdown.clone()).await;
            }
            None => {
                let options =
                    stdio::Options { grace: config.front().grace, ..stdio::Options::default() };
                tracing::info!(data_dir = %config.data_dir.display(), "serving on standard input and output");
                stdio::serve(Arc::clone(&core.toolset), options, shutdown.clone()).await;
            }
        }
        // The end of standard input ends everything else too.
        shutdown.cancel();
    };
    tokio::join!(serving, sockets);
    tracing::info!("stopping");
    let pid = BTreeMap::from([("pid", json!(std::process::id()))]);
    core.toolset.audit().note("stopped", pid).await;
    core.close().await;
    Ok(())
}

/// Writes into the audit log who serves from now on, and what it lets be done.
async fn note_start(core: &Core, config: &Config, address: Option<SocketAddr>) {
    let about = BTreeMap::from([
        ("pid", json!(std::process::id())),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("address", json!(address.map_or_else(|| "stdio".to_owned(), |at| at.to_string()))),
        ("read_only", json!(config.read_only)),
        ("toolsets", json!(config.toolsets.names())),
        ("unauthenticated", json!(config.allow_unauthenticated)),
    ]);
    core.toolset.audit().note("started", about).await;
}

fn announce(config: &Config, address: Option<SocketAddr>) {
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    tracing::info!(%address, data_dir = %config.data_dir.display(), "listening: http://{address}/mcp");
}

fn open_socket(config: &Config, address: Option<SocketAddr>) -> Option<LocalSocket> {
    let presence = Presence {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        roots: canonical(&config.roots),
        address: address.map(|address| address.to_string()),
        read_only: config.read_only,
        toolsets: config.toolsets.names().into_iter().map(str::to_owned).collect(),
    };
    LocalSocket::bind(&config.data_dir, &presence)
        .inspect_err(|error| {
            tracing::warn!(%error, "the command line cannot speak to this server: its socket cannot be opened");
        })
        .ok()
}

/// Returns roots as they are compared between processes.
pub(crate) fn canonical(roots: &[PathBuf]) -> Vec<PathBuf> {
    roots.iter().map(|root| root.canonicalize().unwrap_or_else(|_| root.clone())).collect()
}

/// Says where a server offers something else than these settings ask for; whoever speaks through it would get that.
fn offers_otherwise(config: &Config, presence: &Presence) -> Option<String> {
    let way_out = "give this one the same flags, or another --data-dir, or connect to that one's port with a token";
    if config.read_only && !presence.read_only {
        return Some(format!(
            "--read-only was asked for, and that server offers tools that change things; {way_out}"
        ));
    }
    let wanted = config.toolsets.names();
    let more = presence.toolsets.iter().any(|name| !wanted.contains(&name.as_str()));
    if !config.toolsets.is_all() && (more || presence.toolsets.is_empty()) {
        return Some(format!(
            "the toolsets {} were asked for, and that server offers more; {way_out}",
            wanted.join(", ")
        ));
    }
    None
}

/// Hands standard input and output to the server that holds the data directory, as long as it works on the same roots.
async fn speak_through(
    config: &Config,
    data_dir: PathBuf,
    pid: Option<u32>,
    hint: String,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let held = |hint| ServeError::Held { data_dir: data_dir.clone(), pid, hint };
    let Some(presence) = local_socket::presence(&config.data_dir) else { return Err(held(hint)) };
    let roots = canonical(&config.roots);
    if presence.roots != roots {
        let theirs: Vec<String> =
            presence.roots.iter().map(|root| format!("`{}`", root.display())).collect();
        return Err(held(format!(
            "that server works on {}; use another --data-dir for this one",
            theirs.join(", ")
        )));
    }
    if let Some(differs) = offers_otherwise(config, &presence) {
        return Err(held(differs));
    }
    let Ok(stream) = local_socket::connect(&config.data_dir).await else { return Err(held(hint)) };
    tracing::info!(
        pid = presence.pid,
        "another server holds the data directory: speaking through it"
    );
    let (mut from_server, mut to_server) = stream.into_split();
    let (mut input, mut output) = stdio_pipes();
    let there = async {
        tokio::io::copy(&mut input, &mut to_server).await.ok();
        to_server.shutdown().await.ok();
    };
    let back = async {
        tokio::io::copy(&mut from_server, &mut output).await.map(drop).map_err(|source| {
            ServeError::System { doing: "speaking through the other server".to_owned(), source }
        })
    };
    tokio::pin!(back);
    tokio::select! {
        ended = &mut back => ended,
        // The server answers what is under way and then closes its side.
        () = there => back.await,
        () = shutdown.cancelled() => Ok(()),
    }
}

fn bind(config: &Config) -> Result<Listener, ServeError> {
    let mut tokens = config
        .tokens
        .iter()
        .fold(Tokens::none(), |tokens, (token, scope)| tokens.with(token.clone(), *scope));
    // A token that nobody has seen yet protects, and helps nobody either: an address that is not of the loopback needs
    // one on purpose.
    let kept = tokens.is_empty() && config.data_dir.join(TOKEN_FILE).exists();
    if kept {
        tokens = tokens.with(Token::load_or_create(&config.data_dir)?, Scope::Admin);
    }
    let make_one = tokens.is_empty() && config.address.ip().to_canonical().is_loopback();
    let policy = Policy { tokens, allow_unauthenticated: config.allow_unauthenticated };
    let mut options = listen::Options::new(config.address, config.ports.clone(), policy);
    options.allowed_hosts.clone_from(&config.allowed_hosts);
    options.allowed_origins.clone_from(&config.allowed_origins);
    options.limits = config.front();
    let listener = Listener::bind(options)?;
    if !make_one {
        return Ok(listener);
    }
    make_private(&config.data_dir)?;
    Ok(listener.with_token(Token::load_or_create(&config.data_dir)?, Scope::Admin))
}

fn health_check(tools: Tools) -> HealthCheck {
    Arc::new(move || {
        let tools = tools.clone();
        Box::pin(async move {
            let health = tools.engine.health().await;
            let view = HealthView::of(&tools, &health);
            let detail = match serde_json::to_value(&view) {
                Ok(Value::Object(detail)) => detail,
                _ => Map::new(),
            };
            let status = match view.status.as_str() {
                "healthy" => HealthStatus::Healthy,
                "degraded" => HealthStatus::Degraded,
                _ => HealthStatus::Unhealthy,
            };
            Health { status, detail }
        })
    })
}

/// Makes the data directory, readable by its owner alone, when it is missing.
pub(crate) fn make_private(path: &Path) -> Result<(), ServeError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| {
        ServeError::System {
            doing: format!("making the data directory `{}`", path.display()),
            source,
        }
    })
}

/// Returns a token that SIGTERM and SIGINT cancel. A second signal ends the process at once.
fn stop_on_signals() -> Result<CancellationToken, ServeError> {
    let failed = |source| ServeError::System { doing: "listening for signals".to_owned(), source };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let shutdown = CancellationToken::new();
    let stopping = shutdown.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "asked to stop; running calls may end");
        stopping.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("asked to stop again: ending at once");
        // Everything acknowledged is on disk, so nothing is lost by this.
        std::process::exit(130);
    });
    Ok(shutdown)
}
