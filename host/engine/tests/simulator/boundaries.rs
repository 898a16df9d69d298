//! The engine dies at every single moment of one execution, once at each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use caelum_core::task::{FailureClass, Strategy};
use caelum_core::workflow::{Action, OnFailure, RetryPolicy, Step};
use caelum_engine::request::NewWorkflow;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;

use crate::callers::Caller;
use crate::life::Sim;
use crate::plan::{Death, LifePlan, Plan, command, workflow};

/// More moments than the execution has: it ends long before.
const MOMENTS_MAX: u64 = 1_000;

/// A bit of everything that a step can be.
fn steps() -> Vec<Step> {
    let retry = Some(RetryPolicy {
        attempts: 2,
        initial_ms: 1,
        on: vec![FailureClass::Transient, FailureClass::Exit, FailureClass::Permanent],
        ..RetryPolicy::default()
    });
    let mut rolling = command("rolling", &[], &["m1", "m2", "m3"]);
    rolling.strategy = Strategy::Sequential { continue_on_failure: true };
    rolling.retry.clone_from(&retry);
    rolling.on_failure = OnFailure::Continue;
    let mut wide = command("wide", &[], &["all"]);
    wide.strategy = Strategy::Parallel { max: Some(2) };
    wide.on_failure = OnFailure::SkipDependents;
    wide.retry.clone_from(&retry);
    let mut hand = command("hand", &["rolling"], &[]);
    hand.action = Action::Manual { instructions: String::new() };
    hand.on_failure = OnFailure::Continue;
    let mut once = command("once", &["hand"], &["m4"]);
    once.idempotent = false;
    once.on_failure = OnFailure::Continue;
    let mut never = command("never", &["once"], &[]);
    never.when = Some("1 > 2".to_owned());
    vec![rolling, wide, hand, once, never, command("last", &["never", "wide"], &[])]
}

/// Runs the execution with a death after `moment` ticks; returns whether it had ended before.
fn dies_at(moment: u64, death: Death) -> bool {
    let life = LifePlan {
        death,
        ticks: moment,
        concurrent_max: 1,
        callers: 0,
        threads: 2,
        cancel_wait_ms: 20,
        flaky: false,
    };
    let plan = Plan {
        workflows: vec![NewWorkflow {
            idempotency_key: Some("w0".to_owned()),
            ..workflow("w0", steps())
        }],
        lives: vec![life.clone()],
        ends_with_crash: true,
        may_panic: false,
    };
    let mut sim = Sim::with_plan(7, plan, false, SmallRng::seed_from_u64(moment));
    // Machines that do what they are told, so that the moments are the same each time.
    sim.world.be_kind();
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    sim.live_with(&life, move |engine, sim| {
        let mut caller = Caller {
            engine: engine.clone(),
            ledger: Arc::clone(&sim.ledger),
            rng: SmallRng::seed_from_u64(moment),
            name: "ann".to_owned(),
            turn: 0,
            workflows: 1,
            flaky: false,
        };
        let mut callers = JoinSet::new();
        callers.spawn(async move {
            let id = caller.start().await;
            while caller.open(&id).await {
                caller.turn += 1;
                caller.tend(&id).await;
            }
            told.store(true, Ordering::SeqCst);
        });
        callers
    });
    sim.end(2);
    ended.load(Ordering::SeqCst)
}

#[test]
fn a_death_at_any_moment_loses_nothing_and_repeats_nothing() {
    let last = (1..MOMENTS_MAX)
        .find(|moment| {
            let death = if moment % 2 == 0 { Death::Dropped } else { Death::Copied };
            dies_at(*moment, death)
        })
        .expect("the execution ends");
    assert!(last > 20, "the execution had {last} moments: too few to say anything");
}
