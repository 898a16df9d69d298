//! Steps that go over a list: every kind of action, once for each item.

use std::collections::BTreeMap;
use std::path::Path;

use caelum_core::task::{FailureClass, HttpSpec};
use caelum_core::workflow::command::Control;
use caelum_core::workflow::{Action, ExecutionStatus, RetryPolicy, Step, StepMap};
use caelum_engine::Engine;
use caelum_engine::request::NewExecution;
use caelum_machines::ToolServer;
use serde_json::{Map, Value, json};

use super::http::server;
use super::tools::{SERVER, calling};
use crate::harness::{Place, create, failure, run, shell, start, state, step, wait_end, wait_for};

fn over(mut step: Step, list: Value, max: u32) -> Step {
    step.map = Some(StepMap { max, ..StepMap::over(list) });
    step
}

/// Returns the lines that work has left in a file, sorted.
fn witness(file: &Path) -> Vec<String> {
    let mut lines: Vec<String> =
        std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_for_each_item_of_a_list_that_an_earlier_step_made() {
    let place = Place::new();
    let engine = place.open().await;
    let mut each = shell(
        "each",
        &["list"],
        "printf '{\"said\": \"%s\", \"key\": \"%s\"}\\n' {{ file.name }}-{{ file_index }} $CAELUM_IDEMPOTENCY_KEY",
    );
    each.map = Some(StepMap {
        over: json!("{{ steps.list.outputs.files }}"),
        name: "file".to_owned(),
        max: 2,
    });
    each.validation = Some("command-succeeded".parse().expect("legal"));
    let steps = vec![
        shell(
            "list",
            &[],
            "echo '{\"files\": [{\"name\": \"a\"}, {\"name\": \"b\"}, {\"name\": \"c\"}]}'",
        ),
        each,
        shell(
            "use",
            &["each"],
            "echo {{ steps.each.outputs.items | map(attribute='said') | join(' ') }}",
        ),
    ];

    let ended = run(&engine, "w", steps).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed, "{:#?}", ended.execution);
    let said = state(&ended, "use").targets[0].outcome.clone().expect("it ran").stdout.text;
    assert_eq!(said, "a-0 b-1 c-2\n");
    let key = state(&ended, "each").outputs["items"][2]["key"].clone();
    assert_eq!(key, json!(format!("{}/each/local/2", ended.execution.id())));
    assert_eq!(state(&ended, "each").gates.len(), 1, "one gate judges the whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_item_has_attempts_of_its_own_and_a_retry_spares_what_is_done() {
    let place = Place::new();
    let engine = place.open().await;
    let folder = tempfile::TempDir::new().expect("a directory");
    let done = folder.path().join("done");
    // Item 1 fails once, item 2 fails until somebody mends it.
    let line = format!(
        "cd {}; echo {{{{ item }}}} $CAELUM_ATTEMPT >> done; case {{{{ item }}}}/$CAELUM_ATTEMPT in 1/1) exit 1;; 2/*) test -e mended;; esac",
        folder.path().display()
    );
    let mut each = over(shell("each", &[], &line), json!([0, 1, 2, 3]), 4);
    each.retry = Some(RetryPolicy {
        attempts: 2,
        initial_ms: 1,
        on: vec![FailureClass::Exit],
        ..RetryPolicy::default()
    });

    let failed = run(&engine, "w", vec![each]).await;

    assert_eq!(failed.execution.status(), ExecutionStatus::Failed);
    assert_eq!(failure(&failed, "each").message, "item 2 on local: ended with exit code 1");
    assert_eq!(witness(&done), ["0 1", "1 1", "1 2", "2 1", "2 2", "3 1"]);

    std::fs::write(folder.path().join("mended"), "").expect("written");
    let id = failed.execution.id().as_str();
    let by = "tester".to_owned();
    engine.control(id, Control::RetryFailed, by, String::new()).await.expect("it failed");
    let ended = wait_end(&engine, id).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    assert_eq!(witness(&done), ["0 1", "1 1", "1 2", "2 1", "2 2", "2 3", "3 1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_tools_go_over_lists_too() {
    let place = Place::new();
    let mut options = place.options();
    let tools = ToolServer::Stdio {
        program: "sh".to_owned(),
        args: vec!["-c".to_owned(), SERVER.to_owned()],
        env: BTreeMap::new(),
    };
    options.tool_servers.insert("sh".to_owned(), tools);
    let engine = Engine::open(options).await.expect("it opens");
    let address = server(vec![("200 OK", "{\"id\": 41}")]).await;
    let ask = HttpSpec { url: format!("http://{address}/{{{{ item }}}}"), ..HttpSpec::default() };
    let steps = vec![
        over(step("ask", &[], Action::Http(ask)), json!(["a", "b", "c"]), 2),
        over(calling("greet", &[], "greet", "{{ item }}"), json!(["ann", "bob"]), 2),
    ];

    let ended = run(&engine, "w", steps).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed, "{:#?}", ended.execution);
    let asked = state(&ended, "ask").outputs["items"].as_array().expect("a list").clone();
    assert!(asked.len() == 3 && asked.iter().all(|item| item["json"]["id"] == 41), "{asked:?}");
    let greeted = &state(&ended, "greet").outputs["items"];
    assert_eq!(greeted, &json!([{"said": "hello ann"}, {"said": "hello bob"}]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_runs_for_each_item_with_the_item_as_its_parameter() {
    let place = Place::new();
    let engine = place.open().await;
    create(&engine, "inner", vec![shell("say", &[], "echo '{\"who\": \"{{ parameters.who }}\"}'")])
        .await;
    let action = Action::Workflow {
        workflow_id: "inner".to_owned(),
        revision: None,
        parameters: Map::from_iter([("who".to_owned(), json!("{{ item }}"))]),
    };
    let steps = vec![over(step("sub", &[], action), json!(["ann", "bob", "cid"]), 2)];

    let ended = run(&engine, "outer", steps).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed, "{:#?}", ended.execution);
    let items = &state(&ended, "sub").outputs["items"];
    let who: Vec<&Value> =
        items.as_array().expect("a list").iter().map(|item| &item["say"]["who"]).collect();
    assert_eq!(who, [&json!("ann"), &json!("bob"), &json!("cid")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_repeats_no_item_that_has_ended() {
    let place = Place::new();
    let folder = tempfile::TempDir::new().expect("a directory");
    let done = folder.path().join("done");
    let gate = folder.path().join("gate");
    // The first three end at once, the others wait until the gate is there.
    let line = format!(
        "if [ {{{{ item }}}} -ge 3 ]; then while ! test -e {}; do sleep 0.02; done; fi; echo {{{{ item }}}} >> {}",
        gate.display(),
        done.display()
    );
    let list = json!("{{ range(parameters.count) }}");
    let engine = place.open().await;
    create(&engine, "w", vec![over(shell("each", &[], &line), list, 2)]).await;
    let new = NewExecution {
        workflow_id: "w".to_owned(),
        parameters: Map::from_iter([("count".to_owned(), json!(8))]),
        by: "tester".to_owned(),
        ..NewExecution::default()
    };
    let id = engine.execute(new).await.expect("it starts").execution.id().to_string();
    wait_for(&engine, &id, |now| now.execution.step(0).targets.tally().succeeded == 3).await;
    engine.close().await;

    let engine = place.open().await;
    std::fs::write(&gate, "").expect("written");
    let ended = wait_end(&engine, &id).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    assert_eq!(witness(&done), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    let epochs: Vec<u32> =
        ended.execution.step(0).targets.iter().map(|target| target.epoch).collect();
    assert_eq!(epochs[..3], [1, 1, 1]);
    assert_eq!(epochs.iter().filter(|epoch| **epoch == 2).count(), 2, "{epochs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_ten_thousand_queued_items_is_one_event() {
    let place = Place::new();
    let engine = place.open().await;
    let steps = vec![over(shell("each", &[], "sleep 600"), json!("{{ range(10000) }}"), 2)];
    create(&engine, "w", steps).await;
    let id = start(&engine, "w").await;
    wait_for(&engine, &id, |now| now.execution.step(0).targets.tally().running == 2).await;

    let by = "tester".to_owned();
    engine.control(&id, Control::Cancel, by, String::new()).await.expect("it is open");
    let ended = wait_end(&engine, &id).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Cancelled);
    assert!(ended.execution.head().events <= 8, "{}", ended.execution.head().events);
}
