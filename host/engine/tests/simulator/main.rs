//! The engine against machines that misbehave and a server that dies at any moment, driven by seeds.
//!
//! What a seed decides: workflows, how machines behave, what callers ask, when and how the engine dies. What it does
//! not decide is the order in which threads run, so a seed that fails may have to run a few times to fail again.
//!
//! `CAELUM_SIM_SEEDS` says how many seeds run, `CAELUM_SIM_SEED` runs one of them.

mod audit;
mod boundaries;
mod broken_disk;
mod by_hand;
mod callers;
mod disk;
mod history;
mod idle;
mod janitor;
mod ledger;
mod life;
mod machines;
mod owners;
mod plan;
mod seeds;
