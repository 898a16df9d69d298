//! `complete`, `review` and `control`: a person's word about an execution, which then goes on here to its end or until it
//! needs somebody again.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::access::{Access, Reach, user};
use super::exit::Exit;
use super::follow::{conclude, follow};
use super::output::{Output, complain};
use super::parameters::Parameters;
use super::{CommandError, tree};
use crate::config::Config;
use crate::mcp::tools::status::ExecutionView;
use crate::mcp::tools::step::{ReviewOutcome, ReviewsTaken, StepAnswer};

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Decision {
    Succeeded,
    Failed,
    RunAgain,
}

#[derive(Debug, Args)]
pub(super) struct Complete {
    /// The execution.
    execution: String,
    /// The step.
    step: String,
    /// What was done.
    #[arg(long, value_name = "TEXT")]
    summary: String,
    /// Who did it [default: you]
    #[arg(long, value_name = "NAME")]
    performer: Option<String>,
    /// The work did not succeed.
    #[arg(long)]
    failed: bool,
    /// A file to hand in as evidence. May be repeated.
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// For a step whose outcome is unknown: what became of it.
    #[arg(long, value_enum)]
    decision: Option<Decision>,
    #[command(flatten)]
    outputs: Parameters,
}

impl Complete {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let mut files = Map::new();
        for path in &self.file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                CommandError::Usage(format!("`{}` cannot be read: {error}", path.display()))
            })?;
            let name = path.to_string_lossy().trim_start_matches(['.', '/']).to_owned();
            files.insert(name, Value::from(text));
        }
        let decision = self.decision.map(|decision| match decision {
            Decision::Succeeded => "succeeded",
            Decision::Failed => "failed",
            Decision::RunAgain => "run_again",
        });
        let arguments = json!({
            "execution_id": self.execution, "step_id": self.step,
            "performer": self.performer.clone().unwrap_or_else(user),
            "succeeded": !self.failed, "summary": self.summary,
            "outputs": self.outputs.read(None)?, "files": files, "decision": decision, "wait_s": 0,
        });
        say(config, output, "complete_step", arguments, &self.execution).await
    }
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("decision").required(true).args(["approve", "reject", "abstain"]))]
#[command(group = clap::ArgGroup::new("what").required(true).args(["step", "wave", "all"]))]
pub(super) struct Review {
    /// The execution.
    execution: String,
    /// The step, or several of them.
    step: Vec<String>,
    /// Every step of this wave that waits for a review; wave 0 are those without dependencies.
    #[arg(long, value_name = "NUMBER")]
    wave: Option<usize>,
    /// Every step that waits for a review.
    #[arg(long)]
    all: bool,
    /// Who reviews [default: you]
    #[arg(long, value_name = "NAME")]
    reviewer: Option<String>,
    /// It is good.
    #[arg(long)]
    approve: bool,
    /// It is not good; needs a reason.
    #[arg(long, requires = "reason")]
    reject: bool,
    /// No opinion.
    #[arg(long)]
    abstain: bool,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Review {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let decision = match (self.approve, self.reject) {
            (true, _) => "approved",
            (_, true) => "rejected",
            _ => "abstained",
        };
        let (step_id, step_ids) = match self.step.as_slice() {
            [one] => (Some(one.as_str()), Vec::new()),
            several => (None, several.to_vec()),
        };
        let arguments = json!({
            "execution_id": self.execution, "step_id": step_id, "step_ids": step_ids, "wave": self.wave,
            "all": self.all, "decision": decision,
            "reviewer": self.reviewer.clone().unwrap_or_else(user), "reason": self.reason, "wait_s": 0,
        });
        Access::within(config, Reach::Store, async |access| {
            self.give(access, output, arguments).await
        })
        .await
    }

    async fn give(
        &self,
        access: &Access,
        output: &mut Output,
        arguments: Value,
    ) -> Result<Exit, CommandError> {
        let before = look(access, &self.execution).await?;
        let taken: ReviewsTaken = access.call("review_step", arguments).await?;
        let refused: Vec<String> = taken
            .reviews
            .iter()
            .filter(|outcome| !outcome.taken)
            .map(ReviewOutcome::line)
            .collect();
        if taken.taken == 0 {
            // The code is for programs.
            let told: Vec<&str> =
                taken.reviews.iter().filter_map(|outcome| outcome.message.as_deref()).collect();
            return Err(CommandError::Usage(told.join("\n")));
        }
        for line in refused {
            complain(&format!("not taken: {line}"));
        }
        let view = follow(access, output, &self.execution, Some(before)).await?;
        conclude(output, &view).map_err(CommandError::Output)
    }
}

/// Says something about a step and follows the execution from there.
async fn say(
    config: &Config,
    output: &mut Output,
    tool: &'static str,
    arguments: Value,
    execution: &str,
) -> Result<Exit, CommandError> {
    Access::within(config, Reach::Store, async |access| {
        let before = look(access, execution).await?;
        access.call::<StepAnswer>(tool, arguments).await?;
        let view = follow(access, output, execution, Some(before)).await?;
        conclude(output, &view).map_err(CommandError::Output)
    })
    .await
}

/// Looks at an execution before anything is said about it.
async fn look(access: &Access, execution: &str) -> Result<ExecutionView, CommandError> {
    Ok(access.call("get_workflow_status", json!({"execution_id": execution})).await?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    Pause,
    Resume,
    Cancel,
    Retry,
}

#[derive(Debug, Args)]
pub(super) struct Control {
    /// The execution.
    execution: String,
    /// What to do.
    #[arg(value_enum)]
    action: Action,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

impl Control {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let action = match self.action {
            Action::Pause => "pause",
            Action::Resume => "resume",
            Action::Cancel => "cancel",
            Action::Retry => "retry_failed",
        };
        let arguments =
            json!({"execution_id": self.execution, "action": action, "reason": self.reason});
        Access::within(config, Reach::Store, async |access| {
            let before = look(access, &self.execution).await?;
            let view: ExecutionView = access.call("control_execution", arguments).await?;
            if self.action == Action::Pause {
                let show = |output: &mut Output| {
                    if output.result(&view)? {
                        return Ok(());
                    }
                    tree::lines(&view).into_iter().try_for_each(|line| output.line(line))
                };
                show(output).map_err(CommandError::Output)?;
                return Ok(Exit::Ok);
            }
            let view = follow(access, output, &self.execution, Some(before)).await?;
            let exit = conclude(output, &view).map_err(CommandError::Output)?;
            // An execution that was to be cancelled and is cancelled did what was asked.
            let cancelled = self.action == Action::Cancel && view.status == "cancelled";
            Ok(if cancelled { Exit::Ok } else { exit })
        })
        .await
    }
}
