//! Workflows: definitions with their rules, executions and their state machine.
//!
//! Two doors lead into the state machine: [`Execution::apply`] folds a stored [`Event`] into the state, and [`next`]
//! says what should be done now. [`command`] turns what callers ask for into events, or refuses with the reason.

pub mod command;
mod definition;
mod event;
mod execution;
mod graph;
mod map;
mod next;
mod outcome;
mod recovery;
mod review;
mod rules;
mod step_state;
mod target;
mod targets;
mod template;
mod transition;

pub use definition::{
    Action, DefinitionStatus, OnFailure, OnValidatorError, RetryPolicy, Step, StepType,
    WorkflowDefinition,
};
pub use event::{
    Actor, Event, EventBody, FailureCause, GateKind, GateRecord, ParentStep, SkipReason, Started,
    StepFailure,
};
pub use execution::{Dirty, Execution, ExecutionHead, ExecutionStatus};
pub use graph::Graph;
pub use map::{
    ITEM_NAME, MAP_AT_ONCE_DEFAULT, MAP_AT_ONCE_MAX, MAP_BYTES_MAX, MAP_ITEMS_MAX,
    MAP_OUTPUTS_BYTES_MAX, MAP_TARGETS_MAX, MapError, StepMap,
};
pub use next::{Effect, MachineView, Next, World, advance, next, resolve};
pub use outcome::{ITEMS_OUTPUT, settle};
pub use recovery::{Recovery, recover};
pub use review::{OnReviewTimeout, ReviewRules};
pub use rules::{KnownValidator, RuleLimits, Violation, check_definition};
pub use step_state::{Gate, GateTiming, StepPhase, StepState, StepStatus, WaitingFor};
pub use target::{Item, TargetPhase, TargetState};
pub use targets::{TargetIter, TargetTally, Targets};
pub use template::{
    Scope, TemplateError, render_text, render_texts, render_value, scope, target_scope,
    test_condition,
};
pub use transition::IllegalEvent;
