//! `cancel_task`: ends a task group, or the work of one machine.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::super::error::ToolError;
use super::super::super::tool::Call;
use super::super::failure::refuse;
use super::super::wait::{WAIT_MAX_S, until};
use super::super::{Tools, actor};
use super::status::{TaskStatusView, is_over, shown};

/// How long an answer waits for the end when nobody says, in seconds: a program has 5 s to end by itself, and most need
/// none of it.
const WAIT_S: u64 = 2;

/// Ends a task group (by its `task_group_id`), or the work of one machine (by its `task_id`) while the others go on. What
/// waits never begins; programs that run are ended with everything they started, gently first. What was asked for is
/// on disk before the answer, so it comes to its end whatever happens. Waits a moment for that; `get_task_status` shows
/// it later. Cancelling what has ended is no mistake and changes nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelTask {
    /// A `task_group_id` or `task_id` from `distribute_task`.
    task_id: String,
    /// Why; kept in the record.
    #[serde(default)]
    reason: Option<String>,
    /// Who asks; your client's name when left out.
    #[serde(default)]
    by: Option<String>,
    /// Wait up to so many seconds for the end; 2 when left out.
    #[serde(default)]
    #[schemars(range(min = 0, max = 30))]
    wait_s: Option<u64>,
}

pub(super) async fn cancel(
    tools: Tools,
    call: Call,
    arguments: CancelTask,
) -> Result<TaskStatusView, ToolError> {
    let engine = &tools.engine;
    let by = actor(arguments.by.as_ref(), &call);
    let reason = arguments.reason.unwrap_or_default();
    let (snapshot, machine) =
        engine.cancel_task(&arguments.task_id, by, reason).await.map_err(refuse)?;
    let wait = Duration::from_secs(arguments.wait_s.unwrap_or(WAIT_S).min(WAIT_MAX_S));
    let snapshot =
        until(engine, &call, snapshot, wait, |snapshot| is_over(snapshot, machine.as_ref()))
            .await
            .map_err(refuse)?;
    Ok(shown(&tools, &snapshot, &arguments.task_id, machine.as_ref()))
}
