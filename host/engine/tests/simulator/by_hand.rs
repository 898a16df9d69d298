//! Machines that a test works by hand: it sees every delivery and says how it ends.

use std::sync::Arc;

use caelum_core::evidence::ProbeAnswer;
use caelum_core::id::MachineId;
use caelum_core::task::{IdempotencyKey, Probe, TaskOutcome, TaskSpec};
use caelum_core::workflow::Step;
use caelum_engine::request::{NewExecution, Patience, Snapshot};
use caelum_engine::{Engine, EngineOptions};
use caelum_machines::fabric::Pending;
use caelum_machines::{Fabric, MachineInfo, MachineState, OutputSoFar};
use caelum_store::Synchronous;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::life::within;
use crate::machines::succeeded;
use crate::plan::workflow;

/// One delivery that a machine was handed.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) spec: TaskSpec,
    /// Cancelled when the work shall end.
    pub(crate) cancel: CancellationToken,
    report: oneshot::Sender<Option<TaskOutcome>>,
}

impl Handed {
    pub(crate) fn report(self, outcome: TaskOutcome) {
        // The engine may be gone.
        let _ = self.report.send(Some(outcome));
    }

    /// Lets the fabric panic in the middle of the work.
    pub(crate) fn panic(self) {
        let _ = self.report.send(None);
    }

    pub(crate) fn succeed(self) {
        let outcome = succeeded(&self.spec);
        self.report(outcome);
    }
}

/// Hands every delivery to the test. Never reports by itself, not even when it is cancelled.
#[derive(Debug)]
struct HandFabric(mpsc::UnboundedSender<Handed>);

impl Fabric for HandFabric {
    fn machines(&self) -> Vec<MachineInfo> {
        ["local", "m1", "m2"]
            .iter()
            .map(|name| MachineInfo {
                id: name.parse().expect("legal"),
                aliases: vec![],
                labels: std::collections::BTreeMap::new(),
                state: MachineState::Online,
                running: 0,
                waiting: 0,
                capacity: 1_000,
            })
            .collect()
    }

    fn canonical(&self, machine: &MachineId) -> Option<MachineId> {
        Some(machine.clone())
    }

    fn run<'a>(
        &'a self,
        _: &'a MachineId,
        spec: &'a TaskSpec,
        cancel: CancellationToken,
    ) -> Pending<'a, TaskOutcome> {
        let (report, reported) = oneshot::channel();
        let handed = Handed { spec: spec.clone(), cancel, report };
        // A test that is over takes nothing more.
        let _ = self.0.send(handed);
        Box::pin(async move {
            match reported.await {
                Ok(Some(outcome)) => outcome,
                Ok(None) => panic!("a bug in a fabric, made on purpose"),
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn probe<'a>(&'a self, machine: &'a MachineId, probe: &'a Probe) -> Pending<'a, ProbeAnswer> {
        let answer = ProbeAnswer {
            name: probe.name.clone(),
            kind: probe.kind.as_str().to_owned(),
            machine: machine.clone(),
            taken_at: caelum_core::clock::Timestamp::EPOCH,
            ok: true,
            answer: Value::Null,
        };
        Box::pin(async move { answer })
    }

    fn output_so_far(&self, _: &IdempotencyKey) -> Option<OutputSoFar> {
        None
    }
}

/// A place to open engines in.
pub(crate) struct Place {
    pub(crate) data: TempDir,
    root: TempDir,
}

/// An engine and the deliveries that its machines are handed.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) handed: mpsc::UnboundedReceiver<Handed>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Place {
            data: TempDir::new().expect("a directory"),
            root: TempDir::new().expect("a directory"),
        }
    }

    /// Opens an engine without plugins; `change` sets what the test is about.
    pub(crate) async fn open(&self, change: impl FnOnce(&mut EngineOptions)) -> Bench {
        let (sender, handed) = mpsc::unbounded_channel();
        let fabric: Arc<dyn Fabric> = Arc::new(HandFabric(sender));
        let mut options =
            EngineOptions::new(self.data.path().to_owned(), self.root.path().to_owned());
        options.fabric = Some(fabric);
        options.store.synchronous = Synchronous::Off;
        options.plugins.directory = None;
        options.plugins.cache_directory = None;
        change(&mut options);
        let engine = Engine::open(options).await.expect("the engine opens");
        Bench { engine, handed }
    }
}

impl Bench {
    pub(crate) async fn create(&self, id: &str, steps: Vec<Step>) {
        self.engine.create_workflow(workflow(id, steps)).await.expect("legal");
    }

    /// Starts an execution and returns its id.
    pub(crate) async fn start(&self, workflow: &str) -> String {
        let started = self.engine.execute(run(workflow)).await.expect("it starts");
        started.execution.id().to_string()
    }

    /// Returns the next delivery.
    pub(crate) async fn next(&mut self) -> Handed {
        within("a delivery", self.handed.recv()).await.expect("the engine is there")
    }

    /// Waits until the execution is as wanted.
    pub(crate) async fn wait(&self, id: &str, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        wait(&self.engine, id, wanted).await
    }

    pub(crate) async fn wait_end(&self, id: &str) -> Snapshot {
        self.wait(id, |now| now.execution.head().end.is_some()).await
    }
}

pub(crate) fn run(workflow: &str) -> NewExecution {
    NewExecution {
        workflow_id: workflow.to_owned(),
        parameters: serde_json::Map::from_iter([("run".to_owned(), "by hand".into())]),
        by: "tester".to_owned(),
        ..NewExecution::default()
    }
}

/// Waits until the execution is as wanted.
pub(crate) async fn wait(
    engine: &Engine,
    id: &str,
    wanted: impl Fn(&Snapshot) -> bool,
) -> Snapshot {
    let look = async {
        let mut seen = None;
        loop {
            let patience = Patience { wait: std::time::Duration::from_secs(1), after_event: seen };
            let now = engine.execution(id, patience).await.expect("it exists");
            if wanted(&now) {
                return now;
            }
            seen = Some(now.execution.head().events);
        }
    };
    within("the execution to be as wanted", look).await
}
