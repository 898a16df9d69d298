//! Judges programs that were run as a probe, `docker inspect` among them.

use caelum_sdk::Probe;
use serde_json::Value;

use crate::Expectation;
use crate::health;
use crate::judgement::{Judgement, text_differs, too_slow, unanswered};

/// Judges a program.
pub(crate) fn command(probe: &Probe, expectation: &Expectation, allow_degraded: bool) -> Judgement {
    let answer = &probe.answer;
    if answer.get("timed_out").and_then(Value::as_bool) == Some(true) {
        return Judgement::fail("timed-out", "the program was ended when its time was up");
    }
    if !probe.ok {
        return unanswered(probe);
    }
    if let Some(signal) = answer.get("signal").and_then(Value::as_i64) {
        return Judgement::fail(
            "ended-by-signal",
            format!("the program was ended by signal {signal}"),
        );
    }
    let Some(code) = answer.get("exit_code").and_then(Value::as_i64) else {
        return Judgement::unclear("malformed-answer", "the answer has no exit code");
    };
    let good = match expectation.exit_codes.as_slice() {
        [] => code == 0,
        codes => codes.iter().any(|wanted| i64::from(*wanted) == code),
    };
    if !good {
        let said = output(answer, "stderr").0;
        let said: String = said
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or_default()
            .chars()
            .take(160)
            .collect();
        let said = if said.is_empty() { said } else { format!(": {said}") };
        return Judgement::fail("nonzero-exit", format!("the program ended with {code}{said}"));
    }
    let (text, truncated) = output(answer, "stdout");
    if let Some(judgement) = text_differs("standard output", text, truncated, expectation) {
        return judgement;
    }
    if let Some(judgement) = too_slow(answer, expectation) {
        return judgement;
    }
    // `docker inspect` ends with 0 for a container that is sick.
    if let Ok(document @ (Value::Array(_) | Value::Object(_))) =
        serde_json::from_str::<Value>(text.trim())
        && let Some(judgement) = docker(&document, allow_degraded)
    {
        return judgement;
    }
    Judgement::pass(format!("the program ended with {code}"))
}

/// Judges what `docker inspect` printed; nothing for any other document.
fn docker(document: &Value, allow_degraded: bool) -> Option<Judgement> {
    let containers = match document {
        Value::Array(items) => items.iter().collect::<Vec<_>>(),
        other => vec![other],
    };
    let is_container = |value: &&Value| {
        value.pointer("/State/Status").is_some() || value.pointer("/Health/Status").is_some()
    };
    if containers.is_empty() || !containers.iter().all(is_container) {
        return None;
    }
    let state = |value: &Value| value.get("State").cloned().unwrap_or_else(|| value.clone());
    for container in &containers {
        let state = state(container);
        if state.get("Restarting").and_then(Value::as_bool) == Some(true) {
            return Some(Judgement::fail("unhealthy", "the container is being restarted"));
        }
        if let Some(judgement) = health::document(&state, allow_degraded)
            && !judgement.is_pass()
        {
            return Some(judgement);
        }
    }
    let checked =
        containers.iter().filter(|container| state(container).get("Health").is_some()).count();
    let count = containers.len();
    Some(match checked {
        0 => Judgement::pass(format!("{count} containers run; none has a health check")),
        _ => Judgement::pass(format!(
            "{count} containers run, {checked} of them with a passing health check"
        )),
    })
}

fn output<'a>(answer: &'a Value, name: &str) -> (&'a str, bool) {
    let output = answer.get(name);
    let text =
        output.and_then(|output| output.get("text")).and_then(Value::as_str).unwrap_or_default();
    let truncated = output.and_then(|output| output.get("truncated")).and_then(Value::as_bool);
    (text, truncated.unwrap_or(false))
}
