//! What an author writes: a workflow and its steps. This is a stored contract: fields are added, never changed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::id::{PluginName, StepId, WorkflowId};
use crate::task::{CommandSpec, FailureClass, HttpSpec, Probe, Strategy, ToolSpec};
use crate::workflow::{ReviewRules, StepMap};

/// Where a definition stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefinitionStatus {
    /// Being written: it cannot be executed.
    Draft,
    /// It can be executed.
    #[default]
    Active,
    /// Kept for its history: it cannot be executed.
    Archived,
}

impl DefinitionStatus {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            DefinitionStatus::Draft => "draft",
            DefinitionStatus::Active => "active",
            DefinitionStatus::Archived => "archived",
        }
    }
}

/// What a step is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepType {
    /// Something is built or changed.
    Development,
    /// Something is put together with something else.
    Integration,
    /// Something is tried.
    Validation,
    /// Something is brought to where it runs.
    Deployment,
}

impl StepType {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            StepType::Development => "development",
            StepType::Integration => "integration",
            StepType::Validation => "validation",
            StepType::Deployment => "deployment",
        }
    }
}

/// What a failed step means for the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nothing new begins; what runs may end; the execution fails.
    #[default]
    Stop,
    /// Dependents run as if it had completed; the execution can still complete.
    Continue,
    /// Dependents are skipped, everything else goes on; the execution fails at its end.
    SkipDependents,
}

/// What a validator's own breakdown (timeout, trap) means for the gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnValidatorError {
    /// The gate stays closed: the step fails.
    #[default]
    Block,
    /// The gate opens with a warning on record.
    Warn,
}

/// When and how often a failed attempt is repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first included: 1 to 100.
    pub attempts: u32,
    /// Pause before the second attempt, in milliseconds.
    pub initial_ms: u64,
    /// By how much each pause is longer than the one before it: 1.0 to 10.0.
    pub factor: f64,
    /// The longest pause, in milliseconds.
    pub max_ms: u64,
    /// Whether the pause is drawn between zero and its length, so that many do not return at once.
    pub jitter: bool,
    /// Which failures are repeated.
    pub on: Vec<FailureClass>,
}

impl Default for RetryPolicy {
    /// Three attempts for failures that may go away by themselves; a failing exit code or gate is final.
    fn default() -> Self {
        RetryPolicy {
            attempts: 3,
            initial_ms: 1_000,
            factor: 2.0,
            max_ms: 60_000,
            jitter: true,
            on: vec![FailureClass::Transient],
        }
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// Runs a program on each target machine.
    Command(CommandSpec),
    /// Sends one HTTP request from each target machine.
    Http(HttpSpec),
    /// Calls a tool of another MCP server.
    Tool(ToolSpec),
    /// Applies a pattern to a component.
    Pattern {
        /// The pattern.
        pattern: PluginName,
        /// A registered component or a path.
        target: String,
        /// The pattern's parameters.
        #[serde(default)]
        parameters: Map<String, Value>,
        /// Whether only to plan.
        #[serde(default)]
        dry_run: bool,
        /// Whether edits that somebody should look at are applied too.
        #[serde(default)]
        allow_review_edits: bool,
    },
    /// Runs another workflow to its end.
    Workflow {
        /// The workflow; a template.
        workflow_id: String,
        /// The revision; the newest active one when there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u32>,
        /// Its parameters.
        #[serde(default)]
        parameters: Map<String, Value>,
    },
    /// Somebody does the work and reports it.
    Manual {
        /// What to do.
        #[serde(default)]
        instructions: String,
    },
}

impl Default for Action {
    fn default() -> Self {
        Action::Manual { instructions: String::new() }
    }
}

impl Action {
    /// Returns the word used in documents.
    pub fn as_str(&self) -> &'static str {
        match self {
            Action::Command(_) => "command",
            Action::Http(_) => "http",
            Action::Tool(_) => "tool",
            Action::Pattern { .. } => "pattern",
            Action::Workflow { .. } => "workflow",
            Action::Manual { .. } => "manual",
        }
    }

    /// The kinds that exist.
    pub const KINDS: [&'static str; 6] =
        ["command", "http", "tool", "pattern", "workflow", "manual"];
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its id, unique in the definition.
    pub id: StepId,
    /// A few words.
    pub name: String,
    /// What it is for.
    #[serde(rename = "type")]
    pub step_type: StepType,
    /// The validator of the enforcement gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<PluginName>,
    /// That validator's parameters; strings in them are templates.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub enforcement_parameters: Map<String, Value>,
    /// The validator of the validation gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<PluginName>,
    /// That validator's parameters; strings in them are templates.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub validation_parameters: Map<String, Value>,
    /// Steps that must have ended before this one begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<StepId>,
    /// Where it runs; empty means the execution's machines, or this machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_machines: Vec<String>,
    /// How long it should take, in minutes; advisory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_duration: Option<u32>,
    /// Values that templates of this step see as `step.parameters`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// What it does.
    #[serde(default)]
    pub action: Action,
    /// A list; the action is performed once for each of its items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<StepMap>,
    /// Facts fetched for its gates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
    /// A condition; when it is false the step is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// When a failed attempt is repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// How long one run on one machine may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// How long its work may wait for a place on a machine, in seconds; nothing means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout_s: Option<u64>,
    /// How long the whole step may take, in seconds: every attempt, pause, gate and wait for somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_timeout_s: Option<u64>,
    /// How long its work may be silent where it heartbeats, in seconds. Machines whose work does not heartbeat take no
    /// notice: on the local machine the process itself is the sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_timeout_s: Option<u64>,
    /// Who reviews its gates, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewRules>,
    /// How it spreads over its machines.
    #[serde(default)]
    pub strategy: Strategy,
    /// What its failure means for the rest.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// What a validator's breakdown means for its gates.
    #[serde(default)]
    pub on_validator_error: OnValidatorError,
    /// Whether it may run again when a crash left its outcome unknown.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub idempotent: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_yes(value: &bool) -> bool {
    *value
}

impl Step {
    /// Builds a manual step without gates; every other field has its default.
    pub fn new(id: StepId, step_type: StepType) -> Self {
        Step {
            name: id.to_string(),
            id,
            step_type,
            enforcement: None,
            enforcement_parameters: Map::new(),
            validation: None,
            validation_parameters: Map::new(),
            dependencies: Vec::new(),
            target_machines: Vec::new(),
            estimated_duration: None,
            parameters: Map::new(),
            action: Action::default(),
            map: None,
            probes: Vec::new(),
            when: None,
            retry: None,
            timeout_s: None,
            queue_timeout_s: None,
            total_timeout_s: None,
            heartbeat_timeout_s: None,
            review: None,
            strategy: Strategy::default(),
            on_failure: OnFailure::default(),
            on_validator_error: OnValidatorError::default(),
            idempotent: true,
        }
    }
}

/// A workflow as its author wrote it, at one revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkflowDefinition {
    /// Its name.
    pub workflow_id: WorkflowId,
    /// Which revision this is, from 1.
    pub revision: u32,
    /// A few words.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The pattern of the ecosystem that it follows; a label.
    #[serde(default)]
    pub pattern: String,
    /// Its steps, in the order written.
    pub steps: Vec<Step>,
    /// When the first revision was made.
    pub created_at: Timestamp,
    /// When this revision was made.
    pub updated_at: Timestamp,
    /// Who made this revision.
    #[serde(default)]
    pub created_by: String,
    /// Whether it can be executed.
    pub status: DefinitionStatus,
    /// JSON Schema of the parameters that an execution takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_schema: Option<Value>,
    /// Anything else that its author wants to keep.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}
