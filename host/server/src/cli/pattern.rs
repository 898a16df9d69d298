//! `list-patterns`, `validate-pattern`, `apply-pattern`, `revert-pattern`.

use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::CommandError;
use super::access::{Access, Reach};
use super::exit::Exit;
use super::output::{ATTENTION, BAD, FAINT, GOOD, Output, STRONG, paint};
use super::parameters::Parameters;
use super::tree;
use crate::config::Config;
use crate::mcp::tools::answer::counted;
use crate::mcp::tools::pattern::{
    ApplicationView, FindingView, PatternList, PluginView, RevertedView, ValidationView,
};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Pattern,
    Validator,
    All,
}

#[derive(Debug, Args)]
pub(super) struct ListPatterns {
    /// What to list.
    #[arg(long, value_enum, default_value = "pattern")]
    kind: Kind,
    /// Show plugin files that were refused too, with the reason.
    #[arg(long)]
    refused: bool,
}

impl ListPatterns {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let kind = match self.kind {
            Kind::Pattern => "pattern",
            Kind::Validator => "validator",
            Kind::All => "all",
        };
        let list = Access::within(config, Reach::Store, async |access| {
            all_plugins(access, kind, self.refused).await
        });
        show_list(output, &list.await?).map_err(CommandError::Output)
    }
}

/// Puts the pages of a list of plugins together.
async fn all_plugins(
    access: &Access,
    kind: &str,
    refused: bool,
) -> Result<PatternList, CommandError> {
    let mut question = json!({"kind": kind, "include_refused": refused});
    let mut list: PatternList = access.call("list_patterns", question.clone()).await?;
    question["include_refused"] = json!(false);
    while let Some(cursor) = list.next_cursor.take() {
        question["cursor"] = json!(cursor);
        let page: PatternList = access.call("list_patterns", question.clone()).await?;
        list.patterns.extend(page.patterns);
        list.validators.extend(page.validators);
        list.next_cursor = page.next_cursor;
    }
    Ok(list)
}

fn show_list(output: &mut Output, list: &PatternList) -> std::io::Result<Exit> {
    if output.result(list)? {
        return Ok(Exit::Ok);
    }
    for plugin in list.patterns.iter().chain(&list.validators) {
        output.line(format!(
            "{} {}",
            paint(STRONG, &plugin.name),
            paint(FAINT, format!("{} {}, {}", plugin.kind, plugin.version, plugin.source))
        ))?;
        output.line(format!("  {}", plugin.summary))?;
        for rule in &plugin.rules {
            output.line(format!(
                "  {} {} {}",
                rule.id,
                paint(FAINT, &rule.severity),
                rule.title
            ))?;
        }
    }
    for refused in &list.refused {
        output.line(format!(
            "{} {} at {}: {}",
            paint(BAD, "refused"),
            refused.source,
            refused.stage,
            refused.reason
        ))?;
        if let Some(hint) = &refused.hint {
            output.line(format!("  {} {hint}", paint(ATTENTION, "hint:")))?;
        }
    }
    Ok(Exit::Ok)
}

#[derive(Debug, Args)]
pub(super) struct ValidatePattern {
    /// The pattern, see list-patterns.
    name: String,
    /// A registered component, or its directory.
    #[arg(long, value_name = "COMPONENT")]
    component: String,
    #[command(flatten)]
    parameters: Parameters,
}

impl ValidatePattern {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let validation =
            Access::within(config, Reach::Roots, async |access| self.on(access).await).await?;
        show_validation(output, &validation).map_err(CommandError::Output)
    }

    async fn on(&self, access: &Access) -> Result<ValidationView, CommandError> {
        let parameters = read_parameters(access, &self.parameters, &self.name).await?;
        let arguments = json!({
            "pattern_name": self.name, "target_component": component(&self.component),
            "parameters": parameters,
        });
        Ok(access.call("validate_pattern_application", arguments).await?)
    }
}

/// Reads parameters in the light of the pattern's schema.
async fn read_parameters(
    access: &Access,
    parameters: &Parameters,
    pattern: &str,
) -> Result<Map<String, Value>, CommandError> {
    if !parameters.need_schema() {
        return parameters.read(None);
    }
    let list = all_plugins(access, "pattern", false).await?;
    let plugin: Option<&PluginView> = list.patterns.iter().find(|plugin| plugin.name == pattern);
    parameters.read(plugin.map(|plugin| &plugin.parameters_schema))
}

/// Returns a component as the engine takes it: a path that was typed begins here and not at a root.
fn component(text: &str) -> String {
    let typed_as_path = text.starts_with('.') || text.starts_with('/') || text.contains('/');
    match Path::new(text).canonicalize() {
        Ok(path) if typed_as_path && path.is_dir() => path.display().to_string(),
        _ => text.to_owned(),
    }
}

fn finding_line(finding: &FindingView) -> String {
    let style = match finding.severity.as_str() {
        "blocking" => BAD,
        "warning" => ATTENTION,
        _ => FAINT,
    };
    let place = finding.place.as_ref().map_or_else(String::new, |place| format!("{place}: "));
    format!("  {} {} {place}{}", paint(style, &finding.severity), finding.rule, finding.message)
}

fn show_validation(output: &mut Output, view: &ValidationView) -> std::io::Result<Exit> {
    let exit = if view.can_apply { Exit::Ok } else { Exit::Failed };
    if output.result(view)? {
        return Ok(exit);
    }
    let score = view.score.map_or_else(String::new, |score| format!(", score {score:.0} of 100"));
    output.line(format!(
        "{} {} on {}: {}{score}",
        paint(STRONG, &view.pattern_name),
        view.pattern_version,
        view.target_component,
        view.applicability.replace('_', " "),
    ))?;
    for issue in &view.blocking_issues {
        output.line(format!("  {} {issue}", paint(BAD, "in the way:")))?;
    }
    for finding in &view.findings {
        output.line(finding_line(finding))?;
    }
    let more = view.findings_total.saturating_sub(view.findings.len());
    if more > 0 {
        output.line(format!("  and {more} more"))?;
    }
    output.line(format!(
        "applying it would make {}, {} of them for review, in {}",
        counted(view.edits.total, "edit", "edits"),
        view.edits.review,
        if view.changed_files.is_empty() {
            "no file".to_owned()
        } else {
            view.changed_files.join(", ")
        }
    ))?;
    Ok(exit)
}

#[derive(Debug, Args)]
pub(super) struct ApplyPattern {
    /// The pattern, see list-patterns.
    name: String,
    /// A registered component, or its directory.
    #[arg(long, value_name = "COMPONENT")]
    component: String,
    #[command(flatten)]
    parameters: Parameters,
    /// Show the diff and write nothing; the plan can be applied by its id.
    #[arg(long)]
    dry_run: bool,
    /// Apply exactly this plan of an earlier dry run.
    #[arg(long, value_name = "PLAN")]
    plan_id: Option<String>,
    /// Apply edits that somebody should look at too.
    #[arg(long)]
    allow_review_edits: bool,
    /// Only edits that answer this rule. May be repeated.
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
}

impl ApplyPattern {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let application =
            Access::within(config, Reach::Roots, async |access| self.on(access).await).await?;
        show_application(output, &application).map_err(CommandError::Output)
    }

    async fn on(&self, access: &Access) -> Result<ApplicationView, CommandError> {
        let parameters = read_parameters(access, &self.parameters, &self.name).await?;
        let arguments = json!({
            "pattern_name": self.name, "target_component": component(&self.component),
            "parameters": parameters, "dry_run": self.dry_run, "plan_id": self.plan_id,
            "allow_review_edits": self.allow_review_edits, "rules": self.rule,
        });
        Ok(access.call("apply_pattern", arguments).await?)
    }
}

fn show_application(output: &mut Output, view: &ApplicationView) -> std::io::Result<Exit> {
    let exit = match view.status.as_str() {
        "applied" | "unchanged" | "planned" => Exit::Ok,
        _ => Exit::Failed,
    };
    if output.result(view)? {
        return Ok(exit);
    }
    output.line(format!(
        "{} {} {} on {}: {}",
        tree::status(&view.status),
        view.pattern_name,
        view.pattern_version,
        view.target_component,
        view.results.summary
    ))?;
    show_diff(output, &view.results.diff)?;
    for edit in &view.results.withheld {
        output.line(format!(
            "{} {}: {}",
            paint(ATTENTION, "withheld:"),
            edit.path,
            edit.rationale
        ))?;
    }
    if !view.results.withheld.is_empty() {
        output.line("  --allow-review-edits applies them too")?;
    }
    for line in &view.validation_results {
        output.line(format!("  {line}"))?;
    }
    for step in &view.next_steps {
        let word = if step.blocking { "must do:" } else { "should do:" };
        output.line(format!("{} {}: {}", paint(ATTENTION, word), step.title, step.instructions))?;
    }
    if let Some(plan_id) = &view.plan_id
        && view.status == "planned"
    {
        output.line(format!("apply exactly this with --plan-id {plan_id}"))?;
    }
    if view.status == "applied" {
        output.line(format!(
            "{} caelum-workflow revert-pattern {}",
            paint(FAINT, "take it back with"),
            view.application_id
        ))?;
    }
    Ok(exit)
}

/// Writes a unified diff in colours.
pub(super) fn show_diff(output: &mut Output, diff: &str) -> std::io::Result<()> {
    for line in diff.lines() {
        let style = match line.as_bytes().first() {
            _ if line.starts_with("+++") || line.starts_with("---") => STRONG,
            Some(b'+') => GOOD,
            Some(b'-') => BAD,
            Some(b'@') => super::output::ACTIVE,
            _ => {
                output.line(line)?;
                continue;
            }
        };
        output.line(paint(style, line))?;
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(super) struct RevertPattern {
    /// The application, as apply-pattern named it.
    application: String,
}

impl RevertPattern {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let arguments = json!({"application_id": self.application});
        let reverted: RevertedView =
            Access::call_once(config, "revert_pattern_application", arguments).await?;
        let show = |output: &mut Output| -> std::io::Result<()> {
            if !output.result(&reverted)? {
                output.line(format!(
                    "{} {} on {}: {}",
                    reverted.status,
                    reverted.pattern_name,
                    reverted.target_component,
                    reverted.restored.join(", ")
                ))?;
            }
            Ok(())
        };
        show(output).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }
}
