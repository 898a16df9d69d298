//! The connection to one server: made when it is needed, shared while it lives, made anew when it has ended.

use std::collections::HashMap;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use caelum_core::task::{FailureClass, TaskFailure};
use reqwest::Client;
use rmcp::RoleClient;
use rmcp::model::{ClientCapabilities, ClientConfig, Implementation};
use rmcp::service::{ClientInitializeError, RunningService, serve_client};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::failure;
use super::server::ToolServer;
use crate::capture::Capture;
use crate::options::MachineOptions;
use crate::web::checked;

/// Variables that a server inherits; everything else is for its operator to name.
const INHERITED: [&str; 9] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// How much of what a server writes to its standard error is kept, in bytes: its last words.
const LAST_WORDS_BYTES: usize = 2 * 1024;

/// How long the last words of a server that did not serve are waited for.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// A connection that is open. Dropping the last handle closes it and ends the server's program.
pub(super) type Connection = RunningService<RoleClient, ClientConfig>;

/// What a server's program wrote to its standard error: shared with the task that reads it.
type LastWords = Arc<Mutex<Capture>>;

/// The way to one server.
#[derive(Debug)]
pub(super) struct Connections {
    name: String,
    server: ToolServer,
    options: MachineOptions,
    client: Client,
    /// Calls at once.
    places: Semaphore,
    /// One at a time makes a connection; the others find it.
    connecting: Semaphore,
    open: Mutex<Option<Arc<Connection>>>,
}

impl Connections {
    pub(super) fn new(
        name: String,
        server: ToolServer,
        options: MachineOptions,
        client: Client,
    ) -> Self {
        Connections {
            name,
            server,
            options,
            client,
            places: Semaphore::new(options.tool_calls_at_once_max.max(1)),
            connecting: Semaphore::new(1),
            open: Mutex::new(None),
        }
    }

    /// Waits for a place among the calls that run at once.
    pub(super) async fn place(&self) -> SemaphorePermit<'_> {
        self.places.acquire().await.expect("this semaphore is never closed")
    }

    fn open(&self) -> Option<Arc<Connection>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|one| one.is_closed() || one.is_transport_closed()) {
            *open = None;
        }
        open.clone()
    }

    /// Forgets the connection: calls that use it go on, the next one makes another.
    pub(super) fn leave_behind(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Returns the open connection, or makes one.
    pub(super) async fn connect(&self) -> Result<Arc<Connection>, TaskFailure> {
        if let Some(open) = self.open() {
            return Ok(open);
        }
        let _turn = self.connecting.acquire().await.expect("this semaphore is never closed");
        if let Some(open) = self.open() {
            return Ok(open);
        }
        let limit = self.options.tool_connect_timeout;
        let words: LastWords = Arc::new(Mutex::new(Capture::new(0, LAST_WORDS_BYTES)));
        let (speaking, silent) = oneshot::channel();
        let made = tokio::time::timeout(limit, self.make(Arc::clone(&words), speaking));
        let made = made.await;
        if !matches!(made, Ok(Ok(_))) {
            // What it wrote last may still be on its way.
            drop(tokio::time::timeout(LAST_WORDS, silent).await);
        }
        let connection = made.unwrap_or_else(|_| {
            let message = format!("`{}` said nothing within {} s", self.name, limit.as_secs());
            Err(failure(FailureClass::Transient, "tool_server_silent", message))
        });
        let connection = connection.map_err(|mut failure| {
            let words = words.lock().unwrap_or_else(PoisonError::into_inner).output().text;
            if let Some(line) = words.lines().rev().find(|line| !line.trim().is_empty()) {
                failure.message = format!("{}; it wrote: {}", failure.message, line.trim());
            }
            failure
        })?;
        let connection = Arc::new(connection);
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Makes a connection. `speaking` is dropped when nothing more will be written to `words`.
    async fn make(
        &self,
        words: LastWords,
        speaking: oneshot::Sender<()>,
    ) -> Result<Connection, TaskFailure> {
        let version = env!("CARGO_PKG_VERSION");
        let about = ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("caelum-workflow", version),
        );
        let unreachable = |error: &dyn std::fmt::Display| {
            let message = format!("`{}` cannot be reached: {error}", self.name);
            failure(FailureClass::Transient, "tool_server_unreachable", message)
        };
        match &self.server {
            ToolServer::Stdio { program, args, env } => {
                let mut command = Command::new(program);
                command.args(args).env_clear().process_group(0).kill_on_drop(true);
                let inherited = INHERITED
                    .iter()
                    .filter_map(|name| std::env::var_os(name).map(|value| (*name, value)));
                command.envs(inherited).envs(env);
                let spawned = TokioChildProcess::builder(command).stderr(Stdio::piped()).spawn();
                let (process, stderr) =
                    spawned.map_err(|error| self.not_started(program, &error))?;
                if let Some(stderr) = stderr {
                    // Ends with the program, whose last handle this is.
                    tokio::spawn(listen(stderr, words, speaking));
                }
                serve_client(about, process).await.map_err(|error| match error {
                    ClientInitializeError::ConnectionClosed(_)
                    | ClientInitializeError::TransportError { .. } => {
                        unreachable(&"it ended before it was ready")
                    }
                    other => unreachable(&other),
                })
            }
            ToolServer::Http { url, headers } => {
                let (url, headers) = checked(url, headers).map_err(|problem| {
                    let message = format!("`{}` is not set up: {problem}", self.name);
                    failure(FailureClass::Permanent, "tool_server_invalid", message)
                })?;
                let mut all = HashMap::new();
                for (name, value) in &headers {
                    all.insert(name.clone(), value.clone());
                }
                let config = StreamableHttpClientTransportConfig::with_uri(url.to_string())
                    .custom_headers(all);
                let transport =
                    StreamableHttpClientTransport::with_client(self.client.clone(), config);
                serve_client(about, transport).await.map_err(|error| unreachable(&error))
            }
        }
    }

    fn not_started(&self, program: &str, error: &io::Error) -> TaskFailure {
        let message = format!("`{}` cannot be started: {program}: {error}", self.name);
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                failure(FailureClass::Permanent, "tool_server_invalid", message)
            }
            _ => failure(FailureClass::Transient, "tool_server_unreachable", message),
        }
    }
}

async fn listen(mut stderr: ChildStderr, words: LastWords, speaking: oneshot::Sender<()>) {
    let mut bytes = vec![0; 4 * 1024];
    while let Ok(read @ 1..) = stderr.read(&mut bytes).await {
        words.lock().unwrap_or_else(PoisonError::into_inner).push(&bytes[..read]);
    }
    drop(speaking);
}
