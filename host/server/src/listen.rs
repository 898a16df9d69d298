//! Opens the server's one port and serves everything that arrives there: the first byte of a connection decides between
//! MCP over raw TCP and HTTP (`/mcp`, `/ws`, `/health` and what else is mounted).
//!
//! ```no_run
//! # async fn example(
//! #     toolset: std::sync::Arc<caelum_workflow::mcp::toolset::Toolset>,
//! #     health: caelum_workflow::http::health::HealthCheck,
//! #     policy: caelum_workflow::trust::Policy,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use caelum_workflow::listen::{Front, Listener, Options};
//! use caelum_workflow::port_registry::PortRegistry;
//!
//! let options = Options::new("127.0.0.1:8113".parse()?, PortRegistry::bundled(), policy);
//! let listener = Listener::bind(options)?;
//! println!("listening on {}", listener.local_addr());
//! let shutdown = tokio_util::sync::CancellationToken::new();
//! listener.serve(Front::new(toolset, health), shutdown).await;
//! # Ok(())
//! # }
//! ```

mod accept;
pub(crate) mod peer;
mod raw;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::health::HealthCheck;
use crate::http::origin::{Allowed, AllowedError};
use crate::http::{self, Endpoints};
use crate::mcp::connection;
use crate::mcp::handler::Handler;
use crate::mcp::toolset::Toolset;
use crate::port_registry::{OWN_SERVICE, PortError, PortRegistry};
use crate::trust::token::{Token, Tokens};
use crate::trust::{Policy, Scope};

/// The limits of the front door. Those of calls are the tool set's.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many connections may be open at once; 512, half of the file descriptors a process has by default. One more
    /// is told so and closed.
    pub connections_max: usize,
    /// How long a new connection may say nothing; 10 s. It costs its peer nothing to open and us a file descriptor.
    pub first_byte_timeout: Duration,
    /// How long an HTTP client may take for the head of a request, and how long a kept-alive connection may rest
    /// between two; 60 s.
    pub request_head_timeout: Duration,
    /// How long a client may take for the body of a request; 30 s.
    pub request_body_timeout: Duration,
    /// How large the body of a request may be, in bytes; 4 MiB, which holds the largest workflow by far.
    pub request_body_max_bytes: usize,
    /// How many MCP sessions (clients of the older protocol over HTTP) may be open at once; 256, at about 60 KiB each.
    pub sessions_max: usize,
    /// How long an MCP session may rest; 30 min. Clients that leave without a word are the rule.
    pub session_idle_timeout: Duration,
    /// How long running calls may go on once the server stops; 10 s.
    pub grace: Duration,
    /// The limits of one raw TCP or WebSocket connection.
    pub connection: connection::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            first_byte_timeout: Duration::from_secs(10),
            request_head_timeout: Duration::from_secs(60),
            request_body_timeout: Duration::from_secs(30),
            request_body_max_bytes: 4 * 1024 * 1024,
            sessions_max: 256,
            session_idle_timeout: Duration::from_secs(30 * 60),
            grace: Duration::from_secs(10),
            connection: connection::Limits::default(),
        }
    }
}

/// Where to listen, whom to let in, and how much of everything.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address and port; port 0 takes any free one.
    pub address: SocketAddr,
    /// The name under which the port is looked up in the registry.
    pub service: String,
    /// Which port belongs to whom.
    pub registry: PortRegistry,
    /// Whom to let in.
    pub policy: Policy,
    /// Host names, besides those of the loopback and the address itself, under which clients may reach this server:
    /// `build.example.com` for any port, `build.example.com:8113` for one.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may talk to this server: `https://app.example.com`, `http://localhost:*`. Empty keeps
    /// every page out but the server's own.
    pub allowed_origins: Vec<String>,
    /// How much of everything.
    pub limits: Limits,
}

impl Options {
    /// Returns options with the default limits, no further hosts and no origins.
    pub fn new(address: SocketAddr, registry: PortRegistry, policy: Policy) -> Self {
        Self {
            address,
            service: OWN_SERVICE.to_owned(),
            registry,
            policy,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The port is another's.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Everybody could come in.
    #[error(
        "refusing to listen on {address} without a token: this server runs commands and writes files, so whoever reaches the port could too; hint: set CAELUM_WORKFLOW_TOKEN, or listen on 127.0.0.1, or say --allow-unauthenticated"
    )]
    Unprotected {
        /// The address.
        address: SocketAddr,
    },
    /// An entry of the allow lists is none.
    #[error(transparent)]
    Allowed(#[from] AllowedError),
    /// The operating system does not hand the port over.
    #[error("the port {address} was opened and cannot be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// What is served on the port.
#[derive(Clone)]
pub struct Front {
    toolset: Arc<Toolset>,
    health: HealthCheck,
    routes: axum::Router,
    paths: Vec<&'static str>,
}

impl Front {
    /// Serves these tools, and this answer to `/health`.
    pub fn new(toolset: Arc<Toolset>, health: HealthCheck) -> Self {
        Self { toolset, health, routes: axum::Router::new(), paths: Vec::new() }
    }

    /// Mounts further routes behind the same checks of host, origin and caller; each finds its
    /// [`Caller`](crate::trust::Caller) among the request's extensions. `paths` are named in the answer to a path that
    /// does not exist.
    #[must_use]
    pub fn mount(
        mut self,
        routes: axum::Router,
        paths: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        self.routes = self.routes.merge(routes);
        self.paths.extend(paths);
        self
    }
}

/// How much of the front door is in use; cheap to clone, for `get_system_health` and metrics.
#[derive(Debug, Clone)]
pub struct Gauges {
    places: Arc<Semaphore>,
    connections_max: usize,
}

impl Gauges {
    /// Returns how many connections are open.
    pub fn connections(&self) -> usize {
        self.connections_max.saturating_sub(self.places.available_permits())
    }

    /// Returns how many connections may be open.
    pub fn connections_max(&self) -> usize {
        self.connections_max
    }
}

/// An open port; connections wait in the kernel until [`Listener::serve`] takes them.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    options: Options,
    allowed: Allowed,
    places: Arc<Semaphore>,
}

/// What every connection shares.
#[derive(Debug)]
struct Shared {
    handler: Handler,
    router: axum::Router,
    policy: Arc<Policy>,
    limits: Limits,
    /// No new connections, no new requests.
    shutdown: CancellationToken,
    /// Calls have ended: message connections may close.
    drained: CancellationToken,
    /// Whatever is still open is cut.
    cut: CancellationToken,
}

impl Listener {
    /// Opens the port, after asking the port registry and the policy. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ListenError`] when the port is reserved or in use, when a non-loopback address would be open to everybody, or
    /// when an allow list holds what is no host or origin.
    pub fn bind(options: Options) -> Result<Self, ListenError> {
        let allowed = Allowed::parse(&options.allowed_hosts, &options.allowed_origins)?;
        let address = options.address;
        let open_to_all =
            !address.ip().to_canonical().is_loopback() && options.policy.tokens.is_empty();
        if open_to_all && !options.policy.allow_unauthenticated {
            return Err(ListenError::Unprotected { address });
        }
        let listener = options.registry.bind(address, &options.service)?;
        let opened = || -> std::io::Result<(TcpListener, SocketAddr)> {
            let listener = TcpListener::from_std(listener)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) =
            opened().map_err(|source| ListenError::Listen { address, source })?;
        if options.policy.allow_unauthenticated {
            tracing::warn!(%address, "everybody who reaches this port may run commands: authentication is switched off");
        }
        let places = Arc::new(Semaphore::new(options.limits.connections_max));
        Ok(Self { listener, address, options, allowed, places })
    }

    /// Lets callers in by further tokens. Before [`Listener::serve`] nobody has come in yet, so there is no moment at which
    /// they are not known.
    #[must_use]
    pub fn with_token(mut self, token: Token, scope: Scope) -> Self {
        let tokens = std::mem::replace(&mut self.options.policy.tokens, Tokens::none());
        self.options.policy.tokens = tokens.with(token, scope);
        self
    }

    /// Returns the address the port is open on, with the real port when any free one was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns a handle that tells how much is in use.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            places: Arc::clone(&self.places),
            connections_max: self.options.limits.connections_max,
        }
    }

    /// Serves until `shutdown` is cancelled, then stops in order: no new connections and no new calls at once; running
    /// calls may end within the grace time and their answers are delivered; then what is still open is cut. Once it
    /// returns, no task of this listener runs any more.
    pub async fn serve(self, front: Front, shutdown: CancellationToken) {
        // What an HTTP answer that is already made needs to reach its client.
        const DELIVERY: Duration = Duration::from_millis(500);
        // rmcp lets a message connection drain for up to two seconds.
        const DRAIN: Duration = Duration::from_secs(3);

        let Self { listener, options, allowed, places, .. } = self;
        let toolset = Arc::clone(&front.toolset);
        let cut = CancellationToken::new();
        let drained = CancellationToken::new();
        let handler = Handler::new(Arc::clone(&toolset));
        let router = http::router(Endpoints {
            handler: handler.clone(),
            health: front.health,
            routes: front.routes,
            paths: front.paths,
            allowed,
            limits: options.limits.clone(),
            drained: drained.clone(),
            cut: cut.clone(),
        });
        let grace = options.limits.grace;
        let shared = Arc::new(Shared {
            handler,
            router,
            policy: Arc::new(options.policy),
            limits: options.limits,
            shutdown: shutdown.clone(),
            drained: drained.clone(),
            cut: cut.clone(),
        });
        let tasks = TaskTracker::new();
        accept::run(listener, places, &shared, &tasks).await;
        tasks.close();
        toolset.stop(grace).await;
        drained.cancel();
        if tokio::time::timeout(DELIVERY, tasks.wait()).await.is_err() {
            // Streams of events have no end of their own.
            cut.cancel();
            if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
                tracing::warn!(
                    connections = tasks.len(),
                    "connections did not end when the server stopped"
                );
            }
        }
    }
}
