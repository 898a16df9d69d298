//! `distribute_task`, `get_task_status`, `aggregate_task_results`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use caelum_core::id::MachineId;
use caelum_core::task::{OutcomeStatus, Output, Strategy};
use caelum_core::workflow::{ExecutionStatus, TargetState};
use caelum_engine::request::{NewTask, Patience, Snapshot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::error::ToolError;
use super::super::tool::{Annotations, Answer, Call, Tool, tool};
use super::answer::{ANSWER_AIM_BYTES, Tail, counted, json_bytes, line};
use super::failure::refuse;
use super::status::{poll_after_ms, target_word};
use super::wait::{WAIT_MAX_S, until};
use super::{NextCall, Tools, actor};
use crate::document::{CommandDocument, Faults, RetryDocument, StrategyDocument, filled};

/// How long an answer waits for the tasks to have their machines.
const PLANNED_WITHIN: Duration = Duration::from_secs(2);

pub(super) fn tools(tools: &Tools) -> Vec<Tool> {
    let (distributing, asking, aggregating) = (tools.clone(), tools.clone(), tools.clone());
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
            move |call, arguments| status(asking.clone(), call, arguments),
        ),
        tool(
            "aggregate_task_results",
            "Fold the results of a task",
            Annotations::READS,
            move |_, arguments| aggregate(aggregating.clone(), arguments),
        ),
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
/// is the machine that it runs on; `get_system_health` lists the others.
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

fn targets(snapshot: &Snapshot) -> &[Arc<TargetState>] {
    snapshot.execution.steps().first().map_or(&[], |step| step.targets.as_slice())
}

/// Shows how a task stands: the state of each machine, its exit code, what it wrote so far. Takes the id of a group
/// (every machine) or of one task. With `wait_s` it waits until all of it has ended, and answers at the latest after so
/// many seconds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetTaskStatus {
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

async fn status(
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
    let show = |bytes, rows| {
        task_view(&tools, &snapshot, &arguments.task_id, machine.as_ref(), bytes, rows)
    };
    // What fits depends on how much was written, so less and less of it is tried.
    let mut shown = show(16_000, 1_000);
    for (bytes, rows) in [(2_000, 200), (400, 100), (0, 300), (0, 50)] {
        if json_bytes(&shown) <= ANSWER_AIM_BYTES {
            break;
        }
        shown = show(bytes, rows);
    }
    Ok(shown)
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
    let wanted: Vec<&TargetState> = targets(snapshot)
        .iter()
        .map(Arc::as_ref)
        .filter(|target| machine.is_none_or(|machine| target.machine == *machine))
        .collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
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

/// Folds the results of a task group: how many ended how, machines with the same output together (failures first), and
/// the numbers of their outputs merged. Works at any time; `complete` says whether all machines have reported.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AggregateTaskResults {
    /// A `task_group_id` from `distribute_task`.
    task_group_id: String,
}

/// Machines whose result is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SameView {
    /// `succeeded`, `failed`, `timed_out`, `cancelled` or `not_started`.
    pub status: String,
    /// Their exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Their standard output, its end.
    pub output: String,
    /// Whether the output is only its end.
    pub output_truncated: bool,
    /// Why they failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Their outputs.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub outputs: Map<String, Value>,
    /// Which machines.
    pub machines: Vec<String>,
    /// How many machines.
    pub count: usize,
}

/// A number that many machines gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NumberView {
    /// How many gave it.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The sum.
    pub sum: f64,
}

/// The results of a task group, folded.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct AggregateView {
    /// The group's id.
    pub task_group_id: String,
    /// `executing`, `paused`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// Whether every machine has reported.
    pub complete: bool,
    /// How many tasks there are.
    pub total: usize,
    /// How many ended well.
    pub succeeded: usize,
    /// How many ended badly.
    pub failed: usize,
    /// How many have no result yet.
    pub open: usize,
    /// Machines with the same result together: failures first, then the largest group.
    pub groups: Vec<SameView>,
    /// How many groups are not shown because there are too many.
    pub groups_omitted: usize,
    /// Numbers of the outputs, by name.
    pub numbers: BTreeMap<String, NumberView>,
}

impl Answer for AggregateView {
    fn text(&self) -> String {
        let whether = if self.complete { "complete" } else { "not complete yet" };
        let mut text = format!(
            "task group {}: {}, {whether}; {} of {} succeeded, {} failed, {} open",
            self.task_group_id, self.status, self.succeeded, self.total, self.failed, self.open
        );
        for group in self.groups.iter().take(20) {
            let code =
                group.exit_code.map_or_else(String::new, |code| format!(", exit code {code}"));
            text.push_str(&format!(
                "\n- {} ({}{code}): {}",
                counted(group.count, "machine", "machines"),
                group.status,
                group.machines.iter().take(10).cloned().collect::<Vec<_>>().join(", ")
            ));
            if let Some(failure) = &group.failure {
                text.push_str(&format!("\n  {failure}"));
            }
            for line in group.output.lines().take(5) {
                text.push_str("\n  | ");
                text.push_str(line);
            }
        }
        for (name, number) in &self.numbers {
            text.push_str(&format!(
                "\n{name}: min {}, max {}, mean {}, sum {} over {}",
                number.min, number.max, number.mean, number.sum, number.count
            ));
        }
        text
    }
}

async fn aggregate(
    tools: Tools,
    arguments: AggregateTaskResults,
) -> Result<AggregateView, ToolError> {
    let aggregate = tools.engine.aggregate(&arguments.task_group_id).await.map_err(refuse)?;
    let tally = &aggregate.tally;
    let execution = &aggregate.snapshot.execution;
    let mut view = AggregateView {
        task_group_id: execution.id().to_string(),
        status: execution.status().as_str().to_owned(),
        complete: execution.status().is_final() && tally.open == 0,
        total: tally.total,
        succeeded: tally.succeeded,
        failed: tally.failed,
        open: tally.open,
        groups: Vec::new(),
        groups_omitted: 0,
        numbers: tally
            .numbers
            .iter()
            .take(200)
            .map(|(name, merged)| {
                let number = NumberView {
                    count: merged.count,
                    min: merged.min,
                    max: merged.max,
                    mean: merged.mean(),
                    sum: merged.sum,
                };
                (name.clone(), number)
            })
            .collect(),
    };
    for (bytes, groups) in [(16_000, 100), (1_000, 50), (200, 50), (0, 20)] {
        view.groups = tally.groups.iter().take(groups).map(|group| same(group, bytes)).collect();
        view.groups_omitted = tally.groups.len().saturating_sub(groups);
        if json_bytes(&view) <= ANSWER_AIM_BYTES {
            break;
        }
    }
    Ok(view)
}

fn same(group: &caelum_core::task::SameOutput, bytes: usize) -> SameView {
    let tail = Tail::of(&group.output, group.output.len() as u64, false, bytes);
    SameView {
        status: match group.status {
            OutcomeStatus::Succeeded => "succeeded",
            OutcomeStatus::Failed => "failed",
            OutcomeStatus::TimedOut => "timed_out",
            OutcomeStatus::Cancelled => "cancelled",
            OutcomeStatus::NotStarted => "not_started",
        }
        .to_owned(),
        exit_code: group.exit_code,
        output: tail.text,
        output_truncated: tail.truncated,
        failure: group.failure.as_ref().map(|failure| line(failure, 1_000)),
        outputs: if json_bytes(&group.outputs) <= bytes.max(200) {
            group.outputs.clone()
        } else {
            Map::new()
        },
        machines: group.machines.iter().take(500).map(ToString::to_string).collect(),
        count: group.machines.len(),
    }
}
