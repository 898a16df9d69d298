//! Speaks MCP for a tool set, in both eras of the protocol: with `initialize` (2024-11-05 to 2025-11-25) and without
//! (2026-07-28). It translates and holds no rules of its own; the framing of bytes is the transports' business.

use std::sync::Arc;

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams,
    CompleteResult, ContentBlock, CustomRequest, CustomResult, ErrorCode, ErrorData,
    Implementation, JsonObject, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, MetaObject, PaginatedRequestParams,
    ProgressNotificationParam, ProtocolVersion, ServerCapabilities, ServerConfig, Tool as WireTool,
    ToolAnnotations,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Value, json};

use super::error::ToolError;
use super::progress::{Progress, Update};
use super::tool::{Client, Reply, Tool};
use super::toolset::{CallContext, Session, Toolset};
use crate::trust::{Caller, Scope};

/// The name this server gives of itself.
pub const SERVER_NAME: &str = "caelum-workflow-orchestration";

/// How long a client may keep the tool list, in milliseconds: the list changes only with the binary, and five minutes
/// bound how long a client shows an old one after an upgrade.
const LIST_TTL_MS: u64 = 5 * 60 * 1000;

/// The key under which a result of the 2026-07-28 protocol names the server.
const SERVER_INFO_KEY: &str = "io.modelcontextprotocol/serverInfo";

/// The methods this server answers in both eras, to tell a malformed request from an unknown one.
const METHODS: &[&str] = &["server/discover", "tools/list", "tools/call"];

/// The methods that only the older era knows. The lists of prompts and resources are empty; its clients ask for them
/// whether they are declared or not, and show their users an error when they are not answered.
const OLDER_METHODS: &[&str] = &[
    "initialize",
    "ping",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "completion/complete",
];

/// Everything that does not change between two calls, built once.
#[derive(Debug)]
struct Shared {
    toolset: Arc<Toolset>,
    catalogue: Vec<(Scope, WireTool)>,
    info: ServerConfig,
    server_info: Value,
}

/// Where the handler learns who calls.
#[derive(Debug, Clone)]
enum Link {
    /// One connection, one caller: stdio, TCP, WebSocket.
    Connection(Caller, Session),
    /// Each HTTP request carries its [`Caller`] and [`Session`] among its extensions.
    Request,
}

/// The protocol handler of one connection or one HTTP request; cloning costs two reference counts.
#[derive(Debug, Clone)]
pub struct Handler {
    shared: Arc<Shared>,
    link: Link,
}

impl Handler {
    /// Builds the handler that HTTP requests share; each must carry its [`Caller`] and [`Session`] as extensions, and
    /// one that does not is refused.
    pub fn new(toolset: Arc<Toolset>) -> Self {
        let catalogue =
            toolset.tools(Scope::Admin).map(|tool| (tool.scope, wire_tool(tool))).collect();
        let mut server = Implementation::new(SERVER_NAME, env!("CARGO_PKG_VERSION"));
        server.title = Some("Caelum workflow orchestration".to_owned());
        server.description =
            Some("Keeps, runs and watches workflows whose quality gates are real.".to_owned());
        let server_info = serde_json::to_value(&server).unwrap_or_default();
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        info.protocol_version = ProtocolVersion::LATEST_WITH_INITIALIZE;
        info.server_info = server;
        info.instructions = Some(toolset.instructions().to_owned()).filter(|text| !text.is_empty());
        Self {
            shared: Arc::new(Shared { toolset, catalogue, info, server_info }),
            link: Link::Request,
        }
    }

    /// Returns the handler of one connection, whose caller is known.
    #[must_use]
    pub fn for_connection(&self, caller: Caller) -> Self {
        let session = self.shared.toolset.session();
        Self { shared: Arc::clone(&self.shared), link: Link::Connection(caller, session) }
    }

    /// Returns the tool set behind the handler.
    pub fn toolset(&self) -> &Arc<Toolset> {
        &self.shared.toolset
    }

    fn caller(&self, context: &RequestContext<RoleServer>) -> Result<(Caller, Session), ErrorData> {
        match &self.link {
            Link::Connection(caller, session) => Ok((*caller, session.clone())),
            Link::Request => {
                let extensions =
                    context.extensions.get::<http::request::Parts>().map(|parts| &parts.extensions);
                let caller = extensions.and_then(|extensions| extensions.get::<Caller>()).copied();
                let session =
                    extensions.and_then(|extensions| extensions.get::<Session>()).cloned();
                caller.zip(session).ok_or_else(|| {
                    ErrorData::internal_error("the request came without an identity", None)
                })
            }
        }
    }

    fn meta(&self, version: Option<&ProtocolVersion>) -> Option<MetaObject> {
        if !version.is_some_and(is_stateless) {
            return None;
        }
        let mut meta = JsonObject::new();
        meta.insert(SERVER_INFO_KEY.to_owned(), self.shared.server_info.clone());
        Some(MetaObject(meta))
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        self.shared.info.clone()
    }

    fn get_tool(&self, name: &str) -> Option<WireTool> {
        self.shared
            .catalogue
            .iter()
            .find(|(_, tool)| tool.name == name)
            .map(|(_, tool)| tool.clone())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let (caller, _) = self.caller(&context)?;
        let tools = self
            .shared
            .catalogue
            .iter()
            .filter(|(scope, _)| caller.may(*scope))
            .map(|(_, tool)| tool.clone());
        let mut result = ListToolsResult::with_all_items(tools.collect());
        result.ttl_ms = Some(LIST_TTL_MS);
        // What is listed depends on the caller's scope.
        result.cache_scope = Some(CacheScope::Private);
        result.meta = self.meta(context.protocol_version().as_ref());
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (caller, session) = self.caller(&context)?;
        let version = context.protocol_version();
        let call = CallContext {
            session,
            cancel: context.ct.clone(),
            progress: progress(&context),
            caller,
            client: context
                .client_info()
                .map(|client| Client { name: client.name, version: client.version }),
            protocol_version: version.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        let outcome = self
            .shared
            .toolset
            .call(&request.name, request.arguments.unwrap_or_default(), call)
            .await
            .map_err(|unknown| {
                ErrorData::invalid_params(
                    unknown.to_string(),
                    Some(json!({ "tool": unknown.name })),
                )
            })?;
        let mut result = match outcome {
            Ok(reply) => success(reply, version.as_ref()),
            Err(error) => failure(&error),
        };
        result.meta = self.meta(version.as_ref());
        Ok(result.into())
    }

    /// A request whose method or parameters the SDK could not place: says which of the two it was.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let method: String = request.method.chars().take(100).collect();
        let stateless = context.protocol_version().as_ref().is_some_and(is_stateless);
        let known = METHODS.contains(&method.as_str())
            || (!stateless && OLDER_METHODS.contains(&method.as_str()));
        if known {
            return Err(ErrorData::invalid_params(
                malformed(&method, request.params.as_ref()),
                None,
            ));
        }
        Err(unknown_method(&method, stateless))
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        older_era(&context, "prompts/list").map(|()| ListPromptsResult::default())
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        older_era(&context, "resources/list").map(|()| ListResourcesResult::default())
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        older_era(&context, "resources/templates/list")
            .map(|()| ListResourceTemplatesResult::default())
    }

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        older_era(&context, "completion/complete").map(|()| CompleteResult::default())
    }

    async fn on_initialized(&self, _context: NotificationContext<RoleServer>) {
        tracing::debug!("client initialized");
    }
}

/// Lets a method through that is not declared and that only clients of the older era ask for all the same.
fn older_era(context: &RequestContext<RoleServer>, method: &str) -> Result<(), ErrorData> {
    if context.protocol_version().as_ref().is_some_and(is_stateless) {
        return Err(unknown_method(method, true));
    }
    Ok(())
}

fn unknown_method(method: &str, stateless: bool) -> ErrorData {
    let older = if stateless { &[] } else { OLDER_METHODS };
    let known: Vec<&str> = METHODS.iter().chain(older).copied().collect();
    let message = format!("unknown method `{method}`; this server answers {}", known.join(", "));
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None)
}

fn is_stateless(version: &ProtocolVersion) -> bool {
    version.as_str() >= ProtocolVersion::V_2026_07_28.as_str()
}

fn wire_tool(tool: &Tool) -> WireTool {
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

fn progress(context: &RequestContext<RoleServer>) -> Progress {
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

fn success(reply: Reply, version: Option<&ProtocolVersion>) -> CallToolResult {
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

fn failure(error: &ToolError) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(error.text())])
}

fn malformed(method: &str, params: Option<&Value>) -> String {
    let Some(params) = params else {
        return format!("`{method}` needs params, and there are none");
    };
    let Some(params) = params.as_object() else {
        return format!("the params of `{method}` must be an object");
    };
    if method == "tools/call" {
        match params.get("name") {
            None => return "the params of `tools/call` need `name`, a string".to_owned(),
            Some(name) if !name.is_string() => {
                return "`params.name` of `tools/call` must be a string".to_owned();
            }
            Some(_) => {}
        }
        if params.get("arguments").is_some_and(|arguments| !arguments.is_object()) {
            return "`params.arguments` of `tools/call` must be an object".to_owned();
        }
    }
    format!("the params of `{method}` are malformed: a member is missing or has the wrong type")
}
