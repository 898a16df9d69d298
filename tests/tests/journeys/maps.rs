//! A step that goes over a list, from a client's call to its outputs, and through the death of the server.

use std::collections::BTreeMap;

use caelum_tests::Witness;
use serde_json::{Value, json};

use crate::{home, step};

/// A step that leaves each item's name with the witness and then takes a while.
fn each(witness: &Witness, list: &Value, max: u32, milliseconds: u32) -> Value {
    let mut action = witness.action("", milliseconds);
    let seconds = f64::from(milliseconds) / 1_000.0;
    action["args"] = json!([
        "-c",
        format!(
            "echo \"$1\" >> \"$WITNESS\"; sleep {seconds}; printf '{{\"name\": \"%s\", \"at\": %s}}\\n' \"$1\" \"$2\""
        ),
        "sh",
        "{{ file }}",
        "{{ file_index }}",
    ]);
    json!({
        "id": "each", "type": "development",
        "map": {"over": list, "as": "file", "max": max},
        "action": action,
    })
}

fn counts(status: &Value) -> BTreeMap<String, u64> {
    let counts = step(status, "each")["machine_counts"].as_object().cloned().unwrap_or_default();
    counts.into_iter().map(|(word, count)| (word, count.as_u64().expect("a count"))).collect()
}

#[tokio::test]
async fn a_list_is_gone_over_with_real_programs_and_told_in_its_order() {
    let home = home();
    let witness = Witness::new(home.path().join("witness"));
    let server = home.serve().await;
    let client = server.client().await;
    let list = json!(["a b", "c'd", "$(e)", "f"]);
    client.create("list", json!([each(&witness, &list, 2, 10)])).await;

    let execution = client.execute("list").await;
    let ended = client
        .wait_for(&execution, "to end", |status| {
            matches!(status["status"].as_str(), Some("completed" | "failed"))
        })
        .await;

    assert_eq!(ended["status"], "completed", "{ended:#}");
    let outputs = &step(&ended, "each")["outputs"]["items"];
    assert_eq!(
        *outputs,
        json!([
            {"name": "a b", "at": 0}, {"name": "c'd", "at": 1}, {"name": "$(e)", "at": 2}, {"name": "f", "at": 3},
        ])
    );
    let mut words = witness.words();
    words.sort();
    assert_eq!(words, ["$(e)", "a b", "c'd", "f"]);
}

#[tokio::test]
async fn no_item_that_has_ended_runs_again_after_kill_9() {
    let home = home();
    let witness = Witness::new(home.path().join("witness"));
    let server = home.serve().await;
    let client = server.client().await;
    let list: Value = (0..24).map(|item| json!(format!("item-{item}"))).collect();
    client.create("list", json!([each(&witness, &list, 3, 60)])).await;
    let execution = client.execute("list").await;
    let some = |status: &Value| counts(status).get("completed").is_some_and(|count| *count >= 5);
    let before = client.wait_for(&execution, "to complete five items", some).await;
    assert_eq!(before["status"], "executing", "there must be something left to do");

    server.kill();
    let ran = witness.counts();
    let done = counts(&before)["completed"];
    let server = home.serve().await;
    let client = server.client().await;
    let ended = client
        .wait_for(&execution, "to end", |status| {
            matches!(status["status"].as_str(), Some("completed" | "failed"))
        })
        .await;

    assert_eq!(ended["status"], "completed", "{ended:#}");
    let items = step(&ended, "each")["outputs"]["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(items.len(), 24);
    let after = witness.counts();
    assert_eq!(after.len(), 24, "{after:?}");
    let again: Vec<_> = after.iter().filter(|(_, count)| **count > 1).collect();
    assert!(again.len() <= 3, "only what was under way runs again: {again:?}");
    assert!(again.iter().all(|(item, _)| ran.contains_key(*item)), "{again:?}");
    let spared = ran.len() - again.len();
    assert!(spared as u64 >= done, "{spared} of {} ran once, {done} had completed", ran.len());
}

#[tokio::test]
async fn a_map_that_breaks_rules_is_refused_with_all_of_them() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;

    let refused = client
        .refused(
            "create_workflow",
            json!({
                "workflow_id": "wrong", "name": "", "description": "", "pattern": "",
                "steps": [{
                    "id": "each", "type": "development",
                    "map": {"over": "{{ parameters. }}", "as": "steps", "max": 4},
                }],
            }),
        )
        .await;

    for part in ["is done by hand", "templates know `steps` already", "/steps/0/map/over"] {
        assert!(refused.contains(part), "`{part}` in {refused}");
    }
}
