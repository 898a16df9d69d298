//! Calls of guests that do not behave: they take time, memory, stack and places, and answer what cannot be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use caelum_core::evidence::Verdict;
use caelum_core::plugin::{HostReason, PluginFailure, PluginKind};
use caelum_core::tree::{Entry, MapTree, Tree, TreeError};
use caelum_plugin_host::{CallControl, Called, Limits, Plugin, Progress};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::guests::{ANSWER, FOR_EVER, Guest, SCRATCH, say};
use crate::harness::{host, judge, judge_with, quick, serving, told};
use crate::watched::Watched;

/// Far longer than anything here should take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

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

async fn run_endless(plugins: &Watched, plugin: &Arc<Plugin>) -> Running {
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
async fn a_guest_that_begins_with_too_large_a_table_is_refused() {
    for elements in [50_001, 10_000_000] {
        let fields = format!("(table {elements} funcref)");
        let guest = Guest { fields, ..Guest::default() };

        let plugins = host(quick(), &[("guest", guest.validator())]).await;

        let refused = &plugins.snapshot().refused[0].reason;
        let begins = "no instance of it could be made: it takes more than it may: ";
        assert!(
            refused.starts_with(begins) && refused.contains(&elements.to_string()),
            "{refused}"
        );
    }
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

/// A tree that tells when nobody holds it any more.
struct Held(MapTree, #[expect(dead_code, reason = "its drop is what counts")] mpsc::Sender<()>);

impl Tree for Held {
    fn entries(&self, path: &str, max: usize) -> Result<Vec<Entry>, TreeError> {
        self.0.entries(path, max)
    }

    fn metadata(&self, path: &str) -> Result<Entry, TreeError> {
        self.0.metadata(path)
    }

    fn read(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, TreeError> {
        self.0.read(path, offset, length)
    }
}

#[tokio::test]
async fn the_host_may_end_on_a_thread_of_its_own() {
    let (plugins, plugin) = serving(quick(), Guest::judging(FOR_EVER).validator()).await;
    let (held, mut dropped) = mpsc::channel::<()>(1);
    let call = tokio::spawn(async move {
        let tree = Arc::new(Held(MapTree::new(), held));
        // The call's task is the last one that holds the host, once this one is gone.
        judge_with(&plugins, &plugin, tree, &json!({}), CallControl::default()).await;
    });
    tokio::task::yield_now().await;

    call.abort();

    let gone = tokio::time::timeout(PATIENCE, dropped.recv()).await;
    assert_eq!(gone, Ok(None), "the call has ended and took everything with it");
}
