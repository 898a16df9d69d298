//! `get_workflow_status`: how an execution stands, at once or as soon as something happens.

use std::time::Duration;

use caelum_engine::request::{Patience, Snapshot};
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::super::error::ToolError;
use super::super::super::tool::Call;
use super::super::Tools;
use super::super::failure::refuse;
use super::super::status::{Detail, ExecutionView, view};
use super::super::wait::{WAIT_MAX_S, is_settled, until};

/// What a wait waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum WaitUntil {
    /// Anything happens.
    #[default]
    Change,
    /// It ends, or needs somebody.
    Settled,
}

/// How much is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum DetailWord {
    /// What is needed to go on.
    #[default]
    Concise,
    /// Everything that is kept: longer outputs, every reason, metrics, probes.
    Full,
}

/// Shows how an execution stands: progress, every step with attempts, gates, verdicts and machines; `waiting_for` with
/// who must do what and the exact next call; for a failure its root cause first. With `wait_s` it waits until something
/// happens (or, with `wait_until: "settled"`, until it ends or needs somebody) and answers at the latest after so many
/// seconds; that is better than asking often. Without, ask no sooner than `poll_after_ms`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GetWorkflowStatus {
    /// The execution's id, from `execute_workflow` or `list_executions`.
    execution_id: String,
    /// Wait up to so many seconds; 0 when left out.
    #[serde(default)]
    #[schemars(range(min = 0, max = 30))]
    wait_s: Option<u64>,
    /// What to wait for: `change` when left out.
    #[serde(default)]
    wait_until: Option<WaitUntil>,
    /// With `wait_until: "change"`: the `event_count` you have seen; the answer comes at once when there are more.
    #[serde(default)]
    #[schemars(range(min = 0))]
    after_event: Option<u64>,
    /// With `wait_s`: whether the person at your client may be asked for a review by a form, where your client shows
    /// forms; true when left out. A program that shows reviews by itself says false.
    #[serde(default)]
    #[expect(dead_code, reason = "asking is the protocol's business: `reviews` reads it")]
    ask: Option<bool>,
    /// How much to show: `concise` when left out.
    #[serde(default)]
    detail: Option<DetailWord>,
}

pub(super) async fn status(
    tools: Tools,
    call: Call,
    arguments: GetWorkflowStatus,
) -> Result<ExecutionView, ToolError> {
    let engine = &tools.engine;
    let snapshot =
        engine.execution(&arguments.execution_id, Patience::default()).await.map_err(refuse)?;
    let wait = Duration::from_secs(arguments.wait_s.unwrap_or(0).min(WAIT_MAX_S));
    let seen = arguments.after_event.unwrap_or(snapshot.execution.head().events);
    let snapshot = match arguments.wait_until.unwrap_or_default() {
        WaitUntil::Settled => {
            let settled = |snapshot: &Snapshot| is_settled(engine, snapshot);
            until(engine, &call, snapshot, wait, settled).await
        }
        WaitUntil::Change => {
            let changed = |snapshot: &Snapshot| {
                snapshot.execution.head().events > seen || snapshot.execution.status().is_final()
            };
            until(engine, &call, snapshot, wait, changed).await
        }
    }
    .map_err(refuse)?;
    let detail = match arguments.detail.unwrap_or_default() {
        DetailWord::Concise => Detail::CONCISE,
        DetailWord::Full => Detail::FULL,
    };
    Ok(view(engine, &snapshot, detail))
}
