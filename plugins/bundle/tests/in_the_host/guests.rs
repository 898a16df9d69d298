//! Guests that behave, and guests that are never served.

use caelum_core::evidence::VerdictKind;
use caelum_core::plugin::PluginKind;
use caelum_core::tree::MapTree;
use caelum_plugin_host::{CallControl, Stage};
use serde_json::json;

use crate::harness::{judge, limits, misbehave, misbehave_over, open_guest, serve, tree};

#[tokio::test]
async fn the_smallest_validator_judges() {
    let (plugins, plugin) = serve("guest-all-zero", PluginKind::Validator, "all-zero").await;

    let called = judge(&plugins, &plugin, MapTree::new(), json!({}), CallControl::default()).await;

    let verdict = called.outcome.expect("a verdict");
    assert_eq!(verdict.kind, VerdictKind::Inconclusive);
    assert_eq!(verdict.reasons[0].code, "no-outcome");
}

#[tokio::test]
async fn evidence_arrives_as_it_was_sent() {
    let called = misbehave(json!({ "behavior": "echo" })).await;

    let metrics = called.outcome.expect("a verdict").metrics;
    assert_eq!(metrics["execution_id"], "execution-1");
    assert_eq!(metrics["step_id"], "step-1");
    assert_eq!(metrics["attempt"], 2);
    assert_eq!(metrics["performer"], "ada");
    assert_eq!(metrics["files"], "evidence/local/report.txt");
}

#[tokio::test]
async fn collected_files_and_the_tree_can_be_read() {
    let tree = || tree(&[("src/a.txt", "a\n"), ("src/b.txt", "b\n")]);
    let read = |path: &str| json!({ "behavior": "read-one", "path": path });

    let evidence = misbehave_over(tree(), read("evidence/local/report.txt")).await;
    let file = misbehave_over(tree(), read("src/a.txt")).await;
    let folder = misbehave_over(tree(), read("src")).await;
    let nothing = misbehave_over(tree(), read("src/c.txt")).await;

    let metrics = |called: caelum_plugin_host::Called<caelum_core::evidence::Verdict>| {
        called.outcome.expect("a verdict").metrics
    };
    assert_eq!(metrics(evidence)["text"], "all is well\n");
    let file = metrics(file);
    assert_eq!(
        (file["text"].as_str(), file["entries"].as_str()),
        (Some("a\n"), Some("not-a-directory"))
    );
    let folder = metrics(folder);
    assert_eq!(
        (folder["text"].as_str(), folder["entries"].as_str()),
        (Some("not-a-file"), Some("src/a.txt\nsrc/b.txt"))
    );
    assert_eq!(metrics(nothing)["text"], "not-found");
}

#[tokio::test]
async fn nothing_survives_a_call() {
    let (plugins, plugin) = serve("guest-hostile", PluginKind::Validator, "hostile").await;
    let remember = || {
        let parameters = json!({ "behavior": "remember" });
        judge(&plugins, &plugin, MapTree::new(), parameters, CallControl::default())
    };

    let first = remember().await.outcome.expect("a verdict");
    let second = remember().await.outcome.expect("a verdict");

    assert_eq!(first.metrics["calls"], 1);
    assert_eq!(second.metrics["calls"], 1);
}

#[tokio::test]
async fn a_description_that_never_comes_is_refused() {
    let plugins = open_guest("guest-slow-describe", limits()).await;

    let refused = plugins.snapshot().refused.clone();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].stage, Stage::Describe, "{}", refused[0]);
    assert!(refused[0].reason.contains("1000 ms"), "{}", refused[0]);
}

#[tokio::test]
async fn a_file_that_names_another_plugin_than_its_description_is_refused() {
    let plugins = open_guest("guest-impostor", limits()).await;

    let refused = plugins.snapshot().refused.clone();
    assert_eq!(refused.len(), 1);
    let told = refused[0].to_string();
    assert!(told.contains("innocent") && told.contains("impostor"), "{told}");
}

#[tokio::test]
async fn a_memory_that_begins_above_the_limit_is_refused() {
    let plugins = open_guest("guest-greedy", limits()).await;

    let refused = plugins.snapshot().refused.clone();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].reason.contains("memory"), "{}", refused[0]);
}
