//! Evidence on its way from the host, verdicts on their way to it.

use crate::bindings::validator::exports::caelum::plugin::validator as wit;
use crate::error::PluginError;
use crate::evidence::{Decision, Evidence, Outcome, Output, Probe, Review};
use crate::finding;
use crate::validator::{Phase, Validator};
use crate::verdict::{Reason, Verdict, VerdictKind};

use super::{LIST_MAX, description, extensions, findings, host_json};

pub(crate) fn describe<V: Validator>() -> wit::ValidatorDescription {
    wit::ValidatorDescription {
        about: description(&V::ABOUT, &crate::parameters::schema::<V::Parameters>()),
        phases: V::PHASES
            .iter()
            .map(|phase| match phase {
                Phase::Before => wit::Phase::Before,
                Phase::After => wit::Phase::After,
            })
            .collect(),
        evidence_formats: V::EVIDENCE_FORMATS.iter().map(|format| (*format).to_owned()).collect(),
    }
}

pub(crate) fn evidence(evidence: wit::Evidence) -> Result<Evidence, PluginError> {
    Ok(Evidence {
        execution_id: evidence.execution_id,
        step_id: evidence.step_id,
        attempt: evidence.attempt,
        started_at: evidence.started_at,
        performer: evidence.performer,
        outcomes: evidence.outcomes.into_iter().map(outcome).collect::<Result<_, _>>()?,
        probes: evidence.probes.into_iter().map(probe).collect::<Result<_, _>>()?,
        reviews: evidence.reviews.into_iter().map(review).collect(),
        files: evidence.files,
        subject_digest: evidence.subject_digest,
        extensions: evidence
            .extensions
            .into_iter()
            .map(|(name, json)| {
                let value = host_json(&json, &format!("the evidence's `{name}`"))?;
                Ok((name, value))
            })
            .collect::<Result<_, PluginError>>()?,
    })
}

fn outcome(outcome: wit::Outcome) -> Result<Outcome, PluginError> {
    Ok(Outcome {
        outputs: host_json(&outcome.outputs, &format!("what `{}` put out", outcome.machine))?,
        machine: outcome.machine,
        exit_code: outcome.exit_code,
        signal: outcome.signal,
        timed_out: outcome.timed_out,
        duration_ms: outcome.duration_ms,
        stdout: output(outcome.stdout),
        stderr: output(outcome.stderr),
    })
}

fn output(output: wit::Output) -> Output {
    Output { text: output.text, total_bytes: output.total_bytes, truncated: output.truncated }
}

fn probe(probe: wit::Probe) -> Result<Probe, PluginError> {
    Ok(Probe {
        answer: host_json(&probe.answer, &format!("the answer of probe `{}`", probe.name))?,
        name: probe.name,
        kind: probe.kind,
        machine: probe.machine,
        taken_at: probe.taken_at,
        ok: probe.ok,
    })
}

fn review(review: wit::Review) -> Review {
    Review {
        reviewer: review.reviewer,
        decision: match review.decision {
            wit::Decision::Approved => Decision::Approved,
            wit::Decision::Rejected => Decision::Rejected,
            wit::Decision::Abstained => Decision::Abstained,
        },
        reason: review.reason,
        at: review.at,
        subject_digest: review.subject_digest,
    }
}

pub(crate) fn verdict(mut verdict: Verdict) -> wit::Verdict {
    finding::sort(&mut verdict.findings);
    let mut facts = verdict.extensions;
    let omitted = verdict.reasons.len().saturating_sub(LIST_MAX);
    if omitted > 0 {
        // The last place tells what was left out.
        verdict.reasons.truncate(LIST_MAX - 1);
        verdict
            .reasons
            .push(Reason::new("more-reasons", format!("and {} more reasons", omitted + 1)));
    }
    wit::Verdict {
        kind: match verdict.kind {
            VerdictKind::Pass => wit::VerdictKind::Pass,
            VerdictKind::Fail => wit::VerdictKind::Fail,
            VerdictKind::Inconclusive => wit::VerdictKind::Inconclusive,
            VerdictKind::NeedsReview => wit::VerdictKind::NeedsReview,
        },
        summary: verdict.summary,
        reasons: verdict
            .reasons
            .into_iter()
            .map(|reason| wit::Reason {
                code: reason.code,
                message: reason.message,
                path: reason.path,
                line: reason.line,
            })
            .collect(),
        metrics: serde_json::Value::Object(verdict.metrics).to_string(),
        findings: findings(verdict.findings, &mut facts),
        extensions: extensions(facts),
    }
}
