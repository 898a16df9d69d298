//! One gate check through the host, with every limit on, beside the bare engine that instantiates the same guest and
//! calls it: the price of the sandbox. Both in one run, so that the ratio means something on any machine.

use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::clock::Timestamp;
use caelum_core::evidence::{Evidence, VerdictKind};
use caelum_core::id::{Digest, MachineId};
use caelum_core::plugin::PluginKind;
use caelum_core::task::{OutcomeStatus, Output, TaskOutcome};
use caelum_core::tree::MapTree;
use caelum_plugin_host::{BundledPlugin, CallControl, Options, Plugin, Plugins};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Map, json};
use tokio::runtime::Runtime;

/// The bindings of the bare engine: nothing checked, nothing limited, nothing asynchronous.
mod bare {
    wasmtime::component::bindgen!({ path: "../../wit", world: "step-validator" });
}

/// The validator that is asked: a first-party one, written with the sdk like anybody's.
const VALIDATOR: &str = "command-succeeded";

/// How many times the two take turns.
const ROUNDS: usize = 100;

/// How many calls make a turn. Many, because the first ones find what the other has left in the processor's caches, and
/// a gate is seldom alone.
const CALLS: usize = 100;

/// How many calls of each turn are left out.
const WARM_UP: usize = 20;

/// What the design allows at the median.
const RATIO_MAX: f64 = 1.5;

fn evidence() -> Evidence {
    let outcome = TaskOutcome {
        status: OutcomeStatus::Succeeded,
        exit_code: Some(0),
        signal: None,
        started_at: Timestamp::EPOCH,
        ended_at: Timestamp::from_micros(1_000_000),
        stdout: Output { text: "done\n".to_owned(), total_bytes: 5, truncated: false },
        stderr: Output::default(),
        outputs: Map::new(),
        collected: vec![],
        failure: None,
    };
    Evidence {
        execution_id: "e1".parse().expect("an id"),
        step_id: "test".parse().expect("an id"),
        attempt: 1,
        started_at: Timestamp::EPOCH,
        performer: None,
        outcomes: vec![(MachineId::local(), outcome)],
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
    fn new(component: &'static [u8]) -> Self {
        let runtime = Runtime::new().expect("threads");
        let guest = BundledPlugin { name: VALIDATOR.to_owned(), bytes: Cow::Borrowed(component) };
        let plugins = runtime
            .block_on(Plugins::open(Options::default(), vec![guest]))
            .expect("the options are legal");
        let plugin = plugins.find(PluginKind::Validator, VALIDATOR).expect("it is served");
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
        let verdict = black_box(called.outcome.expect("a verdict"));
        assert_eq!(verdict.kind, VerdictKind::Pass);
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
        let mut linker = wasmtime::component::Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component).expect("this guest calls none of them");
        let instance = linker.instantiate_pre(&component).expect("everything is there");
        let exports = bare::StepValidatorPre::new(instance).expect("is a validator");
        let given = evidence();
        let (machine, outcome) = &given.outcomes[0];
        let output = |output: &Output| bare::exports::caelum::plugin::validator::Output {
            text: output.text.clone(),
            total_bytes: output.total_bytes,
            truncated: output.truncated,
        };
        let evidence = bare::exports::caelum::plugin::validator::Evidence {
            execution_id: given.execution_id.to_string(),
            step_id: given.step_id.to_string(),
            attempt: given.attempt,
            started_at: given.started_at.to_string(),
            performer: None,
            outcomes: vec![bare::exports::caelum::plugin::validator::Outcome {
                machine: machine.to_string(),
                exit_code: outcome.exit_code,
                signal: None,
                timed_out: false,
                duration_ms: 1_000,
                stdout: output(&outcome.stdout),
                stderr: output(&outcome.stderr),
                outputs: "{}".to_owned(),
            }],
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
    let component = caelum_plugin_bundle::bundled()
        .iter()
        .find(|plugin| plugin.id == VALIDATOR)
        .expect("it is bundled")
        .bytes;
    let (hosted, bare) = (Hosted::new(component), Bare::new(component));
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
    for _ in 0..ROUNDS {
        for call in 0..CALLS {
            let time = timed(&|| hosted.check());
            host_times.extend((call >= WARM_UP).then_some(time));
        }
        for call in 0..CALLS {
            let time = timed(&|| bare.check());
            bare_times.extend((call >= WARM_UP).then_some(time));
        }
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
