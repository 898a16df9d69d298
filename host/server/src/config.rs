//! Every setting of the server: its flag, its environment variable, its key in the TOML file, its default. This is the
//! one place that turns them into the options of the parts; a flag wins over the environment, the environment over
//! `.env`, `.env` over the file, the file over the default.

mod example;
mod limits;
mod settings;
mod sources;
mod tool_servers;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use caelum_core::causes::chain;
use caelum_engine::EngineOptions;
use caelum_machines::ToolServer;
use caelum_plugin_host::{Compiler, Trust, TrustMode};
use caelum_store::Synchronous;

use crate::audit;
use crate::listen;
use crate::mcp::groups::Groups;
use crate::mcp::toolset;
use crate::port_registry::{DEFAULT_PORT, PortRegistry};
use crate::trust::Scope;
use crate::trust::token::Token;

pub use example::example;
pub use limits::Limits;
pub use settings::{SETTINGS, Setting};
pub use sources::{Flags, Sources};

use sources::Reader;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Settings that cannot be used; every fault of every source is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The faults, each with the place that the value came from.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [problem] => write!(f, "the configuration cannot be used: {problem}"),
            problems => {
                write!(f, "the configuration cannot be used, it has {} problems", problems.len())?;
                for problem in problems {
                    write!(f, "\n- {problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// The settings, checked.
#[derive(Debug)]
pub struct Config {
    /// The address to listen on.
    pub address: SocketAddr,
    /// Where the store, journals, the plugin cache and the token live.
    pub data_dir: PathBuf,
    /// Where plugin files are dropped.
    pub pattern_dir: PathBuf,
    /// Where compiled plugins are kept.
    pub cache_dir: PathBuf,
    /// Which plugin files may serve.
    pub trust: Trust,
    /// Who compiles plugins: this process, unless the program has said that it can be started for that.
    pub compiler: Compiler,
    /// Where executions are archived before retention takes them away.
    pub archive_dir: Option<PathBuf>,
    /// Labels of this machine.
    pub labels: BTreeMap<String, String>,
    /// Other MCP servers whose tools steps may call, by name.
    pub tool_servers: BTreeMap<String, ToolServer>,
    /// Directories beneath which components and the directories of commands must lie; the first one is where relative
    /// paths begin.
    pub roots: Vec<PathBuf>,
    /// Names of components; need not exist.
    pub components_file: PathBuf,
    /// Which port belongs to whom.
    pub ports: PortRegistry,
    /// Tokens that were configured, with what each allows.
    pub tokens: Vec<(Token, Scope)>,
    /// Whether everybody who reaches the port may do everything.
    pub allow_unauthenticated: bool,
    /// Further host names under which clients may reach the server.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may talk to the server.
    pub allowed_origins: Vec<String>,
    /// Whether only tools that change nothing are offered.
    pub read_only: bool,
    /// Which groups of tools are offered.
    pub toolsets: Groups,
    /// Where calls are written down, and which.
    pub audit: audit::Options,
    /// What is logged, in the words of `tracing_subscriber::EnvFilter`.
    pub log: String,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// When commits are made durable.
    pub durability: Synchronous,
    /// Every number that bounds something.
    pub limits: Limits,
    /// What looks like a mistake and is none for certain, for the log.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with every fault at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(sources);
        let data_dir = reader
            .path("data_dir")
            .or_else(|| default_data_dir(sources))
            .unwrap_or_else(|| {
                reader.fault(
                    "no place for the data directory is known: HOME and XDG_STATE_HOME are not set; hint: give --data-dir",
                );
                PathBuf::new()
            });
        let host = reader.parsed("host", host).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let port = reader.parsed("port", port).unwrap_or(DEFAULT_PORT);
        let mut roots = reader.paths("roots");
        if roots.is_empty() {
            roots.push(sources.directory().to_owned());
        }
        let ports = match reader.path("port_registry") {
            None => PortRegistry::bundled(),
            Some(path) => PortRegistry::from_file(&path).unwrap_or_else(|error| {
                reader.fault(chain(&error));
                PortRegistry::bundled()
            }),
        };
        let mut tokens = Vec::new();
        for (key, scope) in
            [("token", Scope::Admin), ("write_token", Scope::Write), ("read_token", Scope::Read)]
        {
            let token =
                reader.parsed(key, |text| Token::new(text).map_err(|error| error.to_string()));
            tokens.extend(token.map(|token| (token, scope)));
        }
        let limits = Limits::read(&mut reader);
        let audit = audit::Options {
            directory: reader.path("audit_dir").unwrap_or_else(|| data_dir.join("audit")),
            mode: reader.parsed("audit", audit_mode).unwrap_or_default(),
            limits: limits.audit,
        };
        let config = Self {
            address: SocketAddr::new(host, port),
            pattern_dir: reader.path("pattern_dir").unwrap_or_else(|| data_dir.join("plugins")),
            cache_dir: reader.path("cache_dir").unwrap_or_else(|| data_dir.join("plugin-cache")),
            trust: Trust {
                mode: reader.parsed("plugin_trust", trust_mode).unwrap_or_default(),
                lock: Some(
                    reader
                        .path("plugins_lock")
                        .unwrap_or_else(|| data_dir.join("plugin-trust/plugins.lock")),
                ),
            },
            compiler: Compiler::InProcess,
            archive_dir: reader.path("archive_dir"),
            labels: labels(&mut reader),
            tool_servers: reader.tool_servers(),
            components_file: reader
                .path("components_file")
                .unwrap_or_else(|| data_dir.join("components.toml")),
            data_dir,
            roots,
            ports,
            tokens,
            allow_unauthenticated: reader
                .parsed("allow_unauthenticated", yes_or_no)
                .unwrap_or(false),
            allowed_hosts: reader.texts("allowed_hosts"),
            allowed_origins: reader.texts("allowed_origins"),
            read_only: reader.parsed("read_only", yes_or_no).unwrap_or(false),
            toolsets: toolsets(&mut reader),
            audit,
            log: reader.parsed("log", log_filter).unwrap_or_else(|| DEFAULT_LOG.to_owned()),
            log_format: reader.parsed("log_format", log_format).unwrap_or(LogFormat::Text),
            durability: reader.parsed("durability", durability).unwrap_or(Synchronous::Full),
            limits,
            warnings: sources.warnings(),
        };
        reader.done(config)
    }

    /// Returns the engine's options; the bundled plugins are the caller's to add.
    pub fn engine(&self) -> EngineOptions {
        let root = self.roots.first().cloned().unwrap_or_else(|| PathBuf::from("."));
        let mut options = EngineOptions::new(self.data_dir.clone(), root);
        options.plugins.directory = Some(self.pattern_dir.clone());
        options.plugins.cache_directory = Some(self.cache_dir.clone());
        options.plugins.trust = self.trust.clone();
        options.plugins.compiler = self.compiler.clone();
        options.retention.archive.clone_from(&self.archive_dir);
        options.labels.clone_from(&self.labels);
        options.tool_servers.clone_from(&self.tool_servers);
        options.roots.clone_from(&self.roots);
        options.components_file = Some(self.components_file.clone());
        options.store.synchronous = self.durability;
        options.port_claims = self.port_claims();
        options.ports = self.ports_for_patterns();
        self.limits.fill(&mut options);
        options
    }

    /// Returns the limits of calls.
    pub fn calls(&self) -> toolset::Limits {
        self.limits.calls.clone()
    }

    /// Returns the limits of the front door.
    pub fn front(&self) -> listen::Limits {
        self.limits.front.clone()
    }

    fn port_claims(&self) -> caelum_machines::probe::PortClaims {
        let ports = self.ports.clone();
        caelum_machines::probe::PortClaims::new(move |port| {
            let owner = ports.owner(port)?;
            Some(caelum_machines::probe::PortClaim {
                service: owner.name.clone(),
                project: Some(owner.project.clone()),
            })
        })
    }

    fn ports_for_patterns(&self) -> serde_json::Value {
        self.ports
            .services()
            .map(|service| {
                serde_json::json!({
                    "port": service.port,
                    "service": service.name,
                    "kind": service.kind,
                    "project": service.project,
                })
            })
            .collect()
    }
}

/// Reads labels, each `key=value`.
fn labels(reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for entry in reader.texts("labels") {
        match entry.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                labels.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            _ => reader.fault(format!(
                "labels: `{entry}` is no label; expected KEY=VALUE such as zone=east"
            )),
        }
    }
    labels
}

/// Reads the groups of tools that are offered.
fn toolsets(reader: &mut Reader<'_>) -> Groups {
    let names = reader.texts("toolsets");
    // A repeated flag and a list with commas are the same.
    let names = names.iter().flat_map(|name| name.split(',')).map(str::trim);
    Groups::parse(names.filter(|name| !name.is_empty())).unwrap_or_else(|unknown| {
        for problem in unknown {
            reader.fault(format!("toolsets: {problem}"));
        }
        Groups::all()
    })
}

/// What is logged when nobody says otherwise: what an operator cares about, without the library's word on every session.
const DEFAULT_LOG: &str = "info,rmcp=warn";

/// Returns where the data directory is by the desktop's own rule (XDG base directories).
fn default_data_dir(sources: &Sources) -> Option<PathBuf> {
    let set = |name: &str| sources.variable(name).filter(|value| Path::new(value).is_absolute());
    let state = match set("XDG_STATE_HOME") {
        Some(state) => PathBuf::from(state),
        None => Path::new(&set("HOME")?).join(".local/state"),
    };
    Some(state.join("caelum-workflow"))
}

fn host(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    text.trim_matches(['[', ']'])
        .parse()
        .map_err(|_| "expected an address such as 127.0.0.1, ::1 or 0.0.0.0".to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "expected a port from 0 (any free one) to 65535".to_owned())
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{error}; expected a level (error, warn, info, debug, trace) or a filter such as info,caelum_engine=debug"
        )),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected text or json".to_owned()),
    }
}

fn trust_mode(text: &str) -> Result<TrustMode, String> {
    match text {
        "open" => Ok(TrustMode::Open),
        "pinned" => Ok(TrustMode::Pinned),
        _ => Err("expected open (every file of the plugins directory may serve) or pinned (only digests in plugins.lock)".to_owned()),
    }
}

fn audit_mode(text: &str) -> Result<audit::Mode, String> {
    match text {
        "all" => Ok(audit::Mode::All),
        "changes" => Ok(audit::Mode::Changes),
        "off" => Ok(audit::Mode::Off),
        _ => Err("expected all (every call), changes (calls that change something, and whatever was denied or failed) or off".to_owned()),
    }
}

fn durability(text: &str) -> Result<Synchronous, String> {
    match text {
        "full" => Ok(Synchronous::Full),
        "normal" => Ok(Synchronous::Normal),
        _ => Err(
            "expected full (survives the loss of power) or normal (survives a crash of the server)"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests;
