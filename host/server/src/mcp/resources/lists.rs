//! The list of resources, page by page: workflows, executions, patterns and validators, applications, in this order.

use rmcp::model::{CacheScope, ErrorData, ListResourcesResult, Resource};
use serde_json::{Map, Value, json};

use super::super::inquiry::{Inquiry, protocol_error, rows, text};
use super::super::wire::bad_cursor;
use super::{Address, MIME, TTL_MS};

/// How many resources one page holds at most.
const PAGE: usize = 50;

/// One kind of resources: the word in cursors, the tool that lists them, the list in its answer, whether the list goes on
/// beyond its first page. Of what grows for ever only the newest are listed; the rest is read by template.
struct Kind {
    word: &'static str,
    tool: &'static str,
    list: &'static str,
    goes_on: bool,
    resource: fn(&Map<String, Value>) -> Resource,
}

const KINDS: &[Kind] = &[
    Kind {
        word: "w",
        tool: "list_workflows",
        list: "workflows",
        goes_on: true,
        resource: workflow,
    },
    Kind {
        word: "e",
        tool: "list_executions",
        list: "executions",
        goes_on: false,
        resource: execution,
    },
    Kind { word: "p", tool: "list_patterns", list: "patterns", goes_on: true, resource: plugin },
    Kind {
        word: "v",
        tool: "list_validators",
        list: "validators",
        goes_on: true,
        resource: plugin,
    },
    Kind {
        word: "a",
        tool: "list_pattern_applications",
        list: "applications",
        goes_on: false,
        resource: application,
    },
];

/// Returns one page of the list.
///
/// # Errors
///
/// A cursor that this list did not give; a tool behind it failed.
pub(in super::super) async fn list(
    inquiry: &Inquiry,
    cursor: Option<&str>,
) -> Result<ListResourcesResult, ErrorData> {
    let (mut kind, mut inner) = match cursor {
        None => (0, None),
        Some(cursor) => place(cursor).ok_or_else(bad_cursor)?,
    };
    let mut resources = Vec::new();
    let mut next = None;
    while let Some(at) = KINDS.get(kind) {
        if inquiry.has(at.tool) {
            let mut arguments = json!({ "limit": PAGE });
            if let Some(inner) = inner.take() {
                arguments["cursor"] = Value::String(inner);
            }
            let reply = inquiry
                .ask(at.tool, arguments)
                .await
                .map_err(|error| protocol_error(&error, "resources/list"))?;
            resources.extend(rows(&reply, at.list).map(at.resource));
            let more = reply.structured.get("next_cursor").and_then(Value::as_str);
            if let Some(more) = more.filter(|_| at.goes_on) {
                next = Some(format!("{}:{more}", at.word));
                break;
            }
        }
        kind += 1;
        if resources.len() >= PAGE
            && let Some(following) = KINDS.get(kind)
        {
            next = Some(format!("{}:", following.word));
            break;
        }
    }
    let mut result = ListResourcesResult::with_all_items(resources);
    result.next_cursor = next;
    result.ttl_ms = Some(TTL_MS);
    result.cache_scope = Some(CacheScope::Private);
    Ok(result)
}

fn place(cursor: &str) -> Option<(usize, Option<String>)> {
    let (word, inner) = cursor.split_once(':')?;
    let kind = KINDS.iter().position(|kind| kind.word == word)?;
    Some((kind, Some(inner.to_owned()).filter(|inner| !inner.is_empty())))
}

fn resource(address: &Address, name: &str, title: String, description: String) -> Resource {
    Resource::new(address.to_string(), name)
        .with_title(title)
        .with_description(description)
        .with_mime_type(MIME)
}

fn workflow(row: &Map<String, Value>) -> Resource {
    let id = text(row, "workflow_id");
    let address = Address::Workflow { workflow_id: id.to_owned(), revision: None };
    let name = text(row, "name");
    let title = if name.is_empty() { id } else { name };
    resource(&address, id, title.to_owned(), format!("Workflow, {}", text(row, "status")))
}

fn execution(row: &Map<String, Value>) -> Resource {
    let id = text(row, "execution_id");
    let (workflow, status) = (text(row, "workflow_id"), text(row, "status"));
    let description = format!("{status}, started {}", text(row, "started_at"));
    let address = Address::Execution(id.to_owned());
    resource(&address, id, format!("Execution of {workflow}"), description)
}

fn plugin(row: &Map<String, Value>) -> Resource {
    let name = text(row, "name");
    let title = text(row, "title");
    let title = if title.is_empty() { name } else { title };
    let address = Address::Pattern(name.to_owned());
    resource(&address, name, title.to_owned(), text(row, "summary").to_owned())
}

fn application(row: &Map<String, Value>) -> Resource {
    let id = text(row, "application_id");
    let (pattern, component) = (text(row, "pattern_name"), text(row, "target_component"));
    let description = format!("{}, {}", text(row, "status"), text(row, "applied_at"));
    let address = Address::Application(id.to_owned());
    resource(&address, id, format!("{pattern} on {component}"), description)
}
