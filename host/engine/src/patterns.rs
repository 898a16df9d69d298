//! Validating, applying and reverting patterns. A plan is made by the plugin, checked and staged, tried on its own
//! result, and only then written; dry run and apply are one path.

mod apply;
mod ask;
mod drift;
mod kept;
mod record;
mod revert;
mod weigh;

use std::sync::Arc;

use caelum_core::pattern::{Applicability, Risk};
use serde_json::{Map, Value};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::plugins::kept_out;
use crate::request::{
    Application, NewApplication, PatternValidation, PluginInfo, PluginList, RefusedPlugin,
};
use weigh::{paths, score, unanswered};

impl Engine {
    /// Returns the names of components that are registered, sorted.
    pub fn component_names(&self) -> Vec<String> {
        self.0.components.registered().into_iter().map(|component| component.name).collect()
    }

    /// Returns all plugins: those that serve and those that were refused.
    pub fn plugins(&self) -> PluginList {
        let snapshot = self.0.plugins.snapshot();
        PluginList {
            plugins: snapshot
                .plugins
                .values()
                .map(|plugin| PluginInfo {
                    pinned: plugin.pinned(),
                    description: Arc::clone(plugin.description()),
                    source: plugin.source().to_string(),
                })
                .collect(),
            refused: snapshot
                .refused
                .iter()
                .map(|refused| RefusedPlugin {
                    source: refused.source.to_string(),
                    stage: refused.stage.to_string(),
                    reason: refused.reason.clone(),
                    hint: Some(refused.hint.clone()).filter(|hint| !hint.is_empty()),
                    digest: refused.digest.clone(),
                })
                .chain(snapshot.plugins.values().filter_map(kept_out))
                .collect(),
        }
    }

    /// Says what a pattern finds in a component and what applying it would change. Changes nothing.
    ///
    /// # Errors
    ///
    /// An unknown pattern or component, wrong parameters, a plugin that fails.
    pub async fn validate_pattern(
        &self,
        pattern: &str,
        component: &str,
        parameters: Map<String, Value>,
    ) -> Result<PatternValidation, EngineError> {
        let used = self.prepare(pattern, None, component, parameters, &[]).await?;
        let assessment = self.assess(&used, Arc::clone(&used.tree)).await?;
        let pinned = used.plugin.pinned();
        let score = score(&assessment, &used.plugin.description().rules);
        if assessment.applicability == Applicability::NotApplicable {
            return Ok(PatternValidation {
                pattern: pinned,
                target_component: used.target,
                can_apply: false,
                applicability: assessment.applicability,
                blocking_issues: vec!["the pattern does not know components of this kind".into()],
                findings: assessment.findings,
                passed_rules: assessment.passed_rules,
                not_applicable_rules: assessment.not_applicable_rules,
                score,
                edits: (0, 0),
                changed_files: Vec::new(),
            });
        }
        let plan = self.plan(&used, Arc::clone(&used.tree)).await?;
        let review = plan.edits.iter().filter(|edit| edit.risk == Risk::Review).count();
        let edits = (plan.edits.len(), review);
        let mut blocking_issues = unanswered(&assessment.findings, &plan.edits);
        let changed_files = paths(&plan);
        if let Err(problems) = self.stage(&used, plan).await? {
            blocking_issues.extend(problems);
        }
        Ok(PatternValidation {
            pattern: pinned,
            target_component: used.target,
            can_apply: blocking_issues.is_empty() || edits.0 > 0,
            applicability: assessment.applicability,
            blocking_issues,
            findings: assessment.findings,
            passed_rules: assessment.passed_rules,
            not_applicable_rules: assessment.not_applicable_rules,
            score,
            edits,
            changed_files,
        })
    }

    /// Applies a pattern, or plans it. The answer is on disk when this returns: the record and, when it was applied,
    /// every file.
    ///
    /// # Errors
    ///
    /// An unknown pattern or component, wrong parameters, a plan that was used or is unknown, a plugin that fails.
    /// That nothing could be applied is no error: the answer says `blocked`, `conflict` or `non_convergent`.
    pub async fn apply_pattern(&self, new: NewApplication) -> Result<Application, EngineError> {
        self.apply_pinned(new, None).await
    }
}
