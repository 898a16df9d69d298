//! From a definition to a completed execution: steps that programs do and steps that people do, what is refused at
//! creation, and what an execution can be told.

use caelum_tests::{Witness, until};
use serde_json::{Value, json};

use crate::{home, step, words};

/// A step that runs a line of shell.
fn shell(id: &str, line: &str, dependencies: &[&str]) -> Value {
    json!({
        "id": id, "type": "development", "dependencies": dependencies,
        "action": {"kind": "command", "shell": true, "program": line},
    })
}

#[tokio::test]
async fn a_workflow_is_created_executed_worked_on_reviewed_and_completed() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let steps = json!([
        shell("build", "echo '{\"tag\": \"v1.4.0\"}'", &[]),
        {
            "id": "announce", "name": "Announce the release", "type": "deployment",
            "dependencies": ["build"], "validation": "manual-review",
            "action": {"kind": "manual", "instructions": "announce {{ steps.build.outputs.tag }}"},
        },
        shell("archive", "echo archived", &["announce"]),
    ]);

    let created = client.create("release", steps).await;
    let execution = client.execute("release").await;
    let waiting = client.settled(&execution).await;

    assert_eq!((&created["status"], &created["revision"]), (&json!("success"), &json!(1)));
    assert_eq!(waiting["status"], "paused");
    assert_eq!(words(&waiting["completed_steps"]), ["build"]);
    assert_eq!(waiting["current_step"], "announce");
    assert_eq!(waiting["progress"]["total"], 3);
    let asked = &waiting["waiting_for"][0];
    assert_eq!((&asked["step_id"], &asked["kind"]), (&json!("announce"), &json!("work")));
    assert_eq!(asked["instructions"], "announce v1.4.0");
    assert_eq!(asked["next_call"]["tool"], "complete_step");

    let mut report = asked["next_call"]["arguments"].clone();
    report["performer"] = json!("ada");
    report["summary"] = json!("sent the mail");
    let reported = client.ok("complete_step", report).await;

    assert_eq!(reported["step"]["phase"], "awaiting_review");
    let asked = &reported["waiting_for"][0];
    assert_eq!(
        (&asked["kind"], &asked["next_call"]["tool"]),
        (&json!("review"), &json!("review_step"))
    );

    let mut review = asked["next_call"]["arguments"].clone();
    review["reviewer"] = json!("ada");
    let own = client.refused("review_step", review.clone()).await;
    assert!(own.contains("ada"), "whoever did the work may not review it: {own}");
    review["reviewer"] = json!("grace");
    client.ok("review_step", review).await;
    let done = client.ended(&execution, "completed").await;

    assert_eq!(words(&done["completed_steps"]), ["build", "announce", "archive"]);
    assert_eq!(done["failed_steps"], json!([]));
    assert_eq!(done["progress"], json!({"done": 3, "total": 3, "percent": 100.0}));
    assert_eq!(step(&done, "announce")["performer"], "ada");
    assert_eq!(step(&done, "announce")["gates"][0]["verdict"], "pass");
    assert_eq!(done["waiting_for"], json!([]));
}

#[tokio::test]
async fn a_long_poll_answers_when_something_happens_and_not_before() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    client.create("wait", json!([{"id": "work", "type": "development"}])).await;
    let execution = client.execute("wait").await;
    let seen = client.settled(&execution).await["event_count"].clone();

    let poll = client.clone();
    let arguments = json!({"execution_id": execution, "wait_s": 30, "after_event": seen});
    let polling = tokio::spawn(async move { poll.ok("get_workflow_status", arguments).await });
    // Another call on the same connection is answered while the poll waits.
    client.ok("list_workflows", json!({})).await;
    assert!(!polling.is_finished(), "nothing has happened, and the poll has answered");
    let report = json!({"execution_id": execution, "step_id": "work", "summary": "done"});
    client.ok("complete_step", report).await;
    let answer = caelum_tests::soon("the poll to answer", polling).await.expect("a good answer");

    assert!(answer["event_count"].as_u64() > seen.as_u64(), "{answer:#}");
}

#[tokio::test]
async fn all_faults_of_a_definition_are_named_at_once() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let steps = json!([
        {"id": "a", "type": "development", "dependencies": ["c"]},
        {"id": "b", "type": "development", "dependencies": ["a"]},
        {"id": "c", "type": "development", "dependencies": ["b"]},
        {"id": "same", "type": "validation", "validation": "unit-test"},
        {"id": "same", "type": "validation", "enforcement": "no-such-thing"},
        {"id": "lost", "type": "validation", "dependencies": ["smae"]},
        {"id": "self", "type": "validation", "dependencies": ["self"]},
        {
            "id": "template", "type": "deployment", "when": "parameters.",
            "action": {"kind": "command", "program": "echo", "args": ["{{ parameters.x"]},
        },
    ]);

    let refused =
        client.refused("create_workflow", json!({"workflow_id": "bad", "steps": steps})).await;

    for fault in [
        "invalid_definition",
        "/steps: the steps wait for each other in a cycle: a → b → c → a",
        "/steps/4/id: `same` is the id of step 3 already",
        "/steps/3/validation: step `same` names the validator `unit-test`, which is not installed",
        "unit-tests",
        "/steps/4/enforcement: step `same` names the validator `no-such-thing`",
        "/steps/5/dependencies/0: step `lost` depends on `smae`, which does not exist",
        "/steps/6/dependencies/0: step `self` depends on itself",
        "/steps/7/when",
        "/steps/7/action/args/0",
    ] {
        assert!(refused.contains(fault), "`{fault}` is not in:\n{refused}");
    }
    let unknown = client.refused("get_workflow", json!({"workflow_id": "bad"})).await;
    assert!(unknown.contains("unknown_workflow"), "nothing was stored: {unknown}");
}

#[tokio::test]
async fn ten_thousand_steps_are_taken_and_one_more_is_refused() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let steps = |count: usize| -> Vec<Value> {
        (0..count).map(|index| json!({"id": format!("s{index}"), "type": "validation"})).collect()
    };

    let created = client.create("large", json!(steps(10_000))).await;
    let refused = client
        .refused("create_workflow", json!({"workflow_id": "larger", "steps": steps(10_001)}))
        .await;

    assert_eq!(created["status"], "success");
    assert!(refused.contains("10001") || refused.contains("10,001"), "{refused}");
    assert!(refused.contains("10000") || refused.contains("10,000"), "{refused}");
    let read = client.ok("get_workflow", json!({"workflow_id": "large"})).await;
    assert_eq!(read["steps_total"], 10_000);
    assert!(read["next_from_step"].is_number(), "a long definition comes in parts");
}

#[tokio::test]
async fn an_empty_workflow_is_taken_and_completes() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;

    client.create("empty", json!([])).await;
    let execution = client.execute("empty").await;
    let done = client.ended(&execution, "completed").await;

    assert_eq!(done["progress"]["total"], 0);
}

#[tokio::test]
async fn steps_wait_for_what_they_depend_on_and_a_failure_stops_what_comes_after() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let witness = Witness::new(home.path().join("witness"));
    let act = |id: &str, dependencies: &[&str]| {
        json!({
            "id": id, "type": "development", "dependencies": dependencies,
            "action": witness.action(id, 0),
        })
    };
    let steps = json!([
        act("last", &["left", "right"]),
        act("left", &["first"]),
        act("right", &["first"]),
        act("first", &[]),
        shell("fails", "echo no space left >&2; exit 3", &["last"]),
        act("never", &["fails"]),
    ]);

    client.create("diamond", steps).await;
    let execution = client.execute("diamond").await;
    let failed = client.ended(&execution, "failed").await;

    let words = witness.words();
    assert_eq!((words.len(), &*words[0], &*words[3]), (4, "first", "last"), "{words:?}");
    assert_eq!(failed["failed_steps"], json!(["fails"]));
    assert_eq!(failed["failure"]["step_id"], "fails");
    assert_eq!(failed["failure"]["failure"]["class"], "exit");
    assert_eq!(failed["failure"]["output"], "no space left");
    assert_ne!(step(&failed, "never")["status"], "completed");
    assert_eq!(step(&failed, "fails")["machines"][0]["exit_code"], 3);
}

#[tokio::test]
async fn parameters_are_checked_and_reach_the_steps_and_conditions() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let steps = json!([
        {
            "id": "greet", "type": "development", "parameters": {"mark": "!"},
            "action": {"kind": "command", "program": "echo",
                       "args": ["hello {{ parameters.name }}{{ step.parameters.mark }}"]},
        },
        {
            "id": "deploy", "type": "deployment", "when": "parameters.deploy",
            "action": {"kind": "command", "program": "true"},
        },
    ]);
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "deploy": {"type": "boolean", "default": false},
        },
    });
    let workflow = json!({"workflow_id": "greeting", "steps": steps, "parameters_schema": schema});
    client.ok("create_workflow", workflow).await;

    let arguments = json!({"workflow_id": "greeting", "parameters": {"nmae": 1}});
    let refused = client.refused("execute_workflow", arguments).await;
    let arguments =
        json!({"workflow_id": "greeting", "parameters": {"name": "world; rm -rf $HOME `id`"}});
    let execution = client.execute_with(arguments).await;
    let done = client.ended(&execution, "completed").await;

    assert!(refused.contains("name") && refused.contains("nmae"), "{refused}");
    assert_eq!(done["parameters"]["deploy"], false, "the default is filled in");
    assert_eq!(step(&done, "deploy")["status"], "skipped");
    let arguments = json!({"execution_id": execution, "detail": "full"});
    let full = client.ok("get_workflow_status", arguments).await;
    let said = &step(&full, "greet")["machines"][0]["stdout"]["text"];
    assert_eq!(said, "hello world; rm -rf $HOME `id`!\n", "an argument is never code");
}

#[tokio::test]
async fn a_revision_changes_nothing_for_executions_that_run() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    client.create("moving", json!([{"id": "old", "type": "development"}])).await;
    let execution = client.execute("moving").await;

    let steps = json!([{"id": "new", "type": "development"}]);
    let exists =
        client.refused("create_workflow", json!({"workflow_id": "moving", "steps": steps})).await;
    let arguments = json!({"workflow_id": "moving", "steps": steps, "if_exists": "new_revision"});
    let created = client.ok("create_workflow", arguments).await;
    let status = client.settled(&execution).await;

    assert!(exists.contains("workflow_exists"), "{exists}");
    assert_eq!(created["revision"], 2);
    assert_eq!((&status["revision"], &status["steps"][0]["id"]), (&json!(1), &json!("old")));
    let newest = client.ok("get_workflow", json!({"workflow_id": "moving"})).await;
    let first = client.ok("get_workflow", json!({"workflow_id": "moving", "revision": 1})).await;
    assert_eq!(
        (&newest["steps"][0]["id"], &first["steps"][0]["id"]),
        (&json!("new"), &json!("old"))
    );
}

#[tokio::test]
async fn the_same_key_never_starts_a_second_run() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    client.create("once", json!([{"id": "work", "type": "development"}])).await;
    let arguments = json!({"workflow_id": "once", "idempotency_key": "monday"});

    let calls = (0..8).map(|_| client.execute_with(arguments.clone()));
    let ids = futures::future::join_all(calls).await;

    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let listed = client.ok("list_executions", json!({"workflow_id": "once"})).await;
    assert_eq!(listed["executions"].as_array().map(Vec::len), Some(1));
    let other = json!({"workflow_id": "once", "idempotency_key": "monday", "parameters": {"x": 1}});
    let refused = client.refused("execute_workflow", other).await;
    assert!(refused.contains("monday") || refused.contains("idempotency"), "{refused}");
}

#[tokio::test]
async fn pausing_stops_what_would_begin_and_resuming_lets_it_go_on() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let gate = home.root().join("go");
    let line = format!("until test -e {}; do sleep 0.02; done", gate.display());
    let steps = json!([shell("first", &line, &[]), shell("second", "true", &["first"])]);
    client.create("pausing", steps).await;
    let execution = client.execute("pausing").await;

    let pause =
        json!({"execution_id": execution, "action": "pause", "by": "ada", "reason": "lunch"});
    client.ok("control_execution", pause).await;
    std::fs::write(&gate, "").expect("a file can be written");
    let first_done = |status: &Value| step(status, "first")["status"] == "completed";
    let paused = client.wait_for(&execution, "to finish its first step", first_done).await;

    assert_eq!(paused["status"], "paused", "what runs may end, and nothing new begins: {paused:#}");
    assert_eq!(step(&paused, "second")["status"], "pending");
    assert!(
        paused["paused_by"].as_str().is_some_and(|by| by.contains("ada") && by.contains("lunch"))
    );

    client.ok("control_execution", json!({"execution_id": execution, "action": "resume"})).await;
    client.ended(&execution, "completed").await;
}

#[tokio::test]
async fn cancelling_ends_the_whole_process_group_of_a_running_command() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let pids = home.root().join("pids");
    // The program and a child of it, both deaf to a polite word.
    let line = format!(
        "trap '' TERM; (trap '' TERM; exec sleep 600) & echo $$ $! > {}.part; mv {}.part {}; sleep 600",
        pids.display(),
        pids.display(),
        pids.display()
    );
    let steps = json!([shell("stubborn", &line, &[]), shell("after", "true", &["stubborn"])]);
    client.create("cancelling", steps).await;
    let execution = client.execute("cancelling").await;
    let text = until("the program to run", || std::fs::read_to_string(&pids).ok()).await;

    client.ok("control_execution", json!({"execution_id": execution, "action": "cancel"})).await;
    let ended = client.ended(&execution, "cancelled").await;

    assert_eq!(step(&ended, "stubborn")["status"], "cancelled");
    assert_ne!(step(&ended, "after")["status"], "completed");
    for pid in text.split_whitespace() {
        until("the process to be gone", || is_gone(pid).then_some(())).await;
    }
}

/// Says whether a process does not run any more; one that nobody has waited for yet counts as gone.
fn is_gone(pid: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => true,
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')),
    }
}

#[tokio::test]
async fn a_dry_run_shows_the_order_and_the_gates_and_runs_nothing() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let witness = Witness::new(home.path().join("witness"));
    let steps = json!([
        {"id": "test", "type": "validation", "dependencies": ["build"], "validation": "unit-tests",
         "action": witness.action("test", 0)},
        {"id": "build", "type": "development", "action": witness.action("build", 0)},
    ]);
    client.create("dry", steps).await;

    let arguments = json!({"workflow_id": "dry", "dry_run": true, "target_machines": ["nowhere"]});
    let plan = client.ok("execute_workflow", arguments).await;

    assert_eq!((&plan["status"], &plan["execution_id"]), (&json!("dry_run"), &Value::Null));
    let order: Vec<&Value> = plan["plan"].as_array().expect("a plan").iter().collect();
    assert_eq!((&order[0]["id"], &order[1]["id"]), (&json!("build"), &json!("test")));
    assert_eq!((&order[0]["wave"], &order[1]["wave"]), (&json!(0), &json!(1)));
    assert!(order[1]["gates"].to_string().contains("unit-tests"));
    assert!(plan["problems"].to_string().contains("nowhere"), "{plan:#}");
    assert_eq!(witness.words(), [""; 0]);
    let listed = client.ok("list_executions", json!({})).await;
    assert_eq!(listed["executions"], json!([]));
}
