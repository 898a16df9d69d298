//! An engine whose clock a test moves, and a machine that says what it is told to say.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caelum_core::clock::{Clock, HandClock, Timestamp};
use caelum_core::evidence::ProbeAnswer;
use caelum_core::id::MachineId;
use caelum_core::task::{
    CommandSpec, FailureClass, IdempotencyKey, OutcomeStatus, Output, Probe, TaskFailure,
    TaskOutcome, TaskSpec, Work,
};
use caelum_core::workflow::{Action, Step, StepType};
use caelum_engine::request::{IfExists, NewWorkflow};
use caelum_engine::{Engine, EngineOptions};
use caelum_machines::fabric::Pending;
use caelum_machines::{Fabric, MachineInfo, MachineState, OutputSoFar};
use caelum_store::Synchronous;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::harness::{LIMIT, start, wait_end, workflow};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A machine whose programs are `ok`, `fail` and `time-out`; their first argument is how many seconds they take. No time
/// passes for it.
#[derive(Debug)]
pub(crate) struct Machine {
    clock: Arc<HandClock>,
    /// The limits of the runs that it was handed, in milliseconds.
    pub(crate) limits: Mutex<Vec<u64>>,
}

impl Fabric for Machine {
    fn machines(&self) -> Vec<MachineInfo> {
        vec![MachineInfo {
            id: MachineId::local(),
            aliases: vec![],
            labels: BTreeMap::new(),
            state: MachineState::Online,
            running: 0,
            waiting: 0,
            capacity: 10,
        }]
    }

    fn canonical(&self, machine: &MachineId) -> Option<MachineId> {
        Some(machine.clone())
    }

    fn run<'a>(
        &'a self,
        _: &'a MachineId,
        spec: &'a TaskSpec,
        _: CancellationToken,
    ) -> Pending<'a, TaskOutcome> {
        self.limits.lock().expect("unpoisoned").push(spec.run_timeout_ms);
        let Work::Command(command) = &spec.work else { panic!("only commands: {spec:?}") };
        let seconds = command.args.first().and_then(|text| text.parse().ok()).unwrap_or(0);
        let started_at = self.clock.now();
        let (status, class) = match command.program.as_str() {
            "ok" => (OutcomeStatus::Succeeded, None),
            "time-out" => (OutcomeStatus::TimedOut, Some(FailureClass::Transient)),
            _ => (OutcomeStatus::Failed, Some(FailureClass::Exit)),
        };
        let outcome = TaskOutcome {
            status,
            exit_code: Some(i32::from(class.is_some())),
            signal: None,
            started_at,
            ended_at: started_at.plus(Duration::from_secs(seconds)),
            stdout: Output { text: "done\n".to_owned(), total_bytes: 5, truncated: false },
            stderr: Output::default(),
            outputs: Map::from_iter([("seconds".to_owned(), seconds.into())]),
            collected: Vec::new(),
            failure: class.map(|class| TaskFailure {
                class,
                code: "as_told".to_owned(),
                message: "as told".to_owned(),
                hint: None,
            }),
        };
        Box::pin(async move { outcome })
    }

    fn probe<'a>(&'a self, machine: &'a MachineId, probe: &'a Probe) -> Pending<'a, ProbeAnswer> {
        let answer = ProbeAnswer {
            name: probe.name.clone(),
            kind: probe.kind.as_str().to_owned(),
            machine: machine.clone(),
            taken_at: self.clock.now(),
            ok: true,
            answer: Value::Null,
        };
        Box::pin(async move { answer })
    }

    fn output_so_far(&self, _: &IdempotencyKey) -> Option<OutputSoFar> {
        None
    }
}

/// A place to open engines in, one after the other.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) machine: Arc<Machine>,
}

impl Place {
    pub(crate) fn new() -> Self {
        // A day on which nothing else happened.
        let clock = Arc::new(HandClock::at(Timestamp::EPOCH.plus(DAY * 20_000)));
        let machine = Arc::new(Machine { clock: Arc::clone(&clock), limits: Mutex::default() });
        Place { dir: tempfile::tempdir().expect("a directory"), clock, machine }
    }

    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// Opens an engine without plugins; `change` sets what the test is about.
    pub(crate) async fn open(&self, change: impl FnOnce(&mut EngineOptions)) -> Engine {
        self.open_at(&self.data(), change).await
    }

    pub(crate) async fn open_at(
        &self,
        data: &Path,
        change: impl FnOnce(&mut EngineOptions),
    ) -> Engine {
        let mut options = EngineOptions::new(data.to_owned(), self.dir.path().to_owned());
        options.fabric = Some(Arc::clone(&self.machine) as Arc<dyn Fabric>);
        options.clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        options.store.synchronous = Synchronous::Off;
        options.plugins.directory = None;
        options.plugins.cache_directory = None;
        change(&mut options);
        Engine::open(options).await.expect("the engine opens")
    }
}

pub(crate) fn command(id: &str, dependencies: &[&str], program: &str, seconds: u64) -> Step {
    let mut step = Step::new(id.parse().expect("legal"), StepType::Development);
    step.dependencies = dependencies.iter().map(|name| name.parse().expect("legal")).collect();
    step.action = Action::Command(CommandSpec {
        program: program.to_owned(),
        args: vec![seconds.to_string()],
        ..CommandSpec::default()
    });
    step
}

pub(crate) fn by_hand(id: &str) -> Step {
    let mut step = Step::new(id.parse().expect("legal"), StepType::Validation);
    step.action = Action::Manual { instructions: "Do it.".to_owned() };
    step
}

/// Makes the workflow, or its next revision.
pub(crate) async fn create(engine: &Engine, id: &str, steps: Vec<Step>) {
    let new = NewWorkflow { if_exists: IfExists::NewRevision, ..workflow(id, steps) };
    engine.create_workflow(new).await.expect("legal");
}

/// Runs a workflow to its end and returns the execution's id.
pub(crate) async fn run(engine: &Engine, id: &str) -> String {
    let execution = start(engine, id).await;
    wait_end(engine, &execution).await;
    execution
}

/// Asks again and again until there is nothing more to say against the answer.
pub(crate) async fn until(what: &str, mut look: impl AsyncFnMut() -> Result<(), String>) {
    let end = tokio::time::Instant::now() + LIMIT;
    while let Err(why) = look().await {
        assert!(tokio::time::Instant::now() < end, "waited for {what}: {why}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
