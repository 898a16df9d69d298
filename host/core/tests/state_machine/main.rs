//! The state machine from outside: tables of events and decisions, and random sequences that must keep the promises.

mod deadlines;
mod histories;
mod life;
mod maps;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use caelum_core::clock::Timestamp;
use caelum_core::evidence::{Reason, Review, ReviewDecision, Verdict, VerdictKind, WorkReport};
use caelum_core::id::{Digest, MachineId};
use caelum_core::plugin::{HostReason, Phase, PinnedPlugin, PluginKind};
use caelum_core::task::{
    CommandSpec, FailureClass, OutcomeStatus, Strategy, TaskFailure, TaskOutcome,
};
use caelum_core::workflow::command::{Control, Report};
use caelum_core::workflow::{
    Action, DefinitionStatus, Effect, Event, EventBody, Execution, ExecutionStatus, FailureCause,
    Gate, GateRecord, Graph, MachineView, Next, OnFailure, OnReviewTimeout, OnValidatorError,
    RetryPolicy, ReviewRules, Started, Step, StepMap, StepPhase, StepStatus, StepType, TargetPhase,
    WorkflowDefinition, World, advance, next, recover,
};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use proptest::strategy::Strategy as _;
use serde_json::{Map, Value, json};

fn at(seconds: u64) -> Timestamp {
    Timestamp::EPOCH.plus(Duration::from_secs(seconds))
}

fn machines() -> Vec<MachineView> {
    ["local", "m1", "m2", "m3"]
        .iter()
        .map(|name| MachineView {
            id: name.parse().expect("legal"),
            aliases: vec![],
            labels: BTreeMap::new(),
            online: true,
        })
        .collect()
}

fn command(id: &str, dependencies: &[&str]) -> Step {
    let mut step = Step::new(id.parse().expect("legal"), StepType::Development);
    step.action = Action::Command(CommandSpec { program: "true".into(), ..CommandSpec::default() });
    step.dependencies = dependencies.iter().map(|name| name.parse().expect("legal")).collect();
    step
}

fn definition(steps: Vec<Step>) -> Arc<WorkflowDefinition> {
    Arc::new(WorkflowDefinition {
        workflow_id: "w".parse().expect("legal"),
        revision: 1,
        name: "w".into(),
        description: String::new(),
        pattern: String::new(),
        steps,
        created_at: at(0),
        updated_at: at(0),
        created_by: String::new(),
        status: DefinitionStatus::Active,
        parameters_schema: None,
        metadata: Map::new(),
    })
}

fn validator(name: &str, phases: &[Phase]) -> PinnedPlugin {
    PinnedPlugin {
        name: name.parse().expect("legal"),
        kind: PluginKind::Validator,
        version: "1.0.0".into(),
        digest: Digest::from_bytes(&[7; 32]),
        phases: phases.to_vec(),
    }
}

fn outcome(status: OutcomeStatus, class: FailureClass) -> Box<TaskOutcome> {
    let failure =
        TaskFailure { class, code: "code".into(), message: "it broke".into(), hint: None };
    let succeeded = status == OutcomeStatus::Succeeded;
    Box::new(TaskOutcome {
        status,
        failure: (!succeeded).then_some(failure.clone()),
        exit_code: Some(i32::from(!succeeded)),
        ..TaskOutcome::not_started(at(0), failure)
    })
}

/// An execution with the log of its events and a clock, driven as the engine drives it.
struct Run {
    execution: Execution,
    events: Vec<Event>,
    wanted: Next,
    seconds: u64,
}

impl Run {
    fn new(steps: Vec<Step>) -> Self {
        let definition = definition(steps);
        let graph = Arc::new(Graph::of(&definition.steps));
        let started = Started {
            workflow_id: definition.workflow_id.clone(),
            revision: 1,
            parameters: Map::new(),
            target_machines: vec![],
            plugins: vec![
                validator("before", &[Phase::Before]),
                validator("after", &[Phase::After]),
                validator("both", &[Phase::Before, Phase::After]),
            ],
            by: "tester".into(),
            parent: None,
        };
        let id = "ex_1".parse().expect("legal");
        let execution = Execution::begin(id, definition, graph, started.clone(), at(0));
        let first = Event { seq: 0, at: at(0), body: EventBody::Started(started) };
        let mut run = Run { execution, events: vec![first], wanted: Next::default(), seconds: 0 };
        run.settle();
        run
    }

    fn settle(&mut self) {
        let machines = machines();
        let world = World {
            now: at(self.seconds),
            machines: &machines,
            cancel_wait: Duration::from_secs(60),
        };
        let (events, wanted) = advance(&mut self.execution, world).expect("decisions are legal");
        self.events.extend(events);
        self.wanted = wanted;
    }

    fn record(&mut self, body: EventBody) {
        let event = self.execution.event(body, at(self.seconds));
        self.execution.apply(&event).expect("the event is legal");
        self.events.push(event);
        self.settle();
    }

    fn report(&mut self, step: &str, machine: &str, status: OutcomeStatus, class: FailureClass) {
        let index = self.execution.step_index(step).expect("the step exists");
        let machine = machine.parse().expect("legal");
        let target =
            self.execution.step(index).targets.position(&machine, None).expect("the target exists");
        self.report_target((index, target), outcome(status, class));
    }

    fn report_target(&mut self, (index, target): (usize, usize), outcome: Box<TaskOutcome>) {
        let state = self.execution.step(index);
        let target = &state.targets[target];
        let report = Report {
            step: self.execution.definition().steps[index].id.clone(),
            attempt: state.attempt,
            machine: target.machine.clone(),
            item: target.item_index(),
            epoch: target.epoch,
            outcome,
        };
        let body = self.execution.receive(report, at(self.seconds));
        self.record(body);
    }

    /// Reports how one item of the first step ended.
    fn item(&mut self, index: u32, status: OutcomeStatus, class: FailureClass) {
        let local = MachineId::local();
        let target = self.execution.step(0).targets.position(&local, Some(index));
        self.report_target((0, target.expect("the item exists")), outcome(status, class));
    }

    fn succeed(&mut self, step: &str) {
        self.report(step, "local", OutcomeStatus::Succeeded, FailureClass::Exit);
    }

    fn judge(&mut self, step: &str, kind: VerdictKind, host_reason: Option<HostReason>) {
        self.judge_with(step, kind, host_reason, &[]);
    }

    fn judge_with(
        &mut self,
        step: &str,
        kind: VerdictKind,
        host_reason: Option<HostReason>,
        reasons: &[&str],
    ) {
        let index = self.execution.step_index(step).expect("the step exists");
        let gate = self.execution.gate_of(index).expect("the step is judged");
        let verdict = Verdict {
            kind,
            summary: "as told".into(),
            host_reason,
            reasons: reasons
                .iter()
                .map(|message| Reason {
                    code: "told".into(),
                    message: (*message).to_owned(),
                    path: None,
                    line: None,
                })
                .collect(),
            ..Verdict::broken_down(String::new(), None)
        };
        let record = GateRecord {
            gate,
            validator: self.execution.validator(index, gate.kind).expect("pinned").clone(),
            verdict,
            subject_digest: Digest::from_bytes(&[1; 32]),
            probes: vec![],
            duration_us: 1,
        };
        let attempt = self.execution.step(index).attempt;
        self.record(EventBody::GateJudged {
            step: step.parse().expect("legal"),
            attempt,
            record: Box::new(record),
        });
    }

    fn control(&mut self, control: &Control) {
        let body = self
            .execution
            .control(control, "tester".into(), "because".into())
            .expect("allowed")
            .expect("something to do");
        self.record(body);
    }

    fn wait(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.settle();
    }

    fn step(&self, id: &str) -> StepStatus {
        self.execution.step(self.execution.step_index(id).expect("exists")).status()
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.events.iter().map(|event| event.body.kind()).collect()
    }

    fn running(&self) -> Vec<usize> {
        self.wanted
            .effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Run { step, .. } => Some(*step),
                _ => None,
            })
            .collect()
    }
}

fn review_of(run: &Run, reviewer: &str) -> Review {
    Review {
        reviewer: reviewer.into(),
        decision: ReviewDecision::Approved,
        reason: String::new(),
        at: at(run.seconds),
        subject_digest: Digest::from_bytes(&[1; 32]),
    }
}
