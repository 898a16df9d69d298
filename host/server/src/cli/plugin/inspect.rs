//! `plugin inspect`: what a file is, told without running anything of it.

use std::path::PathBuf;

use caelum_plugin_host::inspect;
use clap::Args;
use serde::Serialize;

use crate::config::Config;

use super::super::CommandError;
use super::super::exit::Exit;
use super::super::output::{ATTENTION, BAD, FAINT, GOOD, Output, paint};
use super::which::{lock_path, read_lock};

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The plugin file.
    file: PathBuf,
}

/// What it is.
#[derive(Serialize)]
struct Inspected {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    licence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    homepage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authors: Option<String>,
    digest: String,
    bytes: u64,
    core_module: bool,
    imports: Vec<String>,
    exports: Vec<String>,
    pinned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantined: Option<String>,
}

/// Why it is no plugin.
#[derive(Serialize)]
struct Refusal {
    stage: String,
    reason: String,
    hint: String,
}

impl Inspect {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let limits = config.engine().plugins.limits;
        let file = self.file.clone();
        let looked = tokio::task::spawn_blocking(move || inspect(&file, &limits)).await;
        let looked = looked
            .map_err(|error| CommandError::Failed(format!("the inspection broke off: {error}")))?;
        let inspection = match looked {
            Ok(inspection) => inspection,
            Err(_) if !self.file.exists() => {
                let text = format!("there is no file `{}`", self.file.display());
                return Err(CommandError::NotFound(text));
            }
            Err(error) => {
                let refusal = Refusal {
                    stage: error.stage().to_string(),
                    reason: error.to_string(),
                    hint: error.hint(),
                };
                show_refusal(output, &refusal).map_err(CommandError::Output)?;
                return Ok(Exit::Failed);
            }
        };
        let lock = read_lock(&lock_path(config)?)?;
        let (id, version) = inspection.identity.unzip();
        let note = |wanted: &str| {
            let mut notes = inspection.notes.iter();
            notes.find(|(name, _)| name == wanted).map(|(_, text)| text.clone())
        };
        let row = Inspected {
            licence: note("licenses"),
            homepage: note("homepage"),
            authors: note("authors"),
            kind: inspection.kind.to_string(),
            id,
            version,
            pinned: lock.is_pinned(&inspection.digest),
            quarantined: lock.put_away(&inspection.digest).map(str::to_owned),
            digest: inspection.digest.to_string(),
            bytes: inspection.bytes,
            core_module: inspection.is_core_module,
            imports: inspection.imports,
            exports: inspection.exports,
        };
        show(output, &row).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }
}

fn show_refusal(output: &mut Output, refusal: &Refusal) -> std::io::Result<()> {
    if output.result(refusal)? {
        return Ok(());
    }
    output.line(format!("{} at {}: {}", paint(BAD, "refused"), refusal.stage, refusal.reason))?;
    output.line(format!("{} {}", paint(ATTENTION, "hint:"), refusal.hint))
}

fn show(output: &mut Output, row: &Inspected) -> std::io::Result<()> {
    if output.result(row)? {
        return Ok(());
    }
    let identity = match (&row.id, &row.version) {
        (Some(id), Some(version)) => format!("{id} {version}"),
        _ => "without a name of its own".to_owned(),
    };
    let form = if row.core_module { "core module" } else { "component" };
    output.line(format!("{} {identity}", paint(GOOD, &row.kind)))?;
    output.line(format!("{} {} bytes, {form}", paint(FAINT, &row.digest), row.bytes))?;
    for (name, said) in
        [("licence", &row.licence), ("homepage", &row.homepage), ("authors", &row.authors)]
    {
        if let Some(said) = said {
            output.line(format!("{name} {said}"))?;
        }
    }
    output.line(match (&row.quarantined, row.pinned) {
        (Some(reason), _) if reason.is_empty() => "put away".to_owned(),
        (Some(reason), _) => format!("put away: {reason}"),
        (None, true) => "pinned".to_owned(),
        (None, false) => "not pinned".to_owned(),
    })?;
    for import in &row.imports {
        output.line(format!("imports {import}"))?;
    }
    for export in &row.exports {
        output.line(format!("exports {export}"))?;
    }
    Ok(())
}
