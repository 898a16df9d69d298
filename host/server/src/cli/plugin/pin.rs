//! `plugin pin` and `plugin unpin`: which digests may serve where only pinned plugins may.

use clap::Args;
use serde::Serialize;

use crate::config::Config;

use super::super::CommandError;
use super::super::exit::Exit;
use super::super::output::{FAINT, GOOD, Output, paint};
use super::which::{lock_path, read_lock, which, write_lock};

#[derive(Debug, Args)]
pub(super) struct Pin {
    /// A plugin: its name, its file, or its digest.
    #[arg(required = true)]
    plugins: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Unpin {
    /// A plugin: its name, its file, or its digest.
    #[arg(required = true)]
    plugins: Vec<String>,
}

/// What is so now.
#[derive(Serialize)]
struct PinRow {
    digest: String,
    name: String,
    version: String,
    pinned: bool,
    /// Whether this command made it so.
    changed: bool,
}

impl Pin {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        change(config, output, &self.plugins, true).await
    }
}

impl Unpin {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        change(config, output, &self.plugins, false).await
    }
}

async fn change(
    config: &Config,
    output: &mut Output,
    words: &[String],
    pinned: bool,
) -> Result<Exit, CommandError> {
    let path = lock_path(config)?;
    let mut meant = Vec::with_capacity(words.len());
    for word in words {
        meant.push(which(config, word).await?);
    }
    let mut lock = read_lock(&path)?;
    let mut rows = Vec::with_capacity(meant.len());
    for one in meant {
        let before = lock.is_pinned(&one.digest);
        if pinned {
            lock.pin(one.digest.clone(), &one.name, &one.version);
        } else {
            lock.unpin(&one.digest);
        }
        rows.push(PinRow {
            digest: one.digest.to_string(),
            name: one.name,
            version: one.version,
            pinned,
            changed: before != pinned,
        });
    }
    write_lock(&lock, &path)?;
    let show = |output: &mut Output| -> std::io::Result<()> {
        if output.result(&rows)? {
            return Ok(());
        }
        for row in &rows {
            let what = match (row.pinned, row.changed) {
                (true, true) => "pinned",
                (true, false) => "pinned already",
                (false, true) => "not pinned any more",
                (false, false) => "was not pinned",
            };
            output.line(format!(
                "{} {} {} {}",
                paint(GOOD, what),
                row.name,
                row.version,
                paint(FAINT, &row.digest)
            ))?;
        }
        Ok(())
    };
    show(output).map_err(CommandError::Output)?;
    Ok(Exit::Ok)
}
