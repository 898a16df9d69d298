//! The program that steps run: says to the witness that it began, works for a while, and says that it ended.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::witness::{Door, Mark, Witness, Work};

/// How long work hangs that is told to: longer than anybody waits.
const HANG: Duration = Duration::from_secs(600);

/// What an effect is told.
#[derive(Debug, Args)]
pub(crate) struct EffectArguments {
    /// The witness.
    #[arg(long)]
    witness: PathBuf,
    /// How long it works, in milliseconds.
    #[arg(long, default_value_t = 0)]
    ms: u64,
    /// Attempts that fail, from the first on.
    #[arg(long, default_value_t = 0)]
    fails: u32,
    /// Attempts that hang, from the first on.
    #[arg(long, default_value_t = 0)]
    hangs: u32,
}

pub(crate) fn run(arguments: &EffectArguments) -> ExitCode {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let number = |name: &str| variable(name).parse().unwrap_or_default();
    let work = Work {
        door: Door::Command,
        execution: variable("CAELUM_EXECUTION_ID"),
        step: variable("CAELUM_STEP_ID"),
        item: variable("CAELUM_IDEMPOTENCY_KEY")
            .split('/')
            .nth(3)
            .and_then(|item| item.parse().ok()),
        attempt: number("CAELUM_ATTEMPT"),
        epoch: number("CAELUM_EPOCH"),
    };
    let attempt = work.attempt;
    let witness = Witness::open(&arguments.witness).expect("the witness can be opened");
    witness.mark(&Mark::Begin(work.clone())).expect("the witness can be written");
    if attempt <= arguments.hangs {
        std::thread::sleep(HANG);
    }
    std::thread::sleep(Duration::from_millis(arguments.ms));
    witness.mark(&Mark::End(work)).expect("the witness can be written");
    if attempt <= arguments.fails { ExitCode::from(3) } else { ExitCode::SUCCESS }
}
