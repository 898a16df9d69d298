//! Seeds: whatever happens, the promises hold.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::life::Sim;

/// Seeds that run when nobody says how many: about 40 seconds on two processors. CI runs 1,000.
const SEEDS: u64 = 300;

/// Of so many seeds one runs with gates, whose validators cost more than everything else.
const GATES_EVERY: u64 = 20;

/// Seeds that run beside each other: as many as the smallest machine has processors.
const AT_ONCE: usize = 2;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`, which is not a number")))
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

/// Runs seeds beside each other and names the first one that breaks a promise.
fn run(test: &str, gates: bool, every: u64) {
    let seeds = match number("CAELUM_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CAELUM_SIM_SEEDS").unwrap_or(SEEDS).div_ceil(every),
    };
    let next = AtomicU64::new(seeds.start);
    let broken: Mutex<Option<(u64, String)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| take_turns(gates, &seeds, &next, &broken));
        }
    });
    if let Some((seed, said)) = broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
        panic!(
            "seed {seed} breaks a promise: {said}\nhint: CAELUM_SIM_SEED={seed} cargo test -p caelum-engine \
             --test simulator {test} -- --nocapture"
        );
    }
}

/// Runs one seed after the other until there is none left, or one has broken a promise.
fn take_turns(
    gates: bool,
    seeds: &Range<u64>,
    next: &AtomicU64,
    broken: &Mutex<Option<(u64, String)>>,
) {
    let broken = || broken.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if !seeds.contains(&seed) || broken().is_some() {
            return;
        }
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let mut sim = Sim::new(seed, gates);
            let mut number = 0;
            for life in sim.plan.lives.clone() {
                number += 1;
                sim.live(number, &life);
            }
            sim.end(number + 1);
        }));
        if let Err(panic) = ran {
            broken().get_or_insert_with(|| (seed, said(&*panic).to_owned()));
        }
    }
}

#[test]
fn every_seed_keeps_the_promises() {
    run("every_seed_keeps_the_promises", false, 1);
}

#[test]
fn every_seed_with_gates_keeps_the_promises() {
    run("every_seed_with_gates_keeps_the_promises", true, GATES_EVERY);
}
