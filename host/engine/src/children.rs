//! Runs another workflow as a step: a child execution that the step waits for.
//!
//! The child's name follows from execution, step, attempt and item, so that whoever is handed the same work again, after a crash
//! for example, finds the same child. Cancelling the step reaches the child; stopping the engine does not.

use std::time::Duration;

use caelum_core::clock::Timestamp;
use caelum_core::id::ExecutionId;
use caelum_core::task::{FailureClass, OutcomeStatus, Output, TaskFailure, TaskOutcome};
use caelum_core::workflow::command::Control;
use caelum_core::workflow::{
    Action, Execution, ExecutionStatus, ParentStep, Started, TemplateError, render_text,
    render_value,
};
use caelum_store::ExecutionKind;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::drive::Begin;
use crate::engine::Engine;
use crate::error::{EngineError, Mistake};
use crate::executions::check_parameters;
use crate::perform::{Delivery, bad_template};
use crate::request::{NewExecution, Patience, Snapshot};

/// How long one look at a child waits for its end before the next one.
const LOOK: Duration = Duration::from_secs(600);

/// Why the wait for a child is over before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BrokenOff {
    /// Somebody cancelled the step.
    Cancelled,
    /// The step's time is up.
    TimedOut,
}

impl Engine {
    /// Returns the child executions of the present attempts of steps that run other workflows, each with its step. Of a
    /// step that goes over a list only those that are open: there may be thousands.
    pub fn children(&self, parent: &Execution) -> Vec<(usize, ExecutionId)> {
        let mut children = Vec::new();
        for step in (0..parent.steps().len()).filter(|step| parent.runs_child(*step)) {
            let targets = &parent.step(step).targets;
            if targets.is_mapped() {
                children.extend(targets.running().map(|at| (step, child_id(parent, (step, at)))));
            } else if !targets.is_empty() {
                children.push((step, child_id(parent, (step, 0))));
            }
        }
        children
    }

    /// Returns an execution as it is now if it is open here, without waiting for anything.
    pub fn live(&self, id: &ExecutionId) -> Option<Snapshot> {
        self.0.supervisor.handle(id).map(|handle| handle.published.borrow().clone())
    }

    /// Runs the child execution of a step to its end and reports it as the step's outcome; nothing when the engine
    /// stops first.
    pub(crate) async fn run_child(
        &self,
        parent: &Execution,
        delivery: &Delivery,
        cancel: CancellationToken,
    ) -> Option<TaskOutcome> {
        let started_at = self.now();
        let not_started =
            |failure: TaskFailure| Some(TaskOutcome::not_started(started_at, failure));
        let id = child_id(parent, (delivery.step, delivery.target));
        let begun = match self.begin_child(parent, delivery, &id).await {
            Ok(begun) => begun,
            Err(Refused::Template(error)) => return Some(bad_template(&self.0, &error)),
            Err(Refused::Engine(EngineError::Stopping)) => return None,
            Err(Refused::Engine(error)) => return not_started(refusal(&error)),
        };
        let limit = parent.definition().steps[delivery.step].timeout_s.map(Duration::from_secs);
        let limit = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit.saturating_sub(self.age(&begun))).await,
                None => std::future::pending().await,
            }
        };
        let broken_off = tokio::select! {
            biased;
            () = self.0.stop.cancelled() => return None,
            ended = self.end_of(&id) => return Some(self.told(started_at, &id, ended, None)),
            () = cancel.cancelled() => BrokenOff::Cancelled,
            () = limit => BrokenOff::TimedOut,
        };
        if self.0.stop.is_cancelled() {
            return None;
        }
        let by = format!("execution {}", parent.id());
        let why = match broken_off {
            BrokenOff::Cancelled => "the step that runs it was ended",
            BrokenOff::TimedOut => "the step that runs it took too long",
        };
        // What has ended meanwhile needs no end.
        drop(self.control(id.as_str(), Control::Cancel, by, why.to_owned()).await);
        let ended = tokio::select! {
            () = self.0.stop.cancelled() => return None,
            ended = self.end_of(&id) => ended,
        };
        Some(self.told(started_at, &id, ended, Some(broken_off)))
    }

    fn age(&self, child: &Snapshot) -> Duration {
        self.now().since(child.execution.head().started_at)
    }

    /// Starts the child, or finds it when it was started before.
    async fn begin_child(
        &self,
        parent: &Execution,
        delivery: &Delivery,
        id: &ExecutionId,
    ) -> Result<Snapshot, Refused> {
        let stored = self.0.store.load_execution(id).await.map_err(EngineError::Store)?;
        if let Some(execution) = stored {
            if execution.head().end.is_none() {
                self.own(execution, Begin::Found, None)?;
            }
            return Ok(self.execution(id.as_str(), Patience::default()).await?);
        }
        let definition = &parent.definition().steps[delivery.step];
        let Action::Workflow { workflow_id, revision, parameters } = &definition.action else {
            let kind = definition.action.as_str();
            return Err(EngineError::internal("no child to run", format!("a {kind} step")).into());
        };
        let link = ParentStep {
            execution: parent.id().clone(),
            step: definition.id.clone(),
            attempt: delivery.attempt,
            item: delivery.item,
            depth: parent.head().parent.as_ref().map_or(0, |link| link.depth).saturating_add(1),
        };
        let depth_max = self.0.options.workflow_depth_max;
        if link.depth > depth_max {
            return Err(EngineError::from(
                Mistake::new(
                    "workflow_depth",
                    format!("workflows start each other deeper than {depth_max} executions"),
                )
                .hint("look for a workflow that runs itself, directly or through others"),
            )
            .into());
        }
        let scope = delivery.scope(parent);
        let values = render_value(&Value::Object(parameters.clone()), &scope)?;
        let machines = match definition.target_machines.as_slice() {
            [] => parent.head().target_machines.clone(),
            own => own.to_vec(),
        };
        let new = NewExecution {
            workflow_id: render_text(workflow_id, &scope)?,
            revision: *revision,
            parameters: values.as_object().cloned().unwrap_or_default(),
            target_machines: machines,
            by: format!("execution {}", parent.id()),
            idempotency_key: None,
        };
        let child = self.executable(&new).await?;
        let started = Started {
            workflow_id: child.workflow_id.clone(),
            revision: child.revision,
            parameters: check_parameters(&child, &new.parameters)?,
            target_machines: new.target_machines,
            plugins: self.pin(&child)?,
            by: new.by,
            parent: Some(link),
        };
        let kind = (ExecutionKind::Workflow, child);
        Ok(self.start_as(id.clone(), kind, started, None).await?)
    }

    /// Waits until an execution has ended.
    ///
    /// # Errors
    ///
    /// It stands still, or it cannot be read.
    async fn end_of(&self, id: &ExecutionId) -> Result<Snapshot, EngineError> {
        loop {
            // Only its end is news.
            let patience = Patience { wait: LOOK, after_event: Some(u64::MAX) };
            let snapshot = self.execution(id.as_str(), patience).await?;
            if snapshot.execution.head().end.is_some() {
                return Ok(snapshot);
            }
            if let Some(why) = self.0.supervisor.stuck().get(id) {
                let context = format!("child execution `{id}` stands still");
                return Err(EngineError::internal(context, why.clone()));
            }
            self.own(snapshot.execution.as_ref().clone(), Begin::Found, None)?;
        }
    }

    /// Tells how a child ended as the outcome of the step that ran it.
    fn told(
        &self,
        started_at: Timestamp,
        id: &ExecutionId,
        ended: Result<Snapshot, EngineError>,
        broken_off: Option<BrokenOff>,
    ) -> TaskOutcome {
        let child = match ended {
            Ok(snapshot) => snapshot.execution,
            Err(error) => return TaskOutcome::not_started(started_at, refusal(&error)),
        };
        let workflow = &child.head().workflow_id;
        let end = child.status();
        let (status, failure) = match (end, broken_off) {
            (ExecutionStatus::Completed, _) => (OutcomeStatus::Succeeded, None),
            (ExecutionStatus::Failed, _) => {
                let message = format!("execution `{id}` of `{workflow}` failed{}", why(&child));
                (OutcomeStatus::Failed, Some((FailureClass::Exit, "child_failed", message)))
            }
            (_, None) => {
                let message = format!("execution `{id}` of `{workflow}` was cancelled");
                (OutcomeStatus::Failed, Some((FailureClass::Permanent, "child_cancelled", message)))
            }
            (_, Some(BrokenOff::Cancelled)) => {
                let message = format!("execution `{id}` of `{workflow}` was cancelled with it");
                (OutcomeStatus::Cancelled, Some((FailureClass::Permanent, "cancelled", message)))
            }
            (_, Some(BrokenOff::TimedOut)) => {
                let message = format!("execution `{id}` of `{workflow}` took too long");
                (OutcomeStatus::TimedOut, Some((FailureClass::Transient, "run_timeout", message)))
            }
        };
        let failure = failure.map(|(class, code, message)| TaskFailure {
            class,
            code: code.to_owned(),
            message,
            hint: Some(format!("get_workflow_status of `{id}` shows its steps")),
        });
        let text = format!("execution {id} of {workflow} {}\n", end.as_str());
        TaskOutcome {
            status,
            exit_code: None,
            signal: None,
            started_at,
            ended_at: self.now(),
            stdout: Output { total_bytes: text.len() as u64, text, truncated: false },
            stderr: Output::default(),
            outputs: outputs(&child),
            collected: Vec::new(),
            failure,
        }
    }
}

/// Why a child was not started.
enum Refused {
    Template(TemplateError),
    Engine(EngineError),
}

impl From<TemplateError> for Refused {
    fn from(error: TemplateError) -> Self {
        Refused::Template(error)
    }
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        Refused::Engine(error)
    }
}

fn refusal(error: &EngineError) -> TaskFailure {
    match error {
        EngineError::Mistake(mistake) => TaskFailure {
            // Room for one more comes by itself.
            class: match mistake.code {
                "too_many_executions" => FailureClass::Transient,
                _ => FailureClass::Permanent,
            },
            code: mistake.code.to_owned(),
            message: mistake.to_string(),
            hint: mistake.hint.clone(),
        },
        other => TaskFailure {
            class: FailureClass::Transient,
            code: "internal".to_owned(),
            message: other.to_string(),
            hint: None,
        },
    }
}

/// Names the first failed step of a child and its reason.
fn why(child: &Execution) -> String {
    let first = child.failed_steps().min_by_key(|index| child.step(*index).ended_at);
    let Some(index) = first else { return String::new() };
    let reason = child.step(index).failure.as_ref().map(|failure| failure.message.as_str());
    let step = &child.definition().steps[index].id;
    format!(": step `{step}`: {}", reason.unwrap_or("no reason is known"))
}

/// Returns the outputs of a child: those of each of its last steps, by id.
fn outputs(child: &Execution) -> Map<String, Value> {
    let steps = &child.definition().steps;
    (0..steps.len())
        .filter(|index| child.graph().dependents(*index).is_empty())
        .map(|index| {
            (steps[index].id.to_string(), Value::Object(child.step(index).outputs.clone()))
        })
        .collect()
}

/// Names the child of a target's present attempt: the same for every delivery, time-ordered as all names of executions.
fn child_id(parent: &Execution, (step, target): (usize, usize)) -> ExecutionId {
    let state = parent.step(step);
    let began = state.attempt_started_at.unwrap_or(parent.head().started_at);
    let millis = u64::try_from(began.as_micros() / 1_000).unwrap_or_default() & 0xFFFF_FFFF_FFFF;
    let target = &state.targets[target];
    let step = &parent.definition().steps[step].id;
    let mut key = format!("{}/{step}/{}", parent.id(), target.attempt(state.attempt));
    if let Some(item) = target.item_index() {
        key.push_str(&format!("/{item}"));
    }
    let digest = Sha256::digest(key.as_bytes());
    let tail: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("ex_{millis:012x}{tail}").parse().expect("a legal name")
}
