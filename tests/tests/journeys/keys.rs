//! Same key, same answer: what a client may rely on that heard nothing and asks again, over a server that was killed in
//! between.

use std::time::Duration;

use caelum_tests::{Client, Home, Server, Witness};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use crate::home;

async fn restart(home: &Home) -> (Server, Client) {
    let server = home.serve().await;
    let client = server.client().await;
    (server, client)
}

/// The calls that take a key: the tool, its arguments, a change that makes another request of them, and what of the answer
/// names what was made.
fn calls(witness: &Witness) -> Vec<(&'static str, Value, (&'static str, Value), &'static str)> {
    let task = json!({"program": "sh", "args": ["-c", format!("echo task >> {}", witness.path().display())]});
    vec![
        (
            "create_workflow",
            json!({"workflow_id": "keyed", "steps": [{"id": "a", "type": "development"}],
                   "if_exists": "new_revision"}),
            ("description", json!("another")),
            "revision",
        ),
        (
            "update_workflow",
            json!({"workflow_id": "keyed", "name": "Keyed"}),
            ("name", json!("Another")),
            "revision",
        ),
        (
            "execute_workflow",
            json!({"workflow_id": "keyed"}),
            ("parameters", json!({"x": 1})),
            "execution_id",
        ),
        (
            "distribute_task",
            json!({"task_definition": task, "target_machines": ["local"]}),
            ("execution_strategy", json!("sequential")),
            "task_group_id",
        ),
        (
            "apply_pattern",
            json!({"pattern_name": "infrastructure-enforcement", "target_component": "service",
                   "parameters": {"component_name": "notes"}}),
            ("allow_review_edits", json!(true)),
            "application_id",
        ),
    ]
}

#[tokio::test]
async fn the_same_key_gives_the_same_answer_after_kill_9_and_another_request_is_refused() {
    let home = home();
    home.project("service").with_service();
    let witness = Witness::new(home.path().join("witness"));
    let (mut server, mut client) = restart(&home).await;

    for (tool, arguments, (name, value), made) in calls(&witness) {
        let mut keyed = arguments.clone();
        keyed["idempotency_key"] = json!(format!("key of {tool}"));
        let first = client.ok(tool, keyed.clone()).await;
        server.kill();
        (server, client) = restart(&home).await;

        let again = client.ok(tool, keyed.clone()).await;
        let mut other = keyed.clone();
        other[name] = value;
        let refused = client.refused(tool, other).await;

        assert_eq!(first[made], again[made], "{tool}: {again:#}");
        assert!(refused.starts_with("idempotency_key: "), "{tool}: {refused}");
        assert!(refused.contains("was used for another request"), "{tool}: {refused}");
    }
    let workflow = client.ok("get_workflow", json!({"workflow_id": "keyed"})).await;
    assert_eq!(workflow["revision"], 2, "one was created, one was made of it");
    let executions = client.ok("list_executions", json!({"workflow_id": "keyed"})).await;
    assert_eq!(executions["executions"].as_array().map(Vec::len), Some(1));
    let applied = json!({"status_filter": "applied"});
    let applications = client.ok("list_pattern_applications", applied).await;
    assert_eq!(applications["applications"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_call_whose_answer_was_lost_is_made_once_however_the_server_died() {
    const ROUNDS: u32 = 10;
    let seed = rand::rng().random::<u64>();
    eprintln_seed(seed);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let home = home();
    let (mut server, mut client) = restart(&home).await;
    client.create("w", json!([{"id": "a", "type": "development"}])).await;

    for round in 0..ROUNDS {
        let calls: [(&str, Value); 2] = [
            ("update_workflow", json!({"workflow_id": "w", "name": format!("name {round}")})),
            ("execute_workflow", json!({"workflow_id": "w"})),
        ];
        let keyed: Vec<(&str, Map<String, Value>)> = calls
            .into_iter()
            .map(|(tool, mut arguments)| {
                arguments["idempotency_key"] = json!(format!("round {round}"));
                (tool, arguments.as_object().cloned().expect("an object"))
            })
            .collect();
        let asking: Vec<_> = keyed
            .iter()
            .cloned()
            .map(|(tool, arguments)| {
                let client = client.clone();
                tokio::spawn(async move { client.call_raw(tool, arguments).await })
            })
            .collect();
        // The moment is what varies: before the call is read, within its commit, behind its answer.
        tokio::time::sleep(Duration::from_micros(random.random_range(0..4_000))).await;
        server.kill();
        let mut heard = Vec::new();
        for asked in asking {
            let answer = asked.await.expect("a client does not panic");
            heard.push(answer.ok().and_then(|answer| answer.structured_content));
        }
        (server, client) = restart(&home).await;

        for ((tool, arguments), heard) in keyed.into_iter().zip(heard) {
            let again = client.ok(tool, Value::Object(arguments)).await;
            let Some(heard) = heard else { continue };
            for name in ["revision", "execution_id"] {
                assert_eq!(heard.get(name), again.get(name), "{tool} in round {round}");
            }
        }
    }

    let workflow = client.ok("get_workflow", json!({"workflow_id": "w"})).await;
    assert_eq!(workflow["revision"], ROUNDS + 1, "each change was made once");
    let executions = client.ok("list_executions", json!({"workflow_id": "w"})).await;
    let count = executions["executions"].as_array().map(Vec::len);
    assert_eq!(count, Some(ROUNDS as usize), "each was started once");
}

/// Says with which seed to see the same again; shown by the test runner when the test fails.
#[expect(clippy::print_stderr, reason = "a failing test must say how to repeat it")]
fn eprintln_seed(seed: u64) {
    eprintln!("seed: {seed}");
}
