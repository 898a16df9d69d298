//! Tasks without a workflow: distributed, watched while they run, folded into results.

use caelum_tests::until;
use serde_json::{Value, json};

use crate::home;

#[tokio::test]
async fn a_task_is_distributed_watched_and_aggregated() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let go = home.root().join("go");
    let line = format!(
        "echo begun; until test -e {}; do sleep 0.02; done; echo '{{\"free_mb\": 512, \"kind\": \"disk\"}}'",
        go.display()
    );

    let arguments = json!({
        "task_definition": {"name": "disk space", "program": line, "shell": true},
        "target_machines": ["local"], "execution_strategy": "parallel",
    });
    let group = client.ok("distribute_task", arguments).await;
    let id = group["task_group_id"].as_str().expect("a group has an id").to_owned();
    let task = group["tasks"][0]["task_id"].as_str().expect("a task has an id").to_owned();

    assert_eq!(group["waves"].as_array().map(Vec::len), Some(1));
    assert_eq!(group["next_call"]["tool"], "get_task_status");
    let seen = async |id: &str, wait_s: u64| {
        client.ok("get_task_status", json!({"task_id": id, "wait_s": wait_s})).await
    };
    let mut so_far = seen(&task, 0).await;
    let end = tokio::time::Instant::now() + caelum_tests::PATIENCE;
    while so_far["tasks"][0]["stdout"]["text"] != "begun\n" {
        assert!(tokio::time::Instant::now() < end, "no output so far: {so_far:#}");
        so_far = seen(&task, 0).await;
    }
    assert_eq!(so_far["status"], "running", "{so_far:#}");
    let early = client.ok("aggregate_task_results", json!({"task_group_id": id})).await;
    assert_eq!((&early["complete"], &early["open"]), (&json!(false), &json!(1)));

    std::fs::write(&go, "").expect("a file can be written");
    let done = seen(&id, 30).await;
    let folded = client.ok("aggregate_task_results", json!({"task_group_id": id})).await;

    assert_eq!((&done["status"], &done["tasks"][0]["exit_code"]), (&json!("completed"), &json!(0)));
    assert_eq!(done["tasks"][0]["outputs"]["free_mb"], 512);
    assert_eq!((&folded["complete"], &folded["succeeded"]), (&json!(true), &json!(1)));
    assert_eq!(
        folded["numbers"]["free_mb"],
        json!({"count": 1, "min": 512.0, "max": 512.0, "mean": 512.0, "sum": 512.0})
    );
}

#[tokio::test]
async fn a_failing_task_says_why_and_counts_as_failed() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let distribute = async |definition: Value| {
        let arguments = json!({"task_definition": definition, "target_machines": ["local"]});
        let group = client.ok("distribute_task", arguments).await;
        let arguments = json!({"task_id": group["task_group_id"], "wait_s": 30});
        client.ok("get_task_status", arguments).await
    };

    let exit = distribute(json!({"program": "echo no disk >&2; exit 4", "shell": true})).await;
    let missing = distribute(json!({"program": "no-such-program-anywhere"})).await;
    let late = distribute(json!({"program": "sleep", "args": ["600"], "timeout_s": 1,
                                 "retry": {"attempts": 1}}))
    .await;

    assert_eq!((&exit["status"], &exit["tasks"][0]["exit_code"]), (&json!("failed"), &json!(4)));
    assert_eq!(exit["tasks"][0]["stderr"]["text"], "no disk\n");
    let told = missing["tasks"][0]["failure"].as_str().unwrap_or_default();
    assert!(told.contains("no-such-program-anywhere"), "{missing:#}");
    assert_eq!(late["status"], "failed", "{late:#}");
    let arguments = json!({"task_group_id": exit["task_group_id"]});
    let folded = client.ok("aggregate_task_results", arguments).await;
    assert_eq!((&folded["failed"], &folded["complete"]), (&json!(1), &json!(true)));
    assert_eq!(folded["groups"][0]["status"], "failed", "failures come first");
}

#[tokio::test]
async fn machines_that_do_not_exist_are_named_before_anything_runs() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let mark = home.root().join("mark");

    let arguments = json!({
        "task_definition": {"program": "touch", "args": [mark.display().to_string()]},
        "target_machines": ["local", "gpu-7"],
    });
    let refused = client.refused("distribute_task", arguments).await;

    assert!(refused.contains("unknown_machine") && refused.contains("gpu-7"), "{refused}");
    assert!(!mark.exists());
}

#[tokio::test]
async fn a_task_group_is_listed_among_no_workflows_and_can_be_cancelled() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let pid = home.root().join("pid");
    let line = format!("echo $$ > {0}.part; mv {0}.part {0}; exec sleep 600", pid.display());
    let arguments = json!({
        "task_definition": {"program": line, "shell": true}, "target_machines": ["local"],
    });
    let group = client.ok("distribute_task", arguments).await;
    until("the task to run", || pid.exists().then_some(())).await;

    let arguments = json!({"execution_id": group["task_group_id"], "action": "cancel"});
    client.ok("control_execution", arguments).await;
    let arguments = json!({"task_id": group["task_group_id"], "wait_s": 30});
    let ended = client.ok("get_task_status", arguments).await;

    assert_eq!(ended["status"], "cancelled", "{ended:#}");
    let workflows = client.ok("list_workflows", json!({})).await;
    assert_eq!(workflows["workflows"], json!([]));
}

#[tokio::test]
async fn a_command_may_not_leave_the_roots() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;

    for cwd in ["..", "/etc", "../../"] {
        let arguments = json!({
            "task_definition": {"program": "pwd", "cwd": cwd}, "target_machines": ["local"],
        });
        let told = match client.call("distribute_task", arguments).await {
            Err(refused) => refused,
            Ok(group) => {
                let arguments = json!({"task_id": group["task_group_id"], "wait_s": 30});
                let ended = client.ok("get_task_status", arguments).await;
                assert_eq!(ended["status"], "failed", "{cwd}: {ended:#}");
                ended["tasks"][0]["failure"].to_string()
            }
        };
        assert!(told.contains("root"), "{cwd}: {told}");
    }
}
