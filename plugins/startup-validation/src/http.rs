//! Judges HTTP answers and TCP connections.

use caelum_sdk::Probe;
use serde_json::Value;

use crate::Expectation;
use crate::health;
use crate::judgement::{Judgement, text_differs, too_slow, unanswered};

/// Judges an HTTP answer.
pub(crate) fn http(probe: &Probe, expectation: &Expectation, allow_degraded: bool) -> Judgement {
    if !probe.ok {
        return unanswered(probe);
    }
    let answer = &probe.answer;
    let Some(status) = answer.get("status").and_then(Value::as_u64) else {
        return Judgement::unclear("malformed-answer", "the answer has no status");
    };
    let body = answer.get("body").and_then(Value::as_str).unwrap_or_default();
    let good = match expectation.status.as_slice() {
        [] => (200..=299).contains(&status),
        codes => codes.iter().any(|code| u64::from(*code) == status),
    };
    if !good {
        return wrong_status(status, answer, body, expectation);
    }
    if let Some(error) = answer.get("body_error").and_then(Value::as_str) {
        return Judgement::unclear("answer-truncated", format!("the answer broke off: {error}"));
    }
    let truncated = answer.get("body_truncated").and_then(Value::as_bool).unwrap_or(false);
    if let Some(judgement) = text_differs("the body", body, truncated, expectation) {
        return judgement;
    }
    if let Some(judgement) = too_slow(answer, expectation) {
        return judgement;
    }
    body_says(status, answer, body, truncated, expectation, allow_degraded)
}

fn wrong_status(status: u64, answer: &Value, body: &str, expectation: &Expectation) -> Judgement {
    let wanted = match expectation.status.as_slice() {
        [] => "200 to 299".to_owned(),
        codes => codes.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "),
    };
    let location = answer.pointer("/headers/location").and_then(Value::as_str);
    if let (300..=399, Some(location)) = (status, location) {
        let message = format!(
            "it answers {status} and points to {location}; expected {wanted}. Probe the final address"
        );
        return Judgement::fail("redirected", message);
    }
    let said: String = body.lines().next().unwrap_or_default().trim().chars().take(120).collect();
    let said = if said.is_empty() { said } else { format!(", saying `{said}`") };
    Judgement::fail("wrong-status", format!("it answers {status}{said}; expected {wanted}"))
}

fn body_says(
    status: u64,
    answer: &Value,
    body: &str,
    truncated: bool,
    expectation: &Expectation,
    allow_degraded: bool,
) -> Judgement {
    let kind = answer.pointer("/headers/content-type").and_then(Value::as_str).unwrap_or_default();
    let kind = kind.to_ascii_lowercase();
    let start = body.trim_start();
    let told = !expectation.contains.is_empty() || !expectation.json.is_empty();
    let head: String = start.chars().take(64).collect::<String>().to_ascii_lowercase();
    if kind.starts_with("text/html")
        || head.starts_with("<!doctype html")
        || head.starts_with("<html")
    {
        if told {
            return Judgement::pass(format!("it answers {status} with the expected page"));
        }
        let message = format!(
            "it answers {status} with a web page, as many servers do for every path; probe a path that tells its \
             health, or say by `expect` what the page must contain"
        );
        return Judgement::unclear("html-answer", message);
    }
    let says_json = kind.contains("json");
    if !start.is_empty() && (says_json || start.starts_with(['{', '['])) {
        match serde_json::from_str::<Value>(start) {
            Ok(document) => {
                return health::document(&document, allow_degraded)
                    .unwrap_or_else(|| Judgement::pass(format!("it answers {status}")));
            }
            Err(_) if truncated => {
                let message = "the body was cut and is no whole JSON document";
                return Judgement::unclear("answer-truncated", message);
            }
            Err(error) if says_json => {
                let message = format!(
                    "it answers {status} with a body that should be JSON and is not: {error}"
                );
                return Judgement::fail("no-json", message);
            }
            // Text may begin with a bracket, too.
            Err(_) => {}
        }
    }
    health::text(body).unwrap_or_else(|| Judgement::pass(format!("it answers {status}")))
}

/// Judges a TCP connection.
pub(crate) fn tcp(probe: &Probe, expectation: &Expectation) -> Judgement {
    let connected = probe.answer.get("connected").and_then(Value::as_bool);
    if expectation.absent {
        let code = probe.answer.get("code").and_then(Value::as_str);
        return match (probe.ok, connected, code) {
            (true, Some(true), _) => {
                Judgement::fail("still-there", "a connection was made; expected none")
            }
            (false, _, Some("refused")) => {
                Judgement::pass("the connection is refused, as it should be")
            }
            _ => unanswered(probe),
        };
    }
    if !probe.ok {
        return unanswered(probe);
    }
    match connected {
        Some(true) => too_slow(&probe.answer, expectation)
            .unwrap_or_else(|| Judgement::pass("it accepts connections")),
        Some(false) => Judgement::fail("no-answer", "no connection was made"),
        None => Judgement::unclear(
            "malformed-answer",
            "the answer does not say whether a connection was made",
        ),
    }
}
