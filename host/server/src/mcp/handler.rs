//! Speaks MCP for a tool set, in both eras of the protocol: with `initialize` (2024-11-05 to 2025-11-25) and without
//! (2026-07-28). It translates and holds no rules of its own; the framing of bytes is the transports' business.

use std::sync::Arc;

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams,
    CompleteResult, ContentBlock, CreateTaskResult, CustomRequest, CustomResult, ErrorData,
    GetPromptRequestParams, GetPromptResponse, GetTaskParams, GetTaskResult,
    InitializeRequestParams, InitializeResult, JsonObject, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, MetaObject,
    PaginatedRequestParams, PromptsCapability, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResponse, ResourcesCapability, ServerCapabilities, ServerConfig,
    SubscribeRequestParams, SubscriptionFilter, Tool as WireTool, ToolsCapability,
    UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Value, json};

use super::apps;
use super::inquiry::Inquiry;
use super::reviews::{self, Asked, Reviews};
use super::session::{Admission, Session};
use super::subscriptions::{self, WATCHED_MAX, Watched};
use super::tool::{Client, Reply};
use super::toolset::{CallContext, Toolset};
use super::wire::{
    Answers, failure, implementation, is_newer_era, misplaced, one_page, progress, success,
    unknown_method, wire_tool,
};
use super::{completions, prompts, resources, tasks};
use crate::trust::{Caller, Scope};

/// The name this server gives of itself.
pub const SERVER_NAME: &str = "caelum-workflow-orchestration";

/// How long a client may keep the lists of tools and templates, in milliseconds: they change only with the binary, and
/// five minutes bound how long a client shows an old one after an upgrade.
const LIST_TTL_MS: u64 = 5 * 60 * 1000;

/// The key under which a result of the 2026-07-28 protocol names the server.
const SERVER_INFO_KEY: &str = "io.modelcontextprotocol/serverInfo";

/// Everything that does not change between two calls, built once.
#[derive(Debug)]
struct Shared {
    toolset: Arc<Toolset>,
    catalogue: Vec<(Scope, WireTool)>,
    info: ServerConfig,
    server_info: Value,
    reviews: Reviews,
    #[cfg(feature = "conformance")]
    fixtures: super::fixtures::Fixtures,
}

/// Where the handler learns who calls.
#[derive(Debug, Clone)]
enum Link {
    /// One connection, one caller: stdio, TCP, WebSocket.
    Connection(Caller, Session),
    /// Each HTTP request carries its [`Caller`] and [`Session`] among its extensions.
    Request,
}

/// The protocol handler of one connection, one HTTP session or one HTTP request; cloning costs three reference counts.
#[derive(Debug, Clone)]
pub struct Handler {
    shared: Arc<Shared>,
    link: Link,
    watched: Arc<Watched>,
}

impl Handler {
    /// Builds the handler that HTTP requests share; each must carry its [`Caller`] and [`Session`] as extensions, and
    /// one that does not is refused.
    pub fn new(toolset: Arc<Toolset>) -> Self {
        let mut catalogue: Vec<(Scope, WireTool)> =
            toolset.tools(Scope::Admin).map(|tool| (tool.scope, wire_tool(tool))).collect();
        let server = implementation();
        let server_info = serde_json::to_value(&server).unwrap_or_default();
        let mut capabilities = capabilities(&toolset);
        #[cfg(feature = "conformance")]
        let fixtures = {
            let fixtures = super::fixtures::Fixtures::new(toolset.notices().clone());
            super::fixtures::Fixtures::declare(&mut capabilities);
            catalogue.extend(fixtures.tools().into_iter().map(|tool| (Scope::Read, tool)));
            fixtures
        };
        // Clients cache by the order of the list.
        catalogue.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
        capabilities.tools.get_or_insert_default();
        let mut info = ServerConfig::new(capabilities);
        info.protocol_version = ProtocolVersion::LATEST_WITH_INITIALIZE;
        info.server_info = server;
        info.instructions = Some(toolset.instructions().to_owned()).filter(|text| !text.is_empty());
        Self {
            shared: Arc::new(Shared {
                toolset,
                catalogue,
                info,
                server_info,
                reviews: Reviews::default(),
                #[cfg(feature = "conformance")]
                fixtures,
            }),
            link: Link::Request,
            watched: Arc::default(),
        }
    }

    /// Returns the handler of one connection, whose caller and share are known.
    #[must_use]
    pub fn for_connection(&self, caller: Caller, session: Session) -> Self {
        Self { link: Link::Connection(caller, session), ..self.for_session() }
    }

    /// Returns the handler of one HTTP session, or of one request that has none: what it watches is its own.
    #[must_use]
    pub fn for_session(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), link: self.link.clone(), watched: Arc::default() }
    }

    /// Returns the tool set behind the handler.
    pub fn toolset(&self) -> &Arc<Toolset> {
        &self.shared.toolset
    }

    /// Returns the gate of this connection's requests; HTTP requests have passed theirs before they come here.
    pub(crate) fn admission(&self) -> Option<Admission> {
        match &self.link {
            Link::Connection(caller, session) => {
                Some(Admission::new(Arc::clone(&self.shared.toolset), session.clone(), *caller))
            }
            Link::Request => None,
        }
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

    fn call_context(
        &self,
        method: &'static str,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallContext, ErrorData> {
        let (caller, session) = self.caller(context)?;
        let version = context.protocol_version();
        Ok(CallContext {
            session,
            cancel: context.ct.clone(),
            progress: progress(context),
            caller,
            client: context
                .client_info()
                .map(|client| Client { name: client.name, version: client.version }),
            protocol_version: version.as_ref().map(ToString::to_string).unwrap_or_default(),
            method,
            request: Some(context.id.to_string()),
        })
    }

    fn inquiry(
        &self,
        method: &'static str,
        context: &RequestContext<RoleServer>,
    ) -> Result<Inquiry, ErrorData> {
        Ok(Inquiry::new(Arc::clone(&self.shared.toolset), self.call_context(method, context)?))
    }

    /// Says whether there are views and the client shows them.
    fn shows_views(&self, context: &RequestContext<RoleServer>) -> bool {
        apps::offered(&self.shared.toolset) && apps::shown_by(context)
    }

    fn meta(&self, context: &RequestContext<RoleServer>) -> Option<MetaObject> {
        if !is_newer_era(context) {
            return None;
        }
        let mut meta = JsonObject::new();
        meta.insert(SERVER_INFO_KEY.to_owned(), self.shared.server_info.clone());
        Some(MetaObject(meta))
    }

    /// Lets a method of what only an engine makes possible through. Without one it is not declared, and only clients of
    /// the older era, which ask all the same and show their users an error when nobody answers, get an empty answer.
    fn has_engine(
        &self,
        context: &RequestContext<RoleServer>,
        method: &str,
    ) -> Result<bool, ErrorData> {
        let has_engine = self.shared.toolset.has_engine();
        if !has_engine && is_newer_era(context) {
            return Err(self.unknown_method(method, context));
        }
        Ok(has_engine)
    }

    fn answers(&self, context: &RequestContext<RoleServer>) -> Answers {
        Answers { newer_era: is_newer_era(context), has_engine: self.shared.toolset.has_engine() }
    }

    fn unknown_method(&self, method: &str, context: &RequestContext<RoleServer>) -> ErrorData {
        unknown_method(method, self.answers(context))
    }

    /// Lets a method of the newer era through; one of the older era never heard of tasks that it could follow.
    fn newer_era(
        &self,
        context: &RequestContext<RoleServer>,
        method: &str,
    ) -> Result<(), ErrorData> {
        if is_newer_era(context) {
            return Ok(());
        }
        Err(self.unknown_method(method, context))
    }

    /// Says whether a resource can be watched: its address is one.
    fn is_watchable(&self, uri: &str) -> Result<(), ErrorData> {
        #[cfg(feature = "conformance")]
        if self.shared.fixtures.has_resource(uri) {
            return Ok(());
        }
        match uri.parse::<resources::Address>() {
            Ok(_) => Ok(()),
            Err(reason) => Err(resources::not_found(uri, &reason)),
        }
    }

    async fn call(
        &self,
        request: &CallToolRequestParams,
        inquiry: &Inquiry,
        context: &RequestContext<RoleServer>,
    ) -> Result<Result<Reply, CallToolResponse>, ErrorData> {
        let arguments = request.arguments.clone().unwrap_or_default();
        let call = self.call_context("tools/call", context)?;
        let outcome = inquiry.toolset().call(&request.name, arguments, call).await;
        let outcome = outcome.map_err(|unknown| {
            ErrorData::invalid_params(unknown.to_string(), Some(json!({ "tool": unknown.name })))
        })?;
        Ok(outcome.map_err(|error| {
            let mut result = failure(&error);
            result.meta = self.meta(context);
            result.into()
        }))
    }
}

/// Returns what the server can do.
fn capabilities(toolset: &Toolset) -> ServerCapabilities {
    let mut capabilities = ServerCapabilities::default();
    capabilities.tools = Some(ToolsCapability::default());
    if toolset.has_engine() {
        let mut resources = ResourcesCapability::default();
        resources.subscribe = Some(true);
        resources.list_changed = Some(true);
        capabilities.resources = Some(resources);
        capabilities.prompts = Some(PromptsCapability::default());
        capabilities.completions = Some(JsonObject::new());
        let tasks = ServerCapabilities::builder().enable_tasks().build();
        let mut extensions = tasks.extensions.unwrap_or_default();
        if apps::offered(toolset) {
            apps::declare(&mut extensions);
        }
        capabilities.extensions = Some(extensions);
    }
    capabilities
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

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let mut result = self.negotiate_initialize(&request)?;
        let extensions = result.capabilities.extensions.take();
        result.capabilities.extensions = apps::of_older_era(&request.capabilities, extensions);
        Ok(result)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        one_page(request.as_ref())?;
        let (caller, _) = self.caller(&context)?;
        let shows = self.shows_views(&context);
        let tools = self.shared.catalogue.iter().filter(|(scope, _)| caller.may(*scope)).map(
            |(_, tool)| {
                let mut tool = tool.clone();
                if shows {
                    apps::refer(&mut tool);
                }
                tool
            },
        );
        let mut result = ListToolsResult::with_all_items(tools.collect());
        result.ttl_ms = Some(LIST_TTL_MS);
        // What is listed depends on the caller's scope.
        result.cache_scope = Some(CacheScope::Private);
        result.meta = self.meta(&context);
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        #[cfg(feature = "conformance")]
        if let Some(called) = self.shared.fixtures.call(&request, &context).await {
            return called;
        }
        let inquiry = self.inquiry("tools/call", &context)?;
        let asks = reviews::can_ask(&context) && reviews::asks(&request, &inquiry);
        let mut notes = Vec::new();
        if asks {
            notes.extend(self.shared.reviews.answered(&inquiry, &request).await?);
        }
        let mut reply = match self.call(&request, &inquiry, &context).await? {
            Ok(reply) => reply,
            Err(failed) => return Ok(failed),
        };
        let rounds = if asks { self.shared.reviews.rounds_max() } else { 0 };
        for _ in 0..rounds {
            match self.shared.reviews.ask(&inquiry, &request, &reply, &context).await {
                Asked::Nothing => break,
                Asked::Needed(needed) => {
                    return Ok((*needed).with_meta(self.meta(&context).unwrap_or_default()).into());
                }
                Asked::Answered(problem) => {
                    notes.extend(problem);
                    reply = match self.call(&request, &inquiry, &context).await? {
                        Ok(reply) => reply,
                        Err(failed) => return Ok(failed),
                    };
                }
            }
        }
        if tasks::knows_tasks(&context)
            && self.shared.toolset.has_engine()
            && let Some(task) =
                tasks::begun(&inquiry, &request.name, &reply, reviews::can_ask(&context)).await
        {
            let created = CreateTaskResult::new(task);
            return Ok(created.with_meta(self.meta(&context).unwrap_or_default()).into());
        }
        let mut result = success(reply, context.protocol_version().as_ref());
        for note in notes {
            result.content.push(ContentBlock::text(format!("the review was not taken: {note}")));
        }
        result.meta = self.meta(&context);
        Ok(result.into())
    }

    /// A request whose method or parameters the SDK could not place: says which of the two it was.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        Err(misplaced(&request.method, request.params.as_ref(), self.answers(&context)))
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        if !self.has_engine(&context, "prompts/list")? {
            return Ok(ListPromptsResult::default());
        }
        one_page(request.as_ref())?;
        let mut result = prompts::list(self.shared.toolset.groups());
        #[cfg(feature = "conformance")]
        result.prompts.extend(self.shared.fixtures.prompts());
        result.meta = self.meta(&context);
        Ok(result)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        #[cfg(feature = "conformance")]
        if let Some(rendered) = self.shared.fixtures.prompt(&request) {
            return rendered;
        }
        if !self.shared.toolset.has_engine() {
            return Err(self.unknown_method("prompts/get", &context));
        }
        let inquiry = self.inquiry("prompts/get", &context)?;
        let arguments = request.arguments.unwrap_or_default();
        let mut result = prompts::get(&inquiry, &request.name, &arguments).await?;
        result.meta = self.meta(&context);
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        if !self.has_engine(&context, "resources/list")? {
            return Ok(ListResourcesResult::default());
        }
        let cursor = request.and_then(|request| request.cursor);
        let mut result =
            resources::list(&self.inquiry("resources/list", &context)?, cursor.as_deref()).await?;
        if cursor.is_none() && self.shows_views(&context) {
            result.resources.extend(apps::resources());
        }
        #[cfg(feature = "conformance")]
        if cursor.is_none() {
            result.resources.extend(self.shared.fixtures.resources());
        }
        result.meta = self.meta(&context);
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        if !self.has_engine(&context, "resources/templates/list")? {
            return Ok(ListResourceTemplatesResult::default());
        }
        one_page(request.as_ref())?;
        let mut result = ListResourceTemplatesResult::with_all_items(resources::templates(
            self.shared.toolset.groups(),
        ));
        #[cfg(feature = "conformance")]
        result.resource_templates.extend(self.shared.fixtures.templates());
        result.ttl_ms = Some(LIST_TTL_MS);
        result.cache_scope = Some(CacheScope::Public);
        result.meta = self.meta(&context);
        Ok(result)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        #[cfg(feature = "conformance")]
        if let Some(read) = self.shared.fixtures.read(&request.uri) {
            return read.map(Into::into);
        }
        if !self.shared.toolset.has_engine() {
            return Err(self.unknown_method("resources/read", &context));
        }
        let view = apps::read(&request.uri).filter(|_| apps::offered(&self.shared.toolset));
        let mut result = match view {
            Some(view) => view,
            None => {
                resources::read(&self.inquiry("resources/read", &context)?, &request.uri).await?
            }
        };
        result.meta = self.meta(&context);
        Ok(result.into())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if !self.shared.toolset.has_engine() {
            return Err(self.unknown_method("resources/subscribe", &context));
        }
        self.is_watchable(&request.uri)?;
        self.watched.add(request.uri)?;
        self.watched.tell(context.peer, self.shared.toolset.sources());
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if !self.shared.toolset.has_engine() {
            return Err(self.unknown_method("resources/unsubscribe", &context));
        }
        self.is_watchable(&request.uri)?;
        self.watched.remove(&request.uri);
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        if !self.shared.toolset.has_engine() {
            return None;
        }
        let mut accepted = requested.clone();
        accepted.resource_subscriptions = requested.resource_subscriptions.as_ref().map(|uris| {
            let watchable = uris.iter().filter(|uri| self.is_watchable(uri).is_ok());
            watchable.take(WATCHED_MAX).cloned().collect()
        });
        Some(accepted)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let toolset = &self.shared.toolset;
        subscriptions::listen(context, toolset.sources(), toolset.closing().clone()).await;
        Ok(())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        if !self.has_engine(&context, "completion/complete")? {
            return Ok(CompleteResult::default());
        }
        #[cfg(feature = "conformance")]
        if self.shared.fixtures.offers(&request.r#ref) {
            return Ok(CompleteResult::default());
        }
        let mut result =
            completions::complete(&self.inquiry("completion/complete", &context)?, &request)
                .await?;
        result.meta = self.meta(&context);
        Ok(result)
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.newer_era(&context, "tasks/get")?;
        #[cfg(feature = "conformance")]
        if let Ok(task) = self.shared.fixtures.jobs().get_task(&request.task_id) {
            return Ok(GetTaskResult::new(task));
        }
        let inquiry = self.inquiry("tasks/get", &context)?;
        let declined = self.shared.reviews.declined();
        let asks = reviews::can_ask(&context);
        let task = tasks::get(&inquiry, &request.task_id, asks, declined).await?;
        let mut result = GetTaskResult::new(task);
        result.meta = self.meta(&context);
        Ok(result)
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.newer_era(&context, "tasks/update")?;
        #[cfg(feature = "conformance")]
        if self.shared.fixtures.jobs().get_task(&request.task_id).is_ok() {
            return self
                .shared
                .fixtures
                .jobs()
                .update_task(&request.task_id, request.input_responses);
        }
        let inquiry = self.inquiry("tasks/update", &context)?;
        let declined = self.shared.reviews.declined();
        tasks::update(&inquiry, &request.task_id, &request.input_responses, declined).await
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.newer_era(&context, "tasks/cancel")?;
        #[cfg(feature = "conformance")]
        if self.shared.fixtures.jobs().get_task(&request.task_id).is_ok() {
            return self.shared.fixtures.jobs().cancel_task(&request.task_id);
        }
        tasks::cancel(&self.inquiry("tasks/cancel", &context)?, &request.task_id).await
    }

    #[cfg(feature = "conformance")]
    #[expect(deprecated, reason = "the suite still tests what the protocol has deprecated")]
    async fn set_level(
        &self,
        _request: rmcp::model::SetLevelRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if is_newer_era(&context) {
            return Err(self.unknown_method("logging/setLevel", &context));
        }
        Ok(())
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        tracing::debug!("client initialized");
        if self.shared.toolset.has_engine() {
            self.watched.tell(context.peer, self.shared.toolset.sources());
        }
    }
}
