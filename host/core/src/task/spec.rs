//! The message that tells a machine what to run, and the report that comes back. Both are stored and sent, so they
//! carry serde and change only by adding optional fields.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::evidence::EvidenceFile;
use crate::id::{ExecutionId, MachineId, StepId};
use crate::task::HttpSpec;

/// Names one piece of work for ever: (execution, step, machine), and the item where the step is a map. The same over attempts that repeat an unknown
/// outcome, so that whoever keeps a journal can answer instead of working twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// The execution.
    pub execution: ExecutionId,
    /// The step.
    pub step: StepId,
    /// The machine.
    pub machine: MachineId,
    /// The item, where the step is a map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.execution, self.step, self.machine)?;
        match self.item {
            Some(item) => write!(formatter, "/{item}"),
            None => Ok(()),
        }
    }
}

/// A program to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CommandSpec {
    /// The program: a name looked up in `PATH`, or a path.
    pub program: String,
    /// Its arguments, passed as they are; no shell looks at them unless `shell` is set.
    #[serde(default)]
    pub args: Vec<String>,
    /// Directory to run in, relative to the server's root or absolute beneath a root; default: the root.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Environment variables set on top of the allowed ones.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Text for its standard input; nothing means an empty one.
    #[serde(default)]
    pub stdin: Option<String>,
    /// Whether `program` is a line for `/bin/sh -c`, with `args` as its `$1` and on.
    #[serde(default)]
    pub shell: bool,
    /// Globs, relative to `cwd`, of files to keep as evidence.
    #[serde(default)]
    pub collect: Vec<String>,
    /// A JSON file, relative to `cwd`, that holds the outputs; default: the last line of standard output that is a
    /// JSON object.
    #[serde(default)]
    pub outputs: Option<String>,
}

/// A tool of another MCP server to call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// The server, by the name that the machine's configuration gives it.
    pub server: String,
    /// The tool.
    pub tool: String,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub arguments: Map<String, Value>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// Run a program.
    Command(CommandSpec),
    /// Send one HTTP request.
    Http(HttpSpec),
    /// Call a tool of another MCP server.
    Tool(ToolSpec),
}

/// One piece of work for one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Version of this message; the present one is 1.
    pub version: u32,
    /// Its name for ever.
    pub key: IdempotencyKey,
    /// Which delivery this is: reports of an older one change nothing.
    pub epoch: u32,
    /// Which attempt of the step, from 1; of the item, where the step is a map.
    pub attempt: u32,
    /// What to do.
    pub work: Work,
    /// How long it may run, in milliseconds.
    pub run_timeout_ms: u64,
    /// How long it may wait for a place on the machine, in milliseconds; nothing means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout_ms: Option<u64>,
    /// How long it may be silent before it counts as lost, in milliseconds, where the machine's work heartbeats. The local
    /// machine takes no notice: there the process itself is the sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_timeout_ms: Option<u64>,
    /// How long it may take to end after it was asked to (SIGTERM, then SIGKILL), in milliseconds.
    pub grace_ms: u64,
}

/// Text kept head and tail when it was too long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// What was kept; bytes that are not UTF-8 were replaced.
    pub text: String,
    /// How many bytes there were.
    pub total_bytes: u64,
    /// Whether the middle was left out.
    pub truncated: bool,
}

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeStatus {
    /// It ran to its end and said so (exit code 0).
    Succeeded,
    /// It ran to its end and failed.
    Failed,
    /// It ran longer than it may and was ended.
    TimedOut,
    /// It was ended because somebody cancelled.
    Cancelled,
    /// It could not be started.
    NotStarted,
}

/// What kind of failure this is; the retry policy names the kinds that it repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// May go away by itself: a timeout, a busy file, a machine that could not be reached.
    Transient,
    /// The program ran and ended with a failing exit code or signal.
    Exit,
    /// A gate said no.
    Gate,
    /// Will be the same the next time: no such program, wrong parameters, refused by policy.
    Permanent,
}

/// Why a piece of work failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFailure {
    /// What kind of failure.
    pub class: FailureClass,
    /// Stable code, such as `program_not_found`, `exit_code`, `run_timeout`.
    pub code: String,
    /// For people.
    pub message: String,
    /// What would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The report of one delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskOutcome {
    /// How it ended.
    pub status: OutcomeStatus,
    /// Exit code, where a program ended by itself.
    pub exit_code: Option<i32>,
    /// Signal number, where one ended it.
    pub signal: Option<i32>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Standard output.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
    /// Values for later steps.
    pub outputs: Map<String, Value>,
    /// Files kept as evidence.
    pub collected: Vec<EvidenceFile>,
    /// Why it failed; always there unless it succeeded.
    pub failure: Option<TaskFailure>,
}

impl TaskOutcome {
    /// Builds the outcome of work that could not even begin.
    pub fn not_started(at: Timestamp, failure: TaskFailure) -> Self {
        TaskOutcome {
            status: OutcomeStatus::NotStarted,
            exit_code: None,
            signal: None,
            started_at: at,
            ended_at: at,
            stdout: Output::default(),
            stderr: Output::default(),
            outputs: Map::new(),
            collected: Vec::new(),
            failure: Some(failure),
        }
    }

    /// Returns whether it succeeded.
    pub fn succeeded(&self) -> bool {
        self.status == OutcomeStatus::Succeeded
    }
}

/// A fact to fetch for a gate, on the step's machines, just before judging.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Its name in the evidence.
    pub name: String,
    /// What to fetch.
    pub kind: ProbeKind,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u64,
}

/// What a probe fetches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProbeKind {
    /// One HTTP GET: status, headers, the first 64 KiB of the body.
    Http {
        /// Where.
        url: String,
        /// Header lines to send.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// One TCP connect.
    Tcp {
        /// `host:port`.
        address: String,
    },
    /// One program's exit code and output.
    Command(CommandSpec),
    /// Whether a file is there, its size, and the first 64 KiB of its text.
    File {
        /// Path relative to the step's directory.
        path: String,
    },
    /// Which environment variables are set (names only, never values).
    Env {
        /// The names.
        names: Vec<String>,
    },
    /// Who listens on a port, and who claims it in the port registry.
    Port {
        /// The port.
        port: u16,
        /// The service that should own it.
        #[serde(default)]
        service: Option<String>,
    },
    /// `systemctl show` of one unit.
    Systemd {
        /// The unit.
        unit: String,
    },
}

impl ProbeKind {
    /// Returns the word used in evidence and documents.
    pub fn as_str(&self) -> &'static str {
        match self {
            ProbeKind::Http { .. } => "http",
            ProbeKind::Tcp { .. } => "tcp",
            ProbeKind::Command(_) => "command",
            ProbeKind::File { .. } => "file",
            ProbeKind::Env { .. } => "env",
            ProbeKind::Port { .. } => "port",
            ProbeKind::Systemd { .. } => "systemd",
        }
    }
}
