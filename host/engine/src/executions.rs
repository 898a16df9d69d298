//! Starting, watching and steering executions.

use std::sync::Arc;

use caelum_core::evidence::Review;
use caelum_core::id::{Digest, ExecutionId, MachineId};
use caelum_core::near::did_you_mean;
use caelum_core::plugin::PinnedPlugin;
use caelum_core::workflow::command::Control;
use caelum_core::workflow::{
    Action, DefinitionStatus, Event, EventBody, Execution, ExecutionStatus, GateTiming, Graph,
    Started, WorkflowDefinition, resolve,
};
use caelum_store::{ExecutionKind, StoreError};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::drive::mail::Ask;
use crate::engine::{Engine, plugins_of};
use crate::error::{EngineError, Mistake};
use crate::idempotency::Keyed;
use crate::request::{
    DryRun, DryStep, ExecutionSummary, Listed, NewExecution, PageRequest, Patience, Snapshot,
    StepReport, StepReview,
};
use crate::supervisor::unknown_execution;

/// Reviews that one call may give: more would keep its caller waiting longer than clients wait.
pub const REVIEWS_MAX: usize = 1_000;

impl Engine {
    /// Starts an execution. It is on disk when this returns, so it will run whatever happens.
    ///
    /// # Errors
    ///
    /// An unknown workflow, a draft, parameters that do not fit its schema (all faults at once), a plugin that is not
    /// there, too many open executions.
    pub async fn execute(&self, mut new: NewExecution) -> Result<Snapshot, EngineError> {
        let key = new.idempotency_key.take();
        let keyed = Keyed::of("execute_workflow", key, &new)?;
        if let Some(answer) = self.answered(keyed.as_ref()).await? {
            return self.started_before(&answer).await;
        }
        let definition = self.executable(&new).await?;
        let parameters = check_parameters(&definition, &new.parameters)?;
        let plugins = self.pin(&definition)?;
        let started = Started {
            workflow_id: definition.workflow_id.clone(),
            revision: definition.revision,
            parameters,
            target_machines: new.target_machines.clone(),
            plugins,
            by: new.by.clone(),
            parent: None,
        };
        self.start(ExecutionKind::Workflow, definition, started, keyed).await
    }

    /// Stores the first event of an execution and gives it an owner.
    pub(crate) async fn start(
        &self,
        kind: ExecutionKind,
        definition: Arc<WorkflowDefinition>,
        started: Started,
        keyed: Option<Keyed>,
    ) -> Result<Snapshot, EngineError> {
        let id = new_id(match kind {
            ExecutionKind::Workflow => "ex",
            ExecutionKind::TaskGroup => "tg",
        });
        self.start_as(id, (kind, definition), started, keyed).await
    }

    /// Starts an execution under a name that is known before; there must be none of that name.
    pub(crate) async fn start_as(
        &self,
        id: ExecutionId,
        (kind, definition): (ExecutionKind, Arc<WorkflowDefinition>),
        started: Started,
        keyed: Option<Keyed>,
    ) -> Result<Snapshot, EngineError> {
        let open_max = self.0.options.open_executions_max;
        let Some(counted) = self.0.supervisor.reserve(open_max) else {
            return Err(Mistake::new(
                "too_many_executions",
                format!("{open_max} executions are open already"),
            )
            .hint("wait until some have ended, or cancel some with control_execution")
            .into());
        };
        let graph = Arc::new(Graph::of(&definition.steps));
        let now = self.now();
        let mut execution = Execution::begin(id.clone(), definition, graph, started.clone(), now);
        let event = Event { seq: 0, at: now, body: EventBody::Started(started) };
        let entry =
            keyed.as_ref().map(|keyed| keyed.entry(json!({"execution_id": id.as_str()}), now));
        let created = match caelum_store::NewExecution::of(&mut execution, kind, vec![event]) {
            Ok(row) => self.create(execution, row, entry, counted).await,
            Err(error) => Err(error),
        };
        match created {
            Ok(snapshot) => Ok(snapshot),
            Err(error) => {
                let answer = self.raced(keyed.as_ref(), error)?;
                self.started_before(&answer).await
            }
        }
    }

    /// Returns the execution that the same request started before.
    pub(crate) async fn started_before(&self, answer: &Value) -> Result<Snapshot, EngineError> {
        let id = answer.get("execution_id").and_then(Value::as_str).unwrap_or_default();
        self.execution(id, Patience::default()).await
    }

    pub(crate) async fn executable(
        &self,
        new: &NewExecution,
    ) -> Result<Arc<WorkflowDefinition>, EngineError> {
        let definition = self.workflow(&new.workflow_id, new.revision).await?;
        let hint = match definition.status {
            DefinitionStatus::Active => {
                self.plugins_there(&definition.steps).await;
                return Ok(definition);
            }
            DefinitionStatus::Draft => {
                "update_workflow with status: \"active\" makes it ready to be executed"
            }
            DefinitionStatus::Archived => {
                "archive_workflow with archived: false takes it out of the archive"
            }
        };
        Err(Mistake::new(
            "not_active",
            format!(
                "workflow `{}` is {} and cannot be executed",
                definition.workflow_id,
                definition.status.as_str()
            ),
        )
        .hint(hint)
        .into())
    }

    /// Pins the plugins that a definition names, as they are now.
    pub(crate) fn pin(
        &self,
        definition: &WorkflowDefinition,
    ) -> Result<Vec<PinnedPlugin>, EngineError> {
        let plugins = self.plugins();
        let mut pinned = Vec::new();
        let mut missing = Vec::new();
        for name in plugins_of(&definition.steps) {
            match plugins.plugins.iter().find(|plugin| plugin.pinned.name.as_str() == name) {
                Some(plugin) => pinned.push(plugin.pinned.clone()),
                None => {
                    let known = plugins.plugins.iter().map(|plugin| plugin.pinned.name.as_str());
                    let hint = did_you_mean(&name, known).unwrap_or_default();
                    missing.push(format!("`{name}` is not installed; {hint}"));
                }
            }
        }
        if missing.is_empty() {
            Ok(pinned)
        } else {
            Err(Mistake::new("unknown_plugin", "the workflow names plugins that are not here")
                .details(missing)
                .hint("list_patterns with include_refused shows what is installed and refused")
                .into())
        }
    }

    /// Says what an execution would do, without starting it.
    ///
    /// # Errors
    ///
    /// As [`Engine::execute`] for the workflow itself; everything else is a problem in the answer.
    pub async fn dry_run(&self, new: NewExecution) -> Result<DryRun, EngineError> {
        let definition = self.executable(&new).await?;
        let mut problems = Vec::new();
        if let Err(EngineError::Mistake(mistake)) = check_parameters(&definition, &new.parameters) {
            problems.push(mistake.to_string());
        }
        let plugins = self.pin(&definition).unwrap_or_else(|error| {
            problems.push(error.to_string());
            Vec::new()
        });
        let started = Started {
            workflow_id: definition.workflow_id.clone(),
            revision: definition.revision,
            parameters: new.parameters.clone(),
            target_machines: new.target_machines.clone(),
            plugins,
            by: new.by.clone(),
            parent: None,
        };
        let graph = Arc::new(Graph::of(&definition.steps));
        let execution = Execution::begin(
            new_id("dry"),
            Arc::clone(&definition),
            Arc::clone(&graph),
            started,
            self.now(),
        );
        let machines = self.0.machine_views();
        let mut waves = vec![0; definition.steps.len()];
        let mut steps = Vec::new();
        for index in graph.order().unwrap_or_default() {
            let step = &definition.steps[index];
            let before = graph.dependencies(index).iter().map(|dependency| waves[*dependency] + 1);
            waves[index] = before.max().unwrap_or(0);
            let named = if step.target_machines.is_empty() {
                &new.target_machines
            } else {
                &step.target_machines
            };
            let resolved = match &step.action {
                Action::Command(_) | Action::Http(_) => {
                    resolve(named, &machines).unwrap_or_else(|problem| {
                        problems.push(format!("step `{}`: {problem}", step.id));
                        Vec::new()
                    })
                }
                Action::Tool(_) | Action::Pattern { .. } | Action::Workflow { .. } => {
                    vec![MachineId::local()]
                }
                Action::Manual { .. } => Vec::new(),
            };
            let gate = |timing: GateTiming, word: &str| -> Vec<String> {
                execution
                    .gates(index, timing)
                    .into_iter()
                    .filter_map(|gate| {
                        let validator = execution.validator(index, gate.kind)?;
                        Some(format!("{}: {} ({word})", gate.kind.as_str(), validator.name))
                    })
                    .collect()
            };
            let mut gates = gate(GateTiming::Before, "before");
            gates.extend(gate(GateTiming::After, "after"));
            steps.push(DryStep {
                id: step.id.to_string(),
                action: step.action.as_str(),
                wave: waves[index],
                machines: resolved.iter().map(ToString::to_string).collect(),
                gates,
            });
        }
        Ok(DryRun {
            workflow_id: definition.workflow_id.to_string(),
            revision: definition.revision,
            steps,
            problems,
        })
    }

    /// Returns an execution, at once or as soon as something changed.
    ///
    /// # Errors
    ///
    /// No execution of that name.
    pub async fn execution(&self, id: &str, patience: Patience) -> Result<Snapshot, EngineError> {
        let id: ExecutionId =
            id.parse().map_err(|error| Mistake::new("execution_id", format!("{error}")))?;
        let Some(mut handle) = self.0.supervisor.handle(&id) else {
            let execution = self.load(&id).await?;
            return Ok(Snapshot { execution: Arc::new(execution), at: self.now() });
        };
        let seen =
            patience.after_event.unwrap_or(handle.published.borrow().execution.head().events);
        let news = |snapshot: &Snapshot| {
            let head = snapshot.execution.head();
            head.events > seen || head.end.is_some()
        };
        if !patience.wait.is_zero() {
            // What ends first, the wait or the owner, the answer is what is known then.
            drop(tokio::time::timeout(patience.wait, handle.published.wait_for(news)).await);
        }
        let snapshot = handle.published.borrow().clone();
        Ok(snapshot)
    }

    /// Lists executions, newest first.
    ///
    /// # Errors
    ///
    /// A cursor that was not given by this list.
    pub async fn list_executions(
        &self,
        workflow: Option<&str>,
        status: Option<ExecutionStatus>,
        page: PageRequest,
    ) -> Result<Listed<ExecutionSummary>, EngineError> {
        let workflow_id = match workflow {
            Some(workflow) => Some(
                workflow
                    .parse()
                    .map_err(|error| Mistake::new("workflow_id", format!("{error}")))?,
            ),
            None => None,
        };
        let filter = caelum_store::ExecutionFilter {
            kind: Some(ExecutionKind::Workflow),
            workflow_id,
            status,
        };
        let page = self.0.store.list_executions(&filter, &page.into()).await.map_err(stored)?;
        Ok(Listed {
            items: page
                .items
                .into_iter()
                .map(|row| ExecutionSummary {
                    execution_id: row.id.to_string(),
                    workflow_id: row.workflow_id.to_string(),
                    revision: row.revision,
                    status: row.status,
                    started_at: row.started_at,
                    ended_at: row.ended_at,
                    done: usize::try_from(row.done).unwrap_or(usize::MAX),
                    total: usize::try_from(row.total).unwrap_or(usize::MAX),
                })
                .collect(),
            next_cursor: page.next,
        })
    }

    /// Returns stored events of an execution behind `after` (nothing: from the first), in order.
    ///
    /// # Errors
    ///
    /// No execution of that name.
    pub async fn events(
        &self,
        id: &str,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Event>, EngineError> {
        let id: ExecutionId =
            id.parse().map_err(|error| Mistake::new("execution_id", format!("{error}")))?;
        self.0.store.events(&id, after, limit).await.map_err(|error| match error {
            StoreError::NotFound { .. } => unknown_execution(id.as_str()),
            other => stored(other),
        })
    }

    /// Takes the report of work that was done by hand, or a word about work whose outcome is unknown.
    ///
    /// # Errors
    ///
    /// The step does not wait for it: the message says what it waits for instead.
    pub async fn complete_step(&self, report: StepReport) -> Result<Snapshot, EngineError> {
        let id = self.execution_id(&report.execution_id)?;
        let ask = match report.decision {
            None => Ask::Complete(report.step_id, report.report),
            Some(succeeded) => Ask::Decide {
                step: report.step_id,
                succeeded,
                by: report.report.performer,
                reason: report.report.summary,
            },
        };
        self.ask(&id, ask).await
    }

    /// Takes a review of the gate that a step waits at.
    ///
    /// # Errors
    ///
    /// No gate waits, the reviewer did the work, or a rejection gives no reason.
    pub async fn review_step(&self, review: StepReview) -> Result<Snapshot, EngineError> {
        let id = self.execution_id(&review.execution_id)?;
        if review.reviewer.trim().is_empty() {
            return Err(Mistake::new("reviewer", "`reviewer` is empty")
                .hint("say who reviews: a name that the audit log can show")
                .into());
        }
        let given = Review {
            reviewer: review.reviewer,
            decision: review.decision,
            reason: review.reason,
            // Time and subject are the owner's to fill in.
            at: self.now(),
            subject_digest: Digest::from_bytes(&[0; 32]),
        };
        self.ask(&id, Ask::Review(review.step_id, given)).await
    }

    /// Takes many reviews at once, each with an answer of its own, in the order given.
    ///
    /// # Errors
    ///
    /// More than [`REVIEWS_MAX`] reviews: then none is taken.
    pub async fn review_steps(
        &self,
        reviews: Vec<StepReview>,
    ) -> Result<Vec<Result<Snapshot, EngineError>>, EngineError> {
        let count = reviews.len();
        if count > REVIEWS_MAX {
            return Err(Mistake::new(
                "too_many_reviews",
                format!("{count} reviews at once; at most {REVIEWS_MAX}"),
            )
            .hint("give them in several calls")
            .into());
        }
        let mut taking = JoinSet::new();
        for (place, review) in reviews.into_iter().enumerate() {
            let engine = self.clone();
            taking.spawn(async move { (place, engine.review_step(review).await) });
        }
        let mut answers: Vec<Result<Snapshot, EngineError>> =
            (0..count).map(|_| Err(EngineError::Stopping)).collect();
        while let Some(taken) = taking.join_next().await {
            match taken {
                Ok((place, answer)) => answers[place] = answer,
                Err(broken) => tracing::error!(error = %broken, "taking a review broke off"),
            }
        }
        Ok(answers)
    }

    /// Pauses, resumes, cancels or retries an execution. Asking for what is so already is no mistake.
    ///
    /// # Errors
    ///
    /// The execution has ended in a way that the request does not fit.
    pub async fn control(
        &self,
        execution_id: &str,
        control: Control,
        by: String,
        reason: String,
    ) -> Result<Snapshot, EngineError> {
        let id = self.execution_id(execution_id)?;
        self.ask(&id, Ask::Control(control, by, reason)).await
    }

    pub(crate) fn execution_id(&self, text: &str) -> Result<ExecutionId, EngineError> {
        text.parse().map_err(|error| Mistake::new("execution_id", format!("{error}")).into())
    }
}

/// Makes a new name: time-ordered, so that lists by name are lists by age, and not to be guessed.
pub(crate) fn new_id<T: std::str::FromStr>(prefix: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    format!("{prefix}_{}", Uuid::now_v7().simple()).parse().expect("a legal name")
}

/// Tells the caller's mistakes that only the store can see from its failures.
pub(crate) fn stored(error: StoreError) -> EngineError {
    match error {
        StoreError::BadCursor { .. } => Mistake::new("cursor", error.to_string()).into(),
        StoreError::TooLarge { .. } => Mistake::new("too_large", error.to_string()).into(),
        // The store closes last of all.
        StoreError::Closed => EngineError::Stopping,
        other => EngineError::Store(other),
    }
}

/// Fills in defaults and checks parameters against the definition's schema.
pub(crate) fn check_parameters(
    definition: &WorkflowDefinition,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, EngineError> {
    let Some(schema) = &definition.parameters_schema else { return Ok(given.clone()) };
    let mut parameters = given.clone();
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            if let Some(default) = property.get("default")
                && !parameters.contains_key(name)
            {
                parameters.insert(name.clone(), default.clone());
            }
        }
    }
    let validator = jsonschema::validator_for(schema).map_err(|error| {
        EngineError::internal("a stored schema does not compile", error.to_string())
    })?;
    let value = Value::Object(parameters.clone());
    let details: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| format!("/parameters{}: {error}", error.instance_path()))
        .collect();
    if details.is_empty() {
        return Ok(parameters);
    }
    Err(Mistake::new(
        "parameters",
        format!("the parameters do not fit workflow `{}`", definition.workflow_id),
    )
    .details(details)
    .hint("get_workflow shows `parameters_schema`")
    .into())
}
