//! `plugin build`: from a project to a component that says what it is. What was built has passed all stages of loading.

use std::path::{Path, PathBuf};

use caelum_core::causes::chain;
use caelum_plugin_build::{BuildRequest, Language, Messages, Project, Unpacked};
use clap::Args;
use serde::Serialize;

use super::pack::packed;
use crate::cli::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::{GOOD, Output, paint};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Build {
    /// Directories of the plugins: Rust crates, or projects in Python or JavaScript.
    #[arg(default_value = ".")]
    projects: Vec<PathBuf>,
    /// Put the components into this directory.
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Put them into the plugins directory, where the server finds them.
    #[arg(long, conflicts_with = "output")]
    install: bool,
    #[command(flatten)]
    building: Building,
}

/// How projects are built.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Building {
    /// Keep what builds leave in this directory, which several projects may share; by default in each project.
    #[arg(long, value_name = "DIR", env = "CAELUM_PLUGIN_TARGET_DIR")]
    target_dir: Option<PathBuf>,
    /// Keep cargo, pip and npm from using the network.
    #[arg(long)]
    offline: bool,
}

/// What to build, and where it goes.
pub(super) struct Order {
    /// The projects.
    pub(super) projects: Vec<PathBuf>,
    /// The directory for the components; by default where what builds leave is kept.
    pub(super) to: Option<PathBuf>,
    /// How.
    pub(super) building: Building,
}

/// A component that was built.
#[derive(Serialize)]
pub(super) struct BuiltRow {
    pub(super) plugin: String,
    pub(super) version: String,
    pub(super) path: PathBuf,
    pub(super) sha256: String,
    pub(super) cached: bool,
}

impl Build {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let to = match self.install {
            true => Some(config.pattern_dir.clone()),
            false => self.output,
        };
        let order = Order { projects: self.projects, to, building: self.building };
        let rows = build(order, config, output).await?;
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

/// Builds projects and packs what came of them, in their order.
pub(super) async fn build(
    order: Order,
    config: &Config,
    output: &Output,
) -> Result<Vec<BuiltRow>, CommandError> {
    let messages = if output.is_json() { Messages::Kept } else { Messages::Shown };
    let Order { projects, to, building } = order;
    let work = move || unpacked(projects, &building, messages);
    let built = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| CommandError::Failed(format!("the build broke off: {error}")))??;
    let mut rows = Vec::new();
    for one in built {
        let packed = packed(&one, config).await?;
        let directory = to.as_deref().unwrap_or(&one.target_dir);
        let path = put(&packed.bytes, directory, &packed.plugin)?;
        rows.push(BuiltRow {
            plugin: packed.plugin,
            version: packed.version,
            path,
            sha256: packed.sha256,
            cached: one.cached,
        });
    }
    Ok(rows)
}

/// Builds every project in its language: crates together, the others one by one. Blocks.
fn unpacked(
    projects: Vec<PathBuf>,
    building: &Building,
    messages: Messages,
) -> Result<Vec<Unpacked>, CommandError> {
    let usage = |error| CommandError::Usage(chain(&error));
    let projects: Vec<Project> =
        projects.iter().map(|path| Project::find(path)).collect::<Result<_, _>>().map_err(usage)?;
    let crates: Vec<&Path> = projects
        .iter()
        .filter(|project| project.language == Language::Rust)
        .map(|project| project.directory.as_path())
        .collect();
    let mut built_crates = Vec::new();
    if !crates.is_empty() {
        let mut request = BuildRequest::new(crates);
        request.target_dir.clone_from(&building.target_dir);
        request.offline = building.offline;
        request.messages = messages;
        built_crates = caelum_plugin_build::build(&request).map_err(usage)?;
    }
    let mut built_crates = built_crates.into_iter();
    let mut all = Vec::new();
    for project in &projects {
        all.push(match project.language {
            Language::Rust => {
                Unpacked::of(built_crates.next().expect("one is built for each crate"))
            }
            Language::Python | Language::JavaScript => {
                let target_dir = building.target_dir.as_deref();
                project.build(target_dir, building.offline, messages).map_err(usage)?
            }
        });
    }
    Ok(all)
}

/// Puts a component into a directory under its plugin's name, in one step: nobody ever reads half of it.
fn put(bytes: &[u8], directory: &Path, id: &str) -> Result<PathBuf, CommandError> {
    let path = directory.join(format!("{id}.wasm"));
    let beside = directory.join(format!(".{id}.wasm.new"));
    let put = std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&beside, bytes))
        .and_then(|()| std::fs::rename(&beside, &path));
    match put {
        Ok(()) => Ok(path),
        Err(error) => {
            std::fs::remove_file(&beside).ok();
            Err(CommandError::Usage(format!("`{}` cannot be written: {error}", path.display())))
        }
    }
}
