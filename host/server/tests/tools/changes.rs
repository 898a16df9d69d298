//! Tools that change what there is, and the lists that show it: workflows, applications, machines, tasks.

use serde_json::{Value, json};

use crate::World;

fn manual(id: &str) -> Value {
    json!({"id": id, "type": "development"})
}

#[tokio::test]
async fn a_workflow_is_changed_field_by_field_and_emptied_only_when_told_to() {
    let world = World::new().await;
    world
        .ok(
            "create_workflow",
            json!({"workflow_id": "w", "name": "One", "description": "first", "steps": [manual("a")],
                   "metadata": {"team": "core"}, "parameters_schema": {"type": "object"}}),
        )
        .await;

    let renamed = world
        .ok("update_workflow", json!({"workflow_id": "w", "name": "Two", "expected_revision": 1}))
        .await;
    let nothing = world
        .ok(
            "update_workflow",
            json!({"workflow_id": "w", "name": "Two", "description": "", "steps": [], "metadata": {},
                   "parameters_schema": {}, "pattern": null}),
        )
        .await;
    let late = world
        .refused(
            "update_workflow",
            json!({"workflow_id": "w", "name": "X", "expected_revision": 1}),
        )
        .await;
    let contrary = world
        .refused(
            "update_workflow",
            json!({"workflow_id": "w", "description": "x", "clear": ["description", "steps"]}),
        )
        .await;
    let emptied = world
        .ok(
            "update_workflow",
            json!({"workflow_id": "w", "clear": ["description", "parameters_schema", "metadata"],
                   "steps": [manual("a"), manual("b")], "status": "draft"}),
        )
        .await;
    let view = world.ok("get_workflow", json!({"workflow_id": "w"})).await;

    assert_eq!((&renamed["status"], &renamed["revision"]), (&json!("success"), &json!(2)));
    assert_eq!(renamed["changed"], json!(["name"]));
    assert_eq!((&nothing["status"], &nothing["revision"]), (&json!("unchanged"), &json!(2)));
    assert!(late.starts_with("revision_conflict: ") && late.contains("revision 2"), "{late}");
    assert!(contrary.contains("`description` is given and emptied"), "{contrary}");
    assert_eq!(
        emptied["changed"],
        json!(["description", "steps", "status", "parameters_schema", "metadata"])
    );
    assert_eq!(emptied.get("next_call"), None, "a draft is not executed next");
    assert_eq!((&view["name"], &view["description"]), (&json!("Two"), &json!("")));
    assert_eq!((&view["steps_total"], &view["status"]), (&json!(2), &json!("draft")));
    assert_eq!((view.get("parameters_schema"), &view["metadata"]), (None, &json!({})));
    world.core.close().await;
}

#[tokio::test]
async fn all_faults_of_a_change_are_named_at_once_and_nothing_is_stored() {
    let world = World::new().await;
    world.ok("create_workflow", json!({"workflow_id": "w", "steps": [manual("a")]})).await;

    let shape = world
        .refused(
            "update_workflow",
            json!({"workflow_id": "w", "steps": [
                {"id": "a b", "type": "development", "action": {"kind": "command"}}]}),
        )
        .await;
    let rules = world
        .refused(
            "update_workflow",
            json!({"workflow_id": "w", "steps": [
                {"id": "a", "type": "development", "dependencies": ["nowhere"]},
                {"id": "b", "type": "development", "validation": "unit-tsets"}]}),
        )
        .await;

    for expected in ["2 problems", "/steps/0/id:", "/steps/0/action/program:"] {
        assert!(shape.contains(expected), "{expected} is not in {shape}");
    }
    for expected in ["nowhere", "did you mean `unit-tests`", "call update_workflow again"] {
        assert!(rules.contains(expected), "{expected} is not in {rules}");
    }
    let view = world.ok("get_workflow", json!({"workflow_id": "w"})).await;
    assert_eq!(view["revision"], 1);
    world.core.close().await;
}

#[tokio::test]
async fn the_archive_is_a_state_that_can_be_left_again() {
    let world = World::new().await;
    world.ok("create_workflow", json!({"workflow_id": "w", "steps": [manual("a")]})).await;
    let execution = world.ok("execute_workflow", json!({"workflow_id": "w"})).await;

    let archived = world.ok("archive_workflow", json!({"workflow_id": "w"})).await;
    let again = world.ok("archive_workflow", json!({"workflow_id": "w"})).await;
    let refused = world.refused("execute_workflow", json!({"workflow_id": "w"})).await;
    let active = world.ok("list_workflows", json!({"status_filter": "active"})).await;
    let kept = world.ok("list_workflows", json!({"status_filter": "archived"})).await;
    let waiting = world.ok("list_workflows", json!({"status_filter": "paused"})).await;
    world.settled(&execution["execution_id"]).await;
    let back = world.ok("archive_workflow", json!({"workflow_id": "w", "archived": false})).await;

    assert_eq!((&archived["status"], &archived["changed"]), (&json!("archived"), &json!(true)));
    assert_eq!(archived["open_executions"], true);
    assert_eq!((&again["changed"], &again["revision"]), (&json!(false), &archived["revision"]));
    assert!(
        refused.starts_with("not_active: ") && refused.contains("archived: false"),
        "{refused}"
    );
    assert_eq!(active["workflows"], json!([]));
    assert_eq!(kept["workflows"][0]["workflow_id"], "w");
    assert!(waiting["workflows"].as_array().is_some_and(|rows| rows.len() <= 1));
    assert_eq!(
        (&back["status"], &back["next_call"]["tool"]),
        (&json!("active"), &json!("execute_workflow"))
    );
    world.core.close().await;
}

#[tokio::test]
async fn validators_and_patterns_are_listed_in_pages_that_hold_everything_once() {
    let world = World::new().await;

    let all = world.ok("list_validators", json!({})).await;
    let before = world.ok("list_validators", json!({"phase": "before"})).await;
    let mut seen = Vec::new();
    let mut arguments = json!({"kind": "all", "limit": 3});
    loop {
        let page = world.ok("list_patterns", arguments.clone()).await;
        for list in ["patterns", "validators"] {
            let rows = page[list].as_array().cloned().unwrap_or_default();
            seen.extend(rows.iter().map(|row| row["name"].as_str().unwrap_or("").to_owned()));
        }
        match page.get("next_cursor") {
            Some(cursor) => arguments["cursor"] = cursor.clone(),
            None => break,
        }
    }

    let names = |list: &Value| -> Vec<String> {
        let rows = list["validators"].as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| row["name"].as_str().unwrap_or("").to_owned()).collect()
    };
    assert!(names(&all).contains(&"unit-tests".to_owned()), "{all:#}");
    assert!(names(&before).contains(&"startup-validation".to_owned()), "{before:#}");
    assert!(!names(&before).contains(&"unit-tests".to_owned()), "{before:#}");
    assert!(all["validators"][0]["parameters_schema"].is_object());
    let mut distinct = seen.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(seen.len(), distinct.len(), "{seen:?}");
    assert!(seen.len() >= 8 && seen.contains(&"health-check".to_owned()), "{seen:?}");
    world.core.close().await;
}

#[tokio::test]
async fn applications_are_listed_with_their_drift_and_what_to_do_about_it() {
    let world = World::new().await;
    let component = world.root().join("shop");
    std::fs::create_dir(&component).unwrap();
    let compose = "services:\n  db:\n    image: postgres:17\n  web:\n    image: nginx:1.29\n    depends_on: [db]\n";
    std::fs::write(component.join("compose.yaml"), compose).unwrap();
    let apply = json!({"pattern_name": "health-check", "target_component": "shop"});

    let applied = world.ok("apply_pattern", apply.clone()).await;
    let again = world.ok("apply_pattern", apply).await;
    let clean = world.ok("list_pattern_applications", json!({"status_filter": "applied"})).await;
    let id = &applied["application_id"];
    let one = world.ok("list_pattern_applications", json!({"application_id": id})).await;
    let unknown =
        world.refused("list_pattern_applications", json!({"application_id": "app_none"})).await;
    std::fs::write(component.join("compose.yaml"), compose).unwrap();
    let drifted = world.ok("list_pattern_applications", json!({"drift": "modified"})).await;
    let none = world
        .ok("list_pattern_applications", json!({"pattern_name": "infrastructure-enforcement"}))
        .await;

    assert_eq!(applied["status"], "applied", "{applied:#}");
    assert_eq!(again["status"], "unchanged", "what only waits for a look is no fault: {again:#}");
    assert!(again["results"]["withheld"].as_array().is_some_and(|edits| !edits.is_empty()));
    assert_eq!(again["next_call"]["arguments"]["allow_review_edits"], true);
    let row = &clean["applications"][0];
    assert_eq!(row["application_id"], applied["application_id"]);
    assert_eq!((&one["applications"][0], clean.get("details")), (row, None));
    assert_eq!(one["details"], applied, "it is kept as it was answered");
    assert!(unknown.starts_with("unknown_application: "), "{unknown}");
    assert_eq!((&row["drift"]["state"], &row["superseded"]), (&json!("clean"), &json!(false)));
    let row = &drifted["applications"][0];
    assert_eq!(row["drift"]["state"], "modified", "{drifted:#}");
    assert_eq!(row["drift"]["files"][0]["path"], "compose.yaml");
    assert_eq!(drifted["next_call"]["tool"], "apply_pattern");
    assert_eq!(none["applications"], json!([]));
    world.core.close().await;
}

#[tokio::test]
async fn a_running_task_is_cancelled_with_all_it_started_and_machines_say_what_they_run() {
    let world = World::new().await;
    let pid = world.root().join("pid");
    let line = format!("sleep 600 & echo $! > {0}.part; mv {0}.part {0}; wait", pid.display());
    let sent = world
        .ok(
            "distribute_task",
            json!({"task_definition": {"program": line, "shell": true}, "target_machines": ["local"]}),
        )
        .await;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !pid.exists() {
        assert!(std::time::Instant::now() < end, "the program does not begin");
        tokio::task::yield_now().await;
    }

    let busy = world.ok("list_machines", json!({"select": "local"})).await;
    let cancelled = world
        .ok(
            "cancel_task",
            json!({"task_id": sent["tasks"][0]["task_id"], "reason": "enough", "wait_s": 30}),
        )
        .await;
    let again = world.ok("cancel_task", json!({"task_id": sent["task_group_id"]})).await;
    let execution = world.ok("list_machines", json!({"status_filter": "offline"})).await;

    assert_eq!(busy["machines"][0]["running"], 1, "{busy:#}");
    assert!(busy["machines"][0]["capacity"].as_u64() > Some(0));
    assert_eq!(cancelled["status"], "cancelled", "{cancelled:#}");
    assert_eq!(again["status"], "cancelled", "asking twice is no mistake");
    assert_eq!(execution["machines"], json!([]));
    let child = std::fs::read_to_string(&pid).unwrap();
    let command = std::fs::read(format!("/proc/{}/cmdline", child.trim())).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&command).contains("sleep"), "its child lives on");
    world.core.close().await;
}
