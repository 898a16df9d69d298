//! `plugin check`: whether the host takes a file.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::{ATTENTION, BAD, FAINT, GOOD, Output, paint};
use crate::config::Config;
use crate::server::{Core, make_private};

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The plugin file.
    file: PathBuf,
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
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
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
