#![doc = include_str!("../docs/probes.md")]

mod file;
mod http;
mod port;
mod systemd;
mod tcp;

use std::sync::Arc;
use std::time::Duration;

use caelum_core::evidence::ProbeAnswer;
use caelum_core::id::MachineId;
use caelum_core::task::{CommandSpec, Probe, ProbeKind, TaskFailure};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::command::{End, Identity, Patience, Runner};

pub use port::{PortClaim, PortClaims};

/// How long a probe's program may take to end after it was asked to.
const PROBE_GRACE: Duration = Duration::from_secs(1);

/// Why there is no answer. Becomes `error` and `code` of the answer.
#[derive(Debug)]
struct NoAnswer {
    code: &'static str,
    error: String,
    /// What was known already.
    known: Map<String, Value>,
}

impl NoAnswer {
    fn new(code: &'static str, error: impl Into<String>) -> Self {
        NoAnswer { code, error: error.into(), known: Map::new() }
    }

    fn knowing(mut self, known: Value) -> Self {
        if let Value::Object(known) = known {
            self.known = known;
        }
        self
    }

    fn refused(failure: TaskFailure) -> Self {
        let code = match failure.code.as_str() {
            "refused_by_policy" | "permission_denied" => "denied",
            "invalid_command" => "invalid",
            "program_not_found" | "directory_not_found" | "not_a_program" => "unavailable",
            _ => "io",
        };
        let hint = failure.hint.map(|hint| format!("; hint: {hint}")).unwrap_or_default();
        NoAnswer::new(code, format!("{}{hint}", failure.message))
    }
}

/// Fetches facts on this machine.
#[derive(Debug)]
pub(crate) struct Prober {
    runner: Runner,
    client: reqwest::Client,
    claims: PortClaims,
}

impl Prober {
    /// Builds a prober; `claims` answers who claims a port.
    pub(crate) fn new(runner: Runner, client: reqwest::Client, claims: PortClaims) -> Self {
        Prober { runner, client, claims }
    }

    /// Fetches one fact within its time.
    pub(crate) async fn fetch(&self, machine: &MachineId, probe: &Probe) -> ProbeAnswer {
        let taken_at = self.runner.clock.now();
        let limit = Duration::from_millis(probe.timeout_ms);
        let fetched = match &probe.kind {
            // It ends its own program and keeps the output so far.
            ProbeKind::Command(command) => self.command(&probe.name, command, limit).await,
            kind => tokio::time::timeout(limit, self.fetch_kind(&probe.name, kind, limit))
                .await
                .unwrap_or_else(|_| {
                    let error = format!("no answer within {} ms", probe.timeout_ms);
                    Err(NoAnswer::new("timeout", error).knowing(subject(kind)))
                }),
        };
        let (ok, answer) = match fetched {
            Ok(answer) => (true, answer),
            Err(NoAnswer { code, error, mut known }) => {
                known.insert("error".to_owned(), error.into());
                known.insert("code".to_owned(), code.into());
                (false, Value::Object(known))
            }
        };
        ProbeAnswer {
            name: probe.name.clone(),
            kind: probe.kind.as_str().to_owned(),
            machine: machine.clone(),
            taken_at,
            ok,
            answer,
        }
    }

    async fn fetch_kind(
        &self,
        name: &str,
        kind: &ProbeKind,
        limit: Duration,
    ) -> Result<Value, NoAnswer> {
        let bytes_max = self.runner.options.probe_bytes_max;
        let fetched = match kind {
            ProbeKind::Http { url, headers } => {
                http::fetch(&self.client, url, headers, bytes_max).await
            }
            ProbeKind::Tcp { address } => tcp::fetch(address).await,
            ProbeKind::Command(command) => self.command(name, command, limit).await,
            ProbeKind::File { path } => {
                let (policy, path) = (Arc::clone(&self.runner.policy), path.clone());
                on_disk(move || file::fetch(&policy, &path, bytes_max)).await
            }
            ProbeKind::Env { names } => Ok(environment(names)),
            ProbeKind::Port { port, service } => {
                let (claims, port, service) = (self.claims.clone(), *port, service.clone());
                on_disk(move || port::fetch(&claims, port, service)).await
            }
            ProbeKind::Systemd { unit } => systemd::fetch(self, name, unit, limit).await,
        };
        fetched.map_err(|mut none| {
            if let (true, Value::Object(known)) = (none.known.is_empty(), subject(kind)) {
                none.known = known;
            }
            none
        })
    }

    /// Runs a program within its time and answers how it ended and what it wrote.
    async fn command(
        &self,
        name: &str,
        command: &CommandSpec,
        limit: Duration,
    ) -> Result<Value, NoAnswer> {
        let known = json!({"program": command.program, "args": command.args});
        let start = self
            .runner
            .prepare(command)
            .await
            .map_err(|failure| NoAnswer::refused(failure).knowing(known.clone()))?;
        let identity = Identity { key: format!("probe/{name}"), env: Vec::new() };
        let streams = self.runner.streams();
        let patience = Patience { run: limit, grace: PROBE_GRACE };
        let begun = tokio::time::Instant::now();
        let never = CancellationToken::new();
        let ended = self
            .runner
            .execute(
                &start.prepared,
                command.stdin.as_deref(),
                &identity,
                patience,
                &streams,
                &never,
            )
            .await
            .map_err(|failure| NoAnswer::refused(failure).knowing(known))?;
        let timed_out = ended.end != End::Itself;
        let stdout = streams.stdout().output();
        let stderr = streams.stderr().output();
        let answer = json!({
            "program": command.program,
            "args": command.args,
            "exit_code": ended.exit_code(),
            "signal": ended.signal(),
            "timed_out": timed_out,
            "duration_ms": millis(begun.elapsed()),
            "stdout": stdout,
            "stderr": stderr,
        });
        if timed_out {
            let error = format!("ran longer than {} ms and was ended", limit.as_millis());
            return Err(NoAnswer::new("timeout", error).knowing(answer));
        }
        Ok(answer)
    }
}

/// What a probe is about, for an answer that knows nothing else.
fn subject(kind: &ProbeKind) -> Value {
    match kind {
        ProbeKind::Http { url, .. } => json!({"url": url}),
        ProbeKind::Tcp { address } => json!({"address": address, "connected": false}),
        ProbeKind::Command(command) => json!({"program": command.program, "args": command.args}),
        ProbeKind::File { path } => json!({"path": path}),
        ProbeKind::Env { names } => json!({"names": names}),
        ProbeKind::Port { port, .. } => json!({"port": port}),
        ProbeKind::Systemd { unit } => json!({"unit": unit}),
    }
}

/// Sorts names of variables into set, empty and missing. Values are looked at and never told.
fn environment(names: &[String]) -> Value {
    let (mut set, mut empty, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        // A name that can be no variable's name is missing, and must not reach the system.
        let legal = !name.is_empty() && !name.contains(['=', '\0']);
        match legal.then(|| std::env::var_os(name)).flatten() {
            None => missing.push(name),
            Some(value) if value.is_empty() => empty.push(name),
            Some(_) => set.push(name),
        }
    }
    json!({"set": set, "empty": empty, "missing": missing})
}

/// Looks at the file system on a thread that may block.
async fn on_disk(
    look: impl FnOnce() -> Result<Value, NoAnswer> + Send + 'static,
) -> Result<Value, NoAnswer> {
    tokio::task::spawn_blocking(look).await.unwrap_or_else(|error| {
        Err(NoAnswer::new("io", format!("the look was broken off: {error}")))
    })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
