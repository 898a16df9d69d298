//! Judges ports, files and environment variables: what is there, and whose it is.

use caelum_sdk::{Phase, Probe};
use serde_json::Value;

use crate::Expectation;
use crate::judgement::{Judgement, text_differs, unanswered};

/// Judges who listens on a port and who claims it.
pub(crate) fn port(probe: &Probe, expectation: &Expectation, phase: Option<Phase>) -> Judgement {
    if !probe.ok {
        return unanswered(probe);
    }
    let answer = &probe.answer;
    let number = answer.get("port").and_then(Value::as_u64).unwrap_or_default();
    let Some(listening) = answer.get("listening").and_then(Value::as_bool) else {
        return Judgement::unclear(
            "malformed-answer",
            "the answer does not say whether somebody listens",
        );
    };
    let claimant = answer.pointer("/claim/service").and_then(Value::as_str);
    let service = answer.get("expected_service").and_then(Value::as_str);
    if let (Some(claimant), Some(service)) = (claimant, service)
        && claimant != service
    {
        let message = format!(
            "port {number} is registered for `{claimant}`, not for `{service}`; choose another port or change the registry"
        );
        return Judgement::fail("port-claimed", message);
    }
    if answer.get("claim_matches").and_then(Value::as_bool) == Some(false) {
        return Judgement::fail(
            "port-claimed",
            format!("port {number} is registered for another service"),
        );
    }
    let wanted = match (expectation.absent, expectation.listening) {
        (true, _) => false,
        (false, Some(wanted)) => wanted,
        (false, None) => phase != Some(Phase::Before),
    };
    let owners = owners(answer);
    let by = if owners.is_empty() { String::new() } else { format!(" by {}", owners.join(", ")) };
    match (wanted, listening) {
        (false, false) => Judgement::pass(format!("port {number} is free")),
        (false, true) => Judgement::fail(
            "port-in-use",
            format!("port {number} is in use{by}; stop that process or choose another port"),
        ),
        (true, false) => {
            Judgement::fail("not-listening", format!("nobody listens on port {number}"))
        }
        (true, true) => right_process(answer, expectation, number, &by),
    }
}

fn owners(answer: &Value) -> Vec<String> {
    let listeners =
        answer.get("listeners").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut owners: Vec<String> = Vec::new();
    for listener in listeners.iter().take(10) {
        let process = listener.get("process").and_then(Value::as_str);
        let pid = listener.get("pid").and_then(Value::as_u64);
        let owner = match (process, pid) {
            (Some(process), Some(pid)) => format!("`{process}` (process {pid})"),
            (Some(process), None) => format!("`{process}`"),
            (None, Some(pid)) => format!("process {pid}"),
            (None, None) => continue,
        };
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    owners
}

fn right_process(answer: &Value, expectation: &Expectation, number: u64, by: &str) -> Judgement {
    let Some(wanted) = &expectation.process else {
        return Judgement::pass(format!("port {number} is listened on{by}"));
    };
    let listeners =
        answer.get("listeners").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names: Vec<Option<&str>> =
        listeners.iter().map(|listener| listener.get("process").and_then(Value::as_str)).collect();
    if names.iter().flatten().any(|name| name != wanted) {
        let message = format!("port {number} is listened on{by}; expected `{wanted}`");
        return Judgement::fail("other-process", message);
    }
    if names.is_empty() || names.contains(&None) {
        let message = format!(
            "port {number} is listened on by a process that cannot be seen; expected `{wanted}`"
        );
        return Judgement::unclear("unknown-process", message);
    }
    Judgement::pass(format!("port {number} is listened on by `{wanted}`"))
}

/// Judges a file.
pub(crate) fn file(probe: &Probe, expectation: &Expectation) -> Judgement {
    if !probe.ok {
        return unanswered(probe);
    }
    let answer = &probe.answer;
    let path = answer.get("path").and_then(Value::as_str).unwrap_or("the file");
    match (answer.get("exists").and_then(Value::as_bool), expectation.absent) {
        (None, _) => {
            return Judgement::unclear(
                "malformed-answer",
                "the answer does not say whether the file exists",
            );
        }
        (Some(true), true) => {
            return Judgement::fail(
                "still-there",
                format!("`{path}` exists; expected nothing there"),
            );
        }
        (Some(false), true) => {
            return Judgement::pass(format!("`{path}` does not exist, as it should be"));
        }
        (Some(false), false) => {
            return Judgement::fail("file-missing", format!("`{path}` does not exist"));
        }
        (Some(true), false) => {}
    }
    let text = answer.get("text").and_then(Value::as_str).unwrap_or_default();
    let truncated = answer.get("truncated").and_then(Value::as_bool).unwrap_or(false);
    if let Some(judgement) = text_differs(&format!("`{path}`"), text, truncated, expectation) {
        return judgement;
    }
    let size = answer.get("size").and_then(Value::as_u64);
    Judgement::pass(match size {
        Some(size) => format!("`{path}` exists ({size} bytes)"),
        None => format!("`{path}` exists"),
    })
}

/// Judges environment variables.
pub(crate) fn env(probe: &Probe, expectation: &Expectation) -> Judgement {
    if !probe.ok {
        return unanswered(probe);
    }
    let names = |key: &str| -> Option<Vec<&str>> {
        Some(probe.answer.get(key)?.as_array()?.iter().filter_map(Value::as_str).collect())
    };
    let (Some(set), Some(missing)) = (names("set"), names("missing")) else {
        return Judgement::unclear("malformed-answer", "the answer does not list the variables");
    };
    let empty = names("empty").unwrap_or_default();
    if expectation.absent {
        return match set.as_slice() {
            [] => Judgement::pass("none of the variables is set, as it should be"),
            set => Judgement::fail(
                "still-there",
                format!("set and expected not to be: {}", set.join(", ")),
            ),
        };
    }
    if !missing.is_empty() || !empty.is_empty() {
        let mut parts = Vec::new();
        if !missing.is_empty() {
            parts.push(format!("not set: {}", missing.join(", ")));
        }
        if !empty.is_empty() {
            parts.push(format!("set to nothing: {}", empty.join(", ")));
        }
        return Judgement::fail("variable-missing", parts.join("; "));
    }
    match set.len() {
        0 => Judgement::unclear("malformed-answer", "the probe asked for no variable"),
        1 => Judgement::pass(format!("{} is set", set[0])),
        count => Judgement::pass(format!("all {count} variables are set")),
    }
}
