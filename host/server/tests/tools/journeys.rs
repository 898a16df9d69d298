//! What a client does with the tools, one after the other.

use serde_json::{Value, json};

use crate::World;

#[tokio::test]
async fn a_workflow_is_made_run_worked_on_reviewed_and_kept() {
    let world = World::new().await;
    let steps = json!([
        {"id": "build", "type": "development", "validation": "command-succeeded",
         "action": {"kind": "command", "program": "echo", "args": ["{\"tag\": \"v{{ parameters.major }}\"}"]}},
        {"id": "look", "type": "validation", "dependencies": ["build"], "validation": "manual-review",
         "action": {"kind": "manual", "instructions": "Look at {{ steps.build.outputs.tag }}."}}]);
    let schema =
        json!({"type": "object", "properties": {"major": {"type": "integer", "default": 1}}});

    let created = world
        .ok("create_workflow", json!({"workflow_id": "journey", "pattern": "infrastructure-enforcement",
            "description": "From the beginning to the end.", "steps": steps, "parameters_schema": schema}))
        .await;
    let dry = world
        .ok(
            "execute_workflow",
            json!({"workflow_id": "journey", "parameters": {"major": 2}, "dry_run": true}),
        )
        .await;
    let started = world
        .ok(
            "execute_workflow",
            json!({"workflow_id": "journey", "parameters": {"major": 2}, "wait_s": 30}),
        )
        .await;
    let id = &started["execution_id"];
    let waiting = world.ok("get_workflow_status", json!({"execution_id": id})).await;

    assert_eq!((&created["status"], &created["revision"]), (&json!("success"), &json!(1)));
    assert_eq!((&dry["status"], &dry["plan"][1]["wave"]), (&json!("dry_run"), &json!(1)));
    assert_eq!(started["status"], "paused");
    assert_eq!(waiting["completed_steps"], json!(["build"]));
    assert_eq!(
        (&waiting["current_step"], &waiting["progress"]["percent"]),
        (&json!("look"), &json!(50.0))
    );
    let work = &waiting["waiting_for"][0];
    assert_eq!((&work["kind"], &work["instructions"]), (&json!("work"), &json!("Look at v2.")));
    assert_eq!(work["next_call"]["tool"], "complete_step");

    let done = world
        .ok(
            "complete_step",
            json!({"execution_id": id, "step_id": "look", "performer": "ann", "summary": "looked"}),
        )
        .await;
    let own = world
        .refused("review_step", json!({"execution_id": id, "step_id": "look", "reviewer": "ann", "decision": "approved"}))
        .await;
    let reviewed = world
        .ok("review_step", json!({"execution_id": id, "step_id": "look", "reviewer": "bob", "decision": "approved", "reason": "good"}))
        .await;

    assert_eq!(
        (&done["step"]["phase"], &done["waiting_for"][0]["kind"]),
        (&json!("awaiting_review"), &json!("review"))
    );
    assert!(own.starts_with("own_work: "), "{own}");
    assert_eq!(
        (&reviewed["status"], &reviewed["step"]["status"]),
        (&json!("completed"), &json!("completed"))
    );
    let ended = world.ok("get_workflow_status", json!({"execution_id": id, "wait_s": 30})).await;
    assert_eq!(ended.get("poll_after_ms"), None);
    let listed = world.ok("list_workflows", json!({"status_filter": "completed"})).await;
    assert_eq!(listed["workflows"][0]["last_execution"]["execution_id"], *id);
    let metrics = world.ok("get_workflow_metrics", json!({"workflow_id": "journey"})).await;
    assert_eq!(metrics["executions"]["success_rate"], 1.0);
    assert_eq!(metrics.get("history"), None, "nobody asked for it");
    let asked = json!({"workflow_id": "journey", "time_range": "15m", "history": true});
    let history = world.ok("get_workflow_metrics", asked).await["history"].take();
    let parts = history.as_array().expect("parts");
    let ended = parts.iter().find(|part| part["ended"] != json!({})).expect("one that ended");
    assert!((30..=31).contains(&parts.len()) && ended["seconds"] == 30, "{history:#}");
    assert_eq!(ended["ended"], json!({"completed": 1}));
    assert!(ended["p50_ms"].is_number() && ended["p50_ms"] == ended["p95_ms"], "{ended:#}");
    world.core.close().await;
}

#[tokio::test]
async fn an_export_makes_the_same_workflow_again_and_every_format_is_written() {
    let world = World::new().await;
    let steps = json!([
        {"id": "a", "type": "development", "action": {"kind": "command", "program": "true"},
         "retry": {"attempts": 2, "on": ["exit"]}, "strategy": {"kind": "sequential", "continue_on_failure": true}},
        {"id": "b", "type": "deployment", "dependencies": ["a"], "action": {"kind": "command", "program": "false"},
         "name": "It's <b>, \"quoted\""}]);
    world.ok("create_workflow", json!({"workflow_id": "origin", "steps": steps})).await;
    let execution = world.ok("execute_workflow", json!({"workflow_id": "origin"})).await;
    world.settled(&execution["execution_id"]).await;
    let export = async |format: &str| {
        let question = json!({"workflow_id": "origin", "format": format});
        let view = world.ok("export_workflow_data", question).await;
        view["data"].as_str().expect("text").to_owned()
    };

    for format in ["json", "yaml"] {
        let document = caelum_workflow::document::read(&export(format).await).expect("it is one");
        assert_eq!(document.executions.len(), 1, "{format}");
        let mut arguments = document.into_arguments();
        arguments.insert("workflow_id".to_owned(), json!(format!("copy-{format}")));
        world.ok("create_workflow", Value::Object(arguments)).await;
        let copy = world.ok("get_workflow", json!({"workflow_id": format!("copy-{format}")})).await;
        let original = world.ok("get_workflow", json!({"workflow_id": "origin"})).await;
        assert_eq!(copy["steps"], original["steps"], "{format}");
    }
    let ndjson = export("ndjson").await;
    let events: Vec<Value> =
        ndjson.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert_eq!((&events[0]["seq"], &events[0]["event"]["type"]), (&json!(0), &json!("started")));
    assert_eq!(events.last().expect("events")["event"]["type"], "failed");
    let csv = export("csv").await;
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(csv.contains("\"It's <b>, \"\"quoted\"\"\""), "{csv}");
    let mermaid = export("mermaid").await;
    assert!(
        mermaid.starts_with("flowchart TD\n")
            && mermaid.contains("s0 --> s1")
            && mermaid.contains(":::failed"),
        "{mermaid}"
    );
    let junit = export("junit").await;
    assert!(junit.contains("failures=\"1\"") && junit.contains("It&#39;s &lt;b&gt;"), "{junit}");
    let markdown = export("markdown").await;
    assert!(markdown.contains("| b | failed |"), "{markdown}");
    world.core.close().await;
}

#[tokio::test]
async fn all_faults_of_a_definition_are_named_at_once() {
    let world = World::new().await;

    let shape = world
        .refused(
            "create_workflow",
            json!({"workflow_id": "bad name", "steps": [
            {"id": "a b", "type": "development", "action": {"kind": "command"}}]}),
        )
        .await;
    let rules = world
        .refused(
            "create_workflow",
            json!({"workflow_id": "rules", "steps": [
            {"id": "a", "type": "development", "dependencies": ["b", "nowhere"]},
            {"id": "b", "type": "development", "dependencies": ["a"], "validation": "unit-tsets"},
            {"id": "b", "type": "development"}]}),
        )
        .await;

    for expected in ["3 problems", "/workflow_id:", "/steps/0/id:", "/steps/0/action/program:"] {
        assert!(shape.contains(expected), "{expected} is not in {shape}");
    }
    for expected in ["nowhere", "did you mean `unit-tests`", "/steps/2/id", "a → b"] {
        assert!(rules.contains(expected), "{expected} is not in {rules}");
    }
    let listed = world.ok("list_workflows", json!({})).await;
    assert_eq!(listed["workflows"], json!([]), "nothing half-checked was kept");
    world.core.close().await;
}

#[tokio::test]
async fn a_task_is_distributed_watched_and_folded() {
    let world = World::new().await;
    let task = json!({"program": "echo", "args": ["{\"load\": 0.5}"], "timeout_s": 20});

    let sent = world
        .ok(
            "distribute_task",
            json!({"task_definition": task, "target_machines": ["local"],
            "execution_strategy": "sequential", "idempotency_key": "once"}),
        )
        .await;
    let again = world
        .ok(
            "distribute_task",
            json!({"task_definition": task, "target_machines": ["local"],
            "execution_strategy": "sequential", "idempotency_key": "once"}),
        )
        .await;
    let group =
        world.ok("get_task_status", json!({"task_id": sent["task_group_id"], "wait_s": 30})).await;
    let one = world.ok("get_task_status", json!({"task_id": sent["tasks"][0]["task_id"]})).await;
    let folded =
        world.ok("aggregate_task_results", json!({"task_group_id": sent["task_group_id"]})).await;

    assert_eq!(sent["task_group_id"], again["task_group_id"]);
    assert_eq!(sent["waves"].as_array().map(Vec::len), Some(1));
    assert_eq!((&group["status"], &one["status"]), (&json!("completed"), &json!("completed")));
    assert_eq!(one["tasks"][0]["stdout"]["text"], "{\"load\": 0.5}\n");
    assert_eq!(
        (&folded["complete"], &folded["numbers"]["load"]["mean"]),
        (&json!(true), &json!(0.5))
    );
    world.core.close().await;
}

#[tokio::test]
async fn a_pattern_is_looked_at_planned_applied_by_its_plan_and_taken_back() {
    let world = World::new().await;
    let component = world.root().join("shop");
    std::fs::create_dir(&component).unwrap();
    let compose = "services:\n  database:\n    image: postgres:17\n  web:\n    image: nginx:1.29\n    depends_on: [database]\n";
    std::fs::write(component.join("compose.yaml"), compose).unwrap();
    let base = json!({"pattern_name": "health-check", "target_component": "shop"});
    let with = |name: &str, value: Value| {
        let mut arguments = base.clone();
        arguments[name] = value;
        arguments
    };

    let seen = world.ok("validate_pattern_application", base.clone()).await;
    let planned = world.ok("apply_pattern", with("dry_run", json!(true))).await;
    let untouched = std::fs::read_to_string(component.join("compose.yaml")).unwrap();
    let applied = world.ok("apply_pattern", with("plan_id", planned["plan_id"].clone())).await;
    let changed = std::fs::read_to_string(component.join("compose.yaml")).unwrap();
    let reverted = world
        .ok("revert_pattern_application", json!({"application_id": applied["application_id"]}))
        .await;

    assert_eq!(
        (&seen["can_apply"], &seen["applicability"]),
        (&json!(true), &json!("applicable")),
        "{seen:#}"
    );
    assert_eq!(seen["next_call"]["tool"], "apply_pattern");
    assert_eq!(planned["status"], "planned", "{planned:#}");
    assert_eq!(untouched, compose);
    assert_eq!(applied["status"], "applied", "{applied:#}");
    assert!(
        applied["results"]["diff"].as_str().unwrap_or_default().contains("healthcheck"),
        "{applied:#}"
    );
    assert!(changed.contains("healthcheck"), "{changed}");
    assert_eq!(reverted["status"], "reverted");
    assert_eq!(std::fs::read_to_string(component.join("compose.yaml")).unwrap(), compose);
    world.core.close().await;
}
