//! Guests that are built with the sdk, as authors build theirs: the hostile one in every mood, plans that must be
//! refused, and the first-party plugins.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use caelum_core::clock::Timestamp;
use caelum_core::evidence::{Evidence, Verdict, VerdictKind};
use caelum_core::id::MachineId;
use caelum_core::pattern::Plan;
use caelum_core::plugin::PluginKind;
use caelum_core::task::{OutcomeStatus, Output, TaskOutcome};
use caelum_core::tree::MapTree;
use caelum_plugin_build::{BuildRequest, Built, build};
use caelum_plugin_host::{BundledPlugin, CallControl, Called, Limits, Options, Plugin, Stage};
use serde_json::{Value, json};

use crate::harness::{evidence, evidence_with, host, judge, quick, told};
use crate::watched::Watched;

const GUESTS: [&str; 6] =
    ["all-zero", "bad-plans", "greedy", "hostile", "impostor", "slow-describe"];

/// Built once for all tests; quick when nothing has changed.
static BUILT: LazyLock<Vec<Built>> = LazyLock::new(|| {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests");
    let packages: Vec<PathBuf> = GUESTS.iter().map(|guest| guests.join(guest)).collect();
    build(&BuildRequest::new(packages)).unwrap_or_else(|error| panic!("{error}"))
});

fn guest(name: &str) -> Vec<u8> {
    let place = GUESTS.iter().position(|guest| *guest == name).expect("a guest");
    fs::read(&BUILT[place].path).expect("it was built")
}

/// A host that serves the hostile guest.
pub(crate) async fn hostile(limits: Limits) -> (Watched, Arc<Plugin>) {
    let plugins = host(limits, &[("hostile", guest("hostile"))]).await;
    let plugin = plugins.find(PluginKind::Validator, "hostile").unwrap_or_else(|error| {
        panic!("{error}: {:?}", plugins.snapshot().refused);
    });
    (plugins, plugin)
}

/// Limits for guests of a real compiler on a busy machine.
pub(crate) fn patient() -> Limits {
    Limits {
        call_deadline: Duration::from_secs(2),
        describe_deadline: Duration::from_secs(5),
        ..quick()
    }
}

/// Has the hostile guest judge something.
pub(crate) async fn behave(
    plugins: &Watched,
    plugin: &Arc<Plugin>,
    parameters: Value,
) -> Called<Verdict> {
    let files = [("a.txt", "text"), (".env", "SECRET=1"), (".git/config", "x")];
    let tree: MapTree = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
    let evidence = evidence_with("report.xml", "<ok/>");
    let control = CallControl::default();
    plugins.judge(plugin, &evidence, None, Arc::new(tree), &parameters, control).await
}

#[tokio::test]
async fn every_misdeed_is_told_in_its_own_words_and_the_next_call_works() {
    let (plugins, plugin) = hostile(patient()).await;
    let cases = [
        (json!({"behavior": "loop"}), "ran longer than its limit of 2000 ms"),
        (json!({"behavior": "copy-loop"}), "ran longer than its limit of 2000 ms"),
        (json!({"behavior": "flood-progress"}), "ran longer than its limit of 2000 ms"),
        (json!({"behavior": "flood-log"}), "ran longer than its limit of 2000 ms"),
        (
            json!({"behavior": "flood-read", "path": "a.txt"}),
            "ran longer than its limit of 2000 ms",
        ),
        (json!({"behavior": "flood-entries"}), "ran longer than its limit of 2000 ms"),
        (json!({"behavior": "wait-for-cancel"}), "ran longer than its limit of 2000 ms"),
        (json!({"behavior": "grow"}), "needs more memory than its limit of 64 MiB"),
        (json!({"behavior": "recurse"}), "trapped: "),
        (json!({"behavior": "panic"}), "trapped: wasm `unreachable` instruction executed"),
        (
            json!({"behavior": "huge-result", "amount": 9_000_000}),
            "passed more than 8388608 bytes to the host at once",
        ),
        (
            json!({"behavior": "many-reasons", "amount": 1_001}),
            "returned 1001 reasons; at most 1000 are allowed",
        ),
        (
            json!({"behavior": "many-findings", "amount": 1_001}),
            "returned 1001 findings; at most 1000 are allowed",
        ),
        (
            json!({"behavior": "bad-metrics"}),
            "broke the contract: `metrics` is not JSON: EOF while parsing a value at line 1 column 5",
        ),
        (
            json!({"behavior": "deep-metrics", "amount": 65}),
            "broke the contract: `metrics` is nested deeper than 64 levels",
        ),
        (
            json!({"behavior": "no-reason"}),
            "broke the contract: the verdict is `fail` and has no reason",
        ),
        (json!({"behavior": "not-applicable"}), "not applicable: nothing here"),
        (json!({"behavior": "host-error"}), "the host refused: the host said no"),
        (json!({"behavior": "other-error", "amount": 3}), "xxx"),
        (
            json!({"behavior": "invalid-parameters", "amount": 0}),
            "broke the contract: said that the parameters are invalid and named no problem",
        ),
        (
            json!({"behavior": "invalid-parameters", "amount": 2}),
            "the parameters are wrong: /0: wrong; /1: wrong;",
        ),
        (json!({"behavior": "nonsense"}), "the parameters are wrong: /behavior: "),
    ];

    for (parameters, expected) in cases {
        let message = told(behave(&plugins, &plugin, parameters.clone()).await);
        let expected = format!("validator `hostile` 0.1.0: {expected}");
        assert!(message.starts_with(&expected), "{parameters}: {message}");

        let next = behave(&plugins, &plugin, json!({})).await;
        assert_eq!(next.outcome.expect("a good call").kind, VerdictKind::Pass);
    }
}

#[tokio::test]
async fn what_is_at_a_limit_is_accepted() {
    let (plugins, plugin) = hostile(patient()).await;
    for parameters in [
        json!({"behavior": "many-findings", "amount": 1_000}),
        json!({"behavior": "deep-metrics", "amount": 64}),
        json!({"behavior": "recurse", "amount": 100}),
        json!({"behavior": "grow", "amount": 50}),
        json!({"behavior": "huge-result", "amount": 4_000_000}),
        json!({"behavior": "flood-log", "amount": 1_001}),
    ] {
        let called = behave(&plugins, &plugin, parameters.clone()).await;
        assert!(called.outcome.is_ok(), "{parameters}: {}", told(called));
    }
}

#[tokio::test]
async fn a_validator_sees_the_evidence_as_it_is() {
    let (plugins, plugin) = hostile(patient()).await;
    let outcome = TaskOutcome {
        status: OutcomeStatus::Failed,
        exit_code: Some(3),
        signal: None,
        started_at: Timestamp::EPOCH,
        ended_at: Timestamp::from_micros(1_500_000),
        stdout: Output { text: "said\n".to_owned(), total_bytes: 5, truncated: false },
        stderr: Output::default(),
        outputs: json!({"tag": "v1"}).as_object().expect("an object").clone(),
        collected: vec![],
        failure: None,
    };
    let evidence = Evidence {
        outcomes: vec![(MachineId::local(), outcome)],
        performer: Some("ada".to_owned()),
        ..evidence_with("report.xml", "<ok/>")
    };

    let tree = Arc::new(MapTree::new());
    let called =
        plugins.judge(&plugin, &evidence, None, tree, &json!({}), CallControl::default()).await;

    let metrics = called.outcome.expect("a verdict").metrics;
    assert_eq!(metrics["execution_id"], "e1");
    assert_eq!(metrics["performer"], "ada");
    assert_eq!(metrics["files"], "evidence/local/report.xml");
    assert_eq!(metrics["subject_digest"], "07".repeat(32));
    let outcomes: Value =
        serde_json::from_str(metrics["outcomes"].as_str().expect("text")).expect("JSON");
    assert_eq!(
        outcomes,
        json!([{
            "machine": "local", "exit_code": 3, "signal": null, "timed_out": false, "stdout": "said\n",
            "stdout_bytes": 5, "stdout_truncated": false, "outputs": "{\"tag\":\"v1\"}",
        }])
    );
}

#[tokio::test]
async fn no_wild_path_gives_anything() {
    let (plugins, plugin) = hostile(patient()).await;

    let called = behave(&plugins, &plugin, json!({"behavior": "wild-paths"})).await;

    let metrics = called.outcome.expect("a verdict").metrics;
    for (path, answer) in metrics.as_object().expect("an object") {
        let expected = match path.as_str() {
            "glob [" => "io: the pattern cannot be parsed: unclosed character class; missing ']'",
            "glob {a" => {
                "io: the pattern cannot be parsed: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)"
            }
            glob if glob.starts_with("glob ") => "0",
            // A withheld path that is not there.
            "~/.ssh/id_rsa" => "not-found not-found not-found",
            _ => "denied denied denied",
        };
        assert_eq!(answer, expected, "{path:?}");
    }
    assert_eq!(called.report.bytes_read, 0);
}

#[tokio::test]
async fn texts_of_a_plugin_arrive_without_what_deceives() {
    let (plugins, plugin) = hostile(patient()).await;

    let called = behave(&plugins, &plugin, json!({"behavior": "control-characters"})).await;

    let verdict = called.outcome.expect("a verdict");
    assert_eq!(verdict.summary, "desrever second line");
    assert_eq!(verdict.reasons[0].message, "desrever\nsecond line");
    assert_eq!(verdict.findings[0].message, "desrever\nsecond line");
}

#[tokio::test]
async fn an_instance_remembers_nothing() {
    let (plugins, plugin) = hostile(patient()).await;
    for _ in 0..3 {
        let called = behave(&plugins, &plugin, json!({"behavior": "remember"})).await;
        assert_eq!(called.outcome.expect("a verdict").metrics["calls"], 1);
    }
}

#[tokio::test]
async fn reads_are_bounded_one_by_one_and_together() {
    let limits = Limits { target_calls_max: 100, ..patient() };
    let (plugins, plugin) = hostile(limits).await;
    let read = async |amount: u64| {
        let parameters = json!({"behavior": "read-length", "path": "a.txt", "amount": amount});
        let called = behave(&plugins, &plugin, parameters).await;
        called.outcome.expect("a verdict").metrics["read"].clone()
    };

    assert_eq!(read(1024 * 1024).await, "4");
    assert_eq!(read(1024 * 1024 + 1).await, "budget-exceeded");
    let flood = json!({"behavior": "flood-read", "path": "a.txt", "amount": 150});
    let called = behave(&plugins, &plugin, flood).await;
    assert_eq!((called.report.host_calls, called.report.bytes_read), (150, 400));
}

async fn bad_plan(fault: &str, path: &str, amount: u64) -> Called<Plan> {
    let plugins = host(patient(), &[("bad-plans", guest("bad-plans"))]).await;
    let pattern = plugins.find(PluginKind::Pattern, "bad-plans").expect("it is served");
    let tree: MapTree = [("FILE", b"0123456789".as_slice())].into_iter().collect();
    let parameters = json!({"fault": fault, "path": path, "amount": amount});
    plugins.plan(&pattern, Arc::new(tree), &parameters, &json!({}), CallControl::default()).await
}

#[tokio::test]
async fn plans_that_break_the_rules_are_refused_whole() {
    for (fault, path, amount, expected) in [
        ("none", "../x", 1, "edit 0: `../x` leaves the component through `..`"),
        ("none", "/x", 1, "edit 0: `/x` is absolute; paths are relative to the component"),
        ("overlap", "FILE", 1, "overlap"),
        ("backwards", "FILE", 1, "ends before it begins"),
        ("malformed-hash", "FILE", 1, "expected 64 lower-case hexadecimal digits"),
        ("twice", "NEW", 1, "`NEW`"),
        ("case-twins", "New", 1, "is touched by edit 0 already"),
        ("delete-and-change", "FILE", 1, "`FILE`"),
        ("many-edits", "NEW", 1_001, "returned 1001 edits; at most 1000 are allowed"),
        ("huge-file", "NEW", 4_194_305, "returned a plan with 4194305 bytes of new text"),
        ("panic", "FILE", 1, "trapped: wasm `unreachable` instruction executed"),
    ] {
        let called = bad_plan(fault, path, amount).await;
        let message = match called.outcome {
            Ok(plan) => panic!("{fault}: {plan:?}"),
            Err(error) => error.to_string(),
        };
        assert!(message.starts_with("pattern `bad-plans` 0.1.0: "), "{message}");
        assert!(message.contains(expected), "{fault}: {message}");
    }

    let plan = bad_plan("none", "NEW", 1).await.outcome.expect("a good plan");
    assert_eq!(plan.edits.len(), 1);
}

#[tokio::test]
async fn guests_that_cannot_be_loaded_say_why() {
    let limits = Limits { describe_deadline: Duration::from_millis(500), ..patient() };
    for (name, stage, reason) in [
        ("slow-describe", Stage::Describe, "its `describe` ran longer than its limit of 500 ms"),
        (
            "impostor",
            Stage::Manifest,
            "its section `caelum:plugin` names `innocent 0.1.0` and its `describe` answers `impostor 0.1.0`",
        ),
        (
            "greedy",
            Stage::Describe,
            "no instance of it could be made: it needs more memory than its limit of 64 MiB",
        ),
    ] {
        let plugins = host(limits, &[(name, guest(name))]).await;
        let refused = plugins.snapshot().refused.first().cloned().expect("it is refused");
        assert_eq!((refused.stage, refused.reason.as_str()), (stage, reason), "{name}");
    }
}

#[tokio::test]
async fn the_ten_line_validator_works() {
    let plugins = host(patient(), &[("all-zero", guest("all-zero"))]).await;
    let plugin = plugins.find(PluginKind::Validator, "all-zero").expect("it is served");

    let verdict = judge(&plugins, &plugin).await.outcome.expect("a verdict");

    assert_ne!(verdict.kind, VerdictKind::Fail, "evidence of nothing is no failure: {verdict:?}");
    assert_ne!(verdict.kind, VerdictKind::Pass, "and no pass either: {verdict:?}");
}

#[tokio::test]
async fn every_first_party_plugin_is_served_from_the_bundle_and_from_the_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = async || {
        let bundled = caelum_plugin_bundle::bundled()
            .iter()
            .map(|plugin| BundledPlugin {
                name: plugin.id.to_owned(),
                bytes: Cow::Borrowed(plugin.bytes),
            })
            .collect();
        let options = Options {
            limits: patient(),
            cache_directory: Some(folder.path().join("cache")),
            ..Options::default()
        };
        Watched::open(options, bundled).await.expect("the options are legal")
    };
    let expected: Vec<&str> =
        caelum_plugin_bundle::bundled().iter().map(|plugin| plugin.id).collect();

    for start in ["cold", "from the cache"] {
        let plugins = open().await;
        let snapshot = plugins.snapshot();
        assert!(snapshot.refused.is_empty(), "{start}: {:?}", snapshot.refused);
        let served: Vec<&str> = snapshot.plugins.keys().map(|name| name.as_str()).collect();
        assert_eq!(served, expected, "{start}");
        for plugin in snapshot.of_kind(PluginKind::Validator) {
            let tree = Arc::new(MapTree::new());
            let called = plugins
                .judge(plugin, &evidence(), None, tree, &json!({}), CallControl::default())
                .await;
            match called.outcome {
                Ok(verdict) => {
                    assert_ne!(verdict.kind, VerdictKind::Pass, "{start}: {plugin} of nothing");
                }
                // Some cannot do without parameters, and say so.
                Err(error) => assert!(error.to_string().contains("parameters"), "{error}"),
            }
        }
    }
}
