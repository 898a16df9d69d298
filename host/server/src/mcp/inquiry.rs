//! Asks tools on behalf of a client, for what is not itself a tool call: resources, prompts, completions, tasks. The
//! same rules hold as for the client's own calls: its scope, its places, the schema.

use std::sync::Arc;

use rmcp::model::ErrorData;
use serde_json::{Map, Value, json};

use super::error::{Fault, ToolError};
use super::tool::Reply;
use super::toolset::{CallContext, Toolset};
use crate::trust::Scope;

/// A client's request, as far as the tools behind the answer care.
#[derive(Debug, Clone)]
pub(super) struct Inquiry {
    toolset: Arc<Toolset>,
    context: CallContext,
}

impl Inquiry {
    /// Asks in the name of whoever `context` is about.
    pub(super) fn new(toolset: Arc<Toolset>, context: CallContext) -> Self {
        Self { toolset, context }
    }

    /// Returns the tools that are asked.
    pub(super) fn toolset(&self) -> &Arc<Toolset> {
        &self.toolset
    }

    /// Returns the client's name of itself.
    pub(super) fn client_name(&self) -> Option<&str> {
        self.context.client.as_ref().map(|client| client.name.as_str())
    }

    /// Returns what the transport proved of the client, to bind things to it.
    pub(super) fn identity(&self) -> String {
        format!("{:?}", self.context.caller)
    }

    /// Says whether the client may change something here.
    pub(super) fn may_write(&self) -> bool {
        self.context.caller.may(Scope::Write) && !self.toolset.is_read_only()
    }

    /// Says whether this server has such a tool.
    pub(super) fn has(&self, tool: &str) -> bool {
        self.toolset.tool(tool).is_some()
    }

    /// Asks one tool.
    ///
    /// # Errors
    ///
    /// The tool's own; a tool that this server does not offer is one more of them.
    pub(super) async fn ask(&self, tool: &str, arguments: Value) -> Result<Reply, ToolError> {
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            _ => Map::new(),
        };
        match self.toolset.call_behind(tool, arguments, self.context.clone()).await {
            Ok(outcome) => outcome,
            Err(unknown) => Err(ToolError::new("not_offered", unknown.to_string())),
        }
    }
}

/// Returns a list of objects out of an answer.
pub(super) fn rows<'a>(
    reply: &'a Reply,
    list: &str,
) -> impl Iterator<Item = &'a Map<String, Value>> {
    reply
        .structured
        .get(list)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
}

/// Returns a text out of an object, or an empty one.
pub(super) fn text<'a>(row: &'a Map<String, Value>, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Turns a tool's error into one of the protocol, for requests that have no other; `about` names what was asked for.
pub(super) fn protocol_error(error: &ToolError, about: &str) -> ErrorData {
    let data = Some(json!({ "code": error.code(), "about": about }));
    match error.fault() {
        Fault::Caller => ErrorData::invalid_params(error.text(), data),
        Fault::Plugin | Fault::Server => ErrorData::internal_error(error.text(), data),
    }
}
