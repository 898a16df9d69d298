//! Tortures the real server: callers start and steer executions over MCP, steps leave marks with a witness outside of it,
//! and meanwhile it is killed and frozen at random moments again and again. At the end, what the store holds is held
//! against what callers were told and what the witness saw.

mod audit;
mod callers;
mod chaos;
mod effect;
mod faults;
mod home;
mod processes;
mod report;
mod run;
mod sampler;
mod server;
mod settle;
mod tool_server;
mod web;
mod wire;
mod witness;
mod workflows;
mod world;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Kills and freezes the real server at random moments and checks its promises.
#[derive(Debug, Parser)]
#[command(name = "caelum-torture")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the torture.
    Run(run::RunArguments),
    /// The program that steps run: leaves marks with the witness.
    Effect(effect::EffectArguments),
    /// An MCP server with one tool that leaves marks with the witness.
    ToolServer(tool_server::ToolServerArguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Effect(arguments) => effect::run(&arguments),
        Command::ToolServer(arguments) => tool_server::run(&arguments),
    }
}
