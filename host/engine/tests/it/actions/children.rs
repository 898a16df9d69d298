//! Workflows as steps of workflows.

use std::time::Duration;

use caelum_core::task::OutcomeStatus;
use caelum_core::workflow::command::Control;
use caelum_core::workflow::{Action, ExecutionStatus, Step, StepType};
use caelum_engine::Engine;
use caelum_engine::request::{PageRequest, Patience, Snapshot};
use serde_json::{Map, json};

use crate::harness::{Place, create, failure, run, shell, start, state, step, wait_end, wait_for};

fn child(id: &str, dependencies: &[&str], workflow: &str) -> Step {
    let action = Action::Workflow {
        workflow_id: workflow.to_owned(),
        revision: None,
        parameters: Map::from_iter([("who".to_owned(), json!("{{ execution.workflow_id }}"))]),
    };
    step(id, dependencies, action)
}

fn by_hand(id: &str) -> Step {
    Step::new(id.parse().expect("legal"), StepType::Development)
}

/// Returns the executions of a workflow, newest first.
async fn of(engine: &Engine, workflow: &str) -> Vec<String> {
    let page = PageRequest { limit: 100, cursor: None };
    let listed = engine.list_executions(Some(workflow), None, page).await.expect("listed");
    listed.items.into_iter().map(|item| item.execution_id).collect()
}

/// Waits until a workflow has an execution, and returns it.
async fn child_of(engine: &Engine, workflow: &str, parent: &str) -> String {
    let running = |now: &Snapshot| {
        now.execution
            .steps()
            .iter()
            .any(|step| step.targets.first().is_some_and(|target| target.epoch > 0))
    };
    wait_for(engine, parent, running).await;
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = of(engine, workflow).await.first() {
            return found.clone();
        }
        assert!(tokio::time::Instant::now() < until, "nobody started `{workflow}`");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_runs_with_its_parameters_and_hands_the_outputs_of_its_last_steps_on() {
    let place = Place::new();
    let engine = place.open().await;
    let inner = vec![
        shell("first", &[], "echo '{\"lost\": true}'"),
        shell("last", &["first"], "echo '{\"by\": \"{{ parameters.who }}\"}'"),
    ];
    create(&engine, "inner", inner).await;

    let ended = run(
        &engine,
        "outer",
        vec![
            child("sub", &[], "inner"),
            shell("use", &["sub"], "echo made by {{ steps.sub.outputs.last.by }}"),
        ],
    )
    .await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    assert_eq!(
        state(&ended, "sub").outputs,
        Map::from_iter([("last".into(), json!({"by": "outer"}))])
    );
    let said = state(&ended, "use").targets[0].outcome.clone().expect("it ran").stdout.text;
    assert_eq!(said, "made by outer\n");
    let inner = &of(&engine, "inner").await[0];
    let inner = engine.execution(inner, Patience::default()).await.expect("it exists");
    let link = inner.execution.head().parent.clone().expect("it is a child");
    assert_eq!(link.execution, *ended.execution.id());
    assert_eq!((link.step.as_str(), link.attempt, link.depth), ("sub", 1, 1));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_fails_fails_its_step_with_the_childs_reason() {
    let place = Place::new();
    let engine = place.open().await;
    create(&engine, "inner", vec![shell("broken", &[], "exit 3")]).await;

    let ended = run(&engine, "outer", vec![child("sub", &[], "inner")]).await;
    let unknown = run(&engine, "other", vec![child("sub", &[], "iner")]).await;

    let failed = failure(&ended, "sub");
    assert_eq!(failed.code, "child_failed");
    assert!(failed.message.ends_with("step `broken`: local: ended with exit code 3"), "{failed:?}");
    assert!(failure(&unknown, "sub").message.contains("did you mean `inner`?"), "{unknown:?}");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_that_runs_itself_ends_at_the_limit_of_depth() {
    let place = Place::new();
    let engine = place.open().await;

    let ended = run(&engine, "itself", vec![child("again", &[], "itself")]).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Failed);
    let message = failure(&ended, "again").message;
    assert!(message.contains("deeper than 8 executions"), "{message}");
    assert_eq!(of(&engine, "itself").await.len(), 9, "one and eight beneath it");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_need_no_place_while_their_parents_hold_all_of_them() {
    let place = Place::new();
    let mut options = place.options();
    options.concurrent_executions_max = 1;
    let engine = Engine::open(options).await.expect("it opens");
    create(&engine, "inner", vec![shell("work", &[], "true")]).await;

    let ended =
        run(&engine, "outer", vec![child("a", &[], "inner"), child("b", &["a"], "inner")]).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_a_parent_reaches_its_child() {
    let place = Place::new();
    let engine = place.open().await;
    create(&engine, "inner", vec![shell("long", &[], "sleep 600")]).await;
    create(&engine, "outer", vec![child("sub", &[], "inner")]).await;
    let outer = start(&engine, "outer").await;
    let inner = child_of(&engine, "inner", &outer).await;

    engine.control(&outer, Control::Cancel, "ann".into(), "enough".into()).await.expect("allowed");
    let ended = wait_end(&engine, &outer).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Cancelled);
    let child = engine.execution(&inner, Patience::default()).await.expect("it exists");
    assert_eq!(child.execution.status(), ExecutionStatus::Cancelled);
    let outcome = state(&ended, "sub").targets[0].outcome.clone().expect("it told");
    assert_eq!(outcome.status, OutcomeStatus::Cancelled);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_parent_finds_the_same_child_and_can_still_cancel_it() {
    let place = Place::new();
    let engine = place.open().await;
    let mut sub = child("sub", &[], "inner");
    sub.idempotent = false;
    create(&engine, "inner", vec![by_hand("sign")]).await;
    create(&engine, "outer", vec![sub]).await;
    let (first, second) = (start(&engine, "outer").await, start(&engine, "outer").await);
    child_of(&engine, "inner", &first).await;
    let both = |now: usize| now == 2;
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    while !both(of(&engine, "inner").await.len()) {
        assert!(tokio::time::Instant::now() < until, "the second child does not begin");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = of(&engine, "inner").await;

    engine.close().await;
    drop(engine);
    let engine = place.open().await;
    engine.control(&second, Control::Cancel, "ann".into(), "enough".into()).await.expect("allowed");
    let cancelled = wait_end(&engine, &second).await;
    let mut ends = Vec::new();
    for inner in &before {
        let child = engine.execution(inner, Patience::default()).await.expect("it exists");
        let link = child.execution.head().parent.clone().expect("a child");
        ends.push((link.execution.to_string(), child.execution.status()));
        if link.execution.as_str() == first {
            let report = caelum_engine::request::StepReport {
                execution_id: inner.clone(),
                step_id: "sign".to_owned(),
                report: caelum_core::evidence::WorkReport {
                    performer: "bob".to_owned(),
                    succeeded: true,
                    summary: "signed".to_owned(),
                    outputs: Map::new(),
                    files: vec![],
                },
                decision: None,
            };
            engine.complete_step(report).await.expect("it waits for work");
        }
    }
    let ended = wait_end(&engine, &first).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    assert_eq!(state(&ended, "sub").targets[0].epoch, 1, "nothing was handed out twice");
    assert_eq!(cancelled.execution.status(), ExecutionStatus::Cancelled);
    assert!(ends.contains(&(second, ExecutionStatus::Cancelled)), "{ends:?}");
    assert_eq!(of(&engine, "inner").await, before, "no other child was started");
    engine.close().await;
}
