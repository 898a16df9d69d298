//! `plugin`: commands for authors and for operators of plugins. One file a command.

mod build;
mod check;

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
    /// Build plugin crates into components (.wasm files).
    Build(build::Build),
    /// Load a plugin file as the server would, and say what it is or why it is refused.
    Check(check::Check),
}

impl Plugin {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        match self.command {
            PluginCommand::Build(build) => build.run(config, output).await,
            PluginCommand::Check(check) => check.run(config, output).await,
        }
    }
}
