//! Tools, answers and errors as the protocol writes them. Pure translation: what is offered and what is answered is
//! decided elsewhere.

use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::{
    CallToolResult, ContentBlock, ErrorCode, ErrorData, Icon, Implementation,
    PaginatedRequestParams, ProgressNotificationParam, ProtocolVersion, Tool as WireTool,
    ToolAnnotations,
};
use rmcp::service::RequestContext;
use serde_json::Value;

use super::error::ToolError;
use super::handler::SERVER_NAME;
use super::progress::{Progress, Update};
use super::tool::{Reply, Tool};

/// The server's mark, a path of steps through a gate, as SVG in a data URI, so that no client has to fetch anything. In
/// base64, because bare SVG is no URI.
const ICON: &str = "data:image/svg+xml;base64,\
PHN2ZyB4bWxucz0naHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmcnIHZpZXdCb3g9JzAgMCA0OCA0OCc+PHJlY3Qgd2lkdGg9\
JzQ4JyBoZWlnaHQ9JzQ4JyByeD0nMTAnIGZpbGw9JyMxZjRmOGInLz48cGF0aCBkPSdNOCAyNGg5bTE0IDBoOU0xNyAxNWwx\
NCA5LTE0IDl6JyBmaWxsPSdub25lJyBzdHJva2U9JyNmZmYnIHN0cm9rZS13aWR0aD0nNCcgc3Ryb2tlLWxpbmVqb2luPSdy\
b3VuZCcgc3Ryb2tlLWxpbmVjYXA9J3JvdW5kJy8+PC9zdmc+";

/// The methods that every server answers, in both eras.
const METHODS: &[&str] = &["server/discover", "tools/list", "tools/call"];

/// The methods that list what only an engine makes possible. Clients of the older era ask for these lists whether they
/// are declared or not, and get empty ones where there is no engine.
const LISTS: &[&str] =
    &["prompts/list", "resources/list", "resources/templates/list", "completion/complete"];

/// The methods that an engine makes possible, in both eras, beside the lists.
const OVER_ENGINE: &[&str] = &["prompts/get", "resources/read"];

/// The methods that only the older era knows, and those of them that need an engine.
const OLDER: &[&str] = &["initialize", "ping"];
const OLDER_OVER_ENGINE: &[&str] = &["resources/subscribe", "resources/unsubscribe"];

/// The methods that only the newer era knows; all of them need an engine.
const NEWER_OVER_ENGINE: &[&str] =
    &["subscriptions/listen", "tasks/get", "tasks/update", "tasks/cancel"];

/// What decides which methods are answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answers {
    /// The request belongs to the era without `initialize`.
    pub(super) newer_era: bool,
    /// There is an engine behind the tools.
    pub(super) has_engine: bool,
}

impl Answers {
    fn methods(self) -> Vec<&'static str> {
        let mut methods = METHODS.to_vec();
        if self.has_engine || !self.newer_era {
            methods.extend(LISTS);
        }
        if self.has_engine {
            methods.extend(OVER_ENGINE);
        }
        match (self.newer_era, self.has_engine) {
            (true, true) => methods.extend(NEWER_OVER_ENGINE),
            (true, false) => {}
            (false, has_engine) => {
                methods.extend(OLDER);
                if has_engine {
                    methods.extend(OLDER_OVER_ENGINE);
                }
            }
        }
        methods
    }
}

/// Says whether a version belongs to the era without `initialize`.
pub(super) fn is_stateless(version: &ProtocolVersion) -> bool {
    version.as_str() >= ProtocolVersion::V_2026_07_28.as_str()
}

/// Says whether a request belongs to the era without `initialize`.
pub(super) fn is_newer_era(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().as_ref().is_some_and(is_stateless)
}

/// Returns who this server is.
pub(super) fn implementation() -> Implementation {
    let mut server = Implementation::new(SERVER_NAME, env!("CARGO_PKG_VERSION"));
    server.title = Some("Caelum workflow orchestration".to_owned());
    server.description =
        Some("Keeps, runs and watches workflows whose quality gates are real.".to_owned());
    server.icons = Some(vec![icon()]);
    server
}

/// Returns the server's mark.
pub(super) fn icon() -> Icon {
    Icon::new(ICON).with_mime_type("image/svg+xml").with_sizes(vec!["any".to_owned()])
}

/// Returns a tool as clients see it.
pub(super) fn wire_tool(tool: &Tool) -> WireTool {
    let object = |schema: &Value| Arc::new(schema.as_object().cloned().unwrap_or_default());
    let annotations = ToolAnnotations::with_title(tool.title)
        .read_only(tool.annotations.read_only)
        .destructive(tool.annotations.destructive)
        .idempotent(tool.annotations.idempotent)
        .open_world(tool.annotations.open_world);
    WireTool::new(tool.name, tool.description.clone(), object(&tool.input_schema))
        .with_title(tool.title)
        .with_raw_output_schema(object(&tool.output_schema))
        .with_annotations(annotations)
}

/// Returns the handle that sends reports of progress to whoever asked for them.
pub(super) fn progress(context: &RequestContext<RoleServer>) -> Progress {
    let Some(token) = context.meta.get_progress_token() else { return Progress::silent() };
    let peer = context.peer.clone();
    Progress::new(move |update: Update| {
        let peer = peer.clone();
        let mut param = ProgressNotificationParam::new(token.clone(), update.done);
        param.total = update.total;
        param.message = Some(update.message).filter(|message| !message.is_empty());
        Box::pin(async move {
            // The client is gone or went on; the call's own token says so too.
            if let Err(error) = peer.notify_progress(param).await {
                tracing::debug!(%error, "progress was not delivered");
            }
        })
    })
}

/// Returns a tool's answer as a client of this version reads it.
pub(super) fn success(reply: Reply, version: Option<&ProtocolVersion>) -> CallToolResult {
    let structured = Value::Object(reply.structured);
    let mut content = vec![ContentBlock::text(reply.text)];
    // Clients of the first two revisions know no structured content: they get it as text, unless the text is it.
    let knows_structured =
        version.is_some_and(|version| version.as_str() >= ProtocolVersion::V_2025_06_18.as_str());
    if !knows_structured {
        let json = structured.to_string();
        if content.first().and_then(|block| block.as_text()).is_none_or(|text| text.text != json) {
            content.push(ContentBlock::text(json));
        }
    }
    let mut result = CallToolResult::success(content);
    result.structured_content = Some(structured);
    result
}

/// Returns a tool's error as a client reads it.
pub(super) fn failure(error: &ToolError) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(error.text())])
}

/// Says what is wrong with a request that the SDK could not place: its method, or its params.
pub(super) fn misplaced(method: &str, params: Option<&Value>, answers: Answers) -> ErrorData {
    let method: String = method.chars().take(100).collect();
    if answers.methods().contains(&method.as_str()) {
        return ErrorData::invalid_params(malformed(&method, params), None);
    }
    unknown_method(&method, answers)
}

/// Returns the error for a method that this server does not answer.
pub(super) fn unknown_method(method: &str, answers: Answers) -> ErrorData {
    let known = answers.methods().join(", ");
    let message = format!("unknown method `{method}`; this server answers {known}");
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None)
}

/// Returns the error for a cursor that a list did not give.
pub(super) fn bad_cursor() -> ErrorData {
    ErrorData::invalid_params("the cursor is none of this list; leave it out to begin again", None)
}

/// Refuses every cursor of a list that is one page: nobody was ever given one.
///
/// # Errors
///
/// There is a cursor.
pub(super) fn one_page(request: Option<&PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|request| request.cursor.as_ref()) {
        Some(_) => Err(bad_cursor()),
        None => Ok(()),
    }
}

fn malformed(method: &str, params: Option<&Value>) -> String {
    let Some(params) = params else {
        return format!("`{method}` needs params, and there are none");
    };
    let Some(params) = params.as_object() else {
        return format!("the params of `{method}` must be an object");
    };
    let member = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => "",
    };
    if !member.is_empty() {
        match params.get(member) {
            None => return format!("the params of `{method}` need `{member}`, a string"),
            Some(value) if !value.is_string() => {
                return format!("`params.{member}` of `{method}` must be a string");
            }
            Some(_) => {}
        }
    }
    if params.get("arguments").is_some_and(|arguments| !arguments.is_object()) {
        return format!("`params.arguments` of `{method}` must be an object");
    }
    format!("the params of `{method}` are malformed: a member is missing or has the wrong type")
}
