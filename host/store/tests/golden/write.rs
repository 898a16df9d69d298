//! Writes a file with something of everything that can be stored.

use std::path::Path;
use std::sync::Arc;

use caelum_core::evidence::{Review, ReviewDecision, VerdictKind, WorkReport};
use caelum_core::id::Digest;
use caelum_core::pattern::{ApplicationStatus, Ownership, Risk};
use caelum_core::plugin::PluginKind;
use caelum_core::task::{FailureClass, OutcomeStatus, Output};
use caelum_core::workflow::command::Control;
use caelum_core::workflow::{DefinitionStatus, EventBody, Step, WorkflowDefinition};
use caelum_store::{
    ApplicationRecord, ExecutionKind, ExecutionLink, FileChange, FileRecord, IdempotencyEntry,
    IfExists, Store, StoreOptions,
};
use serde_json::{Map, Value, json};

use crate::harness::{Run, at, definition, id, outcome, plugin};

/// Steps with every field and every action, as they are stored.
fn everything() -> Vec<Step> {
    let steps = json!([
        {
            "id": "build", "name": "Build it", "type": "development",
            "action": {"kind": "command", "program": "make", "args": ["-j", "{{ parameters.jobs }}"],
                       "cwd": "service", "env": {"TAG": "v7"}, "stdin": "yes", "shell": false,
                       "collect": ["out/*.xml"], "outputs": "out.json"},
            "target_machines": ["m1", "m2", "m3"],
            "strategy": {"kind": "sequential", "continue_on_failure": true},
            "estimated_duration": 3, "parameters": {"level": 3},
            "retry": {"attempts": 3, "initial_ms": 1000, "factor": 2.0, "max_ms": 60000,
                      "jitter": false, "on": ["transient", "exit"]},
            "timeout_s": 30, "queue_timeout_s": 60, "total_timeout_s": 600,
            "heartbeat_timeout_s": 15, "on_failure": "continue", "idempotent": false,
        },
        {
            "id": "announce", "name": "announce", "type": "integration", "dependencies": ["build"],
            "action": {"kind": "http", "method": "POST", "url": "http://localhost/x",
                       "headers": {"a": "b"}, "body": {"tag": "v7"},
                       "expect": {"status": [201], "contains": "ok", "json": {"ok": true}}},
            "when": "parameters.environment == 'test'", "on_failure": "skip_dependents",
        },
        {
            "id": "call", "name": "call", "type": "integration", "dependencies": ["build"],
            "action": {"kind": "tool", "server": "tracker", "tool": "create_issue",
                       "arguments": {"title": "t"}},
        },
        {
            "id": "improve", "name": "improve", "type": "development", "dependencies": ["call"],
            "action": {"kind": "pattern", "pattern": "health-check", "target": "shop",
                       "parameters": {"port": 8080}, "dry_run": false, "allow_review_edits": true},
        },
        {
            "id": "child", "name": "child", "type": "deployment", "dependencies": ["improve"],
            "action": {"kind": "workflow", "workflow_id": "leaf", "revision": 1,
                       "parameters": {"tag": "v7"}},
        },
        {
            "id": "sign", "name": "sign", "type": "validation", "dependencies": ["announce"],
            "action": {"kind": "manual", "instructions": "sign it"},
            "enforcement": "before", "enforcement_parameters": {"strict": true},
            "validation": "after", "validation_parameters": {"files": ["a"]},
            "probes": [
                {"name": "web", "kind": {"kind": "http", "url": "http://localhost/health"}, "timeout_ms": 500},
                {"name": "port", "kind": {"kind": "port", "port": 8113, "service": "x"}, "timeout_ms": 500},
            ],
            "review": {"approvals": 2, "reviewers": ["ann", "bob"], "deadline_s": 60,
                       "on_timeout": "escalate", "escalate_to": ["lead"]},
            "on_validator_error": "warn",
        },
    ]);
    serde_json::from_value(steps).expect("what is stored can be read")
}

fn steps(steps: Value) -> Vec<Step> {
    serde_json::from_value(steps).expect("what is stored can be read")
}

fn program(id: &str, after: &[&str]) -> Value {
    json!({"id": id, "name": id, "type": "development", "dependencies": after,
           "action": {"kind": "command", "program": "true"}})
}

/// Writes the file. Everything in it is the same each time.
pub(crate) async fn write(directory: &Path) {
    let store = Store::open(StoreOptions {
        // Small, so that a small file has blobs in it.
        blob_bytes_min: 2_048,
        ..StoreOptions::new(directory)
    })
    .expect("opens");
    workflows(&store).await;
    of_everything(&store).await;
    by_hand(&store).await;
    ended(&store).await;
    unknown(&store).await;
    applications(&store).await;
    store.set_setting("greeting", &json!({"text": "hello"})).await.expect("set");
    store.close().await;
}

async fn workflows(store: &Store) {
    let key = |key: &str| IdempotencyEntry {
        scope: "create_workflow".into(),
        key: key.into(),
        request_digest: format!("request {key}"),
        answer: json!({"workflow_id": "everything", "revision": 1}),
        at: at(1),
    };
    let mut all = definition("everything", everything());
    all.name = "Everything".into();
    all.description = "every field".into();
    all.pattern = "active-port-management".into();
    all.parameters_schema =
        Some(json!({"type": "object", "properties": {"jobs": {"type": "integer"}}}));
    all.metadata = Map::from_iter([("team".to_owned(), json!({"name": "core"}))]);
    store.create_definition(all.clone(), IfExists::Error, Some(key("k1"))).await.expect("new");
    all.steps.truncate(3);
    store.create_definition(all, IfExists::NewRevision, None).await.expect("a revision");
    for (name, status) in [
        ("leaf", DefinitionStatus::Active),
        ("draft", DefinitionStatus::Draft),
        ("old", DefinitionStatus::Archived),
    ] {
        let leaf = WorkflowDefinition {
            status,
            ..definition(name, steps(json!([program("a", &[]), program("b", &["a"])])))
        };
        store.create_definition(leaf, IfExists::Error, None).await.expect("new");
    }
    store.create_definition(definition("empty", vec![]), IfExists::Error, None).await.expect("new");
}

/// A run of the workflow with everything in it, open in its middle, with a late report and a large value.
async fn of_everything(store: &Store) {
    let mut run = Run::new("ex_everything", Arc::new(definition("everything", everything())));
    run.create(store).await;
    run.wait(5);
    run.report(0, 0, outcome(OutcomeStatus::Failed, FailureClass::Exit));
    run.save(store).await.expect("saved");
    let mut large = outcome(OutcomeStatus::Succeeded, FailureClass::Exit);
    let text = "one line of much output\n".repeat(85);
    large.stdout = Output { total_bytes: text.len() as u64, text, truncated: true };
    large.outputs = Map::from_iter([("tag".to_owned(), "v7".into())]);
    run.report(0, 1, large);
    run.report(0, 2, outcome(OutcomeStatus::Succeeded, FailureClass::Exit));
    run.save(store).await.expect("saved");
    let late: EventBody = serde_json::from_value(json!({
        "type": "late_report", "step": "build", "attempt": 1, "machine": "m1", "epoch": 1,
        "status": "succeeded",
    }))
    .expect("an event as it is stored");
    run.record(late);
    run.wait(60);
    run.save(store).await.expect("saved");

    let mut whole = Run::new(
        "ex_leaf",
        Arc::new(definition("leaf", steps(json!([program("a", &[]), program("b", &["a"])])))),
    );
    whole.create(store).await;
    whole.succeed_all();
    whole.save(store).await.expect("saved");
    let mut again = Run::begin("ex_leaf_open", Arc::clone(whole.execution.definition()), 100);
    again.create(store).await;
    again.succeed_one();
    again.save(store).await.expect("saved");
    let parent = json!({"execution": "ex_everything", "step": "child", "attempt": 1, "depth": 1});
    let parent = serde_json::from_value(parent).expect("a parent as it is stored");
    let mut child =
        Run::start("ex_child", Arc::clone(whole.execution.definition()), 0, Some(parent));
    child.create(store).await;
    let mut group = Run::new(
        "tg_1",
        Arc::new(definition(
            "task-group-task",
            steps(json!([
                {"id": "task", "name": "disk space", "type": "integration", "target_machines": ["m1", "m2"],
                 "action": {"kind": "command", "program": "df"}}
            ])),
        )),
    );
    let new = group.new_execution(ExecutionKind::TaskGroup);
    let key = IdempotencyEntry {
        scope: "distribute_task".into(),
        key: "k2".into(),
        request_digest: "request k2".into(),
        answer: json!({"execution_id": "tg_1"}),
        at: at(2),
    };
    store.create_execution(new, Some(key)).await.expect("new");
    group.succeed_one();
    group.save(store).await.expect("saved");
}

fn gated(review: Value) -> Vec<Step> {
    steps(json!([
        {"id": "sign", "name": "sign", "type": "validation", "action": {"kind": "manual", "instructions": "sign it"},
         "enforcement": "both", "validation": "after", "review": review, "on_validator_error": "warn"},
        program("after", &["sign"]),
    ]))
}

fn reviewed(run: &mut Run, reviewer: &str, decision: ReviewDecision) {
    let review = Review {
        reviewer: reviewer.into(),
        decision,
        reason: "read it".into(),
        at: at(run.seconds),
        subject_digest: Digest::from_bytes(&[1; 32]),
    };
    let body = run.execution.review("sign", review).expect("it waits for a review");
    run.record(body);
}

fn report_work(run: &mut Run) {
    let report = WorkReport {
        performer: "cid".into(),
        succeeded: true,
        summary: "signed".into(),
        outputs: Map::from_iter([("page".to_owned(), 7.into())]),
        files: vec![],
    };
    let body = run.execution.complete_step("sign", report).expect("it waits for work");
    run.record(body);
}

/// Work and reviews by hand, each run left at another place.
async fn by_hand(store: &Store) {
    let escalates = json!({"approvals": 2, "deadline_s": 60, "on_timeout": "escalate", "escalate_to": ["lead"]});
    for (name, places) in [
        ("ex_work", 0),
        ("ex_review", 1),
        ("ex_escalated", 2),
        ("ex_approved", 3),
        ("ex_rejected", 4),
    ] {
        let mut run = Run::new(name, Arc::new(definition("by-hand", gated(escalates.clone()))));
        run.create(store).await;
        run.judge(0, VerdictKind::Pass, "");
        if places > 0 {
            report_work(&mut run);
            run.judge(0, VerdictKind::NeedsReview, "needs_eyes");
        }
        if places == 2 {
            run.wait(61);
        }
        if places >= 3 {
            let decision =
                if places == 3 { ReviewDecision::Approved } else { ReviewDecision::Rejected };
            reviewed(&mut run, "ann", decision);
            run.judge(
                0,
                if places == 3 { VerdictKind::Pass } else { VerdictKind::Fail },
                "reviewed",
            );
        }
        run.save(store).await.expect("saved");
    }
}

/// Runs that ended, in every way, and one that somebody paused.
async fn ended(store: &Store) {
    let control = |run: &mut Run, control: &Control| {
        let body = run.execution.control(control, "ann".into(), "because".into());
        run.record(body.expect("allowed").expect("something to do"));
    };
    let mut skips = program("broken", &[]);
    skips["on_failure"] = json!("skip_dependents");
    let mut never = program("never", &[]);
    never["when"] = json!("1 > 2");
    let several = steps(json!([
        skips, program("after", &["broken"]), never,
        {"id": "wide", "name": "wide", "type": "development", "target_machines": ["m1", "m2", "m3"],
         "strategy": {"kind": "sequential"}, "on_failure": "continue",
         "action": {"kind": "command", "program": "true"}},
    ]));
    let mut failed = Run::new("ex_failed", Arc::new(definition("several", several)));
    failed.create(store).await;
    failed.report(0, 0, outcome(OutcomeStatus::Failed, FailureClass::Permanent));
    failed.report(3, 0, outcome(OutcomeStatus::Failed, FailureClass::Permanent));
    failed.save(store).await.expect("saved");
    let mut retried = Run::new("ex_retried", Arc::clone(failed.execution.definition()));
    retried.create(store).await;
    retried.report(0, 0, outcome(OutcomeStatus::TimedOut, FailureClass::Transient));
    retried.wait(120);
    retried.report(0, 0, outcome(OutcomeStatus::Failed, FailureClass::Permanent));
    retried.report(3, 0, outcome(OutcomeStatus::Failed, FailureClass::Permanent));
    control(&mut retried, &Control::RetryFailed);
    retried.save(store).await.expect("saved");

    let chain =
        || Arc::new(definition("leaf", steps(json!([program("a", &[]), program("b", &["a"])]))));
    let mut paused = Run::new("ex_paused", chain());
    paused.create(store).await;
    control(&mut paused, &Control::Pause);
    control(&mut paused, &Control::Resume);
    control(&mut paused, &Control::Pause);
    paused.save(store).await.expect("saved");
    let mut cancelled = Run::new("ex_cancelled", chain());
    cancelled.create(store).await;
    control(&mut cancelled, &Control::Cancel);
    cancelled.report(0, 0, outcome(OutcomeStatus::Cancelled, FailureClass::Permanent));
    cancelled.save(store).await.expect("saved");
    let mut cancelling = Run::new("ex_cancelling", chain());
    cancelling.create(store).await;
    control(&mut cancelling, &Control::Cancel);
    cancelling.save(store).await.expect("saved");
    let mut slow = program("slow", &[]);
    slow["total_timeout_s"] = json!(10);
    let mut late = Run::new("ex_too_slow", Arc::new(definition("slow", steps(json!([slow])))));
    late.create(store).await;
    late.wait(11);
    late.save(store).await.expect("saved");
}

/// A run whose outcome nobody knows, and one where somebody has said.
async fn unknown(store: &Store) {
    let mut once = program("once", &[]);
    once["idempotent"] = json!(false);
    let once = steps(json!([once, program("after", &["once"])]));
    for name in ["ex_unknown", "ex_decided"] {
        let mut run = Run::new(name, Arc::new(definition("once", once.clone())));
        run.create(store).await;
        for body in caelum_core::workflow::recover(&run.execution).record {
            run.record(body);
        }
        if name == "ex_decided" {
            let bodies: Vec<EventBody> = run
                .execution
                .decide("once", None, "ann".into(), "the log says nothing".into())
                .expect("it waits for a decision");
            bodies.into_iter().for_each(|body| run.record(body));
        }
        run.save(store).await.expect("saved");
    }
}

async fn applications(store: &Store) {
    for plan in ["pl_1", "pl_2"] {
        let body = json!({"pattern": "health-check", "edits": []});
        store.save_plan(&id(plan), &body, at(9)).await.expect("saved");
    }
    let statuses = [
        ApplicationStatus::Applied,
        ApplicationStatus::Unchanged,
        ApplicationStatus::Blocked,
        ApplicationStatus::Planned,
        ApplicationStatus::Conflict,
        ApplicationStatus::NonConvergent,
        ApplicationStatus::Reverted,
    ];
    for (place, status) in (1..).zip(statuses) {
        let record = ApplicationRecord {
            id: id(&format!("ap_{place}")),
            pattern: plugin("health-check", PluginKind::Pattern, &[]),
            component: "shop".into(),
            directory: "/srv/shop".into(),
            status,
            applied_at: at(10 + place),
            changed_at: at(20 + place),
            parameters: Map::from_iter([("port".to_owned(), 8080.into())]),
            summary: "adds a health check".into(),
            diff: "--- a\n+++ b\n".into(),
            findings_before: vec![],
            findings_after: vec![],
            next_steps: vec![],
            validation_results: vec!["1 finding before, 0 after".into()],
            files: vec![FileRecord {
                path: "compose.yaml".into(),
                change: FileChange::Replaced,
                renamed_from: None,
                before: Some(Digest::from_bytes(&[1; 32])),
                after: Some(Digest::from_bytes(&[2; 32])),
                ownership: Ownership::Block,
                risk: Risk::Safe,
            }],
            plan_id: (place == 1).then(|| id("pl_2")),
            execution: Some(ExecutionLink {
                execution: id("ex_everything"),
                step: id("improve"),
                attempt: 1,
            }),
            performed_by: "ann".into(),
        };
        store.save_application(&record, None).await.expect("saved");
    }
}
