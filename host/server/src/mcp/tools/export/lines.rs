//! Exports made of lines: events as NDJSON, steps as CSV.

use caelum_core::workflow::{Execution, GateRecord};
use caelum_engine::report::Export;
use serde_json::json;

/// Writes every event of every execution, oldest execution first, one JSON object a line.
pub(super) fn ndjson(export: &Export) -> String {
    let mut text = String::new();
    for (execution, events) in export.executions.iter().rev() {
        for event in events {
            let line = json!({
                "execution_id": execution.id().as_str(),
                "workflow_id": execution.head().workflow_id.as_str(),
                "revision": execution.head().revision,
                "seq": event.seq,
                "at": event.at,
                "event": event.body,
            });
            text.push_str(&line.to_string());
            text.push('\n');
        }
    }
    text
}

const COLUMNS: [&str; 15] = [
    "execution_id",
    "revision",
    "step_id",
    "step_name",
    "type",
    "action",
    "status",
    "attempt",
    "started_at",
    "ended_at",
    "duration_ms",
    "machines",
    "verdicts",
    "failure_code",
    "failure_message",
];

/// Writes every step of every execution, newest execution first, one row each (RFC 4180).
pub(super) fn csv(export: &Export) -> String {
    let mut text = COLUMNS.join(",");
    text.push_str("\r\n");
    for (execution, _) in &export.executions {
        for index in 0..execution.steps().len() {
            let row = row(execution, index);
            text.push_str(&row.map(|field| quoted(&field)).join(","));
            text.push_str("\r\n");
        }
    }
    text
}

fn row(execution: &Execution, index: usize) -> [String; 15] {
    let step = &execution.definition().steps[index];
    let state = execution.step(index);
    let time =
        |at: Option<caelum_core::clock::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let duration = state
        .started_at
        .zip(state.ended_at)
        .map(|(started, ended)| ended.since(started).as_millis().to_string());
    let machines: Vec<&str> =
        state.targets.machines().iter().map(|machine| machine.as_str()).collect();
    let verdict =
        |record: &GateRecord| format!("{} {}", record.validator.name, record.verdict.kind.as_str());
    let verdicts: Vec<String> = state.gates.iter().map(verdict).collect();
    let failure = state.failure.as_ref();
    [
        execution.id().to_string(),
        execution.head().revision.to_string(),
        step.id.to_string(),
        step.name.clone(),
        step.step_type.as_str().to_owned(),
        step.action.as_str().to_owned(),
        state.status().as_str().to_owned(),
        state.attempt.to_string(),
        time(state.started_at),
        time(state.ended_at),
        duration.unwrap_or_default(),
        machines.join(" "),
        verdicts.join("; "),
        failure.map(|failure| failure.code.clone()).unwrap_or_default(),
        failure.map(|failure| failure.message.clone()).unwrap_or_default(),
    ]
}

/// Quotes a field where it must be. A spreadsheet takes what begins like a formula for one, so that is defused.
fn quoted(field: &str) -> String {
    let field = if field.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{field}")
    } else {
        field.to_owned()
    };
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_formulas_are_defused() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted("=cmd()"), "'=cmd()");
    }
}
