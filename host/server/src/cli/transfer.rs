//! `import` and `backup`: what comes in from elsewhere, and what is put aside.

use std::io::Read;
use std::path::{Path, PathBuf};

use caelum_core::causes::chain;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::CommandError;
use super::access::{Access, Reach, user};
use super::exit::Exit;
use super::output::{ATTENTION, FAINT, Output, STRONG, paint};
use crate::config::Config;
use crate::document::{self, DocumentError, WorkflowDocument, history};
use crate::mcp::tools::backup::BackupView;
use crate::mcp::tools::import::{IMPORT_BYTES_MAX, SkippedRow, WorkflowImported};

/// The largest file that is read, in bytes, once it is unpacked: 1 GiB, because all of it is held in memory.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// From how many bytes on a file is divided, and how large its parts are: as a message they are larger, and one message to a
/// server has 4 MiB at most.
const PART_BYTES: usize = 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// An export (json, yaml, ndjson), a document, or an archive of retention (.jsonl.zst); `-` reads standard input.
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// Make the next revision when a workflow of that id exists.
    #[arg(long)]
    new_revision: bool,
    /// Leave executions out.
    #[arg(long)]
    without_executions: bool,
}

/// What all parts together came to.
#[derive(Debug, Default, Serialize)]
struct Total {
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u32>,
    unchanged: bool,
    executions: usize,
    skipped: Vec<SkippedRow>,
    skipped_omitted: usize,
    warnings: Vec<String>,
}

impl Import {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let (text, cut) = read(&self.file)?;
        let parts = self.parts(text)?;
        let handed_in =
            Access::within(config, Reach::Store, async |access| self.hand_in(access, parts).await);
        let mut total = handed_in.await?;
        if cut {
            total.warnings.push("the archive is cut short; its whole part was imported".to_owned());
        }
        let show = |output: &mut Output| -> std::io::Result<()> {
            if output.result(&total)? {
                return Ok(());
            }
            if let (Some(id), Some(revision)) = (&total.workflow_id, total.revision) {
                let here = if total.unchanged { " is here already as" } else { " has" };
                output.line(format!("workflow {}{here} revision {revision}", paint(STRONG, id)))?;
            }
            output.line(format!("{} executions imported", total.executions))?;
            for row in &total.skipped {
                let told = format!("skipped {}: {}", row.execution_id, row.reason);
                output.line(paint(FAINT, told))?;
            }
            if total.skipped_omitted > 0 {
                let told = format!("and {} more skipped", total.skipped_omitted);
                output.line(paint(FAINT, told))?;
            }
            for warning in &total.warnings {
                output.line(format!("{} {warning}", paint(ATTENTION, "warning:")))?;
            }
            Ok(())
        };
        show(output).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }

    /// Divides what is too large for one call: the definition first, then executions in parts.
    fn parts(&self, text: String) -> Result<Vec<String>, CommandError> {
        if text.len() <= PART_BYTES {
            return Ok(vec![text]);
        }
        let wrong = |error| CommandError::Document { path: self.file.clone(), error };
        let bytes_max = usize::try_from(FILE_BYTES_MAX).unwrap_or(usize::MAX);
        let now = caelum_core::clock::Timestamp::EPOCH;
        let parcel = history::read(&text, bytes_max, now, &user()).map_err(wrong)?;
        let mut parts = Vec::new();
        if parcel.definition.is_some() {
            // As it was written, so that what it leaves out is filled in by whoever takes it in.
            let whole = document::read_large(&text, bytes_max).map_err(wrong)?;
            let alone = WorkflowDocument { revisions: vec![], executions: vec![], ..whole };
            parts.push(alone.to_json());
        }
        if !self.without_executions {
            parts.extend(history::parts(&parcel.histories, PART_BYTES));
        }
        if let Some(large) = parts.iter().map(String::len).find(|bytes| *bytes > IMPORT_BYTES_MAX) {
            return Err(wrong(DocumentError::TooLarge { bytes: large }));
        }
        Ok(parts)
    }

    async fn hand_in(&self, access: &Access, parts: Vec<String>) -> Result<Total, CommandError> {
        let mut total = Total::default();
        for part in parts {
            let mut arguments =
                json!({"data": part, "include_executions": !self.without_executions});
            if let (true, Value::Object(arguments)) = (self.new_revision, &mut arguments) {
                arguments.insert("if_exists".to_owned(), json!("new_revision"));
            }
            let one: WorkflowImported = access.call("import_workflow", arguments).await?;
            if one.workflow_id.is_some() {
                (total.workflow_id, total.revision) = (one.workflow_id, one.revision);
                total.unchanged = one.unchanged;
            }
            total.executions += one.executions;
            total.skipped.extend(one.skipped);
            total.skipped_omitted += one.skipped_omitted;
            total.warnings.extend(one.warnings);
        }
        Ok(total)
    }
}

/// Reads a file, or standard input, and unpacks it when it is an archive; says whether the archive was cut short.
fn read(path: &Path) -> Result<(String, bool), CommandError> {
    let stdin = path == Path::new("-");
    let unreadable = |error: std::io::Error| {
        let text = format!("`{}` cannot be read: {error}", path.display());
        match error.kind() {
            std::io::ErrorKind::NotFound => CommandError::NotFound(text),
            _ => CommandError::Usage(text),
        }
    };
    let mut bytes = Vec::new();
    let read = if stdin {
        std::io::stdin().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.map_err(unreadable)?;
    let mut cut = false;
    if caelum_store::is_archive(&bytes) {
        (bytes, cut) = caelum_store::unpack(&bytes, FILE_BYTES_MAX).map_err(|error| {
            CommandError::Usage(format!("`{}`: {}", path.display(), chain(&error)))
        })?;
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let told = format!("`{}` has more than {FILE_BYTES_MAX} bytes", path.display());
        return Err(CommandError::Usage(told));
    }
    String::from_utf8(bytes).map(|text| (text, cut)).map_err(|_| {
        CommandError::Usage(format!("`{}` is no text: it is not UTF-8", path.display()))
    })
}

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// A directory that exists (the backup is a new one in it), a new one, or a name that ends with .db (the database alone).
    #[arg(value_name = "DIRECTORY|FILE")]
    path: PathBuf,
}

impl Backup {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        // The server's own directory may be another one.
        let path = std::path::absolute(&self.path).map_err(|error| {
            CommandError::Usage(format!("`{}` is no path: {error}", self.path.display()))
        })?;
        let made: BackupView =
            Access::call_once(config, "create_backup", json!({"path": path})).await?;
        let show = |output: &mut Output| -> std::io::Result<()> {
            if output.result(&made)? {
                return Ok(());
            }
            let what = if made.whole { "data directory" } else { "database" };
            output.line(format!(
                "{} {}",
                paint(STRONG, &made.path),
                paint(FAINT, format!("{what}, {} bytes, checked", made.bytes))
            ))
        };
        show(output).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }
}
