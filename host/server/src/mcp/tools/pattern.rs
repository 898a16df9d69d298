//! `list_patterns`, `validate_pattern_application`, `apply_pattern`, `revert_pattern_application`.

use caelum_core::finding::Finding;
use caelum_core::pattern::Applicability;
use caelum_core::plugin::{Phase, PluginKind};
use caelum_engine::request::{Application, NewApplication, PatternValidation, PluginInfo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::error::ToolError;
use super::super::tool::{Annotations, Answer, Call, Tool, tool};
use super::answer::{ANSWER_AIM_BYTES, counted, head, json_bytes};
use super::failure::refuse;
use super::{NextCall, Tools, actor};
use crate::document::filled;

/// How many bytes of a diff an answer shows, when there is that much.
const DIFF_BYTES_MAX: usize = 32 * 1024;

/// How many findings of one kind an answer shows.
const FINDINGS_MAX: usize = 50;

pub(super) fn tools(tools: &Tools) -> Vec<Tool> {
    let (listing, validating, applying, reverting) =
        (tools.clone(), tools.clone(), tools.clone(), tools.clone());
    vec![
        tool(
            "list_patterns",
            "List patterns and validators",
            Annotations::READS,
            move |_, arguments| {
                let tools = listing.clone();
                async move { Ok(list(&tools, arguments)) }
            },
        ),
        tool(
            "validate_pattern_application",
            "Check whether a pattern can be applied",
            Annotations::READS,
            move |_, arguments| validate(validating.clone(), arguments),
        ),
        tool("apply_pattern", "Apply a pattern", Annotations::CHANGES, move |call, arguments| {
            apply(applying.clone(), call, arguments)
        }),
        tool(
            "revert_pattern_application",
            "Take an application back",
            Annotations::CHANGES,
            move |call, arguments| revert(reverting.clone(), call, arguments),
        ),
    ]
}

/// Which plugins are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum KindFilter {
    /// Improvement patterns, for `apply_pattern` and steps with a `pattern` action.
    #[default]
    Pattern,
    /// Validators, for the gates of steps.
    Validator,
    /// Both.
    All,
}

/// Lists the improvement patterns that can be applied, each with its rules and the JSON Schema of its parameters; on
/// request the validators that gates may name, and plugin files that were refused with the reason. Call it before
/// writing a workflow or applying a pattern: only names from here work.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListPatterns {
    /// What to list: `pattern` when left out.
    #[serde(default)]
    kind: Option<KindFilter>,
    /// Whether to show plugin files that were refused, with stage, reason and hint.
    #[serde(default)]
    include_refused: Option<bool>,
}

/// One rule of a pattern.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleView {
    /// Stable id, such as `HC02`.
    pub id: String,
    /// One line.
    pub title: String,
    /// `blocking`, `warning` or `advice`.
    pub severity: String,
    /// Whether a plan can answer it with an edit.
    pub fixable: bool,
}

/// A plugin that serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PluginView {
    /// The name it goes by.
    pub name: String,
    /// `pattern` or `validator`.
    pub kind: String,
    /// Semantic version.
    pub version: String,
    /// A few words.
    pub title: String,
    /// One paragraph.
    pub summary: String,
    /// JSON Schema of its parameters.
    pub parameters_schema: Map<String, Value>,
    /// Its rules; patterns only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleView>,
    /// Globs of files that make a component worth looking at; patterns only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applies_to: Vec<String>,
    /// When it can judge, `before` or `after` the action; validators only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<String>,
    /// Formats of evidence that it reads; validators only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence_formats: Vec<String>,
    /// SHA-256 of the plugin's file.
    pub digest: String,
    /// `bundled`, or the file it came from.
    pub source: String,
}

/// A plugin file that was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedView {
    /// The file.
    pub source: String,
    /// At which stage of loading.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// What would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// SHA-256 of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The plugins that serve.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PatternList {
    /// Improvement patterns.
    pub patterns: Vec<PluginView>,
    /// Validators, when they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validators: Vec<PluginView>,
    /// Files that were refused, when they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedView>,
    /// Set when schemas and rules were left out because there are too many plugins for one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Answer for PatternList {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        for plugin in self.patterns.iter().chain(&self.validators) {
            let schema = Value::Object(plugin.parameters_schema.clone()).to_string();
            let schema = if schema.len() <= 1_500 {
                format!("\n  parameters: {schema}")
            } else {
                String::new()
            };
            lines.push(format!(
                "{} {} {} ({}): {}{schema}",
                plugin.kind, plugin.name, plugin.version, plugin.source, plugin.summary
            ));
        }
        for refused in &self.refused {
            let hint =
                refused.hint.as_ref().map_or_else(String::new, |hint| format!("; hint: {hint}"));
            lines.push(format!(
                "refused {} at {}: {}{hint}",
                refused.source, refused.stage, refused.reason
            ));
        }
        if lines.is_empty() {
            lines.push("no plugins".to_owned());
        }
        lines.extend(self.note.clone());
        lines.join("\n")
    }
}

impl PluginView {
    pub(super) fn of(info: &PluginInfo) -> Self {
        let description = &info.description;
        Self {
            name: info.pinned.name.to_string(),
            kind: info.pinned.kind.to_string(),
            version: info.pinned.version.clone(),
            title: description.title.clone(),
            summary: description.summary.clone(),
            parameters_schema: match &description.parameters_schema {
                Value::Object(schema) => schema.clone(),
                _ => Map::new(),
            },
            rules: description
                .rules
                .iter()
                .map(|rule| RuleView {
                    id: rule.id.clone(),
                    title: rule.title.clone(),
                    severity: rule.severity.as_str().to_owned(),
                    fixable: rule.fixable,
                })
                .collect(),
            applies_to: description.applies_to.clone(),
            phases: description
                .phases
                .iter()
                .map(|phase| match phase {
                    Phase::Before => "before".to_owned(),
                    Phase::After => "after".to_owned(),
                })
                .collect(),
            evidence_formats: description.evidence_formats.clone(),
            digest: info.pinned.digest.to_string(),
            source: info.source.clone(),
        }
    }
}

fn list(tools: &Tools, arguments: ListPatterns) -> PatternList {
    let plugins = tools.engine.plugins();
    let kind = arguments.kind.unwrap_or_default();
    let of = |wanted: PluginKind, shown: bool| -> Vec<PluginView> {
        if shown { plugins.of(wanted).map(PluginView::of).collect() } else { Vec::new() }
    };
    let mut list = PatternList {
        patterns: of(PluginKind::Pattern, kind != KindFilter::Validator),
        validators: of(PluginKind::Validator, kind != KindFilter::Pattern),
        refused: Vec::new(),
        note: None,
    };
    if arguments.include_refused == Some(true) {
        list.refused = plugins
            .refused
            .iter()
            .map(|refused| RefusedView {
                source: refused.source.clone(),
                stage: refused.stage.clone(),
                reason: refused.reason.clone(),
                hint: refused.hint.clone(),
                digest: refused.digest.as_ref().map(ToString::to_string),
            })
            .collect();
    }
    if json_bytes(&list).max(list.text().len()) > ANSWER_AIM_BYTES {
        for plugin in list.patterns.iter_mut().chain(&mut list.validators) {
            plugin.parameters_schema = Map::new();
            plugin.rules = Vec::new();
        }
        list.note = Some(
            "schemas and rules are left out, there are too many plugins; ask for one kind, or validate \
             a pattern to see what it checks"
                .to_owned(),
        );
    }
    list
}

/// One thing that a pattern found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingView {
    /// The rule, such as `HC02`.
    pub rule: String,
    /// `blocking`, `warning` or `advice`.
    pub severity: String,
    /// What is wrong; written by a plugin.
    pub message: String,
    /// `path:line`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<String>,
    /// Stable across line shifts.
    pub fingerprint: String,
}

impl FindingView {
    fn of(finding: &Finding) -> Self {
        Self {
            rule: finding.rule.clone(),
            severity: finding.severity.as_str().to_owned(),
            message: finding.message.clone(),
            place: finding.place(),
            remediation: finding.remediation.clone(),
            fingerprint: finding.fingerprint.clone(),
        }
    }

    /// Returns the finding in one line.
    pub fn line(&self) -> String {
        let place = self.place.as_ref().map_or_else(String::new, |place| format!("{place}: "));
        format!("{} {} {place}{}", self.severity, self.rule, self.message)
    }
}

/// Shows the most severe findings first, as many as fit.
fn findings(all: &[Finding]) -> Vec<FindingView> {
    let mut sorted: Vec<&Finding> = all.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    sorted.into_iter().take(FINDINGS_MAX).map(FindingView::of).collect()
}

/// Looks at a component with a pattern and changes nothing: what was found with file and line, a score, what keeps it
/// from being applied, and how much applying it would change. Next: `apply_pattern` with `dry_run: true` for the diff.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ValidatePatternApplication {
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

async fn validate(
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

/// Applies a pattern to a component: all its edits or none, recorded and reversible, and shown as a unified diff. With
/// `dry_run: true` nothing is written and the answer has a `plan_id`; a second call with that `plan_id` applies exactly
/// what was shown, once, and refuses when files changed since. Edits that somebody should look at are left out
/// (`withheld`) unless `allow_review_edits` is true. A `blocked`, `unchanged` or `conflict` status is an answer, not an
/// error; `validation_results` says what is still found. Next: the `next_steps`, or `revert_pattern_application`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApplyPattern {
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
    /// The plan that may be applied, once, by this id.
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
    fn of(application: &Application) -> Self {
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
    use caelum_core::pattern::ApplicationStatus::{Applied, Conflict, Planned};
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
        _ => None,
    }
}

async fn apply(
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

/// Takes an application back: every file gets exactly the bytes it had before. Refused when a file was changed since,
/// so that nobody's work is lost.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RevertPatternApplication {
    /// The application's id, from `apply_pattern`.
    application_id: String,
    /// Who takes it back; your client's name when left out.
    #[serde(default)]
    by: Option<String>,
}

/// An application that was taken back.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RevertedView {
    /// The application's id.
    pub application_id: String,
    /// `reverted`.
    pub status: String,
    /// The pattern.
    pub pattern_name: String,
    /// The component.
    pub target_component: String,
    /// Files that have their old bytes again.
    pub restored: Vec<String>,
}

impl Answer for RevertedView {
    fn text(&self) -> String {
        format!(
            "{}: {} of {} on {}; restored: {}",
            self.status,
            self.application_id,
            self.pattern_name,
            self.target_component,
            self.restored.join(", ")
        )
    }
}

async fn revert(
    tools: Tools,
    call: Call,
    arguments: RevertPatternApplication,
) -> Result<RevertedView, ToolError> {
    let by = actor(arguments.by.as_ref(), &call);
    let reverted =
        tools.engine.revert_application(&arguments.application_id, by).await.map_err(refuse)?;
    Ok(RevertedView {
        application_id: reverted.application.application_id.to_string(),
        status: reverted.application.status.as_str().to_owned(),
        pattern_name: reverted.application.pattern.name.to_string(),
        target_component: reverted.application.target_component.clone(),
        restored: reverted.restored,
    })
}
