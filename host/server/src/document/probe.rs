//! Facts that a step wants fetched for its gates, as documents say it: flat objects whose `kind` says which fields are
//! meant.

use std::collections::BTreeMap;

use caelum_core::task::{Probe, ProbeKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::{CommandDocument, listed};
use super::{Faults, filled};

/// How long a probe may take when its author does not say, in milliseconds.
const TIMEOUT_MS: u64 = 5_000;

/// The kinds of probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeWord {
    /// One HTTP GET: `url`, `headers`.
    Http,
    /// One TCP connect: `address`.
    Tcp,
    /// One program's exit code and output: `command`.
    Command,
    /// Whether a file is there, and its first 64 KiB: `path`.
    File,
    /// Which environment variables are set, never their values: `names`.
    Env,
    /// Who listens on a port and who claims it: `port`, `service`.
    Port,
    /// The state of a systemd unit: `unit`.
    Systemd,
}

impl ProbeWord {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Command => "command",
            Self::File => "file",
            Self::Env => "env",
            Self::Port => "port",
            Self::Systemd => "systemd",
        }
    }

    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Http => &["url", "headers"],
            Self::Tcp => &["address"],
            Self::Command => &["command"],
            Self::File => &["path"],
            Self::Env => &["names"],
            Self::Port => &["port", "service"],
            Self::Systemd => &["unit"],
        }
    }
}

/// A fact to fetch on the step's machines just before a gate judges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"name": "health", "kind": "http", "url": "http://127.0.0.1:8113/health"}))]
pub struct ProbeDocument {
    /// Its name in the evidence, unique in the step; the kind when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What to fetch; it decides which other fields are meant.
    pub kind: ProbeWord,
    /// How long it may take, in milliseconds; 5,000 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600_000))]
    pub timeout_ms: Option<u64>,
    /// `http`: where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `http`: header lines to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    /// `tcp`: `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `command`: the program to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandDocument>,
    /// `file`: the path, relative to the step's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `env`: the names of the variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// `port`: the TCP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `port`: the service that should own it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `systemd`: the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl ProbeDocument {
    pub(super) fn of(probe: &Probe) -> Self {
        let mut document = Self {
            name: Some(probe.name.clone()),
            kind: ProbeWord::Http,
            timeout_ms: Some(probe.timeout_ms),
            url: None,
            headers: None,
            address: None,
            command: None,
            path: None,
            names: None,
            port: None,
            service: None,
            unit: None,
        };
        document.kind = match &probe.kind {
            ProbeKind::Http { url, headers } => {
                document.url = Some(url.clone());
                document.headers = (!headers.is_empty()).then(|| headers.clone());
                ProbeWord::Http
            }
            ProbeKind::Tcp { address } => {
                document.address = Some(address.clone());
                ProbeWord::Tcp
            }
            ProbeKind::Command(spec) => {
                document.command = Some(CommandDocument::of(spec));
                ProbeWord::Command
            }
            ProbeKind::File { path } => {
                document.path = Some(path.clone());
                ProbeWord::File
            }
            ProbeKind::Env { names } => {
                document.names = Some(names.clone());
                ProbeWord::Env
            }
            ProbeKind::Port { port, service } => {
                document.port = Some(*port);
                document.service = service.clone();
                ProbeWord::Port
            }
            ProbeKind::Systemd { unit } => {
                document.unit = Some(unit.clone());
                ProbeWord::Systemd
            }
        };
        document
    }

    pub(super) fn to_probe(&self, at: &str, faults: &mut Faults) -> Option<Probe> {
        let word = self.kind.as_str();
        let fitting = self.kind.fields();
        for field in self.given() {
            if !fitting.contains(&field) {
                faults.add(
                    format_args!("{at}/{field}"),
                    format_args!(
                        "`{field}` does not belong to probes of kind `{word}`, which take {}",
                        listed(fitting)
                    ),
                );
            }
        }
        let kind = self.kind_of().or_else(|| {
            let needed = fitting[0];
            faults.add(
                format_args!("{at}/{needed}"),
                format_args!("required for a probe of kind `{word}`, and missing"),
            );
            None
        })?;
        Some(Probe {
            name: filled(self.name.as_ref()).unwrap_or(word).to_owned(),
            kind,
            timeout_ms: self.timeout_ms.unwrap_or(TIMEOUT_MS),
        })
    }

    /// Returns what to fetch, if the field that it needs is there: always the first of its fields.
    fn kind_of(&self) -> Option<ProbeKind> {
        let text = |value: &Option<String>| filled(value.as_ref()).map(str::to_owned);
        Some(match self.kind {
            ProbeWord::Http => ProbeKind::Http {
                url: text(&self.url)?,
                headers: self.headers.clone().unwrap_or_default(),
            },
            ProbeWord::Tcp => ProbeKind::Tcp { address: text(&self.address)? },
            ProbeWord::Command => ProbeKind::Command(self.command.as_ref()?.to_spec()),
            ProbeWord::File => ProbeKind::File { path: text(&self.path)? },
            ProbeWord::Env => ProbeKind::Env { names: self.names.clone()? },
            ProbeWord::Port => ProbeKind::Port { port: self.port?, service: text(&self.service) },
            ProbeWord::Systemd => ProbeKind::Systemd { unit: text(&self.unit)? },
        })
    }

    fn given(&self) -> impl Iterator<Item = &'static str> {
        [
            ("url", self.url.is_some()),
            ("headers", self.headers.is_some()),
            ("address", self.address.is_some()),
            ("command", self.command.is_some()),
            ("path", self.path.is_some()),
            ("names", self.names.is_some()),
            ("port", self.port.is_some()),
            ("service", self.service.is_some()),
            ("unit", self.unit.is_some()),
        ]
        .into_iter()
        .filter_map(|(field, given)| given.then_some(field))
    }
}
