//! What services say of their own health, in the words of many frameworks.
//!
//! Understood: `application/health+json` (draft-inadarei-api-health-check-06: pass, warn, fail), Spring's actuator (UP,
//! DOWN, OUT_OF_SERVICE), `docker inspect`, plain flags (`"ok": true`), and any nested checks below them.

use serde_json::{Map, Value};

use crate::judgement::{Judgement, short};

/// How deep nested checks are looked at.
const DEPTH_MAX: usize = 8;

/// What a word or flag means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Healthy,
    Degraded,
    Unhealthy,
    Unknown,
}

/// Keys that hold a statement of health.
const STATE_KEYS: [&str; 7] = ["status", "state", "health", "healthy", "ok", "ready", "alive"];
/// Keys below which there are statements about parts.
const PART_KEYS: [&str; 8] =
    ["checks", "components", "details", "dependencies", "services", "subsystems", "info", "error"];

fn meaning(value: &Value) -> Option<Meaning> {
    let text = match value {
        Value::Bool(true) => return Some(Meaning::Healthy),
        Value::Bool(false) => return Some(Meaning::Unhealthy),
        Value::String(text) => text.trim().to_ascii_lowercase(),
        // A status that repeats the code of the answer.
        Value::Number(number) => {
            let code = number.as_u64()?;
            return match code {
                200..=299 => Some(Meaning::Healthy),
                400..=599 => Some(Meaning::Unhealthy),
                _ => None,
            };
        }
        _ => return None,
    };
    Some(word(&text))
}

fn word(text: &str) -> Meaning {
    match text {
        "up" | "ok" | "okay" | "pass" | "passed" | "passing" | "healthy" | "green" | "serving"
        | "ready" | "success" | "alive" | "online" | "running" | "available" | "operational"
        | "active" | "good" | "normal" | "yes" | "true" | "started" | "connected" | "pong" => {
            Meaning::Healthy
        }
        "warn" | "warning" | "degraded" | "yellow" | "partial" | "limited" => Meaning::Degraded,
        "down" | "fail" | "failed" | "failing" | "failure" | "error" | "errored" | "unhealthy"
        | "red" | "critical" | "not_serving" | "not serving" | "out_of_service" | "unavailable"
        | "offline" | "dead" | "stopped" | "starting" | "initializing" | "booting" | "loading"
        | "not_ready" | "not ready" | "stopping" | "exited" | "restarting" | "paused"
        | "created" | "disconnected" | "no" | "false" | "ko" | "bad" | "maintenance" => {
            Meaning::Unhealthy
        }
        _ => Meaning::Unknown,
    }
}

/// What a document says.
#[derive(Default)]
struct Statements {
    healthy: u32,
    degraded: Vec<String>,
    unhealthy: Vec<String>,
    unknown: Vec<String>,
}

/// Judges a JSON document; nothing when it makes no statement about health.
pub(crate) fn document(document: &Value, allow_degraded: bool) -> Option<Judgement> {
    let mut statements = Statements::default();
    collect(document, "", 0, true, &mut statements);
    let list = |places: &[String]| places.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if !statements.unhealthy.is_empty() {
        let message =
            format!("the answer says that it is not healthy: {}", list(&statements.unhealthy));
        return Some(Judgement::fail("unhealthy", message));
    }
    if !statements.unknown.is_empty() {
        let message = format!(
            "the answer speaks of its health in unknown words: {}",
            list(&statements.unknown)
        );
        return Some(Judgement::unclear("unknown-health", message));
    }
    if !statements.degraded.is_empty() {
        let message =
            format!("the answer says that it is degraded: {}", list(&statements.degraded));
        return Some(match allow_degraded {
            true => Judgement::pass(message),
            false => Judgement::fail("degraded", message),
        });
    }
    (statements.healthy > 0).then(|| {
        let parts = statements.healthy;
        Judgement::pass(match parts {
            1 => "it says that it is healthy".to_owned(),
            _ => format!("it says that it is healthy, in {parts} statements"),
        })
    })
}

/// Judges a body of plain text; nothing when it makes no statement about health.
pub(crate) fn text(body: &str) -> Option<Judgement> {
    let lines: Vec<&str> = body.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // Kubernetes: `[+]ping ok`, `[-]etcd failed: reason withheld`.
    let failed: Vec<&str> =
        lines.iter().filter(|line| line.starts_with("[-]")).take(5).copied().collect();
    if !failed.is_empty() {
        return Some(Judgement::fail("unhealthy", format!("checks failed: {}", failed.join(", "))));
    }
    let passed = lines.iter().filter(|line| line.starts_with("[+]")).count();
    if passed > 0 {
        return Some(Judgement::pass(format!("{passed} checks passed")));
    }
    let [line] = lines.as_slice() else { return None };
    let line = line.trim_matches(['.', '!', '"']).to_ascii_lowercase();
    match word(&line) {
        Meaning::Healthy => Some(Judgement::pass(format!("it says `{line}`"))),
        Meaning::Degraded | Meaning::Unhealthy => {
            Some(Judgement::fail("unhealthy", format!("the answer says `{line}`")))
        }
        Meaning::Unknown => None,
    }
}

fn collect(value: &Value, path: &str, depth: usize, top: bool, statements: &mut Statements) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(fields) => {
            statement(fields, path, top, statements);
            for (key, below) in fields {
                let lower = key.to_ascii_lowercase();
                let path = format!("{path}/{key}");
                // `docker inspect` keeps the health in an object, `State.Health.Status`.
                let is_part = PART_KEYS.contains(&lower.as_str())
                    || (below.is_object() && STATE_KEYS.contains(&lower.as_str()));
                if is_part {
                    parts(below, &path, depth + 1, statements);
                }
            }
        }
        Value::Array(items) if top => {
            for (index, item) in items.iter().take(100).enumerate() {
                collect(item, &format!("{path}/{index}"), depth + 1, true, statements);
            }
        }
        _ => {}
    }
}

/// Looks at the parts below a key such as `checks`: an object or list of objects, or flags by name.
fn parts(value: &Value, path: &str, depth: usize, statements: &mut Statements) {
    if depth > DEPTH_MAX {
        return;
    }
    collect(value, path, depth, false, statements);
    match value {
        Value::Object(fields) => {
            for (key, below) in fields {
                let path = format!("{path}/{key}");
                match below {
                    Value::Object(_) | Value::Array(_) => {
                        parts(below, &path, depth + 1, statements)
                    }
                    Value::Bool(_) | Value::String(_)
                        if !STATE_KEYS.contains(&key.to_ascii_lowercase().as_str()) =>
                    {
                        // Only what is surely a statement: among details there is text of all kinds.
                        match meaning(below) {
                            Some(Meaning::Unhealthy) if path.contains("/checks/") => {
                                statements.unhealthy.push(format!("`{path}` is {}", short(below)));
                            }
                            Some(Meaning::Healthy) => statements.healthy += 1,
                            _ => {}
                        }
                    }
                    _ => {}
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().take(100).enumerate() {
                parts(item, &format!("{path}/{index}"), depth + 1, statements);
            }
        }
        _ => {}
    }
}

fn statement(fields: &Map<String, Value>, path: &str, top: bool, statements: &mut Statements) {
    for (key, value) in fields {
        let lower = key.to_ascii_lowercase();
        if !STATE_KEYS.contains(&lower.as_str()) {
            continue;
        }
        let Some(meaning) = meaning(value) else { continue };
        let place = format!("`{path}/{key}` is {}", short(value));
        match meaning {
            Meaning::Healthy => statements.healthy += 1,
            Meaning::Degraded => statements.degraded.push(place),
            Meaning::Unhealthy => statements.unhealthy.push(place),
            // Parts use words of their own for many things.
            Meaning::Unknown if top => statements.unknown.push(place),
            Meaning::Unknown => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caelum_sdk::VerdictKind;
    use serde_json::json;

    fn kind(value: Value) -> Option<VerdictKind> {
        document(&value, false).map(|judgement| judgement.kind)
    }

    #[test]
    fn many_frameworks_are_understood() {
        use VerdictKind::{Fail, Inconclusive, Pass};
        for (value, expected) in [
            (json!({"status": "pass", "checks": {"db": [{"status": "pass"}]}}), Some(Pass)),
            (json!({"status": "pass", "checks": {"db": [{"status": "fail"}]}}), Some(Fail)),
            (json!({"status": "warn"}), Some(Fail)),
            (json!({"status": "UP", "components": {"db": {"status": "DOWN"}}}), Some(Fail)),
            (
                json!({"status": "UP", "components": {"db": {"status": "UP", "details": {"database": "H2"}}}}),
                Some(Pass),
            ),
            (json!({"status": "OUT_OF_SERVICE"}), Some(Fail)),
            (json!({"ok": true}), Some(Pass)),
            (json!({"healthy": false}), Some(Fail)),
            (
                json!([{"State": {"Status": "running", "Health": {"Status": "healthy"}}}]),
                Some(Pass),
            ),
            (
                json!([{"State": {"Status": "running", "Health": {"Status": "unhealthy", "FailingStreak": 3}}}]),
                Some(Fail),
            ),
            (
                json!([{"State": {"Status": "running", "Health": {"Status": "starting"}}}]),
                Some(Fail),
            ),
            (json!({"status": "purple"}), Some(Inconclusive)),
            (json!({"status": 503}), Some(Fail)),
            (json!({"checks": {"db": true, "cache": false}, "status": "ok"}), Some(Fail)),
            (json!({"version": "1.0"}), None),
            (json!({"message": "down the road"}), None),
            (json!([]), None),
        ] {
            assert_eq!(kind(value.clone()), expected, "{value}");
        }
        assert!(
            document(&json!({"status": "degraded"}), true)
                .is_some_and(|judgement| judgement.is_pass())
        );
    }

    #[test]
    fn plain_text_is_understood_where_it_is_a_statement() {
        let kind = |body: &str| text(body).map(|judgement| judgement.kind);
        assert_eq!(
            kind("[+]ping ok\n[-]etcd failed: reason withheld\nhealthz check failed"),
            Some(VerdictKind::Fail)
        );
        assert_eq!(kind("[+]ping ok\nhealthz check passed"), Some(VerdictKind::Pass));
        assert_eq!(kind("OK\n"), Some(VerdictKind::Pass));
        assert_eq!(kind("Unhealthy"), Some(VerdictKind::Fail));
        assert_eq!(kind("Welcome to the shop"), None);
        assert_eq!(kind(""), None);
    }
}
