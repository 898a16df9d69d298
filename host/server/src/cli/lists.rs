//! `machines`, `applications` and `archive`: what there is, and what is put aside.

use std::io;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::CommandError;
use super::access::{Access, Reach};
use super::exit::Exit;
use super::output::{ATTENTION, FAINT, GOOD, Output, STRONG, paint};
use super::tree;
use crate::config::Config;
use crate::mcp::tools::pattern::{ApplicationList, ApplicationRow};
use crate::mcp::tools::task::{MachineList, MachineRow};
use crate::mcp::tools::workflow::WorkflowArchived;

#[derive(Debug, Args)]
pub(super) struct Machines {
    /// Only what this stands for: a name, local, any, all or label:KEY=VALUE.
    #[arg(long, value_name = "SELECTION")]
    select: Option<String>,
}

impl Machines {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let machines =
            Access::within(config, Reach::Store, async |access| self.all(access).await).await?;
        let show = |output: &mut Output| -> io::Result<()> {
            if output.result(&json!({"machines": machines}))? {
                return Ok(());
            }
            machines.iter().try_for_each(|machine| output.line(machine.line()))
        };
        show(output).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }

    async fn all(&self, access: &Access) -> Result<Vec<MachineRow>, CommandError> {
        let mut machines = Vec::new();
        let mut cursor = None;
        loop {
            let question = json!({"select": self.select, "cursor": cursor});
            let page: MachineList = access.call("list_machines", question).await?;
            machines.extend(page.machines);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(machines);
            }
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Drift {
    Clean,
    Modified,
    Missing,
    Outdated,
}

#[derive(Debug, Args)]
pub(super) struct Applications {
    /// Only uses of this pattern.
    #[arg(long, value_name = "PATTERN")]
    pattern: Option<String>,
    /// Only uses on this component, named as it was then.
    #[arg(long, value_name = "COMPONENT")]
    component: Option<String>,
    /// Only those whose component stands so now.
    #[arg(long, value_enum)]
    drift: Option<Drift>,
    /// How many at most, newest first.
    #[arg(long, value_name = "NUMBER", default_value = "20")]
    newest: usize,
}

impl Applications {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let rows =
            Access::within(config, Reach::Store, async |access| self.all(access).await).await?;
        let show = |output: &mut Output| -> io::Result<()> {
            if output.result(&json!({"applications": rows}))? {
                return Ok(());
            }
            if rows.is_empty() {
                return output.line("no applications");
            }
            rows.iter().try_for_each(|row| show_row(output, row))
        };
        show(output).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }

    async fn all(&self, access: &Access) -> Result<Vec<ApplicationRow>, CommandError> {
        let drift = self.drift.map(|drift| match drift {
            Drift::Clean => "clean",
            Drift::Modified => "modified",
            Drift::Missing => "missing",
            Drift::Outdated => "outdated",
        });
        let mut rows: Vec<ApplicationRow> = Vec::new();
        let mut cursor = None;
        while rows.len() < self.newest {
            let question = json!({
                "pattern_name": self.pattern, "target_component": self.component, "drift": drift,
                "limit": (self.newest - rows.len()).min(100), "cursor": cursor,
            });
            let page: ApplicationList = access.call("list_pattern_applications", question).await?;
            rows.extend(page.applications);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(rows)
    }
}

fn show_row(output: &mut Output, row: &ApplicationRow) -> io::Result<()> {
    let drift = row.drift.as_ref().map_or_else(String::new, |drift| {
        let style = if drift.state == "clean" { GOOD } else { ATTENTION };
        format!("  {}", paint(style, &drift.state))
    });
    output.line(format!(
        "{}  {}  {} {} on {}{drift} {}",
        row.application_id,
        tree::status(&row.status),
        paint(STRONG, &row.pattern_name),
        row.pattern_version,
        row.target_component,
        paint(FAINT, &row.applied_at)
    ))?;
    for file in row.drift.iter().flat_map(|drift| &drift.files) {
        output.line(format!("  {} {}", paint(ATTENTION, &file.state), file.path))?;
    }
    match &row.drift_problem {
        Some(problem) => output.line(format!("  {problem}")),
        None => Ok(()),
    }
}

#[derive(Debug, Args)]
pub(super) struct Archive {
    /// The workflow.
    workflow: String,
    /// Take it out of the archive again.
    #[arg(long)]
    restore: bool,
}

impl Archive {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let arguments = json!({"workflow_id": self.workflow, "archived": !self.restore});
        let done: WorkflowArchived =
            Access::call_once(config, "archive_workflow", arguments).await?;
        let show = |output: &mut Output| -> io::Result<()> {
            if output.result(&done)? {
                return Ok(());
            }
            let status = caelum_core::workflow::DefinitionStatus::from(done.status).as_str();
            output.line(format!(
                "{} is {} (revision {})",
                paint(STRONG, &done.workflow_id),
                tree::status(status),
                done.revision
            ))?;
            if done.open_executions {
                output.line("executions of it have not ended and go on")?;
            }
            Ok(())
        };
        show(output).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }
}
