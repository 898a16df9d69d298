//! Creating, reading and listing definitions; changing them stands in `change`.

mod change;

use std::sync::Arc;

use caelum_core::clock::Timestamp;
use caelum_core::plugin::{Phase, PluginKind};
use caelum_core::task::ProbeKind;
use caelum_core::workflow::{Action, KnownValidator, WorkflowDefinition, check_definition};

use caelum_store::StoreError;
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::error::{EngineError, Mistake};
use crate::idempotency::Keyed;
use crate::request::{
    CreatedWorkflow, IfExists, Listed, NewWorkflow, PageRequest, TASK_GROUP_PREFIX, WorkflowFilter,
    WorkflowSummary,
};

/// How many warnings of one definition are told; more of the same would only fill the reader's context.
const WARNINGS_MAX: usize = 50;

impl Engine {
    /// Creates a workflow, or the next revision of one. It is on disk when this returns.
    ///
    /// # Errors
    ///
    /// Names every rule that the definition breaks, with the place of each.
    pub async fn create_workflow(&self, new: NewWorkflow) -> Result<CreatedWorkflow, EngineError> {
        let now = self.now();
        let mut new = new;
        let key = new.idempotency_key.take();
        let keyed = Keyed::of("create_workflow", key, &new)?;
        if let Some(answer) = self.answered(keyed.as_ref()).await? {
            return Ok(created_before(new.workflow_id, &answer));
        }
        let definition = self.define(&new, now)?;
        self.plugins_there(&definition.steps).await;
        let warnings = self.checked(&definition, "create_workflow")?;
        let answer = json!({"warnings": warnings});
        let entry = keyed.as_ref().map(|keyed| keyed.entry(answer, now));
        let if_exists = match new.if_exists {
            IfExists::Error => caelum_store::IfExists::Error,
            IfExists::NewRevision => caelum_store::IfExists::NewRevision,
        };
        match self.0.store.create_definition(definition, if_exists, entry).await {
            Ok(saved) => Ok(CreatedWorkflow {
                workflow_id: new.workflow_id,
                revision: saved.revision,
                warnings,
            }),
            Err(StoreError::AlreadyExists { .. }) => Err(Mistake::new(
                "workflow_exists",
                format!("a workflow `{}` exists already", new.workflow_id),
            )
            .hint("use another workflow_id, update_workflow, or if_exists: \"new_revision\"")
            .into()),
            Err(other) => Ok(created_before(new.workflow_id, &self.raced(keyed.as_ref(), other)?)),
        }
    }

    /// Checks a definition against every rule; returns what is legal and still looks like a mistake.
    pub(crate) fn checked(
        &self,
        definition: &WorkflowDefinition,
        tool: &str,
    ) -> Result<Vec<String>, EngineError> {
        let violations =
            check_definition(definition, &self.known_validators(), self.0.options.rules);
        let mut details: Vec<String> = violations.iter().map(ToString::to_string).collect();
        if let Some(schema) = &definition.parameters_schema
            && let Err(error) = jsonschema::validator_for(schema)
        {
            details.push(format!("/parameters_schema: not a JSON Schema: {error}"));
        }
        details.extend(self.check_plugin_parameters(definition));
        if details.is_empty() {
            return Ok(self.warnings(definition));
        }
        let message = match details.len() {
            1 => "the definition breaks one rule".to_owned(),
            count => format!("the definition breaks {count} rules"),
        };
        Err(Mistake::new("invalid_definition", message)
            .details(details)
            .hint(format!("mend all of them, then call {tool} again"))
            .into())
    }

    fn define(&self, new: &NewWorkflow, now: Timestamp) -> Result<WorkflowDefinition, EngineError> {
        let workflow_id = new
            .workflow_id
            .parse()
            .map_err(|error| Mistake::new("workflow_id", format!("/workflow_id: {error}")))?;
        if new.workflow_id.starts_with(TASK_GROUP_PREFIX) {
            return Err(Mistake::new(
                "workflow_id",
                format!("`{TASK_GROUP_PREFIX}` begins the names of task groups"),
            )
            .hint("use another workflow_id")
            .into());
        }
        Ok(WorkflowDefinition {
            workflow_id,
            revision: 1,
            name: new.name.clone().unwrap_or_else(|| new.workflow_id.clone()),
            description: new.description.clone(),
            pattern: new.pattern.clone(),
            steps: new.steps.clone(),
            created_at: now,
            updated_at: now,
            created_by: new.created_by.clone(),
            status: new.status,
            parameters_schema: new.parameters_schema.clone(),
            metadata: new.metadata.clone(),
        })
    }

    /// Returns the validators that definitions may name.
    pub(crate) fn known_validators(&self) -> Vec<KnownValidator> {
        self.plugins()
            .of(PluginKind::Validator)
            .map(|plugin| KnownValidator {
                name: plugin.pinned.name.to_string(),
                phases: plugin.pinned.phases.clone(),
            })
            .collect()
    }

    /// Checks parameters against the schemas of the plugins that they are for, as far as no template stands in them.
    ///
    /// A plugin checks its parameters itself when it is called; here a mistake is found before anything runs.
    fn check_plugin_parameters(&self, definition: &WorkflowDefinition) -> Vec<String> {
        let plugins = self.plugins();
        let mut details = Vec::new();
        for (index, step) in definition.steps.iter().enumerate() {
            let mut uses = vec![
                ("enforcement_parameters", step.enforcement.as_ref(), &step.enforcement_parameters),
                ("validation_parameters", step.validation.as_ref(), &step.validation_parameters),
            ];
            if let Action::Pattern { pattern, parameters, .. } = &step.action {
                uses.push(("action/parameters", Some(pattern), parameters));
            }
            for (field, name, parameters) in uses {
                let plugin = name.and_then(|name| {
                    plugins.plugins.iter().find(|plugin| plugin.pinned.name == *name)
                });
                let Some(plugin) = plugin else { continue };
                let schema = &plugin.description.parameters_schema;
                let Ok(validator) = jsonschema::validator_for(schema) else { continue };
                let value = Value::Object(parameters.clone());
                details.extend(
                    validator
                        .iter_errors(&value)
                        .filter(|error| !has_template(error.instance()))
                        .map(|error| {
                            let path = error.instance_path();
                            let name = &plugin.pinned.name;
                            format!("/steps/{index}/{field}{path}: {error} (schema of `{name}`)")
                        }),
                );
            }
        }
        details
    }

    /// Names what is legal and still looks like a mistake.
    fn warnings(&self, definition: &WorkflowDefinition) -> Vec<String> {
        let plugins = self.plugins();
        let pattern_known = |name: &str| {
            plugins.of(PluginKind::Pattern).any(|plugin| plugin.pinned.name.as_str() == name)
        };
        let mut warnings = Vec::new();
        if !definition.pattern.is_empty() && !pattern_known(&definition.pattern) {
            warnings.push(format!(
                "`{}` is not an installed pattern; it is kept as a label",
                definition.pattern
            ));
        }
        for step in &definition.steps {
            if let Action::Pattern { pattern, .. } = &step.action
                && !pattern_known(pattern.as_str())
            {
                warnings.push(format!(
                    "step `{}` applies the pattern `{pattern}`, which is not installed now",
                    step.id
                ));
            }
            if step.enforcement.is_none() && step.validation.is_none() {
                warnings.push(format!("step `{}` has no gate: nothing judges its work", step.id));
            }
            let judged_before = step.enforcement.as_ref().is_some_and(|name| {
                plugins.of(PluginKind::Validator).any(|plugin| {
                    plugin.pinned.name == *name && plugin.pinned.phases.contains(&Phase::Before)
                })
            });
            if judged_before && step.probes.is_empty() {
                warnings.push(format!(
                    "step `{}` is judged before its action and has no probes to judge by",
                    step.id
                ));
            }
            let local_port = step
                .probes
                .iter()
                .any(|probe| matches!(&probe.kind, ProbeKind::Port { service: None, .. }));
            if local_port {
                warnings.push(format!(
                    "a port probe of step `{}` names no service, so any owner passes",
                    step.id
                ));
            }
        }
        let left_out = warnings.len().saturating_sub(WARNINGS_MAX);
        if left_out > 0 {
            warnings.truncate(WARNINGS_MAX);
            warnings.push(format!("and {left_out} more warnings"));
        }
        warnings
    }

    /// Returns a definition, at a revision or the newest.
    ///
    /// # Errors
    ///
    /// Names near workflows when there is none of that name, and the revisions when there is none of that number.
    pub async fn workflow(
        &self,
        id: &str,
        revision: Option<u32>,
    ) -> Result<Arc<WorkflowDefinition>, EngineError> {
        let Ok(workflow_id) = id.parse() else {
            return Err(self.unknown_workflow(id, None).await);
        };
        let found = self
            .0
            .store
            .definition(&workflow_id, revision)
            .await
            .map_err(crate::executions::stored)?;
        match found {
            Some(stored) => Ok(stored.definition),
            None => Err(self.unknown_workflow(id, revision).await),
        }
    }

    async fn unknown_workflow(&self, id: &str, revision: Option<u32>) -> EngineError {
        if let Some(revision) = revision
            && let Ok(workflow_id) = id.parse()
            && let Ok(Some(newest)) = self.0.store.definition(&workflow_id, None).await
        {
            return Mistake::new(
                "unknown_revision",
                format!("workflow `{id}` has no revision {revision}"),
            )
            .hint(format!("its revisions are 1 to {}", newest.definition.revision))
            .into();
        }
        let known = self.0.store.workflow_ids().await.unwrap_or_default();
        let names = known.iter().map(String::as_str);
        let hint = caelum_core::near::did_you_mean(id, names)
            .unwrap_or_else(|| "list_workflows shows those that exist".to_owned());
        Mistake::new("unknown_workflow", format!("there is no workflow `{id}`")).hint(hint).into()
    }

    /// Lists definitions at their newest revision, newest first.
    ///
    /// # Errors
    ///
    /// A cursor that was not given by this list.
    pub async fn list_workflows(
        &self,
        filter: WorkflowFilter,
        page: PageRequest,
    ) -> Result<Listed<WorkflowSummary>, EngineError> {
        let WorkflowFilter { status, last_execution, pattern } = filter;
        let filter = caelum_store::DefinitionFilter { status, last_execution, pattern };
        let page = self
            .0
            .store
            .list_definitions(&filter, &page.into())
            .await
            .map_err(crate::executions::stored)?;
        Ok(Listed {
            items: page
                .items
                .into_iter()
                .map(|row| WorkflowSummary {
                    workflow_id: row.workflow_id.to_string(),
                    revision: row.revision,
                    name: row.name,
                    description: row.description,
                    pattern: row.pattern,
                    status: row.status,
                    steps: usize::try_from(row.steps).unwrap_or(usize::MAX),
                    created_at: row.created_at,
                    updated_at: row.updated_at,
                    created_by: row.created_by,
                    last_execution: row
                        .last_execution
                        .map(|last| (last.id.to_string(), last.status, last.started_at)),
                })
                .collect(),
            next_cursor: page.next,
        })
    }
}

/// Returns whether what a value will be is known only when the step runs.
fn has_template(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("{{") || text.contains("{%"),
        Value::Array(items) => items.iter().any(has_template),
        _ => false,
    }
}

/// Builds the answer of a request that came before, from what was kept of it.
fn created_before(workflow_id: String, answer: &Value) -> CreatedWorkflow {
    let revision = answer.get("revision").and_then(Value::as_u64).unwrap_or(1);
    let warnings = answer.get("warnings").and_then(Value::as_array).cloned().unwrap_or_default();
    CreatedWorkflow {
        workflow_id,
        revision: u32::try_from(revision).unwrap_or(u32::MAX),
        warnings: warnings.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}

impl From<PageRequest> for caelum_store::PageRequest {
    fn from(page: PageRequest) -> Self {
        caelum_store::PageRequest {
            limit: u32::try_from(page.limit).unwrap_or(u32::MAX),
            cursor: page.cursor,
        }
    }
}
