//! Calls tools of other MCP servers, each reached over one connection that is kept and shared.
//!
//! - A server is started, or connected to, when it is first needed, and again when its connection has ended.
//! - At most [`MachineOptions::tool_calls_at_once_max`] calls run on one server at once; more wait in order.
//! - Every wait has an end: for the connection, for a place and for the answer. A server that was silent for the whole
//!   time of a call is left behind, and the next call finds a fresh one.
//! - Environment and headers of servers are in no outcome and in no log.
//!
//! This module knows no retries.

mod connection;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use caelum_core::clock::{Clock, Timestamp};
use caelum_core::near::did_you_mean;
use caelum_core::task::{
    FailureClass, OutcomeStatus, TaskFailure, TaskOutcome, TaskSpec, ToolSpec,
};
use rmcp::ServiceError;
use rmcp::model::{CallToolRequestParams, CallToolResult, ContentBlock, ErrorCode};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::capture::Streams;
use crate::options::MachineOptions;
use crate::outputs;

use connection::Connections;
pub use server::ToolServer;

/// Calls tools from this machine.
#[derive(Debug)]
pub(crate) struct Tools {
    servers: BTreeMap<String, Connections>,
    options: MachineOptions,
    clock: Arc<dyn Clock>,
}

impl Tools {
    pub(crate) fn new(
        servers: BTreeMap<String, ToolServer>,
        options: MachineOptions,
        client: reqwest::Client,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let servers = servers
            .into_iter()
            .map(|(name, server)| {
                let connections = Connections::new(name.clone(), server, options, client.clone());
                (name, connections)
            })
            .collect();
        Tools { servers, options, clock }
    }

    /// Calls a task's tool and reports the answer. Never fails: what goes wrong is in the outcome.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future tells the server that nobody waits any more; it may have done the work.
    pub(crate) async fn run(
        &self,
        spec: &TaskSpec,
        tool: &ToolSpec,
        streams: &Streams,
        cancel: &CancellationToken,
    ) -> TaskOutcome {
        let started_at = self.clock.now();
        let Some(server) = self.servers.get(&tool.server) else {
            return TaskOutcome::not_started(started_at, self.unknown(&tool.server));
        };
        let limit = Duration::from_millis(spec.run_timeout_ms);
        let called = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                let message = "was broken off because somebody cancelled; the server may have done it";
                Err((OutcomeStatus::Cancelled, failure(FailureClass::Permanent, "cancelled", message)))
            }
            called = tokio::time::timeout(limit, call(server, tool)) => called.unwrap_or_else(|_| {
                // Whatever keeps it silent, the next call does not wait for it.
                server.leave_behind();
                let name = &tool.server;
                let message =
                    format!("`{}` of `{name}` gave no answer within {} ms", tool.tool, limit.as_millis());
                Err((OutcomeStatus::TimedOut, failure(FailureClass::Transient, "run_timeout", message)))
            }),
        };
        let (status, outputs, failure) = match called {
            Ok(result) => self.judged(tool, &result, streams),
            Err((status, failure)) => (status, Map::new(), Some(failure)),
        };
        self.outcome(started_at, (status, outputs, failure), streams)
    }

    fn outcome(
        &self,
        started_at: Timestamp,
        (status, outputs, failure): (OutcomeStatus, Map<String, Value>, Option<TaskFailure>),
        streams: &Streams,
    ) -> TaskOutcome {
        TaskOutcome {
            status,
            exit_code: None,
            signal: None,
            started_at,
            ended_at: self.clock.now(),
            stdout: streams.stdout().output(),
            stderr: streams.stderr().output(),
            outputs,
            collected: Vec::new(),
            failure,
        }
    }

    /// Reads an answer: its text is the output, its structured content the outputs.
    fn judged(
        &self,
        tool: &ToolSpec,
        result: &CallToolResult,
        streams: &Streams,
    ) -> (OutcomeStatus, Map<String, Value>, Option<TaskFailure>) {
        for block in &result.content {
            let text = match block {
                ContentBlock::Text(text) => text.text.as_str(),
                ContentBlock::Image(_) => "(an image, left out)",
                ContentBlock::Audio(_) => "(a sound, left out)",
                _ => "(a resource, left out)",
            };
            streams.stdout().push(text.as_bytes());
            streams.stdout().push(b"\n");
        }
        if result.is_error == Some(true) {
            let said = first_text(result).unwrap_or("it did not say why");
            let message = format!("`{}` of `{}` failed: {said}", tool.tool, tool.server);
            let failure = failure(FailureClass::Exit, "tool_failed", message);
            return (OutcomeStatus::Failed, Map::new(), Some(failure));
        }
        let outputs = match &result.structured_content {
            Some(Value::Object(outputs)) => outputs.clone(),
            Some(Value::Null) | None => {
                let line = streams.stdout().last_object();
                outputs::from_line(line.as_deref())
            }
            Some(other) => Map::from_iter([("result".to_owned(), other.clone())]),
        };
        let bytes = serde_json::to_string(&outputs).map_or(0, |text| text.len());
        let bytes_max = self.options.outputs_bytes_max;
        if bytes > bytes_max {
            let message =
                format!("`{}` answered {bytes} bytes; outputs may have {bytes_max}", tool.tool);
            let failure = failure(FailureClass::Permanent, "outputs_invalid", message);
            return (OutcomeStatus::Failed, Map::new(), Some(failure));
        }
        (OutcomeStatus::Succeeded, outputs, None)
    }

    fn unknown(&self, name: &str) -> TaskFailure {
        let hint = did_you_mean(name, self.servers.keys().map(String::as_str));
        let none = || "name it in the configuration, under `tool_servers`".to_owned();
        TaskFailure {
            hint: Some(hint.unwrap_or_else(none)),
            ..failure(
                FailureClass::Permanent,
                "tool_server_unknown",
                format!("no tool server is called `{name}`"),
            )
        }
    }
}

async fn call(
    server: &Connections,
    tool: &ToolSpec,
) -> Result<CallToolResult, (OutcomeStatus, TaskFailure)> {
    let _place = server.place().await;
    let connection =
        server.connect().await.map_err(|failure| (OutcomeStatus::NotStarted, failure))?;
    let mut params = CallToolRequestParams::new(tool.tool.clone());
    params.arguments = (!tool.arguments.is_empty()).then(|| tool.arguments.clone());
    connection.call_tool(params).await.map_err(|error| {
        let failure = refused(tool, &error);
        if failure.class == FailureClass::Transient {
            server.leave_behind();
        }
        (OutcomeStatus::Failed, failure)
    })
}

/// Says why there is no result.
fn refused(tool: &ToolSpec, error: &ServiceError) -> TaskFailure {
    let (name, server) = (&tool.tool, &tool.server);
    match error {
        ServiceError::McpError(error) => {
            let wrong = matches!(
                error.code,
                ErrorCode::INVALID_PARAMS
                    | ErrorCode::METHOD_NOT_FOUND
                    | ErrorCode::INVALID_REQUEST
            );
            let class = if wrong { FailureClass::Permanent } else { FailureClass::Exit };
            let message = format!("`{server}` refused `{name}`: {}", shortened(&error.message));
            failure(class, "tool_refused", message)
        }
        ServiceError::UnexpectedResponse | ServiceError::InputRequiredRoundsExceeded { .. } => {
            let message = format!("`{server}` answered `{name}` with something that is no result");
            failure(FailureClass::Permanent, "tool_protocol", message)
        }
        other => {
            let message = format!("`{server}` went away during `{name}`: {other}");
            failure(FailureClass::Transient, "tool_server_died", message)
        }
    }
}

fn first_text(result: &CallToolResult) -> Option<&str> {
    result.content.iter().find_map(|block| match block {
        ContentBlock::Text(text) if !text.text.trim().is_empty() => {
            Some(shortened(text.text.trim()))
        }
        _ => None,
    })
}

fn shortened(text: &str) -> &str {
    const SHOWN_MAX: usize = 500;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

pub(crate) fn failure(class: FailureClass, code: &str, message: impl Into<String>) -> TaskFailure {
    TaskFailure { class, code: code.to_owned(), message: message.into(), hint: None }
}
