//! An execution as a tree of steps, gates and machines, in lines for a terminal.

use std::collections::BTreeSet;

use super::output::{ACTIVE, ATTENTION, BAD, FAINT, GOOD, STRONG, paint};
use crate::mcp::tools::answer::span;
use crate::mcp::tools::status::{ExecutionView, GateView, MachineView, StepView};

/// How many machines of one step are drawn while there are more.
const MACHINES_SHOWN: usize = 8;

/// How much of an item is drawn, in characters.
const ITEM_SHOWN_MAX: usize = 60;

/// Draws the whole tree.
pub(super) fn lines(view: &ExecutionView) -> Vec<String> {
    let mut lines = vec![format!(
        "{} {} {} {}",
        paint(STRONG, &view.workflow_id),
        paint(FAINT, format!("revision {}, {}", view.revision, view.execution_id)),
        status(&view.status),
        paint(FAINT, format!("{}/{} steps", view.progress.done, view.progress.total)),
    )];
    let width = view.steps.iter().map(|step| step.id.chars().count()).max().unwrap_or(0).min(32);
    let last = view.steps.len().saturating_sub(1);
    for (index, step) in view.steps.iter().enumerate() {
        let (branch, trunk) = if index == last { ("└─", "   ") } else { ("├─", "│  ") };
        lines.push(format!("{} {}", paint(FAINT, branch), step_line(step, width)));
        for inner in details(step) {
            lines.push(format!("{} {inner}", paint(FAINT, trunk)));
        }
    }
    if view.steps_omitted > 0 {
        lines.push(paint(FAINT, format!("   and {} more steps", view.steps_omitted)));
    }
    lines
}

fn step_line(step: &StepView, width: usize) -> String {
    let mut line = format!("{} {:width$}", mark(step), step.id);
    if step.name != step.id {
        line.push_str("  ");
        line.push_str(&paint(FAINT, &step.name));
    }
    if step.attempt > 1 {
        line.push_str(&paint(ATTENTION, format!("  attempt {}", step.attempt)));
    }
    if step.status == "running" && step.phase != "acting" {
        line.push_str(&paint(ATTENTION, format!("  {}", step.phase.replace('_', " "))));
    }
    if let Some(duration) = step.duration_ms
        && step.status != "running"
    {
        line.push_str(&paint(FAINT, format!("  {}", span(duration))));
    }
    line
}

fn details(step: &StepView) -> Vec<String> {
    let mut lines: Vec<String> = step.gates.iter().map(gate_line).collect();
    for gate in step.gates.iter().filter(|gate| gate.verdict != "pass") {
        for reason in gate.reasons.iter().take(3) {
            lines.push(format!("    {}", paint(FAINT, reason.line())));
        }
    }
    // One machine is not worth a line unless something is to be said about it.
    if let Some(counts) = item_counts(step) {
        lines.push(paint(FAINT, counts));
    }
    if step.machines.len() > 1 && !all_items_well(step) {
        lines.extend(step.machines.iter().take(MACHINES_SHOWN).map(machine_line));
        let more = step.machines.len().saturating_sub(MACHINES_SHOWN) + step.machines_omitted;
        if more > 0 {
            let what = if goes_over_items(step) { "items" } else { "machines" };
            lines.push(paint(FAINT, format!("and {more} more {what}")));
        }
    }
    if let Some(failure) = &step.failure
        && step.status != "completed"
        && failure.class != "gate"
    {
        lines.push(format!("{} {}", paint(BAD, "!"), failure.message));
    }
    lines
}

fn gate_line(gate: &GateView) -> String {
    let (sign, style) = match gate.verdict.as_str() {
        "pass" => ("✓", GOOD),
        "fail" => ("✗", BAD),
        "needs-review" => ("?", ATTENTION),
        _ => ("~", ATTENTION),
    };
    format!(
        "{} {} {} {}",
        paint(style, sign),
        paint(FAINT, format!("{} gate", gate.gate)),
        gate.validator,
        paint(style, format!("{}: {}", gate.verdict, gate.summary)),
    )
}

fn goes_over_items(step: &StepView) -> bool {
    step.machines.first().is_some_and(|machine| machine.item.is_some())
}

/// Whether there is nothing to say about items but how many there were.
fn all_items_well(step: &StepView) -> bool {
    goes_over_items(step) && step.machine_counts.keys().all(|status| status == "completed")
}

/// Says how many items of a list stand where.
fn item_counts(step: &StepView) -> Option<String> {
    if !goes_over_items(step) || step.machine_counts.is_empty() {
        return None;
    }
    let total: usize = step.machine_counts.values().sum();
    let counts: Vec<String> =
        step.machine_counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    Some(format!("{total} items: {}", counts.join(", ")))
}

fn machine_line(machine: &MachineView) -> String {
    let code = machine.exit_code.map_or_else(String::new, |code| format!(", exit code {code}"));
    let status = paint(FAINT, format!(" {}{code}", machine.status));
    match machine.item {
        Some(index) => {
            let value = machine.item_value.iter().flat_map(|text| text.chars());
            let value: String = value.take(ITEM_SHOWN_MAX).collect();
            format!("{} {index} {}{status}", paint(FAINT, "item"), paint(FAINT, value))
        }
        None => format!("{} {}{status}", paint(FAINT, "on"), machine.machine),
    }
}

fn mark(step: &StepView) -> String {
    match step.status.as_str() {
        "completed" => paint(GOOD, "✓"),
        "failed" => paint(BAD, "✗"),
        "skipped" => paint(FAINT, "↷"),
        "cancelled" => paint(FAINT, "■"),
        "running" if step.phase.starts_with("awaiting") => paint(ATTENTION, "?"),
        "running" => paint(ACTIVE, "▶"),
        _ => paint(FAINT, "·"),
    }
}

/// Writes a status in its colour.
pub(super) fn status(status: &str) -> String {
    let style = match status {
        "completed" | "healthy" | "applied" | "unchanged" => GOOD,
        "failed" | "unhealthy" | "blocked" | "conflict" => BAD,
        "paused" | "degraded" | "planned" => ATTENTION,
        "executing" => ACTIVE,
        _ => STRONG,
    };
    paint(style, status)
}

/// Writes a verdict in its colour.
pub(super) fn verdict(verdict: &str) -> String {
    let style = match verdict {
        "pass" => GOOD,
        "fail" => BAD,
        _ => ATTENTION,
    };
    paint(style, verdict)
}

/// Says in plain lines what happened between two looks at an execution.
pub(super) fn news(before: Option<&ExecutionView>, now: &ExecutionView) -> Vec<String> {
    let mut lines = Vec::new();
    if before.is_none() {
        lines.push(format!(
            "execution {} of {} (revision {})",
            now.execution_id, now.workflow_id, now.revision
        ));
    }
    for step in &now.steps {
        let old = before.and_then(|view| view.steps.iter().find(|old| old.id == step.id));
        lines.extend(step_news(old, step));
    }
    if before.is_some_and(|view| view.status != now.status)
        || (before.is_none() && now.status != "executing")
    {
        lines.push(format!(
            "execution {}: {}/{} steps",
            now.status, now.progress.done, now.progress.total
        ));
    }
    lines
}

fn step_news(old: Option<&StepView>, step: &StepView) -> Vec<String> {
    let mut lines = Vec::new();
    let attempt_before = old.map_or(0, |old| old.attempt);
    if step.attempt > attempt_before {
        let which =
            if step.attempt > 1 { format!(", attempt {}", step.attempt) } else { String::new() };
        lines.push(format!("step {}: started{which}", step.id));
    }
    // Judgements of the attempt that was seen before need no second telling.
    let told: BTreeSet<(&str, &str, &str, &str)> = old
        .filter(|old| old.attempt == step.attempt)
        .map(|old| old.gates.iter().map(gate_key).collect())
        .unwrap_or_default();
    for gate in step.gates.iter().filter(|gate| !told.contains(&gate_key(gate))) {
        lines.push(format!(
            "step {}: {} gate {}: {}: {}",
            step.id, gate.gate, gate.validator, gate.verdict, gate.summary
        ));
        if gate.verdict != "pass" {
            lines.extend(gate.reasons.iter().take(5).map(|reason| format!("  {}", reason.line())));
        }
    }
    let changed = old.is_none_or(|old| old.phase != step.phase);
    if changed {
        match step.phase.as_str() {
            "completed" => {
                let took = step.duration_ms.map(span).unwrap_or_default();
                lines.push(format!("step {}: completed ({took})", step.id));
            }
            "failed" => {
                let why = step.failure.as_ref().map_or("", |failure| failure.message.as_str());
                lines.push(format!("step {}: failed: {why}", step.id));
            }
            "skipped" | "cancelled" => lines.push(format!("step {}: {}", step.id, step.phase)),
            "retry_wait" => {
                let why = step.failure.as_ref().map_or("", |failure| failure.message.as_str());
                lines.push(format!("step {}: will be tried again: {why}", step.id));
            }
            "awaiting_work" | "awaiting_review" | "awaiting_decision" => {
                lines.push(format!("step {}: {}", step.id, step.phase.replace('_', " ")));
            }
            _ => {}
        }
    }
    lines
}

fn gate_key(gate: &GateView) -> (&str, &str, &str, &str) {
    (&gate.gate, &gate.timing, &gate.verdict, &gate.summary)
}
