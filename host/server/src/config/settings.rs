//! The table of settings: what each is called in every source, its default, and what it is for. The help texts, the
//! example file and the reader all live from it. Numbers that only bound something stand in `limits.rs`.

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One text.
    Text,
    /// A path, relative to the current directory, or to the file when it stands in one.
    Path,
    /// Several texts; in the environment they are separated by commas.
    Texts,
    /// Several paths; in the environment they are separated by colons.
    Paths,
    /// A whole number.
    Number,
    /// true or false.
    Switch,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its key in the TOML file.
    pub key: &'static str,
    /// Its environment variable.
    pub env: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Its default as the file would say it.
    pub default: &'static str,
    /// What it is for.
    pub about: &'static str,
}

const fn setting(
    key: &'static str,
    env: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
) -> Setting {
    Setting { key, env, kind, default, about }
}

/// Every setting but the limits.
pub const SETTINGS: &[Setting] = &[
    setting(
        "host",
        "CAELUM_WORKFLOW_ORCHESTRATION_HOST",
        Kind::Text,
        "\"127.0.0.1\"",
        "The address to listen on. Any address but a loopback one needs a token.",
    ),
    setting(
        "port",
        "CAELUM_WORKFLOW_ORCHESTRATION_PORT",
        Kind::Number,
        "8113",
        "The port to listen on; 0 takes any free one.",
    ),
    setting(
        "data_dir",
        "CAELUM_WORKFLOW_DATA_DIR",
        Kind::Path,
        "\"~/.local/state/caelum-workflow\"",
        "Where the store, journals, the plugin cache and the token live; $XDG_STATE_HOME/caelum-workflow where that is set.",
    ),
    setting(
        "pattern_dir",
        "CAELUM_WORKFLOW_PATTERN_DIR",
        Kind::Path,
        "\"<data_dir>/plugins\"",
        "Where plugin files (.wasm) are dropped; need not exist.",
    ),
    setting(
        "cache_dir",
        "CAELUM_WORKFLOW_CACHE_DIR",
        Kind::Path,
        "\"<data_dir>/plugin-cache\"",
        "Where compiled plugins are kept; several servers of one user may share it.",
    ),
    setting(
        "plugin_trust",
        "CAELUM_WORKFLOW_PLUGIN_TRUST",
        Kind::Text,
        "\"open\"",
        "Which plugin files may serve: open (all of the directory that were not put away) or pinned (only digests that are pinned in plugins_lock). Bundled plugins always may, unless they are put away.",
    ),
    setting(
        "plugins_lock",
        "CAELUM_WORKFLOW_PLUGINS_LOCK",
        Kind::Path,
        "\"<data_dir>/plugin-trust/plugins.lock\"",
        "What the operator has said of plugins: pins, and what is put away. Written by `caelum-workflow plugin pin` and `plugin quarantine`; need not exist.",
    ),
    setting(
        "labels",
        "CAELUM_WORKFLOW_LABELS",
        Kind::Texts,
        "[]",
        "Labels of this machine, each key=value, beside os, arch and host; steps select by label:key=value.",
    ),
    setting(
        "roots",
        "CAELUM_WORKFLOW_ROOTS",
        Kind::Paths,
        "[\".\"]",
        "Directories beneath which components and the directories of commands must lie; relative paths begin at the first.",
    ),
    setting(
        "archive_dir",
        "CAELUM_WORKFLOW_ARCHIVE_DIR",
        Kind::Path,
        "\"\"",
        "Where executions are archived before retention takes them away (JSON lines, zstd), for `import`; without it they go for good.",
    ),
    setting(
        "components_file",
        "CAELUM_WORKFLOW_COMPONENTS_FILE",
        Kind::Path,
        "\"<data_dir>/components.toml\"",
        "Names of components, each with its directory and default parameters; need not exist.",
    ),
    setting(
        "port_registry",
        "CAELUM_WORKFLOW_PORT_REGISTRY",
        Kind::Path,
        "\"\"",
        "A TOML file that replaces the bundled port registry.",
    ),
    setting(
        "token",
        "CAELUM_WORKFLOW_TOKEN",
        Kind::Text,
        "\"\"",
        "The bearer token that allows everything, at least 24 characters; better in the environment than in a file. Without one, a token is made at the first start and kept in <data_dir>/token.",
    ),
    setting(
        "write_token",
        "CAELUM_WORKFLOW_WRITE_TOKEN",
        Kind::Text,
        "\"\"",
        "A bearer token that allows reading, and changing workflows and executions.",
    ),
    setting(
        "read_token",
        "CAELUM_WORKFLOW_READ_TOKEN",
        Kind::Text,
        "\"\"",
        "A bearer token that allows reading only.",
    ),
    setting(
        "allow_unauthenticated",
        "CAELUM_WORKFLOW_ALLOW_UNAUTHENTICATED",
        Kind::Switch,
        "false",
        "Lets everybody who reaches the port run commands and write files. Say it only where nobody else can reach the port.",
    ),
    setting(
        "allowed_hosts",
        "CAELUM_WORKFLOW_ALLOWED_HOSTS",
        Kind::Texts,
        "[]",
        "Further host names under which clients may reach the server, such as build.example.com or build.example.com:8113.",
    ),
    setting(
        "allowed_origins",
        "CAELUM_WORKFLOW_ALLOWED_ORIGINS",
        Kind::Texts,
        "[]",
        "Origins of web pages that may talk to the server, such as https://app.example.com or http://localhost:*.",
    ),
    setting(
        "read_only",
        "CAELUM_WORKFLOW_READ_ONLY",
        Kind::Switch,
        "false",
        "Offers only the tools that change nothing.",
    ),
    setting(
        "toolsets",
        "CAELUM_WORKFLOW_TOOLSETS",
        Kind::Texts,
        "[\"all\"]",
        "Which groups of tools are offered: workflows, patterns, tasks, monitoring, or all.",
    ),
    setting(
        "audit",
        "CAELUM_WORKFLOW_AUDIT",
        Kind::Text,
        "\"all\"",
        "Which calls are written to the audit log: all, changes (those that change something, and whatever was denied or failed) or off.",
    ),
    setting(
        "audit_dir",
        "CAELUM_WORKFLOW_AUDIT_DIR",
        Kind::Path,
        "\"<data_dir>/audit\"",
        "Where the audit log is written, one JSON object a line; one server to a directory.",
    ),
    setting(
        "log",
        "CAELUM_WORKFLOW_LOG",
        Kind::Text,
        "\"info,rmcp=warn\"",
        "What is logged to standard error: a level, or a filter such as info,caelum_engine=debug.",
    ),
    setting(
        "log_format",
        "CAELUM_WORKFLOW_LOG_FORMAT",
        Kind::Text,
        "\"text\"",
        "How log lines are written: text or json.",
    ),
    setting(
        "durability",
        "CAELUM_WORKFLOW_DURABILITY",
        Kind::Text,
        "\"full\"",
        "What an acknowledged change survives: full (the loss of power) or normal (a crash of the server).",
    ),
];

/// Environment variables that are read and are no settings.
pub(super) const OTHER_VARIABLES: &[&str] = &[CONFIG_VARIABLE];

/// The variable that names the TOML file.
pub(super) const CONFIG_VARIABLE: &str = "CAELUM_WORKFLOW_CONFIG";

/// What every variable of ours begins with.
pub(super) const VARIABLE_PREFIX: &str = "CAELUM_WORKFLOW_";
