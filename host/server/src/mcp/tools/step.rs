//! `complete_step` and `review_step`: what people and agents say about a step; the first of them here.

mod review;

use std::collections::BTreeMap;
use std::time::Duration;

use caelum_core::evidence::{EvidenceFile, WorkReport};
use caelum_core::workflow::StepPhase;
use caelum_engine::Engine;
use caelum_engine::request::{Snapshot, StepReport};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::error::ToolError;
use super::super::tool::{Annotations, Answer, Call, Tool, tool};
use super::failure::refuse;
use super::status::{
    Detail, ExecutionView, FailureSummary, ProgressView, StepView, WaitingView, view,
};
use super::wait::{WAIT_MAX_S, until};
use super::{Tools, actor};

pub use review::{ReviewOutcome, ReviewsTaken};

/// How long an answer waits for the gates when nobody says, in seconds: a verdict takes milliseconds, and an answer that
/// holds it saves a call.
const WAIT_S: u64 = 2;

/// The most that files handed in may hold together, in bytes: what gates may read of one machine.
const FILES_BYTES_MAX: usize = 2 * 1024 * 1024;

pub(super) fn tools(tools: &Tools) -> Vec<Tool> {
    let (completing, reviewing) = (tools.clone(), tools.clone());
    // Neither overwrites anything, and what a step sets going may reach anywhere.
    let annotations = Annotations::ADDS.open_world(true);
    vec![
        tool("complete_step", "Report a step's work", annotations, move |call, arguments| {
            complete(completing.clone(), call, arguments)
        }),
        tool("review_step", "Review a step", annotations, move |call, arguments| {
            review::review(reviewing.clone(), call, arguments)
        }),
    ]
}

/// What became of work whose outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Decision {
    /// It was done.
    Succeeded,
    /// It was not done, or not well.
    Failed,
    /// Nobody knows: run it again.
    RunAgain,
}

/// Reports the work of a step that waits for `work` (a manual step), with what was done and the evidence its gates
/// need; or says what became of a step that waits for a `decision`. The gates then judge: the report alone completes
/// nothing, and a step without gates completes at once. Waits a moment for the verdicts, so that the answer holds them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CompleteStep {
    /// The execution's id.
    execution_id: String,
    /// The step's id, as in `waiting_for`.
    step_id: String,
    /// Who did the work; your client's name when left out. Whoever did it cannot review it.
    #[serde(default)]
    performer: Option<String>,
    /// Whether the work succeeded, in your own judgement; true when left out.
    #[serde(default)]
    succeeded: Option<bool>,
    /// What was done, in a few sentences.
    summary: String,
    /// Values that later steps may use as `steps.<id>.outputs.<name>`.
    #[serde(default)]
    outputs: Map<String, Value>,
    /// Files for the gates, such as test reports: text by relative path, 2 MiB in all.
    #[serde(default)]
    #[schemars(example = serde_json::json!({"reports/junit.xml": "<testsuite/>"}))]
    files: BTreeMap<String, String>,
    /// Only for a step that waits for a decision: what became of it.
    #[serde(default)]
    decision: Option<Decision>,
    /// Wait up to so many seconds for the gates; 2 when left out.
    #[serde(default)]
    #[schemars(range(min = 0, max = 30))]
    wait_s: Option<u64>,
}

/// A step after somebody said something about it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct StepAnswer {
    /// The execution's id.
    pub execution_id: String,
    /// `executing`, `paused`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// The step as it is now, with the verdicts of its gates.
    pub step: StepView,
    /// How far the execution is.
    pub progress: ProgressView,
    /// What the execution waits for now.
    pub waiting_for: Vec<WaitingView>,
    /// Why the execution failed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureSummary>,
    /// Ask again after so many milliseconds; missing once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_after_ms: Option<u64>,
}

impl Answer for StepAnswer {
    fn text(&self) -> String {
        let mut text = format!(
            "step {}\nexecution {}: {}, {} of {} steps",
            self.step.line(),
            self.execution_id,
            self.status,
            self.progress.done,
            self.progress.total
        );
        tell_reasons(&mut text, &self.step);
        tell_rest(&mut text, self.failure.as_ref(), &self.waiting_for);
        text
    }
}

/// Adds what the gates of a step found, a line each.
fn tell_reasons(text: &mut String, step: &StepView) {
    for gate in &step.gates {
        for reason in &gate.reasons {
            text.push_str(&format!("\n{}: {}", gate.validator, reason.line()));
        }
    }
}

/// Adds why an execution failed and what it waits for.
fn tell_rest(text: &mut String, failure: Option<&FailureSummary>, waiting_for: &[WaitingView]) {
    if let Some(failure) = failure {
        text.push_str(&format!("\nfailed: {}", failure.text()));
    }
    for waiting in waiting_for {
        text.push_str(&format!("\nwaiting: {}", waiting.text()));
    }
}

impl StepAnswer {
    fn of(engine: &Engine, snapshot: &Snapshot, step_id: &str) -> Result<Self, ToolError> {
        let view = view(engine, snapshot, Detail::CONCISE);
        let ExecutionView { execution_id, status, progress, waiting_for, failure, steps, .. } =
            view;
        let step = steps.into_iter().find(|step| step.id == step_id).map_or_else(
            // A step that fell out of a very long list is shown alone.
            || super::status::one_step(snapshot, step_id),
            Some,
        );
        Ok(Self {
            execution_id,
            status,
            step: step.ok_or_else(|| {
                ToolError::internal("show the step", format!("`{step_id}` is not in the execution"))
            })?,
            progress,
            waiting_for,
            failure,
            poll_after_ms: super::status::poll_after_ms(snapshot),
        })
    }
}

async fn complete(
    tools: Tools,
    call: Call,
    arguments: CompleteStep,
) -> Result<StepAnswer, ToolError> {
    let files = evidence(arguments.files)?;
    let report = WorkReport {
        performer: actor(arguments.performer.as_ref(), &call),
        succeeded: arguments.succeeded.unwrap_or(true),
        summary: arguments.summary,
        outputs: arguments.outputs,
        files,
    };
    let decision = arguments.decision.map(|decision| match decision {
        Decision::Succeeded => Some(true),
        Decision::Failed => Some(false),
        Decision::RunAgain => None,
    });
    let report = StepReport {
        execution_id: arguments.execution_id,
        step_id: arguments.step_id.clone(),
        report,
        decision,
    };
    let snapshot = tools.engine.complete_step(report).await.map_err(refuse)?;
    judged(&tools, &call, snapshot, &arguments.step_id, arguments.wait_s).await
}

/// Turns files handed in into evidence, after a look at their names and sizes.
fn evidence(files: BTreeMap<String, String>) -> Result<Vec<EvidenceFile>, ToolError> {
    let mut problems = Vec::new();
    let total: usize = files.values().map(String::len).sum();
    if total > FILES_BYTES_MAX {
        problems.push(format!("/files: {total} bytes in all, at most {FILES_BYTES_MAX} are taken"));
    }
    for path in files.keys() {
        if let Err(problem) = caelum_core::pattern::check_path(path) {
            problems.push(format!("/files: {problem}"));
        }
    }
    if !problems.is_empty() {
        return Err(ToolError::new("invalid_files", "the files cannot be taken as evidence")
            .problems(problems)
            .hint("paths are relative, with `/`, such as reports/junit.xml"));
    }
    Ok(files
        .into_iter()
        .map(|(path, text)| EvidenceFile {
            path,
            total_bytes: text.len() as u64,
            text,
            truncated: false,
        })
        .collect())
}

/// Waits until the step's gates have judged: it has ended, or waits for somebody or something else.
async fn judged(
    tools: &Tools,
    call: &Call,
    snapshot: Snapshot,
    step_id: &str,
    wait_s: Option<u64>,
) -> Result<StepAnswer, ToolError> {
    let wait = Duration::from_secs(wait_s.unwrap_or(WAIT_S).min(WAIT_MAX_S));
    let index = snapshot.execution.step_index(step_id);
    let settled = |snapshot: &Snapshot| index.is_none_or(|index| is_judged(snapshot, index));
    let snapshot = until(&tools.engine, call, snapshot, wait, settled).await.map_err(refuse)?;
    StepAnswer::of(&tools.engine, &snapshot, step_id)
}

/// Says whether nothing of a step is being judged or done now.
fn is_judged(snapshot: &Snapshot, index: usize) -> bool {
    let state = snapshot.execution.step(index);
    snapshot.execution.status().is_final()
        || (state.is_final() && !is_about_to_end(snapshot))
        || state.waiting_for().is_some()
        || matches!(state.phase, StepPhase::RetryWait { .. })
}

/// Says whether nothing is left to do and only the end has yet to be recorded.
fn is_about_to_end(snapshot: &Snapshot) -> bool {
    let (done, total) = snapshot.execution.progress();
    done == total && !snapshot.execution.status().is_final()
}
