//! `create_backup`: a copy of everything that is kept, while it is in use.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::error::ToolError;
use super::super::tool::{Annotations, Answer, Tool, tool};
use super::Tools;
use super::failure::refuse;
use crate::trust::Scope;

pub(super) fn tools(tools: &Tools) -> Vec<Tool> {
    let backing = tools.clone();
    let made =
        tool("create_backup", "Back everything up", Annotations::ADDS, move |_, arguments| {
            back_up(backing.clone(), arguments)
        });
    vec![made.requires(Scope::Admin)]
}

/// Copies everything that this server keeps to a place on its own machine, as it stands at one moment, while everything
/// goes on. The copy is checked and on disk when this answers; nothing is ever overwritten. To restore it, a server is
/// started on a copy of that directory. Only for whoever administers the server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateBackup {
    /// Where, as an absolute path: a name that ends with `.db` becomes a copy of the database alone, any other one a
    /// whole data directory; a directory that exists gets a new one in it, named by the time.
    #[schemars(example = &"/var/backups/caelum", example = &"/var/backups/caelum.db")]
    path: String,
}

/// The backup that was made.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct BackupView {
    /// Where it is.
    pub path: String,
    /// Whether it is a data directory that a server can be started on; otherwise it is the database alone.
    pub whole: bool,
    /// How large it is, in bytes.
    pub bytes: u64,
}

impl Answer for BackupView {
    fn text(&self) -> String {
        let what = if self.whole { "data directory" } else { "database" };
        format!("backed up: {} ({what}, {} bytes, checked)", self.path, self.bytes)
    }
}

async fn back_up(tools: Tools, arguments: CreateBackup) -> Result<BackupView, ToolError> {
    let made = tools.engine.back_up(Path::new(&arguments.path)).await.map_err(refuse)?;
    Ok(BackupView { path: made.path.display().to_string(), whole: made.whole, bytes: made.bytes })
}
