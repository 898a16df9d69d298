//! `plugin build` and `plugin check`: from a crate to a component, and whether the host takes it.

use std::path::{Path, PathBuf};

use caelum_plugin_build::{BuildRequest, Messages};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::CommandError;
use super::exit::Exit;
use super::output::{ATTENTION, BAD, FAINT, GOOD, Output, paint};
use crate::config::{Config, chain};
use crate::server::{Core, make_private};

#[derive(Debug, Args)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Build plugin crates into components (.wasm files).
    Build(Build),
    /// Load a plugin file as the server would, and say what it is or why it is refused.
    Check(Check),
}

#[derive(Debug, Args)]
struct Build {
    /// Directories of the plugin crates.
    #[arg(default_value = ".")]
    packages: Vec<PathBuf>,
    /// Put the components into this directory.
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Put them into the plugins directory, where the server finds them.
    #[arg(long, conflicts_with = "output")]
    install: bool,
    /// Keep cargo from using the network.
    #[arg(long)]
    offline: bool,
}

#[derive(Debug, Args)]
struct Check {
    /// The plugin file.
    file: PathBuf,
}

/// A component that was built.
#[derive(Serialize)]
struct BuiltRow {
    plugin: String,
    version: String,
    path: PathBuf,
    sha256: String,
    cached: bool,
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

impl Build {
    async fn run(self, config: &Config, output: &mut Output) -> Result<Exit, CommandError> {
        let mut request = BuildRequest::new(self.packages);
        request.offline = self.offline;
        request.messages = if output.is_json() { Messages::Kept } else { Messages::Shown };
        let built = tokio::task::spawn_blocking(move || caelum_plugin_build::build(&request))
            .await
            .map_err(|error| CommandError::Failed(format!("the build broke off: {error}")))?
            .map_err(|error| CommandError::Usage(chain(&error)))?;
        let target = match (&self.output, self.install) {
            (Some(directory), _) => Some(directory.clone()),
            (None, true) => Some(config.pattern_dir.clone()),
            (None, false) => None,
        };
        let mut rows = Vec::new();
        for one in built {
            let path = match &target {
                None => one.path,
                Some(directory) => copy(&one.path, directory, &one.identity.id)?,
            };
            rows.push(BuiltRow {
                plugin: one.identity.id,
                version: one.identity.version,
                path,
                sha256: one.sha256,
                cached: one.cached,
            });
        }
        let show = |output: &mut Output| -> std::io::Result<()> {
            if output.result(&rows)? {
                return Ok(());
            }
            for row in &rows {
                let cached = if row.cached { " (unchanged)" } else { "" };
                output.line(format!(
                    "{} {} {}{cached}",
                    paint(GOOD, &row.plugin),
                    row.version,
                    row.path.display()
                ))?;
            }
            Ok(())
        };
        show(output).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }
}

/// Puts a component into a directory under its plugin's name, in one step: nobody ever reads half of it.
fn copy(from: &Path, directory: &Path, id: &str) -> Result<PathBuf, CommandError> {
    let path = directory.join(format!("{id}.wasm"));
    let beside = directory.join(format!(".{id}.wasm.new"));
    let copied = std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::copy(from, &beside))
        .and_then(|_| std::fs::rename(&beside, &path));
    match copied {
        Ok(()) => Ok(path),
        Err(error) => {
            std::fs::remove_file(&beside).ok();
            Err(CommandError::Usage(format!("`{}` cannot be written: {error}", path.display())))
        }
    }
}

/// What the host says about a file.
#[derive(Serialize)]
struct Checked {
    accepted: bool,
    name: Option<String>,
    kind: Option<String>,
    version: Option<String>,
    summary: Option<String>,
    stage: Option<String>,
    reason: Option<String>,
    hint: Option<String>,
}

impl Check {
    async fn run(self, config: &Config, output: &mut Output) -> Result<Exit, CommandError> {
        let directory = tempfile::tempdir().map_err(|error| {
            CommandError::Failed(format!("no directory for the check: {error}"))
        })?;
        let plugins = directory.path().join("plugins");
        make_private(&plugins)?;
        // Only this file is looked at, so it needs no name of its own.
        let copy = plugins.join("checked.wasm");
        std::fs::copy(&self.file, &copy).map_err(|error| {
            let text = format!("`{}` cannot be read: {error}", self.file.display());
            match error.kind() {
                std::io::ErrorKind::NotFound => CommandError::NotFound(text),
                _ => CommandError::Usage(text),
            }
        })?;
        let checked = load(config, directory.path(), &plugins).await?;
        let exit = if checked.accepted { Exit::Ok } else { Exit::Failed };
        let show = |output: &mut Output| -> std::io::Result<()> {
            if output.result(&checked)? {
                return Ok(());
            }
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            if checked.accepted {
                output.line(format!(
                    "{} {} {}: {}",
                    paint(GOOD, text(&checked.name)),
                    text(&checked.version),
                    paint(FAINT, text(&checked.kind)),
                    text(&checked.summary)
                ))
            } else {
                output.line(format!(
                    "{} at {}: {}",
                    paint(BAD, "refused"),
                    text(&checked.stage),
                    text(&checked.reason)
                ))?;
                match &checked.hint {
                    Some(hint) => output.line(format!("{} {hint}", paint(ATTENTION, "hint:"))),
                    None => Ok(()),
                }
            }
        };
        show(output).map_err(CommandError::Output)?;
        Ok(exit)
    }
}

/// Opens an engine that knows this one file, and asks what became of it.
async fn load(config: &Config, data_dir: &Path, plugins: &Path) -> Result<Checked, CommandError> {
    let mut options = config.engine();
    options.data_dir = data_dir.to_owned();
    options.store.directory = data_dir.to_owned();
    options.plugins.directory = Some(plugins.to_owned());
    options.plugins.cache_directory = Some(data_dir.join("cache"));
    let core = Core::with(options, config).await?;
    let list = core.engine.plugins();
    core.close().await;
    let mut checked = Checked {
        accepted: false,
        name: None,
        kind: None,
        version: None,
        summary: None,
        stage: None,
        reason: None,
        hint: None,
    };
    if let Some(refused) = list.refused.into_iter().next() {
        checked.stage = Some(refused.stage);
        checked.reason = Some(refused.reason);
        checked.hint = refused.hint;
    } else if let Some(plugin) = list.plugins.into_iter().next() {
        checked.accepted = true;
        checked.name = Some(plugin.pinned.name.to_string());
        checked.kind = Some(plugin.pinned.kind.to_string());
        checked.version = Some(plugin.pinned.version.clone());
        checked.summary = Some(plugin.description.summary.clone());
    } else {
        checked.stage = Some("search".to_owned());
        checked.reason = Some("it is no plugin file".to_owned());
    }
    Ok(checked)
}
