//! Inline calls: what a quick plugin may do on its caller's thread, and what happens to one that is quick no more. The
//! other client is served on that very thread, and must notice nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::evidence::Verdict;
use caelum_core::tree::MapTree;
use caelum_plugin_host::{CallControl, Called, Limits, Plugin};
use serde_json::{Value, json};

use crate::harness::evidence;
use crate::sdk::{behave, hostile, patient};
use crate::watched::Watched;

/// Far longer than a machine is busy all the time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has a plugin that is taken for quick judge something. On a busy machine a tick of the clock may come before even a
/// quick call is over, so this asks until one was not disturbed.
async fn inline(plugins: &Watched, plugin: &Arc<Plugin>, parameters: Value) -> Called<Verdict> {
    let limit = Instant::now() + PATIENCE;
    loop {
        plugin.assume_quick();
        let called = behave(plugins, plugin, parameters.clone()).await;
        if called.report.inline {
            return called;
        }
        assert!(Instant::now() < limit, "no call ran inline: {:?}", called.report);
    }
}

#[tokio::test]
async fn an_inline_call_gives_what_one_on_a_thread_of_its_own_gives() {
    let (plugins, plugin) = hostile(patient()).await;
    for parameters in [
        json!({"behavior": "echo"}),
        json!({"behavior": "remember"}),
        json!({"behavior": "panic"}),
        json!({"behavior": "not-applicable"}),
        json!({"behavior": "bad-metrics"}),
        json!({"behavior": "many-reasons", "amount": 1_001}),
    ] {
        let (new_plugins, new) = hostile(patient()).await;
        let apart = behave(&new_plugins, &new, parameters.clone()).await;
        assert!(!apart.report.inline, "nothing is known of it yet");

        let inline = inline(&plugins, &plugin, parameters.clone()).await;

        let told = |called: &Called<Verdict>| match &called.outcome {
            Ok(verdict) => format!("{verdict:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(told(&inline), told(&apart), "{parameters}");
        assert_eq!(inline.report.peak_memory_bytes, apart.report.peak_memory_bytes);
    }
}

#[tokio::test]
async fn what_cannot_be_done_inline_is_begun_again_and_answered_as_ever() {
    let (plugins, plugin) = hostile(patient()).await;
    for (parameters, host_calls, error) in [
        (json!({"behavior": "loop"}), 0, Some("ran longer than its limit of 2000 ms")),
        (json!({"behavior": "copy-loop"}), 0, Some("ran longer than its limit of 2000 ms")),
        (json!({"behavior": "grow"}), 0, Some("needs more memory than its limit of 64 MiB")),
        (json!({"behavior": "flood-log", "amount": 3}), 3, None),
        (json!({"behavior": "flood-progress", "amount": 2}), 2, None),
        (json!({"behavior": "flood-read", "amount": 2, "path": "a.txt"}), 2, None),
        (json!({"behavior": "flood-entries", "amount": 2}), 2, None),
        (json!({"behavior": "wait-for-cancel", "amount": 1}), 2, None),
    ] {
        plugin.assume_quick();

        let called = behave(&plugins, &plugin, parameters.clone()).await;

        assert!(!called.report.inline, "{parameters}");
        assert_eq!(called.report.host_calls, host_calls, "{parameters}");
        match (&called.outcome, error) {
            (Ok(_), None) => {}
            (Err(told), Some(error)) => assert!(told.to_string().ends_with(error), "{told}"),
            (outcome, _) => panic!("{parameters}: {outcome:?}"),
        }
        if parameters["behavior"] == "flood-log" {
            // What the attempt would have said is not said twice.
            assert_eq!(called.report.logs.lines.len(), 3);
        }
        let next = behave(&plugins, &plugin, json!({"behavior": "echo"})).await;
        assert!(!next.report.inline, "after {parameters} it has to prove itself anew");
        next.outcome.expect("the next call works");
    }
}

#[tokio::test]
async fn a_call_that_wants_more_memory_than_an_inline_one_may_is_begun_again_elsewhere() {
    let (plugins, plugin) = hostile(patient()).await;
    let begins_with = inline(&plugins, &plugin, json!({})).await.report.peak_memory_bytes;
    let pieces = |amount: u64| json!({"behavior": "grow", "amount": amount});

    let within = inline(&plugins, &plugin, pieces(1)).await;
    plugin.assume_quick();
    let beyond = behave(&plugins, &plugin, pieces(6)).await;

    assert!(within.report.peak_memory_bytes > begins_with);
    assert!(!beyond.report.inline);
    assert!(beyond.report.peak_memory_bytes > Limits::default().inline_memory_bytes_max);
    beyond.outcome.expect("it has all its memory there");

    // With less than a page nothing runs inline at all.
    let limits = Limits { inline_memory_bytes_max: 65_535, ..patient() };
    let (plugins, plugin) = hostile(limits).await;
    for _ in 0..20 {
        plugin.assume_quick();
        let called = behave(&plugins, &plugin, json!({})).await;
        assert!(!called.report.inline);
        called.outcome.expect("it answers");
    }
}

#[tokio::test]
async fn a_thread_with_little_stack_is_not_overrun() {
    let (plugins, plugin) = hostile(patient()).await;
    let asked = std::thread::Builder::new().stack_size(768 * 1024).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for _ in 0..20 {
            plugin.assume_quick();
            let parameters = json!({"behavior": "recurse"});
            let (evidence, tree) = (evidence(), Arc::new(MapTree::new()));
            let control = CallControl::default();
            // Not by way of the other client's thread.
            let host = &*plugins;
            let call = host.judge(&plugin, &evidence, None, tree, &parameters, control);
            // Elsewhere or, where the system has given more stack than was asked for, here.
            let error = runtime.block_on(call).outcome.expect_err("it recurses without end");
            let error = error.to_string();
            assert!(error.contains("trapped"), "{error}");
        }
    });

    asked.expect("a thread").join().expect("every call ended as it should");
}

#[tokio::test]
async fn endless_recursion_on_the_thread_of_the_caller_is_a_trap() {
    let (plugins, plugin) = hostile(patient()).await;

    let called = inline(&plugins, &plugin, json!({"behavior": "recurse"})).await;

    let error = called.outcome.expect_err("it recurses without end").to_string();
    assert!(error.contains("trapped"), "{error}");
    inline(&plugins, &plugin, json!({})).await.outcome.expect("the next call works");
}
