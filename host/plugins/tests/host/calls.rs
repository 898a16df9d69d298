//! Calls of guests that behave: answers, reads, logs, progress, and what the host itself may do wrong.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use caelum_core::evidence::VerdictKind;
use caelum_core::pattern::Applicability;
use caelum_core::plugin::{PluginFailure, PluginKind};
use caelum_core::tree::{Entry, MapTree, Tree, TreeError};
use caelum_plugin_host::{CallControl, Limits};
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::guests::{ANSWER, Guest, SCRATCH, component, say, typed_module};
use crate::harness::{evidence_with, host, judge, judge_in, judge_with, quick, serving, told};

#[tokio::test]
async fn a_validator_gives_its_verdict_and_the_call_is_reported() {
    let guest = Guest { verdict: 1, ..Guest::default() };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;

    let called = judge(&plugins, &plugin).await;

    let verdict = called.outcome.expect("a verdict");
    assert_eq!(verdict.kind, VerdictKind::Fail);
    assert_eq!(verdict.summary, "looked at");
    assert_eq!(verdict.reasons[0].code, "because");
    assert_eq!(called.report.peak_memory_bytes, 2 * 65_536);
    assert_eq!(called.report.host_calls, 0);
    assert!(called.report.deadline_left > Duration::ZERO);
    let second = judge(&plugins, &plugin).await;
    assert!(second.outcome.is_ok());
    assert!(second.report.call > called.report.call);
}

#[tokio::test]
async fn a_pattern_is_validated_and_planned() {
    let plugins = host(quick(), &[("guest", Guest::default().pattern())]).await;
    let plugin = plugins.find(PluginKind::Pattern, "guest").expect("it is served");
    let tree = || Arc::new(MapTree::new());
    let (none, control) = (json!({}), CallControl::default);

    let assessment = plugins.validate(&plugin, tree(), &none, &none, control()).await;
    let plan = plugins.plan(&plugin, tree(), &none, &none, control()).await;

    let assessment = assessment.outcome.expect("an assessment");
    assert_eq!(assessment.applicability, Applicability::AlreadyApplied);
    assert_eq!(plan.outcome.expect("a plan").summary, "nothing to do");
}

#[tokio::test]
async fn a_plugin_is_not_asked_for_what_its_kind_does_not_have() {
    let (plugins, plugin) = serving(quick(), Guest::default().validator()).await;
    let (none, tree) = (json!({}), Arc::new(MapTree::new()));

    let called = plugins.plan(&plugin, tree, &none, &none, CallControl::default()).await;

    assert_eq!(
        told(called),
        "validator `guest` 1.0.0: host failure: a plugin was asked for what its kind does not have"
    );
}

#[tokio::test]
async fn parameters_are_checked_against_the_schema_before_the_guest_runs() {
    let schema =
        r#"{"type":"object","properties":{"min":{"type":"integer"}},"additionalProperties":false}"#;
    let guest = Guest { schema: schema.to_owned(), ..Guest::judging("unreachable") };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;
    let parameters = json!({"min": "x", "mim": 1});

    let called = judge_with(
        &plugins,
        &plugin,
        Arc::new(MapTree::new()),
        &parameters,
        CallControl::default(),
    )
    .await;

    let Err(error) = called.outcome else { panic!("it had to fail") };
    let PluginFailure::InvalidParameters(mut problems) = error.failure else { panic!("{error}") };
    problems.sort_by(|one, other| one.pointer.cmp(&other.pointer));
    let problems: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}: {}", problem.pointer, problem.message))
        .collect();
    assert_eq!(
        problems,
        [": `mim` is not known; did you mean `min`?", "/min: \"x\" is not of type \"integer\""]
    );
}

/// A guest that reads the file `path` and says what it read, or the number of the error as one digit.
fn reader(path: &str) -> Guest {
    let bytes: String = path.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let at = SCRATCH + 2_048;
    Guest {
        fields: format!(
            r#"(import "caelum:plugin/target@0.1.0" "read-text" (func $read_text (param i32 i32 i32)))
               (data (i32.const {at}) "{bytes}")"#
        ),
        ..Guest::judging(&format!(
            "(call $read_text (i32.const {at}) (i32.const {length}) (i32.const {SCRATCH}))
             (if (i32.load8_u (i32.const {SCRATCH}))
                (then
                    (i32.store8 (i32.const {digit}) (i32.add (i32.const 48) (i32.load8_u (i32.const {error}))))
                    (i32.store (i32.const {summary}) (i32.const {digit}))
                    (i32.store (i32.const {summary_length}) (i32.const 1)))
                (else
                    (i32.store (i32.const {summary}) (i32.load (i32.const {error})))
                    (i32.store (i32.const {summary_length}) (i32.load (i32.const {text_length})))))",
            length = path.len(),
            error = SCRATCH + 4,
            text_length = SCRATCH + 8,
            digit = SCRATCH + 1_024,
            summary = ANSWER + 8,
            summary_length = ANSWER + 12,
        ))
    }
}

#[tokio::test]
async fn a_validator_reads_its_evidence_and_nothing_outside() {
    let summary = async |path: &str| {
        let (plugins, plugin) = serving(quick(), reader(path).validator()).await;
        let tree: MapTree =
            [("a.txt", b"component".as_slice()), (".env", b"SECRET=1")].into_iter().collect();
        let evidence = evidence_with("report.txt", "collected");
        let called = plugins
            .judge(&plugin, &evidence, None, Arc::new(tree), &json!({}), CallControl::default())
            .await;
        let denied = called.report.reads_denied;
        (called.outcome.expect("a verdict").summary, called.report.bytes_read, denied)
    };

    assert_eq!(summary("evidence/local/report.txt").await, ("collected".to_owned(), 9, 0));
    assert_eq!(summary("a.txt").await, ("component".to_owned(), 9, 0));
    let (not_found, denied) = ("0".to_owned(), "1".to_owned());
    assert_eq!(summary("nowhere").await, (not_found, 0, 0));
    for path in ["../a.txt", "/etc/passwd", ".env", "evidence/../../x", "a\\b", "a//b"] {
        assert_eq!(summary(path).await, (denied.clone(), 0, 1), "{path}");
    }
}

/// A guest that reads one file for ever, or until it is refused: then it traps.
fn flood(path: &str) -> Guest {
    let guest = reader(path);
    let at = SCRATCH + 2_048;
    Guest {
        judge: format!(
            "(loop $again
                (call $read_text (i32.const {at}) (i32.const {length}) (i32.const {SCRATCH}))
                (br_if $again (i32.eqz (i32.load8_u (i32.const {SCRATCH}))))) {digit}",
            length = path.len(),
            digit = format_args!(
                "(i32.store8 (i32.const {SCRATCH}) (i32.add (i32.const 48) (i32.load8_u (i32.const {})))) {}",
                SCRATCH + 4,
                say("(i32.const 1)")
            ),
        ),
        ..guest
    }
}

#[tokio::test]
async fn reads_have_a_budget_in_calls_and_in_bytes() {
    let tree = || -> MapTree { [("a", vec![b'x'; 1_000])].into_iter().collect() };
    let budget_exceeded = "5";

    let limits = Limits { target_calls_max: 7, ..quick() };
    let (plugins, plugin) = serving(limits, flood("a").validator()).await;
    let called = judge_in(&plugins, &plugin, Arc::new(tree())).await;
    assert_eq!((called.report.host_calls, called.report.bytes_read), (8, 7_000));
    assert_eq!(called.outcome.expect("a verdict").summary, budget_exceeded);

    let limits = Limits { target_bytes_max: 2_500, ..quick() };
    let (plugins, plugin) = serving(limits, flood("a").validator()).await;
    let called = judge_in(&plugins, &plugin, Arc::new(tree())).await;
    assert_eq!((called.report.host_calls, called.report.bytes_read), (3, 2_000));
    assert_eq!(called.outcome.expect("a verdict").summary, budget_exceeded);
}

#[tokio::test]
async fn a_flood_of_log_lines_is_counted_and_the_first_are_kept() {
    let guest = Guest {
        fields: r#"(import "caelum:plugin/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))
                   (global $left (mut i32) (i32.const 5000))"#
            .to_owned(),
        ..Guest::judging(&format!(
            "(i32.store (i32.const {SCRATCH}) (i32.const 0x6d305b1b)) ;; ESC [ 0 m
             (i32.store8 (i32.const {}) (i32.const 0x78)) ;; x
             (loop $again
                (call $log (i32.const 2) (i32.const {SCRATCH}) (i32.const 5) (i32.const 0) (i32.const 0))
                (global.set $left (i32.sub (global.get $left) (i32.const 1)))
                (br_if $again (global.get $left)))",
            SCRATCH + 4
        ))
    };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;

    let called = judge(&plugins, &plugin).await;

    let logs = &called.report.logs;
    assert_eq!((logs.lines.len(), logs.lines_dropped), (1_000, 4_000));
    assert_eq!(logs.lines[0].message, "x");
    assert!(called.outcome.is_ok());
}

#[tokio::test]
async fn globals_do_not_survive_a_call() {
    let guest = Guest {
        fields: "(global $calls (mut i32) (i32.const 0))".to_owned(),
        ..Guest::judging(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
             (if (i32.gt_u (global.get $calls) (i32.const 1)) (then unreachable))",
        )
    };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;

    for _ in 0..3 {
        judge(&plugins, &plugin).await.outcome.expect("each call is the first");
    }
}

/// A tree whose reads break down, or never end.
struct BadTree {
    panics: bool,
    blocks: bool,
    /// Told when somebody reads.
    reached: Notify,
    released: (Mutex<bool>, Condvar),
}

impl BadTree {
    fn new(panics: bool, blocks: bool) -> Arc<Self> {
        let (reached, released) = (Notify::new(), (Mutex::new(false), Condvar::new()));
        Arc::new(BadTree { panics, blocks, reached, released })
    }

    fn release(&self) {
        *self.released.0.lock().expect("no panic") = true;
        self.released.1.notify_all();
    }
}

impl Tree for BadTree {
    fn entries(&self, _: &str, _: usize) -> Result<Vec<Entry>, TreeError> {
        Ok(vec![])
    }

    fn metadata(&self, path: &str) -> Result<Entry, TreeError> {
        assert!(!self.panics, "the tree is broken");
        self.reached.notify_one();
        let mut released = self.released.0.lock().expect("no panic");
        while !*released {
            released = self.released.1.wait(released).expect("no panic");
        }
        Err(TreeError::NotFound { path: path.to_owned() })
    }

    fn read(&self, path: &str, _: u64, _: usize) -> Result<Vec<u8>, TreeError> {
        Err(TreeError::NotFound { path: path.to_owned() })
    }

    fn may_block(&self) -> bool {
        self.blocks
    }
}

#[tokio::test]
async fn a_panic_in_a_host_function_ends_one_call_and_no_other() {
    // Telling of a panic takes time of its own.
    let limits = Limits { call_deadline: Duration::from_secs(60), ..quick() };
    let (plugins, plugin) = serving(limits, reader("a").validator()).await;

    for blocks in [false, true] {
        let called = judge_in(&plugins, &plugin, BadTree::new(true, blocks)).await;
        assert_eq!(
            told(called),
            "validator `guest` 1.0.0: host failure: a function of the host broke down during the call"
        );
        assert!(judge(&plugins, &plugin).await.outcome.is_ok());
    }
}

#[tokio::test]
async fn a_host_call_that_never_returns_ends_at_the_deadline() {
    let (plugins, plugin) = serving(quick(), reader("a").validator()).await;
    let tree = BadTree::new(false, true);

    let called = judge_in(&plugins, &plugin, tree.clone()).await;
    tree.release();

    assert_eq!(told(called), "validator `guest` 1.0.0: ran longer than its limit of 200 ms");
}

#[tokio::test]
async fn a_call_whose_read_never_returns_can_be_cancelled() {
    let limits = Limits { call_deadline: Duration::from_secs(60), ..quick() };
    let (plugins, plugin) = serving(limits, reader("a").validator()).await;
    let tree = BadTree::new(false, true);
    let cancel = CancellationToken::new();
    let control = CallControl { cancel: cancel.clone(), ..CallControl::default() };
    let call = {
        let (plugins, plugin, tree) = (plugins.clone(), Arc::clone(&plugin), Arc::clone(&tree));
        tokio::spawn(async move { judge_with(&plugins, &plugin, tree, &json!({}), control).await })
    };
    tree.reached.notified().await;

    cancel.cancel();

    let called = tokio::time::timeout(Duration::from_secs(30), call).await;
    tree.release();
    let called = called.expect("long before its deadline").expect("no panic");
    assert_eq!(told(called), "validator `guest` 1.0.0: was cancelled");
}

#[tokio::test]
async fn progress_reaches_the_caller_and_never_falls() {
    let guest = Guest {
        fields: r#"(import "caelum:plugin/control@0.1.0" "progress" (func $progress (param i32 i32 i32 i32 i32)))"#
            .to_owned(),
        ..Guest::judging(
            "(call $progress (i32.const 5) (i32.const 1) (i32.const 9) (i32.const 0) (i32.const 0))
             (call $progress (i32.const 3) (i32.const 1) (i32.const 9) (i32.const 0) (i32.const 0))",
        )
    };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;
    let (sender, receiver) = watch::channel(Default::default());
    let control = CallControl { progress: Some(sender), ..CallControl::default() };

    let called = judge_with(&plugins, &plugin, Arc::new(MapTree::new()), &json!({}), control).await;

    assert!(called.outcome.is_ok());
    let latest = receiver.borrow();
    assert_eq!((latest.done, latest.total), (5, Some(9)));
}

#[tokio::test]
async fn a_plugin_error_is_the_plugins_own_word() {
    // err(other("no")): the result's case 1, the error's case 3.
    let body = format!(
        "(i32.store8 (i32.const {ANSWER}) (i32.const 1))
         (i32.store8 (i32.const {}) (i32.const 3))
         (i32.store16 (i32.const {SCRATCH}) (i32.const 0x6f6e))
         {}",
        ANSWER + 4,
        say("(i32.const 2)")
    );
    let (plugins, plugin) = serving(quick(), Guest::judging(&body).validator()).await;

    let called = judge(&plugins, &plugin).await;

    let Err(error) = called.outcome else { panic!("it had to fail") };
    assert_eq!(error.failure, PluginFailure::Own("no".to_owned()));
    assert_eq!(error.to_string(), "validator `guest` 1.0.0: no");
}

#[test]
fn the_guests_of_these_tests_are_what_they_say() {
    let module = typed_module("(module)", "");
    assert!(component(&module).starts_with(b"\0asm\x0d"));
}
