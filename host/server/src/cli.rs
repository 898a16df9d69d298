//! The command line: what may be typed, and how its end is told. Each command lives in a room of its own and works
//! through the same tools that MCP clients call.

mod access;
mod demo;
mod exit;
mod flags;
mod follow;
mod inspect;
mod install;
mod lists;
mod output;
mod parameters;
mod pattern;
mod plugin;
mod run;
mod steer;
mod transfer;
mod tree;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use caelum_core::causes::chain;
use caelum_plugin_host::Compiler;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use self::access::CallError;
use self::flags::{GlobalFlags, ServeFlags};
use self::output::{Output, complain};
use crate::config::{Config, ConfigError, LogFormat, Sources, example};
use crate::document::DocumentError;
use crate::listen::ListenError;
use crate::server::{self, ServeError, Speaks};

pub use self::exit::Exit;

/// Workflows whose quality gates are real: an MCP server, and its command line.
///
/// Without a command it serves, on port 8113 unless told otherwise.
#[derive(Debug, Parser)]
#[command(name = "caelum-workflow", version, about, after_help = exit::TABLE, propagate_version = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalFlags,
    #[command(flatten)]
    serve: ServeFlags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve MCP: on a port (HTTP, WebSocket and TCP), or with --stdio on standard input and output.
    Serve(ServeFlags),
    /// Run a workflow to its end, from a JSON or YAML file or by its id.
    Run(run::Run),
    /// Watch a real workflow with real gates mend a sample service; needs python3 and nothing else.
    Demo(demo::Demo),
    /// List improvement patterns, and validators.
    ListPatterns(pattern::ListPatterns),
    /// Check whether a pattern can be applied to a component; changes nothing.
    ValidatePattern(pattern::ValidatePattern),
    /// Apply a pattern to a component, or show what it would change.
    ApplyPattern(pattern::ApplyPattern),
    /// Take an application of a pattern back, byte for byte.
    RevertPattern(pattern::RevertPattern),
    /// List recorded uses of patterns, and whether their components have drifted.
    Applications(lists::Applications),
    /// Show how an execution stands; without one, the server's health and its last executions.
    Status(inspect::Status),
    /// Report the work of a step that waits for it.
    Complete(steer::Complete),
    /// Approve or reject a step that waits for a review.
    Review(steer::Review),
    /// Pause, resume, cancel or retry an execution.
    Control(steer::Control),
    /// List the machines that work can go to.
    Machines(lists::Machines),
    /// Put a workflow into the archive, or take it out again.
    Archive(lists::Archive),
    /// Export a workflow with its executions.
    Export(inspect::Export),
    /// Import a workflow with its history, from an export, a document or an archive.
    Import(transfer::Import),
    /// Copy everything that is kept, while a server goes on with it.
    Backup(transfer::Backup),
    /// Make, build, test and check plugins.
    Plugin(plugin::Plugin),
    /// Set MCP clients up to use this server.
    Install(install::Install),
    /// Show the configuration in force, or with --example a commented file with every setting.
    Config(ConfigCommand),
}

#[derive(Debug, clap::Args)]
struct ConfigCommand {
    /// Write a commented TOML file with every setting and its default.
    #[arg(long)]
    example: bool,
}

/// A command that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory or the port cannot be had.
    #[error("{}", chain(.0))]
    Open(ServeError),
    /// A document is wrong.
    #[error("`{}`: {error}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: DocumentError,
    },
    /// A tool refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What was typed does not fit.
    #[error("{0}")]
    Usage(String),
    /// There is nothing of that name.
    #[error("{0}")]
    NotFound(String),
    /// What was named is there and does not do.
    #[error("{0}")]
    Refused(String),
    /// Something of ours failed.
    #[error("{0}")]
    Failed(String),
    /// Interrupted before there was anything to show.
    #[error("interrupted")]
    Interrupted,
    /// Standard output cannot be written.
    #[error("standard output cannot be written")]
    Output(#[source] io::Error),
}

impl From<ServeError> for CommandError {
    fn from(error: ServeError) -> Self {
        Self::Open(error)
    }
}

impl CommandError {
    fn exit(&self) -> Exit {
        match self {
            // Whoever read us has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Config(_) | Self::Document { .. } | Self::Usage(_) => Exit::Usage,
            // What was asked for is what is wrong, not the machine.
            Self::Open(ServeError::Listen(
                ListenError::Unprotected { .. } | ListenError::Allowed(_),
            )) => Exit::Usage,
            Self::Call(error) => error.exit,
            Self::NotFound(_) => Exit::NotFound,
            Self::Interrupted | Self::Refused(_) => Exit::Failed,
            Self::Open(_) | Self::Failed(_) | Self::Output(_) => Exit::Internal,
        }
    }
}

/// What this program is started with to compile a plugin. No command: nobody types it.
const COMPILE: &str = "plugin-compile";

/// Returns how this very program is started to compile a plugin, even when its file has been replaced since.
fn own_compiler() -> Compiler {
    let own = PathBuf::from("/proc/self/exe");
    let program = if own.exists() { own } else { std::env::current_exe().unwrap_or(own) };
    Compiler::Child { program, arguments: vec![COMPILE.into()] }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == COMPILE) {
        return caelum_plugin_host::compile_plugin();
    }
    run(std::env::args_os()).into()
}

fn run(arguments: impl Iterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results, everything else is a mistake.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            error.print().ok();
            return exit;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the runtime cannot be started: {error}"));
            return Exit::Internal;
        }
    };
    let outcome = runtime.block_on(Box::pin(dispatch(cli)));
    // A thread that still reads standard input would keep the process from ending.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit,
        Err(error) => {
            let exit = error.exit();
            if exit != Exit::Ok {
                complain(&error.to_string());
            }
            exit
        }
    }
}

async fn dispatch(cli: Cli) -> Result<Exit, CommandError> {
    let Cli { global, serve, command } = cli;
    let json = global.json;
    let command = command.unwrap_or(Command::Serve(ServeFlags::default()));
    if let Command::Config(ConfigCommand { example: true }) = command {
        Output::new(false).raw(&example()).map_err(CommandError::Output)?;
        return Ok(Exit::Ok);
    }
    let serving = match &command {
        Command::Serve(flags) => Some(flags.clone().or(serve.clone())),
        _ => None,
    };
    let flags = global.sources(serving.as_ref().unwrap_or(&serve));
    let mut config = Config::load(&Sources::of_process(flags))?;
    config.compiler = own_compiler();
    start_logging(&config, serving.is_some(), global.verbose);
    let mut output = Output::new(json);
    match command {
        Command::Serve(_) => {
            let stdio = serving.is_some_and(|flags| flags.stdio);
            let speaks = if stdio { Speaks::Stdio } else { Speaks::Port };
            server::serve(config, speaks).await?;
            Ok(Exit::Ok)
        }
        Command::Run(run) => run.run(&config, &mut output).await,
        Command::Demo(demo) => demo.run(config, &mut output).await,
        Command::ListPatterns(list) => list.run(&config, &mut output).await,
        Command::ValidatePattern(validate) => validate.run(&config, &mut output).await,
        Command::ApplyPattern(apply) => apply.run(&config, &mut output).await,
        Command::RevertPattern(revert) => revert.run(&config, &mut output).await,
        Command::Status(status) => status.run(&config, &mut output).await,
        Command::Complete(complete) => complete.run(&config, &mut output).await,
        Command::Review(review) => review.run(&config, &mut output).await,
        Command::Control(control) => control.run(&config, &mut output).await,
        Command::Applications(applications) => applications.run(&config, &mut output).await,
        Command::Machines(machines) => machines.run(&config, &mut output).await,
        Command::Archive(archive) => archive.run(&config, &mut output).await,
        Command::Export(export) => export.run(&config, &mut output).await,
        Command::Import(import) => import.run(&config, &mut output).await,
        Command::Backup(backup) => backup.run(&config, &mut output).await,
        Command::Plugin(plugin) => plugin.run(&config, &mut output).await,
        Command::Install(install) => install.run(&config, &mut output),
        Command::Config(_) => inspect::config(&config, &mut output),
    }
}

/// Starts logging to standard error. Commands are quiet unless asked: what they do is told by their output.
fn start_logging(config: &Config, serving: bool, verbose: bool) {
    let words = if serving || verbose { config.log.as_str() } else { "error" };
    let filter = EnvFilter::try_new(words).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(true);
    // A second logger in one process, as tests start it, is no reason to fail.
    match config.log_format {
        LogFormat::Text => {
            use std::io::IsTerminal;
            builder.with_ansi(io::stderr().is_terminal()).try_init().ok();
        }
        LogFormat::Json => {
            builder.json().try_init().ok();
        }
    }
}
