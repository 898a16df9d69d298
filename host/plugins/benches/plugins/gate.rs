//! One gate check through the host, with every limit on, beside the bare engine that instantiates the same guest and calls
//! it. The two take turns in one process, so that the ratio means something on any machine.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use caelum_plugin_host::{Allocator, Limits, Options};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use wasmtime::component::Component;

use crate::bare::{self, Bare};
use crate::hosted::{Hosted, component, evidence, options};
use crate::{Figures, Row, percentile, us};

/// How many times the two take turns.
const ROUNDS: usize = 200;

/// How many calls make a turn. Many, because the first ones find what the other has left in the processor's caches, and
/// a gate is seldom alone.
const CALLS: usize = 100;

/// How many calls of each turn are left out.
const WARM_UP: usize = 20;

/// How many callers ask at once where calls per second are counted: as many as one plugin may have by default.
const CALLERS: usize = 2;

/// How often each side is asked for [`SPAN`] where calls per second are counted; the middle one counts.
const SPANS: usize = 5;

/// How long calls are counted.
const SPAN: Duration = Duration::from_millis(500);

/// What the design allows at the median.
const RATIO_MAX: f64 = 1.5;

pub(crate) fn measure(figures: &mut Figures) {
    // A guest has at least a page.
    let never = Limits { inline_memory_bytes_max: 1, ..Limits::default() };
    for (key, title, limits, allocator) in [
        ("gate", "A gate check", Limits::default(), Allocator::Pooling),
        ("gate_thread", "A gate check on a thread of its own", never, Allocator::Pooling),
        (
            "gate_on_demand",
            "A gate check, memory from the system for each",
            Limits::default(),
            Allocator::OnDemand,
        ),
    ] {
        if !figures.wanted(key) {
            continue;
        }
        let engine = bare::engine(allocator);
        let code = Component::from_binary(&engine, component()).expect("compiles");
        let bare = Arc::new(Bare::new(&code, &evidence()));
        let hosted = Hosted::bundled(component(), Options { limits, allocator, ..options() });
        let ours = || {
            black_box(hosted.check());
        };
        if limits == never {
            // The way that tokio offers to programs that must not compute where they serve.
            let runtime = Runtime::new().expect("threads");
            let bare = || {
                let bare = Arc::clone(&bare);
                let call = runtime.spawn_blocking(move || bare.check());
                runtime.block_on(call).expect("no panic");
            };
            one(figures, key, title, &ours, &bare);
        } else {
            one(figures, key, title, &ours, &|| bare.check());
        }
    }
}

/// Lets both take turns, and writes down what each took.
fn one(
    figures: &mut Figures,
    key: &str,
    title: &str,
    ours: &(dyn Fn() + Sync),
    bare: &(dyn Fn() + Sync),
) {
    let (mut ours_times, mut bare_times) = (Vec::new(), Vec::new());
    let (mut ours_spent, mut bare_spent) = (0, 0);
    for _ in 0..ROUNDS {
        ours_spent += turn(&mut ours_times, ours);
        bare_spent += turn(&mut bare_times, bare);
    }
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let (ours, bare) =
            (us(percentile(&mut ours_times, share)), us(percentile(&mut bare_times, share)));
        let note = if name == "p50" && ours / bare > RATIO_MAX {
            format!("above the {RATIO_MAX} that the design allows")
        } else {
            String::new()
        };
        let row = Row::time(&format!("{key}_{name}_us"), &format!("{title}, {name}"), "µs", ours);
        figures.add(row.beside(bare).noted(note));
    }
    let spent = |nanoseconds: u64| nanoseconds as f64 / 1e3 / (ROUNDS * CALLS) as f64;
    let processor = format!("{title}, processor time of all threads together, mean");
    let row = Row::time(&format!("{key}_cpu_us"), &processor, "µs", spent(ours_spent));
    figures.add(row.beside(spent(bare_spent)));
    let (mut ours_rates, mut bare_rates) = (Vec::new(), Vec::new());
    for _ in 0..SPANS {
        ours_rates.push(per_s(ours));
        bare_rates.push(per_s(bare));
    }
    let middle = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let title = format!("{title}, per second, {CALLERS} callers at once");
    let row = Row::rate(&format!("{key}_per_s"), &title, middle(&mut ours_rates));
    figures.add(row.beside(middle(&mut bare_rates)));
}

/// Makes one turn's calls. Returns the processor time that they took, in nanoseconds.
fn turn(times: &mut Vec<Duration>, check: impl Fn()) -> u64 {
    let before = processor_ns();
    for call in 0..CALLS {
        let began = Instant::now();
        check();
        let took = began.elapsed();
        times.extend((call >= WARM_UP).then_some(took));
    }
    processor_ns().saturating_sub(before)
}

/// Returns how much processor time all threads of this process have had, in nanoseconds. Other work on the machine does
/// not change it.
fn processor_ns() -> u64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as u64 * 1_000_000_000 + spent.tv_nsec as u64
}

/// Returns how many calls per second some callers get together.
fn per_s(check: &(dyn Fn() + Sync)) -> f64 {
    let (over, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    check();
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(SPAN);
        over.store(true, Ordering::Relaxed);
    });
    calls.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}
