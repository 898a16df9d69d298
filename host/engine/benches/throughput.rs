//! What the engine itself costs: every step ends at once, so that what is measured is deciding and storing.
//!
//! Prints one line per figure and writes `target/bench/engine.json`. Runs for about ten seconds.

#![expect(clippy::print_stdout, reason = "a bench shows its figures")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::clock::Timestamp;
use caelum_core::evidence::ProbeAnswer;
use caelum_core::id::MachineId;
use caelum_core::task::{
    CommandSpec, FailureClass, IdempotencyKey, OutcomeStatus, Probe, TaskFailure, TaskOutcome,
    TaskSpec,
};
use caelum_core::workflow::{Action, DefinitionStatus, Step, StepType};
use caelum_engine::request::{IfExists, NewExecution, NewWorkflow, Patience};
use caelum_engine::{Engine, EngineOptions};
use caelum_machines::fabric::Pending;
use caelum_machines::{Fabric, MachineInfo, MachineState, OutputSoFar};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

/// Machines on which everything succeeds at once.
#[derive(Debug)]
struct AtOnce(Vec<MachineInfo>);

impl AtOnce {
    fn new(machines: usize) -> Self {
        let machine = |index: usize| MachineInfo {
            id: if index == 0 {
                MachineId::local()
            } else {
                format!("m{index}").parse().expect("legal")
            },
            aliases: vec![],
            labels: BTreeMap::new(),
            state: MachineState::Online,
            running: 0,
            waiting: 0,
            capacity: 1_000,
        };
        AtOnce((0..machines).map(machine).collect())
    }
}

impl Fabric for AtOnce {
    fn machines(&self) -> Vec<MachineInfo> {
        self.0.clone()
    }

    fn canonical(&self, machine: &MachineId) -> Option<MachineId> {
        Some(machine.clone())
    }

    fn run<'a>(
        &'a self,
        _: &'a MachineId,
        _: &'a TaskSpec,
        _: CancellationToken,
    ) -> Pending<'a, TaskOutcome> {
        let failure = TaskFailure {
            class: FailureClass::Permanent,
            code: String::new(),
            message: String::new(),
            hint: None,
        };
        let outcome = TaskOutcome {
            status: OutcomeStatus::Succeeded,
            exit_code: Some(0),
            failure: None,
            ..TaskOutcome::not_started(Timestamp::EPOCH, failure)
        };
        Box::pin(async move { outcome })
    }

    fn probe<'a>(&'a self, machine: &'a MachineId, probe: &'a Probe) -> Pending<'a, ProbeAnswer> {
        let answer = ProbeAnswer {
            name: probe.name.clone(),
            kind: probe.kind.as_str().to_owned(),
            machine: machine.clone(),
            taken_at: Timestamp::EPOCH,
            ok: true,
            answer: Value::Null,
        };
        Box::pin(async move { answer })
    }

    fn output_so_far(&self, _: &IdempotencyKey) -> Option<OutputSoFar> {
        None
    }
}

fn step(index: usize, chained: bool, machines: usize) -> Step {
    let id = |index: usize| format!("s{index}").parse().expect("legal");
    let mut step = Step::new(id(index), StepType::Development);
    step.action =
        Action::Command(CommandSpec { program: "nothing".to_owned(), ..CommandSpec::default() });
    if chained && index > 0 {
        step.dependencies = vec![id(index - 1)];
    }
    if machines > 1 {
        step.target_machines = vec!["all".to_owned()];
    }
    step
}

async fn open(data: &Path, machines: usize) -> Engine {
    let mut options = EngineOptions::new(data.to_owned(), data.to_owned());
    options.fabric = Some(Arc::new(AtOnce::new(machines)));
    Engine::open(options).await.expect("the engine opens")
}

/// Runs `executions` of a workflow with these steps at once and returns how long all of them took.
async fn measure(steps: Vec<Step>, executions: usize, machines: usize) -> Duration {
    let data = tempfile::TempDir::new().expect("a directory");
    let engine = open(data.path(), machines).await;
    engine
        .create_workflow(NewWorkflow {
            workflow_id: "bench".to_owned(),
            name: None,
            description: String::new(),
            pattern: String::new(),
            steps,
            created_by: String::new(),
            status: DefinitionStatus::Active,
            parameters_schema: None,
            metadata: Map::new(),
            if_exists: IfExists::Error,
            idempotency_key: None,
        })
        .await
        .expect("legal");
    let began = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..executions {
        let engine = engine.clone();
        running.spawn(async move {
            let new = NewExecution {
                workflow_id: "bench".to_owned(),
                by: "bench".to_owned(),
                ..NewExecution::default()
            };
            let id = engine.execute(new).await.expect("it starts").execution.id().to_string();
            let mut seen = None;
            loop {
                let patience = Patience { wait: Duration::from_secs(60), after_event: seen };
                let now = engine.execution(&id, patience).await.expect("it exists");
                if now.execution.head().end.is_some() {
                    return;
                }
                // Only the end is of interest: wait for an event that cannot come before it.
                seen = Some(u64::MAX);
            }
        });
    }
    running.join_all().await;
    let took = began.elapsed();
    engine.close().await;
    took
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut figures = Vec::new();
    let mut figure = |name: &str, unit: &str, value: f64| {
        println!("{name}: {value:.3} {unit}");
        figures.push(json!({"name": name, "unit": unit, "ours": value}));
    };
    runtime.block_on(async {
        let steps: Vec<Step> = (0..500).map(|index| step(index, true, 1)).collect();
        let took = measure(steps, 1, 1).await;
        figure("overhead of a step in a row", "ms", took.as_secs_f64() * 1_000.0 / 500.0);

        for executions in [1, 100, 1_000] {
            let steps: Vec<Step> = (0..20).map(|index| step(index, true, 1)).collect();
            let took = measure(steps, executions, 1).await;
            let per_second = (20 * executions) as f64 / took.as_secs_f64();
            figure(&format!("steps of {executions} executions at once"), "1/s", per_second);
        }

        let took = measure(vec![step(0, false, 1_000)], 10, 1_000).await;
        figure("targets of steps on 1,000 machines", "1/s", 10_000.0 / took.as_secs_f64());

        let steps: Vec<Step> = (0..400).map(|index| step(index, false, 1)).collect();
        let took = measure(steps, 1, 1).await;
        figure("400 parallel steps", "ms", took.as_secs_f64() * 1_000.0);
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let text = serde_json::to_string_pretty(&figures).expect("plain JSON");
    std::fs::write(folder.join("engine.json"), text).expect("the report can be written");
}
