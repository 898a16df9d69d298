//! `list_patterns` and `list_validators`: the plugins that serve, and those that were refused.

use caelum_core::plugin::{Phase, PluginKind};
use caelum_engine::request::PluginInfo;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::super::error::ToolError;
use super::super::super::tool::Answer;
use super::super::Tools;
use super::super::answer::{ANSWER_AIM_BYTES, json_bytes};
use super::super::paging::page;
use super::super::workflow::{ROWS, ROWS_MAX};
use crate::document::filled;

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
    /// How many at most; 50 when left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

/// When a validator can judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum PhaseFilter {
    /// Before the action: only probes and reviews are there to be judged.
    Before,
    /// After it.
    After,
}

/// Lists the validators that the gates of steps may name (`enforcement`, `validation`), each with what it judges and the
/// JSON Schema of its parameters (`enforcement_parameters`, `validation_parameters`); on request plugin files that were
/// refused with the reason. Call it before writing a workflow: only names from here work.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListValidators {
    /// Only those that can judge then; all when left out.
    #[serde(default)]
    phase: Option<PhaseFilter>,
    /// Whether to show plugin files that were refused, with stage, reason and hint.
    #[serde(default)]
    include_refused: Option<bool>,
    /// How many at most; 50 when left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
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
    /// The cursor of the next page, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The validators that serve.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ValidatorList {
    /// The validators.
    pub validators: Vec<PluginView>,
    /// Files that were refused, when they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedView>,
    /// The cursor of the next page, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl Answer for ValidatorList {
    fn text(&self) -> String {
        rendered(&self.validators, &self.refused, self.next_cursor.as_deref())
    }
}

impl Answer for PatternList {
    fn text(&self) -> String {
        let plugins: Vec<&PluginView> = self.patterns.iter().chain(&self.validators).collect();
        rendered(plugins, &self.refused, self.next_cursor.as_deref())
    }
}

/// Writes plugins for people, one paragraph each.
fn rendered<'a>(
    plugins: impl IntoIterator<Item = &'a PluginView>,
    refused: &[RefusedView],
    next_cursor: Option<&str>,
) -> String {
    let mut lines = Vec::new();
    for plugin in plugins {
        let schema = Value::Object(plugin.parameters_schema.clone()).to_string();
        let schema =
            if schema.len() <= 1_500 { format!("\n  parameters: {schema}") } else { String::new() };
        lines.push(format!(
            "{} {} {} ({}): {}{schema}",
            plugin.kind, plugin.name, plugin.version, plugin.source, plugin.summary
        ));
    }
    for refused in refused {
        let hint = refused.hint.as_ref().map_or_else(String::new, |hint| format!("; hint: {hint}"));
        lines.push(format!(
            "refused {} at {}: {}{hint}",
            refused.source, refused.stage, refused.reason
        ));
    }
    if lines.is_empty() {
        lines.push("no plugins".to_owned());
    }
    lines.extend(next_cursor.map(|cursor| format!("more: cursor {cursor}")));
    lines.join("\n")
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

/// How many bytes of JSON one plugin takes at most: a schema that is longer is left out.
const PLUGIN_BYTES_MAX: usize = 32 * 1024;

/// How many refused files an answer shows, and how long the reason of each.
const REFUSED_MAX: usize = 50;
const REASON_CHARS_MAX: usize = 600;

pub(super) fn list(tools: &Tools, arguments: ListPatterns) -> Result<PatternList, ToolError> {
    let kind = arguments.kind.unwrap_or_default();
    let plugins = tools.engine.plugins();
    let of = |wanted: PluginKind, shown: bool| {
        plugins.of(wanted).filter(move |_| shown).map(PluginView::of)
    };
    let all: Vec<PluginView> = of(PluginKind::Pattern, kind != KindFilter::Validator)
        .chain(of(PluginKind::Validator, kind != KindFilter::Pattern))
        .collect();
    let refused = refused(tools, arguments.include_refused);
    let (items, next_cursor) =
        plugin_page(all, &refused, arguments.limit, arguments.cursor.as_ref())?;
    let (patterns, validators) = items.into_iter().partition(|plugin| plugin.kind == "pattern");
    Ok(PatternList { patterns, validators, refused, next_cursor })
}

pub(super) fn list_validators(
    tools: &Tools,
    arguments: ListValidators,
) -> Result<ValidatorList, ToolError> {
    let phase = arguments.phase.map(|phase| match phase {
        PhaseFilter::Before => Phase::Before,
        PhaseFilter::After => Phase::After,
    });
    let plugins = tools.engine.plugins();
    let all: Vec<PluginView> = plugins
        .of(PluginKind::Validator)
        .filter(|plugin| phase.is_none_or(|phase| plugin.pinned.phases.contains(&phase)))
        .map(PluginView::of)
        .collect();
    let refused = refused(tools, arguments.include_refused);
    let (validators, next_cursor) =
        plugin_page(all, &refused, arguments.limit, arguments.cursor.as_ref())?;
    Ok(ValidatorList { validators, refused, next_cursor })
}

fn plugin_page(
    mut plugins: Vec<PluginView>,
    refused: &[RefusedView],
    limit: Option<u32>,
    cursor: Option<&String>,
) -> Result<(Vec<PluginView>, Option<String>), ToolError> {
    for plugin in &mut plugins {
        if json_bytes(plugin) > PLUGIN_BYTES_MAX {
            plugin.parameters_schema = Map::from_iter([(
                "description".to_owned(),
                Value::from(
                    "the schema is too long to show; a wrong parameter is named when it is used",
                ),
            )]);
            plugin.rules.truncate(100);
        }
    }
    let limit = limit.unwrap_or(ROWS).min(ROWS_MAX) as usize;
    let bytes = ANSWER_AIM_BYTES.saturating_sub(json_bytes(&refused));
    let name = |plugin: &PluginView| format!("{}/{}", plugin.kind, plugin.name);
    let page = page(plugins, name, (limit, bytes), filled(cursor))?;
    Ok((page.items, page.next_cursor))
}

fn refused(tools: &Tools, wanted: Option<bool>) -> Vec<RefusedView> {
    if wanted != Some(true) {
        return Vec::new();
    }
    let short = |text: &str| super::super::answer::line(text, REASON_CHARS_MAX);
    tools
        .engine
        .plugins()
        .refused
        .iter()
        .take(REFUSED_MAX)
        .map(|refused| RefusedView {
            source: refused.source.clone(),
            stage: refused.stage.clone(),
            reason: short(&refused.reason),
            hint: refused.hint.as_deref().map(short),
            digest: refused.digest.as_ref().map(ToString::to_string),
        })
        .collect()
}
