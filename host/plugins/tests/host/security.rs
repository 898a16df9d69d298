//! The security tests that stand for themselves, by their number in the list of what a trusted host must survive.
//! `numbers.rs` says where each of the others is.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::plugin::PluginKind;
use caelum_plugin_host::{Limits, Options, Stage};

use crate::guests::{ANSWER, FOR_EVER, Guest, SCRATCH, say};
use crate::harness::{host, judge, quick, serving, told};
use crate::watched::Watched;

/// How much later than its deadline a guest that computes may end, on a machine with other work.
const LATE: Duration = Duration::from_millis(100);

fn importing(import: &str) -> String {
    format!(r#"(import "caelum:plugin/{import}"#)
}

/// Every processor is taken by guests that never end; whoever asks the host something is answered at once.
#[tokio::test]
async fn n6_as_many_loops_as_processors_hold_up_nobody_who_asks_the_host() {
    let limits = Limits { call_deadline: Duration::from_secs(1), ..quick() };
    let bad: Vec<(String, Vec<u8>)> = (0..limits.calls_max)
        .map(|number| format!("loop{number}"))
        .map(|id| {
            let guest = Guest { judge: FOR_EVER.to_owned(), ..Guest::named(&id) }.validator();
            (id, guest)
        })
        .collect();
    let named: Vec<(&str, Vec<u8>)> =
        bad.iter().map(|(id, bytes)| (id.as_str(), bytes.clone())).collect();
    let plugins = host(limits, &named).await;
    let running: Vec<_> = bad
        .iter()
        .map(|(id, _)| {
            let (plugins, id) = (plugins.clone(), id.clone());
            tokio::spawn(async move {
                let plugin = plugins.find(PluginKind::Validator, &id).expect("it is served");
                told(judge(&plugins, &plugin).await)
            })
        })
        .collect();

    let mut waits = Vec::new();
    while !running.iter().all(|call| call.is_finished()) {
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(plugins.snapshot().plugins.len(), bad.len());
        waits.push(begun.elapsed());
    }

    waits.sort_unstable();
    assert!(waits[waits.len() / 2] < LATE, "{:?}", waits[waits.len() / 2]);
    for call in running {
        assert!(call.await.expect("no panic").ends_with("ran longer than its limit of 1000 ms"));
    }
}

/// Work that doubles with each step, as a bad regular expression does, ends at its deadline and not much later.
#[tokio::test]
async fn n7_exponential_work_ends_at_its_deadline() {
    let fields = "(func $twice (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
            (else (i32.add (call $twice (i32.sub (local.get 0) (i32.const 1)))
                           (call $twice (i32.sub (local.get 0) (i32.const 1)))))))";
    let guest = Guest {
        fields: fields.to_owned(),
        ..Guest::judging("(drop (call $twice (i32.const 60)))")
    };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;

    let mut late = Vec::new();
    for _ in 0..5 {
        let called = judge(&plugins, &plugin).await;
        late.push(called.report.duration.saturating_sub(Duration::from_millis(200)));
        assert!(told(called).ends_with("ran longer than its limit of 200 ms"));
    }

    let best = late.iter().min().expect("five");
    assert!(*best <= Duration::from_millis(20), "{late:?}");
}

#[tokio::test]
async fn n8_a_loop_of_cheap_calls_of_the_host_ends_at_its_deadline() {
    let guest = Guest {
        fields: importing(r#"control@0.1.0" "is-cancelled" (func $asked (result i32)))"#),
        ..Guest::judging("(loop $again (drop (call $asked)) (br $again))")
    };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;

    let called = judge(&plugins, &plugin).await;

    assert!(called.report.host_calls > 100, "{}", called.report.host_calls);
    assert!(told(called).ends_with("ran longer than its limit of 200 ms"));
}

/// The encoder makes more than one core instance of every guest, and a table for its imports.
#[tokio::test]
async fn n16_more_instances_or_tables_than_allowed_are_refused() {
    let guest =
        || Guest { fields: "(table 1 funcref) (table 1 funcref)".to_owned(), ..Guest::default() };
    for (limits, told) in [
        (Limits { tables_max: 1, ..quick() }, "table count too high at 2"),
        (Limits { table_elements_max: 1, ..quick() }, "minimum size of 1 elements exceeds"),
    ] {
        let plugins = host(limits, &[("guest", guest().validator())]).await;
        let refused = plugins.snapshot().refused.first().cloned().expect("it is refused");
        assert_eq!(refused.stage, Stage::Describe, "{refused}");
        assert!(
            refused.reason.contains(told) || refused.reason.contains("table elements"),
            "{refused}"
        );
    }
    let importing = Guest {
        fields: r#"(import "caelum:plugin/log@0.1.0" "log" (func (param i32 i32 i32 i32 i32)))"#
            .to_owned(),
        ..Guest::default()
    };
    let limits = Limits { instances_max: 1, ..quick() };
    let plugins = host(limits, &[("guest", importing.validator())]).await;
    let refused = plugins.snapshot().refused.first().cloned().expect("it is refused");
    assert!(refused.reason.contains("instance count too high at 2"), "{refused}");
}

/// Two pages of memory, a store and an instance for each call: if any of it stayed, this would be hundreds of MiB.
#[tokio::test]
async fn n18_memory_is_given_back_over_thousands_of_calls() {
    let (plugins, plugin) =
        serving(quick(), Guest { pages: 16, ..Guest::default() }.validator()).await;
    let touched = "(memory.fill (i32.const 0x20000) (i32.const 1) (i32.const 0x80000))";
    let guest = Guest { pages: 16, ..Guest::judging(touched) };
    let (others, other) = serving(quick(), guest.validator()).await;
    let resident = || -> u64 {
        let statm = fs::read_to_string("/proc/self/statm").expect("the system tells");
        statm.split(' ').nth(1).expect("pages").parse::<u64>().expect("a number") * 4096
    };
    for _ in 0..50 {
        judge(&plugins, &plugin).await.outcome.expect("a verdict");
        judge(&others, &other).await.outcome.expect("a verdict");
    }

    let before = resident();
    for _ in 0..1_500 {
        judge(&others, &other).await.outcome.expect("a verdict");
    }

    // Half a MiB a call would be 750; other tests of this process run beside it.
    let grown = resident().saturating_sub(before) / (1024 * 1024);
    assert!(grown < 300, "{grown} MiB");
}

/// The host's functions find room on the stack, however deep the guest is when it calls them.
#[tokio::test]
async fn n20_n21_recursion_with_calls_of_the_host_ends_as_a_trap_and_a_deep_one_that_fits_works() {
    let fields = format!(
        "{} (func $down (param i32)
            (if (i32.eqz (local.get 0)) (then return))
            (call $log (i32.const 0) (i32.const {SCRATCH}) (i32.const 1) (i32.const 0) (i32.const 0))
            (call $down (i32.sub (local.get 0) (i32.const 1))))",
        importing(r#"log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))"#)
    );
    let guest = |depth: u32| Guest {
        fields: fields.clone(),
        ..Guest::judging(&format!("(call $down (i32.const {depth}))"))
    };

    let (plugins, plugin) = serving(quick(), guest(2_000_000).validator()).await;
    let message = told(judge(&plugins, &plugin).await);
    assert!(message.contains("call stack exhausted"), "{message}");

    let limits = Limits { call_deadline: Duration::from_secs(5), ..quick() };
    let (plugins, plugin) = serving(limits, guest(3_000).validator()).await;
    let called = judge(&plugins, &plugin).await;
    assert_eq!(called.report.host_calls, 3_000);
    called.outcome.expect("deep, and allowed");
}

/// What the guest had said before it trapped is told, and the next call finds nothing of it.
#[tokio::test]
async fn n34_n35_a_trap_in_the_middle_leaves_nothing_behind() {
    let guest = Guest {
        fields: importing(r#"log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))"#),
        ..Guest::judging(&format!(
            "(call $log (i32.const 2) (i32.const {SCRATCH}) (i32.const 1) (i32.const 0) (i32.const 0)) unreachable"
        ))
    };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;

    for _ in 0..3 {
        let called = judge(&plugins, &plugin).await;
        assert_eq!(called.report.logs.lines.len(), 1);
        assert!(told(called).contains("trapped: wasm `unreachable`"));
    }
}

#[tokio::test]
async fn n54_exports_beyond_the_contract_are_accepted() {
    let guest = Guest {
        fields: r#"(func (export "init"))"#.to_owned(),
        world: "export init: func();".to_owned(),
        ..Guest::default()
    };

    let (plugins, plugin) = serving(quick(), guest.validator()).await;

    judge(&plugins, &plugin).await.outcome.expect("a verdict");
}

#[tokio::test]
async fn n55_a_second_file_with_the_name_of_another_displaces_nothing() {
    let (first, second) = (Guest::default(), Guest { verdict: 1, ..Guest::default() });

    let plugins = host(quick(), &[("one", first.validator()), ("other", second.validator())]).await;

    let snapshot = plugins.snapshot();
    let serving = snapshot.find(PluginKind::Validator, "guest").expect("the first");
    assert_eq!(serving.source().to_string(), "the bundled `one`");
    assert_eq!(snapshot.refused[0].stage, Stage::Publish);
}

/// A second name of one file is a file like any other: what it hashes to is one plugin, and serves once.
#[tokio::test]
async fn n39_a_hard_link_is_the_same_plugin_and_serves_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("one.wasm"), Guest::default().validator()).expect("writes");
    fs::hard_link(at("one.wasm"), at("two.wasm")).expect("links");
    let options = Options {
        limits: quick(),
        directory: Some(folder.path().to_owned()),
        ..Options::default()
    };

    let plugins = Watched::open(options, vec![]).await.expect("opens");

    let snapshot = plugins.snapshot();
    assert_eq!((snapshot.plugins.len(), snapshot.shadowed.len()), (1, 0));
    assert_eq!(snapshot.refused, []);
}

/// A file of a GiB without content is refused by its size, before anything of it is read.
#[tokio::test]
async fn n56_n42_a_file_that_is_too_large_is_refused_unread() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = fs::File::create(folder.path().join("large.wasm")).expect("creates");
    file.set_len(1 << 30).expect("a file with a hole");
    let small = Guest::named("small").validator();
    let length = small.len() as u64;
    fs::write(folder.path().join("small.wasm"), small).expect("writes");
    for (bytes_max, served) in [(length, 1), (length - 1, 0)] {
        let options = Options {
            limits: Limits { component_bytes_max: bytes_max, ..quick() },
            directory: Some(folder.path().to_owned()),
            ..Options::default()
        };

        let plugins = Watched::open(options, vec![]).await.expect("opens");

        let snapshot = plugins.snapshot();
        assert_eq!(snapshot.plugins.len(), served);
        assert_eq!(
            snapshot.refused[0].reason,
            format!("it has 1073741824 bytes; at most {bytes_max} are allowed")
        );
    }
}

#[tokio::test]
async fn n69_a_plugin_has_only_its_places_and_a_call_waits_only_as_long_as_it_may() {
    let limits = Limits {
        call_deadline: Duration::from_secs(2),
        wait_deadline: Duration::from_millis(50),
        calls_per_plugin_max: 1,
        calls_max: 4,
        ..quick()
    };
    let guests = [
        ("loop", Guest { judge: FOR_EVER.to_owned(), ..Guest::named("loop") }.validator()),
        ("good", Guest::named("good").validator()),
    ];
    let plugins = host(limits, &guests).await;
    let find = |name| plugins.find(PluginKind::Validator, name).expect("it is served");
    let (bad, good) = (find("loop"), find("good"));
    let first = {
        let (plugins, bad) = (plugins.clone(), Arc::clone(&bad));
        tokio::spawn(async move { judge(&plugins, &bad).await })
    };

    let second = judge(&plugins, &bad).await;
    let third = judge(&plugins, &good).await;

    // Whichever of the two came second was told; a place was free for the other plugin all the time.
    let messages = [told(first.await.expect("no panic")), told(second)];
    assert!(messages.iter().any(|it| it.contains("is busy: 1 calls wait already")), "{messages:?}");
    assert!(messages.iter().any(|it| it.contains("ran longer")), "{messages:?}");
    third.outcome.expect("the other plugin is well");
}

/// Two plugins with the same memory addresses see nothing of each other.
#[tokio::test]
async fn n73_two_plugins_cannot_see_each_other() {
    let writes = format!("(i32.store (i32.const {SCRATCH}) (i32.const 0x64616572))");
    let reads =
        say(&format!("(select (i32.const 4) (i32.const 0) (i32.load (i32.const {SCRATCH})))"));
    let guests = [
        ("writes", Guest { judge: writes, ..Guest::named("writes") }.validator()),
        ("reads", Guest { judge: reads, ..Guest::named("reads") }.validator()),
    ];
    let plugins = host(quick(), &guests).await;
    let find = |name| plugins.find(PluginKind::Validator, name).expect("it is served");

    judge(&plugins, &find("writes")).await.outcome.expect("a verdict");
    let verdict = judge(&plugins, &find("reads")).await.outcome.expect("a verdict");

    assert_eq!(verdict.summary, "");
}

#[tokio::test]
async fn n74_the_same_call_gives_the_same_answer() {
    let guest = Guest { verdict: 1, ..Guest::default() };
    let (plugins, plugin) = serving(quick(), guest.validator()).await;

    let first = judge(&plugins, &plugin).await.outcome.expect("a verdict");
    for _ in 0..20 {
        assert_eq!(judge(&plugins, &plugin).await.outcome.expect("a verdict"), first);
    }
}

#[tokio::test]
async fn n22_an_answer_within_the_limit_is_read_and_one_byte_beyond_is_not() {
    let limits = Limits { result_bytes_max: 200_000, ..quick() };
    for (length, is_read) in [(50_000, true), (200_001, false)] {
        let guest = Guest { pages: 8, ..Guest::judging(&say(&format!("(i32.const {length})"))) };
        let (plugins, plugin) = serving(limits, guest.validator()).await;
        let outcome = judge(&plugins, &plugin).await.outcome;
        assert_eq!(outcome.is_ok(), is_read, "{length}: {outcome:?}");
    }
    assert_ne!(ANSWER, SCRATCH);
}

/// A host with a limit that is out of its range does not start, and says so of all of them.
#[tokio::test]
async fn n67_limits_out_of_range_keep_the_host_from_starting() {
    let limits = Limits { calls_max: 0, memory_bytes_max: u64::MAX, ..quick() };

    let Err(refused) = Watched::open(Options { limits, ..Options::default() }, vec![]).await else {
        panic!("it started")
    };

    assert_eq!(
        refused.to_string(),
        "the limits of plugins are not legal: `memory_bytes_max` is 18446744073709551615; it must be from 1 to \
         1073741824; `calls_max` is 0; it must be from 1 to 1024"
    );
}

/// A schema of a few lines that doubles its work with each of them would take the host for ever to hold parameters
/// against: the parameters are refused instead.
#[tokio::test]
async fn a_schema_that_would_take_for_ever_is_not_begun_with() {
    let next = |number: usize| {
        format!(r##"{{"allOf":[{{"$ref":"#/$defs/{number}"}},{{"$ref":"#/$defs/{number}"}}]}}"##)
    };
    let steps: Vec<String> =
        (0..50).map(|number| format!(r#""{number}":{}"#, next(number + 1))).collect();
    let schema = format!(
        r##"{{"type":"object","$ref":"#/$defs/0","$defs":{{{},"50":{{}}}}}}"##,
        steps.join(",")
    );
    let (plugins, plugin) =
        serving(quick(), Guest { schema, ..Guest::default() }.validator()).await;

    let message = told(judge(&plugins, &plugin).await);

    assert!(message.contains("would take more than 100000 steps"), "{message}");
}
