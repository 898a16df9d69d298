//! Work for many machines without a workflow: a task group is an execution of a definition with one step, so it has
//! the same durability, retries, control and recovery.

use std::sync::Arc;

use caelum_core::id::{MachineId, StepId};
use caelum_core::task::fold;
use caelum_core::workflow::command::Control;
use caelum_core::workflow::{
    Action, DefinitionStatus, Started, Step, StepType, TargetPhase, WorkflowDefinition,
    check_definition, resolve,
};
use caelum_machines::{MachineInfo, OutputSoFar};
use caelum_store::ExecutionKind;
use serde_json::Map;

use crate::drive::mail::Ask;
use crate::engine::Engine;
use crate::error::{EngineError, Mistake};
use crate::idempotency::Keyed;
use crate::request::{Aggregate, NewTask, Patience, Snapshot, TASK_GROUP_PREFIX};

/// The id of the one step of a task group.
const TASK_STEP: &str = "task";

impl Engine {
    /// Distributes a task over machines. It is on disk when this returns.
    ///
    /// # Errors
    ///
    /// Unknown machines, or a command that breaks a rule, all named.
    pub async fn distribute_task(&self, mut new: NewTask) -> Result<Snapshot, EngineError> {
        let key = new.idempotency_key.take();
        let keyed = Keyed::of("distribute_task", key, &new)?;
        if let Some(answer) = self.answered(keyed.as_ref()).await? {
            return self.started_before(&answer).await;
        }
        resolve(&new.target_machines, &self.0.machine_views()).map_err(unknown_machine)?;
        let now = self.now();
        let mut step = Step::new(task_step(), StepType::Deployment);
        step.name.clone_from(&new.name);
        step.action = Action::Command(new.command);
        step.target_machines.clone_from(&new.target_machines);
        step.strategy = new.strategy;
        step.timeout_s = new.timeout_s;
        step.retry = new.retry;
        step.idempotent = new.idempotent;
        let definition = WorkflowDefinition {
            workflow_id: format!("{TASK_GROUP_PREFIX}{TASK_STEP}").parse().expect("a legal name"),
            revision: 1,
            name: new.name,
            description: String::new(),
            pattern: String::new(),
            steps: vec![step],
            created_at: now,
            updated_at: now,
            created_by: new.by.clone(),
            status: DefinitionStatus::Active,
            parameters_schema: None,
            metadata: Map::new(),
        };
        let violations = check_definition(&definition, &[], self.rules());
        if !violations.is_empty() {
            return Err(Mistake::new("invalid_task", "the task breaks rules")
                .details(
                    violations
                        .iter()
                        .map(|violation| {
                            violation.to_string().replacen("/steps/0/action", "/task_definition", 1)
                        })
                        .collect(),
                )
                .into());
        }
        let started = Started {
            workflow_id: definition.workflow_id.clone(),
            revision: 1,
            parameters: Map::new(),
            target_machines: new.target_machines,
            plugins: Vec::new(),
            by: new.by,
            parent: None,
        };
        self.start(ExecutionKind::TaskGroup, Arc::new(definition), started, keyed).await
    }

    /// Returns a task group by its id, or by the id of one of its tasks with that task's machine.
    ///
    /// # Errors
    ///
    /// No group or task of that name.
    pub async fn task(
        &self,
        id: &str,
        patience: Patience,
    ) -> Result<(Snapshot, Option<MachineId>), EngineError> {
        let (group, machine) = match id.split_once(':') {
            Some((group, machine)) => (group, Some(machine)),
            None => (id, None),
        };
        let unknown = || -> EngineError {
            Mistake::new("unknown_task", format!("there is no task `{id}`"))
                .hint("distribute_task answers the id of the group and of each task")
                .into()
        };
        let snapshot = self.execution(group, patience).await.map_err(|error| match error {
            EngineError::Mistake(_) => unknown(),
            other => other,
        })?;
        if !snapshot.execution.head().workflow_id.as_str().starts_with(TASK_GROUP_PREFIX) {
            return Err(Mistake::new("not_a_task", format!("`{id}` is an execution, not a task"))
                .hint("use get_workflow_status and control_execution for executions")
                .into());
        }
        let Some(machine) = machine else { return Ok((snapshot, None)) };
        let known = snapshot
            .execution
            .step(0)
            .targets
            .iter()
            .find(|target| target.machine.as_str() == machine)
            .map(|target| target.machine.clone())
            .ok_or_else(unknown)?;
        Ok((snapshot, Some(known)))
    }

    /// Asks for the end of a task group, or of one of its tasks while the others go on; what runs is ended with its whole
    /// process group. That it was asked for is on disk when this returns. Asking for the end of what has ended is no
    /// mistake.
    ///
    /// # Errors
    ///
    /// No group or task of that name.
    pub async fn cancel_task(
        &self,
        id: &str,
        by: String,
        reason: String,
    ) -> Result<(Snapshot, Option<MachineId>), EngineError> {
        let (snapshot, machine) = self.task(id, Patience::default()).await?;
        let execution = &snapshot.execution;
        if execution.head().end.is_some() || execution.head().cancel.is_some() {
            return Ok((snapshot, machine));
        }
        // The last task that is wanted at all stands for its group, which is then cancelled and has not failed.
        let others = |wanted: &MachineId| {
            execution.step(0).targets.iter().any(|target| {
                target.machine != *wanted
                    && !matches!(target.phase, TargetPhase::Cancelled | TargetPhase::GivenUp)
            })
        };
        let ask = match &machine {
            Some(machine) if others(machine) => Ask::CancelTarget {
                step: TASK_STEP.to_owned(),
                machine: machine.clone(),
                by,
                reason,
            },
            _ => Ask::Control(Control::Cancel, by, reason),
        };
        match self.ask(execution.id(), ask).await {
            Ok(snapshot) => Ok((snapshot, machine)),
            // It ended while it was being asked.
            Err(EngineError::Mistake(mistake)) if mistake.code == "execution_ended" => {
                self.task(id, Patience::default()).await
            }
            Err(other) => Err(other),
        }
    }

    /// Returns machines: all of them, or those that a name, `any`, `all` or `label:key=value` stands for.
    ///
    /// # Errors
    ///
    /// Names the machines near to one that does not exist.
    pub fn machines(&self, selector: Option<&str>) -> Result<Vec<MachineInfo>, EngineError> {
        let mut machines = self.0.fabric.machines();
        if let Some(selector) = selector {
            let found = resolve(&[selector.to_owned()], &self.0.machine_views())
                .map_err(unknown_machine)?;
            let wanted: Vec<MachineId> =
                found.iter().filter_map(|machine| self.0.fabric.canonical(machine)).collect();
            machines.retain(|machine| wanted.contains(&machine.id));
        }
        Ok(machines)
    }

    /// Folds the results of a task group.
    ///
    /// # Errors
    ///
    /// No group of that name.
    pub async fn aggregate(&self, task_group_id: &str) -> Result<Aggregate, EngineError> {
        if task_group_id.contains(':') {
            let (group, _) = task_group_id.split_once(':').unwrap_or((task_group_id, ""));
            return Err(Mistake::new("not_a_group", format!("`{task_group_id}` is one task"))
                .hint(format!("its group is `{group}`"))
                .into());
        }
        let (snapshot, _) = self.task(task_group_id, Patience::default()).await?;
        let targets = &snapshot.execution.step(0).targets;
        let tally = fold(targets.iter().map(|target| (&target.machine, target.outcome.as_deref())));
        Ok(Aggregate { snapshot, tally })
    }

    /// Returns what the running work of a step on a machine has written so far.
    pub fn output_so_far(
        &self,
        snapshot: &Snapshot,
        step: usize,
        machine: &MachineId,
    ) -> Option<OutputSoFar> {
        let key = caelum_core::task::IdempotencyKey {
            execution: snapshot.execution.id().clone(),
            step: snapshot.execution.definition().steps.get(step)?.id.clone(),
            machine: machine.clone(),
            item: None,
        };
        self.0.fabric.output_so_far(&key)
    }
}

fn unknown_machine(problem: String) -> Mistake {
    Mistake::new("unknown_machine", problem)
        .hint("list_machines shows the machines; `local` is this one")
}

fn task_step() -> StepId {
    TASK_STEP.parse().expect("a legal name")
}
