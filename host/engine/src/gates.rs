//! Collects the evidence of a gate and has it judged. Facts are fetched here, just before judging, and never guessed.

use std::sync::Arc;
use std::time::Instant;

use caelum_core::evidence::{Evidence, EvidenceFile, ProbeAnswer, Verdict};
use caelum_core::id::{Digest, MachineId};
use caelum_core::plugin::{HostReason, Phase, PinnedPlugin, PluginFailure};
use caelum_core::task::{Output, Probe, TaskOutcome};
use caelum_core::tree::MapTree;
use caelum_core::workflow::{
    Execution, Gate, GateKind, GateRecord, GateTiming, StepState, render_texts, render_value, scope,
};
use caelum_plugin_host::{CallControl, CallError};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::engine::Inner;

/// Where the files of somebody who did a step by hand are found: `evidence/performer/…`.
const PERFORMER: &str = "performer";

/// How much of what the items of a map wrote a validator is shown, in bytes: it has to fit into a plugin's memory beside
/// everything else. Beyond it each text is cut to its share, head and tail.
const ITEMS_TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How much of each text is shown at least, in bytes.
const TEXT_SHARE_BYTES_MIN: usize = 256;

/// Judges one gate of the present attempt.
///
/// Dropping the future withdraws the judgement; nothing has changed then.
pub(crate) async fn judge(
    inner: &Arc<Inner>,
    execution: &Execution,
    step: usize,
    gate: Gate,
) -> GateRecord {
    let began = Instant::now();
    let validator = execution
        .validator(step, gate.kind)
        .expect("an execution begins only with every validator of its gates pinned")
        .clone();
    let probes = probe(inner, execution, step).await;
    let evidence = collect(execution, step, probes.clone());
    let subject_digest = evidence.subject_digest.clone();
    let definition = &execution.definition().steps[step];
    let parameters = match gate.kind {
        GateKind::Enforcement => &definition.enforcement_parameters,
        GateKind::Validation => &definition.validation_parameters,
    };
    let scope = scope(execution, step);
    // Right after a start the validator may still be on its way; from here on it is there or gone for good.
    inner.plugins.pinned(&validator.digest).await;
    let parameters = reviewed(inner, execution, step, &validator, parameters);
    let verdict = match render_value(&Value::Object(parameters), &scope) {
        Err(error) => Verdict::broken_down(error.to_string(), None),
        Ok(parameters) => ask(inner, &validator, gate, &evidence, &parameters).await,
    };
    GateRecord {
        gate,
        validator,
        verdict,
        subject_digest,
        probes,
        duration_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
    }
}

/// Builds the record of a judgement that broke down on our side: never a `fail`. Nothing when the gate has no pinned
/// validator, which no execution begins with.
pub(crate) fn not_judged(
    execution: &Execution,
    step: usize,
    gate: Gate,
    why: String,
) -> Option<GateRecord> {
    let summary = "the server broke down while it judged".to_owned();
    Some(GateRecord {
        gate,
        validator: execution.validator(step, gate.kind)?.clone(),
        verdict: Verdict::broken_down(summary, Some(HostReason::Internal { message: why })),
        subject_digest: subject(execution, step),
        probes: Vec::new(),
        duration_us: 0,
    })
}

/// Adds what the step's rules for reviews say for a validator that has parameters of these names; what the step sets
/// itself stays.
fn reviewed(
    inner: &Inner,
    execution: &Execution,
    step: usize,
    validator: &PinnedPlugin,
    parameters: &Map<String, Value>,
) -> Map<String, Value> {
    let mut parameters = parameters.clone();
    let Some(rules) = &execution.definition().steps[step].review else { return parameters };
    let Some(plugin) = inner.plugins.by_digest(&validator.digest) else { return parameters };
    let known = plugin.description().parameters_schema.get("properties");
    let mut add = |name: &str, value: Option<Value>| {
        if known.is_some_and(|known| known.get(name).is_some())
            && let Some(value) = value
        {
            parameters.entry(name).or_insert(value);
        }
    };
    let allowed = rules.allowed(execution.step(step).escalated);
    add("approvals", rules.approvals.map(Value::from));
    add("reviewers", (!allowed.is_empty()).then(|| Value::from(allowed)));
    parameters
}

/// Asks exactly the validator that the execution is pinned to.
async fn ask(
    inner: &Arc<Inner>,
    validator: &PinnedPlugin,
    gate: Gate,
    evidence: &Evidence,
    parameters: &Value,
) -> Verdict {
    let Some(plugin) = inner.plugins.pinned(&validator.digest).await else {
        let message = format!(
            "validator `{}` {} ({}), which this execution began with, is not installed any more; put its file back, or \
             start another execution",
            validator.name,
            validator.version,
            validator.digest.short()
        );
        return Verdict::broken_down(message.clone(), Some(HostReason::Contract { message }));
    };
    let phase = match gate.timing {
        GateTiming::Before => Phase::Before,
        GateTiming::After => Phase::After,
    };
    let tree = Arc::new(files(evidence));
    let control = CallControl::default();
    let called =
        inner.plugins.judge(&plugin, evidence, Some(phase), tree, parameters, control).await;
    called.outcome.unwrap_or_else(|error| broken_down(&error))
}

fn broken_down(error: &CallError) -> Verdict {
    let host_reason = match &error.failure {
        PluginFailure::Host(reason) => Some(reason.clone()),
        PluginFailure::Own(message) => Some(HostReason::Contract { message: message.clone() }),
        // What the author of the step can mend is no breakdown: the gate stays closed whatever the step's policy.
        PluginFailure::InvalidParameters(_) | PluginFailure::NotApplicable(_) => None,
    };
    Verdict::broken_down(format!("{error}"), host_reason)
}

/// Fetches the step's probes on its machines, all at once.
async fn probe(inner: &Arc<Inner>, execution: &Execution, step: usize) -> Vec<ProbeAnswer> {
    let definition = &execution.definition().steps[step];
    let scope = scope(execution, step);
    let machines: Vec<MachineId> = match execution.step(step).targets.machines() {
        [] => vec![MachineId::local()],
        machines => machines.to_vec(),
    };
    let mut fetching = JoinSet::new();
    for (place, probe) in definition.probes.iter().enumerate() {
        let plain = serde_json::to_value(probe).expect("a probe is plain JSON");
        let rendered = render_texts(&plain, &scope)
            .map(|value| serde_json::from_value(value).expect("rendering keeps strings strings"));
        for (number, machine) in machines.iter().enumerate() {
            let inner = Arc::clone(inner);
            let machine = machine.clone();
            let rendered: Result<Probe, _> = rendered.clone();
            let (name, kind) = (probe.name.clone(), probe.kind.as_str());
            fetching.spawn(async move {
                let answer = match rendered {
                    Ok(probe) => inner.fabric.probe(&machine, &probe).await,
                    Err(error) => ProbeAnswer {
                        name,
                        kind: kind.to_owned(),
                        machine,
                        taken_at: inner.clock.now(),
                        ok: false,
                        answer: json!({"error": error.to_string(), "code": "template"}),
                    },
                };
                ((place, number), answer)
            });
        }
    }
    let mut answers = fetching.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Puts together what the present attempt left.
fn collect(execution: &Execution, step: usize, probes: Vec<ProbeAnswer>) -> Evidence {
    let state = execution.step(step);
    let share = text_share(state);
    let outcomes: Vec<_> = state
        .targets
        .iter()
        .filter_map(|target| {
            let outcome = target.outcome.as_deref()?;
            let outcome = TaskOutcome {
                stdout: cut(&outcome.stdout, share),
                stderr: cut(&outcome.stderr, share),
                ..outcome.clone()
            };
            Some((target.machine.clone(), outcome))
        })
        .collect();
    let mut files: Vec<(MachineId, EvidenceFile)> = Vec::new();
    for target in &state.targets {
        for file in target.outcome.iter().flat_map(|outcome| &outcome.collected) {
            let mut file = file.clone();
            if let Some(item) = target.item_index() {
                file.path = format!("item-{item}/{}", file.path);
            }
            files.push((target.machine.clone(), file));
        }
    }
    if let Some(report) = &state.report {
        let performer: MachineId = PERFORMER.parse().expect("a legal name");
        files.extend(report.files.iter().map(|file| (performer.clone(), file.clone())));
    }
    Evidence {
        execution_id: execution.id().clone(),
        step_id: execution.definition().steps[step].id.clone(),
        attempt: state.attempt,
        started_at: state.attempt_started_at.unwrap_or(execution.head().started_at),
        performer: state.performer.clone(),
        subject_digest: subject(execution, step),
        outcomes,
        probes,
        reviews: state.reviews.clone(),
        files,
    }
}

/// Returns how much of each text a validator is shown, in bytes: all of it, unless the items of a map wrote too much
/// together.
fn text_share(state: &StepState) -> usize {
    let outcomes = || state.targets.iter().filter_map(|target| target.outcome.as_deref());
    let written: usize =
        outcomes().map(|outcome| outcome.stdout.text.len() + outcome.stderr.text.len()).sum();
    if !state.targets.is_mapped() || written <= ITEMS_TEXT_BYTES_MAX {
        return usize::MAX;
    }
    (ITEMS_TEXT_BYTES_MAX / (2 * outcomes().count().max(1))).max(TEXT_SHARE_BYTES_MIN)
}

/// Keeps the beginning and the end of a text that is longer than its share.
fn cut(output: &Output, share: usize) -> Output {
    if output.text.len() <= share {
        return output.clone();
    }
    let text = &output.text;
    let head = &text[..text.floor_char_boundary(share / 2)];
    let tail = &text[text.ceil_char_boundary(text.len() - share / 2)..];
    let missing = text.len() - head.len() - tail.len();
    Output {
        text: format!("{head}\n… {missing} bytes left out …\n{tail}"),
        total_bytes: output.total_bytes,
        truncated: true,
    }
}

/// Returns the digest of what is judged: the attempt, what it left and what was reported. Probes are not part of it:
/// they are taken anew for every judgement, and a review must not lapse because a response took longer.
fn subject(execution: &Execution, step: usize) -> Digest {
    let state = execution.step(step);
    let outcomes: Map<String, Value> = state
        .targets
        .iter()
        .map(|target| {
            let outcome = serde_json::to_value(&target.outcome).expect("an outcome is plain JSON");
            let name = match target.item_index() {
                None => target.machine.to_string(),
                Some(item) => format!("{}/{item}", target.machine),
            };
            (name, outcome)
        })
        .collect();
    let subject = json!({
        "execution": execution.id().as_str(),
        "step": execution.definition().steps[step].id.as_str(),
        "attempt": state.attempt,
        "outcomes": outcomes,
        "report": state.report,
    });
    Digest::from_bytes(&Sha256::digest(subject.to_string().as_bytes()).into())
}

/// Lays the collected files out as validators see them: `evidence/<machine>/<path>`.
fn files(evidence: &Evidence) -> MapTree {
    let mut tree = MapTree::new();
    for (machine, file) in &evidence.files {
        let path = format!("evidence/{machine}/{}", file.path);
        if let Err(error) = tree.insert(&path, file.text.clone().into_bytes()) {
            // A name that no tree can hold: the validator sees it in the list and cannot read it.
            tracing::debug!(%path, %error, "left out of the evidence tree");
        }
    }
    tree
}
