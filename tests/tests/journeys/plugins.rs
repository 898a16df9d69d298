//! An operator's plugins: dropped into the directory of a running server, pinned, put away, compiled beside it.

use std::fs;
use std::time::{Duration, Instant};

use caelum_tests::Client;
use serde_json::{Value, json};

use crate::home;

/// Within which time a dropped file has to be visible; ten times as long on a machine with other work.
const SEEN_WITHIN: Duration = Duration::from_secs(20);

/// Asks until the list of plugins is as wanted.
async fn until(client: &Client, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let limit = Instant::now() + SEEN_WITHIN;
    loop {
        let list = client.ok("list_validators", json!({"include_refused": true})).await;
        if wanted(&list) {
            return list;
        }
        assert!(Instant::now() < limit, "never seen: {what}; {list:#}");
        tokio::task::yield_now().await;
    }
}

fn serves(list: &Value, name: &str) -> bool {
    let validators = list["validators"].as_array().expect("a list");
    validators.iter().any(|validator| validator["name"] == name)
}

fn refused_at(list: &Value, stage: &str) -> bool {
    list["refused"].as_array().is_some_and(|list| list.iter().any(|it| it["stage"] == stage))
}

#[tokio::test]
async fn a_plugin_that_is_dropped_into_a_running_server_is_listed_and_goes_with_its_file() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let before = client.ok("list_validators", json!({})).await;
    assert!(!serves(&before, "hostile"));

    home.install("hostile");
    until(&client, "the dropped plugin", |list| serves(list, "hostile")).await;

    let path = home.data().join("plugins/hostile.wasm");
    fs::write(&path, b"nonsense").expect("writes");
    let list = until(&client, "the refusal", |list| refused_at(list, "header")).await;
    assert!(serves(&list, "hostile"), "the last good one serves on");

    fs::remove_file(&path).expect("removes");
    let list = until(&client, "its end", |list| !serves(list, "hostile")).await;
    assert!(!refused_at(&list, "header"));
    server.stop().await;
}

#[tokio::test]
async fn where_only_pinned_plugins_serve_the_operator_lets_one_in_and_puts_it_away() {
    let home = home();
    let server = home.serve_with(&["--plugin-trust", "pinned"]).await;
    let client = server.client().await;
    home.install("hostile");
    until(&client, "the refusal", |list| refused_at(list, "trust")).await;
    let file = home.data().join("plugins/hostile.wasm");
    let file = file.to_str().expect("a path");

    let inspected = home.run(["--json", "plugin", "inspect", file]).await.expect_code(0).json();
    assert_eq!((&inspected["id"], &inspected["pinned"]), (&json!("hostile"), &json!(false)));
    home.run(["plugin", "pin", file]).await.expect_code(0);
    until(&client, "the pinned plugin", |list| serves(list, "hostile")).await;

    home.run(["plugin", "quarantine", "hostile", "--reason", "it is odd"]).await.expect_code(0);
    let list = until(&client, "its absence", |list| !serves(list, "hostile")).await;
    let reasons: Vec<&str> = list["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["reason"].as_str())
        .collect();
    assert!(reasons.contains(&"it was put away: it is odd"), "{reasons:?}");

    home.run(["plugin", "quarantine", "hostile", "--release"]).await.expect_code(0);
    until(&client, "the released plugin", |list| serves(list, "hostile")).await;
    home.run(["plugin", "unpin", "hostile"]).await.expect_code(0);
    until(&client, "its absence", |list| !serves(list, "hostile")).await;
    server.stop().await;
}

#[tokio::test]
async fn a_server_without_a_cache_greets_before_its_plugins_are_compiled() {
    let home = home();
    let cache = home.path().join("an empty cache");
    let server = home.serve_with(&["--cache-dir", cache.to_str().expect("a path")]).await;
    let client = server.client().await;

    let began = Instant::now();
    client.ok("list_workflows", json!({})).await;
    let answered = began.elapsed();
    let list = client.ok("list_validators", json!({})).await;

    assert!(answered < Duration::from_secs(2), "{answered:?}");
    assert!(serves(&list, "unit-tests"), "who asks for plugins waits for them: {list:#}");
    let compiled = fs::read_dir(&cache)
        .expect("the cache is there")
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "cwasm"))
        .count();
    assert!(compiled >= 8, "{compiled}");
    server.stop().await;
}
