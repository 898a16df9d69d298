//! `validate_pattern_application`: a look at a component with a pattern.

use caelum_core::pattern::Applicability;
use caelum_engine::request::PatternValidation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::super::error::ToolError;
use super::super::super::tool::Answer;
use super::super::answer::counted;
use super::super::failure::refuse;
use super::super::{NextCall, Tools};
use super::finding::{FINDINGS_MAX, FindingView, findings};

/// Looks at a component with a pattern and changes nothing: what was found with file and line, a score, what keeps it
/// from being applied, and how much applying it would change. Next: `apply_pattern` with `dry_run: true` for the diff.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ValidatePatternApplication {
    /// The pattern's name, from `list_patterns`.
    #[schemars(example = &"infrastructure-enforcement")]
    pattern_name: String,
    /// A registered component, or the path of a directory beneath an allowed root.
    #[schemars(example = &"./services/notes")]
    target_component: String,
    /// The pattern's parameters; its schema is in `list_patterns`.
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// How many edits a plan has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EditCounts {
    /// Edits in all.
    pub total: usize,
    /// Those that somebody should look at; applied only with `allow_review_edits`.
    pub review: usize,
}

/// What a pattern thinks of a component.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ValidationView {
    /// The pattern.
    pub pattern_name: String,
    /// Its version.
    pub pattern_version: String,
    /// The component, as it was named.
    pub target_component: String,
    /// Whether it can be applied.
    pub can_apply: bool,
    /// `applicable`, `already_applied` or `not_applicable`.
    pub applicability: String,
    /// What keeps it from being applied.
    pub blocking_issues: Vec<String>,
    /// What was found, most severe first.
    pub findings: Vec<FindingView>,
    /// How many findings there are.
    pub findings_total: usize,
    /// Rules that hold.
    pub passed_rules: Vec<String>,
    /// Rules that do not concern this component.
    pub not_applicable_rules: Vec<String>,
    /// Weighted share of the rules that hold, 0 to 100; missing when no rule concerns the component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// How many edits a plan has.
    pub edits: EditCounts,
    /// Files that would change.
    pub changed_files: Vec<String>,
    /// The call to make next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_call: Option<NextCall>,
}

impl Answer for ValidationView {
    fn text(&self) -> String {
        let score =
            self.score.map_or_else(String::new, |score| format!(", score {score:.0} of 100"));
        let mut text = format!(
            "{} {} on {}: {}{score}, {} ({} for review) in {}",
            self.pattern_name,
            self.pattern_version,
            self.target_component,
            self.applicability.replace('_', " "),
            counted(self.edits.total, "edit", "edits"),
            self.edits.review,
            counted(self.changed_files.len(), "file", "files"),
        );
        for issue in &self.blocking_issues {
            text.push_str("\nblocking: ");
            text.push_str(issue);
        }
        for finding in &self.findings {
            text.push_str("\n- ");
            text.push_str(&finding.line());
        }
        if self.findings_total > self.findings.len() {
            text.push_str(&format!(
                "\n- and {} more findings",
                self.findings_total - self.findings.len()
            ));
        }
        if let Some(next) = &self.next_call {
            text.push_str(&format!("\nnext: {}", next.line()));
        }
        text
    }
}

fn applicability_word(applicability: Applicability) -> &'static str {
    match applicability {
        Applicability::Applicable => "applicable",
        Applicability::AlreadyApplied => "already_applied",
        Applicability::NotApplicable => "not_applicable",
    }
}

pub(super) async fn validate(
    tools: Tools,
    arguments: ValidatePatternApplication,
) -> Result<ValidationView, ToolError> {
    let ValidatePatternApplication { pattern_name, target_component, parameters } = arguments;
    let validation: PatternValidation = tools
        .engine
        .validate_pattern(&pattern_name, &target_component, parameters.clone())
        .await
        .map_err(refuse)?;
    let worth_it = validation.can_apply && validation.edits.0 > 0;
    let next_call = worth_it.then(|| {
        NextCall::new(
            "apply_pattern",
            json!({"pattern_name": pattern_name, "target_component": target_component,
                   "parameters": parameters, "dry_run": true}),
        )
    });
    Ok(ValidationView {
        pattern_name: validation.pattern.name.to_string(),
        pattern_version: validation.pattern.version.clone(),
        target_component: validation.target_component,
        can_apply: validation.can_apply,
        applicability: applicability_word(validation.applicability).to_owned(),
        blocking_issues: validation.blocking_issues.into_iter().take(FINDINGS_MAX).collect(),
        findings: findings(&validation.findings),
        findings_total: validation.findings.len(),
        passed_rules: validation.passed_rules,
        not_applicable_rules: validation.not_applicable_rules,
        score: validation.score,
        edits: EditCounts { total: validation.edits.0, review: validation.edits.1 },
        changed_files: validation.changed_files,
        next_call,
    })
}
