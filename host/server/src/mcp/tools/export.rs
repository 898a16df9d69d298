//! `export_workflow_data`: a workflow with its executions, as data to keep or to read.

mod kept;
mod lines;
mod pages;

use std::collections::BTreeMap;
use std::sync::Arc;

use caelum_core::id::Digest;
use caelum_core::workflow::WorkflowDefinition;
use caelum_engine::report::Export;
use caelum_engine::request::Snapshot;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::super::error::ToolError;
use super::super::tool::{Annotations, Answer, Tool, tool};
use super::Tools;
use super::answer::{ANSWER_AIM_BYTES, json_bytes};
use super::failure::refuse;
use crate::document::{WorkflowDocument, filled};

use kept::{Asked, Kept, Whole};

pub(super) fn tools(tools: &Tools) -> Vec<Tool> {
    let (exporting, kept) = (tools.clone(), Kept::default());
    vec![tool(
        "export_workflow_data",
        "Export a workflow",
        Annotations::READS,
        move |_, arguments| export(exporting.clone(), kept.clone(), arguments),
    )]
}

/// What an export is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// The definition and its executions with their events; imports back to the same definition.
    #[default]
    Json,
    /// The same as YAML.
    Yaml,
    /// The events of its executions, one JSON object a line.
    Ndjson,
    /// The steps of its executions, one row each.
    Csv,
    /// A page for people.
    Markdown,
    /// The graph of its steps as a Mermaid flow chart, with the state of the last execution.
    Mermaid,
    /// The last executions as JUnit XML: a suite each, a case for each step.
    Junit,
}

impl ExportFormat {
    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Markdown => "text/markdown",
            Self::Mermaid => "text/vnd.mermaid",
            Self::Junit => "application/xml",
        }
    }
}

/// Exports a workflow's definition and its executions, for backup or analysis. A long export comes in parts: when
/// `next_offset` is there, call again with it as `offset`, with the same `digest`, and put the parts together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExportWorkflowData {
    /// The workflow's id.
    #[schemars(example = &"active-port-management-v1")]
    workflow_id: String,
    /// What to write it in; `json` when left out.
    #[serde(default)]
    format: Option<ExportFormat>,
    /// Whether executions are part of it; true when left out. The formats about executions are empty without.
    #[serde(default)]
    include_executions: Option<bool>,
    /// Where to go on, in bytes; 0 when left out.
    #[serde(default)]
    #[schemars(range(min = 0))]
    offset: Option<usize>,
    /// The `digest` of the first part, so that every part is of the same text whatever happens to the workflow meanwhile.
    #[serde(default)]
    digest: Option<String>,
}

/// An export, or a part of one.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExportView {
    /// The workflow's id.
    pub workflow_id: String,
    /// The newest revision, which is what is exported.
    pub revision: u32,
    /// What it is written in.
    pub format: ExportFormat,
    /// Its media type.
    pub media_type: String,
    /// How many executions are part of it.
    pub executions: usize,
    /// Whether there are older executions that are not.
    pub executions_omitted: bool,
    /// The text, or this part of it.
    pub data: String,
    /// How many bytes the whole text has.
    pub total_bytes: usize,
    /// What the whole text hashes to (SHA-256); names it when the next part is asked for.
    pub digest: String,
    /// Where the next part begins; missing in the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<usize>,
}

impl Answer for ExportView {
    fn text(&self) -> String {
        match self.next_offset {
            None => self.data.clone(),
            Some(next) => format!(
                "{}\n(bytes up to {next} of {}; call again with offset: {next}, digest: {})",
                self.data, self.total_bytes, self.digest
            ),
        }
    }
}

async fn export(
    tools: Tools,
    kept: Kept,
    arguments: ExportWorkflowData,
) -> Result<ExportView, ToolError> {
    let asked = Asked {
        workflow_id: arguments.workflow_id,
        format: arguments.format.unwrap_or_default(),
        include_executions: arguments.include_executions.unwrap_or(true),
    };
    let digest = filled(arguments.digest.as_ref());
    let whole = match digest.and_then(|digest| kept.of(&asked, digest)) {
        Some(whole) => whole,
        None => Arc::new(written(&tools, asked).await?),
    };
    if digest.is_some_and(|digest| digest != whole.digest) {
        return Err(ToolError::new(
            "export_changed",
            format!("the export of `{}` is another one now", whole.asked.workflow_id),
        )
        .hint(
            "something has happened since its first part; begin again without offset and digest",
        ));
    }
    let (data, next_offset) = part(&whole.text, arguments.offset.unwrap_or(0));
    match next_offset {
        Some(_) => kept.keep(&whole),
        None => kept.done(&whole),
    }
    Ok(ExportView {
        workflow_id: whole.asked.workflow_id.clone(),
        revision: whole.revision,
        format: whole.asked.format,
        media_type: whole.asked.format.media_type().to_owned(),
        executions: whole.executions,
        executions_omitted: whole.executions_omitted,
        data,
        total_bytes: whole.text.len(),
        digest: whole.digest.clone(),
        next_offset,
    })
}

/// Writes a whole export.
async fn written(tools: &Tools, asked: Asked) -> Result<Whole, ToolError> {
    let export =
        tools.engine.export(&asked.workflow_id, asked.include_executions).await.map_err(refuse)?;
    let text = write(&export, asked.format, tools.engine.now())?;
    Ok(Whole {
        asked,
        revision: export.definition.revision,
        executions: export.executions.len(),
        executions_omitted: export.truncated,
        digest: Digest::from_bytes(&Sha256::digest(text.as_bytes()).into()).to_string(),
        text,
    })
}

fn write(
    export: &Export,
    format: ExportFormat,
    now: caelum_core::clock::Timestamp,
) -> Result<String, ToolError> {
    let failed = |error| ToolError::internal("write the export", error);
    Ok(match format {
        ExportFormat::Json => document(export, now)?.to_json(),
        ExportFormat::Yaml => {
            document(export, now)?.to_yaml().map_err(|error| failed(error.to_string()))?
        }
        ExportFormat::Ndjson => lines::ndjson(export),
        ExportFormat::Csv => lines::csv(export),
        ExportFormat::Markdown => pages::markdown(export),
        ExportFormat::Mermaid => pages::mermaid(export),
        ExportFormat::Junit => pages::junit(export),
    })
}

/// Returns the document of the definition, with its executions and their events along.
fn document(
    export: &Export,
    now: caelum_core::clock::Timestamp,
) -> Result<WorkflowDocument, ToolError> {
    let mut document = WorkflowDocument::of(&export.definition);
    document.revisions = earlier_revisions(export)?;
    for (execution, events) in &export.executions {
        let snapshot = Snapshot { execution: Arc::clone(execution), at: now };
        let mut whole = match serde_json::to_value(super::status::whole(&snapshot)) {
            Ok(Value::Object(whole)) => whole,
            Ok(_) => Map::new(),
            Err(error) => return Err(ToolError::internal("write an execution", error)),
        };
        // What to do next is no part of the record.
        whole.remove("poll_after_ms");
        whole.insert("events".to_owned(), json!(events));
        document.executions.push(whole);
    }
    Ok(document)
}

/// Returns the documents of the earlier revisions that executions ran under, newest first: without them the events mean
/// nothing elsewhere.
fn earlier_revisions(export: &Export) -> Result<Vec<Map<String, Value>>, ToolError> {
    let earlier: BTreeMap<u32, &WorkflowDefinition> = export
        .executions
        .iter()
        .map(|(execution, _)| (execution.definition().revision, &**execution.definition()))
        .filter(|(revision, _)| *revision != export.definition.revision)
        .collect();
    let written = earlier.into_values().rev().map(|definition| {
        match serde_json::to_value(WorkflowDocument::of(definition)) {
            Ok(Value::Object(document)) => Ok(document),
            Ok(_) => Ok(Map::new()),
            Err(error) => Err(ToolError::internal("write a revision", error)),
        }
    });
    written.collect()
}

/// Cuts a part that fits a client out of a text, from `offset` on.
fn part(text: &str, offset: usize) -> (String, Option<usize>) {
    let mut start = offset.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut length = ANSWER_AIM_BYTES - 1_024;
    loop {
        let mut end = (start + length).min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let part = &text[start..end];
        // As a JSON string it is longer: quotes and line feeds are escaped.
        if json_bytes(&part) <= ANSWER_AIM_BYTES - 512 {
            return (part.to_owned(), (end < text.len()).then_some(end));
        }
        length = length * 3 / 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_put_together_are_the_whole_text() {
        let text = "{\"ä\": \"\\n\"}\n".repeat(30_000);

        let mut whole = String::new();
        let mut offset = Some(0);
        let mut parts = 0;
        while let Some(from) = offset {
            let (data, next) = part(&text, from);
            assert!(json_bytes(&data) <= ANSWER_AIM_BYTES);
            whole.push_str(&data);
            offset = next;
            parts += 1;
        }

        assert_eq!(whole, text);
        assert!(parts > 3, "{parts}");
    }

    #[test]
    fn an_offset_behind_the_end_gives_nothing() {
        assert_eq!(part("abc", 99), (String::new(), None));
    }
}
