//! `distribute_task`, `get_task_status`, `aggregate_task_results`, `cancel_task`, `list_machines`; the first of them here.

mod aggregate;
mod cancel;
mod machines;
mod status;

use std::collections::BTreeMap;
use std::time::Duration;

use caelum_core::task::Strategy;
use caelum_core::workflow::Targets;
use caelum_engine::request::{NewTask, Snapshot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::error::ToolError;
use super::super::groups::Group;
use super::super::tool::{Annotations, Answer, Call, Tool, tool};
use super::answer::counted;
use super::failure::refuse;
use super::status::{poll_after_ms, target_word};
use super::wait::{WAIT_MAX_S, until};
use super::{NextCall, Tools, actor};
pub use aggregate::{AggregateView, NumberView, SameView};
pub use machines::{MachineList, MachineRow};
pub use status::{TaskStatusView, TaskView};

use crate::document::{CommandDocument, Faults, RetryDocument, StrategyDocument, filled};

/// How long an answer waits for the tasks to have their machines.
const PLANNED_WITHIN: Duration = Duration::from_secs(2);

pub(super) fn tools(tools: &Tools) -> Vec<Tool> {
    let (distributing, asking, aggregating) = (tools.clone(), tools.clone(), tools.clone());
    let (cancelling, listing) = (tools.clone(), tools.clone());
    vec![
        tool(
            "distribute_task",
            "Run a task on machines",
            Annotations::ACTS,
            move |call, arguments| distribute(distributing.clone(), call, arguments),
        ),
        tool(
            "get_task_status",
            "See how a task stands",
            Annotations::READS,
            move |call, arguments| status::status(asking.clone(), call, arguments),
        ),
        tool(
            "aggregate_task_results",
            "Fold the results of a task",
            Annotations::READS,
            move |_, arguments| aggregate::aggregate(aggregating.clone(), arguments),
        ),
        tool(
            "cancel_task",
            "Cancel a task",
            Annotations::CHANGES.open_world(true),
            move |call, arguments| cancel::cancel(cancelling.clone(), call, arguments),
        ),
        tool("list_machines", "List machines", Annotations::READS, move |_, arguments| {
            let tools = listing.clone();
            async move { machines::list(&tools, arguments) }
        })
        // Executions name machines too.
        .of(Group::Workflows),
    ]
}

/// What to run on each machine.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"name": "disk space", "program": "df", "args": ["-h", "/"], "timeout_s": 10}))]
struct TaskDefinition {
    /// A few words; the program when left out.
    #[serde(default)]
    name: Option<String>,
    /// The program: a name found in PATH or a path; with `shell` a line for /bin/sh.
    program: String,
    /// Its arguments, passed as they are.
    #[serde(default)]
    args: Option<Vec<String>>,
    /// The directory to run in, relative to the server's first root or absolute beneath a root.
    #[serde(default)]
    cwd: Option<String>,
    /// Environment variables to set.
    #[serde(default)]
    env: Option<BTreeMap<String, String>>,
    /// Text for its standard input.
    #[serde(default)]
    stdin: Option<String>,
    /// Whether `program` is a line for /bin/sh; false when left out.
    #[serde(default)]
    shell: Option<bool>,
    /// Globs, relative to `cwd`, of files to keep.
    #[serde(default)]
    collect: Option<Vec<String>>,
    /// A JSON file, relative to `cwd`, that holds the outputs. When left out, the last line of standard output that is
    /// a JSON object; numbers in it are merged by `aggregate_task_results`.
    #[serde(default)]
    outputs: Option<String>,
    /// How long one run may take, in seconds.
    #[serde(default)]
    #[schemars(range(min = 1, max = 604_800))]
    timeout_s: Option<u64>,
    /// When a failed run is repeated.
    #[serde(default)]
    retry: Option<RetryDocument>,
    /// Whether it may simply run again when a crash left its outcome unknown; true when left out.
    #[serde(default)]
    idempotent: Option<bool>,
}

/// Runs one command on several machines and answers at once with a `task_group_id` and one task per machine, in waves
/// by the strategy. Next: `get_task_status` with the group's id, then `aggregate_task_results`. On this server `local`
/// is the machine that it runs on; `list_machines` shows all of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DistributeTask {
    /// What to run.
    task_definition: TaskDefinition,
    /// Where: names, `local`, `any`, `all` or `label:key=value`.
    #[schemars(length(min = 1), example = vec!["local"])]
    target_machines: Vec<String>,
    /// How it spreads: `parallel` when left out, `sequential`, or an object with details.
    #[serde(default)]
    execution_strategy: Option<StrategyDocument>,
    /// Any text of yours: a second call with the same one gives the first one's tasks and starts nothing.
    #[serde(default)]
    idempotency_key: Option<String>,
    /// Who asks; your client's name when left out.
    #[serde(default)]
    by: Option<String>,
}

/// One task: the work of one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRow {
    /// The task's id.
    pub task_id: String,
    /// The machine.
    pub machine: String,
    /// `pending`, `running`, `completed`, `failed`, `skipped`, `cancelled` or `unknown`.
    pub status: String,
}

/// A task group and its plan.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// The group's id.
    pub task_group_id: String,
    /// `executing`, `paused`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// `parallel` or `sequential`.
    pub execution_strategy: String,
    /// One task per machine.
    pub tasks: Vec<TaskRow>,
    /// Machines that run together, wave by wave.
    pub waves: Vec<Vec<String>>,
    /// Ask again after so many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_after_ms: Option<u64>,
    /// The call to make next.
    pub next_call: NextCall,
}

impl Answer for Distribution {
    fn text(&self) -> String {
        let mut text = format!(
            "task group {}: {}, {} in {}, {}",
            self.task_group_id,
            self.status,
            counted(self.tasks.len(), "task", "tasks"),
            counted(self.waves.len(), "wave", "waves"),
            self.execution_strategy,
        );
        for task in self.tasks.iter().take(60) {
            text.push_str(&format!("\n- {} on {}: {}", task.task_id, task.machine, task.status));
        }
        text.push_str(&format!("\nnext: {}", self.next_call.line()));
        text
    }
}

async fn distribute(
    tools: Tools,
    call: Call,
    arguments: DistributeTask,
) -> Result<Distribution, ToolError> {
    let task = arguments.task_definition;
    let mut faults = Faults::default();
    let strategy = arguments
        .execution_strategy
        .as_ref()
        .map(|strategy| strategy.to_strategy("/execution_strategy", &mut faults))
        .unwrap_or_default();
    if task.program.trim().is_empty() {
        faults.add("/task_definition/program", "names no program");
    }
    faults.done(()).map_err(|problems| {
        ToolError::new("invalid_task", "the task cannot be distributed").problems(problems)
    })?;
    let name = filled(task.name.as_ref()).unwrap_or(&task.program).to_owned();
    let command = CommandDocument {
        program: task.program,
        args: task.args,
        cwd: task.cwd,
        env: task.env,
        stdin: task.stdin,
        shell: task.shell,
        collect: task.collect,
        outputs: task.outputs,
    };
    let new = NewTask {
        name,
        command: command.to_spec(),
        target_machines: arguments.target_machines,
        strategy: strategy.clone(),
        timeout_s: task.timeout_s,
        retry: task.retry.as_ref().map(RetryDocument::to_policy),
        idempotent: task.idempotent.unwrap_or(true),
        by: actor(arguments.by.as_ref(), &call),
        idempotency_key: filled(arguments.idempotency_key.as_ref()).map(str::to_owned),
    };
    let engine = &tools.engine;
    let snapshot = engine.distribute_task(new).await.map_err(refuse)?;
    // The machines are known as soon as the group has begun.
    let snapshot = until(engine, &call, snapshot, PLANNED_WITHIN, |snapshot| {
        !targets(snapshot).is_empty() || snapshot.execution.status().is_final()
    })
    .await
    .map_err(refuse)?;
    Ok(distribution(&snapshot, &strategy))
}

fn distribution(snapshot: &Snapshot, strategy: &Strategy) -> Distribution {
    let group = snapshot.execution.id().to_string();
    let machines: Vec<String> =
        targets(snapshot).iter().map(|target| target.machine.to_string()).collect();
    let width = match strategy {
        Strategy::Parallel { max: Some(max) } => usize::try_from(*max).unwrap_or(1).max(1),
        Strategy::Parallel { max: None } => machines.len().max(1),
        Strategy::Sequential { .. } => 1,
    };
    Distribution {
        status: snapshot.execution.status().as_str().to_owned(),
        execution_strategy: strategy.as_str().to_owned(),
        tasks: targets(snapshot)
            .iter()
            .map(|target| TaskRow {
                task_id: format!("{group}:{}", target.machine),
                machine: target.machine.to_string(),
                status: target_word(target.phase).to_owned(),
            })
            .collect(),
        waves: machines.chunks(width).map(<[String]>::to_vec).collect(),
        poll_after_ms: poll_after_ms(snapshot),
        next_call: NextCall::new(
            "get_task_status",
            json!({"task_id": group, "wait_s": WAIT_MAX_S}),
        ),
        task_group_id: group,
    }
}

/// Returns the tasks of a group, which is an execution with one step.
fn targets(snapshot: &Snapshot) -> &Targets {
    &snapshot.execution.step(0).targets
}
