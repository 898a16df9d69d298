//! `execute_workflow`, `get_workflow_status`, `list_executions`, `control_execution`.

use std::time::Duration;

use caelum_core::workflow::ExecutionStatus;
use caelum_core::workflow::command::Control;
use caelum_engine::request::{ExecutionSummary, NewExecution, PageRequest, Patience};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::error::ToolError;
use super::super::tool::{Annotations, Answer, Call, Tool, tool};
use super::answer::counted;
use super::failure::refuse;
use super::status::{Detail, ExecutionView, ProgressView, WaitingView, view};
use super::wait::{WAIT_MAX_S, is_settled, until};
use super::workflow::{ROWS, ROWS_MAX};
use super::{NextCall, Tools, actor};
use crate::document::filled;

pub(super) fn tools(tools: &Tools) -> Vec<Tool> {
    let (executing, asking, listing, controlling) =
        (tools.clone(), tools.clone(), tools.clone(), tools.clone());
    vec![
        tool(
            "execute_workflow",
            "Execute a workflow",
            Annotations::ACTS,
            move |call, arguments| execute(executing.clone(), call, arguments),
        ),
        tool(
            "get_workflow_status",
            "See how an execution stands",
            Annotations::READS,
            move |call, arguments| status(asking.clone(), call, arguments),
        ),
        tool("list_executions", "List executions", Annotations::READS, move |_, arguments| {
            list(listing.clone(), arguments)
        }),
        tool(
            "control_execution",
            "Pause, resume, cancel or retry",
            Annotations::CHANGES.open_world(true),
            move |call, arguments| control(controlling.clone(), call, arguments),
        ),
    ]
}

/// Starts an execution of a workflow and answers at once with its `execution_id`; it is on disk before the answer is
/// sent, so it will run whatever happens to this connection. Give an `idempotency_key` when you might repeat the call:
/// the same key never starts a second run. With `dry_run: true` nothing runs: the answer shows the order of the steps,
/// their machines and gates, and what would go wrong. Next: `get_workflow_status`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExecuteWorkflow {
    /// The workflow's id.
    #[schemars(example = &"active-port-management-v1")]
    workflow_id: String,
    /// Parameters for its templates, held against its `parameters_schema`.
    #[serde(default)]
    parameters: Map<String, Value>,
    /// Machines for steps that name none: names, `local`, `any`, `all` or `label:key=value`.
    #[serde(default)]
    target_machines: Vec<String>,
    /// Any text of yours: a second call with the same one gives the first one's execution and starts nothing.
    #[serde(default)]
    idempotency_key: Option<String>,
    /// Which revision; the newest when left out.
    #[serde(default)]
    #[schemars(range(min = 1))]
    revision: Option<u32>,
    /// Wait up to so many seconds until it ends or needs somebody; 0 when left out.
    #[serde(default)]
    #[schemars(range(min = 0, max = 30))]
    wait_s: Option<u64>,
    /// Show what would happen and start nothing.
    #[serde(default)]
    dry_run: Option<bool>,
}

/// One step of a dry run.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlannedStep {
    /// The step's id.
    pub id: String,
    /// What it does: `command`, `pattern` or `manual`.
    pub action: String,
    /// Steps of wave 0 begin at once, those of wave 1 after them, and so on.
    pub wave: usize,
    /// The machines it would run on.
    pub machines: Vec<String>,
    /// Its gates, in the order in which they judge.
    pub gates: Vec<String>,
}

/// The execution that was started, or what it would be.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionStarted {
    /// The execution's id; missing in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// The workflow's id.
    pub workflow_id: String,
    /// The revision it is pinned to.
    pub revision: u32,
    /// `executing`, `paused`, `completed`, `failed` or `cancelled`; `dry_run` when nothing was started.
    pub status: String,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// The step that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_step: Option<String>,
    /// Steps that ended well.
    pub completed_steps: Vec<String>,
    /// Steps that ended badly.
    pub failed_steps: Vec<String>,
    /// The parameters, with defaults filled in.
    pub parameters: Map<String, Value>,
    /// Machines for steps that name none.
    pub target_machines: Vec<String>,
    /// When it should have ended, by the estimates of its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_completion: Option<String>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressView>,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<WaitingView>,
    /// What would happen, in a dry run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<PlannedStep>,
    /// What would go wrong, in a dry run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Ask again after so many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_after_ms: Option<u64>,
    /// The call to make next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_call: Option<NextCall>,
}

impl Answer for ExecutionStarted {
    fn text(&self) -> String {
        let mut text = match &self.execution_id {
            Some(id) => format!(
                "execution {id} of workflow {} (revision {}): {}",
                self.workflow_id, self.revision, self.status
            ),
            None => format!(
                "dry run of workflow {} (revision {}): {}, {}",
                self.workflow_id,
                self.revision,
                counted(self.plan.len(), "step", "steps"),
                counted(self.problems.len(), "problem", "problems"),
            ),
        };
        for step in self.plan.iter().take(60) {
            let machines = if step.machines.is_empty() {
                String::new()
            } else {
                format!(" on {}", step.machines.join(", "))
            };
            let gates = if step.gates.is_empty() {
                String::new()
            } else {
                format!("; gates: {}", step.gates.join(", "))
            };
            text.push_str(&format!(
                "\n- wave {}: {} ({}{machines}{gates})",
                step.wave, step.id, step.action
            ));
        }
        for problem in &self.problems {
            text.push_str("\nproblem: ");
            text.push_str(problem);
        }
        for waiting in &self.waiting_for {
            text.push_str("\nwaiting: ");
            text.push_str(&waiting.text());
        }
        if let Some(next) = &self.next_call {
            text.push_str(&format!("\nnext: {}", next.line()));
        }
        text
    }
}

impl ExecutionStarted {
    fn of(view: ExecutionView) -> Self {
        let next_call = view.poll_after_ms.map(|_| {
            NextCall::new(
                "get_workflow_status",
                json!({"execution_id": view.execution_id, "wait_s": WAIT_MAX_S, "wait_until": "settled"}),
            )
        });
        let next_call = next_call.or_else(|| {
            Some(NextCall::new("get_workflow_status", json!({"execution_id": view.execution_id})))
        });
        Self {
            execution_id: Some(view.execution_id),
            workflow_id: view.workflow_id,
            revision: view.revision,
            status: view.status,
            started_at: Some(view.started_at),
            current_step: view.current_step,
            completed_steps: view.completed_steps,
            failed_steps: view.failed_steps,
            parameters: view.parameters,
            target_machines: view.target_machines,
            estimated_completion: view.estimated_completion,
            progress: Some(view.progress),
            waiting_for: view.waiting_for,
            plan: Vec::new(),
            problems: Vec::new(),
            poll_after_ms: view.poll_after_ms,
            next_call,
        }
    }
}

async fn execute(
    tools: Tools,
    call: Call,
    arguments: ExecuteWorkflow,
) -> Result<ExecutionStarted, ToolError> {
    let new = NewExecution {
        workflow_id: arguments.workflow_id,
        revision: arguments.revision,
        parameters: arguments.parameters,
        target_machines: arguments.target_machines,
        by: actor(None, &call),
        idempotency_key: filled(arguments.idempotency_key.as_ref()).map(str::to_owned),
    };
    if arguments.dry_run == Some(true) {
        return dry_run(tools, new).await;
    }
    let engine = &tools.engine;
    let snapshot = engine.execute(new).await.map_err(refuse)?;
    let wait = Duration::from_secs(arguments.wait_s.unwrap_or(0).min(WAIT_MAX_S));
    let snapshot = until(engine, &call, snapshot, wait, is_settled).await.map_err(refuse)?;
    Ok(ExecutionStarted::of(view(&snapshot, Detail::CONCISE)))
}

async fn dry_run(tools: Tools, new: NewExecution) -> Result<ExecutionStarted, ToolError> {
    let (parameters, target_machines) = (new.parameters.clone(), new.target_machines.clone());
    let plan = tools.engine.dry_run(new).await.map_err(refuse)?;
    let next_call = plan.problems.is_empty().then(|| {
        let arguments = json!({
            "workflow_id": plan.workflow_id, "revision": plan.revision,
            "parameters": parameters, "target_machines": target_machines,
        });
        NextCall::new("execute_workflow", arguments)
    });
    Ok(ExecutionStarted {
        execution_id: None,
        workflow_id: plan.workflow_id,
        revision: plan.revision,
        status: "dry_run".to_owned(),
        started_at: None,
        current_step: None,
        completed_steps: Vec::new(),
        failed_steps: Vec::new(),
        parameters,
        target_machines,
        estimated_completion: None,
        progress: None,
        waiting_for: Vec::new(),
        plan: plan
            .steps
            .into_iter()
            .map(|step| PlannedStep {
                id: step.id,
                action: step.action.to_owned(),
                wave: step.wave,
                machines: step.machines,
                gates: step.gates,
            })
            .collect(),
        problems: plan.problems,
        poll_after_ms: None,
        next_call,
    })
}

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
struct GetWorkflowStatus {
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
    /// How much to show: `concise` when left out.
    #[serde(default)]
    detail: Option<DetailWord>,
}

async fn status(
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
        WaitUntil::Settled => until(engine, &call, snapshot, wait, is_settled).await,
        WaitUntil::Change => {
            let changed = |snapshot: &caelum_engine::request::Snapshot| {
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
    Ok(view(&snapshot, detail))
}

/// A status to filter executions by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StatusFilter {
    /// Something runs or may run.
    Executing,
    /// It waits for somebody, or somebody paused it.
    Paused,
    /// It ended well.
    Completed,
    /// It ended badly.
    Failed,
    /// It was asked to end.
    Cancelled,
}

impl From<StatusFilter> for ExecutionStatus {
    fn from(filter: StatusFilter) -> Self {
        match filter {
            StatusFilter::Executing => ExecutionStatus::Executing,
            StatusFilter::Paused => ExecutionStatus::Paused,
            StatusFilter::Completed => ExecutionStatus::Completed,
            StatusFilter::Failed => ExecutionStatus::Failed,
            StatusFilter::Cancelled => ExecutionStatus::Cancelled,
        }
    }
}

/// Lists executions, newest first, one line each. Use it to find an execution's id, or what waits for somebody
/// (`status_filter: "paused"`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListExecutions {
    /// Only executions of this workflow.
    #[serde(default)]
    workflow_id: Option<String>,
    /// Only executions of this status.
    #[serde(default)]
    status_filter: Option<StatusFilter>,
    /// How many at most; 50 when left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

/// One execution in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionRow {
    /// The execution's id.
    pub execution_id: String,
    /// The workflow's id.
    pub workflow_id: String,
    /// The revision it is pinned to.
    pub revision: u32,
    /// `executing`, `paused`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// When it was started.
    pub started_at: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Steps that have ended.
    pub done: usize,
    /// Steps there are.
    pub total: usize,
}

impl ExecutionRow {
    pub(super) fn of(summary: &ExecutionSummary) -> Self {
        Self {
            execution_id: summary.execution_id.to_string(),
            workflow_id: summary.workflow_id.to_string(),
            revision: summary.revision,
            status: summary.status.as_str().to_owned(),
            started_at: summary.started_at.to_string(),
            ended_at: summary.ended_at.map(|at| at.to_string()),
            done: summary.done,
            total: summary.total,
        }
    }

    /// Returns the row as one line.
    pub fn line(&self) -> String {
        format!(
            "{} of {} (revision {}): {}, {} of {} steps, started {}",
            self.execution_id,
            self.workflow_id,
            self.revision,
            self.status,
            self.done,
            self.total,
            self.started_at
        )
    }
}

/// Executions, newest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionList {
    /// The executions.
    pub executions: Vec<ExecutionRow>,
    /// The cursor of the next page, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl Answer for ExecutionList {
    fn text(&self) -> String {
        if self.executions.is_empty() {
            return "no executions".to_owned();
        }
        let mut lines: Vec<String> = self.executions.iter().map(ExecutionRow::line).collect();
        lines.extend(self.next_cursor.as_ref().map(|cursor| format!("more: cursor {cursor}")));
        lines.join("\n")
    }
}

async fn list(tools: Tools, arguments: ListExecutions) -> Result<ExecutionList, ToolError> {
    let page = PageRequest {
        limit: arguments.limit.unwrap_or(ROWS).min(ROWS_MAX) as usize,
        cursor: filled(arguments.cursor.as_ref()).map(str::to_owned),
    };
    let status = arguments.status_filter.map(ExecutionStatus::from);
    let workflow = filled(arguments.workflow_id.as_ref());
    let listed = tools.engine.list_executions(workflow, status, page).await.map_err(refuse)?;
    Ok(ExecutionList {
        executions: listed.items.iter().map(ExecutionRow::of).collect(),
        next_cursor: listed.next_cursor,
    })
}

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
struct ControlExecution {
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

async fn control(
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
    Ok(view(&snapshot, Detail::CONCISE))
}
