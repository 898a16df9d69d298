//! The executions that an execution runs as its steps: which, where they stand, and what they wait for.

use caelum_core::id::ExecutionId;
use caelum_core::workflow::Execution;
use caelum_engine::Engine;
use caelum_engine::request::Snapshot;

use super::waiting::waiting;
use super::{ChildView, WaitingView};

/// How many children are shown.
pub(super) const CHILDREN_MAX: usize = 50;

/// How deep children of children are looked at for what they wait for; no workflow may be deeper by default.
const DEPTH_MAX: usize = 8;

/// How many things that children wait for are collected.
const WAITING_MAX: usize = 200;

/// The children of an execution.
#[derive(Debug, Default)]
pub(super) struct Family {
    /// Those of present attempts, each with its step.
    pub(super) children: Vec<(usize, ExecutionId)>,
    /// Where the open ones stand, by the position in `children`.
    statuses: Vec<Option<&'static str>>,
    /// What they and their own children wait for.
    pub(super) waiting: Vec<WaitingView>,
}

impl Family {
    pub(super) fn of(engine: &Engine, snapshot: &Snapshot) -> Self {
        let execution = &*snapshot.execution;
        let children = engine.children(execution);
        let mut family = Self { statuses: Vec::new(), waiting: Vec::new(), children };
        for (step, id) in &family.children {
            let child = match execution.step(*step).is_final() {
                true => None,
                false => engine.live(id),
            };
            family.statuses.push(child.as_ref().map(|child| child.execution.status().as_str()));
            if let Some(child) = child {
                collect(engine, &child.execution, DEPTH_MAX, &mut family.waiting);
            }
        }
        family
    }

    /// Returns the child that a step runs; none for a step that goes over a list and runs many.
    pub(super) fn of_step(&self, execution: &Execution, index: usize) -> Option<String> {
        if execution.step(index).targets.is_mapped() {
            return None;
        }
        let child = self.children.iter().find(|(step, _)| *step == index);
        child.map(|(_, id)| id.to_string())
    }

    /// Shows the children, open ones first.
    pub(super) fn views(&self, execution: &Execution) -> Vec<ChildView> {
        let view = |((step, id), status): (&(usize, ExecutionId), &Option<&str>)| ChildView {
            step_id: execution.definition().steps[*step].id.to_string(),
            execution_id: id.to_string(),
            status: status.map(str::to_owned),
        };
        let mut views: Vec<ChildView> =
            self.children.iter().zip(&self.statuses).map(view).collect();
        views.sort_by_key(|child| child.status.is_none());
        views.truncate(CHILDREN_MAX);
        views
    }
}

/// Collects what an open execution and its children wait for.
fn collect(engine: &Engine, child: &Execution, depth: usize, found: &mut Vec<WaitingView>) {
    for step in child.open_steps() {
        if found.len() >= WAITING_MAX {
            return;
        }
        found.extend(
            waiting(child, step).map(|waiting| WaitingView {
                execution_id: Some(child.id().to_string()),
                ..waiting
            }),
        );
    }
    if depth == 0 {
        return;
    }
    for (step, id) in engine.children(child) {
        let live = if child.step(step).is_final() { None } else { engine.live(&id) };
        if let Some(grandchild) = live {
            collect(engine, &grandchild.execution, depth - 1, found);
        }
    }
}
