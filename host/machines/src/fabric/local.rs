//! The machine that this process runs on, as a fabric of one. `local` and the host name both mean it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use caelum_core::clock::Clock;
use caelum_core::evidence::ProbeAnswer;
use caelum_core::id::MachineId;
use caelum_core::near::did_you_mean;
use caelum_core::task::{
    FailureClass, IdempotencyKey, OutcomeStatus, Probe, TaskFailure, TaskOutcome, TaskSpec, Work,
};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Fabric, MachineInfo, MachineState, OutputSoFar, Pending};
use crate::capture::Streams;
use crate::command::Runner;
use crate::guard::Guard;
use crate::options::MachineOptions;
use crate::orphans::{OrphansError, RunFolder};
use crate::policy::CommandPolicy;
use crate::probe::{PortClaims, Prober};
use crate::request::Requester;
use crate::tools::{ToolServer, Tools};

/// The local machine cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalFabricError {
    /// The data directory cannot hold what is running.
    #[error("the data directory cannot be used for running tasks")]
    DataDir(#[from] OrphansError),
    /// The client for HTTP requests cannot be built.
    #[error("the client for HTTP requests cannot be built")]
    Http(#[source] reqwest::Error),
}

/// This machine. Share it in an `Arc`; all its state is its own.
#[derive(Debug)]
pub struct LocalFabric {
    runner: Runner,
    requester: Requester,
    tools: Tools,
    client: reqwest::Client,
    prober: Prober,
    options: MachineOptions,
    names: Vec<MachineId>,
    labels: BTreeMap<String, String>,
    tasks: Semaphore,
    probes: Semaphore,
    waiting: AtomicUsize,
    /// Written by [`Fabric::run`] at a task's start and end, read by whoever asks for output so far.
    running: Mutex<HashMap<u64, Running>>,
    next: AtomicUsize,
    /// Ends what runs when this process dies; nothing where there is no shell.
    _guard: Option<Guard>,
}

#[derive(Debug)]
struct Running {
    key: IdempotencyKey,
    epoch: u32,
    streams: Arc<Streams>,
}

impl LocalFabric {
    /// Opens the local machine. What runs is written down beneath `data_dir`; call [`crate::reap_orphans`] first.
    ///
    /// `labels` are added to `os`, `arch` and `host`.
    ///
    /// # Errors
    ///
    /// [`LocalFabricError`] when the data directory cannot be used or TLS cannot be set up.
    pub fn open(
        data_dir: &Path,
        policy: CommandPolicy,
        options: MachineOptions,
        labels: BTreeMap<String, String>,
        clock: Arc<dyn Clock>,
        claims: PortClaims,
    ) -> Result<Self, LocalFabricError> {
        let runs = RunFolder::open(data_dir)?;
        let guard = Guard::start(&runs)
            .inspect_err(|error| {
                tracing::warn!(%error, "programs are ended at the next start only, should this server die");
            })
            .ok();
        let host = host_name();
        let mut names = vec![MachineId::local()];
        names.extend(host.iter().filter(|host| host.as_str() != "local").cloned());
        let mut all_labels = BTreeMap::from([
            ("os".to_owned(), std::env::consts::OS.to_owned()),
            ("arch".to_owned(), std::env::consts::ARCH.to_owned()),
        ]);
        all_labels.extend(host.map(|host| ("host".to_owned(), host.to_string())));
        all_labels.extend(labels);
        let runner = Runner { policy: Arc::new(policy), options, clock, runs };
        let client = crate::web::client().map_err(LocalFabricError::Http)?;
        let prober = Prober::new(runner.clone(), client.clone(), claims);
        let clock = Arc::clone(&runner.clock);
        let tools = Tools::new(BTreeMap::new(), options, client.clone(), clock);
        let requester =
            Requester { client: client.clone(), options, clock: Arc::clone(&runner.clock) };
        Ok(LocalFabric {
            runner,
            requester,
            tools,
            client,
            prober,
            options,
            names,
            labels: all_labels,
            tasks: Semaphore::new(options.tasks_at_once_max.max(1)),
            probes: Semaphore::new(options.probes_at_once_max.max(1)),
            waiting: AtomicUsize::new(0),
            running: Mutex::new(HashMap::new()),
            next: AtomicUsize::new(0),
            _guard: guard,
        })
    }

    /// Lets tasks call tools of other MCP servers, each known by its name.
    #[must_use]
    pub fn with_tools(mut self, servers: BTreeMap<String, ToolServer>) -> Self {
        let clock = Arc::clone(&self.runner.clock);
        self.tools = Tools::new(servers, self.options, self.client.clone(), clock);
        self
    }

    fn running(&self) -> MutexGuard<'_, HashMap<u64, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unknown(&self, machine: &MachineId) -> TaskFailure {
        TaskFailure {
            class: FailureClass::Permanent,
            code: "machine_unknown".to_owned(),
            message: format!("there is no machine `{machine}` here"),
            hint: did_you_mean(machine.as_str(), self.names.iter().map(MachineId::as_str)),
        }
    }

    async fn run_here(&self, spec: &TaskSpec, cancel: CancellationToken) -> TaskOutcome {
        let now = || self.runner.clock.now();
        let place = {
            let _counted = Counted::new(&self.waiting);
            tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    let failure = TaskFailure {
                        class: FailureClass::Permanent,
                        code: "cancelled".to_owned(),
                        message: "was cancelled before it began".to_owned(),
                        hint: None,
                    };
                    return TaskOutcome {
                        status: OutcomeStatus::Cancelled,
                        ..TaskOutcome::not_started(now(), failure)
                    };
                }
                place = self.tasks.acquire() => place.expect("this semaphore is never closed"),
                () = patience(spec.queue_timeout_ms) => {
                    let limit = spec.queue_timeout_ms.unwrap_or_default();
                    let failure = TaskFailure {
                        class: FailureClass::Transient,
                        code: "queue_timeout".to_owned(),
                        message: format!("found no place on the machine within {limit} ms"),
                        hint: Some("raise `queue_timeout_s`, or run less at once".to_owned()),
                    };
                    return TaskOutcome::not_started(now(), failure);
                }
            }
        };
        let streams = Arc::new(self.runner.streams());
        let _listed = Listed::new(self, spec, Arc::clone(&streams));
        let outcome = match &spec.work {
            Work::Command(command) => self.runner.run(spec, command, &streams, &cancel).await,
            Work::Http(request) => self.requester.run(spec, request, &streams, &cancel).await,
            Work::Tool(tool) => self.tools.run(spec, tool, &streams, &cancel).await,
        };
        drop(place);
        outcome
    }
}

impl Fabric for LocalFabric {
    fn machines(&self) -> Vec<MachineInfo> {
        let running = self.running().len();
        let capacity = self.options.tasks_at_once_max.max(1);
        vec![MachineInfo {
            id: self.names[0].clone(),
            aliases: self.names[1..].to_vec(),
            labels: self.labels.clone(),
            state: if running < capacity { MachineState::Online } else { MachineState::Busy },
            running,
            waiting: self.waiting.load(Ordering::Relaxed),
            capacity,
        }]
    }

    fn canonical(&self, machine: &MachineId) -> Option<MachineId> {
        self.names.contains(machine).then(|| self.names[0].clone())
    }

    fn run<'a>(
        &'a self,
        machine: &'a MachineId,
        spec: &'a TaskSpec,
        cancel: CancellationToken,
    ) -> Pending<'a, TaskOutcome> {
        Box::pin(async move {
            if self.canonical(machine).is_none() {
                return TaskOutcome::not_started(self.runner.clock.now(), self.unknown(machine));
            }
            self.run_here(spec, cancel).await
        })
    }

    fn probe<'a>(&'a self, machine: &'a MachineId, probe: &'a Probe) -> Pending<'a, ProbeAnswer> {
        Box::pin(async move {
            if self.canonical(machine).is_none() {
                return ProbeAnswer {
                    name: probe.name.clone(),
                    kind: probe.kind.as_str().to_owned(),
                    machine: machine.clone(),
                    taken_at: self.runner.clock.now(),
                    ok: false,
                    answer: json!({"error": self.unknown(machine).message, "code": "unreachable"}),
                };
            }
            let _place = self.probes.acquire().await.expect("this semaphore is never closed");
            self.prober.fetch(machine, probe).await
        })
    }

    fn output_so_far(&self, key: &IdempotencyKey) -> Option<OutputSoFar> {
        let running = self.running();
        let task =
            running.values().filter(|task| task.key == *key).max_by_key(|task| task.epoch)?;
        let stdout = task.streams.stdout().output();
        let stderr = task.streams.stderr().output();
        Some(OutputSoFar { stdout, stderr })
    }
}

/// Ends when a task has waited for a place as long as it may; never when it may wait for ever.
async fn patience(limit_ms: Option<u64>) {
    match limit_ms {
        Some(limit) => tokio::time::sleep(Duration::from_millis(limit)).await,
        None => std::future::pending().await,
    }
}

/// Counts one more for as long as it lives, a dropped future included.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lists a task as running for as long as it lives, a dropped future included.
struct Listed<'a> {
    fabric: &'a LocalFabric,
    number: u64,
}

impl<'a> Listed<'a> {
    fn new(fabric: &'a LocalFabric, spec: &TaskSpec, streams: Arc<Streams>) -> Self {
        let number = fabric.next.fetch_add(1, Ordering::Relaxed) as u64;
        let running = Running { key: spec.key.clone(), epoch: spec.epoch, streams };
        fabric.running().insert(number, running);
        Listed { fabric, number }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.fabric.running().remove(&self.number);
    }
}

/// Returns the host name where it is a legal machine id.
fn host_name() -> Option<MachineId> {
    rustix::system::uname().nodename().to_str().ok()?.parse().ok()
}
