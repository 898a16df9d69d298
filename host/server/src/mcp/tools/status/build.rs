//! Builds the view of an execution, as much of it as fits a client.

use std::collections::BTreeMap;

use caelum_core::clock::Timestamp;
use caelum_core::evidence::{Reason, ReviewDecision, VerdictKind};
use caelum_core::task::FailureClass;
use caelum_core::workflow::{
    ExecutionStatus, FailureCause, GateRecord, GateTiming, StepFailure, StepPhase, StepState,
    StepStatus, TargetPhase, TargetState, Targets,
};
use caelum_engine::Engine;
use caelum_engine::request::Snapshot;
use serde_json::{Map, Value};

use super::super::answer::{ANSWER_AIM_BYTES, Tail, json_bytes, line};
use super::family::{CHILDREN_MAX, Family};
use super::root_cause::failure_summary;
use super::waiting::waiting;
use super::{
    ExecutionView, FailureView, GateView, MachineView, ParentView, ProbeView, ProgressView,
    ReasonView, ReviewView, StepView,
};

/// How much of an execution is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Detail {
    /// Bytes of each output of a step that failed or is under way.
    loud_bytes: usize,
    /// Bytes of each output of a step that ended well.
    quiet_bytes: usize,
    /// Reasons of one gate.
    reasons_max: usize,
    /// Machines of one step.
    machines_max: usize,
    /// Whether metrics and probes are shown.
    evidence: bool,
    /// Bytes of a step's outputs.
    outputs_bytes: usize,
}

impl Detail {
    /// What a model needs to go on.
    pub(in super::super) const CONCISE: Self = Self {
        loud_bytes: 1_500,
        quiet_bytes: 0,
        reasons_max: 5,
        machines_max: 20,
        evidence: false,
        outputs_bytes: 2_000,
    };
    /// Everything that is kept, as far as it fits.
    pub(in super::super) const FULL: Self = Self {
        loud_bytes: 16_000,
        quiet_bytes: 16_000,
        reasons_max: 200,
        machines_max: 1_000,
        evidence: true,
        outputs_bytes: 64_000,
    };
    /// What is tried, one after the other, when that is too much.
    const SMALLER: [Self; 4] = [
        Self { loud_bytes: 4_000, quiet_bytes: 4_000, machines_max: 100, ..Self::FULL },
        Self::CONCISE,
        Self { loud_bytes: 400, machines_max: 5, outputs_bytes: 200, ..Self::CONCISE },
        Self { loud_bytes: 0, machines_max: 0, reasons_max: 1, outputs_bytes: 0, ..Self::CONCISE },
    ];
}

/// How many of the things that an execution waits for are shown: whoever works through them asks again.
const WAITING_MAX: usize = 50;

/// How many of them while everything else has to fit too.
const WAITING_SHRUNK_MAX: usize = 20;

/// From how many steps on details are not even tried: they cannot fit.
const STEPS_WITH_DETAIL_MAX: usize = 1_000;

/// Shows an execution in as much detail as was asked for and fits.
pub(in super::super) fn view(
    engine: &Engine,
    snapshot: &Snapshot,
    detail: Detail,
) -> ExecutionView {
    let family = Family::of(engine, snapshot);
    let build = |snapshot: &Snapshot, detail| build(snapshot, &family, detail);
    let [.., least] = Detail::SMALLER;
    if snapshot.execution.steps().len() > STEPS_WITH_DETAIL_MAX {
        let mut view = build(snapshot, least);
        shrink(&mut view);
        return view;
    }
    let mut view = build(snapshot, detail);
    let smaller = Detail::SMALLER.into_iter().filter(|less| less.loud_bytes < detail.loud_bytes);
    for less in smaller {
        if json_bytes(&view) <= ANSWER_AIM_BYTES {
            return view;
        }
        view = build(snapshot, less);
    }
    if json_bytes(&view) > ANSWER_AIM_BYTES {
        shrink(&mut view);
    }
    view
}

/// Leaves out steps, quiet ones first, until the rest fits.
fn shrink(view: &mut ExecutionView) {
    // What is most interesting comes first here, and the order of the definition is restored below.
    let rank = |step: &StepView| match step.status.as_str() {
        "failed" => 0,
        "running" => 1,
        "cancelled" => 2,
        "pending" => 3,
        _ => 4,
    };
    // Lists of ids alone must not fill the answer either.
    const IDS_MAX: usize = 200;
    let mut lists_cut = 0;
    for list in [&mut view.completed_steps, &mut view.failed_steps, &mut view.skipped_steps] {
        lists_cut += list.len().saturating_sub(IDS_MAX);
        list.truncate(IDS_MAX);
    }
    if json_bytes(&view.parameters) > ANSWER_AIM_BYTES / 4 {
        view.parameters = Map::from_iter([(
            "omitted".to_owned(),
            Value::from("the parameters are too large to show; export_workflow_data has them"),
        )]);
    }
    let waiting = view.waiting_for.len();
    view.waiting_for.truncate(WAITING_SHRUNK_MAX);
    view.waiting_omitted += waiting - view.waiting_for.len();
    view.target_machines.truncate(IDS_MAX);
    let steps = std::mem::take(&mut view.steps);
    let total = steps.len();
    let mut left = ANSWER_AIM_BYTES.saturating_sub(json_bytes(view));
    let mut order: Vec<usize> = (0..total).collect();
    order.sort_by_key(|index| rank(&steps[*index]));
    let mut kept = vec![false; total];
    for index in order {
        let bytes = json_bytes(&steps[index]) + 1;
        if bytes > left {
            break;
        }
        left -= bytes;
        kept[index] = true;
    }
    view.steps =
        steps.into_iter().zip(&kept).filter_map(|(step, kept)| kept.then_some(step)).collect();
    view.steps_omitted = (total - view.steps.len()).max(lists_cut);
}

fn build(snapshot: &Snapshot, family: &Family, detail: Detail) -> ExecutionView {
    let execution = &*snapshot.execution;
    let definition = execution.definition();
    let head = execution.head();
    let status = execution.status();
    let (done, total) = execution.progress();
    let ids = |wanted: StepStatus| -> Vec<String> {
        definition
            .steps
            .iter()
            .enumerate()
            .filter(|(index, _)| execution.step(*index).status() == wanted)
            .map(|(_, step)| step.id.to_string())
            .collect()
    };
    let current = execution.open_steps().next().or_else(|| {
        let pending = |index: &usize| !execution.step(*index).is_final();
        (!status.is_final()).then(|| (0..total).find(pending)).flatten()
    });
    let steps = (0..total)
        .map(|index| StepView {
            child_execution_id: family.of_step(execution, index),
            ..step_view(snapshot, index, detail)
        })
        .collect();
    let waits: Vec<usize> = execution
        .open_steps()
        .filter(|index| execution.step(*index).waiting_for().is_some())
        .collect();
    let own = waits.iter().filter_map(|index| waiting(execution, *index));
    let whom = |by: &str, reason: &str| {
        if reason.trim().is_empty() { by.to_owned() } else { format!("{by}: {reason}") }
    };
    ExecutionView {
        execution_id: head.id.to_string(),
        workflow_id: head.workflow_id.to_string(),
        revision: head.revision,
        status: status.as_str().to_owned(),
        started_at: head.started_at.to_string(),
        ended_at: head.ended_at.map(|at| at.to_string()),
        started_by: head.started_by.clone(),
        parent: head.parent.as_ref().map(|parent| ParentView {
            execution_id: parent.execution.to_string(),
            step_id: parent.step.to_string(),
            attempt: parent.attempt,
        }),
        children: family.views(execution),
        children_omitted: family.children.len().saturating_sub(CHILDREN_MAX),
        current_step: current.map(|index| definition.steps[index].id.to_string()),
        completed_steps: ids(StepStatus::Completed),
        failed_steps: ids(StepStatus::Failed),
        skipped_steps: ids(StepStatus::Skipped),
        parameters: head.parameters.clone(),
        target_machines: head.target_machines.clone(),
        estimated_completion: execution.estimated_completion(snapshot.at).map(|at| at.to_string()),
        progress: ProgressView {
            done,
            total,
            percent: match total {
                0 if status.is_final() => 100.0,
                0 => 0.0,
                _ => (done as f64 * 1_000.0 / total as f64).round() / 10.0,
            },
        },
        waiting_for: own.chain(family.waiting.iter().cloned()).take(WAITING_MAX).collect(),
        waiting_omitted: (waits.len() + family.waiting.len()).saturating_sub(WAITING_MAX),
        failure: failure_summary(execution, &family.children),
        steps,
        steps_omitted: 0,
        paused_by: head.paused.as_ref().map(|(by, reason)| whom(by, reason)),
        cancelled_by: head.cancel.as_ref().map(|(_, by, reason)| whom(by, reason)),
        event_count: head.events,
        poll_after_ms: poll_after_ms(snapshot),
    }
}

/// Returns when asking again makes sense: often at the beginning, seldom for what lasts, and never once it has ended.
pub(in super::super) fn poll_after_ms(snapshot: &Snapshot) -> Option<u64> {
    let execution = &snapshot.execution;
    match execution.status() {
        status if status.is_final() => None,
        ExecutionStatus::Paused => Some(5_000),
        _ => {
            let age = snapshot.at.since(execution.head().started_at).as_secs();
            Some(match age {
                0..10 => 500,
                10..120 => 2_000,
                _ => 5_000,
            })
        }
    }
}

fn milliseconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}

fn step_view(snapshot: &Snapshot, index: usize, detail: Detail) -> StepView {
    let execution = &*snapshot.execution;
    let step = &execution.definition().steps[index];
    let state = execution.step(index);
    let status = state.status();
    let outputs_fit = json_bytes(&state.outputs) <= detail.outputs_bytes;
    StepView {
        id: step.id.to_string(),
        name: step.name.clone(),
        status: status.as_str().to_owned(),
        phase: phase_word(state).to_owned(),
        action: step.action.as_str().to_owned(),
        dependencies: step.dependencies.iter().map(ToString::to_string).collect(),
        attempt: state.attempt,
        started_at: state.started_at.map(|at| at.to_string()),
        ended_at: state.ended_at.map(|at| at.to_string()),
        duration_ms: state
            .started_at
            .map(|started| milliseconds(started, state.ended_at.unwrap_or(snapshot.at))),
        retry_at: match state.phase {
            StepPhase::RetryWait { not_before } => Some(not_before.to_string()),
            _ => None,
        },
        gates: state.gates.iter().map(|record| gate_view(record, detail)).collect(),
        machines: machines(&state.targets, detail),
        machines_omitted: state.targets.len().saturating_sub(detail.machines_max),
        machine_counts: counts(&state.targets),
        child_execution_id: None,
        outputs: if outputs_fit { state.outputs.clone() } else { Map::new() },
        outputs_omitted: !outputs_fit && !state.outputs.is_empty(),
        performer: state.performer.clone(),
        report: state.report.as_ref().map(|report| line(&report.summary, 400)),
        reviews: state
            .reviews
            .iter()
            .map(|review| ReviewView {
                reviewer: review.reviewer.clone(),
                decision: match review.decision {
                    ReviewDecision::Approved => "approved",
                    ReviewDecision::Rejected => "rejected",
                    ReviewDecision::Abstained => "abstained",
                }
                .to_owned(),
                reason: review.reason.clone(),
                at: review.at.to_string(),
            })
            .collect(),
        failure: state.failure.as_ref().map(failure_view),
    }
}

/// Shows the work of a step on its machines; of very many those that somebody wants to see.
fn machines(targets: &Targets, detail: Detail) -> Vec<MachineView> {
    let mut shown: Vec<&TargetState> = targets.iter().map(AsRef::as_ref).collect();
    if shown.len() > detail.machines_max {
        shown.sort_by_key(|target| interest(target.phase));
        shown.truncate(detail.machines_max);
    }
    shown.into_iter().map(|target| machine_view(target, detail)).collect()
}

/// Counts where several targets stand.
fn counts(targets: &Targets) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    if targets.len() > 1 {
        for target in targets {
            *counts.entry(target_word(target.phase).to_owned()).or_insert(0) += 1;
        }
    }
    counts
}

/// Ranks targets by how much somebody wants to see them: what went wrong, then what goes on, then the rest.
pub(in super::super) fn interest(phase: TargetPhase) -> u8 {
    match phase {
        TargetPhase::Failed | TargetPhase::Unknown => 0,
        TargetPhase::Running => 1,
        TargetPhase::Cancelled => 2,
        TargetPhase::Waiting => 3,
        TargetPhase::Succeeded | TargetPhase::GivenUp => 4,
    }
}

fn phase_word(state: &StepState) -> &'static str {
    match state.phase {
        StepPhase::Waiting => "waiting",
        StepPhase::RetryWait { .. } => "retry_wait",
        StepPhase::Judging { .. } => "judging",
        StepPhase::AwaitingReview { .. } => "awaiting_review",
        StepPhase::Acting | StepPhase::Settled => "acting",
        StepPhase::AwaitingWork => "awaiting_work",
        StepPhase::AwaitingDecision => "awaiting_decision",
        StepPhase::Completed => "completed",
        StepPhase::Failed => "failed",
        StepPhase::Skipped => "skipped",
        StepPhase::Cancelled => "cancelled",
    }
}

fn gate_view(record: &GateRecord, detail: Detail) -> GateView {
    let verdict = &record.verdict;
    let quiet = verdict.kind == VerdictKind::Pass && !detail.evidence;
    let shown = if quiet { 0 } else { detail.reasons_max };
    GateView {
        gate: record.gate.kind.as_str().to_owned(),
        timing: match record.gate.timing {
            GateTiming::Before => "before",
            GateTiming::After => "after",
        }
        .to_owned(),
        validator: record.validator.name.to_string(),
        version: record.validator.version.clone(),
        verdict: verdict.kind.as_str().to_owned(),
        summary: verdict.summary.clone(),
        reasons: verdict.reasons.iter().take(shown).map(reason_view).collect(),
        reasons_omitted: verdict.reasons.len().saturating_sub(shown),
        metrics: match &verdict.metrics {
            Value::Object(metrics) if detail.evidence => metrics.clone(),
            _ => Map::new(),
        },
        probes: record
            .probes
            .iter()
            .filter(|_| detail.evidence)
            .map(|probe| ProbeView {
                name: probe.name.clone(),
                kind: probe.kind.clone(),
                machine: probe.machine.to_string(),
                taken_at: probe.taken_at.to_string(),
                ok: probe.ok,
                answer: line(&probe.answer.to_string(), 1_000),
            })
            .collect(),
        host_reason: verdict.host_reason.as_ref().map(ToString::to_string),
        duration_us: record.duration_us,
    }
}

pub(super) fn reason_view(reason: &Reason) -> ReasonView {
    ReasonView {
        code: reason.code.clone(),
        message: reason.message.clone(),
        place: reason.path.as_ref().map(|path| match reason.line {
            Some(line) => format!("{path}:{line}"),
            None => path.clone(),
        }),
    }
}

/// Returns the guide's word for where a target stands.
pub(in super::super) fn target_word(phase: TargetPhase) -> &'static str {
    match phase {
        TargetPhase::Waiting => "pending",
        TargetPhase::Running => "running",
        TargetPhase::Succeeded => "completed",
        TargetPhase::Failed => "failed",
        TargetPhase::GivenUp => "skipped",
        TargetPhase::Unknown => "unknown",
        TargetPhase::Cancelled => "cancelled",
    }
}

fn machine_view(target: &TargetState, detail: Detail) -> MachineView {
    let outcome = target.outcome.as_deref();
    let bytes =
        if target.phase == TargetPhase::Succeeded { detail.quiet_bytes } else { detail.loud_bytes };
    let tail = |output: &caelum_core::task::Output| {
        (bytes > 0 && output.total_bytes > 0)
            .then(|| Tail::of(&output.text, output.total_bytes, output.truncated, bytes))
    };
    MachineView {
        machine: target.machine.to_string(),
        item: target.item_index(),
        item_value: target.item.as_ref().map(|item| line(&item.value.to_string(), 120)),
        status: target_word(target.phase).to_owned(),
        deliveries: target.epoch,
        exit_code: outcome.and_then(|outcome| outcome.exit_code),
        signal: outcome.and_then(|outcome| outcome.signal),
        started_at: target.started_at.map(|at| at.to_string()),
        duration_ms: outcome.map(|outcome| milliseconds(outcome.started_at, outcome.ended_at)),
        stdout: outcome.and_then(|outcome| tail(&outcome.stdout)),
        stderr: outcome.and_then(|outcome| tail(&outcome.stderr)),
        collected: outcome
            .map(|outcome| outcome.collected.iter().map(|file| file.path.clone()).collect())
            .unwrap_or_default(),
        failure: outcome
            .and_then(|outcome| outcome.failure.as_ref())
            .map(|failure| failure.message.clone()),
    }
}

pub(super) fn failure_view(failure: &StepFailure) -> FailureView {
    FailureView {
        cause: match failure.cause {
            FailureCause::Action => "action",
            FailureCause::Enforcement => "enforcement",
            FailureCause::Validation => "validation",
            FailureCause::Definition => "definition",
        }
        .to_owned(),
        class: match failure.class {
            FailureClass::Transient => "transient",
            FailureClass::Exit => "exit",
            FailureClass::Gate => "gate",
            FailureClass::Permanent => "permanent",
        }
        .to_owned(),
        code: failure.code.clone(),
        message: failure.message.clone(),
        hint: failure.hint.clone(),
        machine: failure.machine.as_ref().map(ToString::to_string),
    }
}

/// Shows one step by itself.
pub(in super::super) fn one_step(snapshot: &Snapshot, step_id: &str) -> Option<StepView> {
    let index = snapshot.execution.step_index(step_id)?;
    Some(step_view(snapshot, index, Detail::SMALLER[2]))
}

/// Shows all of an execution, however much that is; for exports.
pub(in super::super) fn whole(snapshot: &Snapshot) -> ExecutionView {
    const MUCH: usize = 64 * 1024;
    let everything = Detail {
        loud_bytes: MUCH,
        quiet_bytes: MUCH,
        reasons_max: usize::MAX,
        machines_max: usize::MAX,
        evidence: true,
        outputs_bytes: usize::MAX,
    };
    build(snapshot, &Family::default(), everything)
}
