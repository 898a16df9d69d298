//! Exports for reading: a Markdown page, a Mermaid flow chart, JUnit XML.

use caelum_core::workflow::{Execution, Step, StepState, StepStatus, WorkflowDefinition};
use caelum_engine::report::Export;

/// How many executions a page shows.
const EXECUTIONS_SHOWN: usize = 20;

/// Writes a page about a workflow: its steps, its graph, its last executions.
pub(super) fn markdown(export: &Export) -> String {
    let definition = &*export.definition;
    let mut text = format!("# {}\n\n", inline(&definition.name));
    text.push_str(&format!(
        "Workflow `{}`, revision {}, {}.\n",
        definition.workflow_id,
        definition.revision,
        definition.status.as_str()
    ));
    if !definition.pattern.is_empty() {
        text.push_str(&format!("\nPattern: {}\n", inline(&definition.pattern)));
    }
    if !definition.description.trim().is_empty() {
        text.push_str(&format!("\n{}\n", definition.description.trim()));
    }
    text.push_str("\n## Steps\n\n| step | type | action | enforcement | validation | after |\n|---|---|---|---|---|---|\n");
    for step in &definition.steps {
        let gate = |name: &Option<caelum_core::id::PluginName>| {
            name.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string)
        };
        let after: Vec<&str> = step.dependencies.iter().map(|id| id.as_str()).collect();
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            cell(&label(step)),
            step.step_type.as_str(),
            cell(&action(step)),
            gate(&step.enforcement),
            gate(&step.validation),
            if after.is_empty() { "–".to_owned() } else { after.join(", ") },
        ));
    }
    text.push_str(&format!("\n```mermaid\n{}```\n", mermaid(export)));
    for (execution, _) in export.executions.iter().take(EXECUTIONS_SHOWN) {
        text.push_str(&section(execution));
    }
    text
}

/// Says what a step does, and over what it goes.
fn action(step: &Step) -> String {
    let kind = step.action.as_str();
    match step.map.as_ref().map(|map| (&map.over, &map.name)) {
        None => kind.to_owned(),
        Some((serde_json::Value::Array(items), name)) => {
            format!("{kind} for each {name} of {} items", items.len())
        }
        Some((over, name)) => {
            format!("{kind} for each {name} of {}", over.as_str().unwrap_or_default())
        }
    }
}

fn section(execution: &Execution) -> String {
    let head = execution.head();
    let mut text = format!(
        "\n## Execution {}\n\n{}, revision {}, started {} by {}{}\n\n| step | status | attempts | verdicts | failure |\n|---|---|---|---|---|\n",
        head.id,
        execution.status().as_str(),
        head.revision,
        head.started_at,
        inline(&head.started_by),
        head.ended_at.map_or_else(String::new, |at| format!(", ended {at}")),
    );
    for (step, state) in execution.definition().steps.iter().zip(execution.steps()) {
        let verdicts: Vec<String> = state
            .gates
            .iter()
            .map(|record| format!("{}: {}", record.validator.name, record.verdict.kind.as_str()))
            .collect();
        let failure = state.failure.as_ref().map_or("", |failure| failure.message.as_str());
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            step.id,
            state.status().as_str(),
            state.attempt,
            cell(&verdicts.join(", ")),
            cell(failure),
        ));
    }
    text
}

fn label(step: &Step) -> String {
    if step.name == step.id.as_str() {
        step.id.to_string()
    } else {
        format!("{} ({})", step.name, step.id)
    }
}

/// Keeps a text within one line.
fn inline(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Keeps a text within one cell of a table.
fn cell(text: &str) -> String {
    inline(text).replace('|', "\\|")
}

/// Writes the graph of the steps; colours tell the state of the last execution of this revision.
pub(super) fn mermaid(export: &Export) -> String {
    let definition: &WorkflowDefinition = &export.definition;
    let last = export
        .executions
        .iter()
        .map(|(execution, _)| execution)
        .find(|execution| execution.head().revision == definition.revision);
    let mut text = String::from("flowchart TD\n");
    for (index, step) in definition.steps.iter().enumerate() {
        let gates: Vec<&str> = step
            .enforcement
            .iter()
            .chain(&step.validation)
            .map(caelum_core::id::PluginName::as_str)
            .collect();
        let mut small: Vec<String> = Vec::new();
        if step.map.is_some() {
            small.push(entity(&action(step)));
        }
        if !gates.is_empty() {
            small.push(gates.join(", "));
        }
        let gates: String =
            small.iter().map(|line| format!("<br/><small>{line}</small>")).collect();
        let class = last
            .and_then(|execution| execution.steps().get(index))
            .map_or("", |state| class(state));
        text.push_str(&format!("  s{index}[\"{}{gates}\"]{class}\n", entity(&label(step))));
    }
    for (index, step) in definition.steps.iter().enumerate() {
        for dependency in &step.dependencies {
            if let Some(from) = definition.steps.iter().position(|other| other.id == *dependency) {
                text.push_str(&format!("  s{from} --> s{index}\n"));
            }
        }
    }
    for (name, colours) in [
        ("completed", "fill:#d3f9d8,stroke:#2b8a3e"),
        ("failed", "fill:#ffe3e3,stroke:#c92a2a"),
        ("running", "fill:#d0ebff,stroke:#1864ab"),
        ("skipped", "fill:#f1f3f5,stroke:#868e96"),
    ] {
        text.push_str(&format!("  classDef {name} {colours}\n"));
    }
    text
}

fn class(state: &StepState) -> &'static str {
    match state.status() {
        StepStatus::Completed => ":::completed",
        StepStatus::Failed => ":::failed",
        StepStatus::Running => ":::running",
        StepStatus::Skipped | StepStatus::Cancelled => ":::skipped",
        StepStatus::Pending => "",
    }
}

/// Writes what Mermaid and XML would take for their own as entities, and drops what XML cannot hold.
fn entity(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push_str("&#10;"),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                out.push('\u{fffd}');
            }
            letter => out.push(letter),
        }
    }
    out
}

/// Writes executions as JUnit XML, newest first: a suite each, a case for each step.
pub(super) fn junit(export: &Export) -> String {
    let workflow = entity(export.definition.workflow_id.as_str());
    let mut text =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{workflow}\">\n");
    for (execution, _) in &export.executions {
        let count = |wanted: &[StepStatus]| {
            execution.steps().iter().filter(|step| wanted.contains(&step.status())).count()
        };
        text.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" timestamp=\"{}\">\n",
            entity(execution.id().as_str()),
            execution.steps().len(),
            count(&[StepStatus::Failed]),
            count(&[
                StepStatus::Skipped,
                StepStatus::Cancelled,
                StepStatus::Pending,
                StepStatus::Running
            ]),
            execution.head().started_at,
        ));
        for (step, state) in execution.definition().steps.iter().zip(execution.steps()) {
            text.push_str(&case(&workflow, step, state));
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn case(workflow: &str, step: &Step, state: &StepState) -> String {
    let seconds = state
        .started_at
        .zip(state.ended_at)
        .map_or(0.0, |(started, ended)| ended.since(started).as_secs_f64());
    let open = format!(
        "    <testcase classname=\"{workflow}\" name=\"{}\" time=\"{seconds:.3}\"",
        entity(&label(step))
    );
    match state.status() {
        StepStatus::Completed => format!("{open}/>\n"),
        StepStatus::Failed => {
            let (code, message) = state
                .failure
                .as_ref()
                .map_or(("failed", ""), |failure| (&failure.code, &failure.message));
            let reasons: Vec<String> = state
                .gates
                .iter()
                .flat_map(|record| &record.verdict.reasons)
                .map(|reason| entity(&format!("{}: {}", reason.code, reason.message)))
                .collect();
            format!(
                "{open}>\n      <failure type=\"{}\" message=\"{}\">{}</failure>\n    </testcase>\n",
                entity(code),
                entity(message),
                reasons.join("\n")
            )
        }
        other => {
            format!("{open}>\n      <skipped message=\"{}\"/>\n    </testcase>\n", other.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_markup_would_take_for_its_own_becomes_an_entity() {
        assert_eq!(entity("a\"]<b>&'\u{1}"), "a&quot;]&lt;b&gt;&amp;&#39;\u{fffd}");
        assert_eq!(cell("a|b\nc"), "a\\|b c");
    }
}
