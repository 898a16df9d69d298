//! `apply_pattern`: a pattern's edits, planned or made.

use caelum_engine::request::{Application, NewApplication};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::super::error::ToolError;
use super::super::super::tool::{Answer, Call};
use super::super::answer::{ANSWER_AIM_BYTES, head, json_bytes};
use super::super::failure::refuse;
use super::super::{NextCall, Tools, actor};
use super::finding::{FINDINGS_MAX, FindingView, findings};
use crate::document::filled;

/// How many bytes of a diff an answer shows, when there is that much.
const DIFF_BYTES_MAX: usize = 32 * 1024;

/// Applies a pattern to a component: all its edits or none, recorded and reversible, and shown as a unified diff. With
/// `dry_run: true` nothing is written and the answer has a `plan_id`; a second call with that `plan_id` applies exactly
/// what was shown, once, and refuses when files changed since. Edits that somebody should look at are left out
/// (`withheld`) unless `allow_review_edits` is true; when nothing else is left to do the status is `unchanged`. A
/// `blocked`, `unchanged` or `conflict` status is an answer, not an error; `validation_results` says what is still found.
/// Next: the `next_steps`, or `revert_pattern_application`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplyPattern {
    /// The pattern's name, from `list_patterns`.
    #[schemars(example = &"infrastructure-enforcement")]
    pattern_name: String,
    /// A registered component, or the path of a directory beneath an allowed root.
    #[schemars(example = &"./services/notes")]
    target_component: String,
    /// The pattern's parameters; its schema is in `list_patterns`.
    #[serde(default)]
    parameters: Map<String, Value>,
    /// Only plan: nothing is written; false when left out.
    #[serde(default)]
    dry_run: Option<bool>,
    /// Apply exactly this plan of an earlier dry run.
    #[serde(default)]
    plan_id: Option<String>,
    /// Apply edits that somebody should look at too; false when left out.
    #[serde(default)]
    allow_review_edits: Option<bool>,
    /// Only edits that answer these rules; all when left out.
    #[serde(default)]
    rules: Vec<String>,
    /// Any text of yours: a second call with the same one gives the first one's answer and applies nothing.
    #[serde(default)]
    idempotency_key: Option<String>,
    /// Who applies it; your client's name when left out.
    #[serde(default)]
    by: Option<String>,
}

/// An edit that was left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WithheldView {
    /// The file.
    pub path: String,
    /// Why the edit is there.
    pub rationale: String,
}

/// Something that a plan cannot do by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NextStepView {
    /// Stable id.
    pub id: String,
    /// A few words.
    pub title: String,
    /// What to do.
    pub instructions: String,
    /// Whether the pattern counts as applied only after it.
    pub blocking: bool,
    /// The validator that could judge it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<String>,
}

/// What came of an application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultsView {
    /// One line.
    pub summary: String,
    /// Unified diff of everything that was, or would be, changed.
    pub diff: String,
    /// Whether the diff is only its beginning.
    pub diff_truncated: bool,
    /// Files that were, or would be, changed.
    pub changed_files: Vec<String>,
    /// Edits that were left out because somebody should look at them.
    pub withheld: Vec<WithheldView>,
    /// What was found before, most severe first.
    pub findings_before: Vec<FindingView>,
    /// How many findings there were before.
    pub findings_before_total: usize,
    /// What is found after, most severe first.
    pub findings_after: Vec<FindingView>,
    /// How many findings there are after.
    pub findings_after_total: usize,
}

/// A recorded use of a pattern.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApplicationView {
    /// The application's id.
    pub application_id: String,
    /// The pattern.
    pub pattern_name: String,
    /// Its version.
    pub pattern_version: String,
    /// The component, as it was named.
    pub target_component: String,
    /// Its directory.
    pub directory: String,
    /// `applied`, `unchanged`, `blocked`, `planned`, `conflict`, `non_convergent` or `reverted`.
    pub status: String,
    /// When.
    pub applied_at: String,
    /// Who.
    pub applied_by: String,
    /// The parameters.
    pub parameters: Map<String, Value>,
    /// What came of it.
    pub results: ResultsView,
    /// What is still found, and what stood in the way, one line each.
    pub validation_results: Vec<String>,
    /// What else to do.
    pub next_steps: Vec<NextStepView>,
    /// Of a dry run: the plan that may be applied, once, by this id. Of an application by plan: the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<String>,
    /// The call to make next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_call: Option<NextCall>,
}

impl Answer for ApplicationView {
    fn text(&self) -> String {
        let mut text = format!(
            "{}: {} {} on {} ({}): {}",
            self.status,
            self.pattern_name,
            self.pattern_version,
            self.target_component,
            self.application_id,
            self.results.summary
        );
        for line in &self.validation_results {
            text.push_str("\n- ");
            text.push_str(line);
        }
        for edit in &self.results.withheld {
            text.push_str(&format!("\nwithheld: {}: {}", edit.path, edit.rationale));
        }
        if !self.results.diff.is_empty() {
            text.push('\n');
            text.push_str(&self.results.diff);
            if self.results.diff_truncated {
                text.push_str("(the diff goes on; apply fewer `rules` at once to see all of it)\n");
            }
        }
        for step in &self.next_steps {
            let must = if step.blocking { "must" } else { "should" };
            text.push_str(&format!("\n{must} do: {}: {}", step.title, step.instructions));
        }
        if let Some(next) = &self.next_call {
            text.push_str(&format!("\nnext: {}", next.line()));
        }
        text
    }
}

impl ApplicationView {
    /// Shows an application.
    pub(super) fn of(application: &Application) -> Self {
        let (diff, diff_truncated) = head(&application.diff, DIFF_BYTES_MAX);
        let after = findings(&application.findings_after);
        let validation_results = application
            .problems
            .iter()
            .cloned()
            .chain(after.iter().map(FindingView::line))
            .take(2 * FINDINGS_MAX)
            .collect();
        Self {
            application_id: application.application_id.to_string(),
            pattern_name: application.pattern.name.to_string(),
            pattern_version: application.pattern.version.clone(),
            target_component: application.target_component.clone(),
            directory: application.directory.display().to_string(),
            status: application.status.as_str().to_owned(),
            applied_at: application.applied_at.to_string(),
            applied_by: application.by.clone(),
            parameters: application.parameters.clone(),
            results: ResultsView {
                summary: application.summary.clone(),
                diff,
                diff_truncated,
                changed_files: application.changed_files.iter().take(500).cloned().collect(),
                withheld: application
                    .withheld
                    .iter()
                    .take(FINDINGS_MAX)
                    .map(|(path, rationale)| WithheldView {
                        path: path.clone(),
                        rationale: rationale.clone(),
                    })
                    .collect(),
                findings_before: findings(&application.findings_before),
                findings_before_total: application.findings_before.len(),
                findings_after: after,
                findings_after_total: application.findings_after.len(),
            },
            validation_results,
            next_steps: application
                .next_steps
                .iter()
                .map(|step| NextStepView {
                    id: step.id.clone(),
                    title: step.title.clone(),
                    instructions: step.instructions.clone(),
                    blocking: step.blocking,
                    validator: step.validator.clone(),
                })
                .collect(),
            plan_id: application.plan_id.as_ref().map(ToString::to_string),
            next_call: next_call(application),
        }
        .fitted()
    }

    /// Shows less of the diff and the findings until the answer fits a client.
    fn fitted(mut self) -> Self {
        for shown in [20, 5, 0] {
            if json_bytes(&self) <= ANSWER_AIM_BYTES {
                break;
            }
            let (diff, cut) = head(&self.results.diff, self.results.diff.len() / 2);
            self.results.diff = diff;
            self.results.diff_truncated |= cut;
            self.results.findings_before.truncate(shown);
            self.results.findings_after.truncate(shown);
            self.results.withheld.truncate(shown);
            self.validation_results.truncate(2 * shown);
        }
        self
    }
}

fn next_call(application: &Application) -> Option<NextCall> {
    use caelum_core::pattern::ApplicationStatus::{Applied, Conflict, Planned, Unchanged};
    match application.status {
        Planned => application.plan_id.as_ref().map(|plan_id| {
            NextCall::new(
                "apply_pattern",
                json!({"pattern_name": application.pattern.name.as_str(),
                       "target_component": application.target_component,
                       "plan_id": plan_id.as_str()}),
            )
        }),
        Applied => Some(NextCall::new(
            "revert_pattern_application",
            json!({"application_id": application.application_id.as_str()}),
        )),
        Conflict => Some(NextCall::new(
            "apply_pattern",
            json!({"pattern_name": application.pattern.name.as_str(),
                   "target_component": application.target_component,
                   "parameters": application.parameters, "dry_run": true}),
        )),
        // What is left needs a look: here it is.
        Unchanged if !application.withheld.is_empty() => Some(NextCall::new(
            "apply_pattern",
            json!({"pattern_name": application.pattern.name.as_str(),
                   "target_component": application.target_component,
                   "parameters": application.parameters, "allow_review_edits": true,
                   "dry_run": true}),
        )),
        _ => None,
    }
}

pub(super) async fn apply(
    tools: Tools,
    call: Call,
    arguments: ApplyPattern,
) -> Result<ApplicationView, ToolError> {
    let owned = |text: &Option<String>| filled(text.as_ref()).map(str::to_owned);
    let new = NewApplication {
        pattern_name: arguments.pattern_name,
        target_component: arguments.target_component,
        parameters: arguments.parameters,
        dry_run: arguments.dry_run.unwrap_or(false),
        plan_id: owned(&arguments.plan_id),
        allow_review_edits: arguments.allow_review_edits.unwrap_or(false),
        rules: arguments.rules,
        by: actor(arguments.by.as_ref(), &call),
        idempotency_key: owned(&arguments.idempotency_key),
        execution: None,
    };
    let application = tools.engine.apply_pattern(new).await.map_err(refuse)?;
    Ok(ApplicationView::of(&application))
}
