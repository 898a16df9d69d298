//! `plugin build`: from a crate to a component.

use std::path::{Path, PathBuf};

use caelum_plugin_build::{BuildRequest, Messages};
use clap::Args;
use serde::Serialize;

use crate::cli::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::{GOOD, Output, paint};
use crate::config::{Config, chain};

#[derive(Debug, Args)]
pub(super) struct Build {
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

/// A component that was built.
#[derive(Serialize)]
struct BuiltRow {
    plugin: String,
    version: String,
    path: PathBuf,
    sha256: String,
    cached: bool,
}

impl Build {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
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
