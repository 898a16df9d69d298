//! `control_execution`: pause, resume, cancel, retry.

use std::time::Duration;

use caelum_core::workflow::command::Control;
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::super::error::ToolError;
use super::super::super::tool::Call;
use super::super::failure::refuse;
use super::super::status::{Detail, ExecutionView, view};
use super::super::wait::until;
use super::super::{Tools, actor};

/// What to do with an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ControlWord {
    /// Nothing new begins; what runs is not touched.
    Pause,
    /// It goes on.
    Resume,
    /// It ends; running programs are ended.
    Cancel,
    /// Failed steps begin anew.
    RetryFailed,
}

/// Pauses, resumes or cancels an execution, or lets its failed steps begin anew. Asking for what is so already is no
/// mistake. A cancelled execution comes to its end by itself; `get_workflow_status` shows when.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ControlExecution {
    /// The execution's id.
    execution_id: String,
    /// What to do.
    action: ControlWord,
    /// Why; kept in the record.
    #[serde(default)]
    reason: Option<String>,
    /// Who asks; your client's name when left out.
    #[serde(default)]
    by: Option<String>,
}

pub(super) async fn control(
    tools: Tools,
    call: Call,
    arguments: ControlExecution,
) -> Result<ExecutionView, ToolError> {
    // Cancelling what only waits is done in a moment, and the answer then shows the end.
    const MOMENT: Duration = Duration::from_millis(300);
    let control = match arguments.action {
        ControlWord::Pause => Control::Pause,
        ControlWord::Resume => Control::Resume,
        ControlWord::Cancel => Control::Cancel,
        ControlWord::RetryFailed => Control::RetryFailed,
    };
    let by = actor(arguments.by.as_ref(), &call);
    let reason = arguments.reason.unwrap_or_default();
    let engine = &tools.engine;
    let mut snapshot =
        engine.control(&arguments.execution_id, control, by, reason).await.map_err(refuse)?;
    if arguments.action == ControlWord::Cancel {
        snapshot = until(engine, &call, snapshot, MOMENT, |snapshot| {
            snapshot.execution.status().is_final()
        })
        .await
        .map_err(refuse)?;
    }
    Ok(view(engine, &snapshot, Detail::CONCISE))
}
