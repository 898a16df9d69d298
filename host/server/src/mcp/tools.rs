//! The tools: each translates typed arguments into one use case of the engine and its answer into the guide's words.
//! No rule lives here.

pub(crate) mod answer;
pub mod backup;
pub mod execution;
pub mod export;
mod failure;
pub mod import;
mod instructions;
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

use super::groups::Group;
use super::tool::{Call, Tool};
use crate::audit::Audit;
use crate::listen::Gauges;

pub use answer::NextCall;
pub use instructions::instructions;

/// What tools need besides the engine. Shared by all of them.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The use cases.
    pub engine: Engine,
    /// How busy the front door is; set once the port is open, and never where there is none.
    pub gauges: Arc<OnceLock<Gauges>>,
    /// The log of calls, whose troubles are the server's.
    pub audit: Audit,
}

impl Tools {
    /// Builds the tools over an engine, without a front door so far.
    pub fn new(engine: Engine, audit: Audit) -> Self {
        Self { engine, gauges: Arc::default(), audit }
    }

    /// Returns every tool.
    pub fn all(&self) -> Vec<Tool> {
        let rooms = [
            (Group::Workflows, workflow::tools(self)),
            (Group::Workflows, execution::tools(self)),
            (Group::Workflows, step::tools(self)),
            (Group::Patterns, pattern::tools(self)),
            (Group::Tasks, task::tools(self)),
            (Group::Monitoring, monitoring::tools(self)),
            (Group::Monitoring, export::tools(self)),
            (Group::Workflows, import::tools(self)),
            (Group::Monitoring, backup::tools(self)),
        ];
        let of =
            |(group, tools): (Group, Vec<Tool>)| tools.into_iter().map(move |tool| tool.of(group));
        rooms.into_iter().flat_map(of).collect()
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
