//! What one seed is about: its workflows, how the engine is set up in each life, and how each life ends.

use std::collections::BTreeSet;

use caelum_core::task::{CommandSpec, FailureClass, Strategy};
use caelum_core::workflow::{
    Action, OnFailure, OnReviewTimeout, RetryPolicy, ReviewRules, Step, StepMap, StepType,
};
use caelum_engine::request::NewWorkflow;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::{Map, json};

/// How a life of the engine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// Everything that runs is dropped where it stands, as when the process is killed.
    Dropped,
    /// The files are copied while everything runs, and the copy is what the next life finds.
    Copied,
    /// The engine is closed.
    Closed,
}

/// One life of the engine.
#[derive(Debug, Clone)]
pub(crate) struct LifePlan {
    pub(crate) death: Death,
    /// After how many ticks of the world it dies.
    pub(crate) ticks: u64,
    pub(crate) concurrent_max: usize,
    pub(crate) callers: usize,
    /// Threads of the runtime; one means that everything takes turns.
    pub(crate) threads: usize,
    pub(crate) cancel_wait_ms: u64,
    /// Whether writing fails now and then.
    pub(crate) flaky: bool,
}

/// Everything that a seed decides beforehand.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) workflows: Vec<NewWorkflow>,
    pub(crate) lives: Vec<LifePlan>,
    /// Whether the engine dies once more before everybody is kind.
    pub(crate) ends_with_crash: bool,
    pub(crate) may_panic: bool,
}

impl Plan {
    pub(crate) fn of(rng: &mut SmallRng, gates: bool) -> Self {
        let workflows = (0..rng.random_range(1..4))
            .map(|index| {
                let id = format!("w{index}");
                // Asked for again in every life, and answered as in the first.
                let idempotency_key = Some(id.clone());
                NewWorkflow { idempotency_key, ..workflow(&id, steps(rng, index, gates)) }
            })
            .collect();
        let lives = if rng.random_bool(0.1) {
            // It dies again and again, and hardly gets anything done in between.
            let short =
                |rng: &mut SmallRng| LifePlan { ticks: rng.random_range(1..9), ..life(rng) };
            (0..rng.random_range(6..12)).map(|_| short(rng)).collect()
        } else {
            (0..rng.random_range(1..4)).map(|_| life(rng)).collect()
        };
        Plan {
            workflows,
            lives,
            ends_with_crash: rng.random_bool(0.5),
            may_panic: rng.random_bool(0.2),
        }
    }
}

fn life(rng: &mut SmallRng) -> LifePlan {
    LifePlan {
        death: *pick(rng, &[Death::Dropped, Death::Dropped, Death::Copied, Death::Closed]),
        ticks: rng.random_range(1..120),
        concurrent_max: *pick(rng, &[1, 2, 1_000, 1_000]),
        callers: rng.random_range(1..4),
        threads: *pick(rng, &[1, 2, 2]),
        cancel_wait_ms: rng.random_range(1..30),
        flaky: rng.random_bool(0.15),
    }
}

/// Returns one of some.
pub(crate) fn pick<'a, T>(rng: &mut SmallRng, some: &'a [T]) -> &'a T {
    &some[rng.random_range(0..some.len())]
}

pub(crate) fn workflow(id: &str, steps: Vec<Step>) -> NewWorkflow {
    NewWorkflow {
        workflow_id: id.to_owned(),
        steps,
        created_by: "tester".to_owned(),
        ..NewWorkflow::default()
    }
}

/// A step that runs on these machines; its one argument names the run, so that machines can tell runs apart.
pub(crate) fn command(id: &str, dependencies: &[&str], machines: &[&str]) -> Step {
    let mut step = Step::new(id.parse().expect("legal"), StepType::Development);
    step.dependencies = dependencies.iter().map(|name| name.parse().expect("legal")).collect();
    step.target_machines = machines.iter().map(|name| (*name).to_owned()).collect();
    step.action = Action::Command(CommandSpec {
        program: "work".to_owned(),
        args: vec!["{{ parameters.run }}".to_owned()],
        ..CommandSpec::default()
    });
    step
}

/// Dependencies point backwards, so there is no cycle; so do workflows that run others.
fn steps(rng: &mut SmallRng, workflow: usize, gates: bool) -> Vec<Step> {
    let count = rng.random_range(1..7);
    let mut steps: Vec<Step> = (0..count).map(|index| step(rng, index, gates)).collect();
    if workflow > 0 && rng.random_bool(0.5) {
        let parent = rng.random_range(0..steps.len());
        steps[parent].target_machines.clear();
        if let Some(map) = &mut steps[parent].map {
            map.max = 2;
        }
        steps[parent].action = Action::Workflow {
            workflow_id: format!("w{}", rng.random_range(0..workflow)),
            revision: None,
            parameters: Map::from_iter([("run".to_owned(), "{{ parameters.run }}+".into())]),
        };
    }
    steps
}

fn step(rng: &mut SmallRng, index: usize, gates: bool) -> Step {
    let named: [&[&str]; 8] = [
        &[],
        &[],
        &["m1"],
        &["any"],
        &["m1", "m2"],
        &["m3", "m1", "m2"],
        &["all"],
        &["label:even=true"],
    ];
    let machines = *pick(rng, &named);
    let before: BTreeSet<usize> = (0..rng.random_range(0..3))
        .filter(|_| index > 0)
        .map(|_| rng.random_range(0..index))
        .collect();
    let names: Vec<String> = before.iter().map(|step| format!("s{step}")).collect();
    let dependencies: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut step = command(&format!("s{index}"), &dependencies, machines);
    if rng.random_bool(0.2) {
        step.action = Action::Manual { instructions: "do it".to_owned() };
    } else if let Some(dependency) = dependencies.first()
        && rng.random_bool(0.1)
        && let Action::Command(command) = &mut step.action
    {
        // Undefined when the step before was skipped: then this one fails for good.
        command.args.push(format!("{{{{ steps.{dependency}.outputs }}}}"));
    }
    if rng.random_bool(0.3)
        && let Action::Command(command) = &mut step.action
    {
        command.args.push("{{ item }}".to_owned());
        let items = rng.random_range(0..7);
        let over = match rng.random_range(0..12) {
            0 => json!("{{ parameters.nothing }}"),
            1..4 => json!(format!("{{{{ range({items}) }}}}")),
            _ => (0..items).map(|item| json!(format!("{{{{ parameters.run }}}}-{item}"))).collect(),
        };
        step.map = Some(StepMap { max: rng.random_range(1..4), ..StepMap::over(over) });
    }
    step.strategy = match rng.random_range(0..5) {
        0 => Strategy::Sequential { continue_on_failure: false },
        1 => Strategy::Sequential { continue_on_failure: true },
        2 => Strategy::Parallel { max: Some(2) },
        _ => Strategy::Parallel { max: None },
    };
    step.on_failure =
        *pick(rng, &[OnFailure::Stop, OnFailure::Continue, OnFailure::SkipDependents]);
    step.idempotent = rng.random_bool(0.75);
    step.when = match rng.random_range(0..20) {
        0 => Some("1 > 2".to_owned()),
        1 => Some("parameters.nothing == 1".to_owned()),
        2 => Some("parameters.run != 'nobody'".to_owned()),
        _ => None,
    };
    if rng.random_bool(0.7) {
        step.retry = Some(RetryPolicy {
            attempts: rng.random_range(1..5),
            initial_ms: rng.random_range(0..4),
            factor: 1.5,
            max_ms: 5,
            jitter: rng.random_bool(0.5),
            on: match rng.random_range(0..3) {
                0 => vec![FailureClass::Transient],
                1 => vec![FailureClass::Transient, FailureClass::Exit],
                _ => vec![FailureClass::Transient, FailureClass::Exit, FailureClass::Permanent],
            },
        });
    } else {
        // The default pauses for a second; nobody waits that long here.
        step.retry = Some(RetryPolicy { initial_ms: 1, ..RetryPolicy::default() });
    }
    if gates && rng.random_bool(0.5) {
        let name = *pick(rng, &["command-succeeded", "manual-review"]);
        step.validation = Some(name.parse().expect("legal"));
        if name == "manual-review" && rng.random_bool(0.4) {
            let timed = rng.random_bool(0.3);
            step.review = Some(ReviewRules {
                approvals: Some(rng.random_range(1..4)),
                deadline_s: timed.then_some(1),
                on_timeout: match rng.random_range(0..3) {
                    1 if timed => OnReviewTimeout::Approve,
                    2 if timed => OnReviewTimeout::Escalate,
                    _ => OnReviewTimeout::Reject,
                },
                ..ReviewRules::default()
            });
        }
    }
    step
}
