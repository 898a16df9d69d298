//! Calls of guests that behave, and of guests that do not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use caelum_core::evidence::{Verdict, VerdictKind};
use caelum_core::pattern::Applicability;
use caelum_core::plugin::{HostReason, PluginFailure, PluginKind};
use caelum_core::tree::{Entry, MapTree, Tree, TreeError};
use caelum_plugin_host::{CallControl, Called, Limits, Plugin, Plugins, Progress};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::guests::{ANSWER, FOR_EVER, Guest, SCRATCH, component, say, typed_module};
use crate::harness::{evidence_with, host, judge, judge_in, judge_with, quick, serving, told};

/// Far longer than anything here should take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// A guest that says that it is running and then never ends.
fn endless(id: &str) -> Guest {
    Guest {
        id: id.to_owned(),
        fields: r#"(import "caelum:plugin/control@0.1.0" "progress" (func $progress (param i32 i32 i32 i32 i32)))"#
            .to_owned(),
        ..Guest::judging(&format!(
            "(call $progress (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) {FOR_EVER}"
        ))
    }
}

/// A call of an endless guest that is running for sure.
struct Running {
    call: JoinHandle<Called<Verdict>>,
    cancel: CancellationToken,
}

async fn run_endless(plugins: &Plugins, plugin: &Arc<Plugin>) -> Running {
    let (sender, mut progress) = watch::channel(Progress::default());
    let cancel = CancellationToken::new();
    let control = CallControl { cancel: cancel.clone(), progress: Some(sender) };
    let (plugins, plugin) = (plugins.clone(), Arc::clone(plugin));
    let call = tokio::spawn(async move {
        judge_with(&plugins, &plugin, Arc::new(MapTree::new()), &json!({}), control).await
    });
    let running = progress.wait_for(|progress| progress.done == 1);
    tokio::time::timeout(PATIENCE, running).await.expect("in time").expect("the call is alive");
    Running { call, cancel }
}

#[tokio::test]
async fn an_infinite_loop_ends_at_the_deadline_and_others_are_served_meanwhile() {
    let guests =
        [("loop", endless("loop").validator()), ("good", Guest::named("good").validator())];
    let limits = Limits { call_deadline: Duration::from_secs(2), calls_max: 2, ..quick() };
    let plugins = host(limits, &guests).await;
    let find = |name| plugins.find(PluginKind::Validator, name).expect("it is served");
    let (bad, good) = (find("loop"), find("good"));

    let running = run_endless(&plugins, &bad).await;
    for _ in 0..10 {
        judge(&plugins, &good).await.outcome.expect("the other plugin is well");
    }

    assert!(!running.call.is_finished(), "ten answers while another plugin was spinning");
    let called = running.call.await.expect("no panic");
    assert!(called.report.duration >= Duration::from_secs(2));
    assert_eq!(called.report.deadline_left, Duration::ZERO);
    assert_eq!(told(called), "validator `loop` 1.0.0: ran longer than its limit of 2000 ms");
}

#[tokio::test]
async fn loops_in_every_other_place_end_too() {
    let start = format!("(func $main {FOR_EVER}) (start $main)");
    for (guest, told) in [
        (
            Guest { fields: start, ..Guest::default() },
            "no instance of it could be made: it ran longer than its limit of 200 ms; hint: keep start code and global \
             constructors short, and what the plugin begins with small",
        ),
        (
            Guest { describe: FOR_EVER.to_owned(), ..Guest::default() },
            "its `describe` ran longer than its limit of 200 ms; hint: `describe` takes no input, reads nothing and \
             returns constants: compute nothing in it",
        ),
    ] {
        let plugins = host(quick(), &[("guest", guest.validator())]).await;
        let refused = plugins.snapshot().refused.clone();
        assert_eq!(refused.len(), 1);
        assert_eq!(
            refused[0].to_string(),
            format!("the bundled `guest` was refused at the stage `describe`: {told}")
        );
    }

    let guest = Guest { realloc: FOR_EVER.to_owned(), ..Guest::default() };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;
    assert_eq!(
        told(judge(&plugins, &plugin).await),
        "validator `guest` 1.0.0: ran longer than its limit of 200 ms"
    );
}

#[tokio::test]
async fn a_loop_over_the_whole_memory_ends_too() {
    let copy =
        "(loop $again (memory.copy (i32.const 0) (i32.const 1) (i32.const 33000000)) (br $again))";
    let guest = Guest { pages: 520, ..Guest::judging(copy) };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;

    let called = judge(&plugins, &plugin).await;

    assert_eq!(told(called), "validator `guest` 1.0.0: ran longer than its limit of 200 ms");
}

#[tokio::test]
async fn more_memory_than_allowed_is_told_as_such() {
    let hog = "(loop $more (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $more))";
    let (plugins, plugin) = serving(quick(), Guest::judging(hog).validator()).await;

    let called = judge(&plugins, &plugin).await;

    assert_eq!(called.report.peak_memory_bytes, 1_010 * 65_536, "16 pages at a time, from 2");
    assert_eq!(told(called), "validator `guest` 1.0.0: needs more memory than its limit of 64 MiB");
}

#[tokio::test]
async fn memory_that_a_guest_does_without_is_no_failure() {
    let greedy = "(drop (memory.grow (i32.const 60000)))";
    let (plugins, plugin) = serving(quick(), Guest::judging(greedy).validator()).await;

    assert!(judge(&plugins, &plugin).await.outcome.is_ok());
}

#[tokio::test]
async fn a_guest_that_begins_with_too_much_memory_is_refused() {
    let guest = Guest { pages: 1_025, ..Guest::default() };

    let plugins = host(quick(), &[("guest", guest.validator())]).await;

    assert_eq!(
        plugins.snapshot().refused[0].reason,
        "no instance of it could be made: it needs more memory than its limit of 64 MiB"
    );
}

#[tokio::test]
async fn many_small_memories_are_too_many() {
    // The first memory is the one that the contract uses, so the others come after it.
    let fields = "(memory 1)".repeat(90);
    let guest = Guest { further: fields, ..Guest::default() };

    let plugins = host(quick(), &[("guest", guest.validator())]).await;

    assert_eq!(
        plugins.snapshot().refused[0].reason,
        "no instance of it could be made: it trapped: it takes more than it may: memory count too high at 91"
    );
}

#[tokio::test]
async fn a_table_cannot_grow_without_end() {
    let grow = "(if (i32.eq (table.grow $t (ref.null func) (i32.const 10000000)) (i32.const -1)) (then unreachable))";
    let guest = Guest { fields: "(table $t 1 funcref)".to_owned(), ..Guest::judging(grow) };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;

    assert_eq!(
        told(judge(&plugins, &plugin).await),
        "validator `guest` 1.0.0: trapped: it needs 10000001 table elements; at most 50000 are allowed"
    );
}

#[tokio::test]
async fn endless_recursion_and_other_traps_are_told_with_the_function() {
    for (judge_body, told_as) in [
        ("(drop (call $judge (i32.const 0)))", "trapped: call stack exhausted"),
        ("unreachable", "trapped: wasm `unreachable` instruction executed"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "trapped: integer divide by zero"),
        ("(drop (i32.load (i32.const -4)))", "trapped: out of bounds memory access"),
    ] {
        let (plugins, plugin) = serving(quick(), Guest::judging(judge_body).validator()).await;
        let message = told(judge(&plugins, &plugin).await);
        assert!(message.starts_with(&format!("validator `guest` 1.0.0: {told_as}")), "{message}");
        assert!(message.contains(" in `judge`"), "{message}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused_before_it_is_copied() {
    let guest = Guest { pages: 200, ..Guest::judging(&say("(i32.const 9000000)")) };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;
    assert_eq!(
        told(judge(&plugins, &plugin).await),
        "validator `guest` 1.0.0: passed more than 8388608 bytes to the host at once"
    );

    // A million empty reasons.
    let many = format!(
        "(i32.store (i32.const {}) (i32.const {SCRATCH})) (i32.store (i32.const {}) (i32.const 1000000))",
        ANSWER + 16,
        ANSWER + 20
    );
    let guest = Guest { pages: 900, ..Guest::judging(&many) };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;
    let message = told(judge(&plugins, &plugin).await);
    assert!(
        message == "validator `guest` 1.0.0: passed more than 8388608 bytes to the host at once"
            || message.starts_with("validator `guest` 1.0.0: trapped: list content out-of-bounds"),
        "{message}"
    );
}

#[tokio::test]
async fn answers_that_cannot_be_read_break_the_contract() {
    let bad_utf8 =
        format!("(i32.store8 (i32.const {SCRATCH}) (i32.const 255)) {}", say("(i32.const 1)"));
    let bad_pointer = say("(i32.const 2000000)");
    let bad_case = format!("(i32.store8 (i32.const {}) (i32.const 9))", ANSWER + 4);
    for body in [bad_utf8, bad_pointer, bad_case] {
        let (plugins, plugin) = serving(quick(), Guest::judging(&body).validator()).await;
        let called = judge(&plugins, &plugin).await;
        let Err(error) = called.outcome else { panic!("it had to fail") };
        assert!(
            matches!(
                error.failure,
                PluginFailure::Host(HostReason::Contract { .. } | HostReason::Trap { .. })
            ),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_verdict_that_breaks_the_contract_is_no_verdict() {
    let body = format!("(i32.store8 (i32.const {}) (i32.const 3))", ANSWER + 4);
    let (plugins, plugin) = serving(quick(), Guest::judging(&body).validator()).await;

    assert_eq!(
        told(judge(&plugins, &plugin).await),
        "validator `guest` 1.0.0: broke the contract: the verdict is `needs-review` and has no reason"
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
async fn an_exit_is_an_error_and_not_the_end_of_the_server() {
    for code in [0, 1] {
        let guest = Guest {
            world: "import wasi:cli/exit@0.2.6;".to_owned(),
            fields: r#"(import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))"#.to_owned(),
            ..Guest::judging(&format!("(call $exit (i32.const {code}))"))
        };
        let (plugins, plugin) = serving(quick(), guest.validator()).await;
        assert_eq!(
            told(judge(&plugins, &plugin).await),
            format!(
                "validator `guest` 1.0.0: trapped: it called exit({code}); a plugin returns its answer"
            )
        );
    }
}

/// A guest that says 16 letters made of a random number.
fn dice() -> Guest {
    Guest {
        world: "import wasi:random/random@0.2.6;".to_owned(),
        fields: r#"(import "wasi:random/random@0.2.6" "get-random-u64" (func $random (result i64)))
                   (global $number (mut i64) (i64.const 0))
                   (global $at (mut i32) (i32.const 0))"#
            .to_owned(),
        ..Guest::judging(&format!(
            "(global.set $number (call $random))
             (loop $again
                (i32.store8 (i32.add (i32.const {SCRATCH}) (global.get $at))
                    (i32.add (i32.const 97) (i32.wrap_i64 (i64.and (global.get $number) (i64.const 15)))))
                (global.set $number (i64.shr_u (global.get $number) (i64.const 4)))
                (global.set $at (i32.add (global.get $at) (i32.const 1)))
                (br_if $again (i32.lt_u (global.get $at) (i32.const 16))))
             {}",
            say("(i32.const 16)")
        ))
    }
}

#[tokio::test]
async fn random_numbers_repeat_with_the_call_and_differ_between_calls() {
    let (plugins, plugin) = serving(quick(), dice().validator()).await;
    let roll = async |parameters| {
        let tree = Arc::new(MapTree::new());
        let called = judge_with(&plugins, &plugin, tree, &parameters, CallControl::default()).await;
        called.outcome.expect("a verdict").summary
    };

    let first = roll(json!({})).await;

    assert_eq!(first.len(), 16);
    assert_eq!(roll(json!({})).await, first);
    assert_ne!(roll(json!({"other": 1})).await, first);
}

#[tokio::test]
async fn a_request_for_too_many_random_bytes_is_refused() {
    let guest = Guest {
        world: "import wasi:random/random@0.2.6;".to_owned(),
        fields: r#"(import "wasi:random/random@0.2.6" "get-random-bytes" (func $random (param i64 i32)))"#
            .to_owned(),
        ..Guest::judging(&format!("(call $random (i64.const 1152921504606846976) (i32.const {SCRATCH}))"))
    };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;

    let called = judge(&plugins, &plugin).await;

    assert!(called.outcome.is_err());
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
    released: (Mutex<bool>, Condvar),
}

impl BadTree {
    fn new(panics: bool, blocks: bool) -> Arc<Self> {
        Arc::new(BadTree { panics, blocks, released: (Mutex::new(false), Condvar::new()) })
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
    let (plugins, plugin) = serving(quick(), reader("a").validator()).await;

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
async fn a_cancelled_call_ends_long_before_its_deadline() {
    let limits = Limits { call_deadline: Duration::from_secs(60), ..quick() };
    let (plugins, plugin) = serving(limits, endless("guest").validator()).await;
    let running = run_endless(&plugins, &plugin).await;

    running.cancel.cancel();

    let called = tokio::time::timeout(PATIENCE, running.call).await.expect("in time");
    assert_eq!(told(called.expect("no panic")), "validator `guest` 1.0.0: was cancelled");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_call_behind() {
    let limits = Limits {
        call_deadline: Duration::from_secs(60),
        calls_per_plugin_max: 1,
        calls_max: 1,
        ..quick()
    };
    let (plugins, plugin) = serving(limits, endless("guest").validator()).await;
    let gone = run_endless(&plugins, &plugin).await;

    gone.call.abort();

    // There is one place: a call that runs proves that it was given back.
    let next = run_endless(&plugins, &plugin).await;
    next.cancel.cancel();
    next.call.await.expect("no panic").outcome.expect_err("cancelled");
}

#[tokio::test]
async fn more_calls_than_may_wait_are_told_that_the_host_is_busy() {
    let limits = Limits { calls_per_plugin_max: 1, calls_max: 1, calls_waiting_max: 1, ..quick() };
    let (plugins, plugin) = serving(limits, Guest::judging(FOR_EVER).validator()).await;

    let calls =
        tokio::join!(judge(&plugins, &plugin), judge(&plugins, &plugin), judge(&plugins, &plugin));

    let mut messages: Vec<String> = [calls.0, calls.1, calls.2].into_iter().map(told).collect();
    messages.sort();
    assert_eq!(
        messages,
        [
            "validator `guest` 1.0.0: is busy: 1 calls wait already",
            "validator `guest` 1.0.0: ran longer than its limit of 200 ms",
            "validator `guest` 1.0.0: ran longer than its limit of 200 ms",
        ]
    );
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

#[tokio::test]
async fn dropping_the_handle_while_a_call_runs_harms_nobody() {
    let dropped = Arc::new(AtomicBool::new(false));
    let (plugins, plugin) = serving(quick(), Guest::judging(FOR_EVER).validator()).await;
    let running = tokio::spawn({
        let dropped = Arc::clone(&dropped);
        async move {
            let called = judge(&plugins, &plugin).await;
            drop((plugins, plugin));
            dropped.store(true, Ordering::SeqCst);
            told(called)
        }
    });

    let message = running.await.expect("no panic, though the engine's threads ended in async code");

    assert!(dropped.load(Ordering::SeqCst));
    assert!(message.ends_with("ran longer than its limit of 200 ms"), "{message}");
}

#[test]
fn the_guests_of_these_tests_are_what_they_say() {
    let module = typed_module("(module)", "");
    assert!(component(&module).starts_with(b"\0asm\x0d"));
}
