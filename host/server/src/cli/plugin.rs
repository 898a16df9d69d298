//! `plugin`: commands for authors and for operators of plugins. One file a command.

mod answer;
mod bench;
mod build;
mod case;
mod check;
mod evidence;
mod exercise;
mod inspect;
mod list;
mod new;
mod pack;
mod pin;
mod quarantine;
mod recording;
mod run;
mod subject;
mod test;
mod which;

use clap::{Args, Subcommand};

use super::CommandError;
use super::exit::Exit;
use super::output::Output;
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Make a project for a new plugin, with tests that pass.
    New(new::New),
    /// Build plugins into components (.wasm files) that say what they are.
    Build(build::Build),
    /// Write into a component of any toolchain what it is.
    Pack(pack::Pack),
    /// Load a plugin file as the server would, and say what it is or why it is refused.
    Check(check::Check),
    /// Call a plugin once, by hand, and show its answer and what it took.
    Run(run::Run),
    /// Give a plugin its cases, and compare its answers with the golden ones.
    Test(test::Test),
    /// Measure a plugin: loading, calls per second, percentiles, memory.
    Bench(bench::Bench),
    /// Show what a plugin file is, without running anything of it.
    Inspect(inspect::Inspect),
    /// List what serves here, what is kept out and why, and what is pinned.
    List(list::List),
    /// Allow plugins where only pinned ones may serve (plugin_trust = "pinned").
    Pin(pin::Pin),
    /// Take pins back.
    Unpin(pin::Unpin),
    /// Keep a plugin from serving, or let it go.
    Quarantine(quarantine::Quarantine),
}

impl Plugin {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        match self.command {
            PluginCommand::New(new) => new.run(config, output).await,
            PluginCommand::Build(build) => build.run(config, output).await,
            PluginCommand::Pack(pack) => pack.run(config, output).await,
            PluginCommand::Check(check) => check.run(config, output).await,
            PluginCommand::Run(run) => Box::pin(run.run(config, output)).await,
            PluginCommand::Test(test) => Box::pin(test.run(config, output)).await,
            PluginCommand::Bench(bench) => Box::pin(bench.run(config, output)).await,
            PluginCommand::Inspect(inspect) => inspect.run(config, output).await,
            PluginCommand::List(list) => Box::pin(list.run(config, output)).await,
            PluginCommand::Pin(pin) => Box::pin(pin.run(config, output)).await,
            PluginCommand::Unpin(unpin) => Box::pin(unpin.run(config, output)).await,
            PluginCommand::Quarantine(put_away) => Box::pin(put_away.run(config, output)).await,
        }
    }
}
