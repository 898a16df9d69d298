//! Workflows: definitions with their rules, executions and their state machine.
//!
//! Two doors lead into the state machine: [`Execution::apply`] folds a stored [`Event`] into the state, and [`next`]
//! says what should be done now. [`command`] turns what callers ask for into events, or refuses with the reason.

pub mod command;
mod definition;
mod event;
mod execution;
mod graph;
mod next;
mod outcome;
mod recovery;
mod review;
mod rules;
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
pub use execution::{
    Dirty, Execution, ExecutionHead, ExecutionStatus, Gate, GateTiming, StepPhase, StepState,
    StepStatus, TargetPhase, TargetState, WaitingFor,
};
pub use graph::Graph;
pub use next::{Effect, MachineView, Next, World, advance, next, resolve};
pub use outcome::settle;
pub use recovery::{Recovery, recover};
pub use review::{OnReviewTimeout, ReviewRules};
pub use rules::{KnownValidator, RuleLimits, Violation, check_definition};
pub use template::{
    Scope, TemplateError, render_text, render_texts, render_value, scope, test_condition,
};
pub use transition::IllegalEvent;
