//! The plugin that a command tries: a `.wasm` file, or a directory that is built first; loaded by the real host.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use caelum_core::causes::chain;
use caelum_plugin_host::{BundledPlugin, Loading, Plugin, Plugins, Refused, Reload, Trust};

use super::build::{Building, Order, build};
use crate::cli::CommandError;
use crate::cli::output::Output;
use crate::config::Config;

/// How often a plugin may fail before it is kept out: as often as can be configured.
const STRIKES_MAX: u64 = 1_000;

/// A plugin that was loaded as the server would load it.
pub(super) struct Subject {
    /// The host, which serves this plugin alone.
    pub(super) plugins: Plugins,
    /// The plugin.
    pub(super) plugin: Arc<Plugin>,
    /// Where the plugin's project is: the directory that was named, or the one that the file lies in.
    pub(super) directory: PathBuf,
}

/// Whether compiled code of earlier runs may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// It may.
    Kept,
    /// It is made anew.
    Fresh,
}

impl Subject {
    /// Builds what has to be built, and loads it.
    ///
    /// # Errors
    ///
    /// Those of building; a file that cannot be read; the stage, the reason and the hint of a plugin that is refused.
    pub(super) async fn open(
        path: &Path,
        building: &Building,
        config: &Config,
        output: &Output,
    ) -> Result<Self, CommandError> {
        let (file, directory) = component(path, building, config, output).await?;
        let bytes = read(&file)?;
        let (plugins, loaded) = load(config, &file, bytes, Code::Kept).await?;
        let plugin = loaded.map_err(|refused| refusal(&refused))?;
        Ok(Subject { plugins, plugin, directory })
    }
}

/// Returns the component that a path means, and the directory of its project.
pub(super) async fn component(
    path: &Path,
    building: &Building,
    config: &Config,
    output: &Output,
) -> Result<(PathBuf, PathBuf), CommandError> {
    if !path.is_dir() {
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        return Ok((path.to_owned(), directory));
    }
    let order = Order { projects: vec![path.to_owned()], to: None, building: building.clone() };
    let mut built = build(order, config, output).await?;
    Ok((built.remove(0).path, path.to_owned()))
}

/// Reads a component's file.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, CommandError> {
    std::fs::read(file).map_err(|error| {
        let text = format!("`{}` cannot be read: {error}", file.display());
        match error.kind() {
            std::io::ErrorKind::NotFound => CommandError::NotFound(text),
            _ => CommandError::Usage(text),
        }
    })
}

/// Takes bytes through all stages of loading, with the limits and the policy of the configuration.
pub(super) async fn load(
    config: &Config,
    file: &Path,
    bytes: Vec<u8>,
    code: Code,
) -> Result<(Plugins, Result<Arc<Plugin>, Box<Refused>>), CommandError> {
    let mut options = config.engine().plugins;
    options.directory = None;
    options.loading = Loading::First;
    options.reload = Reload::Never;
    // Whoever tries a plugin has decided to run it, and wants to see every failure for itself.
    options.trust = Trust::default();
    options.limits.strikes_max = STRIKES_MAX;
    if code == Code::Fresh {
        options.cache_directory = None;
    }
    let name = file.display().to_string();
    let bundled = vec![BundledPlugin { name, bytes: Cow::Owned(bytes) }];
    let plugins = Plugins::open(options, bundled)
        .await
        .map_err(|error| CommandError::Failed(chain(&error)))?;
    let snapshot = plugins.snapshot();
    let loaded = match (snapshot.plugins.values().next(), snapshot.refused.first()) {
        (Some(plugin), _) => Ok(Arc::clone(plugin)),
        (None, Some(refused)) => Err(Box::new(refused.clone())),
        (None, None) => {
            return Err(CommandError::Failed("the host has lost the plugin".to_owned()));
        }
    };
    Ok((plugins, loaded))
}

/// Says why a file was refused, as every command says it.
pub(super) fn refusal(refused: &Refused) -> CommandError {
    CommandError::Refused(format!(
        "refused at {}: {}\nhint: {}",
        refused.stage, refused.reason, refused.hint
    ))
}
