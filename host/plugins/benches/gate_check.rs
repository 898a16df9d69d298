//! One gate check through the host, with every limit on, beside the bare engine that instantiates the same guest and
//! calls it: the price of the sandbox. Both in one run, so that the ratio means something on any machine.

#[path = "../tests/host/guests.rs"]
#[expect(dead_code, reason = "the guests of the tests; one is measured")]
mod guests;

use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::clock::Timestamp;
use caelum_core::evidence::Evidence;
use caelum_core::id::Digest;
use caelum_core::plugin::PluginKind;
use caelum_core::tree::MapTree;
use caelum_plugin_host::{BundledPlugin, CallControl, Options, Plugin, Plugins};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use tokio::runtime::Runtime;

use guests::Guest;

/// The bindings of the bare engine: nothing checked, nothing limited, nothing asynchronous.
mod bare {
    wasmtime::component::bindgen!({ path: "../../wit", world: "step-validator" });
}

/// How many pairs of calls the ratio is taken from.
const PAIRS: usize = 5_000;

/// What the design allows at the median.
const RATIO_MAX: f64 = 1.5;

fn evidence() -> Evidence {
    Evidence {
        execution_id: "e1".parse().expect("an id"),
        step_id: "test".parse().expect("an id"),
        attempt: 1,
        started_at: Timestamp::EPOCH,
        performer: None,
        outcomes: vec![],
        probes: vec![],
        reviews: vec![],
        files: vec![],
        subject_digest: Digest::from_bytes(&[7; 32]),
    }
}

struct Hosted {
    runtime: Runtime,
    plugins: Plugins,
    plugin: Arc<Plugin>,
    evidence: Evidence,
}

impl Hosted {
    fn new(component: &[u8]) -> Self {
        let runtime = Runtime::new().expect("threads");
        let guest =
            BundledPlugin { name: "guest".to_owned(), bytes: Cow::Owned(component.to_vec()) };
        let plugins = runtime
            .block_on(Plugins::open(Options::default(), vec![guest]))
            .expect("the options are legal");
        let plugin = plugins.find(PluginKind::Validator, "guest").expect("it is served");
        Hosted { runtime, plugins, plugin, evidence: evidence() }
    }

    fn check(&self) {
        let tree = Arc::new(MapTree::new());
        let called = self.runtime.block_on(self.plugins.judge(
            &self.plugin,
            &self.evidence,
            None,
            tree,
            &json!({}),
            CallControl::default(),
        ));
        black_box(called.outcome.expect("a verdict"));
    }
}

struct Bare {
    engine: wasmtime::Engine,
    exports: bare::StepValidatorPre<()>,
    evidence: bare::exports::caelum::plugin::validator::Evidence,
}

impl Bare {
    fn new(component: &[u8]) -> Self {
        let engine = wasmtime::Engine::default();
        let component =
            wasmtime::component::Component::from_binary(&engine, component).expect("compiles");
        let linker = wasmtime::component::Linker::new(&engine);
        let instance = linker.instantiate_pre(&component).expect("imports nothing");
        let exports = bare::StepValidatorPre::new(instance).expect("is a validator");
        let given = evidence();
        let evidence = bare::exports::caelum::plugin::validator::Evidence {
            execution_id: given.execution_id.to_string(),
            step_id: given.step_id.to_string(),
            attempt: given.attempt,
            started_at: given.started_at.to_string(),
            performer: None,
            outcomes: vec![],
            probes: vec![],
            reviews: vec![],
            files: vec![],
            subject_digest: given.subject_digest.to_string(),
            extensions: vec![],
        };
        Bare { engine, exports, evidence }
    }

    fn check(&self) {
        let mut store = wasmtime::Store::new(&self.engine, ());
        let instance = self.exports.instantiate(&mut store).expect("instantiates");
        let verdict = instance
            .caelum_plugin_validator()
            .call_judge(&mut store, &self.evidence, &"{}".to_owned())
            .expect("returns");
        black_box(verdict.expect("a verdict"));
    }
}

fn gate_check(criterion: &mut Criterion) {
    let component = Guest::default().validator();
    let (hosted, bare) = (Hosted::new(&component), Bare::new(&component));
    let mut group = criterion.benchmark_group("gate check");
    group.bench_function("host", |bencher| bencher.iter(|| hosted.check()));
    group.bench_function("bare wasmtime", |bencher| bencher.iter(|| bare.check()));
    group.finish();
    ratio(&hosted, &bare);
}

/// Takes turns, so that whatever slows the machine down slows both.
#[expect(clippy::print_stdout, reason = "a bench tells its result")]
fn ratio(hosted: &Hosted, bare: &Bare) {
    let timed = |check: &dyn Fn()| {
        let begun = Instant::now();
        check();
        begun.elapsed()
    };
    let (mut host_times, mut bare_times) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        host_times.push(timed(&|| hosted.check()));
        bare_times.push(timed(&|| bare.check()));
    }
    let at = |times: &mut Vec<Duration>, share: f64| {
        times.sort_unstable();
        times[(share * (times.len() - 1) as f64) as usize]
    };
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let (host, bare) = (at(&mut host_times, share), at(&mut bare_times, share));
        let ratio = host.as_secs_f64() / bare.as_secs_f64();
        println!("gate check {name}: host {host:?}, bare wasmtime {bare:?}, ratio {ratio:.2}");
        if name == "p50" && ratio > RATIO_MAX {
            println!("  above the design's {RATIO_MAX}");
        }
    }
}

criterion_group!(benches, gate_check);
criterion_main!(benches);
