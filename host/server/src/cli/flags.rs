//! The flags that set settings; what they mean stands in `config`.

use std::path::PathBuf;

use clap::Args;

use crate::config::Flags;

/// Flags that every command takes.
#[derive(Debug, Args)]
pub(super) struct GlobalFlags {
    /// Write results as JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Log to standard error, as much as --log says.
    #[arg(long, short, global = true)]
    pub(super) verbose: bool,
    /// The TOML file to read [default: ~/.config/caelum-workflow/config.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,
    /// Where everything is kept [env: CAELUM_WORKFLOW_DATA_DIR] [default: ~/.local/state/caelum-workflow]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Settings")]
    data_dir: Option<String>,
    /// Where plugin files are dropped [env: CAELUM_WORKFLOW_PATTERN_DIR] [default: plugins in the data directory]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Settings")]
    pattern_dir: Option<String>,
    /// Where compiled plugins are kept [env: CAELUM_WORKFLOW_CACHE_DIR] [default: plugin-cache in the data directory]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Settings")]
    cache_dir: Option<String>,
    /// Which plugin files may serve: open or pinned [env: CAELUM_WORKFLOW_PLUGIN_TRUST] [default: open]
    #[arg(long, global = true, value_name = "MODE", help_heading = "Settings")]
    plugin_trust: Option<String>,
    /// What the operator has said of plugins [env: CAELUM_WORKFLOW_PLUGINS_LOCK] [default:
    /// plugin-trust/plugins.lock in the data directory]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    plugins_lock: Option<String>,
    /// Where executions are archived before retention takes them away [env: CAELUM_WORKFLOW_ARCHIVE_DIR] [default: nowhere]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Settings")]
    archive_dir: Option<String>,
    /// A directory beneath which components and commands must lie; may be repeated [env: CAELUM_WORKFLOW_ROOTS]
    /// [default: the current directory]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Settings")]
    root: Vec<String>,
    /// Names of components [env: CAELUM_WORKFLOW_COMPONENTS_FILE] [default: components.toml in the data directory]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    components_file: Option<String>,
    /// A label of this machine; may be repeated [env: CAELUM_WORKFLOW_LABELS]
    #[arg(long, global = true, value_name = "KEY=VALUE", help_heading = "Settings")]
    label: Vec<String>,
    /// What is logged, such as debug or info,caelum_engine=debug [env: CAELUM_WORKFLOW_LOG] [default: info,rmcp=warn]
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Settings")]
    log: Option<String>,
    /// How log lines are written: text or json [env: CAELUM_WORKFLOW_LOG_FORMAT] [default: text]
    #[arg(long, global = true, value_name = "FORMAT", help_heading = "Settings")]
    log_format: Option<String>,
    /// Which calls are written to the audit log: all, changes or off [env: CAELUM_WORKFLOW_AUDIT] [default: all]
    #[arg(long, global = true, value_name = "WHICH", help_heading = "Settings")]
    audit: Option<String>,
    /// Where the audit log is written [env: CAELUM_WORKFLOW_AUDIT_DIR] [default: audit in the data directory]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Settings")]
    audit_dir: Option<String>,
    /// What an acknowledged change survives: full or normal [env: CAELUM_WORKFLOW_DURABILITY] [default: full]
    #[arg(long, global = true, value_name = "HOW", help_heading = "Settings")]
    durability: Option<String>,
    /// A limit, such as calls_max=100; may be repeated; `config --example` lists them
    #[arg(long, global = true, value_name = "NAME=VALUE", help_heading = "Settings")]
    limit: Vec<String>,
}

/// Flags of the server.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ServeFlags {
    /// Speak MCP on standard input and output instead of a port.
    #[arg(long, help_heading = "Serving")]
    pub(super) stdio: bool,
    /// The address to listen on [env: CAELUM_WORKFLOW_ORCHESTRATION_HOST] [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS", help_heading = "Serving")]
    host: Option<String>,
    /// The port to listen on; 0 takes any free one [env: CAELUM_WORKFLOW_ORCHESTRATION_PORT] [default: 8113]
    #[arg(long, value_name = "PORT", help_heading = "Serving")]
    port: Option<String>,
    /// A file that replaces the bundled port registry [env: CAELUM_WORKFLOW_PORT_REGISTRY]
    #[arg(long, value_name = "FILE", help_heading = "Serving")]
    port_registry: Option<String>,
    /// Let everybody who reaches the port do everything [env: CAELUM_WORKFLOW_ALLOW_UNAUTHENTICATED]
    #[arg(long, help_heading = "Serving")]
    allow_unauthenticated: bool,
    /// A further host name of this server; may be repeated [env: CAELUM_WORKFLOW_ALLOWED_HOSTS]
    #[arg(long, value_name = "HOST", help_heading = "Serving")]
    allowed_host: Vec<String>,
    /// An origin of pages that may talk to this server; may be repeated [env: CAELUM_WORKFLOW_ALLOWED_ORIGINS]
    #[arg(long, value_name = "ORIGIN", help_heading = "Serving")]
    allowed_origin: Vec<String>,
    /// Offer only tools that change nothing [env: CAELUM_WORKFLOW_READ_ONLY]
    #[arg(long, help_heading = "Serving")]
    read_only: bool,
    /// Offer only these groups of tools: workflows, patterns, tasks, monitoring; may be repeated
    /// [env: CAELUM_WORKFLOW_TOOLSETS] [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "Serving")]
    toolsets: Vec<String>,
}

impl ServeFlags {
    /// Returns these flags, with those of `other` where nothing was said.
    pub(super) fn or(self, other: Self) -> Self {
        let longer = |one: Vec<String>, two: Vec<String>| if one.is_empty() { two } else { one };
        Self {
            stdio: self.stdio || other.stdio,
            host: self.host.or(other.host),
            port: self.port.or(other.port),
            port_registry: self.port_registry.or(other.port_registry),
            allow_unauthenticated: self.allow_unauthenticated || other.allow_unauthenticated,
            allowed_host: longer(self.allowed_host, other.allowed_host),
            allowed_origin: longer(self.allowed_origin, other.allowed_origin),
            read_only: self.read_only || other.read_only,
            toolsets: longer(self.toolsets, other.toolsets),
        }
    }
}

impl GlobalFlags {
    /// Returns what was typed, by the keys of the settings.
    pub(super) fn sources(&self, serve: &ServeFlags) -> Flags {
        let mut flags =
            Flags { limits: self.limit.clone(), config: self.config.clone(), ..Flags::default() };
        let singles = [
            ("data_dir", &self.data_dir),
            ("pattern_dir", &self.pattern_dir),
            ("cache_dir", &self.cache_dir),
            ("plugin_trust", &self.plugin_trust),
            ("plugins_lock", &self.plugins_lock),
            ("archive_dir", &self.archive_dir),
            ("components_file", &self.components_file),
            ("log", &self.log),
            ("log_format", &self.log_format),
            ("durability", &self.durability),
            ("audit", &self.audit),
            ("audit_dir", &self.audit_dir),
            ("host", &serve.host),
            ("port", &serve.port),
            ("port_registry", &serve.port_registry),
        ];
        for (key, value) in singles {
            if let Some(value) = value {
                flags.settings.insert(key, vec![value.clone()]);
            }
        }
        let several = [
            ("roots", &self.root),
            ("labels", &self.label),
            ("allowed_hosts", &serve.allowed_host),
            ("toolsets", &serve.toolsets),
            ("allowed_origins", &serve.allowed_origin),
        ];
        for (key, values) in several {
            if !values.is_empty() {
                flags.settings.insert(key, values.clone());
            }
        }
        let switches = [
            ("allow_unauthenticated", serve.allow_unauthenticated),
            ("read_only", serve.read_only),
        ];
        for (key, on) in switches {
            if on {
                flags.settings.insert(key, vec!["true".to_owned()]);
            }
        }
        flags
    }
}
