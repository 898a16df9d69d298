//! Seeds: whatever happens, the promises hold.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::life::Sim;

/// Seeds that run when nobody says how many: a few seconds.
const SEEDS: u64 = 60;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`, which is not a number")))
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

/// Runs seeds and names the one that breaks a promise.
fn run(test: &str, gates: bool, seeds: u64) {
    let seeds = match number("CAELUM_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CAELUM_SIM_SEEDS").map_or(seeds, |all| all * seeds / SEEDS),
    };
    for seed in seeds {
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
            panic!(
                "seed {seed} breaks a promise: {}\nhint: CAELUM_SIM_SEED={seed} cargo test -p caelum-engine \
                 --test simulator {test} -- --nocapture",
                said(&*panic)
            );
        }
    }
}

#[test]
fn every_seed_keeps_the_promises() {
    run("every_seed_keeps_the_promises", false, SEEDS);
}

#[test]
fn every_seed_with_gates_keeps_the_promises() {
    run("every_seed_with_gates_keeps_the_promises", true, SEEDS / 10);
}
