//! `execute_workflow`, `get_workflow_status`, `list_executions`, `control_execution`; the first of them here.

mod control;
mod list;
mod look;

use std::time::Duration;

use caelum_engine::request::{NewExecution, Snapshot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::error::ToolError;
use super::super::tool::{Annotations, Answer, Call, Tool, tool};
use super::answer::counted;
use super::failure::refuse;
use super::status::{Detail, ExecutionView, ProgressView, WaitingView, view};
use super::wait::{WAIT_MAX_S, is_settled, until};
use super::{NextCall, Tools, actor};
pub(super) use list::StatusFilter;
pub use list::{ExecutionList, ExecutionRow};

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
            move |call, arguments| look::status(asking.clone(), call, arguments),
        ),
        tool("list_executions", "List executions", Annotations::READS, move |_, arguments| {
            list::list(listing.clone(), arguments)
        }),
        tool(
            "control_execution",
            "Pause, resume, cancel or retry",
            Annotations::CHANGES.open_world(true),
            move |call, arguments| control::control(controlling.clone(), call, arguments),
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
    let settled = |snapshot: &Snapshot| is_settled(engine, snapshot);
    let snapshot = until(engine, &call, snapshot, wait, settled).await.map_err(refuse)?;
    Ok(ExecutionStarted::of(view(engine, &snapshot, Detail::CONCISE)))
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
