//! How an execution is shown: the guide's fields, every step with its gates and machines, what it waits for and the
//! exact call that lets it go on, and why it failed, root cause first.

mod build;
mod family;
mod root_cause;
mod waiting;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::tool::Answer;
use super::answer::{NextCall, Tail, span};

pub(super) use build::{Detail, interest, one_step, poll_after_ms, target_word, view, whole};

/// How much of everything there is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProgressView {
    /// Steps that have ended.
    pub done: usize,
    /// Steps there are.
    pub total: usize,
    /// `done` of `total`, in percent.
    pub percent: f64,
}

/// One judgement of one gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateView {
    /// `enforcement` or `validation`.
    pub gate: String,
    /// `before` or `after` the action.
    pub timing: String,
    /// The validator that judged.
    pub validator: String,
    /// Its version.
    pub version: String,
    /// `pass`, `fail`, `inconclusive` or `needs-review`.
    pub verdict: String,
    /// The validator's summary, one line.
    pub summary: String,
    /// Why, most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<ReasonView>,
    /// How many reasons are not shown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasons_omitted: usize,
    /// What the validator counted.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
    /// The facts that were fetched for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeView>,
    /// Set when the validator broke down: then the verdict is `inconclusive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_reason: Option<String>,
    /// How long judging took, in microseconds.
    pub duration_us: u64,
}

/// One reason for a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReasonView {
    /// Stable code, such as `no_tests_executed`.
    pub code: String,
    /// For people; written by a plugin.
    pub message: String,
    /// `path:line` of what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// A fact that was fetched for a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeView {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The machine it was taken on.
    pub machine: String,
    /// When.
    pub taken_at: String,
    /// Whether an answer came at all.
    pub ok: bool,
    /// The answer, as JSON text, perhaps only its beginning.
    pub answer: String,
}

/// A step's work on one machine, for one item where the step goes over a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MachineView {
    /// The machine.
    pub machine: String,
    /// The item's position in the list, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// The item as JSON text, perhaps only its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_value: Option<String>,
    /// `pending`, `running`, `completed`, `failed`, `skipped`, `cancelled` or `unknown`.
    pub status: String,
    /// How often it was handed out in this attempt.
    pub deliveries: u32,
    /// The program's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// When it was handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Standard output, its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<Tail>,
    /// Standard error, its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<Tail>,
    /// Files kept as evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collected: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailureView {
    /// `action`, `enforcement`, `validation` or `definition`.
    pub cause: String,
    /// `transient`, `exit`, `gate` or `permanent`; the retry policy names the classes that it repeats.
    pub class: String,
    /// Stable code, such as `exit_code` or `gate_failed`.
    pub code: String,
    /// For people.
    pub message: String,
    /// What would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The machine, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// One reviewer's word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReviewView {
    /// Who.
    pub reviewer: String,
    /// `approved`, `rejected` or `abstained`.
    pub decision: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: String,
}

/// One step of an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// The step's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `pending`, `running`, `completed`, `failed`, `skipped` or `cancelled`.
    pub status: String,
    /// What exactly is going on: `waiting`, `retry_wait`, `judging`, `awaiting_review`, `acting`, `awaiting_work`,
    /// `awaiting_decision`, or the status again.
    pub phase: String,
    /// What it does: `command`, `pattern` or `manual`.
    pub action: String,
    /// Steps it depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<String>,
    /// The present attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// When its first attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How long it took, or has taken so far, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// When its next attempt may begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<String>,
    /// Judgements of the present attempt, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateView>,
    /// Its work on each machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<MachineView>,
    /// How many machines (or items) are not shown; those that failed and those that run are shown first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub machines_omitted: usize,
    /// How many machines (or items) stand where, when there are several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub machine_counts: BTreeMap<String, usize>,
    /// The execution that it runs, for a step that runs another workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_execution_id: Option<String>,
    /// Values for later steps.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub outputs: Map<String, Value>,
    /// Whether there are outputs that are too large to show.
    #[serde(default, skip_serializing_if = "is_false")]
    pub outputs_omitted: bool,
    /// Who did the work by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performer: Option<String>,
    /// What they reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// Reviews of the gate that waits, or was judged last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<ReviewView>,
    /// Why it failed, or why its last attempt did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
}

/// What a step waits for: who must do what, and the exact call that says it is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingView {
    /// The step.
    pub step_id: String,
    /// The child execution whose step it is; missing for the execution's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// `work` (do it and report it), `review` (judge it) or `decision` (say what became of it).
    pub kind: String,
    /// Who may do it.
    pub who: String,
    /// What to do.
    pub instructions: String,
    /// The gate that waits for a review, with its validator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// What a review needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewNeeds>,
    /// Since when it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Until when it waits; for ever when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// What happens then: `reject`, `approve` or `escalate` by the step's review rules, or `fail` because the step's whole
    /// time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<String>,
    /// The call to make then.
    pub next_call: NextCall,
}

/// What a review needs before its gate can be judged for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReviewNeeds {
    /// How many approvals count so far.
    pub approvals_given: u64,
    /// How many are needed, as far as it is known: the validator decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals_needed: Option<u64>,
    /// Who may review, by name; empty means everybody who did not do the work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewers: Vec<String>,
    /// Who has reviewed already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewed_by: Vec<String>,
    /// Whether the deadline has passed and others were asked too.
    pub escalated: bool,
    /// Who may review too once the deadline has passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalate_to: Vec<String>,
}

/// The step of another execution that runs this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ParentView {
    /// Its execution.
    pub execution_id: String,
    /// The step.
    pub step_id: String,
    /// Which attempt of it.
    pub attempt: u32,
}

/// An execution that a step of this one runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChildView {
    /// The step.
    pub step_id: String,
    /// The child's id.
    pub execution_id: String,
    /// Where it stands; missing when its step has ended, which then tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// Why an execution failed: the step that failed first, with what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailureSummary {
    /// The step that failed first.
    pub step_id: String,
    /// Which attempt.
    pub attempt: u32,
    /// Why.
    pub failure: FailureView,
    /// Reasons of the gate that refused it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<ReasonView>,
    /// The end of what the program wrote, standard error first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The child execution that failed, where that is why: its own status tells more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_execution_id: Option<String>,
    /// Other steps that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_failed: Vec<String>,
    /// How many steps never ran because of it.
    pub steps_not_run: usize,
    /// The call that would try again.
    pub next_call: NextCall,
}

/// An execution: one run of one revision of a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionView {
    /// The execution's id.
    pub execution_id: String,
    /// The workflow's id.
    pub workflow_id: String,
    /// The revision it is pinned to.
    pub revision: u32,
    /// `executing`, `paused`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// When it was started.
    pub started_at: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Who started it.
    pub started_by: String,
    /// The step of another execution that runs this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentView>,
    /// Executions that its steps run, open ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildView>,
    /// How many of them are not shown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub children_omitted: usize,
    /// The step that is under way, the first of them where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_step: Option<String>,
    /// Steps that ended well.
    pub completed_steps: Vec<String>,
    /// Steps that ended badly.
    pub failed_steps: Vec<String>,
    /// Steps that will not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped_steps: Vec<String>,
    /// The parameters, with defaults filled in.
    pub parameters: Map<String, Value>,
    /// Machines for steps that name none.
    pub target_machines: Vec<String>,
    /// When it should have ended, by the estimates of its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_completion: Option<String>,
    /// How far it is.
    pub progress: ProgressView,
    /// What it waits for, in child executions too; somebody has to do each of these before it can end.
    pub waiting_for: Vec<WaitingView>,
    /// How many more things it waits for than are shown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waiting_omitted: usize,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureSummary>,
    /// Its steps, in the order of the definition.
    pub steps: Vec<StepView>,
    /// How many steps, and ids in the lists above, are not shown because there are too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps_omitted: usize,
    /// Who paused it and why, when somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<String>,
    /// Who asked for its end and why, when somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<String>,
    /// How many events it has; hand it back as `after_event` to wait for the next.
    pub event_count: u64,
    /// Ask again after so many milliseconds; missing once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_after_ms: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// How many steps the text rendering names.
const STEPS_IN_TEXT: usize = 60;

impl Answer for ExecutionView {
    fn text(&self) -> String {
        let mut text = format!(
            "execution {} of workflow {} (revision {}): {}, {} of {} steps ({:.0} %)",
            self.execution_id,
            self.workflow_id,
            self.revision,
            self.status,
            self.progress.done,
            self.progress.total,
            self.progress.percent,
        );
        if let Some(parent) = &self.parent {
            text.push_str(&format!(
                "\nrun by step {} of execution {}",
                parent.step_id, parent.execution_id
            ));
        }
        // Why it failed comes before everything that is only so.
        if let Some(failure) = &self.failure {
            text.push_str("\nfailed: ");
            text.push_str(&failure.text());
        }
        for step in self.steps.iter().take(STEPS_IN_TEXT) {
            text.push_str("\n- ");
            text.push_str(&step.line());
        }
        let unnamed = self.steps.len().saturating_sub(STEPS_IN_TEXT) + self.steps_omitted;
        if unnamed > 0 {
            text.push_str(&format!("\n- and {unnamed} more steps"));
        }
        for waiting in &self.waiting_for {
            text.push_str("\nwaiting: ");
            text.push_str(&waiting.text());
        }
        if self.waiting_omitted > 0 {
            text.push_str(&format!("\nwaiting: {} more", self.waiting_omitted));
        }
        text.push_str(&format!("\nevents: {}", self.event_count));
        if let Some(after) = self.poll_after_ms {
            text.push_str(&format!("; ask again after {after} ms, or with wait_s"));
        }
        text
    }
}

impl StepView {
    /// Returns the step in one line: id, status, time, verdicts.
    pub fn line(&self) -> String {
        let mut line = format!("{} {}", self.id, self.status);
        if self.status == "running" && self.phase != "acting" {
            line.push_str(&format!(" ({})", self.phase.replace('_', " ")));
        }
        if self.attempt > 1 {
            line.push_str(&format!(", attempt {}", self.attempt));
        }
        if let Some(duration) = self.duration_ms {
            line.push_str(&format!(", {}", span(duration)));
        }
        if !self.machine_counts.is_empty() {
            let counts: Vec<String> = self
                .machine_counts
                .iter()
                .map(|(status, count)| format!("{count} {status}"))
                .collect();
            line.push_str(&format!(" ({})", counts.join(", ")));
        }
        if let Some(child) = &self.child_execution_id {
            line.push_str(&format!(", runs execution {child}"));
        }
        for gate in &self.gates {
            line.push_str(&format!("; {} {}: {}", gate.validator, gate.verdict, gate.summary));
        }
        if let Some(failure) = &self.failure {
            line.push_str(&format!("; {}: {}", failure.code, failure.message));
        }
        line
    }
}

impl WaitingView {
    /// Returns what to do, in a few lines.
    pub fn text(&self) -> String {
        let child = self
            .execution_id
            .as_ref()
            .map_or_else(String::new, |id| format!(" of child execution {id}"));
        let mut text = format!(
            "step {}{child} waits for {} by {}: {}",
            self.step_id, self.kind, self.who, self.instructions
        );
        if let Some(review) = &self.review {
            let needed = review
                .approvals_needed
                .map_or_else(String::new, |needed| format!(" of {needed} needed"));
            text.push_str(&format!("; {}{needed} approvals given", review.approvals_given));
        }
        if let Some(deadline) = &self.deadline {
            let then = self.on_timeout.as_deref().unwrap_or("fail");
            text.push_str(&format!("; until {deadline}, then {then}"));
        }
        text.push_str(&format!("\n  next: {}", self.next_call.line()));
        text
    }
}

impl FailureSummary {
    /// Returns why, in a few lines.
    pub fn text(&self) -> String {
        let mut text = format!(
            "step {} (attempt {}), {}: {}",
            self.step_id, self.attempt, self.failure.code, self.failure.message
        );
        for reason in &self.reasons {
            text.push_str("\n  - ");
            text.push_str(&reason.line());
        }
        if let Some(hint) = &self.failure.hint {
            text.push_str("\n  hint: ");
            text.push_str(hint);
        }
        if let Some(output) = &self.output {
            text.push_str("\n  output:");
            for line in output.lines() {
                text.push_str("\n  | ");
                text.push_str(line);
            }
        }
        if self.steps_not_run > 0 {
            text.push_str(&format!(
                "\n  steps that never ran because of it: {}",
                self.steps_not_run
            ));
        }
        if let Some(child) = &self.child_execution_id {
            text.push_str(&format!(
                "\n  more: get_workflow_status {{\"execution_id\":\"{child}\"}}"
            ));
        }
        text.push_str(&format!("\n  to try again: {}", self.next_call.line()));
        text
    }
}

impl ReasonView {
    /// Returns the reason in one line.
    pub fn line(&self) -> String {
        match &self.place {
            Some(place) => format!("{place}: {} ({})", self.message, self.code),
            None => format!("{} ({})", self.message, self.code),
        }
    }
}
