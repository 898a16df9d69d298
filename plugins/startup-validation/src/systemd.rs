//! Judges systemd units by what `systemctl show` says.

use caelum_plugin_moment::Moment;
use caelum_sdk::{Evidence, Probe};
use serde_json::Value;

use crate::Expectation;
use crate::judgement::{Judgement, unanswered};

/// Judges a unit.
pub(crate) fn unit(probe: &Probe, expectation: &Expectation, evidence: &Evidence) -> Judgement {
    if !probe.ok {
        return unanswered(probe);
    }
    let name = probe.answer.get("unit").and_then(Value::as_str).unwrap_or("the unit");
    let property = |key: &str| probe.answer.get("properties")?.get(key)?.as_str();
    let Some(active) = property("ActiveState") else {
        return Judgement::unclear("malformed-answer", "the answer has no `ActiveState`");
    };
    let sub = property("SubState").unwrap_or_default();
    match property("LoadState") {
        Some("loaded") | None => {}
        Some("not-found") => {
            return Judgement::fail("no-such-unit", format!("`{name}` does not exist"));
        }
        Some(other) => {
            return Judgement::fail("unit-not-loaded", format!("`{name}` is {other}, not loaded"));
        }
    }
    if active != "active" {
        let result = property("Result")
            .filter(|result| *result != "success")
            .map_or_else(String::new, |result| format!(", with the result {result}"));
        return Judgement::fail("unit-not-active", format!("`{name}` is {active} ({sub}){result}"));
    }
    // A service whose program has ended is `active (exited)`; that is only right for one that is meant to end.
    if sub == "exited" && property("Type") != Some("oneshot") {
        return Judgement::fail(
            "unit-exited",
            format!("`{name}` is active, and its program has ended (`exited`)"),
        );
    }
    if let Some(result) = property("Result").filter(|result| *result != "success") {
        return Judgement::fail(
            "unit-failed",
            format!("`{name}` is active, and its last result is {result}"),
        );
    }
    if let Some(judgement) = restarts(name, property("NRestarts"), probe, expectation, evidence) {
        return judgement;
    }
    if expectation.started_in_attempt {
        return started(name, property("ActiveEnterTimestamp"), evidence);
    }
    Judgement::pass(format!("`{name}` is active ({sub})"))
}

fn restarts(
    name: &str,
    count: Option<&str>,
    probe: &Probe,
    expectation: &Expectation,
    evidence: &Evidence,
) -> Option<Judgement> {
    let count: u64 = count?.parse().ok()?;
    if let Some(limit) = expectation.max_restarts
        && count > limit
    {
        let message = format!("`{name}` was restarted {count} times; at most {limit} are allowed");
        return Some(Judgement::fail("unit-restarts", message));
    }
    // An earlier look at the same unit shows whether it keeps falling over.
    let earlier = evidence.probes.iter().filter(|other| {
        other.kind == "systemd"
            && other.machine == probe.machine
            && other.answer.get("unit") == probe.answer.get("unit")
            && other.taken_at < probe.taken_at
    });
    let before = earlier
        .filter_map(|other| {
            other.answer.pointer("/properties/NRestarts")?.as_str()?.parse::<u64>().ok()
        })
        .min()?;
    (count > before).then(|| {
        let message =
            format!("`{name}` was restarted between two probes ({before}, then {count} restarts)");
        Judgement::fail("unit-restarts", message)
    })
}

fn started(name: &str, entered: Option<&str>, evidence: &Evidence) -> Judgement {
    let unclear = |what: &str| {
        Judgement::unclear(
            "start-unknown",
            format!("it is not known when `{name}` was started: {what}"),
        )
    };
    let Some(entered) = entered.filter(|text| !text.is_empty()) else {
        return unclear("`ActiveEnterTimestamp` is missing");
    };
    let (Some(entered_at), Some(began)) = (time(entered), Moment::parse(&evidence.started_at))
    else {
        return unclear(&format!("`{entered}` cannot be read"));
    };
    // systemd shows whole seconds.
    if began.whole_second() > entered_at {
        let message = format!(
            "`{name}` was started at {entered}, before the attempt began: it runs an older build"
        );
        return Judgement::fail("started-before", message);
    }
    Judgement::pass(format!("`{name}` is active since {entered}"))
}

/// Reads `Sat 2026-01-31 12:00:00 UTC`. Other zones are names that only the machine knows.
fn time(text: &str) -> Option<Moment> {
    let mut words = text.split_whitespace();
    let (_, date, clock, zone) = (words.next()?, words.next()?, words.next()?, words.next()?);
    matches!(zone, "UTC" | "GMT").then(|| Moment::parse_local(&format!("{date}T{clock}")))?
}
