//! What clients can read without calling a tool: workflows, executions, patterns and applications, each under an address
//! of its own. Everything comes from the tools, so a resource never says more than they do.

mod address;
mod lists;

use rmcp::model::{ErrorCode, ErrorData, ReadResourceResult, ResourceContents, ResourceTemplate};
use serde_json::{Value, json};

pub(super) use address::Address;
pub(super) use lists::list;

use super::error::{Fault, ToolError};
use super::groups::{Group, Groups};
use super::inquiry::{Inquiry, rows, text};
use super::subscriptions::Notice;
use super::tool::Reply;

/// How long a client may keep what it read, in milliseconds: nothing, because it may change at any moment, and whoever
/// watches it is told.
const TTL_MS: u64 = 0;

/// The form of everything here.
const MIME: &str = "application/json";

/// How many pages of a list are looked through for one name; each holds 200.
const PAGES_MAX: usize = 50;

/// Returns the templates of all addresses.
pub(super) fn templates(groups: &Groups) -> Vec<ResourceTemplate> {
    let template = |uri: &str, name: &str, title: &str, description: &str| {
        ResourceTemplate::new(uri, name)
            .with_title(title)
            .with_description(description)
            .with_mime_type(MIME)
    };
    let mut all = vec![
        template(
            "workflow://{workflow_id}{?revision}",
            "workflow",
            "Workflow",
            "A workflow's definition, its status and its last executions; the newest revision when none is named.",
        ),
        template(
            "execution://{execution_id}",
            "execution",
            "Execution",
            "How an execution or a task group stands: steps, gates, verdicts, what it waits for, why it failed.",
        ),
        template(
            "pattern://{pattern_name}",
            "pattern",
            "Pattern or validator",
            "An improvement pattern or a validator: what it does, its rules, the schema of its parameters.",
        ),
        template(
            "application://{application_id}",
            "application",
            "Application",
            "A recorded use of a pattern: what was changed, and how the component stands to it now.",
        ),
    ];
    all.retain(|template| is_offered(&template.name, groups));
    all
}

/// Says whether what has this name among the templates belongs to what is offered.
fn is_offered(name: &str, groups: &Groups) -> bool {
    let of: &[Group] = match name {
        "workflow" => &[Group::Workflows],
        // Task groups are executions too.
        "execution" => &[Group::Workflows, Group::Tasks],
        _ => &[Group::Patterns],
    };
    of.iter().any(|group| groups.has(*group))
}

/// Checks that a template is one of these; the part that may be left out of an address may be left out here, too.
///
/// # Errors
///
/// There is no such template.
pub(super) fn has_template(groups: &Groups, uri: &str) -> Result<(), ErrorData> {
    let templates = templates(groups);
    let mut known = templates.iter().map(|template| template.uri_template.as_str());
    if known.any(|template| template == uri || template.split("{?").next() == Some(uri)) {
        return Ok(());
    }
    let uri: String = uri.chars().take(100).collect();
    let known: Vec<&str> = templates.iter().map(|one| one.uri_template.as_str()).collect();
    let message =
        format!("unknown template `{}`; there are {}", uri.escape_debug(), known.join(", "));
    Err(ErrorData::invalid_params(message, Some(json!({ "uri": uri }))))
}

/// Reads one resource.
///
/// # Errors
///
/// There is no such resource; the tool behind it failed.
pub(super) async fn read(inquiry: &Inquiry, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let address: Address = uri.parse().map_err(|reason: String| not_found(uri, &reason))?;
    let name = match &address {
        Address::Workflow { .. } => "workflow",
        Address::Execution(_) => "execution",
        Address::Pattern(_) => "pattern",
        Address::Application(_) => "application",
    };
    if !is_offered(name, inquiry.toolset().groups()) {
        let groups = inquiry.toolset().groups().names().join(", ");
        return Err(not_found(uri, &format!("this server offers only the toolsets {groups}")));
    }
    let found = content(inquiry, &address).await.map_err(|error| match error.fault() {
        Fault::Caller if error.code() != "busy" && error.code() != "forbidden" => {
            not_found(uri, error.message())
        }
        _ => super::inquiry::protocol_error(&error, uri),
    })?;
    let json = serde_json::to_string_pretty(&found).unwrap_or_default();
    let contents = ResourceContents::text(json, uri).with_mime_type(MIME);
    let mut result = ReadResourceResult::new(vec![contents]);
    result.ttl_ms = Some(TTL_MS);
    result.cache_scope = Some(rmcp::model::CacheScope::Private);
    Ok(result)
}

async fn content(inquiry: &Inquiry, address: &Address) -> Result<Value, ToolError> {
    let whole = |reply: Reply| Value::Object(reply.structured);
    match address {
        Address::Workflow { workflow_id, revision } => {
            let mut arguments = json!({ "workflow_id": workflow_id });
            if let Some(revision) = revision {
                arguments["revision"] = json!(revision);
            }
            inquiry.ask("get_workflow", arguments).await.map(whole)
        }
        Address::Execution(id) => {
            let execution = inquiry.ask("get_workflow_status", json!({ "execution_id": id })).await;
            execution.map(whole)
        }
        Address::Pattern(name) => {
            for (tool, list) in [("list_patterns", "patterns"), ("list_validators", "validators")] {
                if inquiry.has(tool)
                    && let Some(found) = find(inquiry, tool, list, "name", name).await?
                {
                    return Ok(found);
                }
            }
            Err(ToolError::new("unknown_pattern", format!("no pattern or validator `{name}`")))
        }
        Address::Application(id) => {
            let asked = json!({ "application_id": id });
            let reply = inquiry.ask("list_pattern_applications", asked).await?;
            let mut row = rows(&reply, "applications").next().cloned().unwrap_or_default();
            let details = reply.structured.get("details");
            row.extend(details.map(|details| ("details".to_owned(), details.clone())));
            Ok(Value::Object(row))
        }
    }
}

/// Looks one thing up in a list, page by page.
async fn find(
    inquiry: &Inquiry,
    tool: &str,
    list: &str,
    key: &str,
    wanted: &str,
) -> Result<Option<Value>, ToolError> {
    let mut cursor = Value::Null;
    for _ in 0..PAGES_MAX {
        let mut arguments = json!({ "limit": 100 });
        if !cursor.is_null() {
            arguments["cursor"] = cursor;
        }
        let reply = inquiry.ask(tool, arguments).await?;
        if let Some(found) = rows(&reply, list).find(|row| text(row, key) == wanted) {
            return Ok(Some(Value::Object(found.clone())));
        }
        cursor = reply.structured.get("next_cursor").cloned().unwrap_or_default();
        if cursor.is_null() {
            return Ok(None);
        }
    }
    Ok(None)
}

/// Returns the error for an address under which there is nothing.
pub(super) fn not_found(uri: &str, reason: &str) -> ErrorData {
    let shown: String = uri.chars().take(200).collect();
    ErrorData::new(
        ErrorCode::RESOURCE_NOT_FOUND,
        format!("no resource `{shown}`: {reason}"),
        Some(json!({ "uri": shown })),
    )
}

/// Returns what a tool that ended well has changed among the resources.
pub(super) fn touched(tool: &str, reply: &Reply) -> Vec<Notice> {
    let field = |key: &str| reply.structured.get(key).and_then(Value::as_str);
    let workflow = || {
        let workflow_id = field("workflow_id")?.to_owned();
        Some(Notice::Resource(Address::Workflow { workflow_id, revision: None }.to_string()))
    };
    let application = || {
        let id = field("application_id")?.to_owned();
        Some(Notice::Resource(Address::Application(id).to_string()))
    };
    let mut notices = Vec::new();
    match tool {
        "create_workflow" | "update_workflow" | "archive_workflow" | "import_workflow" => {
            notices.push(Notice::Resources);
            notices.extend(workflow());
        }
        "execute_workflow" | "distribute_task" => {
            notices.push(Notice::Resources);
            notices.extend(workflow());
        }
        "apply_pattern" | "revert_pattern_application" => {
            notices.push(Notice::Resources);
            notices.extend(application());
        }
        _ => {}
    }
    notices
}
