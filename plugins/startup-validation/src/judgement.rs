//! The judgement of one probe, and checks that several kinds share.

use caelum_sdk::{Probe, Reason, VerdictKind};
use serde_json::Value;

use crate::Expectation;

/// What one probe shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judgement {
    /// Whether it shows what it should.
    pub(crate) kind: VerdictKind,
    /// Why, or, for a pass, what was seen.
    pub(crate) reason: Reason,
}

impl Judgement {
    pub(crate) fn pass(message: impl Into<String>) -> Self {
        Judgement { kind: VerdictKind::Pass, reason: Reason::new("ok", message) }
    }

    pub(crate) fn fail(code: &str, message: impl Into<String>) -> Self {
        Judgement { kind: VerdictKind::Fail, reason: Reason::new(code, message) }
    }

    pub(crate) fn unclear(code: &str, message: impl Into<String>) -> Self {
        Judgement { kind: VerdictKind::Inconclusive, reason: Reason::new(code, message) }
    }

    pub(crate) fn is_pass(&self) -> bool {
        self.kind == VerdictKind::Pass
    }
}

/// Judges a probe that got no answer. That a service does not answer says something about it; that the question could
/// not be put does not.
pub(crate) fn unanswered(probe: &Probe) -> Judgement {
    let error = probe.answer.get("error").and_then(Value::as_str).unwrap_or("no answer came");
    let code = probe.answer.get("code").and_then(Value::as_str).unwrap_or("io");
    match code {
        "refused" | "timeout" | "unreachable" | "tls" => {
            Judgement::fail("no-answer", format!("{error} ({code})"))
        }
        _ => Judgement::unclear(
            "probe-failed",
            format!("the probe could not be taken: {error} ({code})"),
        ),
    }
}

/// Checks how long it took; nothing when there is no limit or it was kept.
pub(crate) fn too_slow(answer: &Value, expectation: &Expectation) -> Option<Judgement> {
    let limit = expectation.max_duration_ms?;
    let Some(took) = answer.get("duration_ms").and_then(Value::as_u64) else {
        return Some(Judgement::unclear("no-duration", "the answer does not say how long it took"));
    };
    (took > limit).then(|| {
        Judgement::fail("too-slow", format!("it took {took} ms; at most {limit} ms are allowed"))
    })
}

/// Checks a text against what it must and must not hold; nothing when all of it is so.
pub(crate) fn text_differs(
    what: &str,
    text: &str,
    truncated: bool,
    expectation: &Expectation,
) -> Option<Judgement> {
    for lacked in &expectation.lacks {
        if text.contains(lacked.as_str()) {
            return Some(Judgement::fail("text-forbidden", format!("{what} contains `{lacked}`")));
        }
        if truncated {
            let message = format!("{what} was cut, so that it may contain `{lacked}`");
            return Some(Judgement::unclear("answer-truncated", message));
        }
    }
    for wanted in &expectation.contains {
        if text.contains(wanted.as_str()) {
            continue;
        }
        return Some(if truncated {
            Judgement::unclear(
                "answer-truncated",
                format!("what was kept of {what} does not contain `{wanted}`"),
            )
        } else {
            Judgement::fail("text-missing", format!("{what} does not contain `{wanted}`"))
        });
    }
    if expectation.json.is_empty() {
        return None;
    }
    let document: Value = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(_) if truncated => {
            return Some(Judgement::unclear(
                "answer-truncated",
                format!("{what} was cut and is no whole JSON document"),
            ));
        }
        Err(error) => {
            return Some(Judgement::fail(
                "no-json",
                format!("{what} is no JSON document: {error}"),
            ));
        }
    };
    for (pointer, wanted) in &expectation.json {
        match document.pointer(pointer) {
            Some(found) if found == wanted => {}
            Some(found) => {
                let message =
                    format!("{what} holds {} at `{pointer}`; expected {wanted}", short(found));
                return Some(Judgement::fail("value-differs", message));
            }
            None => {
                let message = format!("{what} holds nothing at `{pointer}`; expected {wanted}");
                return Some(Judgement::fail("value-missing", message));
            }
        }
    }
    None
}

/// Writes a value in at most 80 characters.
pub(crate) fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 {
        return text;
    }
    text.chars().take(79).chain(['…']).collect()
}
