//! Tasks: what `execute_workflow` and `distribute_task` start goes on after the answer, and a client that knows the tasks
//! extension follows it by the protocol's own means. A task *is* the execution or task group of that id, so it is as
//! durable as they are: nothing is kept here, and a restart loses nothing.
//!
//! Only clients of the newer era that declared the extension get a task instead of an answer; those of the older one
//! could not read it. Work that will stop for somebody's hand is answered as ever, because whoever waits for a task
//! would wait for itself.

use rmcp::RoleServer;
use rmcp::model::{
    DetailedTask, ErrorData, InputRequests, InputResponses, JsonObject, Task, TaskPayload,
    TaskStatus,
};
use rmcp::service::RequestContext;
use rmcp::task_manager::current_timestamp;
use serde_json::{Map, Value, json};

use super::error::{Fault, ToolError};
use super::inquiry::{Inquiry, protocol_error, rows, text};
use super::reviews::{self, Declined};
use super::tool::Reply;
use super::wire::{is_newer_era, success};

/// How long a client waits between two looks when nothing better is known, in milliseconds.
const POLL_MS: u64 = 1_000;

/// How many pages of a definition are looked through for work by hand; far more than 10,000 steps need.
const PAGES_MAX: usize = 400;

/// How the ids of executions that are task groups are told from others: by their workflow.
const TASK_GROUP: &str = caelum_engine::request::TASK_GROUP_PREFIX;

/// Says whether a client can follow a task.
pub(super) fn knows_tasks(context: &RequestContext<RoleServer>) -> bool {
    is_newer_era(context)
        && context.client_capabilities().is_some_and(|client| client.supports_tasks())
}

/// Returns the task that a call has begun, where it has begun one; `asks` says whether the client can ask its person.
pub(super) async fn begun(
    inquiry: &Inquiry,
    tool: &str,
    reply: &Reply,
    asks: bool,
) -> Option<Task> {
    let row = &reply.structured;
    if text(row, "status") != "executing" {
        return None;
    }
    let id = match tool {
        "execute_workflow" => {
            let id = text(row, "execution_id");
            let revision = row.get("revision").cloned().unwrap_or_default();
            if id.is_empty() || needs_hands(inquiry, text(row, "workflow_id"), revision, asks).await
            {
                return None;
            }
            id
        }
        "distribute_task" => text(row, "task_group_id"),
        _ => return None,
    };
    let now = current_timestamp();
    let created = match text(row, "started_at") {
        "" => now.clone(),
        started => started.to_owned(),
    };
    let message = reply.text.lines().next().unwrap_or_default();
    let task = Task::new(id, TaskStatus::Working, created, now)
        .with_status_message(message)
        .with_poll_interval_ms(poll_ms(row));
    Some(task)
}

fn poll_ms(row: &Map<String, Value>) -> u64 {
    row.get("poll_after_ms").and_then(Value::as_u64).filter(|ms| *ms > 0).unwrap_or(POLL_MS)
}

/// Says whether a workflow has steps that somebody must do by hand, or reviews where nobody can be asked. What cannot be
/// read counts as one that has.
async fn needs_hands(inquiry: &Inquiry, workflow: &str, revision: Value, asks: bool) -> bool {
    let mut from_step = json!(0);
    for _ in 0..PAGES_MAX {
        let arguments =
            json!({ "workflow_id": workflow, "revision": revision, "from_step": from_step });
        let Ok(reply) = inquiry.ask("get_workflow", arguments).await else { return true };
        let by_hand = rows(&reply, "steps").any(|step| {
            let action = step.get("action").and_then(Value::as_object);
            let kind = action.map_or("manual", |action| text(action, "kind"));
            let reviewed = ["enforcement", "validation"]
                .into_iter()
                .any(|gate| text(step, gate) == "manual-review");
            kind == "manual" || (reviewed && !asks)
        });
        if by_hand {
            return true;
        }
        match reply.structured.get("next_from_step") {
            Some(next) if !next.is_null() => from_step = next.clone(),
            _ => return false,
        }
    }
    true
}

/// Returns how a task stands.
///
/// # Errors
///
/// There is no such task.
pub(super) async fn get(
    inquiry: &Inquiry,
    task_id: &str,
    asks: bool,
    declined: &Declined,
) -> Result<DetailedTask, ErrorData> {
    let reply = look(inquiry, task_id).await?;
    let row = &reply.structured;
    let status = text(row, "status");
    let seed = Task::new(task_id, TaskStatus::Working, text(row, "started_at"), last_change(row))
        .with_poll_interval_ms(poll_ms(row))
        .with_status_message(standing(&reply));
    let payload = match status {
        "cancelled" => TaskPayload::Cancelled,
        "completed" | "failed" => {
            let result = ended(inquiry, task_id, &reply).await;
            TaskPayload::Completed {
                result: result.map_err(|error| protocol_error(&error, task_id))?,
            }
        }
        _ => {
            let mut input_requests = InputRequests::new();
            if asks && inquiry.may_write() {
                for question in reviews::pending(&reply) {
                    if !declined.contains(inquiry.client_name(), &question)
                        && let Some(request) = question.request()
                    {
                        input_requests.insert(question.key.clone(), request);
                    }
                }
            }
            if input_requests.is_empty() {
                TaskPayload::Working
            } else {
                TaskPayload::InputRequired { input_requests }
            }
        }
    };
    Ok(DetailedTask::new(seed, payload))
}

/// Takes answers to what a task needed. Keys that nothing waits for any more are passed over, because somebody else may
/// have answered meanwhile.
///
/// # Errors
///
/// There is no such task; an answer is none, or the review was refused: the reviewer did the work, or a rejection gives
/// no reason. Every one is named.
pub(super) async fn update(
    inquiry: &Inquiry,
    task_id: &str,
    responses: &InputResponses,
    declined: &Declined,
) -> Result<(), ErrorData> {
    let reply = look(inquiry, task_id).await?;
    let mut problems = Vec::new();
    for question in reviews::pending(&reply) {
        let Some(response) = responses.get(&question.key) else { continue };
        if let Err(problem) = reviews::take(inquiry, &question, response, declined).await {
            problems.push(format!("`{}`: {problem}", question.key));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(ErrorData::invalid_params(problems.join("; "), Some(json!({ "taskId": task_id }))))
}

/// Asks for the end of a task; what has ended stays as it is.
///
/// # Errors
///
/// There is no such task, or the caller may not end it.
pub(super) async fn cancel(inquiry: &Inquiry, task_id: &str) -> Result<(), ErrorData> {
    let reply = look(inquiry, task_id).await?;
    if matches!(text(&reply.structured, "status"), "completed" | "failed" | "cancelled") {
        return Ok(());
    }
    let reason = "cancelled by its client";
    let (tool, arguments) = if is_group(&reply) && inquiry.has("cancel_task") {
        ("cancel_task", json!({ "task_id": task_id, "reason": reason, "wait_s": 0 }))
    } else {
        (
            "control_execution",
            json!({ "execution_id": task_id, "action": "cancel", "reason": reason }),
        )
    };
    let cancelled = inquiry.ask(tool, arguments).await;
    cancelled.map(drop).map_err(|error| protocol_error(&error, task_id))
}

async fn look(inquiry: &Inquiry, task_id: &str) -> Result<Reply, ErrorData> {
    let found = inquiry.ask("get_workflow_status", json!({ "execution_id": task_id })).await;
    found.map_err(|error| match error.fault() {
        Fault::Caller if error.code() != "busy" => {
            let shown: String = task_id.chars().take(100).collect();
            let message = format!("unknown task `{}`", shown.escape_debug());
            ErrorData::invalid_params(message, Some(json!({ "taskId": shown })))
        }
        _ => protocol_error(&error, task_id),
    })
}

fn is_group(reply: &Reply) -> bool {
    text(&reply.structured, "workflow_id").starts_with(TASK_GROUP)
}

/// Returns when a step began or ended last. All times are of one form, in UTC, so the latest is the greatest.
fn last_change(row: &Map<String, Value>) -> String {
    let steps = row.get("steps").and_then(Value::as_array).into_iter().flatten();
    let of_steps = steps
        .filter_map(Value::as_object)
        .flat_map(|step| ["started_at", "ended_at"].into_iter().map(|key| text(step, key)));
    let all = of_steps.chain([text(row, "started_at"), text(row, "ended_at")]);
    all.max().unwrap_or_default().to_owned()
}

/// Returns one line on how a task stands, with whom it waits for.
fn standing(reply: &Reply) -> String {
    let mut line = reply.text.lines().next().unwrap_or_default().to_owned();
    for waiting in rows(reply, "waiting_for").take(3) {
        line.push_str(&format!(
            "; step `{}` waits for {}: {}",
            text(waiting, "step_id"),
            text(waiting, "kind"),
            text(waiting, "who")
        ));
    }
    line
}

/// Returns what the call would have answered, had it waited for the end: as its output schema promises.
async fn ended(inquiry: &Inquiry, task_id: &str, reply: &Reply) -> Result<JsonObject, ToolError> {
    let answer = if is_group(reply) {
        group(inquiry, task_id).await?
    } else {
        let schema = inquiry.toolset().tool("execute_workflow").map(|tool| &tool.output_schema);
        let promised = schema.and_then(|schema| schema["properties"].as_object());
        let mut structured = reply.structured.clone();
        structured.retain(|key, _| promised.is_none_or(|promised| promised.contains_key(key)));
        Reply { structured, text: reply.text.clone() }
    };
    match serde_json::to_value(success(answer, Some(&rmcp::model::ProtocolVersion::LATEST))) {
        Ok(Value::Object(result)) => Ok(result),
        Ok(_) => Err(ToolError::internal("write the task's result", "it is no object")),
        Err(error) => Err(ToolError::internal("write the task's result", error)),
    }
}

/// Returns a task group as `distribute_task` shows it.
async fn group(inquiry: &Inquiry, task_id: &str) -> Result<Reply, ToolError> {
    let reply = inquiry.ask("get_task_status", json!({ "task_id": task_id })).await?;
    let tasks: Vec<Value> = rows(&reply, "tasks")
        .map(|row| {
            let field = |key| row.get(key).cloned().unwrap_or_default();
            json!({ "task_id": field("task_id"), "machine": field("machine"), "status": field("status") })
        })
        .collect();
    let machines: Vec<Value> = tasks.iter().map(|task| task["machine"].clone()).collect();
    let (strategy, width) = inquiry.toolset().strategy_of(task_id, machines.len()).await;
    let waves: Vec<Value> = machines.chunks(width.max(1)).map(|wave| json!(wave)).collect();
    let structured = json!({
        "task_group_id": task_id,
        "status": reply.structured.get("status").cloned().unwrap_or_default(),
        "execution_strategy": strategy,
        "tasks": tasks,
        "waves": waves,
        "next_call": {"tool": "aggregate_task_results", "arguments": {"task_group_id": task_id}},
    });
    let structured = structured.as_object().cloned().unwrap_or_default();
    Ok(Reply { structured, text: reply.text })
}
