//! `review_step`: what reviewers say of one step, of several, or of all that wait.

use std::time::Duration;

use caelum_core::evidence::ReviewDecision;
use caelum_core::workflow::{Execution, WaitingFor};
use caelum_engine::EngineError;
use caelum_engine::executions::REVIEWS_MAX;
use caelum_engine::request::{Patience, Snapshot, StepReview};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::super::error::ToolError;
use super::super::super::tool::{Answer, Call};
use super::super::Tools;
use super::super::answer::counted;
use super::super::failure::refuse;
use super::super::status::{
    Detail, FailureSummary, ProgressView, StepView, WaitingView, poll_after_ms, view,
};
use super::super::wait::{WAIT_MAX_S, until};
use super::{StepAnswer, WAIT_S, is_judged, judged, tell_reasons, tell_rest};
use crate::document::filled;

/// How many single outcomes an answer shows, refused ones first.
const OUTCOMES_MAX: usize = 100;

/// What a reviewer decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ReviewWord {
    /// It is good.
    Approved,
    /// It is not good; needs a reason.
    Rejected,
    /// No opinion.
    Abstained,
}

/// Gives a review of what waits for a `review`: of one step (`step_id`), of several (`step_ids`), of every step of a wave
/// (`wave`), or of all that wait in the execution (`all: true`); exactly one of these four. Approves or rejects, with a
/// reason. Whoever did the work cannot review it; `waiting_for` says who may and how many approvals are needed. Several
/// steps are answered one by one in `reviews`: a refused one does not keep the others from being taken. Waits a moment
/// for the verdicts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReviewStep {
    /// The execution's id.
    execution_id: String,
    /// The step's id, as in `waiting_for`.
    #[serde(default)]
    step_id: Option<String>,
    /// Several steps' ids.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    step_ids: Vec<String>,
    /// Every step of this wave that waits for a review: wave 0 are the steps without dependencies, wave 1 those behind
    /// them, and so on, as in a dry run.
    #[serde(default)]
    wave: Option<usize>,
    /// Every step that waits for a review.
    #[serde(default)]
    all: Option<bool>,
    /// Who reviews: a name for the record.
    #[schemars(length(min = 1))]
    reviewer: String,
    /// What they decide.
    decision: ReviewWord,
    /// Why; required for a rejection.
    #[serde(default)]
    reason: Option<String>,
    /// Wait up to so many seconds for the verdicts; 2 when left out.
    #[serde(default)]
    #[schemars(range(min = 0, max = 30))]
    wait_s: Option<u64>,
}

/// What became of one review.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReviewOutcome {
    /// The step.
    pub step_id: String,
    /// Whether it was taken.
    pub taken: bool,
    /// Where the step stands after it: its phase, such as `completed`, `failed` or `awaiting_review`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Why it was refused: a stable code, such as `own_work`, `not_a_reviewer` or `not_waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it was refused, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// An execution after reviews were given.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReviewsTaken {
    /// The execution's id.
    pub execution_id: String,
    /// `executing`, `paused`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// The step as it is now, with the verdicts of its gates, when one was reviewed by its `step_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepView>,
    /// What became of each review, refused ones first.
    pub reviews: Vec<ReviewOutcome>,
    /// How many reviews were taken.
    pub taken: usize,
    /// How many were refused.
    pub refused: usize,
    /// How many outcomes are not shown.
    pub reviews_omitted: usize,
    /// How far the execution is.
    pub progress: ProgressView,
    /// What the execution waits for now.
    pub waiting_for: Vec<WaitingView>,
    /// How many more things it waits for than are shown.
    pub waiting_omitted: usize,
    /// Why the execution failed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureSummary>,
    /// Ask again after so many milliseconds; missing once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_after_ms: Option<u64>,
}

impl Answer for ReviewsTaken {
    fn text(&self) -> String {
        let mut text = String::new();
        match &self.step {
            Some(step) => {
                text.push_str(&format!("step {}", step.line()));
                tell_reasons(&mut text, step);
            }
            None => {
                text.push_str(&format!(
                    "{} taken, {} refused",
                    counted(self.taken, "review", "reviews"),
                    self.refused
                ));
                for outcome in self.reviews.iter().take(60) {
                    text.push_str(&format!("\n- {}", outcome.line()));
                }
            }
        }
        text.push_str(&format!(
            "\nexecution {}: {}, {} of {} steps",
            self.execution_id, self.status, self.progress.done, self.progress.total
        ));
        tell_rest(&mut text, self.failure.as_ref(), &self.waiting_for);
        text
    }
}

impl ReviewOutcome {
    /// Returns the outcome in one line.
    pub fn line(&self) -> String {
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => format!("{}: {code}: {message}", self.step_id),
            _ => {
                let phase = self.phase.as_deref().unwrap_or("taken");
                format!("{}: {}", self.step_id, phase.replace('_', " "))
            }
        }
    }
}

pub(super) async fn review(
    tools: Tools,
    call: Call,
    arguments: ReviewStep,
) -> Result<ReviewsTaken, ToolError> {
    let selection = Selection::of(&arguments)?;
    if let Selection::One(step_id) = &selection {
        let review = review_of(&arguments, step_id.clone());
        let snapshot = tools.engine.review_step(review).await.map_err(refuse)?;
        let answer = judged(&tools, &call, snapshot, step_id, arguments.wait_s).await?;
        return Ok(ReviewsTaken::one(answer));
    }
    let patience = Patience::default();
    let snapshot =
        tools.engine.execution(&arguments.execution_id, patience).await.map_err(refuse)?;
    let steps = selection.steps(&snapshot.execution)?;
    several(&tools, &call, &arguments, snapshot, steps).await
}

/// Which steps are reviewed.
enum Selection {
    One(String),
    Several(Vec<String>),
    Wave(usize),
    All,
}

impl Selection {
    fn of(arguments: &ReviewStep) -> Result<Self, ToolError> {
        let mut chosen = Vec::new();
        chosen.extend(filled(arguments.step_id.as_ref()).map(|id| Self::One(id.to_owned())));
        if !arguments.step_ids.is_empty() {
            chosen.push(Self::Several(arguments.step_ids.clone()));
        }
        chosen.extend(arguments.wave.map(Self::Wave));
        if arguments.all == Some(true) {
            chosen.push(Self::All);
        }
        let count = chosen.len();
        match chosen.pop() {
            Some(selection) if count == 1 => Ok(selection),
            _ => Err(ToolError::new(
                "invalid_arguments",
                format!("{count} of `step_id`, `step_ids`, `wave` and `all` are given"),
            )
            .problem("/step_id: exactly one of `step_id`, `step_ids`, `wave` and `all` says what is reviewed")
            .hint("get_workflow_status lists what waits under `waiting_for`")),
        }
    }

    /// Returns the ids of the steps, each once; for a wave and for all, of those that wait for a review.
    fn steps(&self, execution: &Execution) -> Result<Vec<String>, ToolError> {
        let waits = |index: &usize| {
            matches!(execution.step(*index).waiting_for(), Some(WaitingFor::Review(_)))
        };
        let ids = |indexes: Vec<usize>| -> Vec<String> {
            let steps = &execution.definition().steps;
            indexes.into_iter().map(|index| steps[index].id.to_string()).collect()
        };
        let (found, what) = match self {
            Self::One(step) => return Ok(vec![step.clone()]),
            Self::Several(steps) => {
                let mut seen = std::collections::BTreeSet::new();
                return Ok(steps.iter().filter(|step| seen.insert(*step)).cloned().collect());
            }
            Self::Wave(wave) => {
                let waves = waves(execution);
                let of_wave = |index: &usize| waves[*index] == *wave;
                let found = execution.open_steps().filter(waits).filter(of_wave).collect();
                (ids(found), format!("no step of wave {wave}"))
            }
            Self::All => {
                (ids(execution.open_steps().filter(waits).collect()), "no step".to_owned())
            }
        };
        if found.is_empty() {
            let id = execution.id();
            return Err(ToolError::new(
                "not_waiting",
                format!("{what} of execution `{id}` waits for a review"),
            )
            .hint("get_workflow_status lists what waits under `waiting_for`"));
        }
        Ok(found)
    }
}

/// Returns the wave of each step: the number of steps on the longest way to it.
fn waves(execution: &Execution) -> Vec<usize> {
    let graph = execution.graph();
    let mut waves = vec![0; execution.steps().len()];
    for index in graph.order().unwrap_or_default() {
        let before = graph.dependencies(index).iter().map(|dependency| waves[*dependency] + 1);
        waves[index] = before.max().unwrap_or(0);
    }
    waves
}

fn review_of(arguments: &ReviewStep, step_id: String) -> StepReview {
    StepReview {
        execution_id: arguments.execution_id.clone(),
        step_id,
        reviewer: arguments.reviewer.clone(),
        decision: match arguments.decision {
            ReviewWord::Approved => ReviewDecision::Approved,
            ReviewWord::Rejected => ReviewDecision::Rejected,
            ReviewWord::Abstained => ReviewDecision::Abstained,
        },
        reason: arguments.reason.clone().unwrap_or_default(),
    }
}

/// Gives one review to each of several steps.
async fn several(
    tools: &Tools,
    call: &Call,
    arguments: &ReviewStep,
    mut snapshot: Snapshot,
    steps: Vec<String>,
) -> Result<ReviewsTaken, ToolError> {
    let mut outcomes = Vec::with_capacity(steps.len());
    for part in steps.chunks(REVIEWS_MAX) {
        let reviews = part.iter().map(|step| review_of(arguments, step.clone())).collect();
        let answers = tools.engine.review_steps(reviews).await.map_err(refuse)?;
        for (step_id, answer) in part.iter().zip(answers) {
            let outcome = |taken| ReviewOutcome {
                step_id: step_id.clone(),
                taken,
                phase: None,
                code: None,
                message: None,
            };
            outcomes.push(match answer {
                Ok(after) => {
                    // Answers come in any order; the latest state is the one with the most events.
                    if after.execution.head().events > snapshot.execution.head().events {
                        snapshot = after;
                    }
                    outcome(true)
                }
                Err(EngineError::Mistake(mistake)) => ReviewOutcome {
                    code: Some(mistake.code.to_owned()),
                    message: Some(mistake.message),
                    ..outcome(false)
                },
                Err(other) => return Err(refuse(other)),
            });
        }
    }
    let reviewed: Vec<usize> = outcomes
        .iter()
        .filter(|outcome| outcome.taken)
        .filter_map(|outcome| snapshot.execution.step_index(&outcome.step_id))
        .collect();
    let wait = Duration::from_secs(arguments.wait_s.unwrap_or(WAIT_S).min(WAIT_MAX_S));
    let all_judged = |snapshot: &Snapshot| reviewed.iter().all(|index| is_judged(snapshot, *index));
    let snapshot = until(&tools.engine, call, snapshot, wait, all_judged).await.map_err(refuse)?;
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.taken) {
        let step = super::super::status::one_step(&snapshot, &outcome.step_id);
        outcome.phase = step.map(|step| step.phase);
    }
    Ok(ReviewsTaken::many(tools, &snapshot, outcomes))
}

impl ReviewsTaken {
    fn one(answer: StepAnswer) -> Self {
        let StepAnswer {
            execution_id,
            status,
            step,
            progress,
            waiting_for,
            failure,
            poll_after_ms,
        } = answer;
        let outcome = ReviewOutcome {
            step_id: step.id.clone(),
            taken: true,
            phase: Some(step.phase.clone()),
            code: None,
            message: None,
        };
        Self {
            execution_id,
            status,
            step: Some(step),
            reviews: vec![outcome],
            taken: 1,
            refused: 0,
            reviews_omitted: 0,
            progress,
            waiting_for,
            waiting_omitted: 0,
            failure,
            poll_after_ms,
        }
    }

    fn many(tools: &Tools, snapshot: &Snapshot, mut outcomes: Vec<ReviewOutcome>) -> Self {
        let taken = outcomes.iter().filter(|outcome| outcome.taken).count();
        let refused = outcomes.len() - taken;
        outcomes.sort_by_key(|outcome| outcome.taken);
        let reviews_omitted = outcomes.len().saturating_sub(OUTCOMES_MAX);
        outcomes.truncate(OUTCOMES_MAX);
        let view = view(&tools.engine, snapshot, Detail::CONCISE);
        Self {
            execution_id: view.execution_id,
            status: view.status,
            step: None,
            reviews: outcomes,
            taken,
            refused,
            reviews_omitted,
            progress: view.progress,
            waiting_for: view.waiting_for,
            waiting_omitted: view.waiting_omitted,
            failure: view.failure,
            poll_after_ms: poll_after_ms(snapshot),
        }
    }
}
