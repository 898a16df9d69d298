//! MCP Apps (extension `io.modelcontextprotocol/ui`, 2026-01-26): what this server shows in a client's own window. A view
//! is a page without a network of its own; what it shows comes from the answer of the tool that refers to it, and what it
//! asks for goes through the client, so the client's rights and the person's consent hold. Clients that did not say that
//! they show such pages see nothing of this.

use rmcp::RoleServer;
use rmcp::model::{
    CacheScope, ClientCapabilities, ExtensionCapabilities, JsonObject, MetaObject,
    ReadResourceResult, Resource, ResourceContents, Tool as WireTool,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};

use super::toolset::Toolset;

/// The name of the extension.
const EXTENSION: &str = "io.modelcontextprotocol/ui";

/// The form of a view, as the extension demands it.
const MIME: &str = "text/html;profile=mcp-app";

/// The address of the view of one execution.
const EXECUTION: &str = "ui://caelum-workflow/execution";

/// That view: one file, built by `make dashboard` out of the dashboard's own parts.
const EXECUTION_PAGE: &str = include_str!("../../dashboard/dist/execution.html");

/// The tool that the view cannot do without.
const NEEDED_TOOL: &str = "get_workflow_status";

/// The tools whose answers the view shows: those that begin an execution, look at one or steer one. Reporting and
/// reviewing is done inside of the view, so their answers open none.
const SHOWN: &[&str] = &["execute_workflow", NEEDED_TOOL, "control_execution"];

/// How long a client may keep a view, in milliseconds: it changes only with the binary, and five minutes bound how long a
/// client shows an old one after an upgrade.
const TTL_MS: u64 = 5 * 60 * 1000;

/// Says whether there is anything to show: without the tool behind it, or an engine behind the tool, there is no view.
pub(super) fn offered(toolset: &Toolset) -> bool {
    toolset.has_engine() && toolset.tool(NEEDED_TOOL).is_some()
}

/// Adds the extension to what the server can do.
pub(super) fn declare(extensions: &mut ExtensionCapabilities) {
    extensions.insert(EXTENSION.to_owned(), JsonObject::new());
}

/// Returns what of the server's extensions a client of the older era is told of: this one, when it has it too. The others
/// came with the newer era; a client of the older one means other ones by their names.
pub(super) fn of_older_era(
    client: &ClientCapabilities,
    extensions: Option<ExtensionCapabilities>,
) -> Option<ExtensionCapabilities> {
    let mut extensions = extensions?;
    extensions.retain(|name, _| name == EXTENSION && shows(client));
    (!extensions.is_empty()).then_some(extensions)
}

/// Says whether the client of a request shows views.
pub(super) fn shown_by(context: &RequestContext<RoleServer>) -> bool {
    context.client_capabilities().is_some_and(|client| shows(&client))
}

fn shows(client: &ClientCapabilities) -> bool {
    let settings = client.extensions.as_ref().and_then(|extensions| extensions.get(EXTENSION));
    let types = settings.and_then(|settings| settings.get("mimeTypes")).and_then(Value::as_array);
    types.is_some_and(|types| types.iter().any(|known| known == MIME))
}

/// Refers a tool to the view of its answers, where it has one.
pub(super) fn refer(tool: &mut WireTool) {
    if SHOWN.contains(&tool.name.as_ref()) {
        let meta = tool.meta.get_or_insert_default();
        meta.0.insert("ui".to_owned(), json!({ "resourceUri": EXECUTION }));
    }
}

/// Returns the views as resources.
pub(super) fn resources() -> Vec<Resource> {
    let view = Resource::new(EXECUTION, "execution-view")
        .with_title("Execution")
        .with_description("One execution, live: its graph, steps, gates and findings, and forms for what it waits for.")
        .with_mime_type(MIME)
        .with_meta(rendering());
    vec![view]
}

/// Reads a view; nothing when the address is none of a view.
pub(super) fn read(uri: &str) -> Option<ReadResourceResult> {
    if uri != EXECUTION {
        return None;
    }
    let page =
        ResourceContents::text(EXECUTION_PAGE, uri).with_mime_type(MIME).with_meta(rendering());
    let mut result = ReadResourceResult::new(vec![page]);
    result.ttl_ms = Some(TTL_MS);
    result.cache_scope = Some(CacheScope::Public);
    Some(result)
}

/// How a view wants to be shown: it reaches nobody, may do nothing that a page has to ask for, and has no frame of its own.
fn rendering() -> MetaObject {
    let mut meta = JsonObject::new();
    meta.insert("ui".to_owned(), json!({ "csp": {}, "prefersBorder": true }));
    MetaObject(meta)
}
