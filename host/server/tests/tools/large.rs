//! Answers about very much: they fit a client, and say what they leave out.

use caelum_workflow::mcp::tool::ANSWER_MAX_BYTES;
use serde_json::{Value, json};

use crate::World;

fn steps(count: usize) -> Value {
    (0..count)
        .map(|index| {
            json!({"id": format!("step-number-{index:05}"), "type": "validation",
                   "name": format!("The step with the number {index}"),
                   "action": {"kind": "manual", "instructions": "Wait for a word."}})
        })
        .collect()
}

#[tokio::test]
async fn ten_thousand_steps_fit_into_answers_and_one_more_is_refused() {
    let world = World::new().await;

    let created =
        world.ok("create_workflow", json!({"workflow_id": "wide", "steps": steps(10_000)})).await;
    let refused = world
        .refused("create_workflow", json!({"workflow_id": "wider", "steps": steps(10_001)}))
        .await;
    let execution = world.ok("execute_workflow", json!({"workflow_id": "wide"})).await;
    let view = world.settled(&execution["execution_id"]).await;

    assert!(created["warnings"].to_string().len() < ANSWER_MAX_BYTES);
    assert!(refused.contains("10001 steps"), "{refused}");
    assert_eq!(view["progress"]["total"], 10_000);
    let shown = view["steps"].as_array().map_or(0, Vec::len);
    assert!(shown > 50, "{shown}");
    assert_eq!(view["steps_omitted"], 10_000 - shown);
    assert!(view.to_string().len() <= ANSWER_MAX_BYTES);
    let cancelled = world
        .ok(
            "control_execution",
            json!({"execution_id": execution["execution_id"], "action": "cancel"}),
        )
        .await;
    assert!(cancelled.to_string().len() <= ANSWER_MAX_BYTES);
    world.core.close().await;
}

#[tokio::test]
async fn a_long_definition_is_read_in_parts_that_make_the_whole() {
    let world = World::new().await;
    world.ok("create_workflow", json!({"workflow_id": "long", "steps": steps(3_000)})).await;

    let mut ids = Vec::new();
    let mut from = Some(json!(0));
    let mut parts = 0;
    while let Some(at) = from {
        let part = world.ok("get_workflow", json!({"workflow_id": "long", "from_step": at})).await;
        ids.extend(part["steps"].as_array().into_iter().flatten().map(|step| step["id"].clone()));
        from = part.get("next_from_step").cloned();
        parts += 1;
    }

    assert_eq!(ids.len(), 3_000);
    assert_eq!(ids[2_999], "step-number-02999");
    assert!(parts > 2, "{parts}");
    world.core.close().await;
}

#[tokio::test]
async fn the_parts_of_an_export_are_of_one_text_whatever_happens_meanwhile() {
    let world = World::new().await;
    world.ok("create_workflow", json!({"workflow_id": "long", "steps": steps(1_000)})).await;
    let first = world.ok("export_workflow_data", json!({"workflow_id": "long"})).await;
    let ask = |offset: &Value, digest: &Value| json!({"workflow_id": "long", "offset": offset, "digest": digest});

    // Another revision while the parts are being read.
    let fewer = json!({"workflow_id": "long", "steps": steps(900), "if_exists": "new_revision"});
    world.ok("create_workflow", fewer).await;
    let mut text = first["data"].as_str().expect("text").to_owned();
    let mut next = first.get("next_offset").cloned();
    while let Some(offset) = next {
        let part = world.ok("export_workflow_data", ask(&offset, &first["digest"])).await;
        text.push_str(part["data"].as_str().expect("text"));
        assert_eq!((&part["revision"], &part["digest"]), (&json!(1), &first["digest"]));
        next = part.get("next_offset").cloned();
    }

    let document = caelum_workflow::document::read(&text).expect("it is whole");
    assert_eq!(document.steps.len(), 1_000);
    // Once the last part is handed out nothing is kept, and an older text cannot be had any more.
    let late =
        world.refused("export_workflow_data", ask(&first["next_offset"], &first["digest"])).await;
    assert!(late.starts_with("export_changed: ") && late.contains("begin again"), "{late}");
    world.core.close().await;
}

#[tokio::test]
async fn much_output_is_shown_by_its_end() {
    let world = World::new().await;
    let script = "i=0; while [ $i -lt 3000 ]; do echo \"line $i of very much output\"; i=$((i+1)); done; exit 7";
    let action = json!({"kind": "command", "program": "sh", "args": ["-c", script]});
    world
        .ok(
            "create_workflow",
            json!({"workflow_id": "loud", "steps": [
            {"id": "shout", "type": "development", "action": action}]}),
        )
        .await;

    let execution = world.ok("execute_workflow", json!({"workflow_id": "loud"})).await;
    let concise = world.settled(&execution["execution_id"]).await;
    let question = json!({"execution_id": execution["execution_id"], "detail": "full"});
    let full = world.ok("get_workflow_status", question).await;

    let stdout = |view: &Value| view["steps"][0]["machines"][0]["stdout"].clone();
    assert_eq!(concise["status"], "failed");
    assert_eq!(concise["failure"]["failure"]["code"], "exit_code");
    assert!(
        concise["failure"]["output"]
            .as_str()
            .unwrap_or_default()
            .ends_with("line 2999 of very much output")
    );
    assert!(stdout(&concise)["text"].as_str().map_or(0, str::len) <= 1_500);
    assert!(stdout(&full)["text"].as_str().map_or(0, str::len) > 10_000);
    assert_eq!(stdout(&full)["truncated"], true);
    world.core.close().await;
}

#[tokio::test]
async fn lists_of_long_rows_fit_and_their_pages_hold_everything_once() {
    let world = World::new().await;
    for number in 0..120 {
        let arguments = json!({"workflow_id": format!("{}-{number}", "w".repeat(200)),
            "name": "ä".repeat(400), "description": "ö".repeat(400), "pattern": "ü".repeat(300),
            "created_by": "ß".repeat(300), "steps": []});
        world.ok("create_workflow", arguments).await;
    }

    let mut seen = std::collections::BTreeSet::new();
    let mut arguments = json!({"limit": 200});
    let mut pages = 0;
    loop {
        let page = world.ok("list_workflows", arguments.clone()).await;
        assert!(page.to_string().len() <= ANSWER_MAX_BYTES, "{} bytes", page.to_string().len());
        for row in page["workflows"].as_array().into_iter().flatten() {
            assert!(seen.insert(row["workflow_id"].to_string()), "{row:#} comes twice");
        }
        pages += 1;
        match page.get("next_cursor") {
            Some(cursor) => arguments["cursor"] = cursor.clone(),
            None => break,
        }
    }

    assert_eq!(seen.len(), 120);
    assert!(pages > 1, "{pages}");
    world.core.close().await;
}

#[tokio::test]
async fn of_very_many_items_those_that_failed_are_shown_first_and_the_others_are_counted() {
    let world = World::new().await;
    let items: Vec<usize> = (0..300).collect();
    let action =
        json!({"kind": "command", "program": "test", "args": ["{{ item }}", "-ne", "207"]});
    world
        .ok(
            "create_workflow",
            json!({"workflow_id": "many", "steps": [
                {"id": "each", "type": "validation", "map": {"over": items}, "action": action}]}),
        )
        .await;

    let execution = world.ok("execute_workflow", json!({"workflow_id": "many"})).await;
    let view = world.settled(&execution["execution_id"]).await;

    let step = &view["steps"][0];
    assert_eq!(step["machine_counts"], json!({"completed": 299, "failed": 1}), "{view:#}");
    assert_eq!(
        (&step["machines"][0]["item"], &step["machines"][0]["status"]),
        (&json!(207), &json!("failed"))
    );
    assert_eq!(step["machines"][0]["item_value"], "207");
    let shown = step["machines"].as_array().map_or(0, Vec::len);
    assert_eq!((shown, &step["machines_omitted"]), (20, &json!(280)));
    assert_eq!(view["failure"]["step_id"], "each");
    world.core.close().await;
}
