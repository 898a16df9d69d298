//! Tasks: what to run on one machine, and how work spreads over machines. Nothing here runs anything.

mod group;
mod http;
mod spec;
mod strategy;

pub use group::{GroupTally, Merged, SameOutput, fold};
pub use http::{HTTP_METHODS, HttpExpect, HttpSpec, holds};
pub use spec::{
    CommandSpec, FailureClass, IdempotencyKey, OutcomeStatus, Output, Probe, ProbeKind,
    TaskFailure, TaskOutcome, TaskSpec, ToolSpec, Work,
};
pub use strategy::{GroupEnd, Strategy, StrategyPlan, TargetView, plan_targets};
