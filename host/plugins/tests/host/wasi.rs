//! Guests whose language runtime uses WASI: it is there, and nothing is behind it.

use std::sync::Arc;
use std::time::Duration;

use caelum_core::tree::MapTree;
use caelum_plugin_host::{CallControl, Limits, LogLevel, LogSource, Progress};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::guests::{Guest, SCRATCH, say};
use crate::harness::{judge, judge_with, quick, serving, told};

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

/// A guest that writes "hello\n" to standard output, and `times` letters to standard error.
fn talker(times: u32) -> Guest {
    let at = SCRATCH + 64;
    Guest {
        world: "import wasi:cli/stdout@0.2.6; import wasi:cli/stderr@0.2.6;".to_owned(),
        fields: format!(
            r#"(import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))
               (import "wasi:cli/stderr@0.2.6" "get-stderr" (func $stderr (result i32)))
               (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush"
                   (func $write (param i32 i32 i32 i32)))
               (global $left (mut i32) (i32.const {times}))
               (global $stream (mut i32) (i32.const 0))
               (data (i32.const {at}) "hel\1b[1mlo\0a")"#
        ),
        ..Guest::judging(&format!(
            "(call $write (call $stdout) (i32.const {at}) (i32.const 10) (i32.const {SCRATCH}))
             (global.set $stream (call $stderr))
             (block $done (loop $again
                (br_if $done (i32.eqz (global.get $left)))
                (call $write (global.get $stream) (i32.const {at}) (i32.const 1) (i32.const {SCRATCH}))
                (global.set $left (i32.sub (global.get $left) (i32.const 1)))
                (br $again)))"
        ))
    }
}

#[tokio::test]
async fn what_a_guest_prints_is_in_the_report_and_nowhere_else() {
    let limits = Limits { output_bytes_max: 12, ..quick() };
    let (plugins, plugin) = serving(limits, talker(7).validator()).await;

    let called = judge(&plugins, &plugin).await;

    let logs = called.report.logs;
    let lines: Vec<_> =
        logs.lines.iter().map(|line| (line.source, line.level, line.message.as_str())).collect();
    assert_eq!(
        lines,
        [(LogSource::Stdout, LogLevel::Info, "hello"), (LogSource::Stderr, LogLevel::Warn, "hh"),]
    );
    assert_eq!(logs.output_bytes_dropped, 5);
    assert!(called.outcome.is_ok(), "a talkative guest is no broken one");
}

#[tokio::test]
async fn a_guest_cannot_collect_handles_without_end() {
    let guest = Guest {
        world: "import wasi:cli/stdout@0.2.6;".to_owned(),
        fields: r#"(import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))"#
            .to_owned(),
        ..Guest::judging("(loop $again (drop (call $stdout)) (br $again))")
    };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;

    assert_eq!(
        told(judge(&plugins, &plugin).await),
        "validator `guest` 1.0.0: trapped: it holds more than 1000 handles, or one that is not its own"
    );
}

/// A guest that says that it is there and then waits.
fn sleeper(nanoseconds: u64) -> Guest {
    Guest {
        world: "import wasi:clocks/monotonic-clock@0.2.6;".to_owned(),
        fields: r#"(import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $sleep (param i64) (result i32)))
                   (import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))
                   (import "caelum:plugin/control@0.1.0" "progress" (func $progress (param i32 i32 i32 i32 i32)))"#
            .to_owned(),
        ..Guest::judging(&format!(
            "(call $progress (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
             (call $block (call $sleep (i64.const {nanoseconds})))"
        ))
    }
}

/// A year in nanoseconds.
const YEAR: u64 = 31_536_000_000_000_000;

#[tokio::test]
async fn a_short_wait_is_waited_for() {
    let (plugins, plugin) = serving(quick(), sleeper(2_000_000).validator()).await;

    let called = judge(&plugins, &plugin).await;

    assert!(called.report.duration >= Duration::from_millis(2), "{:?}", called.report.duration);
    called.outcome.expect("a verdict");
}

#[tokio::test]
async fn a_guest_that_waits_can_be_cancelled() {
    let limits = Limits { call_deadline: Duration::from_secs(60), ..quick() };
    let (plugins, plugin) = serving(limits, sleeper(YEAR).validator()).await;
    let (sender, mut progress) = watch::channel(Progress::default());
    let cancel = CancellationToken::new();
    let control = CallControl { cancel: cancel.clone(), progress: Some(sender) };
    let call = tokio::spawn(async move {
        judge_with(&plugins, &plugin, Arc::new(MapTree::new()), &json!({}), control).await
    });
    progress.wait_for(|progress| progress.done == 1).await.expect("the call is alive");

    cancel.cancel();

    let called = tokio::time::timeout(Duration::from_secs(30), call).await;
    let called = called.expect("long before its deadline").expect("no panic");
    assert_eq!(told(called), "validator `guest` 1.0.0: was cancelled");
}

#[tokio::test]
async fn waiting_for_a_year_ends_at_the_deadline() {
    let (plugins, plugin) = serving(quick(), sleeper(YEAR).validator()).await;

    assert_eq!(
        told(judge(&plugins, &plugin).await),
        "validator `guest` 1.0.0: ran longer than its limit of 200 ms"
    );
}

#[tokio::test]
async fn standard_input_is_at_its_end() {
    let guest = Guest {
        world: "import wasi:cli/stdin@0.2.6;".to_owned(),
        fields: r#"(import "wasi:cli/stdin@0.2.6" "get-stdin" (func $stdin (result i32)))
                   (import "wasi:io/streams@0.2.6" "[method]input-stream.blocking-read"
                       (func $read (param i32 i64 i32)))"#
            .to_owned(),
        ..Guest::judging(&format!(
            "(call $read (call $stdin) (i64.const 1) (i32.const {SCRATCH}))
             ;; err(closed), or it traps
             (if (i32.ne (i32.load8_u (i32.const {SCRATCH})) (i32.const 1)) (then unreachable))
             (if (i32.ne (i32.load8_u (i32.const {})) (i32.const 1)) (then unreachable))",
            SCRATCH + 4
        ))
    };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;

    assert!(judge(&plugins, &plugin).await.outcome.is_ok());
}
