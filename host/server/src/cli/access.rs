//! How commands reach the tools: by an engine of their own on the data directory, or through the server that holds it.
//! Both ways take and give the same values, so no command knows which it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, ClientCapabilities, ClientConfig, Implementation};
use rmcp::service::{RunningService, ServiceError};
use rmcp::{RoleClient, ServiceExt};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::CommandError;
use super::exit::Exit;
use crate::config::Config;
use crate::local_socket::{self, Presence};
use crate::mcp::tool::Client;
use crate::mcp::toolset::CallContext;
use crate::server::{Core, ServeError, Unfinished, canonical};

/// Whether a command works on files here, so that a server with other roots cannot do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It only asks.
    Store,
    /// Its paths begin at the roots.
    Roots,
}

/// A way to the tools.
pub(super) enum Access {
    /// An engine of our own.
    Own { core: Box<Core>, name: String },
    /// The server that holds the data directory.
    Server { client: RunningService<RoleClient, ClientConfig> },
}

/// A call that was refused or failed, in the tool's words.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct CallError {
    /// For people: message, problems, hint.
    text: String,
    /// How the process ends because of it.
    pub(super) exit: Exit,
}

impl CallError {
    /// Takes a tool's error text apart: `code: message`, problems, `hint:`, `next:`.
    fn of(text: &str) -> Self {
        let (code, message) = text.split_once(": ").unwrap_or(("internal", text));
        // The next call is one for MCP clients.
        let lines: Vec<&str> = message.lines().filter(|line| !line.starts_with("next: ")).collect();
        Self { text: lines.join("\n"), exit: Exit::of_error(code) }
    }

    fn internal(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit: Exit::Internal }
    }
}

impl Access {
    /// Opens a way, does the work with it and lets go, however the work ended.
    pub(super) async fn within<T>(
        config: &Config,
        reach: Reach,
        work: impl AsyncFnOnce(&Self) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let access = Self::open(config, reach).await?;
        let outcome = work(&access).await;
        access.close().await;
        outcome
    }

    /// Calls one tool that needs no paths, and nothing else.
    pub(super) async fn call_once<R: DeserializeOwned>(
        config: &Config,
        tool: &'static str,
        arguments: Value,
    ) -> Result<R, CommandError> {
        Self::within(config, Reach::Store, async |access| Ok(access.call(tool, arguments).await?))
            .await
    }

    /// Opens a way: an engine of our own when the data directory is free, else the server that has it.
    async fn open(config: &Config, reach: Reach) -> Result<Self, ServeError> {
        let name = user();
        // A command drives only what it was told to: whatever else is unfinished waits for a server.
        match Core::open(config, Unfinished::Waits).await {
            Ok(core) => Ok(Self::Own { core: Box::new(core), name }),
            Err(ServeError::Held { data_dir, pid, hint }) => {
                through_server(config, reach, name, ServeError::Held { data_dir, pid, hint }).await
            }
            Err(other) => Err(other),
        }
    }

    /// Calls a tool and reads its answer.
    pub(super) async fn call<R: DeserializeOwned>(
        &self,
        tool: &'static str,
        arguments: Value,
    ) -> Result<R, CallError> {
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            _ => Map::new(),
        };
        let answer = match self {
            Self::Own { core, name } => own(core, name, tool, arguments).await?,
            Self::Server { client } => through(client, tool, arguments).await?,
        };
        serde_json::from_value(answer).map_err(|error| {
            CallError::internal(format!("the answer of {tool} cannot be read: {error}"))
        })
    }

    /// Lets go. Unfinished executions go on when the data directory is opened again.
    async fn close(self) {
        match self {
            Self::Own { core, .. } => core.close().await,
            Self::Server { client } => {
                client.cancel().await.ok();
            }
        }
    }
}

async fn own(
    core: &Core,
    name: &str,
    tool: &'static str,
    arguments: Map<String, Value>,
) -> Result<Value, CallError> {
    let context = CallContext {
        client: Some(Client {
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }),
        ..CallContext::local(&core.toolset)
    };
    match Arc::clone(&core.toolset).call(tool, arguments, context).await {
        Ok(Ok(reply)) => Ok(Value::Object(reply.structured)),
        Ok(Err(error)) => Err(CallError::of(&error.text())),
        Err(unknown) => Err(CallError::internal(unknown.to_string())),
    }
}

async fn through(
    client: &RunningService<RoleClient, ClientConfig>,
    tool: &'static str,
    arguments: Map<String, Value>,
) -> Result<Value, CallError> {
    let call = CallToolRequestParams::new(tool).with_arguments(arguments);
    let result = client.call_tool(call).await.map_err(|error| match error {
        // It offers less than this command needs, or has had enough of us.
        ServiceError::McpError(refused) => {
            CallError::internal(format!("the server refuses: {}", refused.message))
        }
        other => CallError::internal(format!("the server does not answer: {other}")),
    })?;
    if result.is_error == Some(true) {
        let texts: Vec<&str> = result
            .content
            .iter()
            .filter_map(|block| Some(block.as_text()?.text.as_str()))
            .collect();
        return Err(CallError::of(&texts.join("\n")));
    }
    result
        .structured_content
        .ok_or_else(|| CallError::internal(format!("the answer of {tool} has no content")))
}

async fn through_server(
    config: &Config,
    reach: Reach,
    name: String,
    held: ServeError,
) -> Result<Access, ServeError> {
    // Whoever has the directory may just be starting or ending.
    const PATIENCE: Duration = Duration::from_secs(3);
    let ServeError::Held { data_dir, pid, hint } = held else { return Err(held) };
    let Some(presence) = local_socket::presence(&config.data_dir) else {
        let hint = "another command works there; wait for its end, or use another --data-dir";
        return Err(ServeError::Held { data_dir, pid, hint: hint.to_owned() });
    };
    if reach == Reach::Roots && presence.roots != canonical(&config.roots) {
        let hint = other_roots(&presence);
        return Err(ServeError::Held { data_dir, pid, hint });
    }
    let connecting = async {
        let stream = local_socket::connect(&config.data_dir).await.ok()?;
        let identity = Implementation::new(name, env!("CARGO_PKG_VERSION"));
        let client = ClientConfig::new(ClientCapabilities::default(), identity);
        client.serve(stream.into_split()).await.ok()
    };
    match tokio::time::timeout(PATIENCE, connecting).await {
        Ok(Some(client)) => Ok(Access::Server { client }),
        _ => Err(ServeError::Held { data_dir, pid, hint }),
    }
}

fn other_roots(presence: &Presence) -> String {
    let roots: Vec<String> =
        presence.roots.iter().map(|root: &PathBuf| format!("`{}`", root.display())).collect();
    format!(
        "that server works on {}, and paths would mean something else there; use another --data-dir, or run this there",
        roots.join(", ")
    )
}

/// Returns who types, for the record.
pub(super) fn user() -> String {
    ["LOGNAME", "USER"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
        .unwrap_or_else(|| "cli".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_error_is_told_without_its_code_and_its_next_call() {
        let error = CallError::of(
            "unknown_workflow: there is no workflow `x`\n- one\nhint: did you mean `y`?\nnext: list_workflows {}",
        );

        assert_eq!(error.to_string(), "there is no workflow `x`\n- one\nhint: did you mean `y`?");
        assert_eq!(error.exit, Exit::NotFound);
    }
}
