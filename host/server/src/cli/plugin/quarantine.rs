//! `plugin quarantine`: keeping a plugin from serving by the operator's word, and letting it go.

use clap::Args;
use serde::Serialize;

use crate::config::Config;

use super::super::CommandError;
use super::super::exit::Exit;
use super::super::output::{ATTENTION, FAINT, GOOD, Output, paint};
use super::which::{lock_path, read_lock, which, write_lock};

#[derive(Debug, Args)]
pub(super) struct Quarantine {
    /// A plugin: its name, its file, or its digest.
    plugin: String,
    /// Why, for whoever asks later.
    #[arg(long, conflicts_with = "release", default_value = "")]
    reason: String,
    /// Let it go: it serves again, and the server forgets its failures.
    #[arg(long)]
    release: bool,
}

/// What is so now.
#[derive(Serialize)]
struct QuarantineRow {
    digest: String,
    name: String,
    quarantined: bool,
    reason: String,
}

impl Quarantine {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let path = lock_path(config)?;
        let meant = which(config, &self.plugin).await?;
        let mut lock = read_lock(&path)?;
        if self.release {
            lock.release(&meant.digest, &meant.name);
        } else {
            lock.put_it_away(meant.digest.clone(), &meant.name, &self.reason);
        }
        write_lock(&lock, &path)?;
        let row = QuarantineRow {
            digest: meant.digest.to_string(),
            name: meant.name,
            quarantined: !self.release,
            reason: self.reason,
        };
        let show = |output: &mut Output| -> std::io::Result<()> {
            if output.result(&row)? {
                return Ok(());
            }
            let what = if row.quarantined {
                paint(ATTENTION, "put away")
            } else {
                paint(GOOD, "released")
            };
            output.line(format!("{what} {} {}", row.name, paint(FAINT, &row.digest)))
        };
        show(output).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }
}
