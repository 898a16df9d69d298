//! Files that come, change and go while the host serves, and the operator's word about them.

use std::borrow::Cow;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::plugin::{PluginFailure, PluginKind};
use caelum_plugin_host::{
    BundledPlugin, Limits, Lock, Options, Plugin, Reload, Snapshot, Stage, Trust, TrustMode,
};
use tempfile::TempDir;

use crate::guests::{FOR_EVER, Guest};
use crate::harness::{judge, quick, told};
use crate::watched::Watched;

/// Within which time a change has to be seen; ten times as long on a machine with other work.
const SEEN_WITHIN: Duration = Duration::from_secs(20);

struct Live {
    folder: TempDir,
    plugins: Watched,
}

impl Live {
    async fn open(mode: TrustMode, limits: Limits, bundled: Vec<BundledPlugin>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Live { plugins: Self::again(folder.path(), mode, limits, bundled).await, folder }
    }

    async fn again(
        folder: &Path,
        mode: TrustMode,
        limits: Limits,
        bundled: Vec<BundledPlugin>,
    ) -> Watched {
        let options = Options {
            limits,
            directory: Some(folder.join("plugins")),
            cache_directory: Some(folder.join("cache")),
            reload: Reload::Live,
            trust: Trust { mode, lock: Some(folder.join("trust/plugins.lock")) },
            ..Options::default()
        };
        Watched::open(options, bundled).await.expect("the options are legal")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("plugins").join(name)
    }

    /// Puts a file there as careful programs do, in one step.
    fn put(&self, name: &str, bytes: &[u8]) {
        let beside = self.path(&format!(".{name}.new"));
        fs::write(&beside, bytes).expect("writes");
        fs::rename(beside, self.path(name)).expect("renames");
    }

    fn lock(&self, change: impl FnOnce(&mut Lock)) {
        let path = self.folder.path().join("trust/plugins.lock");
        let mut lock = Lock::read(&path).expect("reads");
        change(&mut lock);
        lock.write(&path).expect("writes");
    }

    /// Waits until what is served is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let mut changes = self.plugins.changes();
        let limit = Instant::now() + SEEN_WITHIN;
        loop {
            let snapshot = self.plugins.snapshot();
            if wanted(&snapshot) {
                return snapshot;
            }
            let left = limit.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never seen: {what}; {snapshot:#?}");
            tokio::time::timeout(left, changes.changed()).await.ok();
        }
    }

    async fn serving(&self, name: &str, version: &str) -> Arc<Plugin> {
        let snapshot = self
            .until(&format!("{name} {version}"), |snapshot| {
                snapshot.plugins.get(name).is_some_and(|it| it.version().to_string() == version)
            })
            .await;
        snapshot.find(PluginKind::Validator, name).expect("it serves")
    }
}

fn version(version: &str) -> Vec<u8> {
    Guest { version: version.to_owned(), ..Guest::default() }.validator()
}

fn bundled(name: &str, bytes: Vec<u8>) -> BundledPlugin {
    BundledPlugin { name: name.to_owned(), bytes: Cow::Owned(bytes) }
}

#[tokio::test]
async fn a_file_that_comes_changes_and_goes_is_followed() {
    let live = Live::open(TrustMode::Open, quick(), vec![]).await;
    let generation = live.plugins.snapshot().generation;

    live.put("guest.wasm", &version("1.0.0"));
    let first = live.serving("guest", "1.0.0").await;
    assert!(live.plugins.snapshot().generation > generation);

    live.put("guest.wasm", &version("1.1.0"));
    let second = live.serving("guest", "1.1.0").await;
    assert_ne!(first.digest(), second.digest());

    fs::remove_file(live.path("guest.wasm")).expect("removes");
    live.until("nothing", |snapshot| snapshot.plugins.is_empty()).await;

    // Who began with one goes on with it.
    for plugin in [first, second] {
        let same = live.plugins.pinned(plugin.digest()).await.expect("it is still known");
        judge(&live.plugins, &same).await.outcome.expect("a verdict");
    }
}

#[tokio::test]
async fn a_touched_file_that_is_the_same_changes_nothing_visible() {
    let live = Live::open(TrustMode::Open, quick(), vec![]).await;
    live.put("guest.wasm", &version("1.0.0"));
    live.serving("guest", "1.0.0").await;
    let generation = live.plugins.snapshot().generation;

    live.put("guest.wasm", &version("1.0.0"));
    live.put("other.wasm", &Guest::named("other").validator());
    live.serving("other", "1.0.0").await;

    let served = live.plugins.snapshot();
    assert!(served.generation <= generation + 2, "one for loading the other, one for serving it");
}

/// Test 57: half of a file is waited for, and the whole of it serves.
#[tokio::test]
async fn n57_a_half_copied_file_waits_until_it_is_whole() {
    use std::io::Write;
    let live = Live::open(TrustMode::Open, quick(), vec![]).await;
    let bytes = version("1.0.0");
    let (half, rest) = bytes.split_at(bytes.len() / 2);

    let mut file = fs::File::create(live.path("guest.wasm")).expect("creates");
    file.write_all(half).expect("writes");
    // Something else that comes after it is seen first: the host has looked, and has left the half one alone.
    live.put("other.wasm", &Guest::named("other").validator());
    live.serving("other", "1.0.0").await;
    assert_eq!(live.plugins.snapshot().refused, []);
    file.write_all(rest).expect("writes");
    drop(file);

    live.serving("guest", "1.0.0").await;
    assert_eq!(live.plugins.snapshot().refused, []);
}

/// Test 58: a plugin is replaced again and again while it is called, and no call fails.
#[tokio::test]
async fn n58_a_plugin_that_is_replaced_during_calls_never_fails_one() {
    let live = Arc::new(Live::open(TrustMode::Open, Limits { ..quick() }, vec![]).await);
    let versions: Vec<Vec<u8>> = (0..8).map(|number| version(&format!("1.0.{number}"))).collect();
    live.put("guest.wasm", &versions[0]);
    live.serving("guest", "1.0.0").await;
    let replacing = {
        let live = Arc::clone(&live);
        tokio::task::spawn_blocking(move || {
            for number in 0..1_000 {
                live.put("guest.wasm", &versions[number % versions.len()]);
            }
        })
    };

    let mut calls = 0_u32;
    while !replacing.is_finished() || calls < 50 {
        let plugin = live.plugins.find(PluginKind::Validator, "guest").expect("one always serves");
        judge(&live.plugins, &plugin).await.outcome.expect("a verdict");
        calls += 1;
    }

    replacing.await.expect("no panic");
    live.serving("guest", "1.0.7").await;
}

/// Test 59: a file that is deleted while its plugin is called harms nobody.
#[tokio::test]
async fn n59_a_file_that_is_deleted_during_a_call_harms_nobody() {
    let live = Live::open(TrustMode::Open, quick(), vec![]).await;
    live.put("guest.wasm", &Guest::judging(FOR_EVER).validator());
    let plugin = live.serving("guest", "1.0.0").await;
    let running = {
        let (plugins, plugin) = (live.plugins.clone(), Arc::clone(&plugin));
        tokio::spawn(async move { judge(&plugins, &plugin).await })
    };

    fs::remove_file(live.path("guest.wasm")).expect("removes");
    live.until("nothing", |snapshot| snapshot.plugins.is_empty()).await;

    let called = running.await.expect("no panic");
    assert!(told(called).ends_with("ran longer than its limit of 200 ms"));
}

#[tokio::test]
async fn a_bad_new_version_leaves_the_last_good_one_serving_and_is_told() {
    let live = Live::open(TrustMode::Open, quick(), vec![]).await;
    live.put("guest.wasm", &version("1.0.0"));
    live.serving("guest", "1.0.0").await;

    live.put("guest.wasm", b"nonsense");
    let snapshot = live.until("a refusal", |snapshot| !snapshot.refused.is_empty()).await;

    assert_eq!(snapshot.refused[0].stage, Stage::Header);
    let good = snapshot.find(PluginKind::Validator, "guest").expect("the last good one");
    judge(&live.plugins, &good).await.outcome.expect("a verdict");

    live.put("guest.wasm", &version("1.0.1"));
    live.serving("guest", "1.0.1").await;
    assert_eq!(live.plugins.snapshot().refused, []);
}

#[tokio::test]
async fn a_directory_that_goes_and_comes_again_is_followed() {
    let live = Live::open(TrustMode::Open, quick(), vec![]).await;
    live.put("guest.wasm", &version("1.0.0"));
    live.serving("guest", "1.0.0").await;

    fs::remove_dir_all(live.folder.path().join("plugins")).expect("removes");
    live.until("nothing", |snapshot| snapshot.plugins.is_empty()).await;
    fs::create_dir(live.folder.path().join("plugins")).expect("makes");
    live.put("guest.wasm", &version("2.0.0"));

    live.serving("guest", "2.0.0").await;
}

#[tokio::test]
async fn an_execution_goes_on_with_what_it_began_with_after_a_restart() {
    let live = Live::open(TrustMode::Open, quick(), vec![bundled("b", version("1.0.0"))]).await;
    live.put("other.wasm", &Guest::named("other").validator());
    let file = live.serving("other", "1.0.0").await.digest().clone();
    let part = live.plugins.find(PluginKind::Validator, "guest").expect("it serves");
    let part = part.digest().clone();
    let Live { folder, plugins } = live;
    drop(plugins);
    fs::remove_file(folder.path().join("plugins/other.wasm")).expect("removes");

    let newer = vec![bundled("b", version("2.0.0"))];
    let plugins = Live::again(folder.path(), TrustMode::Open, quick(), newer).await;

    for (digest, source) in [(&file, "an earlier file"), (&part, "an earlier server")] {
        let plugin = plugins.pinned(digest).await.expect("the cache has kept it");
        assert_eq!(plugin.source().to_string(), source);
        judge(&plugins, &plugin).await.outcome.expect("a verdict");
    }
    assert!(plugins.pinned(&caelum_core::id::Digest::from_bytes(&[9; 32])).await.is_none());
}

#[tokio::test]
async fn where_only_pinned_plugins_serve_a_pin_lets_one_in_and_its_loss_takes_it_out() {
    let part = vec![bundled("part", Guest::named("part").validator())];
    let live = Live::open(TrustMode::Pinned, quick(), part).await;
    live.put("guest.wasm", &version("1.0.0"));
    let snapshot = live.until("a refusal", |snapshot| !snapshot.refused.is_empty()).await;
    assert_eq!(snapshot.refused[0].stage, Stage::Trust);
    assert!(snapshot.refused[0].hint.contains("plugin pin"), "{}", snapshot.refused[0].hint);
    let digest = snapshot.refused[0].digest.clone().expect("it was read");
    snapshot.find(PluginKind::Validator, "part").expect("what is bundled serves");

    live.lock(|lock| lock.pin(digest.clone(), "guest", "1.0.0"));
    let plugin = live.serving("guest", "1.0.0").await;
    assert!(live.plugins.is_pinned(&digest));

    // Test 68: what is taken back applies to the next call.
    live.lock(|lock| assert!(lock.unpin(&digest)));
    live.until("a refusal", |snapshot| snapshot.plugins.len() == 1).await;
    assert!(live.plugins.pinned(plugin.digest()).await.is_none());
}

#[tokio::test]
async fn what_is_put_away_serves_nobody_until_it_is_released() {
    let part = vec![bundled("part", Guest::named("part").validator())];
    let live = Live::open(TrustMode::Open, quick(), part).await;
    live.put("guest.wasm", &version("1.0.0"));
    live.serving("guest", "1.0.0").await;
    let part = live.plugins.find(PluginKind::Validator, "part").expect("it serves");

    for name in ["guest", "part"] {
        let plugin = live.plugins.find(PluginKind::Validator, name).expect("it serves");
        live.lock(|lock| lock.put_it_away(plugin.digest().clone(), name, "it is odd"));
        let snapshot =
            live.until("it is gone", |snapshot| !snapshot.plugins.contains_key(name)).await;
        let refused =
            snapshot.refused.iter().find(|it| it.digest.as_ref() == Some(plugin.digest()));
        assert_eq!(refused.expect("it is told").reason, "it was put away: it is odd");
        assert!(live.plugins.pinned(plugin.digest()).await.is_none());
    }
    live.lock(|lock| lock.release(part.digest(), "part"));
    live.serving("part", "1.0.0").await;
}

#[tokio::test]
async fn a_lock_that_cannot_be_read_keeps_files_out_until_it_is_mended() {
    let live = Live::open(TrustMode::Open, quick(), vec![]).await;
    live.put("guest.wasm", &version("1.0.0"));
    live.serving("guest", "1.0.0").await;
    let path = live.folder.path().join("trust/plugins.lock");

    fs::write(&path, "version = 1\nplugins = 3\n").expect("writes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("sets");
    let snapshot = live.until("a refusal", |snapshot| snapshot.plugins.is_empty()).await;
    assert!(snapshot.refused[0].reason.contains("`plugins` is not known"), "{snapshot:#?}");
    assert!(live.plugins.trust_problem().is_some());

    fs::remove_file(&path).expect("removes");
    live.serving("guest", "1.0.0").await;
    assert_eq!(live.plugins.trust_problem(), None);
}

/// Test 70: three failures keep a plugin out, others are unaffected, and the operator may let it go.
#[tokio::test]
async fn n70_a_plugin_that_fails_three_times_is_kept_out_and_no_other() {
    let limits = Limits { strikes_max: 3, ..quick() };
    let live = Live::open(TrustMode::Open, limits, vec![]).await;
    live.put(
        "bad.wasm",
        &Guest { judge: "unreachable".to_owned(), ..Guest::named("bad") }.validator(),
    );
    live.put("good.wasm", &Guest::named("good").validator());
    let (bad, good) = (live.serving("bad", "1.0.0").await, live.serving("good", "1.0.0").await);

    for _ in 0..3 {
        assert!(told(judge(&live.plugins, &bad).await).contains("trapped"));
    }

    assert_eq!(
        told(judge(&live.plugins, &bad).await),
        "validator `bad` 1.0.0: failed too often and is kept out for 60 s"
    );
    assert_eq!(bad.quarantine().expect("it is kept out").times, 1);
    judge(&live.plugins, &good).await.outcome.expect("a verdict");

    // The same bytes again are the same plugin.
    live.put(
        "bad.wasm",
        &Guest { judge: "unreachable".to_owned(), ..Guest::named("bad") }.validator(),
    );
    live.put("again.wasm", &Guest::named("again").validator());
    live.serving("again", "1.0.0").await;
    let bad = live.plugins.find(PluginKind::Validator, "bad").expect("it is listed");
    assert!(bad.quarantine().is_some());

    live.lock(|lock| lock.release(bad.digest(), "bad"));
    let limit = Instant::now() + SEEN_WITHIN;
    while bad.quarantine().is_some() {
        assert!(Instant::now() < limit, "it was never let go");
        tokio::task::yield_now().await;
    }
    let Err(error) = judge(&live.plugins, &bad).await.outcome else { panic!("it traps") };
    assert!(matches!(
        error.failure,
        PluginFailure::Host(caelum_core::plugin::HostReason::Trap { .. })
    ));

    // A new digest begins anew.
    live.put("bad.wasm", &Guest::named("bad").validator());
    live.until("the mended one", |snapshot| {
        snapshot.plugins.get("bad").is_some_and(|it| it.digest() != bad.digest())
    })
    .await;
    let mended = live.plugins.find(PluginKind::Validator, "bad").expect("it is listed");
    judge(&live.plugins, &mended).await.outcome.expect("a verdict");
}
