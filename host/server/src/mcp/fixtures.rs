//! The fixtures of the official conformance suite: the tools, resources and prompts that its scenarios call by name, so
//! that the transports, the handler and the framing of the real program are what is tested. Built only with the feature
//! `conformance`; no product behavior lives here.

mod asking;
mod catalogue;
mod jobs;
mod papers;
mod plain;
mod rounds;

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ErrorData, GetPromptRequestParams, GetPromptResponse,
    Prompt, ReadResourceResult, Reference, RequestStateCodec, Resource, ResourceTemplate,
    ServerCapabilities, Tool,
};
use rmcp::service::RequestContext;
use rmcp::task_manager::TaskManager;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::subscriptions::{Notice, Notices};

/// Everything the suite finds beside the product.
pub(super) struct Fixtures {
    jobs: TaskManager,
    codec: RequestStateCodec,
    notices: Notices,
}

impl std::fmt::Debug for Fixtures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fixtures").finish_non_exhaustive()
    }
}

/// What a call of a fixture comes to.
type Called = Result<CallToolResponse, ErrorData>;

impl Fixtures {
    /// Builds the fixtures; the triggers among them speak through `notices`.
    pub(super) fn new(notices: Notices) -> Self {
        let mut key = uuid::Uuid::new_v4().into_bytes().to_vec();
        key.extend(uuid::Uuid::new_v4().into_bytes());
        Self {
            jobs: TaskManager::new(),
            codec: RequestStateCodec::try_new(key).expect("a key of 32 bytes is long enough"),
            notices,
        }
    }

    /// Adds what only the fixtures can do to what the server says it can do.
    pub(super) fn declare(capabilities: &mut ServerCapabilities) {
        capabilities.logging = Some(serde_json::Map::new());
        if let Some(tools) = &mut capabilities.tools {
            tools.list_changed = Some(true);
        }
        if let Some(prompts) = &mut capabilities.prompts {
            prompts.list_changed = Some(true);
        }
    }

    /// Returns the tools as clients see them.
    pub(super) fn tools(&self) -> Vec<Tool> {
        catalogue::tools()
    }

    /// Calls a fixture; nothing when the name is none of theirs.
    pub(super) async fn call(
        &self,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Option<Called> {
        match &*request.name {
            "test_trigger_tool_change" => {
                self.notices.send(Notice::Tools);
                return Some(plain::said("the tool list was said to have changed"));
            }
            "test_trigger_prompt_change" => {
                self.notices.send(Notice::Prompts);
                return Some(plain::said("the prompt list was said to have changed"));
            }
            _ => {}
        }
        if let Some(called) = plain::call(request, context).await {
            return Some(called);
        }
        if let Some(called) = asking::call(request, context).await {
            return Some(called);
        }
        if let Some(called) = rounds::call(&self.codec, request, context) {
            return Some(called);
        }
        jobs::call(&self.jobs, request, context).await
    }

    /// Returns the tasks that fixtures run.
    pub(super) fn jobs(&self) -> &TaskManager {
        &self.jobs
    }

    /// Returns the resources.
    pub(super) fn resources(&self) -> Vec<Resource> {
        papers::resources()
    }

    /// Returns the resource templates.
    pub(super) fn templates(&self) -> Vec<ResourceTemplate> {
        papers::templates()
    }

    /// Says whether a resource is one of the fixtures.
    pub(super) fn has_resource(&self, uri: &str) -> bool {
        papers::read(uri).is_some()
    }

    /// Reads a resource; nothing when it is none of theirs.
    pub(super) fn read(&self, uri: &str) -> Option<Result<ReadResourceResult, ErrorData>> {
        papers::read(uri)
    }

    /// Returns the prompts.
    pub(super) fn prompts(&self) -> Vec<Prompt> {
        papers::prompts()
    }

    /// Says whether a prompt or a template is one of the fixtures.
    pub(super) fn offers(&self, reference: &Reference) -> bool {
        match reference {
            Reference::Prompt(prompt) => self.prompts().iter().any(|one| one.name == prompt.name),
            Reference::Resource(template) => {
                self.templates().iter().any(|one| one.uri_template == template.uri)
            }
            _ => false,
        }
    }

    /// Renders a prompt; nothing when it is none of theirs.
    pub(super) fn prompt(
        &self,
        request: &GetPromptRequestParams,
    ) -> Option<Result<GetPromptResponse, ErrorData>> {
        papers::prompt(request)
    }
}

/// Reads what the suite wants from its JSON.
fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| {
        ErrorData::internal_error(format!("a fixture does not follow the protocol: {error}"), None)
    })
}
