//! A plugin that is replaced again and again while it is called: each file is another one, so that each is read, checked,
//! compiled and published while callers are served. No call may fail.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use caelum_core::id::Digest;
use caelum_core::plugin::PluginKind;
use caelum_core::tree::MapTree;
use caelum_plugin_host::{CallControl, Options, Plugins, Reload};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::hosted::{VALIDATOR, component, evidence, options};
use crate::{Figures, Row, ms, percentile, us};

/// How many callers ask at once.
const CALLERS: usize = 2;

/// How long they ask, with replacements and without.
const SPAN: Duration = Duration::from_secs(6);

/// How long a replacement may take to be seen before the bench gives up.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn measure(figures: &mut Figures) {
    if !figures.wanted("swap") {
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("plugins");
    fs::create_dir(&folder).expect("a folder");
    put(&folder, 0);
    let options = Options {
        directory: Some(folder.clone()),
        cache_directory: Some(home.path().join("cache")),
        reload: Reload::Live,
        ..options()
    };
    let runtime = Runtime::new().expect("threads");
    let plugins = runtime.block_on(Plugins::open(options, vec![])).expect("the options are legal");
    let mut still = called(&runtime, &plugins, || thread::sleep(SPAN));
    let mut seen = Vec::new();
    let mut swapped = called(&runtime, &plugins, || {
        let until = Instant::now() + SPAN;
        while Instant::now() < until {
            let before = served(&plugins);
            let began = Instant::now();
            put(&folder, seen.len() + 1);
            runtime.block_on(replaced(&plugins, &before));
            seen.push(began.elapsed());
        }
    });
    let swaps = seen.len();
    let note = format!("{swaps} replacements, {} calls, none failed", swapped.times.len());
    let rate = swapped.per_s();
    figures.add(
        Row::rate(
            "swap_per_s",
            "Calls per second while the plugin is replaced again and again",
            rate,
        )
        .noted(note),
    );
    figures.add(Row::rate("swap_still_per_s", "The same without replacements", still.per_s()));
    for (share, name) in [(0.5, "p50"), (0.99, "p99")] {
        let (swapped, still) =
            (percentile(&mut swapped.times, share), percentile(&mut still.times, share));
        let title = format!("A call while the plugin is replaced, {name}");
        figures.add(Row::time(&format!("swap_{name}_us"), &title, "µs", us(swapped)));
        let title = format!("The same without replacements, {name}");
        figures.add(Row::time(&format!("swap_still_{name}_us"), &title, "µs", us(still)));
    }
    let title = "From a file's replacement to its serving, compiled anew, p50";
    figures.add(Row::time("swap_seen_ms", title, "ms", ms(percentile(&mut seen, 0.5))));
}

/// Calls that were made meanwhile.
struct Calls {
    times: Vec<Duration>,
    span: Duration,
}

impl Calls {
    fn per_s(&self) -> f64 {
        self.times.len() as f64 / self.span.as_secs_f64()
    }
}

/// Has callers ask whatever serves while something happens.
///
/// # Panics
///
/// When a call fails.
fn called(runtime: &Runtime, plugins: &Plugins, meanwhile: impl FnOnce()) -> Calls {
    let over = AtomicBool::new(false);
    let evidence = evidence();
    let began = Instant::now();
    let caller = || {
        let mut times = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let plugin = plugins.find(PluginKind::Validator, VALIDATOR).expect("one serves");
            let (tree, parameters) = (Arc::new(MapTree::new()), json!({}));
            let control = CallControl::default();
            let began = Instant::now();
            let called = runtime.block_on(plugins.judge(
                &plugin,
                &evidence,
                None,
                tree,
                &parameters,
                control,
            ));
            times.push(began.elapsed());
            if let Err(error) = called.outcome {
                panic!("a call failed while its plugin was replaced: {error}");
            }
        }
        times
    };
    let times = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(caller)).collect();
        meanwhile();
        over.store(true, Ordering::Relaxed);
        callers.into_iter().flat_map(|caller| caller.join().expect("no call failed")).collect()
    });
    Calls { times, span: began.elapsed() }
}

/// Puts the validator there with other bytes: a section that says which one it is.
fn put(folder: &Path, number: usize) {
    let name = b"bench";
    let told = (number as u64).to_le_bytes();
    let mut bytes = component().to_vec();
    // A custom section: its number, its size, its name with its size, its content.
    bytes.extend([0, (1 + name.len() + told.len()) as u8, name.len() as u8]);
    bytes.extend(name);
    bytes.extend(told);
    let beside = folder.join(".new");
    fs::write(&beside, bytes).expect("writes");
    fs::rename(beside, folder.join("validator.wasm")).expect("renames");
}

fn served(plugins: &Plugins) -> Digest {
    let plugin = plugins.find(PluginKind::Validator, VALIDATOR).expect("one serves");
    plugin.digest().clone()
}

async fn replaced(plugins: &Plugins, before: &Digest) {
    let mut changes = plugins.changes();
    let waited = async {
        while served(plugins) == *before {
            changes.changed().await.expect("the host lives");
        }
    };
    let seen = tokio::time::timeout(SEEN_WITHIN, waited).await;
    seen.unwrap_or_else(|_| panic!("a replacement was not seen within {SEEN_WITHIN:?}"));
}
