//! What callers change of what there is: workflows, the archive, tasks that run.

use std::collections::BTreeMap;
use std::sync::Arc;

use caelum_core::evidence::ProbeAnswer;
use caelum_core::id::MachineId;
use caelum_core::task::{
    CommandSpec, FailureClass, IdempotencyKey, OutcomeStatus, Probe, Strategy, TaskFailure,
    TaskOutcome, TaskSpec,
};
use caelum_core::workflow::command::Control;
use caelum_core::workflow::{DefinitionStatus, ExecutionStatus, Step, StepType, TargetPhase};
use caelum_engine::request::{
    NewExecution, NewTask, NewWorkflow, PageRequest, Patience, Snapshot, WorkflowChange,
    WorkflowFilter,
};
use caelum_engine::{Engine, EngineOptions};
use caelum_machines::fabric::Pending;
use caelum_machines::{Fabric, MachineInfo, MachineState, OutputSoFar};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::harness::{self, wait_for};

async fn open(place: &TempDir) -> Engine {
    let data = place.path().join("data");
    Engine::open(EngineOptions::new(data, place.path().to_owned())).await.expect("it opens")
}

fn place() -> TempDir {
    TempDir::new().expect("a directory")
}

fn manual(id: &str) -> Step {
    Step::new(id.parse().expect("legal"), StepType::Development)
}

fn workflow(id: &str, steps: Vec<Step>) -> NewWorkflow {
    NewWorkflow {
        description: "as it was".to_owned(),
        created_by: "ann".to_owned(),
        parameters_schema: Some(json!({"type": "object"})),
        ..harness::workflow(id, steps)
    }
}

fn change(id: &str) -> WorkflowChange {
    WorkflowChange { workflow_id: id.to_owned(), by: "bob".to_owned(), ..WorkflowChange::default() }
}

fn run(id: &str) -> NewExecution {
    NewExecution { workflow_id: id.to_owned(), by: "ann".to_owned(), ..NewExecution::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_given_changes_and_executions_stay_on_their_revision() {
    let place = place();
    let engine = open(&place).await;
    engine.create_workflow(workflow("w", vec![manual("a")])).await.expect("legal");
    let started = engine.execute(run("w")).await.expect("it starts");

    let renamed = WorkflowChange { name: Some("Release".to_owned()), ..change("w") };
    let changed = engine.update_workflow(renamed.clone()).await.expect("legal");
    let again = engine.update_workflow(renamed).await.expect("legal");
    let steps = WorkflowChange {
        steps: Some(vec![manual("a"), manual("b")]),
        parameters_schema: Some(None),
        expected_revision: Some(2),
        ..change("w")
    };
    let more = engine.update_workflow(steps).await.expect("legal");

    assert_eq!((changed.revision, changed.changed), (2, vec!["name".to_owned()]));
    assert_eq!((again.revision, again.changed), (2, vec![]), "nothing is different");
    assert_eq!((more.revision, more.changed.len()), (3, 2));
    let newest = engine.workflow("w", None).await.expect("it exists");
    assert_eq!((newest.name.as_str(), newest.description.as_str()), ("Release", "as it was"));
    assert_eq!((newest.steps.len(), newest.parameters_schema.as_ref()), (2, None));
    assert_eq!(newest.created_by, "bob");
    let execution = engine.execution(started.execution.id().as_str(), Patience::default()).await;
    assert_eq!(execution.expect("it exists").execution.steps().len(), 1);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_made_for_another_revision_or_against_the_rules_changes_nothing() {
    let place = place();
    let engine = open(&place).await;
    engine.create_workflow(workflow("w", vec![manual("a")])).await.expect("legal");
    let renamed = |name: &str, expected| WorkflowChange {
        name: Some(name.to_owned()),
        expected_revision: expected,
        ..change("w")
    };
    engine.update_workflow(renamed("one", Some(1))).await.expect("the newest");

    let late =
        engine.update_workflow(renamed("two", Some(1))).await.expect_err("another came first");
    let mut step = manual("a");
    step.dependencies = vec!["nowhere".parse().expect("legal")];
    step.validation = Some("unit-tsets".parse().expect("legal"));
    let broken = WorkflowChange { steps: Some(vec![step]), ..change("w") };
    let broken = engine.update_workflow(broken).await.expect_err("two rules are broken");
    let unknown = engine.update_workflow(change("v")).await.expect_err("there is none");

    let late = late.to_string();
    assert!(late.contains("is at revision 2") && late.contains("expected_revision: 2"), "{late}");
    assert!(broken.to_string().contains("breaks 2 rules"), "{broken}");
    assert!(unknown.to_string().contains("there is no workflow `v`"), "{unknown}");
    assert_eq!(engine.workflow("w", None).await.expect("it exists").revision, 2);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_made_at_the_same_time_are_all_kept_and_a_key_makes_one() {
    let place = place();
    let engine = open(&place).await;
    engine.create_workflow(workflow("w", vec![manual("a")])).await.expect("legal");

    let mut changing = tokio::task::JoinSet::new();
    for number in 0..8 {
        let engine = engine.clone();
        let name = Some(format!("name {number}"));
        changing.spawn(async move {
            engine.update_workflow(WorkflowChange { name, ..change("w") }).await
        });
    }
    let changed = changing.join_all().await;
    let keyed = |name: &str| WorkflowChange {
        name: Some(name.to_owned()),
        idempotency_key: Some("once".to_owned()),
        ..change("w")
    };
    let first = engine.update_workflow(keyed("keyed")).await.expect("legal");
    engine
        .update_workflow(WorkflowChange { name: Some("later".into()), ..change("w") })
        .await
        .expect("legal");
    let second = engine.update_workflow(keyed("keyed")).await.expect("the same request");
    let other = engine.update_workflow(keyed("other")).await.expect_err("another request");
    let nothing = |key: &str| WorkflowChange {
        name: Some("later".to_owned()),
        idempotency_key: Some(key.to_owned()),
        ..change("w")
    };
    let unchanged = engine.update_workflow(nothing("no-op")).await.expect("legal");
    engine
        .update_workflow(WorkflowChange { name: Some("last".into()), ..change("w") })
        .await
        .expect("legal");
    let still = engine.update_workflow(nothing("no-op")).await.expect("the same request");

    let mut revisions: Vec<u32> =
        changed.into_iter().map(|changed| changed.expect("legal").revision).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(first, second);
    assert!(other.to_string().contains("`once` was used for another request"), "{other}");
    assert_eq!(unchanged, still, "an answer that nothing changed is kept as well");
    assert_eq!(engine.workflow("w", None).await.expect("it exists").name, "last");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_archive_keeps_what_cannot_be_executed_and_gives_it_back_as_it_was() {
    let place = place();
    let engine = open(&place).await;
    engine.create_workflow(workflow("w", vec![manual("a")])).await.expect("legal");
    let draft = NewWorkflow { status: DefinitionStatus::Draft, ..workflow("d", vec![]) };
    engine.create_workflow(draft).await.expect("legal");
    let id = engine.execute(run("w")).await.expect("it starts").execution.id().to_string();

    let archived = engine.archive_workflow("w", true, "bob".to_owned()).await.expect("it is there");
    let again = engine.archive_workflow("w", true, "bob".to_owned()).await.expect("it is there");
    let refused = engine.execute(run("w")).await.expect_err("it is archived");
    let renamed = WorkflowChange { name: Some("still changed".into()), ..change("w") };
    engine.update_workflow(renamed).await.expect("what is archived can be written on");
    let back = engine.archive_workflow("w", false, "bob".to_owned()).await.expect("it is there");
    engine.archive_workflow("d", true, "bob".to_owned()).await.expect("it is there");
    let draft = engine.archive_workflow("d", false, "bob".to_owned()).await.expect("it is there");

    assert_eq!((archived.status, archived.changed), (DefinitionStatus::Archived, true));
    assert!(archived.open_executions, "what has begun goes on");
    assert_eq!((again.revision, again.changed), (archived.revision, false));
    assert!(refused.to_string().contains("is archived and cannot be executed"), "{refused}");
    assert!(refused.to_string().contains("archived: false"), "{refused}");
    assert_eq!((back.status, back.changed), (DefinitionStatus::Active, true));
    assert_eq!(draft.status, DefinitionStatus::Draft);
    let open = engine.execution(&id, Patience::default()).await.expect("it exists");
    assert_eq!(open.execution.status(), ExecutionStatus::Paused);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workflows_are_listed_by_how_their_last_execution_stands() {
    let place = place();
    let engine = open(&place).await;
    for number in 0..6 {
        let id = format!("w{number}");
        engine.create_workflow(workflow(&id, vec![manual("a")])).await.expect("legal");
        let started = engine.execute(run(&id)).await.expect("it starts");
        if number % 2 == 0 {
            let id = started.execution.id().as_str();
            engine
                .control(id, Control::Cancel, "ann".to_owned(), String::new())
                .await
                .expect("it is open");
            wait_for(&engine, id, |snapshot| snapshot.execution.head().end.is_some()).await;
        }
    }
    let filter = WorkflowFilter {
        last_execution: Some(ExecutionStatus::Cancelled),
        ..WorkflowFilter::default()
    };

    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = PageRequest { limit: 2, cursor };
        let listed = engine.list_workflows(filter.clone(), page).await.expect("it lists");
        seen.extend(listed.items.into_iter().map(|row| row.workflow_id));
        cursor = listed.next_cursor;
        if cursor.is_none() {
            break;
        }
    }

    assert_eq!(seen, ["w4", "w2", "w0"], "pages are full as long as there is something");
    engine.close().await;
}

/// Two machines whose work never ends by itself.
#[derive(Debug)]
struct Patient;

impl Fabric for Patient {
    fn machines(&self) -> Vec<MachineInfo> {
        ["east", "west"]
            .map(|name| MachineInfo {
                id: name.parse().expect("legal"),
                aliases: vec![format!("{name}-alias").parse().expect("legal")],
                labels: BTreeMap::from([("zone".to_owned(), name.to_owned())]),
                state: MachineState::Online,
                running: 0,
                waiting: 0,
                capacity: 4,
            })
            .to_vec()
    }

    fn canonical(&self, machine: &MachineId) -> Option<MachineId> {
        let machines = self.machines();
        machines
            .into_iter()
            .find(|known| known.id == *machine || known.aliases.contains(machine))
            .map(|known| known.id)
    }

    fn run<'a>(
        &'a self,
        _: &'a MachineId,
        _: &'a TaskSpec,
        cancel: CancellationToken,
    ) -> Pending<'a, TaskOutcome> {
        Box::pin(async move {
            cancel.cancelled().await;
            let failure = TaskFailure {
                class: FailureClass::Permanent,
                code: "cancelled".to_owned(),
                message: "was cancelled".to_owned(),
                hint: None,
            };
            TaskOutcome {
                status: OutcomeStatus::Cancelled,
                ..TaskOutcome::not_started(caelum_core::clock::Timestamp::EPOCH, failure)
            }
        })
    }

    fn probe<'a>(&'a self, _: &'a MachineId, _: &'a Probe) -> Pending<'a, ProbeAnswer> {
        unreachable!("tasks have no probes")
    }

    fn output_so_far(&self, _: &IdempotencyKey) -> Option<OutputSoFar> {
        None
    }
}

async fn on_two_machines(place: &TempDir) -> (Engine, String) {
    let mut options = EngineOptions::new(place.path().join("data"), place.path().to_owned());
    options.fabric = Some(Arc::new(Patient));
    let engine = Engine::open(options).await.expect("it opens");
    let new = NewTask {
        name: "for ever".to_owned(),
        command: CommandSpec { program: "sleep".to_owned(), ..CommandSpec::default() },
        target_machines: vec!["all".to_owned()],
        strategy: Strategy::default(),
        timeout_s: None,
        retry: None,
        idempotent: true,
        by: "ann".to_owned(),
        idempotency_key: None,
    };
    let id = engine.distribute_task(new).await.expect("it starts").execution.id().to_string();
    wait_for(&engine, &id, |snapshot| phases(snapshot) == [TargetPhase::Running; 2]).await;
    (engine, id)
}

fn phases(snapshot: &Snapshot) -> Vec<TargetPhase> {
    snapshot.execution.step(0).targets.iter().map(|target| target.phase).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_task_is_cancelled_while_the_other_runs_and_the_last_one_ends_the_group() {
    let place = place();
    let (engine, id) = on_two_machines(&place).await;
    let cancel = async |task: String| {
        engine.cancel_task(&task, "bob".to_owned(), "enough".to_owned()).await.expect("it exists")
    };

    cancel(format!("{id}:west")).await;
    let one =
        wait_for(&engine, &id, |snapshot| phases(snapshot)[1] == TargetPhase::Cancelled).await;
    assert_eq!(phases(&one)[0], TargetPhase::Running);
    assert_eq!(one.execution.status(), ExecutionStatus::Executing);
    cancel(format!("{id}:west")).await;
    cancel(format!("{id}:east")).await;
    let ended = wait_for(&engine, &id, |snapshot| snapshot.execution.head().end.is_some()).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Cancelled);
    assert_eq!(phases(&ended), [TargetPhase::Cancelled; 2]);
    let (again, _) = cancel(id.clone()).await;
    assert_eq!(again.execution.status(), ExecutionStatus::Cancelled, "no mistake, no change");
    let unknown = engine.cancel_task(&format!("{id}:north"), "bob".into(), String::new()).await;
    assert!(unknown.expect_err("no such task").to_string().contains("there is no task"));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_group_is_cancelled_at_once_and_an_execution_is_no_task() {
    let place = place();
    let (engine, id) = on_two_machines(&place).await;
    engine.create_workflow(workflow("w", vec![manual("a")])).await.expect("legal");
    let execution = engine.execute(run("w")).await.expect("it starts").execution.id().to_string();

    engine.cancel_task(&id, "bob".to_owned(), String::new()).await.expect("it exists");
    let ended = wait_for(&engine, &id, |snapshot| snapshot.execution.head().end.is_some()).await;
    let refused = engine.cancel_task(&execution, "bob".to_owned(), String::new()).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Cancelled);
    let refused = refused.expect_err("it is an execution").to_string();
    assert!(refused.contains("control_execution"), "{refused}");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_are_listed_by_what_a_selection_stands_for() {
    let place = place();
    let (engine, _) = on_two_machines(&place).await;
    let names = |selector: Option<&str>| -> Vec<String> {
        let machines = engine.machines(selector).expect("known");
        machines.iter().map(|machine| machine.id.to_string()).collect()
    };

    assert_eq!(names(None), ["east", "west"]);
    assert_eq!(names(Some("all")), ["east", "west"]);
    assert_eq!(names(Some("any")), ["east"]);
    assert_eq!(names(Some("west-alias")), ["west"]);
    assert_eq!(names(Some("label:zone=west")), ["west"]);
    let unknown = engine.machines(Some("esat")).expect_err("no such machine").to_string();
    assert!(unknown.contains("did you mean `east`?"), "{unknown}");
    engine.close().await;
}
