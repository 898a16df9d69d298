//! What the hostile guest does, and what the host makes of it.

use caelum_core::evidence::VerdictKind;
use caelum_core::plugin::{HostReason, PluginFailure, PluginKind};
use caelum_core::tree::MapTree;
use caelum_plugin_host::CallControl;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::harness::{failure, judge, misbehave, misbehave_over, serve, tree};

#[tokio::test]
async fn loops_end_at_the_deadline() {
    let behaviors = ["loop", "copy-loop", "flood-log", "flood-progress", "wait-for-cancel"];
    let calls = behaviors.map(|behavior| {
        tokio::spawn(async move { failure(misbehave(json!({ "behavior": behavior })).await) })
    });

    for (behavior, call) in behaviors.into_iter().zip(calls) {
        let failure = call.await.expect("the test's own task");
        assert!(
            matches!(failure, PluginFailure::Host(HostReason::Timeout { limit_ms: 2_000 })),
            "{behavior}: {failure:?}"
        );
    }
}

#[tokio::test]
async fn memory_without_end_is_told_as_what_it_is() {
    let failure = failure(misbehave(json!({ "behavior": "grow" })).await);

    assert!(matches!(failure, PluginFailure::Host(HostReason::OutOfMemory { .. })), "{failure:?}");
}

#[tokio::test]
async fn memory_below_the_limit_is_granted() {
    let called = misbehave(json!({ "behavior": "grow", "amount": 40 })).await;

    assert!(called.outcome.is_ok(), "{:?}", called.outcome);
    assert!(called.report.peak_memory_bytes > 40 * 1024 * 1024);
}

#[tokio::test]
async fn recursion_without_end_traps_and_deep_recursion_works() {
    let endless = failure(misbehave(json!({ "behavior": "recurse" })).await);
    let deep = misbehave(json!({ "behavior": "recurse", "amount": 1_000 })).await;

    let PluginFailure::Host(HostReason::Trap { message }) = &endless else {
        panic!("{endless:?}");
    };
    // Rust keeps what has an address on a stack of its own in memory, which ends before the engine's.
    assert!(message.contains("stack") || message.contains("out of bounds memory"), "{message}");
    assert_eq!(deep.outcome.expect("a verdict").metrics["depth"], 1_000);
}

#[tokio::test]
async fn a_panic_is_a_trap() {
    let failure = failure(misbehave(json!({ "behavior": "panic" })).await);

    assert!(matches!(failure, PluginFailure::Host(HostReason::Trap { .. })), "{failure:?}");
}

#[tokio::test]
async fn results_beyond_the_limits_are_refused_whole() {
    let table = [
        json!({ "behavior": "huge-result", "amount": 16 * 1024 * 1024 }),
        json!({ "behavior": "many-reasons", "amount": 400_000 }),
        json!({ "behavior": "many-findings", "amount": 1_001 }),
        json!({ "behavior": "bad-metrics" }),
        json!({ "behavior": "deep-metrics", "amount": 10_000 }),
    ];
    for parameters in table {
        let failure = failure(misbehave(parameters.clone()).await);

        assert!(
            matches!(
                failure,
                PluginFailure::Host(
                    HostReason::OutputTooLarge { .. } | HostReason::Contract { .. }
                )
            ),
            "{parameters}: {failure:?}"
        );
    }
}

#[tokio::test]
async fn a_thousand_findings_are_taken() {
    let called = misbehave(json!({ "behavior": "many-findings", "amount": 1_000 })).await;

    assert_eq!(called.outcome.expect("a verdict").findings.len(), 1_000);
}

#[tokio::test]
async fn control_characters_do_not_reach_people() {
    let called = misbehave(json!({ "behavior": "control-characters" })).await;

    let verdict = called.outcome.expect("a verdict");
    let texts = [&verdict.summary, &verdict.reasons[0].message, &verdict.findings[0].message];
    for text in texts {
        let nasty = |character: char| {
            matches!(character, '\u{1b}' | '\u{7}' | '\0' | '\u{202e}' | '\u{202c}' | '\u{feff}')
        };
        assert!(!text.contains(nasty), "{text:?}");
    }
}

#[tokio::test]
async fn a_flood_of_log_lines_is_counted_and_dropped() {
    let called = misbehave(json!({ "behavior": "flood-log", "amount": 5_000 })).await;

    assert!(called.outcome.is_ok(), "{:?}", called.outcome);
    assert_eq!(called.report.logs.lines.len() as u64 + called.report.logs.lines_dropped, 5_000);
    assert!(called.report.logs.lines.len() <= 1_000);
}

#[tokio::test]
async fn reads_beyond_the_budget_fail_and_the_guest_goes_on() {
    let tree = tree(&[("a", &"x".repeat(1024))]);
    let flood = json!({ "behavior": "flood-read", "amount": 20_000, "path": "a" });

    let called = misbehave_over(tree, flood).await;

    assert_eq!(called.outcome.expect("a verdict").metrics["turns"], 20_000);
    assert!(called.report.bytes_read <= 32 * 1024 * 1024, "{:?}", called.report);
}

#[tokio::test]
async fn wild_paths_are_refused_every_one() {
    let tree = tree(&[("a/b", "inside\n"), (".env", "SECRET=1"), (".git/config", "[core]")]);

    let called = misbehave_over(tree, json!({ "behavior": "wild-paths" })).await;

    let metrics = called.outcome.expect("a verdict").metrics;
    let answers = metrics.as_object().expect("an object");
    assert!(answers.len() > 20, "{answers:?}");
    for (path, answer) in answers {
        let answer = answer.as_str().expect("text");
        if let Some(pattern) = path.strip_prefix("glob ") {
            assert!(answer == "0" || answer.starts_with("io: "), "{pattern}: {answer}");
        } else {
            let words: Vec<_> = answer.split(' ').collect();
            let refused = words.iter().all(|word| ["denied", "not-found"].contains(word));
            assert!(words.len() == 3 && refused, "{path:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_cancelled_call_ends() {
    let (plugins, plugin) = serve("guest-hostile", PluginKind::Validator, "hostile").await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let control = CallControl { cancel, ..CallControl::default() };

    let called =
        judge(&plugins, &plugin, MapTree::new(), json!({ "behavior": "loop" }), control).await;

    let failure = failure(called);
    assert!(matches!(failure, PluginFailure::Host(HostReason::Cancelled)), "{failure:?}");
}

#[tokio::test]
async fn a_plugins_own_errors_keep_their_kind() {
    let own = failure(misbehave(json!({ "behavior": "other-error", "amount": 10 })).await);
    let not_applicable = failure(misbehave(json!({ "behavior": "not-applicable" })).await);
    let invalid =
        failure(misbehave(json!({ "behavior": "invalid-parameters", "amount": 2 })).await);

    assert_eq!(own, PluginFailure::Own("xxxxxxxxxx".to_owned()));
    assert_eq!(not_applicable, PluginFailure::NotApplicable("nothing here".to_owned()));
    assert!(matches!(&invalid, PluginFailure::InvalidParameters(problems) if problems.len() == 2));
}

#[tokio::test]
async fn wrong_parameters_never_reach_the_guest() {
    let wrong = json!({ "behavior": "sing", "amount": -1, "extra": true });
    let (plugins, plugin) = serve("guest-hostile", PluginKind::Validator, "hostile").await;

    let called = judge(&plugins, &plugin, MapTree::new(), wrong, CallControl::default()).await;

    let PluginFailure::InvalidParameters(problems) = failure(called) else {
        panic!("the schema refuses them");
    };
    assert!(problems.len() >= 3, "{problems:?}");
}

#[tokio::test]
async fn a_verdict_without_words_is_not_a_pass() {
    let called = misbehave(json!({ "behavior": "no-reason" })).await;

    match called.outcome {
        Ok(verdict) => assert_eq!(verdict.kind, VerdictKind::Fail),
        Err(error) => assert!(
            matches!(error.failure, PluginFailure::Host(HostReason::Contract { .. })),
            "{error}"
        ),
    }
}
