//! A host that serves given components, guests built once, and evidence.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use caelum_core::clock::Timestamp;
use caelum_core::evidence::{Evidence, EvidenceFile, Verdict};
use caelum_core::id::{Digest, MachineId};
use caelum_core::plugin::{PluginFailure, PluginKind};
use caelum_core::tree::MapTree;
use caelum_plugin_build::{BuildRequest, build};
use caelum_plugin_host::{BundledPlugin, CallControl, Called, Limits, Options, Plugin, Plugins};
use serde_json::{Value, json};

/// Long enough for an honest guest on a busy machine, short enough for tests of guests that never end.
pub(crate) fn limits() -> Limits {
    Limits {
        call_deadline: Duration::from_secs(2),
        describe_deadline: Duration::from_secs(1),
        ..Limits::default()
    }
}

/// The components of all test guests, by package.
static GUESTS: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests");
    let entries = std::fs::read_dir(&folder).expect("the guests");
    let packages: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("Cargo.toml").is_file())
        .collect();
    let built = build(&BuildRequest::new(packages)).unwrap_or_else(|error| panic!("{error}"));
    let read = |path: &Path| std::fs::read(path).expect("a component");
    built.into_iter().map(|built| (built.package, read(&built.path))).collect()
});

/// Compiled once for all tests of this program.
static CACHE: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a directory"));

/// A tree of text files.
pub(crate) fn tree(files: &[(&str, &str)]) -> MapTree {
    files.iter().map(|(path, text)| (*path, text.as_bytes())).collect()
}

/// Opens a host with these components.
pub(crate) async fn open(limits: Limits, components: Vec<(String, Cow<'static, [u8]>)>) -> Plugins {
    let bundled =
        components.into_iter().map(|(name, bytes)| BundledPlugin { name, bytes }).collect();
    let cache_directory = Some(CACHE.path().join("compiled"));
    let options = Options { limits, cache_directory, ..Options::default() };
    Plugins::open(options, bundled).await.expect("the options are legal")
}

/// Opens a host with one guest.
pub(crate) async fn open_guest(package: &str, limits: Limits) -> Plugins {
    let bytes = GUESTS.get(package).unwrap_or_else(|| panic!("there is no guest `{package}`"));
    open(limits, vec![(package.to_owned(), Cow::Borrowed(bytes.as_slice()))]).await
}

/// Opens a host with one guest that has to be served.
pub(crate) async fn serve(package: &str, kind: PluginKind, id: &str) -> (Plugins, Arc<Plugin>) {
    let plugins = open_guest(package, limits()).await;
    if let Some(refused) = plugins.snapshot().refused.first() {
        panic!("{refused}");
    }
    let plugin = plugins.find(kind, id).expect("it is served");
    (plugins, plugin)
}

/// Has the hostile guest do something over an empty tree.
pub(crate) async fn misbehave(parameters: Value) -> Called<Verdict> {
    misbehave_over(MapTree::new(), parameters).await
}

/// Has the hostile guest do something over a tree.
pub(crate) async fn misbehave_over(tree: MapTree, parameters: Value) -> Called<Verdict> {
    let (plugins, plugin) = serve("guest-hostile", PluginKind::Validator, "hostile").await;
    let called = judge(&plugins, &plugin, tree, parameters, CallControl::default()).await;
    // Whatever it did, the next call finds a fresh instance.
    let after = judge(&plugins, &plugin, MapTree::new(), json!({}), CallControl::default()).await;
    assert!(after.outcome.is_ok(), "the call after it: {:?}", after.outcome);
    called
}

/// Asks a validator about the evidence of [`evidence`].
pub(crate) async fn judge(
    plugins: &Plugins,
    plugin: &Arc<Plugin>,
    tree: MapTree,
    parameters: Value,
    control: CallControl,
) -> Called<Verdict> {
    plugins.judge(plugin, &evidence(), None, Arc::new(tree), &parameters, control).await
}

/// Why a call failed.
pub(crate) fn failure<T: std::fmt::Debug>(called: Called<T>) -> PluginFailure {
    called.outcome.expect_err("it has to fail").failure
}

/// Evidence of a step that collected one file and ran nothing.
pub(crate) fn evidence() -> Evidence {
    let file = EvidenceFile {
        path: "report.txt".to_owned(),
        text: "all is well\n".to_owned(),
        total_bytes: 12,
        truncated: false,
    };
    Evidence {
        execution_id: "execution-1".parse().expect("an id"),
        step_id: "step-1".parse().expect("an id"),
        attempt: 2,
        started_at: Timestamp::from_micros(1_767_268_800_000_000),
        performer: Some("ada".to_owned()),
        outcomes: vec![],
        probes: vec![],
        reviews: vec![],
        files: vec![(MachineId::local(), file)],
        subject_digest: Digest::from_bytes(&[7; 32]),
    }
}
