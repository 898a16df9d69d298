//! The tools: each translates typed arguments into one use case of the engine and its answer into the guide's words.
//! No rule lives here.

pub(crate) mod answer;
pub mod backup;
pub mod execution;
pub mod export;
mod failure;
pub mod import;
pub mod monitoring;
mod paging;
pub mod pattern;
pub mod status;
pub mod step;
pub mod task;
mod wait;
pub mod workflow;

use std::sync::Arc;
use std::sync::OnceLock;

use caelum_engine::Engine;

use super::tool::{Call, Tool};
use crate::listen::Gauges;

pub use answer::NextCall;

/// What a model reads about the server as a whole.
pub const INSTRUCTIONS: &str = "\
Caelum workflow orchestration: workflows whose quality gates are real. A step is done when a validator has judged its \
evidence, not when somebody says so; an improvement pattern inspects a component and proposes an exact, reversible change.

The usual way:
1. list_validators and list_patterns show validators and patterns; names in a workflow must be among them.
2. create_workflow keeps a definition; every fault of it is named at once. update_workflow changes it, archive_workflow \
puts it aside.
3. execute_workflow starts it and answers an execution_id at once.
4. get_workflow_status with wait_s: 30 and wait_until: \"settled\" waits until it ends or needs somebody. `waiting_for` \
says who must do what until when and gives the exact next call: complete_step for work, review_step for reviews (one step, \
a wave, or all at once). `failure` says what \
went wrong, root cause first. Do not poll faster than poll_after_ms.
5. control_execution pauses, resumes, cancels or retries; export_workflow_data keeps the record.

Patterns by themselves: validate_pattern_application looks, apply_pattern with dry_run: true shows the diff and gives a \
plan_id, apply_pattern with that plan_id applies exactly it, revert_pattern_application takes it back. \
list_pattern_applications shows what has drifted since.
Commands on machines: list_machines, distribute_task, then get_task_status, then aggregate_task_results; cancel_task ends \
them.
When something is odd: get_system_health. Every error says what was wrong, what would be right, and the next call.";

/// What tools need besides the engine. Shared by all of them.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The use cases.
    pub engine: Engine,
    /// How busy the front door is; set once the port is open, and never where there is none.
    pub gauges: Arc<OnceLock<Gauges>>,
}

impl Tools {
    /// Builds the tools over an engine, without a front door so far.
    pub fn new(engine: Engine) -> Self {
        Self { engine, gauges: Arc::default() }
    }

    /// Returns every tool.
    pub fn all(&self) -> Vec<Tool> {
        let mut tools = Vec::new();
        tools.extend(workflow::tools(self));
        tools.extend(execution::tools(self));
        tools.extend(step::tools(self));
        tools.extend(pattern::tools(self));
        tools.extend(task::tools(self));
        tools.extend(monitoring::tools(self));
        tools.extend(export::tools(self));
        tools.extend(import::tools(self));
        tools.extend(backup::tools(self));
        tools
    }
}

/// Returns who acts: the name given, or the client's own, or the kind of caller.
fn actor(given: Option<&String>, call: &Call) -> String {
    crate::document::filled(given)
        .map(str::to_owned)
        .or_else(|| call.client.as_ref().map(|client| client.name.clone()))
        .filter(|name| !name.trim().is_empty())
        .unwrap_or_else(|| "mcp".to_owned())
}
