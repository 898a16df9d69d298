//! The compiler process: what comes out of it, what ends it, and what is not believed. With the program that the crate
//! ships for hosts without a binary of their own.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::plugin::PluginKind;
use caelum_plugin_host::{
    BundledPlugin, Compiler, Limits, Loading, Options, Refused, Reload, Stage,
};

use crate::guests::Guest;
use crate::harness::{judge, quick};
use crate::watched::Watched;

/// How long another client may wait while something hostile happens, on a machine with other work.
const ANSWERED_WITHIN: Duration = Duration::from_millis(100);

/// Far longer than anything here should take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn child() -> Compiler {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_caelum-plugin-compile"));
    Compiler::Child { program, arguments: vec![] }
}

fn options(limits: Limits, cache: Option<&Path>) -> Options {
    Options {
        limits,
        compiler: child(),
        cache_directory: cache.map(Path::to_owned),
        ..Options::default()
    }
}

fn bundled(name: &str, bytes: Vec<u8>) -> BundledPlugin {
    BundledPlugin { name: name.to_owned(), bytes: Cow::Owned(bytes) }
}

async fn refused(limits: Limits, bytes: Vec<u8>) -> Refused {
    let plugins =
        Watched::open(options(limits, None), vec![bundled("bomb", bytes)]).await.expect("opens");
    plugins.snapshot().refused.first().cloned().expect("it is refused")
}

/// A guest with a function that nobody calls and that takes long to compile: thousands of branches over many locals,
/// all of which matter in the end.
fn slow_to_compile(branches: usize) -> Guest {
    let locals = "i64 ".repeat(64);
    let mut body = String::new();
    for number in 0..branches {
        let (a, b, c) = (number % 64, (number * 7 + 3) % 64, (number * 13 + 5) % 64);
        body.push_str(&format!(
            "(local.set {a} (i64.add (i64.mul (local.get {b}) (local.get {c})) (i64.rotl (local.get {a}) (local.get {c}))))\n\
             (if (i64.eqz (local.get {a})) (then (local.set {b} (i64.const {number}))))\n"
        ));
    }
    for local in 0..64 {
        body.push_str(&format!(
            "(global.set $sink (i64.xor (global.get $sink) (local.get {local})))\n"
        ));
    }
    let heavy =
        format!("(global $sink (mut i64) (i64.const 0)) (func $heavy (local {locals}) {body})");
    Guest { further: heavy, ..Guest::default() }
}

#[tokio::test]
async fn what_the_compiler_process_makes_works_with_and_without_a_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache");
    for cache in [None, Some(cache.as_path())] {
        for bytes in [Guest::default().validator(), Guest::default().core_module()] {
            let bundled = vec![bundled("guest", bytes)];
            let plugins = Watched::open(options(quick(), cache), bundled).await.expect("opens");
            assert_eq!(plugins.snapshot().refused, []);

            let plugin = plugins.find(PluginKind::Validator, "guest").expect("it is served");

            judge(&plugins, &plugin).await.outcome.expect("a verdict");
        }
    }
}

/// Test 61 of the security tests: a function that compiles for minutes is killed at the limit of processor time.
#[tokio::test]
async fn n61_a_file_that_compiles_too_long_is_killed_at_its_limit_and_others_are_served() {
    let limits = Limits { compile_cpu: Duration::from_secs(1), ..quick() };
    let bomb = slow_to_compile(60_000).validator();
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("bomb.wasm"), bomb).expect("writes");
    let options = Options {
        directory: Some(folder.path().to_owned()),
        loading: Loading::Behind,
        ..options(limits, None)
    };
    let good = vec![bundled("good", Guest::named("good").validator())];
    let plugins = Watched::open(options, good).await.expect("opens");
    let good = plugins.find_loaded(PluginKind::Validator, "good").await.expect("it comes first");

    let mut answers = Vec::new();
    let limit = Instant::now() + PATIENCE;
    while !plugins.changes().borrow().is_settled {
        assert!(Instant::now() < limit, "the bomb goes on");
        let begun = Instant::now();
        judge(&plugins, &good).await.outcome.expect("the other plugin is well");
        answers.push(begun.elapsed());
        tokio::task::yield_now().await;
    }

    answers.sort_unstable();
    assert!(answers[answers.len() / 2] < ANSWERED_WITHIN, "{:?}", answers[answers.len() / 2]);
    let refused = plugins.snapshot().refused.clone();
    assert_eq!(refused[0].stage, Stage::Compile);
    assert_eq!(refused[0].reason, "compiling it took more than its limit of 1 s of processor time");
    assert!(refused[0].hint.contains("raise the `compile` limits"), "{}", refused[0].hint);
}

#[tokio::test]
async fn n61_a_file_that_compiles_too_long_is_killed_at_its_deadline() {
    let limits = Limits { compile_deadline: Duration::from_millis(300), ..quick() };

    let refused = refused(limits, slow_to_compile(60_000).validator()).await;

    assert_eq!(refused.reason, "compiling it took longer than its limit of 0 s");
}

/// Test 62: what takes too much memory is ended by its own limit, not by the system's.
#[tokio::test]
async fn n62_a_file_whose_compilation_takes_too_much_memory_is_refused() {
    let limits = Limits { compile_memory_bytes_max: 96 * 1024 * 1024, ..quick() };

    let refused = refused(limits, slow_to_compile(60_000).validator()).await;

    assert_eq!(refused.stage, Stage::Compile);
    assert_eq!(refused.reason, "compiling it took more than its limit of 96 MiB of memory");
}

/// Test 63: whatever becomes of the compiler, the file is refused and the server goes on.
#[tokio::test]
async fn n63_a_compiler_that_breaks_down_or_is_another_program_is_told() {
    for (program, told) in [
        ("/bin/false", "it ended with exit status: 1"),
        ("/bin/true", "the compiler process cannot be used"),
        ("/nowhere/compiler", "`/nowhere/compiler` cannot be started"),
    ] {
        let compiler = Compiler::Child { program: PathBuf::from(program), arguments: vec![] };
        let options = Options { compiler, ..options(quick(), None) };
        let guest = vec![bundled("guest", Guest::default().validator())];

        let plugins = Watched::open(options, guest).await.expect("opens");

        let refused = plugins.snapshot().refused.clone();
        assert_eq!(refused[0].stage, Stage::Compile);
        assert!(refused[0].reason.contains(told), "{}", refused[0].reason);
    }
}

/// Tests 64 and 65: a cache that was poisoned, cut, exchanged, or made by another engine is not believed.
#[tokio::test]
async fn n64_n65_what_the_cache_holds_is_believed_only_as_it_was_put_there() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("poisoned", |path| {
            let mut bytes = fs::read(path).expect("reads");
            let place = bytes.len() / 3;
            bytes[place] ^= 0x40;
            fs::write(path, bytes).expect("writes");
        }),
        ("cut", |path| {
            let bytes = fs::read(path).expect("reads");
            fs::write(path, &bytes[..bytes.len() - 7]).expect("writes");
        }),
        ("emptied", |path| fs::write(path, b"").expect("writes")),
        ("a link", |path| {
            let beside = path.with_extension("moved");
            fs::rename(path, &beside).expect("moves");
            std::os::unix::fs::symlink(&beside, path).expect("links");
        }),
    ];
    for (name, damage) in damages {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = folder.path().join("cache");
        let open = || {
            let guest = vec![bundled("guest", Guest::default().validator())];
            Watched::open(options(quick(), Some(&cache)), guest)
        };
        drop(open().await.expect("opens"));
        let code = fs::read_dir(&cache)
            .expect("reads")
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "cwasm"))
            .expect("code was kept");
        damage(&code);

        let plugins = open().await.expect("opens");

        let plugin = plugins.find(PluginKind::Validator, "guest").expect("it is served");
        judge(&plugins, &plugin).await.outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn calls_wait_for_a_plugin_that_is_being_loaded_and_no_longer_than_they_may() {
    let limits = Limits { load_deadline: Duration::from_millis(50), ..quick() };
    let late = vec![bundled("guest", slow_to_compile(3_000).validator())];
    let options = Options { loading: Loading::Behind, ..options(limits, None) };
    let plugins = Watched::open(options, late).await.expect("opens at once");

    let told = plugins.find_loaded(PluginKind::Validator, "guest").await.expect_err("not yet");

    assert_eq!(
        told.to_string(),
        "no validator is called `guest`; still being loaded: the bundled `guest`; ask again in a moment"
    );
    let limit = Instant::now() + PATIENCE;
    while !plugins.settled().await {
        assert!(Instant::now() < limit, "it is never done");
    }
    plugins.find(PluginKind::Validator, "guest").expect("now it is served");
}

/// Compilers that wait for a word and say when they begin and end: as many work at the same time as may, so that one
/// that takes long holds up no other.
#[tokio::test]
async fn a_file_that_compiles_long_holds_up_no_other_and_no_more_compile_than_may() {
    for compilers_max in [1, 2] {
        let folder = tempfile::tempdir().expect("a folder");
        let (said, word) = (folder.path().join("said"), folder.path().join("word"));
        let script = format!(
            "echo begin >> {said}; while [ ! -e {word} ]; do /bin/sleep 0.02; done; echo end >> {said}; exit 9",
            said = said.display(),
            word = word.display()
        );
        let arguments = vec!["-c".into(), script.into()];
        let compiler = Compiler::Child { program: PathBuf::from("/bin/sh"), arguments };
        let limits = Limits { compilers_max, ..quick() };
        let options = Options { compiler, loading: Loading::Behind, ..options(limits, None) };
        let four = ["one", "two", "three", "four"];
        let four = four.map(|id| bundled(id, Guest::named(id).validator()));
        let lines = || -> Vec<String> {
            fs::read_to_string(&said).unwrap_or_default().lines().map(str::to_owned).collect()
        };

        let plugins = Watched::open(options, four.to_vec()).await.expect("opens");
        let limit = Instant::now() + PATIENCE;
        while (lines().len() as u64) < compilers_max {
            assert!(Instant::now() < limit, "fewer compile than may: {:?}", lines());
            tokio::task::yield_now().await;
        }
        fs::write(&word, "go on").expect("writes");
        while !plugins.settled().await {
            assert!(Instant::now() < limit, "it is never done");
        }

        let (mut now, mut most) = (0_u64, 0);
        for line in lines() {
            now = if line == "begin" { now + 1 } else { now - 1 };
            most = most.max(now);
        }
        assert_eq!((most, lines().len()), (compilers_max, 8), "each of four began and ended");
    }
}

#[tokio::test]
async fn many_who_ask_for_one_plugin_have_it_compiled_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache");
    let bytes = slow_to_compile(500).validator();
    let same: Vec<BundledPlugin> =
        (0..6).map(|number| bundled(&format!("copy {number}"), bytes.clone())).collect();

    let plugins = Arc::new(
        Watched::open(Options { reload: Reload::Never, ..options(quick(), Some(&cache)) }, same)
            .await
            .expect("opens"),
    );

    assert_eq!(plugins.snapshot().plugins.len(), 1);
    let codes = fs::read_dir(&cache)
        .expect("reads")
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "cwasm"));
    assert_eq!(codes.count(), 1);
}

/// What was packed differs from what was built in what describes it, and is not compiled again.
#[tokio::test]
async fn a_file_that_is_only_described_differently_shares_its_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache");
    let plain = Guest::default().validator();
    let mut described = plain.clone();
    // A custom section: its number, its length, the length of its name, its name, its content.
    described.extend([0, 6, 4, b'n', b'o', b't', b'e', b'!']);

    let mut digests = Vec::new();
    for bytes in [plain, described] {
        let guest = vec![bundled("guest", bytes)];
        let plugins = Watched::open(options(quick(), Some(&cache)), guest).await.expect("opens");
        let plugin = plugins.find(PluginKind::Validator, "guest").expect("it is served");
        judge(&plugins, &plugin).await.outcome.expect("a verdict");
        digests.push(plugin.digest().clone());
    }

    assert_ne!(digests[0], digests[1]);
    let kept = |wanted: &str| {
        let entries = fs::read_dir(&cache).expect("reads").flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|it| it == wanted)).count()
    };
    assert_eq!((kept("cwasm"), kept("json")), (1, 2));
}
