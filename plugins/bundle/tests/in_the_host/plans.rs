//! Plans that a host must refuse before anybody sees them, and good ones.

use std::sync::Arc;

use caelum_core::pattern::Plan;
use caelum_core::plugin::{HostReason, PluginFailure, PluginKind};
use caelum_plugin_host::{CallControl, Called};
use serde_json::{Value, json};

use crate::harness::{failure, serve, tree};

async fn plan(parameters: Value) -> Called<Plan> {
    let (plugins, plugin) = serve("guest-bad-plans", PluginKind::Pattern, "bad-plans").await;
    let tree = tree(&[("file.txt", "one two three\n")]);
    plugins.plan(&plugin, Arc::new(tree), &parameters, &json!({}), CallControl::default()).await
}

#[tokio::test]
async fn a_good_plan_arrives_as_it_was_made() {
    let plan = plan(json!({})).await.outcome.expect("a plan");

    assert_eq!(plan.edits.len(), 1);
    assert_eq!(plan.edits[0].change.paths(), ["MARK"]);
    assert_eq!(plan.edits[0].resolves, [plan.findings[0].fingerprint.clone()]);
}

#[tokio::test]
async fn plans_that_break_the_contract_are_refused() {
    let table = [
        json!({ "fault": "none", "path": "../outside" }),
        json!({ "fault": "none", "path": "/etc/cron.d/x" }),
        json!({ "fault": "none", "path": "a/../../b" }),
        json!({ "fault": "none", "path": "a\\b" }),
        json!({ "fault": "overlap", "path": "file.txt" }),
        json!({ "fault": "backwards", "path": "file.txt" }),
        json!({ "fault": "malformed-hash", "path": "file.txt" }),
        json!({ "fault": "twice" }),
        json!({ "fault": "case-twins", "path": "Mixed" }),
        json!({ "fault": "delete-and-change", "path": "file.txt" }),
        json!({ "fault": "many-edits", "amount": 1_001 }),
        json!({ "fault": "huge-file", "amount": 4 * 1024 * 1024 + 1 }),
    ];
    for parameters in table {
        let failure = failure(plan(parameters.clone()).await);

        assert!(
            matches!(
                failure,
                PluginFailure::Host(
                    HostReason::Contract { .. } | HostReason::OutputTooLarge { .. }
                )
            ),
            "{parameters}: {failure:?}"
        );
    }
}

#[tokio::test]
async fn the_largest_legal_plans_are_taken() {
    let many = plan(json!({ "fault": "many-edits", "amount": 1_000 })).await;
    let large = plan(json!({ "fault": "huge-file", "amount": 4 * 1024 * 1024 })).await;

    assert_eq!(many.outcome.expect("a plan").edits.len(), 1_000);
    assert_eq!(large.outcome.expect("a plan").edits.len(), 1);
}

#[tokio::test]
async fn a_pattern_that_breaks_down_while_it_plans_says_so() {
    let panicked = failure(plan(json!({ "fault": "panic" })).await);
    let failed = failure(plan(json!({ "fault": "error" })).await);

    assert!(matches!(panicked, PluginFailure::Host(HostReason::Trap { .. })), "{panicked:?}");
    assert_eq!(failed, PluginFailure::Own("a pattern that fails on demand".to_owned()));
}

#[tokio::test]
async fn a_panic_in_a_plugin_of_the_sdk_is_logged_with_its_place() {
    let called = plan(json!({ "fault": "panic" })).await;

    let lines = called.report.logs.lines;
    let told = lines.iter().any(|line| {
        line.message.contains("a pattern that panics on demand") && line.message.contains("lib.rs")
    });
    assert!(told, "{lines:?}");
}
