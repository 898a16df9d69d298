//! Puts the judgements of all probes together into one verdict.

use caelum_plugin_moment::is_before;
use caelum_sdk::{Evidence, Phase, Probe, Reason, Verdict, VerdictKind};
use serde_json::json;

use crate::judgement::Judgement;
use crate::{Expectation, Parameters, http, place, program, systemd};

/// Judges.
pub(crate) fn judge(evidence: &Evidence, parameters: &Parameters) -> Verdict {
    let asked =
        |probe: &&Probe| parameters.only.is_empty() || parameters.only.contains(&probe.name);
    let probes: Vec<&Probe> = evidence.probes.iter().filter(asked).collect();
    if probes.is_empty() {
        let name = parameters.required.first().or(parameters.only.first());
        return Verdict::inconclusive("no-probe", how_to_add_one(name));
    }
    let usual = Expectation::default();
    let taken = |name: &str| probes.iter().any(|probe| probe.name == name);
    let mut failed = Vec::new();
    let mut unclear = Vec::new();
    let mut passed = Vec::new();
    for name in parameters.required.iter().chain(&parameters.only) {
        if !taken(name) {
            let message = format!("the probe `{name}` is missing. {}", how_to_add_one(Some(name)));
            unclear.push(Reason::new("probe-missing", message));
        }
    }
    for name in parameters.expect.keys() {
        let named = parameters.required.contains(name) || parameters.only.contains(name);
        if !named && !taken(name) {
            let message = format!("`expect` speaks of the probe `{name}`, which was not taken");
            unclear.push(Reason::new("probe-missing", message));
        }
    }
    for probe in &probes {
        let expectation = parameters.expect.get(&probe.name).unwrap_or(&usual);
        let judgement = judge_probe(probe, expectation, evidence, parameters);
        let mut reason = judgement.reason;
        reason.message =
            format!("{} `{}` on `{}`: {}", probe.kind, probe.name, probe.machine, reason.message);
        match judgement.kind {
            VerdictKind::Pass => passed.push(reason.message),
            VerdictKind::Fail => failed.push(reason),
            _ => unclear.push(reason),
        }
    }
    let count = probes.len();
    if count < parameters.min_probes as usize {
        let wanted = parameters.min_probes;
        unclear.push(Reason::new(
            "too-few-probes",
            format!("{count} probes were taken; at least {wanted} are wanted"),
        ));
    }
    let counts = (passed.len(), failed.len(), unclear.len());
    let summary = |reasons: &[Reason]| match reasons {
        [first, rest @ ..] if !rest.is_empty() => {
            format!("{} (and {} more)", first.message, rest.len())
        }
        [only] => only.message.clone(),
        _ => String::new(),
    };
    let verdict = if !failed.is_empty() {
        Verdict::fail_for(summary(&failed), failed.into_iter().chain(unclear))
    } else if !unclear.is_empty() {
        Verdict::inconclusive_for(summary(&unclear), unclear)
    } else {
        Verdict::pass(match passed.as_slice() {
            [only] => only.clone(),
            all => format!("{} probes hold: {}", all.len(), names(&probes)),
        })
    };
    verdict
        .metric("probes", count)
        .metric("passed", counts.0)
        .metric("failed", counts.1)
        .metric("inconclusive", counts.2)
        .extension("startup-validation/passed", json!(passed))
}

fn names(probes: &[&Probe]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for probe in probes {
        if !names.contains(&probe.name.as_str()) {
            names.push(&probe.name);
        }
    }
    names.join(", ")
}

fn judge_probe(
    probe: &Probe,
    expectation: &Expectation,
    evidence: &Evidence,
    parameters: &Parameters,
) -> Judgement {
    if is_before(&probe.taken_at, &evidence.started_at) {
        let message = format!(
            "it was taken at {}, before the attempt began ({})",
            probe.taken_at, evidence.started_at
        );
        return Judgement::unclear("stale-probe", message);
    }
    let phase: Option<Phase> = evidence.phase();
    match probe.kind.as_str() {
        "http" => http::http(probe, expectation, parameters.allow_degraded),
        "tcp" => http::tcp(probe, expectation),
        "port" => place::port(probe, expectation, phase),
        "file" => place::file(probe, expectation),
        "env" => place::env(probe, expectation),
        "command" => program::command(probe, expectation, parameters.allow_degraded),
        "systemd" => systemd::unit(probe, expectation, evidence),
        _ => Judgement::unclear(
            "unknown-kind",
            "this kind of probe is not understood; known are http, tcp, port, file, env, command and systemd",
        ),
    }
}

fn how_to_add_one(name: Option<&String>) -> String {
    let name = name.map_or("health", String::as_str);
    format!(
        "no probe shows anything; give the step one, for example \
         {{\"probes\": [{{\"name\": \"{name}\", \"kind\": \"http\", \"url\": \"http://127.0.0.1:8080/health\", \"timeout_ms\": 2000}}]}}"
    )
}
