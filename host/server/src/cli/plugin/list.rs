//! `plugin list`: what serves, what is shadowed, what is kept out and why, and what is pinned.

use caelum_plugin_host::Plugin;
use clap::Args;
use serde::Serialize;

use crate::config::Config;

use super::super::CommandError;
use super::super::exit::Exit;
use super::super::output::{ATTENTION, BAD, FAINT, GOOD, Output, paint};
use super::which::plugins;

#[derive(Debug, Args)]
pub(super) struct List {}

/// One plugin, or one file that is none.
#[derive(Serialize)]
struct ListRow {
    /// `serves`, `shadowed` or `refused`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    pinned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl List {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let plugins = plugins(config).await?;
        let snapshot = plugins.snapshot();
        let row = |state: &'static str, plugin: &Plugin| ListRow {
            state,
            name: Some(plugin.name().to_string()),
            version: Some(plugin.version().to_string()),
            kind: Some(plugin.kind().to_string()),
            source: plugin.source().to_string(),
            digest: Some(plugin.digest().to_string()),
            pinned: plugins.is_pinned(plugin.digest()),
            stage: None,
            reason: None,
            hint: None,
        };
        let mut rows: Vec<ListRow> =
            snapshot.plugins.values().map(|plugin| row("serves", plugin)).collect();
        rows.extend(snapshot.shadowed.iter().map(|plugin| row("shadowed", plugin)));
        rows.extend(snapshot.refused.iter().map(|refused| ListRow {
            state: "refused",
            name: None,
            version: None,
            kind: None,
            source: refused.source.to_string(),
            digest: refused.digest.as_ref().map(ToString::to_string),
            pinned: refused.digest.as_ref().is_some_and(|digest| plugins.is_pinned(digest)),
            stage: Some(refused.stage.to_string()),
            reason: Some(refused.reason.clone()),
            hint: Some(refused.hint.clone()),
        }));
        show(output, &rows).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }
}

fn show(output: &mut Output, rows: &[ListRow]) -> std::io::Result<()> {
    if output.result(&rows)? {
        return Ok(());
    }
    for row in rows {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let digest: String = text(&row.digest).chars().take(12).collect();
        let pinned = if row.pinned { " pinned" } else { "" };
        match row.state {
            "refused" => {
                output.line(format!(
                    "{} {} at {}: {} {}{pinned}",
                    paint(BAD, "refused"),
                    row.source,
                    text(&row.stage),
                    text(&row.reason),
                    paint(FAINT, digest),
                ))?;
                output.line(format!("  {} {}", paint(ATTENTION, "hint:"), text(&row.hint)))?;
            }
            state => {
                let state = if state == "serves" {
                    paint(GOOD, text(&row.name))
                } else {
                    paint(FAINT, format!("{} (shadowed)", text(&row.name)))
                };
                output.line(format!(
                    "{state} {} {} from {} {}{pinned}",
                    text(&row.version),
                    text(&row.kind),
                    row.source,
                    paint(FAINT, digest),
                ))?;
            }
        }
    }
    Ok(())
}
