//! What clients see of what waits for somebody, in an execution and in those that it runs, and how many reviews are given
//! at once.

use serde_json::{Value, json};

use crate::World;

/// Steps whose work is done by hand and reviewed, all at once or one after the other.
fn reviewed(ids: &[&str], review: Value) -> Vec<Value> {
    ids.iter()
        .map(|id| {
            json!({"id": id, "type": "validation", "validation": "manual-review", "review": review,
                   "action": {"kind": "command", "program": "true"}})
        })
        .collect()
}

async fn execution(world: &World, workflow: &str, steps: Vec<Value>) -> Value {
    world.ok("create_workflow", json!({"workflow_id": workflow, "steps": steps})).await;
    let started =
        world.ok("execute_workflow", json!({"workflow_id": workflow, "wait_s": 30})).await;
    started["execution_id"].clone()
}

#[tokio::test]
async fn what_a_review_needs_is_told_and_counted() {
    let world = World::new().await;
    let rules = json!({"approvals": 2, "reviewers": ["ann", "bob", "cid"], "deadline_s": 3600,
                       "on_timeout": "escalate", "escalate_to": ["lead"]});
    let id = execution(&world, "w", reviewed(&["look"], rules)).await;

    let before = world.settled(&id).await;
    let one = world
        .ok(
            "review_step",
            json!({"execution_id": id, "step_id": "look", "reviewer": "ann", "decision": "approved"}),
        )
        .await;
    let stranger = world
        .refused(
            "review_step",
            json!({"execution_id": id, "step_id": "look", "reviewer": "eve", "decision": "approved"}),
        )
        .await;
    let two = world
        .ok(
            "review_step",
            json!({"execution_id": id, "step_id": "look", "reviewer": "bob", "decision": "approved"}),
        )
        .await;

    let waits = &before["waiting_for"][0];
    assert_eq!((&waits["kind"], &waits["on_timeout"]), (&json!("review"), &json!("escalate")));
    assert!(waits["deadline"].is_string() && waits["since"].is_string(), "{waits:#}");
    assert_eq!(waits["who"], "ann, bob, cid");
    let needs = &waits["review"];
    assert_eq!(needs["reviewers"], json!(["ann", "bob", "cid"]));
    assert_eq!((&needs["approvals_given"], &needs["approvals_needed"]), (&json!(0), &json!(2)));
    assert_eq!((&needs["escalate_to"], &needs["escalated"]), (&json!(["lead"]), &json!(false)));
    let needs = &one["waiting_for"][0]["review"];
    assert_eq!((&needs["approvals_given"], &needs["reviewed_by"]), (&json!(1), &json!(["ann"])));
    assert_eq!((&one["taken"], &one["step"]["phase"]), (&json!(1), &json!("awaiting_review")));
    assert!(stranger.starts_with("not_a_reviewer: "), "{stranger}");
    assert_eq!(two["step"]["status"], "completed", "{two:#}");
    world.core.close().await;
}

#[tokio::test]
async fn a_wave_several_steps_and_all_of_them_are_reviewed_at_once_with_an_answer_each() {
    let world = World::new().await;
    let mut steps = reviewed(&["a", "b", "c", "d"], json!({}));
    steps.push(json!({"id": "own", "type": "validation", "validation": "manual-review"}));
    steps.push(json!({"id": "later", "type": "validation", "dependencies": ["a", "b"],
                      "validation": "manual-review", "action": {"kind": "command", "program": "true"}}));
    let id = execution(&world, "w", steps).await;
    world
        .ok(
            "complete_step",
            json!({"execution_id": id, "step_id": "own", "performer": "ann", "summary": "done"}),
        )
        .await;
    let review = |extra: Value| {
        let mut arguments =
            json!({"execution_id": id, "reviewer": "ann", "decision": "approved", "wait_s": 30});
        for (name, value) in extra.as_object().cloned().unwrap_or_default() {
            arguments[name] = value;
        }
        arguments
    };

    let two =
        world.ok("review_step", review(json!({"step_ids": ["a", "b", "a", "nowhere"]}))).await;
    let nothing = world.refused("review_step", review(json!({"wave": 7}))).await;
    let which = world.refused("review_step", review(json!({"wave": 0, "all": true}))).await;
    let neither = world.refused("review_step", review(json!({}))).await;
    let wave = world.ok("review_step", review(json!({"wave": 0}))).await;
    world.settled(&id).await;
    let rest = world.ok("review_step", review(json!({"all": true, "reviewer": "bob"}))).await;

    assert_eq!((&two["taken"], &two["refused"]), (&json!(2), &json!(1)), "{two:#}");
    assert_eq!(two["reviews"][0]["code"], "unknown_step", "refused ones come first");
    assert_eq!(two["reviews"][1]["phase"], "completed");
    assert!(nothing.starts_with("not_waiting: no step of wave 7"), "{nothing}");
    assert!(which.contains("2 of `step_id`, `step_ids`, `wave` and `all`"), "{which}");
    assert!(neither.contains("0 of `step_id`"), "{neither}");
    assert_eq!((&wave["taken"], &wave["refused"]), (&json!(2), &json!(1)), "{wave:#}");
    assert_eq!(
        (&wave["reviews"][0]["step_id"], &wave["reviews"][0]["code"]),
        (&json!("own"), &json!("own_work"))
    );
    assert_eq!((&rest["taken"], &rest["refused"]), (&json!(2), &json!(0)), "{rest:#}");
    let done = world.settled(&id).await;
    assert_eq!(done["status"], "completed", "{done:#}");
    world.core.close().await;
}

#[tokio::test]
async fn a_thousand_steps_are_reviewed_in_one_call_whose_answer_fits() {
    let world = World::new().await;
    let ids: Vec<String> = (0..1_000).map(|number| format!("s{number:04}")).collect();
    let steps: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id, "type": "validation", "validation": "manual-review"}))
        .collect();
    let id = execution(&world, "wide", steps).await;
    for step in ids.iter().take(30) {
        let report = json!({"execution_id": id, "step_id": step, "performer": "ann",
                            "summary": "done", "wait_s": 0});
        world.ok("complete_step", report).await;
    }
    world.settled(&id).await;

    let many = world
        .ok(
            "review_step",
            json!({"execution_id": id, "step_ids": ids, "reviewer": "bob", "decision": "approved"}),
        )
        .await;

    assert_eq!((&many["taken"], &many["refused"]), (&json!(30), &json!(970)), "{many:#}");
    assert_eq!(
        (many["reviews"].as_array().map(Vec::len), &many["reviews_omitted"]),
        (Some(100), &json!(900))
    );
    assert!(many.to_string().len() <= caelum_workflow::mcp::tool::ANSWER_MAX_BYTES);
    world.core.close().await;
}

#[tokio::test]
async fn a_parent_shows_its_children_and_what_they_wait_for() {
    let world = World::new().await;
    let inner = json!([{"id": "work", "type": "development", "total_timeout_s": 3600}]);
    world.ok("create_workflow", json!({"workflow_id": "inner", "steps": inner})).await;
    let outer = json!([{"id": "run", "type": "deployment",
                        "action": {"kind": "workflow", "workflow_id": "inner"}}]);
    world.ok("create_workflow", json!({"workflow_id": "outer", "steps": outer})).await;
    let started = world.ok("execute_workflow", json!({"workflow_id": "outer"})).await;
    let id = &started["execution_id"];

    let question = json!({"execution_id": id, "wait_s": 30, "wait_until": "settled"});
    let view = world.ok("get_workflow_status", question).await;
    let child = view["children"][0]["execution_id"].clone();
    let below = world.ok("get_workflow_status", json!({"execution_id": child})).await;
    let waits = view["waiting_for"][0].clone();
    let mut call = waits["next_call"]["arguments"].clone();
    call["performer"] = json!("ann");
    call["summary"] = json!("it cannot be done");
    call["succeeded"] = json!(false);
    world.ok("complete_step", call).await;
    let failed = world.settled(id).await;

    assert_eq!(view["status"], "executing", "the step runs its child: {view:#}");
    assert_eq!(
        (&view["children"][0]["step_id"], &view["children"][0]["status"]),
        (&json!("run"), &json!("paused"))
    );
    assert_eq!(view["steps"][0]["child_execution_id"], child);
    assert_eq!((&waits["execution_id"], &waits["kind"]), (&child, &json!("work")));
    assert_eq!(waits["on_timeout"], "fail", "its whole time is limited: {waits:#}");
    assert_eq!(
        (&below["parent"]["execution_id"], &below["parent"]["step_id"]),
        (id, &json!("run"))
    );
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["failure"]["failure"]["code"], "child_failed", "{failed:#}");
    assert_eq!(failed["failure"]["child_execution_id"], child);
    let told = failed["failure"]["failure"]["message"].as_str().unwrap_or_default();
    assert!(told.contains("it cannot be done"), "the root cause is told: {told}");
    world.core.close().await;
}
