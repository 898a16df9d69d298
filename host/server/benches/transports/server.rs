//! The servers that are measured: how they are started, where they listen, what they weigh.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::caller::{Caller, Era, Tool, Way};
use crate::target;

/// How long a server may take to its first answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to rest between two looks at a server that does not listen yet.
const REST: Duration = Duration::from_millis(1);

/// What stands for the port in the arguments of a server.
const PORT: &str = "{port}";

/// One server.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Spec {
    pub(crate) name: String,
    /// The command that speaks on standard input and output; none when empty.
    #[serde(default)]
    pub(crate) stdio: Vec<String>,
    /// The command that speaks HTTP at `/mcp` on the port `{port}`; none when empty.
    #[serde(default)]
    pub(crate) http: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Whether it speaks 2026-07-28, too.
    #[serde(default)]
    newer_era: bool,
    #[serde(default)]
    sockets: bool,
    /// A tool that is called beside the one of all servers.
    #[serde(default)]
    pub(crate) second_tool: Option<Tool>,
}

impl Spec {
    /// Returns our own server, as cargo has built it for this bench.
    pub(crate) fn ours() -> Self {
        let program = env!("CARGO_BIN_EXE_caelum-workflow").to_owned();
        let cache = target().join("plugin-cache");
        let mut http = vec![program.clone(), "serve".to_owned()];
        http.extend(["--port", PORT].map(str::to_owned));
        // More than a thousand clients at once are more than a single user has; limits are what this does not measure.
        for limit in ["sessions_max=2000", "connections_max=2000"] {
            http.extend(["--limit", limit].map(str::to_owned));
        }
        Self {
            name: "ours".to_owned(),
            stdio: vec![program, "serve".to_owned(), "--stdio".to_owned()],
            http,
            environment: BTreeMap::from([(
                "CAELUM_WORKFLOW_CACHE_DIR".to_owned(),
                cache.display().to_string(),
            )]),
            newer_era: true,
            sockets: true,
            second_tool: Some(Tool { name: "list_workflows".to_owned(), arguments: json!({}) }),
        }
    }

    /// Reads a list of servers.
    pub(crate) fn read(list: &Path) -> Vec<Self> {
        let text = std::fs::read_to_string(list).expect("the list of servers can be read");
        serde_json::from_str(&text).expect("the list of servers is one")
    }

    /// Returns the tool that every server has: ours tells the machines there are, out of memory; the others answer the
    /// same.
    pub(crate) fn tool(&self) -> Tool {
        Tool { name: "list_machines".to_owned(), arguments: json!({}) }
    }

    /// Returns the ways to a server that runs.
    pub(crate) fn ways(&self, running: &Running) -> Vec<Way> {
        let address = running.address;
        let mut ways = vec![Way::Http { address }];
        if self.sockets {
            ways.extend([Way::WebSocket { address }, Way::Tcp { address }]);
        }
        ways
    }

    /// Returns the eras to measure on a way.
    pub(crate) fn eras(&self, way: &Way) -> Vec<Era> {
        match way {
            Way::Http { .. } if self.newer_era => vec![Era::Older, Era::Newer],
            _ => vec![Era::Older],
        }
    }

    fn command(&self, arguments: &[String], place: &Place, port: u16) -> Command {
        let mut arguments = arguments.iter().map(|one| one.replace(PORT, &port.to_string()));
        let mut command = Command::new(arguments.next().unwrap_or_default());
        command
            .args(arguments)
            .current_dir(place.root())
            .envs(&self.environment)
            .env("HOME", place.0.path())
            .env("CAELUM_WORKFLOW_DATA_DIR", place.0.path().join("data"))
            // What is measured is what it can do, and not what it lets one client do.
            .env("CAELUM_WORKFLOW_LIMIT_REQUESTS_PER_MINUTE_SESSION_MAX", "0")
            .env("CAELUM_WORKFLOW_LIMIT_REQUESTS_PER_MINUTE_CALLER_MAX", "0")
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// A home for a server, which goes away.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = TempDir::with_prefix("caelum-bench-").expect("a temporary folder can be made");
        std::fs::create_dir(place.path().join("root")).expect("a folder in it can be made");
        Self(place)
    }

    fn root(&self) -> std::path::PathBuf {
        self.0.path().join("root")
    }
}

/// A server on standard input and output.
pub(crate) struct Started(Child);

impl Started {
    pub(crate) fn over_stdio(spec: &Spec, place: &Place) -> Result<Self, String> {
        let mut command = spec.command(&spec.stdio, place, 0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("{:?}: {error}", spec.stdio))?;
        Ok(Self(child))
    }

    /// Greets it.
    pub(crate) async fn caller(&mut self) -> Result<Caller, String> {
        let pipes = self.0.stdout.take().zip(self.0.stdin.take());
        let (read, write) = pipes.ok_or("the pipes are taken")?;
        let greeted = tokio::time::timeout(PATIENCE, Caller::over_pipes(read, write)).await;
        greeted.map_err(|_| format!("no greeting within {PATIENCE:?}"))?
    }

    /// Waits for its end, which comes with that of its input.
    pub(crate) async fn stop(mut self) {
        if tokio::time::timeout(Duration::from_secs(15), self.0.wait()).await.is_err() {
            self.0.kill().await.ok();
        }
    }
}

/// Returns how long a server takes from its start to its first answer, in milliseconds.
pub(crate) async fn first_answer_over_stdio(spec: &Spec, place: &Place) -> Result<f64, String> {
    let began = Instant::now();
    let mut started = Started::over_stdio(spec, place)?;
    let caller = started.caller().await?;
    let took = began.elapsed().as_secs_f64() * 1_000.0;
    drop(caller);
    started.stop().await;
    Ok(took)
}

/// A server that listens.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
    /// How long it took from its start to its first answer, in milliseconds.
    pub(crate) first_answer: f64,
}

impl Running {
    /// Starts a server and waits for its first answer.
    pub(crate) async fn start(spec: &Spec, place: &Place) -> Result<Self, String> {
        let port = free_port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = spec.command(&spec.http, place, port);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let began = Instant::now();
        let child = command.spawn().map_err(|error| format!("{:?}: {error}", spec.http))?;
        let mut running = Self { child, address, first_answer: 0.0 };
        let way = Way::Http { address };
        loop {
            match Caller::connect(&way, Era::Older).await {
                Ok(_) => break,
                Err(error) if began.elapsed() > PATIENCE => {
                    return Err(format!("no answer within {PATIENCE:?}: {error}"));
                }
                Err(_) => tokio::time::sleep(REST).await,
            }
            if let Ok(Some(status)) = running.child.try_wait() {
                return Err(format!("{:?} ended with {status}", spec.http));
            }
        }
        running.first_answer = began.elapsed().as_secs_f64() * 1_000.0;
        Ok(running)
    }

    /// Returns its resident memory in MB.
    pub(crate) fn resident_mb(&self) -> f64 {
        let id = self.child.id().unwrap_or_default();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or_default() * 1_024.0 / 1e6
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) {
        if let Some(id) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id as i32)) {
            rustix::process::kill_process(id, rustix::process::Signal::TERM).ok();
        }
        if tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await.is_err() {
            self.child.kill().await.ok();
        }
    }
}

/// Returns a port of the loopback interface that nobody has.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
