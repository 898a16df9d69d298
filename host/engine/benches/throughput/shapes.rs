//! The shapes that are measured, as workflows, and running them to their end.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::task::CommandSpec;
use caelum_core::workflow::{Action, EventBody, Step, StepMap, StepType};
use caelum_engine::request::{IfExists, NewExecution, NewWorkflow, Patience};
use caelum_engine::{Engine, EngineOptions};
use caelum_machines::Fabric;

/// How long an execution may take; far more than any of them does.
const EXECUTION_MAX: Duration = Duration::from_secs(120);

/// A step that runs a program, by its place in the workflow.
pub(crate) fn step(index: usize, program: &str) -> Step {
    let mut step = Step::new(name(index), StepType::Development);
    step.action =
        Action::Command(CommandSpec { program: program.to_owned(), ..CommandSpec::default() });
    step
}

/// Steps that run one after the other.
pub(crate) fn in_a_row(steps: usize, program: &str) -> Vec<Step> {
    let chained = |index: usize| {
        let mut step = step(index, program);
        step.dependencies = index.checked_sub(1).map(name).into_iter().collect();
        step
    };
    (0..steps).map(chained).collect()
}

/// Steps that run side by side.
pub(crate) fn side_by_side(steps: usize, program: &str) -> Vec<Step> {
    (0..steps).map(|index| step(index, program)).collect()
}

/// A step that somebody does by hand.
pub(crate) fn by_hand() -> Vec<Step> {
    vec![Step::new(name(0), StepType::Development)]
}

/// One step on every machine.
pub(crate) fn everywhere(program: &str) -> Vec<Step> {
    let mut step = step(0, program);
    step.target_machines = vec!["all".to_owned()];
    vec![step]
}

/// One step that goes over a list of so many items.
pub(crate) fn over_a_list(items: usize, program: &str) -> Vec<Step> {
    let mut step = step(0, program);
    let list = (0..items).map(serde_json::Value::from).collect();
    step.map = Some(StepMap { max: 64, ..StepMap::over(serde_json::Value::Array(list)) });
    vec![step]
}

fn name(index: usize) -> caelum_core::id::StepId {
    format!("s{index}").parse().expect("legal")
}

/// Opens an engine; without a fabric it is the real local machine.
pub(crate) async fn open(data: &Path, fabric: Option<Arc<dyn Fabric>>) -> Engine {
    let mut options = EngineOptions::new(data.to_owned(), data.to_owned());
    options.fabric = fabric;
    options.open_executions_max = 20_000;
    Engine::open(options).await.expect("the engine opens")
}

/// Stores a workflow under a name.
pub(crate) async fn create(engine: &Engine, name: &str, steps: Vec<Step>) {
    let new = NewWorkflow {
        workflow_id: name.to_owned(),
        steps,
        if_exists: IfExists::NewRevision,
        ..NewWorkflow::default()
    };
    engine.create_workflow(new).await.expect("a legal workflow");
}

/// Starts an execution; it is on disk when this returns.
pub(crate) async fn start(engine: &Engine, workflow: &str) -> String {
    let new = NewExecution {
        workflow_id: workflow.to_owned(),
        by: "bench".to_owned(),
        ..NewExecution::default()
    };
    engine.execute(new).await.expect("it starts").execution.id().to_string()
}

/// Waits until an execution has ended.
pub(crate) async fn ended(engine: &Engine, id: &str) {
    // Only the end is of interest: wait for an event that cannot come before it.
    let patience = Patience { wait: EXECUTION_MAX, after_event: Some(u64::MAX) };
    let seen = engine.execution(id, patience).await.expect("it exists");
    let end = seen.execution.head().end.map(|end| end.as_str());
    assert_eq!(end, Some("completed"), "execution {id}");
}

/// Runs so many executions of one workflow at once and returns how long all of them took.
pub(crate) async fn crowd(engine: &Engine, workflow: &str, executions: usize) -> Duration {
    let began = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..executions {
        let (engine, workflow) = (engine.clone(), workflow.to_owned());
        running.spawn(async move { ended(&engine, &start(&engine, &workflow).await).await });
    }
    running.join_all().await;
    began.elapsed()
}

/// Runs so many executions of these steps at once in a fresh engine.
pub(crate) async fn measure(
    steps: Vec<Step>,
    executions: usize,
    fabric: Option<Arc<dyn Fabric>>,
) -> Duration {
    let data = tempfile::TempDir::new().expect("a directory");
    let engine = open(data.path(), fabric).await;
    create(&engine, "bench", steps).await;
    let took = crowd(&engine, "bench", executions).await;
    engine.close().await;
    took
}

/// Returns how long each step of a row took from its beginning to the beginning of the next, as its events say.
pub(crate) async fn paces(engine: &Engine, id: &str) -> Vec<Duration> {
    let mut begun = Vec::new();
    let mut after = None;
    loop {
        let events = engine.events(id, after, 1_000).await.expect("it exists");
        let Some(last) = events.last() else { break };
        after = Some(last.seq);
        let starts =
            events.iter().filter(|event| matches!(event.body, EventBody::TargetStarted { .. }));
        begun.extend(starts.map(|event| event.at));
    }
    begun.windows(2).map(|pair| pair[1].since(pair[0])).collect()
}

/// Returns a value of a sorted list, by its rank of a hundred.
pub(crate) fn percentile(times: &mut [Duration], rank: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * rank / 100).min(times.len() - 1)]
}
