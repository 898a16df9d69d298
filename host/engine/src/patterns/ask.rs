//! Asks a pattern about a component: puts together what it is asked with, takes the answer, stages its plan and tries it
//! on its own result. Writes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use caelum_components::provenance::read_from;
use caelum_components::{Component, ComponentsError, OverlayTree, StageLimits, StagedPlan, stage};
use caelum_core::finding::Severity;
use caelum_core::id::Digest;
use caelum_core::pattern::{Assessment, Plan, check_plan};
use caelum_core::plugin::{HostReason, PluginFailure, PluginKind};
use caelum_core::tree::Tree;
use caelum_plugin_host::{CallControl, Called, Plugin};
use serde_json::{Map, Value, json};

use super::weigh::{Wanted, choose, describe, paths};
use crate::engine::{Engine, blocking};
use crate::error::{EngineError, Mistake};
use crate::request::Application;

/// What a use of a pattern works with.
pub(super) struct Use {
    pub(super) plugin: Arc<Plugin>,
    pub(super) component: Component,
    pub(super) tree: Arc<dyn Tree>,
    /// What the caller called the component.
    pub(super) target: String,
    pub(super) parameters: Map<String, Value>,
    context: Value,
}

impl Engine {
    /// Finds the plugin and the component, and puts together what the plugin is asked with.
    pub(super) async fn prepare(
        &self,
        pattern: &str,
        digest: Option<&Digest>,
        target: &str,
        given: Map<String, Value>,
        rules: &[String],
    ) -> Result<Use, EngineError> {
        let plugin = match digest {
            Some(digest) => self.0.plugins.pinned(digest).await.ok_or_else(|| {
                Mistake::new(
                    "plugin_gone",
                    format!("pattern `{pattern}` ({}) is not installed any more", digest.short()),
                )
                .hint("put its file back, or begin anew with the version that is installed")
            })?,
            None => {
                let found = self.0.plugins.find_loaded(PluginKind::Pattern, pattern).await;
                found.map_err(|unknown| {
                    let hint = unknown.hint.unwrap_or_else(|| "see list_patterns".to_owned());
                    Mistake::new("unknown_pattern", format!("no pattern is called `{pattern}`"))
                        .hint(hint)
                })?
            }
        };
        let known: Vec<&str> =
            plugin.description().rules.iter().map(|rule| rule.id.as_str()).collect();
        let unknown: Vec<String> = rules
            .iter()
            .filter(|rule| !known.contains(&rule.as_str()))
            .map(|rule| format!("/rules: `{rule}` is not a rule of `{pattern}`"))
            .collect();
        if !unknown.is_empty() {
            return Err(Mistake::new("unknown_rule", "rules that the pattern does not have")
                .details(unknown)
                .hint(format!("its rules are {}", known.join(", ")))
                .into());
        }
        let components = self.0.components.clone();
        let wanted = target.to_owned();
        let component = tokio::task::spawn_blocking(move || components.resolve(&wanted))
            .await
            .map_err(|panicked| EngineError::internal("failed to resolve a component", panicked))?
            .map_err(component_error)?;
        let mut parameters = component.parameters().clone();
        // The components file holds defaults for every pattern; only what this one knows is meant for it.
        let properties =
            plugin.description().parameters_schema.get("properties").and_then(Value::as_object);
        parameters.retain(|name, _| properties.is_some_and(|known| known.contains_key(name)));
        parameters.extend(given);
        let name = component.name().map_or_else(
            || {
                let last = component.path().file_name();
                last.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            },
            str::to_owned,
        );
        let mut context = json!({"component": name, "ports": self.0.options.ports});
        if !rules.is_empty() {
            context["rules"] = json!(rules);
        }
        let tree: Arc<dyn Tree> = component.tree();
        let reading = Arc::clone(&tree);
        let previous = blocking("reading the record in a component", move || {
            read_from(&*reading).map_err(Unreadable)
        })
        .await?;
        if let Some(previous) = previous.pattern(pattern) {
            context["previous"] = serde_json::to_value(previous)
                .map_err(|error| EngineError::internal("failed to write a context", error))?;
        }
        Ok(Use { tree, plugin, component, target: target.to_owned(), parameters, context })
    }

    pub(super) async fn assess(
        &self,
        used: &Use,
        tree: Arc<dyn Tree>,
    ) -> Result<Assessment, EngineError> {
        let parameters = Value::Object(used.parameters.clone());
        let control = CallControl::default();
        let called =
            self.0.plugins.validate(&used.plugin, tree, &parameters, &used.context, control).await;
        answered(called)
    }

    pub(super) async fn plan(&self, used: &Use, tree: Arc<dyn Tree>) -> Result<Plan, EngineError> {
        let parameters = Value::Object(used.parameters.clone());
        let control = CallControl::default();
        let called =
            self.0.plugins.plan(&used.plugin, tree, &parameters, &used.context, control).await;
        let plan = answered(called)?;
        let problems = check_plan(&plan, self.0.options.plans);
        if problems.is_empty() {
            return Ok(plan);
        }
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Err(contract(&used.plugin, &shown.join("; ")))
    }

    /// Stages a plan on the component as it is; the inner error names files that are not what they were.
    pub(super) async fn stage(
        &self,
        used: &Use,
        plan: Plan,
    ) -> Result<Result<StagedPlan, Vec<String>>, EngineError> {
        let tree = Arc::clone(&used.tree);
        let limits = StageLimits { plan: self.0.options.plans, ..StageLimits::default() };
        let staged = tokio::task::spawn_blocking(move || stage(&*tree, &plan, &limits))
            .await
            .map_err(|panicked| EngineError::internal("failed to stage a plan", panicked))?;
        match staged {
            Ok(staged) => Ok(Ok(staged)),
            Err(problems) if problems.is_conflict() => {
                Ok(Err(problems.conflicts.iter().map(ToString::to_string).collect()))
            }
            Err(problems) => Err(contract(&used.plugin, &problems.to_string())),
        }
    }

    /// Runs the pattern on its own result: it must be content with it and must not have made anything worse.
    pub(super) async fn try_on_result(
        &self,
        used: &Use,
        staged: &StagedPlan,
        wanted: Wanted<'_>,
        application: &mut Application,
    ) -> Result<Option<String>, EngineError> {
        let overlay: Arc<dyn Tree> = Arc::new(OverlayTree::new(Arc::clone(&used.tree), staged));
        let after = self.assess(used, Arc::clone(&overlay)).await?;
        let known: BTreeSet<&str> = application
            .findings_before
            .iter()
            .map(|finding| finding.fingerprint.as_str())
            .collect();
        let new: Vec<String> = after
            .findings
            .iter()
            .filter(|finding| finding.severity != Severity::Advice)
            .filter(|finding| !known.contains(finding.fingerprint.as_str()))
            .map(describe)
            .collect();
        let again = self.plan(used, overlay).await?;
        let again = choose(again, &after.findings, wanted);
        application.findings_after = after.findings;
        if !new.is_empty() {
            return Ok(Some(format!("the change would bring new findings: {}", new.join("; "))));
        }
        if again.plan.edits.is_empty() {
            return Ok(None);
        }
        let paths = paths(&again.plan).join(", ");
        Ok(Some(format!("the pattern would change its own result again: {paths}")))
    }
}

/// The record that patterns leave in a component cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unreadable(String);

fn contract(plugin: &Plugin, message: &str) -> EngineError {
    EngineError::Plugin {
        plugin: format!("{} {}", plugin.name(), plugin.version()),
        failure: PluginFailure::Host(HostReason::Contract {
            message: format!("proposed a plan that is refused: {message}"),
        }),
    }
}

/// Takes the answer out of a call; wrong parameters are the caller's mistake, everything else is the plugin's fault.
fn answered<T>(called: Called<T>) -> Result<T, EngineError> {
    called.outcome.map_err(|error| match error.failure {
        PluginFailure::InvalidParameters(problems) => Mistake::new(
            "parameters",
            format!("the parameters do not fit {} `{}`", error.kind, error.plugin),
        )
        .details(
            problems
                .iter()
                .map(|problem| format!("/parameters{}: {}", problem.pointer, problem.message))
                .collect(),
        )
        .hint("list_patterns shows the parameters' schema")
        .into(),
        failure => {
            EngineError::Plugin { plugin: format!("{} {}", error.plugin, error.version), failure }
        }
    })
}

pub(super) fn component_error(error: ComponentsError) -> EngineError {
    if error.is_callers_mistake() {
        Mistake::new("component", error.to_string()).into()
    } else {
        EngineError::internal("failed to work on a component", error)
    }
}
