//! A place with a data directory and a root, an engine in it, and short ways to workflows, runs and their ends.

use std::path::Path;
use std::time::Duration;

use caelum_core::task::CommandSpec;
use caelum_core::workflow::{Action, Step, StepFailure, StepState, StepType};
use caelum_engine::request::{NewExecution, NewWorkflow, Patience, Snapshot};
use caelum_engine::{Engine, EngineOptions};
use caelum_plugin_host::BundledPlugin;
use tempfile::TempDir;

/// How long a test waits for a state before it gives up.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Place {
    pub(crate) data: TempDir,
    pub(crate) root: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Place {
            data: TempDir::new().expect("a directory"),
            root: TempDir::new().expect("a directory"),
        }
    }

    pub(crate) fn options(&self) -> EngineOptions {
        let mut options =
            EngineOptions::new(self.data.path().to_owned(), self.root.path().to_owned());
        options.grace = Duration::from_millis(200);
        // Compiled plugins are the same for every test.
        options.plugins.cache_directory =
            Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache"));
        options.bundled = caelum_plugin_bundle::bundled()
            .iter()
            .map(|plugin| BundledPlugin { name: plugin.id.to_owned(), bytes: plugin.bytes.into() })
            .collect();
        options
    }

    pub(crate) async fn open(&self) -> Engine {
        Engine::open(self.options()).await.expect("the engine opens")
    }
}

pub(crate) fn step(id: &str, dependencies: &[&str], action: Action) -> Step {
    let mut step = Step::new(id.parse().expect("legal"), StepType::Development);
    step.dependencies = dependencies.iter().map(|name| name.parse().expect("legal")).collect();
    step.action = action;
    step
}

pub(crate) fn shell(id: &str, dependencies: &[&str], line: &str) -> Step {
    let command = CommandSpec { program: line.to_owned(), shell: true, ..CommandSpec::default() };
    step(id, dependencies, Action::Command(command))
}

/// A new workflow of these steps.
pub(crate) fn workflow(id: &str, steps: Vec<Step>) -> NewWorkflow {
    NewWorkflow {
        workflow_id: id.to_owned(),
        steps,
        created_by: "tester".to_owned(),
        ..NewWorkflow::default()
    }
}

pub(crate) async fn create(engine: &Engine, id: &str, steps: Vec<Step>) {
    engine.create_workflow(workflow(id, steps)).await.expect("legal");
}

/// A run of a workflow.
pub(crate) fn execution(id: &str) -> NewExecution {
    NewExecution { workflow_id: id.to_owned(), by: "tester".to_owned(), ..NewExecution::default() }
}

/// Starts a run and returns its id.
pub(crate) async fn start(engine: &Engine, id: &str) -> String {
    engine.execute(execution(id)).await.expect("it starts").execution.id().to_string()
}

/// Waits until the execution satisfies `wanted`.
pub(crate) async fn wait_for(
    engine: &Engine,
    id: &str,
    wanted: impl Fn(&Snapshot) -> bool,
) -> Snapshot {
    let until = tokio::time::Instant::now() + LIMIT;
    let mut seen = None;
    loop {
        let patience = Patience { wait: Duration::from_secs(1), after_event: seen };
        let snapshot = engine.execution(id, patience).await.expect("it exists");
        if wanted(&snapshot) {
            return snapshot;
        }
        seen = Some(snapshot.execution.head().events);
        assert!(tokio::time::Instant::now() < until, "not reached: {:#?}", snapshot.execution);
    }
}

pub(crate) async fn wait_end(engine: &Engine, id: &str) -> Snapshot {
    wait_for(engine, id, |snapshot| snapshot.execution.head().end.is_some()).await
}

/// Runs a workflow of one kind of steps to its end.
pub(crate) async fn run(engine: &Engine, id: &str, steps: Vec<Step>) -> Snapshot {
    create(engine, id, steps).await;
    let execution = start(engine, id).await;
    wait_end(engine, &execution).await
}

pub(crate) fn state<'a>(snapshot: &'a Snapshot, id: &str) -> &'a StepState {
    let execution = &snapshot.execution;
    execution.step(execution.step_index(id).expect("it exists"))
}

pub(crate) fn failure(snapshot: &Snapshot, id: &str) -> StepFailure {
    state(snapshot, id).failure.clone().expect("it failed")
}
