//! From files to plugins: what is refused, at which stage, in which words; which of two serves; what the cache keeps.

use std::borrow::Cow;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use caelum_core::plugin::{Phase, PluginKind};
use caelum_plugin_host::{BundledPlugin, Options, Refused, Stage};

use crate::guests::{Guest, component, typed_module};
use crate::harness::{host, judge, quick};
use crate::watched::Watched;

/// What a host says of a file that it does not take.
async fn refused(bytes: Vec<u8>) -> Refused {
    let plugins = host(quick(), &[("guest", bytes)]).await;
    let snapshot = plugins.snapshot();
    assert!(snapshot.plugins.is_empty(), "it had to be refused");
    snapshot.refused[0].clone()
}

async fn refused_at(stage: Stage, bytes: Vec<u8>) -> String {
    let refused = refused(bytes).await;
    assert_eq!(refused.stage, stage, "{refused}");
    assert!(!refused.hint.is_empty());
    assert!(refused.digest.is_some());
    refused.reason
}

async fn opened(directory: &Path, cache: Option<&Path>, bundled: Vec<BundledPlugin>) -> Watched {
    let options = Options {
        limits: quick(),
        directory: Some(directory.to_owned()),
        cache_directory: cache.map(Path::to_owned),
        ..Options::default()
    };
    Watched::open(options, bundled).await.expect("the options are legal")
}

fn bundled(bytes: Vec<u8>) -> BundledPlugin {
    BundledPlugin { name: "guest".to_owned(), bytes: Cow::Owned(bytes) }
}

#[tokio::test]
async fn a_plugin_says_who_it_is() {
    let plugins = host(quick(), &[("guest", Guest::default().validator())]).await;

    let plugin = plugins.find(PluginKind::Validator, "guest").expect("it is served");

    assert_eq!(plugin.to_string(), "validator `guest` 1.0.0");
    assert_eq!(plugin.description().title, "A guest");
    assert_eq!(plugin.pinned().phases, [Phase::Before, Phase::After]);
    assert_eq!(plugin.source().to_string(), "the bundled `guest`");
    let same = plugins.by_digest(plugin.digest()).expect("known by its digest");
    assert_eq!(same.digest(), plugin.digest());
}

#[tokio::test]
async fn a_core_module_with_its_component_type_becomes_a_component() {
    let plugins = host(quick(), &[("guest", Guest::default().core_module())]).await;

    let plugin = plugins.find(PluginKind::Validator, "guest").expect("it is served");

    assert!(judge(&plugins, &plugin).await.outcome.is_ok());
}

#[tokio::test]
async fn what_is_no_component_is_refused_by_its_header() {
    for (bytes, reason) in [
        (b"".to_vec(), "it is empty"),
        (b"(component)".to_vec(), "it is WebAssembly text; expected a binary component"),
        (
            wat::parse_str("(module)").expect("wat"),
            "it is a core module without a component type; expected a component",
        ),
        (
            b"hello world".to_vec(),
            "it begins with the bytes 68 65 6c 6c; expected a component, which begins with 00 61 73 6d",
        ),
    ] {
        assert_eq!(refused_at(Stage::Header, bytes).await, reason);
    }
}

#[tokio::test]
async fn a_component_that_is_cut_off_anywhere_is_refused_and_nothing_breaks() {
    let whole = Guest::default().validator();
    // Every cut is tried on the first stages; they are the ones that parse.
    let cuts: Vec<Vec<u8>> =
        (1..whole.len()).step_by(7).map(|length| whole[..length].to_vec()).collect();
    let names: Vec<String> = (0..cuts.len()).map(|number| format!("cut {number}")).collect();
    let guests: Vec<(&str, Vec<u8>)> =
        names.iter().map(String::as_str).zip(cuts.iter().cloned()).collect();

    let plugins = host(quick(), &guests).await;

    let snapshot = plugins.snapshot();
    assert!(snapshot.plugins.is_empty());
    assert_eq!(snapshot.refused.len(), cuts.len());
    for refused in &snapshot.refused {
        assert!(
            matches!(
                refused.stage,
                Stage::Header | Stage::Manifest | Stage::Validate | Stage::World
            ),
            "{refused}"
        );
    }
    let last = snapshot.refused.last().expect("there are some");
    assert_eq!(last.hint, "copy the file again, completely", "{last}");
}

#[tokio::test]
async fn random_bytes_behind_a_header_are_refused() {
    for version in [b"\x0d\0\x01\0", b"\x01\0\0\0"] {
        let mut bytes = b"\0asm".to_vec();
        bytes.extend(version);
        let mut number = 1_u32;
        bytes.extend((0..4_096).map(|_| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (number >> 24) as u8
        }));
        refused(bytes).await;
    }
}

#[tokio::test]
async fn features_that_are_off_are_refused_by_the_validator() {
    for (module, word) in [
        ("(module (memory i64 1))", "memory64"),
        ("(module (memory 1 1 shared))", "threads"),
        ("(module (func $f return_call $f))", "tail call"),
        ("(module (func (param externref)))", "gc types"),
    ] {
        let bytes =
            wat::parse_str(format!("(component (core {}", &module[1..]) + ")").expect("wat");
        let reason = refused_at(Stage::Validate, bytes).await;
        assert!(reason.starts_with("it is not a valid component: "), "{reason}");
        assert!(reason.contains(word), "{reason}");
    }
}

#[tokio::test]
async fn a_component_of_another_world_is_told_everything_at_once() {
    let module = r#"(module
        (import "wasi:http/types@0.2.6" "x" (func))
        (import "caelum:plugin/log@0.2.0" "log" (func))
        (import "caelum:plugin/log@0.1.9" "log" (func))
        (import "caelum:plugin/log@0.1.9" "flush" (func))
        (import "$root" "another" (func))
        (func (export "hello")))"#;
    let world = "import wasi:http/types@0.2.6; import caelum:plugin/log@0.2.0; import caelum:plugin/log@0.1.9; \
                 import another: func(); export hello: func();";

    let refused = refused(component(&typed_module(module, world))).await;

    assert_eq!(refused.stage, Stage::World, "{refused}");
    for problem in [
        "imports `wasi:http/types@0.2.6`, which is not offered",
        "imports `caelum:plugin/log@0.2.0`, and this server speaks caelum:plugin 0.1",
        "imports the function `flush` of `caelum:plugin/log@0.1.9`, which this server does not have",
        "imports `another`, which is not offered",
        "exports neither `caelum:plugin/pattern@0.1.0` nor `caelum:plugin/validator@0.1.0`, but `hello`",
    ] {
        assert!(refused.reason.contains(problem), "{problem}\n{refused}");
    }
    for hint in ["--disable http", "build with the caelum-sdk", "it was built for a newer server"] {
        assert!(refused.hint.contains(hint), "{hint}\n{refused}");
    }
}

#[tokio::test]
async fn a_component_of_another_track_says_so() {
    let module = r#"(module (func (export "caelum:plugin/validator@0.2.0#judge")))"#;
    let bytes = component(&typed_module(module, "export caelum:plugin/validator@0.2.0;"));

    assert_eq!(
        refused_at(Stage::World, bytes).await,
        "it fits no world of caelum:plugin@0.1: exports `caelum:plugin/validator@0.2.0`, and this server speaks \
         caelum:plugin 0.1"
    );
}

#[tokio::test]
async fn missing_functions_are_named() {
    // An instance with the right name that has one function of two.
    let bytes = wat::parse_str(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $v (export "describe" (func $f)))
            (export "caelum:plugin/validator@0.1.0" (instance $v)))"#,
    )
    .expect("wat");

    assert_eq!(
        refused_at(Stage::World, bytes).await,
        "it fits no world of caelum:plugin@0.1: exports `caelum:plugin/validator@0.1.0` without `judge`"
    );
}

#[tokio::test]
async fn functions_of_another_shape_are_refused_when_they_are_joined() {
    let bytes = wat::parse_str(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $v (export "describe" (func $f)) (export "judge" (func $f)))
            (export "caelum:plugin/validator@0.1.0" (instance $v)))"#,
    )
    .expect("wat");

    let refused = refused(bytes).await;

    assert_eq!(refused.stage, Stage::Link, "{refused}");
    assert!(refused.hint.contains("caelum-sdk"), "{refused}");
}

#[tokio::test]
async fn a_manifest_that_lies_is_refused() {
    let manifest = Some(r#"{"id":"guest","version":"2.0.0"}"#.to_owned());
    let guest = Guest { manifest, ..Guest::default() };

    assert_eq!(
        refused_at(Stage::Manifest, guest.validator()).await,
        "its section `caelum:plugin` names `guest 2.0.0` and its `describe` answers `guest 1.0.0`"
    );

    let manifest = Some(r#"{"id":"guest","version":"1.0.0"}"#.to_owned());
    let honest = Guest { manifest, ..Guest::default() };
    let plugins = host(quick(), &[("guest", honest.validator())]).await;
    assert_eq!(plugins.snapshot().plugins.len(), 1);
}

#[tokio::test]
async fn a_description_that_breaks_the_contract_names_every_breach() {
    let guest = Guest {
        id: "Guest".to_owned(),
        version: "one".to_owned(),
        schema: "[]".to_owned(),
        ..Guest::default()
    };

    let reason = refused_at(Stage::Describe, guest.validator()).await;

    assert!(
        reason.starts_with("its description breaks the contract: `id` is `Guest`; an id"),
        "{reason}"
    );
    assert!(reason.contains("`version` is `one`, which is no semantic version"), "{reason}");
    assert!(reason.contains("`parameters-schema` is not a JSON object"), "{reason}");
}

#[tokio::test]
async fn a_describe_that_traps_is_told_as_such() {
    let guest = Guest { describe: "unreachable".to_owned(), ..Guest::default() };

    let reason = refused_at(Stage::Describe, guest.validator()).await;

    assert!(
        reason.starts_with("its `describe` trapped: wasm `unreachable` instruction executed"),
        "{reason}"
    );
}

#[tokio::test]
async fn one_bad_file_keeps_no_other_from_serving() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("good.wasm"), Guest::named("good").validator()).expect("writes");
    fs::write(at("bad.wasm"), b"nonsense").expect("writes");
    fs::write(at("native.cwasm"), b"\x7fELF").expect("writes");
    fs::write(at(".hidden.wasm"), b"nonsense").expect("writes");
    fs::write(at("notes.txt"), b"nonsense").expect("writes");
    std::os::unix::fs::symlink(at("good.wasm"), at("link.wasm")).expect("links");

    let plugins = opened(folder.path(), None, vec![]).await;

    let snapshot = plugins.snapshot();
    assert_eq!(snapshot.plugins.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["good"]);
    let refused: Vec<String> = snapshot
        .refused
        .iter()
        .map(|refused| {
            let name = refused.source.to_string();
            let name = name.rsplit('/').next().expect("a path").trim_end_matches('`').to_owned();
            format!("{name} {}: {}", refused.stage, refused.reason)
        })
        .collect();
    assert_eq!(
        refused,
        [
            "bad.wasm header: it begins with the bytes 6e 6f 6e 73; expected a component, which begins with 00 61 73 6d",
            "link.wasm capture: it is a symbolic link; expected a regular file",
            "native.cwasm capture: it is a file of compiled code; expected a component",
        ]
    );
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_no_problem() {
    let folder = tempfile::tempdir().expect("a folder");

    let plugins = opened(&folder.path().join("nowhere"), None, vec![]).await;

    let snapshot = plugins.snapshot();
    assert_eq!((snapshot.generation, snapshot.plugins.len(), snapshot.refused.len()), (1, 0, 0));
}

fn version(version: &str) -> Guest {
    Guest { version: version.to_owned(), ..Guest::default() }
}

#[tokio::test]
async fn a_file_with_a_higher_version_takes_over_from_the_bundled_one() {
    for (file, serves) in [("1.1.0", "1.1.0"), ("0.9.0", "1.0.0"), ("1.0.0-rc.1", "1.0.0")] {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = version(file).validator();
        fs::write(folder.path().join("guest.wasm"), bytes).expect("writes");

        let plugins =
            opened(folder.path(), None, vec![bundled(Guest::default().validator())]).await;

        let snapshot = plugins.snapshot();
        let serving = snapshot.find(PluginKind::Validator, "guest").expect("one serves");
        assert_eq!(serving.version().to_string(), serves);
        assert_eq!(snapshot.shadowed.len(), 1);
        assert!(snapshot.refused.is_empty());
        let other = snapshot.shadowed[0].digest();
        assert!(plugins.by_digest(other).is_some(), "a pinned execution still finds it");
    }
}

#[tokio::test]
async fn an_equal_version_with_other_content_displaces_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = Guest { verdict: 1, ..Guest::default() };
    fs::write(folder.path().join("a.wasm"), other.validator()).expect("writes");
    fs::write(folder.path().join("same.wasm"), Guest::default().validator()).expect("writes");
    fs::write(folder.path().join("z.wasm"), Guest::default().pattern()).expect("writes");

    let plugins = opened(folder.path(), None, vec![bundled(Guest::default().validator())]).await;

    let snapshot = plugins.snapshot();
    let reasons: Vec<&str> =
        snapshot.refused.iter().map(|refused| refused.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "version 1.0.0 of `guest` is served already from the bundled `guest`, with other content",
            "`guest` is the name of a validator that is served already from the bundled `guest`",
        ]
    );
    let serving = snapshot.find(PluginKind::Validator, "guest").expect("one serves");
    assert_eq!(serving.source().to_string(), "the bundled `guest`");
}

#[tokio::test]
async fn an_unknown_name_is_answered_with_near_ones() {
    let guests = [
        ("a", Guest::named("unit-tests").validator()),
        ("b", Guest::named("health-check").pattern()),
    ];
    let plugins = host(quick(), &guests).await;
    let told = |kind, name| plugins.find(kind, name).expect_err("unknown").to_string();

    assert_eq!(
        told(PluginKind::Validator, "unit-test"),
        "no validator is called `unit-test`; did you mean `unit-tests`?"
    );
    assert_eq!(
        told(PluginKind::Validator, "health-check"),
        "no validator is called `health-check`; `health-check` is a pattern"
    );
    assert_eq!(
        told(PluginKind::Pattern, "\u{1b}[2Jzzz"),
        "no pattern is called `zzz`; known: health-check"
    );
}

#[tokio::test]
async fn a_second_start_takes_everything_from_the_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache");
    let nowhere = folder.path().join("nowhere");
    let bytes = Guest::default().validator();
    let first = opened(&nowhere, Some(&cache), vec![bundled(bytes.clone())]).await;
    assert_eq!(first.cache_problem(), None);
    drop(first);
    let written = || {
        let mut files: Vec<_> = fs::read_dir(&cache)
            .expect("the cache is there")
            .map(|entry| entry.expect("readable"))
            .map(|entry| (entry.file_name(), entry.metadata().expect("readable").ino()))
            .collect();
        files.sort();
        files
    };
    let before = written();
    assert_eq!(before.len(), 4, "code, its checksum, the description, and the plugin itself");

    let second = opened(&nowhere, Some(&cache), vec![bundled(bytes.clone())]).await;
    let plugin = second.find(PluginKind::Validator, "guest").expect("it is served");
    judge(&second, &plugin).await.outcome.expect("it works");

    assert_eq!(written(), before, "nothing was made again");
    drop((second, plugin));

    // The code is lost between the start and the first call: it is made again.
    let third = opened(&nowhere, Some(&cache), vec![bundled(bytes)]).await;
    for (name, _) in written() {
        fs::remove_file(cache.join(name)).expect("removes");
    }
    let plugin = third.find(PluginKind::Validator, "guest").expect("it is served");
    judge(&third, &plugin).await.outcome.expect("it works all the same");
}

#[tokio::test]
async fn a_poisoned_cache_is_not_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache");
    let nowhere = folder.path().join("nowhere");
    let bytes = Guest::default().validator();
    drop(opened(&nowhere, Some(&cache), vec![bundled(bytes.clone())]).await);
    for entry in fs::read_dir(&cache).expect("the cache is there").flatten() {
        let mut content = fs::read(entry.path()).expect("reads");
        let middle = content.len() / 2;
        content[middle] ^= 0x20;
        fs::write(entry.path(), content).expect("writes");
    }

    let plugins = opened(&nowhere, Some(&cache), vec![bundled(bytes)]).await;

    let plugin = plugins.find(PluginKind::Validator, "guest").expect("it is served");
    judge(&plugins, &plugin).await.outcome.expect("it was compiled again");
}

#[tokio::test]
async fn a_cache_that_others_can_enter_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache");
    fs::create_dir(&cache).expect("makes");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).expect("sets");

    let plugins = opened(
        &folder.path().join("nowhere"),
        Some(&cache),
        vec![bundled(Guest::default().validator())],
    )
    .await;

    assert!(plugins.cache_problem().expect("told").contains("expected 700"));
    assert_eq!(plugins.snapshot().plugins.len(), 1);
    assert_eq!(fs::read_dir(&cache).expect("reads").count(), 0);
}
