//! `plugin pack`: writes into a component what it answers when it is asked who it is. For components of any toolchain.

use std::path::{Path, PathBuf};

use caelum_core::causes::chain;
use caelum_core::plugin::PluginKind;
use caelum_plugin_build::{Described, Unpacked, sha256};
use caelum_plugin_host::Plugin;
use clap::Args;
use serde::Serialize;

use super::subject::{Code, load, read, refusal};
use crate::cli::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::{GOOD, Output, paint};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Pack {
    /// The component, or a core module that carries its component type.
    file: PathBuf,
    /// Where the packed component goes; by default it takes the place of the file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A component that says what it is.
pub(super) struct Packed {
    /// The plugin's id.
    pub(super) plugin: String,
    /// The plugin's version.
    pub(super) version: String,
    /// The component.
    pub(super) bytes: Vec<u8>,
    /// SHA-256 of the component, in hexadecimal.
    pub(super) sha256: String,
}

#[derive(Serialize)]
struct PackedRow {
    plugin: String,
    version: String,
    path: PathBuf,
    sha256: String,
    bytes: usize,
}

impl Pack {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let packed = pack(&self.file, read(&self.file)?, config).await?;
        let path = self.output.unwrap_or(self.file);
        replace(&path, &packed.bytes)?;
        let row = PackedRow {
            plugin: packed.plugin,
            version: packed.version,
            path,
            bytes: packed.bytes.len(),
            sha256: packed.sha256,
        };
        let show = |output: &mut Output| -> std::io::Result<()> {
            if output.result(&row)? {
                return Ok(());
            }
            let (name, path) = (paint(GOOD, &row.plugin), row.path.display());
            output.line(format!("{name} {} {path}", row.version))
        };
        show(output).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }
}

/// Packs what was built, or finds it packed before.
pub(super) async fn packed(built: &Unpacked, config: &Config) -> Result<Packed, CommandError> {
    let kept = built.packed_path();
    if let Ok(bytes) = std::fs::read(&kept)
        && let Ok(identity) = caelum_plugin_build::read_identity(&bytes)
    {
        let sha256 = sha256(&bytes);
        return Ok(Packed { plugin: identity.id, version: identity.version, bytes, sha256 });
    }
    let packed = pack(&built.path, read(&built.path)?, config).await?;
    built.keep_packed(&packed.bytes).map_err(|error| CommandError::Usage(chain(&error)))?;
    Ok(packed)
}

async fn pack(file: &Path, bytes: Vec<u8>, config: &Config) -> Result<Packed, CommandError> {
    // First through the host, whose encoder is a process of its own: there are modules on which it breaks down.
    let (_plugins, loaded) = load(config, file, bytes.clone(), Code::Kept).await?;
    let plugin = loaded.map_err(|refused| refusal(&refused))?;
    let component = caelum_plugin_build::encode(&bytes).map_err(|error| refused(file, &error))?;
    let described = described(&plugin);
    let bytes =
        caelum_plugin_build::pack(&component, &described).map_err(|error| refused(file, &error))?;
    let sha256 = sha256(&bytes);
    Ok(Packed { plugin: described.id, version: described.version, bytes, sha256 })
}

fn refused(file: &Path, error: &caelum_plugin_build::PackError) -> CommandError {
    CommandError::Refused(format!("`{}` cannot be packed: {}", file.display(), chain(error)))
}

fn described(plugin: &Plugin) -> Described {
    let description = plugin.description();
    Described {
        id: description.name.to_string(),
        version: description.version.clone(),
        world: match plugin.kind() {
            PluginKind::Pattern => "improvement-pattern",
            PluginKind::Validator => "step-validator",
        }
        .to_owned(),
        title: description.title.clone(),
        summary: description.summary.clone(),
        parameters_schema: description.parameters_schema.clone(),
        licence: description.licence.clone(),
        homepage: description.homepage.clone(),
        authors: description.authors.clone(),
    }
}

/// Writes a file in one step.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| {
        std::fs::remove_file(&beside).ok();
        CommandError::Usage(format!("`{}` cannot be written: {error}", path.display()))
    })
}
