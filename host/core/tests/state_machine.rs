//! The state machine from outside: tables of events and decisions, and random sequences that must keep the promises.

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

#[test]
fn a_chain_runs_in_order_and_completes() {
    let mut run = Run::new(vec![command("a", &[]), command("b", &["a"])]);
    assert_eq!(run.running(), [0]);

    run.succeed("a");
    assert_eq!(run.running(), [1]);
    run.succeed("b");

    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
    assert_eq!(
        run.kinds(),
        [
            "started",
            "step_started",
            "target_started",
            "target_finished",
            "step_completed",
            "step_started",
            "target_started",
            "target_finished",
            "step_completed",
            "completed"
        ]
    );
}

#[test]
fn an_empty_workflow_completes_at_once() {
    assert_eq!(Run::new(vec![]).execution.status(), ExecutionStatus::Completed);
}

#[test]
fn a_gate_before_the_action_keeps_it_from_running() {
    let mut step = command("a", &[]);
    step.enforcement = Some("before".parse().expect("legal"));
    let mut run = Run::new(vec![step]);
    assert_eq!(run.running(), [0; 0]);
    assert!(matches!(run.wanted.effects.as_slice(), [Effect::Judge { step: 0, .. }]));

    run.judge("a", VerdictKind::Fail, None);

    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.code, "gate_failed");
    assert_eq!(failure.message, "enforcement `before`: as told");
    assert!(!run.kinds().contains(&"target_started"), "{:?}", run.kinds());
}

#[test]
fn a_failure_of_a_gate_says_its_summary_once() {
    for (reasons, message) in [
        (&["as told"][..], "validation `after`: as told"),
        (&["as told ", "two tests failed"], "validation `after`: as told (two tests failed)"),
        (&["", "a", "b", "c", "d"], "validation `after`: as told (a; b; c)"),
    ] {
        let mut step = command("a", &[]);
        step.validation = Some("after".parse().expect("legal"));
        let mut run = Run::new(vec![step]);
        run.succeed("a");

        run.judge_with("a", VerdictKind::Fail, None, reasons);

        assert_eq!(run.execution.step(0).failure.clone().expect("failed").message, message);
    }
}

#[test]
fn an_enforcement_gate_is_judged_once_even_when_its_validator_knows_both_phases() {
    let mut step = command("a", &[]);
    step.enforcement = Some("both".parse().expect("legal"));
    step.validation = Some("both".parse().expect("legal"));
    let mut run = Run::new(vec![step]);

    run.judge("a", VerdictKind::Pass, None);
    assert_eq!(run.running(), [0]);
    run.succeed("a");
    run.judge("a", VerdictKind::Pass, None);

    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
    assert_eq!(run.kinds().iter().filter(|kind| **kind == "gate_judged").count(), 2);
}

#[test]
fn a_failing_program_is_still_judged_and_never_healed_by_a_gate() {
    for verdict in [VerdictKind::Pass, VerdictKind::Fail, VerdictKind::NeedsReview] {
        let mut step = command("a", &[]);
        step.validation = Some("after".parse().expect("legal"));
        let mut run = Run::new(vec![step]);

        run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
        run.judge("a", verdict, None);

        assert_eq!(run.execution.status(), ExecutionStatus::Failed, "{verdict:?}");
        let code = run.execution.step(0).failure.clone().expect("failed").code;
        let expected = if verdict == VerdictKind::Fail { "gate_failed" } else { "code" };
        assert_eq!(code, expected);
    }
}

#[test]
fn a_validators_breakdown_blocks_unless_the_step_only_wants_a_warning() {
    for (policy, end) in [
        (OnValidatorError::Block, ExecutionStatus::Failed),
        (OnValidatorError::Warn, ExecutionStatus::Completed),
    ] {
        let mut step = command("a", &[]);
        step.validation = Some("after".parse().expect("legal"));
        step.on_validator_error = policy;
        let mut run = Run::new(vec![step]);

        run.succeed("a");
        run.judge("a", VerdictKind::Inconclusive, Some(HostReason::Timeout { limit_ms: 5_000 }));

        assert_eq!(run.execution.status(), end, "{policy:?}");
    }
}

#[test]
fn a_review_is_asked_for_given_and_judged_again() {
    let mut step = command("a", &[]);
    step.validation = Some("after".parse().expect("legal"));
    let mut run = Run::new(vec![step]);
    run.succeed("a");

    run.judge("a", VerdictKind::NeedsReview, None);
    assert_eq!(run.execution.status(), ExecutionStatus::Paused);
    let review = Review {
        reviewer: "ann".into(),
        decision: ReviewDecision::Approved,
        reason: String::new(),
        at: at(1),
        subject_digest: Digest::from_bytes(&[1; 32]),
    };
    let rejected = Review { decision: ReviewDecision::Rejected, ..review.clone() };
    assert_eq!(run.execution.review("a", rejected).expect_err("no reason").code, "no_reason");
    let body = run.execution.review("a", review).expect("it waits for one");
    run.record(body);
    assert!(matches!(run.wanted.effects.as_slice(), [Effect::Judge { reviews: 1, .. }]));
    run.judge("a", VerdictKind::Pass, None);

    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn a_second_review_counts_while_the_first_is_being_judged() {
    let mut step = command("a", &[]);
    step.validation = Some("after".parse().expect("legal"));
    let mut run = Run::new(vec![step]);
    run.succeed("a");
    assert_eq!(
        run.execution.review("a", review_of(&run, "ann")).expect_err("nobody was asked").code,
        "not_waiting"
    );
    run.judge("a", VerdictKind::NeedsReview, None);

    for (count, reviewer) in [(1, "ann"), (2, "bob"), (3, "ann")] {
        let body = run.execution.review("a", review_of(&run, reviewer)).expect("it counts");
        run.record(body);
        let [Effect::Judge { reviews, .. }] = run.wanted.effects[..] else {
            panic!("it is judged: {:?}", run.wanted);
        };
        assert_eq!(reviews, count, "each review means another judgement");
    }

    let reviewers: Vec<&str> =
        run.execution.step(0).reviews.iter().map(|review| review.reviewer.as_str()).collect();
    assert_eq!(reviewers, ["bob", "ann"], "whoever reviews again takes the first word back");
    assert!(!run.execution.saw_every_review(0, 2) && run.execution.saw_every_review(0, 3));
    run.judge("a", VerdictKind::Pass, None);
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn the_performer_cannot_review_their_own_work() {
    let mut step = Step::new("a".parse().expect("legal"), StepType::Development);
    step.validation = Some("after".parse().expect("legal"));
    let mut run = Run::new(vec![step]);
    assert_eq!(run.execution.status(), ExecutionStatus::Paused);
    let report = WorkReport {
        performer: "bob".into(),
        succeeded: true,
        summary: "done".into(),
        outputs: Map::new(),
        files: vec![],
    };
    let body = run.execution.complete_step("a", report).expect("it waits for work");
    run.record(body);
    run.judge("a", VerdictKind::NeedsReview, None);

    let refused = run
        .execution
        .review(
            "a",
            Review {
                reviewer: "bob".into(),
                decision: ReviewDecision::Approved,
                reason: String::new(),
                at: at(1),
                subject_digest: Digest::from_bytes(&[1; 32]),
            },
        )
        .expect_err("own work");

    assert_eq!(refused.message, "`bob` performed step `a` and cannot review it");
}

#[test]
fn transient_failures_are_retried_and_exits_are_not_unless_asked() {
    let mut run = Run::new(vec![command("a", &[])]);
    run.report("a", "local", OutcomeStatus::TimedOut, FailureClass::Transient);
    assert_eq!(run.execution.status(), ExecutionStatus::Executing);
    assert!(run.wanted.wake_at.is_some());
    run.wait(2);
    assert_eq!(run.running(), [0]);
    run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);

    let mut step = command("a", &[]);
    step.retry =
        Some(RetryPolicy { attempts: 2, on: vec![FailureClass::Exit], ..RetryPolicy::default() });
    let mut run = Run::new(vec![step]);
    run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
    run.wait(60);
    run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert_eq!(run.execution.step(0).attempt, 2);
}

#[test]
fn a_failure_stops_what_has_not_begun_and_a_retry_lets_it_go_on() {
    let mut run = Run::new(vec![command("a", &[]), command("b", &["a"]), command("c", &[])]);
    run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
    assert_eq!(run.execution.status(), ExecutionStatus::Executing, "c still runs");
    run.succeed("c");
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert_eq!(run.step("b"), StepStatus::Pending);

    run.control(&Control::RetryFailed);
    run.succeed("a");
    run.succeed("b");

    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
    assert_eq!(
        run.events
            .iter()
            .filter(|event| {
                matches!(&event.body, EventBody::StepStarted { step, .. } if step.as_str() == "c")
            })
            .count(),
        1,
        "a completed step does not run again"
    );
}

#[test]
fn nothing_begins_in_the_same_breath_as_a_failure_that_stops() {
    let mut broken = command("a", &[]);
    broken.when = Some("parameters.nothing == 1".into());
    let run = Run::new(vec![broken, command("b", &[])]);
    assert_eq!(run.kinds(), ["started", "step_failed", "failed"]);

    let mut run = Run::new(vec![command("a", &[]), command("b", &[]), command("c", &["b"])]);
    run.control(&Control::Pause);
    run.succeed("b");
    // While nothing is decided, a failure and the way on arrive together.
    let report = Report {
        step: "a".parse().expect("legal"),
        attempt: 1,
        machine: MachineId::local(),
        item: None,
        epoch: 1,
        outcome: outcome(OutcomeStatus::Failed, FailureClass::Exit),
    };
    for body in [run.execution.receive(report, at(0)), EventBody::Resumed { by: "x".into() }] {
        let event = run.execution.event(body, at(run.seconds));
        run.execution.apply(&event).expect("the event is legal");
        run.events.push(event);
    }
    run.settle();

    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert_eq!(run.step("c"), StepStatus::Pending);
}

#[test]
fn on_failure_decides_about_dependents() {
    let mut tolerant = command("a", &[]);
    tolerant.on_failure = OnFailure::Continue;
    let mut run = Run::new(vec![tolerant, command("b", &["a"])]);
    run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
    run.succeed("b");
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);

    let mut skipping = command("a", &[]);
    skipping.on_failure = OnFailure::SkipDependents;
    let mut run =
        Run::new(vec![skipping, command("b", &["a"]), command("c", &["b"]), command("d", &[])]);
    run.report("a", "local", OutcomeStatus::Failed, FailureClass::Exit);
    run.succeed("d");
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert_eq!((run.step("b"), run.step("c")), (StepStatus::Skipped, StepStatus::Skipped));

    run.control(&Control::RetryFailed);
    run.succeed("a");
    run.succeed("b");
    run.succeed("c");
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn a_condition_skips_its_step_and_not_the_steps_behind_it() {
    let mut step = command("a", &[]);
    step.when = Some("1 > 2".into());
    let mut broken = command("c", &["b"]);
    broken.when = Some("parameters.nothing == 1".into());
    let mut run = Run::new(vec![step, command("b", &["a"]), broken]);
    assert_eq!(run.step("a"), StepStatus::Skipped);
    run.succeed("b");

    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    let failure = run.execution.step(2).failure.clone().expect("the condition is wrong");
    assert_eq!(failure.code, "condition");
}

#[test]
fn pausing_stops_dispatch_and_kills_nothing() {
    let mut run = Run::new(vec![command("a", &[]), command("b", &["a"])]);
    run.control(&Control::Pause);
    assert_eq!(run.running(), [0]);
    assert_eq!(run.execution.status(), ExecutionStatus::Paused);
    run.succeed("a");
    assert_eq!((run.step("a"), run.step("b")), (StepStatus::Completed, StepStatus::Pending));

    run.control(&Control::Resume);

    assert_eq!(run.running(), [1]);
}

#[test]
fn cancelling_waits_for_what_runs_and_gives_up_in_the_end() {
    let mut run = Run::new(vec![command("a", &[]), command("b", &["a"])]);
    run.control(&Control::Cancel);
    assert!(matches!(run.wanted.effects.as_slice(), [Effect::Stop { .. }]));
    run.report("a", "local", OutcomeStatus::Cancelled, FailureClass::Permanent);
    assert_eq!(run.execution.status(), ExecutionStatus::Cancelled);
    assert_eq!((run.step("a"), run.step("b")), (StepStatus::Cancelled, StepStatus::Cancelled));

    let mut run = Run::new(vec![command("a", &[])]);
    run.control(&Control::Cancel);
    run.wait(61);
    assert_eq!(run.execution.status(), ExecutionStatus::Cancelled);
}

#[test]
fn a_late_report_is_an_event_and_never_a_transition() {
    let mut run = Run::new(vec![command("a", &[])]);
    let stale = Report {
        step: "a".parse().expect("legal"),
        attempt: 1,
        machine: MachineId::local(),
        item: None,
        epoch: 1,
        outcome: outcome(OutcomeStatus::Failed, FailureClass::Exit),
    };
    run.succeed("a");
    let before = run.execution.clone();

    let body = run.execution.receive(stale, at(0));
    run.record(body);

    assert_eq!(run.events.last().expect("some").body.kind(), "late_report");
    assert_eq!(run.execution.steps(), before.steps());
}

#[test]
fn a_restart_runs_lost_work_again_under_a_new_epoch_or_asks() {
    let mut run = Run::new(vec![command("a", &[])]);
    for body in recover(&run.execution).record {
        run.record(body);
    }
    assert!(matches!(run.wanted.effects.as_slice(), [Effect::Run { epoch: 2, .. }]));

    let mut once = command("a", &[]);
    once.idempotent = false;
    let mut run = Run::new(vec![once]);
    for body in recover(&run.execution).record {
        run.record(body);
    }
    assert_eq!(run.execution.status(), ExecutionStatus::Paused);
    assert_eq!(run.execution.step(0).phase, StepPhase::AwaitingDecision);
    let bodies = run
        .execution
        .decide("a", Some(true), "ann".into(), "I saw it".into())
        .expect("it waits for a decision");
    for body in bodies {
        run.record(body);
    }
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn work_that_is_lost_too_often_fails() {
    let mut run = Run::new(vec![command("a", &[])]);
    for _ in 0..=5 {
        for body in recover(&run.execution).record {
            run.record(body);
        }
    }
    let step = run.execution.step(0);
    assert_eq!(step.failure.clone().expect("failed").code, "machine_lost");
}

#[test]
fn a_sequence_of_machines_stops_at_the_first_failure() {
    let mut step = command("a", &[]);
    step.target_machines = ["m1", "m2", "m3"].map(str::to_owned).to_vec();
    step.strategy = Strategy::Sequential { continue_on_failure: false };
    let mut run = Run::new(vec![step]);
    run.report("a", "m1", OutcomeStatus::Succeeded, FailureClass::Exit);
    run.report("a", "m2", OutcomeStatus::Failed, FailureClass::Exit);

    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.message, "m2: it broke");
    assert!(run.kinds().contains(&"targets_given_up"));
}

/// A step on three machines, one after the other or all at once, under way.
fn on_three_machines(strategy: Strategy, retry: Option<RetryPolicy>) -> Run {
    let mut step = command("roll", &[]);
    step.target_machines = vec!["m1".into(), "m2".into(), "m3".into()];
    step.strategy = strategy;
    step.retry = retry;
    Run::new(vec![step])
}

fn cancel_target(run: &mut Run, machine: &str) -> bool {
    let machine: MachineId = machine.parse().expect("legal");
    let body = run
        .execution
        .cancel_target("roll", &machine, "ann".into(), "not this one".into())
        .expect("the machine is one of them");
    let asked = body.is_some();
    if let Some(body) = body {
        run.record(body);
    }
    asked
}

fn phases(run: &Run) -> Vec<TargetPhase> {
    run.execution.step(0).targets.iter().map(|target| target.phase).collect()
}

#[test]
fn the_work_of_one_machine_is_ended_and_the_others_go_on() {
    use TargetPhase::{Cancelled, Running, Succeeded};
    let mut run = on_three_machines(Strategy::Parallel { max: None }, None);

    assert!(cancel_target(&mut run, "m2"));
    assert!(!cancel_target(&mut run, "m2"), "asking twice is asking once");

    assert_eq!(phases(&run), [Running, Running, Running], "it has not ended before it reports");
    let stops: Vec<usize> = run
        .wanted
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Stop { target, .. } => Some(*target),
            _ => None,
        })
        .collect();
    assert_eq!((stops, run.wanted.effects.len()), (vec![1], 3));
    run.report("roll", "m2", OutcomeStatus::Cancelled, FailureClass::Permanent);
    run.report("roll", "m1", OutcomeStatus::Succeeded, FailureClass::Exit);
    run.report("roll", "m3", OutcomeStatus::Succeeded, FailureClass::Exit);
    assert_eq!(phases(&run), [Succeeded, Cancelled, Succeeded]);
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert!(!cancel_target(&mut run, "m1"), "what has ended needs no end");
}

#[test]
fn work_that_waits_ends_at_once_and_work_that_is_silent_counts_as_lost() {
    use TargetPhase::{Cancelled, Running, Waiting};
    let one = Strategy::Parallel { max: Some(1) };
    let mut run = on_three_machines(one, None);

    cancel_target(&mut run, "m2");
    assert_eq!(phases(&run), [Running, Cancelled, Waiting]);
    cancel_target(&mut run, "m1");
    run.seconds += 61;
    run.settle();

    assert_eq!(phases(&run), [Cancelled, Cancelled, Running], "nobody waits for ever");
    assert!(matches!(
        &run.events[run.events.len() - 2].body,
        EventBody::TargetLost { reason, .. } if reason == "cancel_timeout"
    ));
}

#[test]
fn a_machine_whose_work_was_ended_gets_none_in_later_attempts() {
    use TargetPhase::{Cancelled, Running};
    let retry = RetryPolicy { jitter: false, ..RetryPolicy::default() };
    let mut run = on_three_machines(Strategy::Parallel { max: None }, Some(retry));
    for machine in ["m1", "m2", "m3"] {
        run.report("roll", machine, OutcomeStatus::Failed, FailureClass::Transient);
    }
    assert!(matches!(run.execution.step(0).phase, StepPhase::RetryWait { .. }));

    assert!(cancel_target(&mut run, "m1"), "between two attempts");
    run.seconds += 1;
    run.settle();

    assert_eq!(phases(&run), [Cancelled, Running, Running]);
    run.report("roll", "m2", OutcomeStatus::Succeeded, FailureClass::Exit);
    run.report("roll", "m3", OutcomeStatus::Succeeded, FailureClass::Exit);
    let failure = run.execution.step(0).failure.clone().expect("it is not complete");
    assert_eq!((failure.code.as_str(), failure.class), ("cancelled", FailureClass::Permanent));
    let again = run.execution.control(&Control::RetryFailed, "ann".into(), String::new());
    run.record(again.expect("it failed").expect("something to do"));
    assert_eq!(phases(&run), [Running, Running, Running], "asked anew, all of them");
}

#[test]
fn a_crash_does_not_hand_out_again_what_somebody_asked_to_end() {
    use TargetPhase::{Cancelled, Running};
    let mut run = on_three_machines(Strategy::Parallel { max: None }, None);
    cancel_target(&mut run, "m2");

    for body in recover(&run.execution).record {
        run.record(body);
    }

    assert_eq!(phases(&run), [Running, Cancelled, Running]);
    let unknown = run.execution.cancel_target(
        "roll",
        &"m4".parse().expect("legal"),
        "ann".into(),
        String::new(),
    );
    assert_eq!(
        unknown.expect_err("it is not one of them").to_string(),
        "the work of step `roll` is not for a machine `m4`"
    );
}

#[test]
fn an_unknown_machine_is_named_with_the_known_ones() {
    let mut step = command("a", &[]);
    step.target_machines = vec!["m9".into()];
    let run = Run::new(vec![step]);
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.message, "no machine is called `m9`; known: local, m1, m2, m3, any, all");
}

#[test]
fn a_step_that_takes_too_long_over_its_attempts_is_ended_and_not_retried() {
    let mut step = command("a", &[]);
    step.total_timeout_s = Some(10);
    step.retry = Some(RetryPolicy {
        attempts: 9,
        on: vec![FailureClass::Transient, FailureClass::Permanent],
        ..RetryPolicy::default()
    });
    let mut run = Run::new(vec![step]);
    assert_eq!(run.wanted.wake_at, Some(at(10)));
    run.report("a", "local", OutcomeStatus::TimedOut, FailureClass::Transient);
    run.wait(8);
    assert_eq!(run.running(), [0], "the second attempt runs");

    run.wait(2);

    assert!(matches!(run.wanted.effects.as_slice(), [Effect::Stop { attempt: 2, .. }]));
    assert_eq!(
        run.execution.status(),
        ExecutionStatus::Executing,
        "what runs is asked to end first"
    );
    run.report("a", "local", OutcomeStatus::Cancelled, FailureClass::Permanent);
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.message, "took longer than 10 s over all its attempts");

    run.control(&Control::RetryFailed);
    assert_eq!(run.wanted.wake_at, Some(at(20)), "a retry counts anew");
    run.succeed("a");
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn work_that_does_not_end_after_the_total_time_is_given_up() {
    let mut step = command("a", &[]);
    step.total_timeout_s = Some(10);
    step.target_machines = ["m1", "m2", "m3"].map(str::to_owned).to_vec();
    step.strategy = Strategy::Parallel { max: Some(1) };
    let mut run = Run::new(vec![step]);
    run.wait(10);
    assert_eq!(run.execution.step(0).targets[1].phase, TargetPhase::GivenUp);
    assert_eq!(run.wanted.wake_at, Some(at(70)));

    run.wait(60);

    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert!(run.kinds().contains(&"target_lost"), "{:?}", run.kinds());
}

#[test]
fn waiting_for_somebody_counts_towards_the_total_time() {
    let mut step = Step::new("a".parse().expect("legal"), StepType::Development);
    step.total_timeout_s = Some(3_600);
    let mut run = Run::new(vec![step]);
    assert_eq!(run.execution.status(), ExecutionStatus::Paused);

    run.wait(3_600);

    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert_eq!(run.execution.step(0).failure.clone().expect("failed").code, "total_timeout");
}

fn reviewed(on_timeout: OnReviewTimeout) -> Run {
    let mut step = command("a", &[]);
    step.validation = Some("after".parse().expect("legal"));
    step.review = Some(ReviewRules {
        approvals: None,
        reviewers: vec!["ann".into()],
        deadline_s: Some(60),
        on_timeout,
        escalate_to: vec!["zoe".into()],
    });
    let mut run = Run::new(vec![step]);
    run.succeed("a");
    run.wait(5);
    run.judge("a", VerdictKind::NeedsReview, None);
    assert_eq!(run.wanted.wake_at, Some(at(65)));
    run
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

#[test]
fn a_review_that_nobody_gives_ends_as_its_step_says() {
    for (on_timeout, end) in [
        (OnReviewTimeout::Reject, ExecutionStatus::Failed),
        (OnReviewTimeout::Approve, ExecutionStatus::Completed),
        (OnReviewTimeout::Escalate, ExecutionStatus::Paused),
    ] {
        let mut run = reviewed(on_timeout);
        run.wait(59);
        assert_eq!(run.execution.status(), ExecutionStatus::Paused, "a second is left");

        run.wait(1);

        assert_eq!(run.execution.status(), end, "{on_timeout:?}");
        assert!(run.kinds().contains(&"review_timed_out"));
    }
    let mut run = reviewed(OnReviewTimeout::Reject);
    run.wait(60);
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.message, "validation: nobody decided within 60 s");
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Gate, "review_timed_out"));
}

#[test]
fn a_second_review_does_not_move_the_deadline() {
    let mut run = reviewed(OnReviewTimeout::Reject);
    run.wait(30);
    let body = run.execution.review("a", review_of(&run, "Ann")).expect("names have no case");
    run.record(body);
    run.judge("a", VerdictKind::NeedsReview, None);
    assert_eq!(run.wanted.wake_at, Some(at(65)));
}

#[test]
fn only_reviewers_review_and_those_it_escalates_to_once_it_has() {
    let mut run = reviewed(OnReviewTimeout::Escalate);
    let refused = run.execution.review("a", review_of(&run, "zoe")).expect_err("not yet");
    assert_eq!(refused.message, "`zoe` is not a reviewer of step `a`");
    assert_eq!(refused.hint.as_deref(), Some("it is reviewed by ann"));

    run.wait(60);

    assert!(run.wanted.wake_at.is_none(), "it waits without a deadline");
    let body = run.execution.review("a", review_of(&run, "zoe")).expect("it escalated");
    run.record(body);
    run.judge("a", VerdictKind::Pass, None);
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn a_child_execution_is_not_lost_by_a_restart() {
    let mut step = command("a", &[]);
    step.action =
        Action::Workflow { workflow_id: "other".into(), revision: None, parameters: Map::new() };
    step.idempotent = false;
    let run = Run::new(vec![step]);

    assert!(recover(&run.execution).record.is_empty());
    assert!(matches!(run.wanted.effects.as_slice(), [Effect::Run { epoch: 1, .. }]));
}

fn map(over: Value, max: u32) -> Step {
    let mut step = command("a", &[]);
    step.map = Some(StepMap { max, ..StepMap::over(over) });
    step
}

fn tally(run: &Run) -> (usize, usize, usize, usize) {
    let tally = run.execution.step(0).targets.tally();
    (tally.waiting, tally.running, tally.succeeded, tally.failed)
}

#[test]
fn a_map_runs_once_for_each_item_and_never_wider_than_it_may() {
    let mut run =
        Run::new(vec![map(json!(["x", "y", {"z": 1}, 4, null]), 2), command("b", &["a"])]);
    assert_eq!(tally(&run), (3, 2, 0, 0));
    let values: Vec<Value> = run
        .execution
        .step(0)
        .targets
        .iter()
        .map(|target| target.item.clone().expect("it is for an item").value)
        .collect();
    assert_eq!(Value::from(values), json!(["x", "y", {"z": 1}, 4, null]));

    for item in [1, 0, 2, 4, 3] {
        let mut done = outcome(OutcomeStatus::Succeeded, FailureClass::Exit);
        done.outputs.insert("n".into(), item.into());
        run.report_target((0, item as usize), done);
        assert!(run.execution.step(0).targets.tally().running <= 2);
    }

    let step = run.execution.step(0);
    assert_eq!(step.status(), StepStatus::Completed);
    let outputs = json!({"items": [{"n": 0}, {"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]});
    assert_eq!(Value::Object(step.outputs.clone()), outputs, "in the order of the list");
    assert_eq!(run.running(), [1]);
    let seen = serde_json::to_value(&run.events[1].body).expect("JSON");
    assert_eq!(seen["items"], json!(["x", "y", {"z": 1}, 4, null]), "the list is on record");
}

#[test]
fn a_map_over_nothing_completes_and_is_judged_all_the_same() {
    let mut run = Run::new(vec![map(json!([]), 2)]);
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
    assert_eq!(Value::Object(run.execution.step(0).outputs.clone()), json!({"items": []}));

    let mut step = map(json!([]), 2);
    step.validation = Some("after".parse().expect("legal"));
    step.retry =
        Some(RetryPolicy { attempts: 2, on: vec![FailureClass::Gate], ..RetryPolicy::default() });
    run = Run::new(vec![step]);
    run.judge("a", VerdictKind::Fail, None);
    run.wait(60);
    run.judge("a", VerdictKind::Pass, None);
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn an_items_failure_is_retried_by_itself_while_the_others_go_on() {
    let mut run = Run::new(vec![map(json!([0, 1, 2]), 2)]);
    run.item(0, OutcomeStatus::TimedOut, FailureClass::Transient);
    assert_eq!(tally(&run), (1, 2, 0, 0), "it takes no place while it rests");
    assert!(run.wanted.wake_at.is_some());
    run.item(1, OutcomeStatus::Succeeded, FailureClass::Exit);
    run.item(2, OutcomeStatus::Succeeded, FailureClass::Exit);
    assert_eq!(run.execution.step(0).phase, StepPhase::Acting, "it is waited for");

    run.wait(2);
    let target = Arc::clone(&run.execution.step(0).targets[0]);
    assert_eq!((target.phase, target.epoch, target.attempt(1)), (TargetPhase::Running, 2, 2));
    run.item(0, OutcomeStatus::TimedOut, FailureClass::Transient);
    run.wait(60);
    run.item(0, OutcomeStatus::TimedOut, FailureClass::Transient);

    assert_eq!(run.execution.status(), ExecutionStatus::Failed, "three attempts are all");
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.message, "item 0 on local: it broke");
    assert!(!run.kinds().contains(&"retry_scheduled"), "the step has no attempts beside them");
}

#[test]
fn a_retry_runs_the_items_that_failed_and_no_other() {
    let mut run = Run::new(vec![map(json!(["a", "b", "c", "d"]), 4)]);
    for (item, status) in [
        (0, OutcomeStatus::Succeeded),
        (1, OutcomeStatus::Failed),
        (2, OutcomeStatus::Failed),
        (3, OutcomeStatus::Succeeded),
    ] {
        run.item(item, status, FailureClass::Exit);
    }
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    let failure = run.execution.step(0).failure.clone().expect("failed");
    assert_eq!(failure.message, "item 1 on local: it broke (and 1 of 4 items more)");

    run.control(&Control::RetryFailed);

    assert_eq!(tally(&run), (0, 2, 2, 0));
    let targets = &run.execution.step(0).targets;
    assert_eq!((targets[1].epoch, targets[1].attempt(2)), (2, 2), "deliveries are counted on");
    assert_eq!(targets[0].epoch, 1);
    run.item(1, OutcomeStatus::Succeeded, FailureClass::Exit);
    run.item(2, OutcomeStatus::Succeeded, FailureClass::Exit);
    assert_eq!(run.execution.status(), ExecutionStatus::Completed);
}

#[test]
fn a_gate_that_refuses_the_whole_makes_all_items_run_again() {
    let mut step = map(json!(["a", "b"]), 4);
    step.validation = Some("after".parse().expect("legal"));
    let mut run = Run::new(vec![step]);
    run.item(0, OutcomeStatus::Succeeded, FailureClass::Exit);
    run.item(1, OutcomeStatus::Succeeded, FailureClass::Exit);
    run.judge("a", VerdictKind::Fail, None);

    run.control(&Control::RetryFailed);

    assert_eq!(tally(&run), (0, 2, 0, 0));
    let last = run.events.iter().rev().find(|event| event.body.kind() == "step_started");
    let EventBody::StepStarted { items, resumes, .. } = &last.expect("it began").body else {
        panic!("a step began");
    };
    assert_eq!((items, *resumes), (&None, false), "the list was evaluated once");
    let value = run.execution.step(0).targets[1].item.clone().expect("an item").value;
    assert_eq!(value, json!("b"));
}

#[test]
fn a_map_that_cannot_begin_says_why() {
    for (over, code, message) in [
        (
            json!("{{ parameters.none }}"),
            "template",
            "map over: template `{{ parameters.none }}`: `parameters.none` is undefined",
        ),
        (json!("{{ 1 }}"), "map_no_list", "map over: expected a list, found a number"),
        (
            json!("{{ range(9000) | list + range(1001) | list }}"),
            "map_too_large",
            "map over: the list has 10001 items; at most 10000 are allowed",
        ),
    ] {
        let run = Run::new(vec![map(over, 1)]);
        let failure = run.execution.step(0).failure.clone().expect("failed");
        assert_eq!((failure.code.as_str(), failure.message.as_str()), (code, message));
        assert!(failure.hint.is_some());
    }
}

#[test]
fn items_run_on_every_machine_and_the_width_counts_items() {
    let mut step = map(json!(["a", "b", "c"]), 2);
    step.target_machines = ["m1", "m2"].map(str::to_owned).to_vec();
    let mut run = Run::new(vec![step]);
    assert_eq!(tally(&run), (2, 4, 0, 0));

    run.report_target((0, 0), outcome(OutcomeStatus::Succeeded, FailureClass::Exit));
    assert_eq!(tally(&run), (2, 3, 1, 0), "its other machine still works on the item");
    let mut done = outcome(OutcomeStatus::Succeeded, FailureClass::Exit);
    done.outputs.insert("on".into(), "m2".into());
    run.report_target((0, 1), done);
    assert_eq!(tally(&run), (0, 4, 2, 0));
    for target in 2..6 {
        run.report_target((0, target), outcome(OutcomeStatus::Succeeded, FailureClass::Exit));
    }

    let items = &run.execution.step(0).outputs["items"];
    assert_eq!(items[0], json!({"m1": {}, "m2": {"on": "m2"}}));
}

#[test]
fn strategies_order_items_as_they_order_machines() {
    let mut step = map(json!(["a", "b", "c"]), 9);
    step.strategy = Strategy::Sequential { continue_on_failure: false };
    let mut run = Run::new(vec![step]);
    assert_eq!(tally(&run), (2, 1, 0, 0));
    run.item(0, OutcomeStatus::TimedOut, FailureClass::Transient);
    assert_eq!(tally(&run), (3, 0, 0, 0), "the row waits for its first");
    run.wait(60);
    run.item(0, OutcomeStatus::Succeeded, FailureClass::Exit);
    run.item(1, OutcomeStatus::Failed, FailureClass::Exit);
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);
    assert_eq!(run.execution.step(0).targets.tally().given_up, 1);

    run.control(&Control::RetryFailed);
    assert_eq!(tally(&run), (1, 1, 1, 0));
}

#[test]
fn pausing_and_cancelling_hold_items_without_an_event_for_each() {
    let mut run = Run::new(vec![map((0..10_000).map(Value::from).collect(), 3)]);
    run.control(&Control::Pause);
    run.item(0, OutcomeStatus::Succeeded, FailureClass::Exit);
    assert_eq!(tally(&run), (9_997, 2, 1, 0));
    run.control(&Control::Resume);
    assert_eq!(tally(&run), (9_996, 3, 1, 0));
    let before = run.events.len();

    run.control(&Control::Cancel);
    for item in 1..4 {
        run.item(item, OutcomeStatus::Cancelled, FailureClass::Permanent);
    }

    assert_eq!(run.execution.status(), ExecutionStatus::Cancelled);
    assert_eq!(run.events.len() - before, 5, "one asked for it, three ended, and that was it");
}

#[test]
fn a_restart_runs_lost_items_again_and_no_list_is_evaluated_twice() {
    let mut run = Run::new(vec![map(json!(["a", "b", "c"]), 2)]);
    run.item(0, OutcomeStatus::Succeeded, FailureClass::Exit);
    for body in recover(&run.execution).record {
        run.record(body);
    }

    let epochs: Vec<u32> =
        run.execution.step(0).targets.iter().map(|target| target.epoch).collect();
    assert_eq!(epochs, [1, 2, 2]);
    assert_eq!(run.kinds().iter().filter(|kind| **kind == "step_started").count(), 1);

    let mut once = map(json!(["a", "b", "c"]), 2);
    once.idempotent = false;
    let mut run = Run::new(vec![once]);
    for body in recover(&run.execution).record {
        run.record(body);
    }
    assert_eq!(run.execution.step(0).phase, StepPhase::AwaitingDecision);
    let decided = run.execution.decide("a", Some(true), "ann".into(), "I saw them".into());
    for body in decided.expect("two wait for it") {
        run.record(body);
    }
    assert_eq!(tally(&run), (0, 1, 2, 0), "the rest goes on");
}

#[test]
fn late_reports_of_items_change_nothing() {
    let mut run = Run::new(vec![map(json!(["a", "b"]), 2)]);
    let report = |item: Option<u32>, epoch: u32| Report {
        step: "a".parse().expect("legal"),
        attempt: 1,
        machine: MachineId::local(),
        item,
        epoch,
        outcome: outcome(OutcomeStatus::Succeeded, FailureClass::Exit),
    };
    for (item, epoch) in [(None, 1), (Some(0), 2), (Some(2), 1), (Some(u32::MAX), 1)] {
        let before = run.execution.clone();
        let body = run.execution.receive(report(item, epoch), at(0));
        assert_eq!(body.kind(), "late_report");
        run.record(body);
        assert_eq!(run.execution.steps(), before.steps());
    }
    run.item(0, OutcomeStatus::TimedOut, FailureClass::Transient);
    let body = run.execution.receive(report(Some(0), 1), at(0));
    assert_eq!(body.kind(), "late_report", "that delivery has ended");
}

#[test]
fn an_expired_map_gives_its_queue_up() {
    let mut step = map(json!([1, 2, 3]), 1);
    step.total_timeout_s = Some(10);
    let mut run = Run::new(vec![step]);
    run.item(0, OutcomeStatus::TimedOut, FailureClass::Transient);
    run.wait(10);
    let tally = run.execution.step(0).targets.tally();
    assert_eq!((tally.given_up, tally.resting), (2, 0));
    run.item(1, OutcomeStatus::Failed, FailureClass::Transient);
    assert_eq!(run.execution.status(), ExecutionStatus::Failed);

    run.control(&Control::RetryFailed);
    assert_eq!(run.execution.step(0).targets.tally().waiting, 2);
}

/// A random workflow: dependencies point backwards, so it has no cycle.
fn workflows() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let step = (
        prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        0_u8..4,
        0_u8..3,
        0_u8..3,
        prop::bool::weighted(0.8),
        0_usize..4,
        prop::option::weighted(0.4, (0_usize..7, 1_u32..4)),
    );
    prop::collection::vec(step, 0..7).prop_map(|rows| {
        rows.into_iter()
            .enumerate()
            .map(|(index, (dependencies, gates, on_failure, action, idempotent, machines, map))| {
                let mut step = command(&format!("s{index}"), &[]);
                if index > 0 {
                    let named: BTreeSet<usize> =
                        dependencies.iter().map(|dependency| dependency.index(index)).collect();
                    step.dependencies = named
                        .iter()
                        .map(|dependency| format!("s{dependency}").parse().expect("legal"))
                        .collect();
                }
                if action == 0 {
                    step.action = Action::Manual { instructions: String::new() };
                }
                if gates & 1 == 1 {
                    let name = if index % 2 == 0 { "before" } else { "after" };
                    step.enforcement = Some(name.parse().expect("legal"));
                }
                if gates & 2 == 2 {
                    step.validation = Some("both".parse().expect("legal"));
                }
                step.on_failure = [OnFailure::Stop, OnFailure::Continue, OnFailure::SkipDependents]
                    [on_failure as usize];
                step.idempotent = idempotent;
                if on_failure == 1 {
                    step.total_timeout_s = Some(40 + index as u64 * 50);
                }
                if gates > 1 && action == 1 {
                    step.review = Some(ReviewRules {
                        deadline_s: Some(30),
                        on_timeout: [
                            OnReviewTimeout::Reject,
                            OnReviewTimeout::Approve,
                            OnReviewTimeout::Escalate,
                        ][index % 3],
                        ..ReviewRules::default()
                    });
                }
                if action == 2 && machines == 0 {
                    step.action = Action::Workflow {
                        workflow_id: "child".into(),
                        revision: None,
                        parameters: Map::new(),
                    };
                }
                step.target_machines =
                    ["m1", "m2", "m3"][..machines.min(3)].iter().map(|m| (*m).to_owned()).collect();
                if let Some((items, max)) = map
                    && action != 0
                {
                    step.map = Some(StepMap {
                        max,
                        ..StepMap::over((0..items).map(Value::from).collect())
                    });
                }
                if machines == 2 {
                    step.strategy = Strategy::Parallel { max: Some(1 + index as u32) };
                }
                if machines == 3 {
                    step.strategy = Strategy::Sequential { continue_on_failure: index % 2 == 1 };
                }
                step
            })
            .collect()
    })
}

/// Returns the items that ended well, by step and machine.
fn completed_items(execution: &Execution) -> BTreeSet<(String, String, u32)> {
    let mut items = BTreeSet::new();
    for (index, state) in execution.steps().iter().enumerate() {
        let step = execution.definition().steps[index].id.to_string();
        items.extend(
            state
                .targets
                .iter()
                .filter(|target| target.phase == TargetPhase::Succeeded)
                .filter_map(|target| {
                    Some((step.clone(), target.machine.to_string(), target.item_index()?))
                }),
        );
    }
    items
}

/// Does one random thing that somebody or something outside could do.
fn poke(run: &mut Run, choice: u8, pick: usize) {
    if run.execution.head().end.is_some() && choice != 9 {
        return;
    }
    let effects = run.wanted.effects.clone();
    let effect = (!effects.is_empty()).then(|| effects[pick % effects.len()]);
    let statuses = [
        (OutcomeStatus::Succeeded, FailureClass::Exit),
        (OutcomeStatus::Succeeded, FailureClass::Exit),
        (OutcomeStatus::Failed, FailureClass::Exit),
        (OutcomeStatus::TimedOut, FailureClass::Transient),
        (OutcomeStatus::NotStarted, FailureClass::Permanent),
    ];
    match (choice, effect) {
        (0..=4, Some(Effect::Run { step, target, .. } | Effect::Stop { step, target, .. })) => {
            let (status, class) = statuses[choice as usize];
            run.report_target((step, target), outcome(status, class));
        }
        (0..=4, Some(Effect::Judge { step, .. })) => {
            let id = run.execution.definition().steps[step].id.to_string();
            let kinds = [
                VerdictKind::Pass,
                VerdictKind::Pass,
                VerdictKind::Fail,
                VerdictKind::NeedsReview,
                VerdictKind::Inconclusive,
            ];
            run.judge(&id, kinds[choice as usize], None);
        }
        (5 | 6, _) => {
            let open: Vec<usize> = run.execution.open_steps().collect();
            let Some(step) = (!open.is_empty()).then(|| open[pick % open.len()]) else { return };
            let id = run.execution.definition().steps[step].id.to_string();
            let report = WorkReport {
                performer: "bob".into(),
                succeeded: choice == 5,
                summary: String::new(),
                outputs: Map::new(),
                files: vec![],
            };
            let review = Review {
                reviewer: "ann".into(),
                decision: ReviewDecision::Approved,
                reason: String::new(),
                at: at(run.seconds),
                subject_digest: Digest::from_bytes(&[1; 32]),
            };
            let decided = run.execution.decide(
                &id,
                (choice == 5).then_some(true),
                "ann".into(),
                String::new(),
            );
            let bodies =
                [run.execution.complete_step(&id, report), run.execution.review(&id, review)]
                    .into_iter()
                    .find_map(Result::ok)
                    .map(|body| vec![body])
                    .or(decided.ok());
            for body in bodies.unwrap_or_default() {
                run.record(body);
            }
        }
        (7, _) => {
            let control = if run.execution.head().paused.is_some() {
                Control::Resume
            } else {
                Control::Pause
            };
            if let Ok(Some(body)) = run.execution.control(&control, "x".into(), String::new()) {
                run.record(body);
            }
        }
        (8, _) => {
            for body in recover(&run.execution).record {
                run.record(body);
            }
        }
        (9, _) => {
            let retry = run.execution.control(&Control::RetryFailed, "x".into(), String::new());
            if let Ok(Some(body)) = retry {
                run.record(body);
            }
        }
        (10, _) if pick.is_multiple_of(8) => {
            if let Ok(Some(body)) =
                run.execution.control(&Control::Cancel, "x".into(), String::new())
            {
                run.record(body);
            }
        }
        _ => run.wait(1 + (pick as u64 % 90)),
    }
}

fn check_promises(run: &mut Run) -> Result<(), proptest::test_runner::TestCaseError> {
    let execution = &run.execution;
    let definition = execution.definition();
    for (index, step) in execution.steps().iter().enumerate() {
        if step.attempt > 0 {
            for dependency in execution.graph().dependencies(index) {
                let before = execution.step(*dependency);
                // A retried dependency may be open again; what began earlier keeps what it did.
                let ended = before.is_final() || before.attempts_before > 0;
                prop_assert!(ended, "step {index} ran before step {dependency} ended");
            }
        }
        // Nothing outlives its time: neither the step's own, nor the time to end, nor the deadline of a review.
        let now = at(run.seconds);
        let open = execution.head().end.is_none() && execution.head().cancel.is_none();
        let counts = open && !step.is_final() && step.attempt > step.attempts_before;
        if counts && let Some(over) = execution.expires_at(index) {
            let over = step.expired_at.map_or(over, |since| since.plus(Duration::from_secs(60)));
            prop_assert!(now < over, "step {index} outlived its total time");
        }
        if open && let Some(until) = execution.review_until(index) {
            prop_assert!(now < until, "step {index} waits for a review behind its deadline");
        }
        let running =
            step.targets.iter().filter(|target| target.phase == TargetPhase::Running).count();
        prop_assert!(!step.is_final() || running == 0, "step {index} ended and still runs");
        if matches!(definition.steps[index].strategy, Strategy::Sequential { .. }) {
            prop_assert!(running <= 1, "a sequence ran wider than one");
        }
        if let Strategy::Parallel { max: Some(max) } = definition.steps[index].strategy {
            prop_assert!(running <= max as usize, "step {index} ran wider than it may");
        }
        if let Some(map) = &definition.steps[index].map {
            let out: BTreeSet<Option<u32>> = step
                .targets
                .iter()
                .filter(|target| target.phase == TargetPhase::Running)
                .map(|target| target.item_index())
                .collect();
            prop_assert!(out.len() <= map.max as usize, "too many items are under way");
            // Whatever could run does, unless somebody holds it.
            let held = execution.head().paused.is_some() || execution.head().cancel.is_some();
            let tally = step.targets.tally();
            let idle = running + tally.unknown == 0 && tally.waiting > tally.resting;
            let rests = matches!(definition.steps[index].strategy, Strategy::Sequential { .. })
                && tally.resting > 0;
            if step.phase == StepPhase::Acting && !held {
                prop_assert!(!idle || rests, "items wait and nothing runs in step {index}");
            }
        }
    }
    // Nothing is stuck: an open execution names what it waits for.
    if execution.head().end.is_none() {
        let somebody = execution.steps().iter().any(|step| step.waiting_for().is_some());
        prop_assert!(
            !run.wanted.effects.is_empty()
                || run.wanted.wake_at.is_some()
                || somebody
                || execution.head().paused.is_some(),
            "stuck: {:#?}",
            execution
        );
    }
    // Rows and events tell the same story.
    let folded = Execution::fold(
        execution.id().clone(),
        Arc::clone(definition),
        Arc::clone(execution.graph()),
        &run.events,
    )
    .expect("its own events are legal");
    prop_assert_eq!(&folded, execution);
    let rows = Execution::from_rows(
        Arc::clone(definition),
        Arc::clone(execution.graph()),
        execution.head().clone(),
        execution.steps().iter().map(|step| step.as_ref().clone()).enumerate().collect(),
        execution
            .steps()
            .iter()
            .map(|step| step.targets.iter().map(|target| target.as_ref().clone()).collect())
            .enumerate()
            .collect(),
    );
    let machines = machines();
    let world =
        World { now: at(run.seconds), machines: &machines, cancel_wait: Duration::from_secs(60) };
    prop_assert_eq!(next(&rows, world), run.wanted.clone());
    Ok(())
}

proptest! {
    #[test]
    fn random_histories_keep_the_promises(
        steps in workflows(),
        pokes in prop::collection::vec((0_u8..12, any::<u16>()), 0..80),
    ) {
        let mut run = Run::new(steps);
        check_promises(&mut run)?;
        for (choice, pick) in pokes {
            let completed: Vec<usize> = run.execution.steps().iter().enumerate()
                .filter(|(_, step)| step.phase == StepPhase::Completed)
                .map(|(index, _)| index)
                .collect();
            let items = completed_items(&run.execution);
            let events = run.events.len();
            poke(&mut run, choice, pick as usize);
            for index in completed {
                prop_assert_eq!(run.execution.step(index).phase, StepPhase::Completed, "a completed step changed");
            }
            let again = run.events[events..].iter().find(|event| match &event.body {
                EventBody::TargetStarted { step, machine, item: Some(item), .. } => {
                    items.contains(&(step.to_string(), machine.to_string(), *item))
                }
                _ => false,
            });
            // Only a gate that refuses the whole makes items run again that ended well.
            let refused = |step: &caelum_core::id::StepId| run.events.iter().any(|event| {
                matches!(&event.body, EventBody::StepFailed { step: failed, failure, .. }
                    | EventBody::RetryScheduled { step: failed, failure, .. }
                    if failed == step && failure.cause != FailureCause::Action)
            });
            if let Some(Event { body: EventBody::TargetStarted { step, .. }, .. }) = again {
                prop_assert!(refused(step), "an item that ended well ran again: {:?}", again);
            }
            check_promises(&mut run)?;
        }
        // Cancelling reaches the end from everywhere.
        if run.execution.head().end.is_none() {
            if let Some(body) = run.execution.control(&Control::Cancel, "x".into(), String::new())
                .expect("an open execution can be cancelled")
            {
                run.record(body);
            }
            run.wait(120);
            prop_assert_eq!(run.execution.status(), ExecutionStatus::Cancelled);
        }
    }

    #[test]
    fn illegal_events_change_nothing(
        steps in workflows(),
        seq in 0_u64..5,
        attempt in 0_u32..4,
    ) {
        let mut run = Run::new(steps);
        let before = run.execution.clone();
        let bodies = [
            EventBody::Completed,
            EventBody::Resumed { by: "x".into() },
            EventBody::StepCompleted { step: "s0".parse().expect("legal"), attempt, outputs: Map::new() },
            EventBody::GateJudged {
                step: "s1".parse().expect("legal"),
                attempt,
                record: Box::new(GateRecord {
                    gate: Gate {
                        kind: caelum_core::workflow::GateKind::Validation,
                        timing: caelum_core::workflow::GateTiming::After,
                    },
                    validator: validator("after", &[]),
                    verdict: Verdict::broken_down(String::new(), None),
                    subject_digest: Digest::from_bytes(&[0; 32]),
                    probes: vec![],
                    duration_us: 0,
                }),
            },
        ];
        for body in bodies {
            let event = Event { seq: run.execution.head().events + seq, at: at(0), body };
            let legal = run.execution.apply(&event).is_ok();
            if legal { return Ok(()); }
            prop_assert_eq!(&run.execution, &before);
        }
    }
}
