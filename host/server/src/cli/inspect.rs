//! `status`, `export` and `config`: commands that only look.

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::CommandError;
use super::access::{Access, Reach};
use super::exit::Exit;
use super::follow::conclude;
use super::output::{BAD, FAINT, Output, STRONG, paint};
use super::tree;
use crate::config::Config;
use crate::mcp::tools::execution::{ExecutionList, ExecutionRow};
use crate::mcp::tools::export::ExportView;
use crate::mcp::tools::monitoring::HealthView;
use crate::mcp::tools::status::ExecutionView;

/// How many executions `status` shows.
const EXECUTIONS_SHOWN: u32 = 20;

#[derive(Debug, Args)]
pub(super) struct Status {
    /// The execution.
    execution: Option<String>,
    /// Show everything that is kept: longer outputs, every reason, metrics, probes (with --json).
    #[arg(long)]
    full: bool,
}

/// What `status` shows without an execution.
#[derive(Serialize)]
struct Overview {
    health: HealthView,
    executions: Vec<ExecutionRow>,
}

impl Status {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        Access::within(config, Reach::Store, async |access| match &self.execution {
            Some(execution) => self.one(access, output, execution).await,
            None => overview(access, output).await,
        })
        .await
    }

    async fn one(
        &self,
        access: &Access,
        output: &mut Output,
        execution: &str,
    ) -> Result<Exit, CommandError> {
        let detail = if self.full { "full" } else { "concise" };
        let question = json!({"execution_id": execution, "detail": detail});
        let view: ExecutionView = access.call("get_workflow_status", question).await?;
        let show = |output: &mut Output| -> io::Result<()> {
            if output.is_live() {
                for line in tree::lines(&view) {
                    output.line(line)?;
                }
            }
            conclude(output, &view).map(drop)
        };
        show(output).map_err(CommandError::Output)?;
        // The question was answered, whatever the answer.
        Ok(Exit::Ok)
    }
}

async fn overview(access: &Access, output: &mut Output) -> Result<Exit, CommandError> {
    let health: HealthView = access.call("get_system_health", json!({})).await?;
    let list: ExecutionList =
        access.call("list_executions", json!({"limit": EXECUTIONS_SHOWN})).await?;
    let overview = Overview { health, executions: list.executions };
    let show = |output: &mut Output| -> io::Result<()> {
        if output.result(&overview)? {
            return Ok(());
        }
        let health = &overview.health;
        output.line(format!(
            "{} {}",
            tree::status(&health.status),
            paint(FAINT, format!("{} {}", health.service, health.version))
        ))?;
        for reason in &health.reasons {
            output.line(format!("  {} {reason}", paint(BAD, "!")))?;
        }
        for row in &overview.executions {
            output.line(format!(
                "{}  {}  {} {}",
                row.execution_id,
                tree::status(&row.status),
                paint(STRONG, &row.workflow_id),
                paint(FAINT, format!("{}/{} steps, {}", row.done, row.total, row.started_at))
            ))?;
        }
        if overview.executions.is_empty() {
            output.line("no executions")?;
        }
        Ok(())
    };
    show(output).map_err(CommandError::Output)?;
    Ok(Exit::Ok)
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Json,
    Yaml,
    Ndjson,
    Csv,
    Markdown,
    Mermaid,
    Junit,
}

impl Format {
    fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Markdown => "markdown",
            Self::Mermaid => "mermaid",
            Self::Junit => "junit",
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The workflow.
    workflow: String,
    /// What to write it in; json and yaml can be run again.
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// Leave the executions out.
    #[arg(long)]
    without_executions: bool,
    /// Write to a file instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let view =
            Access::within(config, Reach::Store, async |access| self.whole(access).await).await?;
        match &self.output {
            Some(path) => std::fs::write(path, &view.data).map_err(|error| {
                CommandError::Usage(format!("`{}` cannot be written: {error}", path.display()))
            })?,
            None if output.is_json() => {
                output.result(&view).map_err(CommandError::Output)?;
            }
            None => output.raw(&view.data).map_err(CommandError::Output)?,
        }
        Ok(Exit::Ok)
    }

    /// Puts the parts of an export together.
    async fn whole(&self, access: &Access) -> Result<ExportView, CommandError> {
        let part = |offset: usize, digest: &str| {
            json!({"workflow_id": self.workflow, "format": self.format.as_str(),
                   "include_executions": !self.without_executions, "offset": offset,
                   "digest": digest})
        };
        let mut view: ExportView = access.call("export_workflow_data", part(0, "")).await?;
        while let Some(offset) = view.next_offset {
            let more: ExportView =
                access.call("export_workflow_data", part(offset, &view.digest)).await?;
            view.data.push_str(&more.data);
            view.next_offset = more.next_offset;
        }
        Ok(view)
    }
}

/// What the configuration comes to; secrets are left out.
#[derive(Serialize)]
struct Settings {
    address: String,
    data_dir: PathBuf,
    pattern_dir: PathBuf,
    cache_dir: PathBuf,
    components_file: PathBuf,
    roots: Vec<PathBuf>,
    tokens: usize,
    allow_unauthenticated: bool,
    read_only: bool,
    toolsets: Vec<&'static str>,
    audit_dir: Option<PathBuf>,
    log: String,
    warnings: Vec<String>,
}

/// Shows the configuration in force.
pub(super) fn config(config: &Config, output: &mut Output) -> Result<Exit, CommandError> {
    let settings = Settings {
        address: config.address.to_string(),
        data_dir: config.data_dir.clone(),
        pattern_dir: config.pattern_dir.clone(),
        cache_dir: config.cache_dir.clone(),
        components_file: config.components_file.clone(),
        roots: config.roots.clone(),
        tokens: config.tokens.len(),
        allow_unauthenticated: config.allow_unauthenticated,
        read_only: config.read_only,
        toolsets: config.toolsets.names(),
        audit_dir: (config.audit.mode != crate::audit::Mode::Off)
            .then(|| config.audit.directory.clone()),
        log: config.log.clone(),
        warnings: config.warnings.clone(),
    };
    let show = |output: &mut Output| -> io::Result<()> {
        if output.result(&settings)? {
            return Ok(());
        }
        let value = serde_json::to_value(&settings).unwrap_or_default();
        for (key, value) in value.as_object().into_iter().flatten() {
            output.line(format!("{} = {value}", paint(STRONG, key)))?;
        }
        output.line(paint(
            FAINT,
            "`caelum-workflow config --example` writes a file with every setting",
        ))
    };
    show(output).map_err(CommandError::Output)?;
    Ok(Exit::Ok)
}
