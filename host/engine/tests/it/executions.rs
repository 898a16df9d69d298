//! The engine against real things: a store on disk, real programs, real validators as components.

use caelum_core::evidence::{ReviewDecision, WorkReport};
use caelum_core::task::{CommandSpec, Strategy};
use caelum_core::workflow::command::Control;
use caelum_core::workflow::{Action, ExecutionStatus, Step, StepStatus, StepType};
use caelum_engine::request::{
    NewExecution, NewTask, PageRequest, Patience, Snapshot, StepReport, StepReview,
};
use caelum_engine::{Engine, EngineError, EngineOptions};
use serde_json::{Map, json};

use crate::harness::{Place, execution, shell, wait_end, wait_for, workflow};

fn step(snapshot: &Snapshot, id: &str) -> StepStatus {
    let execution = &snapshot.execution;
    execution.step(execution.step_index(id).expect("it exists")).status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_runs_and_hands_its_outputs_on() {
    let place = Place::new();
    let engine = place.open().await;
    let steps = vec![
        shell("build", &[], "echo '{\"tag\": \"v7\", \"size\": 3}'"),
        shell("use", &["build"], "echo got {{ steps.build.outputs.tag }} {{ parameters.who }}"),
    ];
    engine.create_workflow(workflow("w", steps)).await.expect("legal");
    let mut new = execution("w");
    new.parameters = Map::from_iter([("who".to_owned(), json!("ann"))]);

    let started = engine.execute(new).await.expect("it starts");
    let ended = wait_end(&engine, started.execution.id().as_str()).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    let outcome = ended.execution.step(1).targets[0].outcome.clone().expect("it ran");
    assert_eq!(outcome.stdout.text, "got v7 ann\n");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_fails_is_mended_and_passes_on_retry() {
    let place = Place::new();
    let engine = place.open().await;
    let mut checked = shell("check", &[], "test -e ready");
    checked.validation = Some("command-succeeded".parse().expect("legal"));
    engine.create_workflow(workflow("w", vec![checked])).await.expect("legal");

    let started = engine.execute(execution("w")).await.expect("it starts");
    let id = started.execution.id().to_string();
    let failed = wait_end(&engine, &id).await;
    assert_eq!(failed.execution.status(), ExecutionStatus::Failed);
    let record = &failed.execution.step(0).gates[0];
    assert_eq!(record.verdict.kind.as_str(), "fail", "{:?}", record.verdict);

    std::fs::write(place.root.path().join("ready"), "").expect("it can be written");
    engine
        .control(&id, Control::RetryFailed, "tester".into(), "mended".into())
        .await
        .expect("allowed");
    let ended = wait_end(&engine, &id).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    assert_eq!(ended.execution.step(0).gates[0].verdict.kind.as_str(), "pass");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_that_a_validator_does_not_take_are_refused_at_creation() {
    let place = Place::new();
    let engine = place.open().await;
    let mut checked = shell("check", &[], "true");
    checked.validation = Some("unit-tests".parse().expect("legal"));
    checked.validation_parameters =
        Map::from_iter([("min_tests".to_owned(), json!("many")), ("nothing".to_owned(), json!(1))]);

    let refused =
        engine.create_workflow(workflow("w", vec![checked.clone()])).await.expect_err("wrong");

    let text = refused.to_string();
    assert!(text.contains("/steps/0/validation_parameters/min_tests"), "{text}");
    assert!(text.contains("nothing"), "{text}");
    let template = json!("{{ parameters.min }}");
    checked.validation_parameters = Map::from_iter([("min_tests".to_owned(), template)]);
    engine.create_workflow(workflow("w", vec![checked])).await.expect("known only later");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_by_hand_is_reported_reviewed_and_done() {
    let place = Place::new();
    let engine = place.open().await;
    let mut manual = Step::new("sign".parse().expect("legal"), StepType::Validation);
    manual.validation = Some("manual-review".parse().expect("legal"));
    engine.create_workflow(workflow("w", vec![manual])).await.expect("legal");
    let id = engine.execute(execution("w")).await.expect("it starts").execution.id().to_string();
    wait_for(&engine, &id, |now| now.execution.status() == ExecutionStatus::Paused).await;
    let report = |step: &str| StepReport {
        execution_id: id.clone(),
        step_id: step.to_owned(),
        report: WorkReport {
            performer: "bob".to_owned(),
            succeeded: true,
            summary: "done".to_owned(),
            outputs: Map::new(),
            files: vec![],
        },
        decision: None,
    };
    let review = |reviewer: &str| StepReview {
        execution_id: id.clone(),
        step_id: "sign".to_owned(),
        reviewer: reviewer.to_owned(),
        decision: ReviewDecision::Approved,
        reason: "read it".to_owned(),
    };

    let unknown = engine.complete_step(report("sing")).await.expect_err("no such step");
    assert!(unknown.to_string().contains("did you mean `sign`?"), "{unknown}");
    engine.complete_step(report("sign")).await.expect("it waits for work");
    wait_for(&engine, &id, |now| now.execution.step(0).waiting_for().is_some()).await;
    let own = engine.review_step(review("bob")).await.expect_err("own work");
    assert!(own.to_string().contains("cannot review it"), "{own}");
    engine.review_step(review("ann")).await.expect("it waits for a review");

    let ended = wait_end(&engine, &id).await;
    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_engine_leaves_executions_that_go_on_when_it_is_opened_again() {
    let place = Place::new();
    let witness = place.root.path().join("witness");
    let line = |name: &str| format!("echo {name} >> witness");
    let steps = vec![
        shell("first", &[], &line("first")),
        // The first delivery waits for the end of the engine; the second one finds the file and goes on.
        shell("slow", &["first"], "if test -e go; then echo slow >> witness; else sleep 600; fi"),
        shell("last", &["slow"], &line("last")),
    ];
    let engine = place.open().await;
    engine.create_workflow(workflow("w", steps)).await.expect("legal");
    let id = engine.execute(execution("w")).await.expect("it starts").execution.id().to_string();
    wait_for(&engine, &id, |now| {
        now.execution.step(1).targets.first().is_some_and(|target| target.epoch > 0)
    })
    .await;

    engine.close().await;
    drop(engine);
    std::fs::write(place.root.path().join("go"), "").expect("it can be written");
    let engine = place.open().await;
    let ended = wait_end(&engine, &id).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    let seen = std::fs::read_to_string(&witness).expect("it was written");
    assert_eq!(seen, "first\nslow\nlast\n", "a completed step does not run again");
    assert_eq!(ended.execution.step(1).targets[0].epoch, 2);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_ends_what_runs() {
    let place = Place::new();
    let engine = place.open().await;
    let steps = vec![shell("long", &[], "sleep 600"), shell("never", &["long"], "true")];
    engine.create_workflow(workflow("w", steps)).await.expect("legal");
    let id = engine.execute(execution("w")).await.expect("it starts").execution.id().to_string();
    wait_for(&engine, &id, |now| {
        now.execution.step(0).targets.first().is_some_and(|target| target.epoch > 0)
    })
    .await;

    engine.control(&id, Control::Cancel, "tester".into(), "enough".into()).await.expect("allowed");
    let ended = wait_end(&engine, &id).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Cancelled);
    assert_eq!(step(&ended, "never"), StepStatus::Cancelled);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_gives_the_same_answer_and_another_request_is_refused() {
    let place = Place::new();
    let engine = place.open().await;
    let mut new = workflow("w", vec![shell("a", &[], "true")]);
    new.idempotency_key = Some("create".to_owned());
    let first = engine.create_workflow(new.clone()).await.expect("legal");
    let again = engine.create_workflow(new.clone()).await.expect("the same");
    assert_eq!(first, again);
    new.name = Some("another".to_owned());
    let refused = engine.create_workflow(new).await.expect_err("another request");
    assert!(refused.to_string().contains("was used for another request"), "{refused}");

    let keyed = NewExecution { idempotency_key: Some("run".to_owned()), ..execution("w") };
    let one = engine.execute(keyed.clone()).await.expect("it starts");
    let two = engine.execute(keyed).await.expect("the same");
    assert_eq!(one.execution.id(), two.execution.id());
    wait_end(&engine, one.execution.id().as_str()).await;
    let page = PageRequest { limit: 10, cursor: None };
    let listed = engine.list_executions(Some("w"), None, page).await.expect("listed");
    assert_eq!(listed.items.len(), 1);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_group_runs_and_is_folded() {
    let place = Place::new();
    let engine = place.open().await;
    let new = NewTask {
        name: "measure".to_owned(),
        command: CommandSpec {
            program: "echo".to_owned(),
            args: vec!["{\"size\": 4}".to_owned()],
            ..CommandSpec::default()
        },
        target_machines: vec!["local".to_owned()],
        strategy: Strategy::default(),
        timeout_s: None,
        retry: None,
        idempotent: true,
        by: "tester".to_owned(),
        idempotency_key: None,
    };
    let group = engine.distribute_task(new.clone()).await.expect("it starts");
    let id = group.execution.id().to_string();
    wait_end(&engine, &id).await;

    let aggregate = engine.aggregate(&id).await.expect("it exists");
    assert_eq!((aggregate.tally.succeeded, aggregate.tally.open), (1, 0));
    assert_eq!(aggregate.tally.numbers["size"].mean(), 4.0);
    let (_, machine) =
        engine.task(&format!("{id}:local"), Patience::default()).await.expect("it exists");
    assert_eq!(machine.expect("a task").as_str(), "local");
    let nowhere = NewTask { target_machines: vec!["mars".to_owned()], ..new };
    let refused = engine.distribute_task(nowhere).await.expect_err("no such machine");
    assert!(refused.to_string().contains("no machine is called `mars`"), "{refused}");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_steps_in_a_row_complete() {
    let place = Place::new();
    let engine = place.open().await;
    let steps: Vec<Step> = (0..200)
        .map(|index| {
            let before = format!("s{}", index - 1);
            let dependencies: &[&str] = if index == 0 { &[] } else { &[&before] };
            let mut step = shell(&format!("s{index}"), dependencies, "true");
            if let Action::Command(command) = &mut step.action {
                command.shell = false;
            }
            step
        })
        .collect();
    engine.create_workflow(workflow("w", steps)).await.expect("legal");
    let id = engine.execute(execution("w")).await.expect("it starts").execution.id().to_string();

    let ended = wait_end(&engine, &id).await;

    assert_eq!(ended.execution.progress(), (200, 200));
    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_cannot_share_a_data_directory() {
    let place = Place::new();
    let engine = place.open().await;
    let options = EngineOptions::new(place.data.path().to_owned(), place.root.path().to_owned());

    let refused = Engine::open(options).await.expect_err("the directory is taken");

    assert!(matches!(refused, EngineError::Store(_)), "{refused:?}");
    engine.close().await;
}
