//! `get_task_status`: where the work of each machine stands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use caelum_core::id::MachineId;
use caelum_core::task::Output;
use caelum_core::workflow::{ExecutionStatus, TargetState};
use caelum_engine::request::{Patience, Snapshot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::super::error::ToolError;
use super::super::super::tool::{Answer, Call};
use super::super::Tools;
use super::super::answer::{ANSWER_AIM_BYTES, Tail, json_bytes, line};
use super::super::failure::refuse;
use super::super::status::{interest, poll_after_ms, target_word};
use super::super::wait::{WAIT_MAX_S, until};
use super::targets;

/// Shows how a task stands: the state of each machine, its exit code, what it wrote so far. Takes the id of a group
/// (every machine) or of one task. With `wait_s` it waits until all of it has ended, and answers at the latest after so
/// many seconds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GetTaskStatus {
    /// A `task_group_id` or `task_id` from `distribute_task`.
    task_id: String,
    /// Wait up to so many seconds for the end; 0 when left out.
    #[serde(default)]
    #[schemars(range(min = 0, max = 30))]
    wait_s: Option<u64>,
}

/// One machine's part of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskView {
    /// The task's id.
    pub task_id: String,
    /// The machine.
    pub machine: String,
    /// `pending`, `running`, `completed`, `failed`, `skipped`, `cancelled` or `unknown`.
    pub status: String,
    /// Which attempt.
    pub attempt: u32,
    /// The program's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// When it was handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// How long it took, or has taken so far, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Standard output, its end; so far, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<Tail>,
    /// Standard error, its end; so far, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<Tail>,
    /// The outputs it gave.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub outputs: Map<String, Value>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// How a task stands.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskStatusView {
    /// The id that was asked for.
    pub task_id: String,
    /// The group's id.
    pub task_group_id: String,
    /// Of a group: `executing`, `paused`, `completed`, `failed` or `cancelled`; of one task, that of its machine.
    pub status: String,
    /// The tasks: all of a group, or the one.
    pub tasks: Vec<TaskView>,
    /// How many tasks are not shown because there are too many.
    pub tasks_omitted: usize,
    /// How many tasks stand where.
    pub counts: BTreeMap<String, usize>,
    /// Ask again after so many milliseconds; missing once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_after_ms: Option<u64>,
}

impl Answer for TaskStatusView {
    fn text(&self) -> String {
        let counts: Vec<String> =
            self.counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
        let mut text = format!("task {}: {} ({})", self.task_id, self.status, counts.join(", "));
        for task in self.tasks.iter().take(60) {
            text.push_str(&format!("\n- {}: {}", task.machine, task.status));
            if let Some(code) = task.exit_code {
                text.push_str(&format!(", exit code {code}"));
            }
            if let Some(failure) = &task.failure {
                text.push_str(&format!(", {failure}"));
            }
            for tail in [&task.stdout, &task.stderr].into_iter().flatten() {
                for line in tail.text.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev() {
                    text.push_str("\n  | ");
                    text.push_str(line);
                }
            }
        }
        if self.tasks_omitted > 0 {
            text.push_str(&format!("\n- and {} more", self.tasks_omitted));
        }
        if let Some(after) = self.poll_after_ms {
            text.push_str(&format!("\nask again after {after} ms, or with wait_s"));
        }
        text
    }
}

pub(super) async fn status(
    tools: Tools,
    call: Call,
    arguments: GetTaskStatus,
) -> Result<TaskStatusView, ToolError> {
    let engine = &tools.engine;
    let (snapshot, machine) =
        engine.task(&arguments.task_id, Patience::default()).await.map_err(refuse)?;
    let wait = Duration::from_secs(arguments.wait_s.unwrap_or(0).min(WAIT_MAX_S));
    let wanted = machine.clone();
    let snapshot = until(engine, &call, snapshot, wait, move |snapshot| {
        let settled = snapshot.execution.status() != ExecutionStatus::Executing;
        settled || wanted.as_ref().is_some_and(|machine| has_ended(snapshot, machine))
    })
    .await
    .map_err(refuse)?;
    Ok(shown(&tools, &snapshot, &arguments.task_id, machine.as_ref()))
}

/// Shows a task, as much of it as fits: what fits depends on how much was written, so less and less of it is tried.
pub(super) fn shown(
    tools: &Tools,
    snapshot: &Snapshot,
    id: &str,
    machine: Option<&MachineId>,
) -> TaskStatusView {
    let show = |bytes, rows| task_view(tools, snapshot, id, machine, bytes, rows);
    let mut shown = show(16_000, 1_000);
    for (bytes, rows) in [(2_000, 200), (400, 100), (0, 300), (0, 50)] {
        if json_bytes(&shown) <= ANSWER_AIM_BYTES {
            break;
        }
        shown = show(bytes, rows);
    }
    shown
}

/// Says whether the work of one machine, or of the whole group, has ended.
pub(super) fn is_over(snapshot: &Snapshot, machine: Option<&MachineId>) -> bool {
    snapshot.execution.status().is_final()
        || machine.is_some_and(|machine| has_ended(snapshot, machine))
}

fn has_ended(snapshot: &Snapshot, machine: &MachineId) -> bool {
    targets(snapshot)
        .iter()
        .find(|target| target.machine == *machine)
        .is_some_and(|target| !matches!(target_word(target.phase), "pending" | "running"))
}

fn task_view(
    tools: &Tools,
    snapshot: &Snapshot,
    id: &str,
    machine: Option<&MachineId>,
    bytes: usize,
    rows: usize,
) -> TaskStatusView {
    let group = snapshot.execution.id().to_string();
    let attempt = snapshot.execution.steps().first().map_or(0, |step| step.attempt);
    let mut wanted: Vec<&TargetState> = targets(snapshot)
        .iter()
        .map(Arc::as_ref)
        .filter(|target| machine.is_none_or(|machine| target.machine == *machine))
        .collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    if wanted.len() > rows {
        // What went wrong, and what goes on, is what somebody wants to see of very many.
        wanted.sort_by_key(|target| interest(target.phase));
    }
    for target in &wanted {
        *counts.entry(target_word(target.phase).to_owned()).or_default() += 1;
    }
    let mut status = snapshot.execution.status().as_str();
    if let (Some(_), [target]) = (machine, wanted.as_slice()) {
        status = target_word(target.phase);
    }
    let row = |target: &TargetState| -> TaskView {
        let outcome = target.outcome.as_deref();
        let so_far = match outcome {
            None => tools.engine.output_so_far(snapshot, 0, &target.machine),
            Some(_) => None,
        };
        let tail = |output: Option<&Output>| {
            let output = output.filter(|output| bytes > 0 && output.total_bytes > 0)?;
            Some(Tail::of(&output.text, output.total_bytes, output.truncated, bytes))
        };
        let ended = outcome.map_or(snapshot.at, |outcome| outcome.ended_at);
        TaskView {
            task_id: format!("{group}:{}", target.machine),
            machine: target.machine.to_string(),
            status: target_word(target.phase).to_owned(),
            attempt,
            exit_code: outcome.and_then(|outcome| outcome.exit_code),
            signal: outcome.and_then(|outcome| outcome.signal),
            started_at: target.started_at.map(|at| at.to_string()),
            duration_ms: target
                .started_at
                .map(|at| u64::try_from(ended.since(at).as_millis()).unwrap_or(u64::MAX)),
            stdout: tail(outcome.map(|o| &o.stdout).or(so_far.as_ref().map(|o| &o.stdout))),
            stderr: tail(outcome.map(|o| &o.stderr).or(so_far.as_ref().map(|o| &o.stderr))),
            outputs: outcome
                .map(|outcome| outcome.outputs.clone())
                .filter(|outputs| bytes > 0 && json_bytes(outputs) <= bytes.max(1_000))
                .unwrap_or_default(),
            failure: outcome
                .and_then(|outcome| outcome.failure.as_ref())
                .map(|failure| line(&failure.message, 400)),
        }
    };
    TaskStatusView {
        task_id: id.to_owned(),
        task_group_id: group.clone(),
        status: status.to_owned(),
        tasks: wanted.iter().take(rows).map(|target| row(target)).collect(),
        tasks_omitted: wanted.len().saturating_sub(rows),
        counts,
        poll_after_ms: poll_after_ms(snapshot),
    }
}
