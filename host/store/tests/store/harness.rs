//! Builds stores in temporary directories and executions that move as the engine moves them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use caelum_core::clock::Timestamp;
use caelum_core::evidence::{Verdict, VerdictKind};
use caelum_core::id::{Digest, ExecutionId};
use caelum_core::plugin::{Phase, PinnedPlugin, PluginKind};
use caelum_core::task::{CommandSpec, FailureClass, OutcomeStatus, TaskFailure, TaskOutcome};
use caelum_core::workflow::command::Report;
use caelum_core::workflow::{
    Action, DefinitionStatus, Effect, Event, EventBody, Execution, GateRecord, Graph, MachineView,
    Next, ParentStep, Started, Step, StepType, WorkflowDefinition, World, advance,
};
use caelum_store::{
    Append, ExecutionKind, NewExecution, Store, StoreError, StoreOptions, Synchronous,
};
use serde_json::Map;
use tempfile::TempDir;

/// Options for tests that are not about the loss of power.
pub(crate) fn quick(directory: &TempDir) -> StoreOptions {
    StoreOptions { synchronous: Synchronous::Off, ..StoreOptions::new(directory.path()) }
}

/// A store in a directory of its own, which lives as long as the second value.
pub(crate) fn store() -> (Store, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    (Store::open(quick(&directory)).expect("opens"), directory)
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::EPOCH.plus(Duration::from_secs(seconds))
}

pub(crate) fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("legal")
}

pub(crate) fn command(step: &str, dependencies: &[&str]) -> Step {
    let mut step = Step::new(id(step), StepType::Development);
    step.action = Action::Command(CommandSpec { program: "true".into(), ..CommandSpec::default() });
    step.dependencies = dependencies.iter().map(|name| id(name)).collect();
    step
}

/// Steps that run one after the other.
pub(crate) fn chain(length: usize) -> Vec<Step> {
    let names: Vec<String> = (0..length).map(|index| format!("s{index}")).collect();
    (0..length)
        .map(|index| match index.checked_sub(1) {
            Some(before) => command(&names[index], &[&names[before]]),
            None => command(&names[index], &[]),
        })
        .collect()
}

pub(crate) fn definition(workflow: &str, steps: Vec<Step>) -> WorkflowDefinition {
    WorkflowDefinition {
        workflow_id: id(workflow),
        revision: 1,
        name: workflow.to_owned(),
        description: String::new(),
        pattern: String::new(),
        steps,
        created_at: at(0),
        updated_at: at(0),
        created_by: "tester".into(),
        status: DefinitionStatus::Active,
        parameters_schema: None,
        metadata: Map::new(),
    }
}

pub(crate) fn plugin(name: &str, kind: PluginKind, phases: &[Phase]) -> PinnedPlugin {
    PinnedPlugin {
        name: id(name),
        kind,
        version: "1.0.0".into(),
        digest: Digest::from_bytes(&[7; 32]),
        phases: phases.to_vec(),
    }
}

pub(crate) fn outcome(status: OutcomeStatus, class: FailureClass) -> TaskOutcome {
    let failure =
        TaskFailure { class, code: "exit_code".into(), message: "it broke".into(), hint: None };
    let succeeded = status == OutcomeStatus::Succeeded;
    TaskOutcome {
        status,
        failure: (!succeeded).then_some(failure.clone()),
        exit_code: Some(i32::from(!succeeded)),
        ..TaskOutcome::not_started(at(0), failure)
    }
}

/// An execution with the events that are not stored yet, and a clock.
pub(crate) struct Run {
    pub(crate) execution: Execution,
    pub(crate) unsaved: Vec<Event>,
    pub(crate) wanted: Next,
    pub(crate) seconds: u64,
}

impl Run {
    pub(crate) fn new(execution: &str, definition: Arc<WorkflowDefinition>) -> Self {
        Run::begin(execution, definition, 0)
    }

    /// An execution that begins at second `seconds`.
    pub(crate) fn begin(
        execution: &str,
        definition: Arc<WorkflowDefinition>,
        seconds: u64,
    ) -> Self {
        Run::start(execution, definition, seconds, None)
    }

    /// An execution of a moment, perhaps one that a step of another one started.
    pub(crate) fn start(
        execution: &str,
        definition: Arc<WorkflowDefinition>,
        seconds: u64,
        parent: Option<ParentStep>,
    ) -> Self {
        let graph = Arc::new(Graph::of(&definition.steps));
        let started = Started {
            workflow_id: definition.workflow_id.clone(),
            revision: definition.revision,
            parameters: Map::from_iter([("environment".to_owned(), "test".into())]),
            target_machines: vec![],
            plugins: vec![
                plugin("before", PluginKind::Validator, &[Phase::Before]),
                plugin("after", PluginKind::Validator, &[Phase::After]),
                plugin("both", PluginKind::Validator, &[Phase::Before, Phase::After]),
            ],
            by: "tester".into(),
            parent,
        };
        let first = Event { seq: 0, at: at(seconds), body: EventBody::Started(started.clone()) };
        let execution = Execution::begin(id(execution), definition, graph, started, at(seconds));
        let mut run = Run { execution, unsaved: vec![first], wanted: Next::default(), seconds };
        run.settle();
        run
    }

    pub(crate) fn id(&self) -> ExecutionId {
        self.execution.id().clone()
    }

    pub(crate) fn settle(&mut self) {
        let machines: Vec<MachineView> = ["local", "m1", "m2", "m3"]
            .iter()
            .map(|name| MachineView {
                id: id(name),
                aliases: vec![],
                labels: BTreeMap::new(),
                online: true,
            })
            .collect();
        let world = World {
            now: at(self.seconds),
            machines: &machines,
            cancel_wait: Duration::from_secs(60),
        };
        let (events, wanted) = advance(&mut self.execution, world).expect("decisions are legal");
        self.unsaved.extend(events);
        self.wanted = wanted;
    }

    pub(crate) fn record(&mut self, body: EventBody) {
        let event = self.execution.event(body, at(self.seconds));
        self.execution.apply(&event).expect("the event is legal");
        self.unsaved.push(event);
        self.settle();
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.settle();
    }

    /// Reports how the work of a target ended.
    pub(crate) fn report(&mut self, step: usize, target: usize, mut outcome: TaskOutcome) {
        let state = self.execution.step(step);
        let row = &state.targets[target];
        outcome.started_at = row.started_at.unwrap_or(at(self.seconds));
        outcome.ended_at = at(self.seconds);
        let report = Report {
            step: self.execution.definition().steps[step].id.clone(),
            attempt: state.attempt,
            machine: row.machine.clone(),
            item: row.item_index(),
            epoch: row.epoch,
            outcome: Box::new(outcome),
        };
        let body = self.execution.receive(report, at(self.seconds));
        self.record(body);
    }

    /// Lets the first piece of work that is under way succeed; returns whether there was one.
    pub(crate) fn succeed_one(&mut self) -> bool {
        let running = self.wanted.effects.iter().find_map(|effect| match effect {
            Effect::Run { step, target, .. } => Some((*step, *target)),
            _ => None,
        });
        let Some((step, target)) = running else { return false };
        self.report(step, target, outcome(OutcomeStatus::Succeeded, FailureClass::Exit));
        true
    }

    pub(crate) fn succeed_all(&mut self) {
        while self.succeed_one() {}
    }

    pub(crate) fn judge(&mut self, step: usize, kind: VerdictKind, code: &str) {
        let gate = self.execution.gate_of(step).expect("the step is judged");
        let reason = caelum_core::evidence::Reason {
            code: code.to_owned(),
            message: "as told".into(),
            path: None,
            line: None,
        };
        let record = GateRecord {
            gate,
            validator: self.execution.validator(step, gate.kind).expect("pinned").clone(),
            verdict: Verdict {
                kind,
                reasons: if code.is_empty() { vec![] } else { vec![reason] },
                ..Verdict::broken_down("as told".into(), None)
            },
            subject_digest: Digest::from_bytes(&[1; 32]),
            probes: vec![],
            duration_us: 1,
        };
        let attempt = self.execution.step(step).attempt;
        let step = self.execution.definition().steps[step].id.clone();
        self.record(EventBody::GateJudged { step, attempt, record: Box::new(record) });
    }

    pub(crate) fn new_execution(&mut self, kind: ExecutionKind) -> NewExecution {
        let events = std::mem::take(&mut self.unsaved);
        NewExecution::of(&mut self.execution, kind, events).expect("events fit")
    }

    pub(crate) fn append(&mut self) -> Append {
        let events = std::mem::take(&mut self.unsaved);
        let expected = self.execution.head().events - events.len() as u64;
        Append::of(&mut self.execution, expected, events).expect("events fit")
    }

    pub(crate) async fn create(&mut self, store: &Store) {
        let new = self.new_execution(ExecutionKind::Workflow);
        store.create_execution(new, None).await.expect("created");
    }

    pub(crate) async fn save(&mut self, store: &Store) -> Result<(), StoreError> {
        store.append(self.append()).await
    }
}

/// Reads every event of an execution, page by page.
pub(crate) async fn all_events(store: &Store, execution: &ExecutionId) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map(|event| event.seq);
        let page = store.events(execution, after, 10_000).await.expect("the execution exists");
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}

/// Loads an execution and checks that folding its events gives its rows.
pub(crate) async fn load_checked(store: &Store, execution: &ExecutionId) -> Execution {
    let loaded = store.load_execution(execution).await.expect("readable").expect("it exists");
    let events = all_events(store, execution).await;
    assert_eq!(events.len() as u64, loaded.head().events, "{execution}");
    let folded = Execution::fold(
        execution.clone(),
        Arc::clone(loaded.definition()),
        Arc::clone(loaded.graph()),
        &events,
    )
    .expect("stored events are legal");
    assert!(folded == loaded, "{execution}: events give {folded:#?}\nrows give {loaded:#?}");
    loaded
}
