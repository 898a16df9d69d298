//! How the engine's errors become those of tools: three origins, kept apart to the end.

use caelum_core::causes::chain;
use caelum_core::plugin::PluginFailure;
use caelum_engine::{EngineError, Mistake};
use caelum_store::StoreError;

use super::super::error::ToolError;

/// Turns an engine's error into the caller's.
pub(super) fn refuse(error: EngineError) -> ToolError {
    match error {
        EngineError::Mistake(mistake) => mistaken(mistake),
        EngineError::Plugin { plugin, failure } => plugin_failed(&plugin, failure),
        EngineError::Store(StoreError::Full { .. }) => for_the_operator("store_full", &error),
        EngineError::Store(StoreError::ReadOnly { .. }) => {
            for_the_operator("store_read_only", &error)
        }
        EngineError::Store(source) => ToolError::internal("use its store", source),
        EngineError::Internal { context, source } => {
            let doing =
                context.strip_prefix("failed to ").unwrap_or("do what was asked").to_owned();
            ToolError::internal(doing, InContext { context, source })
        }
        EngineError::Stopping => ToolError::new("stopping", "the server is stopping")
            .hint("call again when it is back; nothing was done"),
        other => ToolError::internal("do what was asked", other),
    }
}

/// Tells what only whoever runs the server can mend: with the path, and with what to do.
fn for_the_operator(code: &'static str, error: &EngineError) -> ToolError {
    tracing::warn!(error = %chain(error), "the store cannot be written");
    let text = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match text.split_once("; hint: ") {
        Some((message, hint)) => ToolError::new(code, message).hint(hint),
        None => ToolError::new(code, text),
    }
}

fn mistaken(mistake: Mistake) -> ToolError {
    let Mistake { code, message, details, hint } = mistake;
    let mut error = ToolError::new(code, message).problems(details);
    if let Some(hint) = hint {
        error = error.hint(hint);
    }
    match code {
        "unknown_workflow" | "unknown_revision" => error.next_call("list_workflows {}"),
        "unknown_execution" | "execution_id" => error.next_call("list_executions {}"),
        "unknown_pattern" => error.next_call("list_patterns {}"),
        "unknown_plugin" => {
            error.next_call("list_patterns {\"kind\": \"all\", \"include_refused\": true}")
        }
        "unknown_machine" => error.next_call("list_machines {}"),
        "unknown_application" => error.next_call("list_pattern_applications {}"),
        _ => error,
    }
}

fn plugin_failed(plugin: &str, failure: PluginFailure) -> ToolError {
    match failure {
        PluginFailure::InvalidParameters(problems) => ToolError::new(
            "invalid_parameters",
            format!("the parameters do not fit plugin `{plugin}`"),
        )
        .problems(problems.iter().map(|problem| {
            let pointer = if problem.pointer.is_empty() { "/" } else { &problem.pointer };
            format!("/parameters{pointer}: {}", problem.message)
                .replace("/parameters/:", "/parameters:")
        }))
        .hint("list_patterns shows the schema of its parameters")
        .next_call("list_patterns {\"kind\": \"all\"}"),
        PluginFailure::NotApplicable(message) => {
            ToolError::new("not_applicable", format!("plugin `{plugin}`: {message}"))
        }
        failure @ (PluginFailure::Own(_) | PluginFailure::Host(_)) => ToolError::plugin(
            "plugin_failed",
            format!("plugin `{plugin}` {failure}"),
        )
        .hint(
            "this is a fault of the plugin, not of the call; get_system_health shows how it fares",
        ),
    }
}

/// A cause together with what was being done.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
struct InContext {
    context: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}
