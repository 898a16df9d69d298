//! `list_patterns`: the plugins that serve, and those that were refused.

use caelum_core::plugin::{Phase, PluginKind};
use caelum_engine::request::PluginInfo;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::super::tool::Answer;
use super::super::Tools;
use super::super::answer::{ANSWER_AIM_BYTES, json_bytes};

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
pub(super) struct ListPatterns {
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

pub(super) fn list(tools: &Tools, arguments: ListPatterns) -> PatternList {
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
