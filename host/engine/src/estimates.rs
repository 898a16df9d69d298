//! How long the work of a step usually takes, for the limit of a run whose step names none: four times what 95 of 100 of
//! its last runs took. Asked from the store once for each workflow; what runs afterwards is added as it is reported.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use caelum_core::id::WorkflowId;
use caelum_core::workflow::Execution;
use tracing::warn;

use crate::engine::Inner;
use crate::meters::Tally;
use crate::request::TASK_GROUP_PREFIX;

/// The last runs that count.
const RUNS: usize = 20;

/// By how much a run may take longer than usual.
const FACTOR: u32 = 4;

/// Steps that are remembered, over all workflows: about 10 MB. The workflow that was remembered first goes first, and is
/// asked from the store again when it runs again.
const STEPS_MAX: usize = 50_000;

/// How long the work of steps took, for workflows that have run since the engine was opened.
#[derive(Debug, Default)]
pub(crate) struct Estimates {
    /// Locked for a look-up or for the reports of one round, never while the store is asked.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    workflows: HashMap<WorkflowId, HashMap<String, VecDeque<Duration>>>,
    order: VecDeque<WorkflowId>,
    steps: usize,
}

impl Known {
    fn remember(&mut self, workflow: &WorkflowId, runs: HashMap<String, VecDeque<Duration>>) {
        self.steps += runs.len();
        match self.workflows.insert(workflow.clone(), runs) {
            Some(before) => self.steps -= before.len(),
            None => self.order.push_back(workflow.clone()),
        }
        while self.steps > STEPS_MAX && self.order.len() > 1 {
            let oldest = self.order.pop_front().and_then(|oldest| self.workflows.remove(&oldest));
            self.steps -= oldest.map_or(0, |runs| runs.len());
        }
    }

    fn add(&mut self, workflow: &WorkflowId, step: &str, took: Duration) {
        let Some(runs) = self.workflows.get_mut(workflow) else { return };
        let of_step = match runs.get_mut(step) {
            Some(of_step) => of_step,
            None => {
                self.steps += 1;
                runs.entry(step.to_owned()).or_default()
            }
        };
        of_step.push_front(took);
        of_step.truncate(RUNS);
    }
}

impl Estimates {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds work that succeeded.
    pub(crate) fn add(&self, execution: &Execution, tally: &Tally) {
        let mut runs = tally.runs().peekable();
        if runs.peek().is_none() || is_task_group(execution) {
            return;
        }
        let workflow = &execution.head().workflow_id;
        let mut known = self.known();
        for (step, took) in runs {
            known.add(workflow, execution.definition().steps[step].id.as_str(), took);
        }
    }

    /// Returns what 95 of 100 runs of a step took at most; the outer nothing means that the store has to be asked.
    fn usual(&self, workflow: &WorkflowId, step: &str) -> Option<Option<Duration>> {
        let known = self.known();
        let runs = known.workflows.get(workflow)?;
        Some(runs.get(step).and_then(percentile_95))
    }
}

/// Task groups share a name and nothing else.
fn is_task_group(execution: &Execution) -> bool {
    execution.head().workflow_id.as_str().starts_with(TASK_GROUP_PREFIX)
}

fn percentile_95(runs: &VecDeque<Duration>) -> Option<Duration> {
    let mut sorted: Vec<Duration> = runs.iter().copied().collect();
    sorted.sort_unstable();
    let rank = (sorted.len() * 95).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

impl Inner {
    /// Returns how long one run of a step's work may take: what the step says, or the largest of the default, four
    /// times what its last runs took and four times its estimate.
    pub(crate) async fn run_timeout(&self, execution: &Execution, step: usize) -> Duration {
        let definition = &execution.definition().steps[step];
        if let Some(seconds) = definition.timeout_s {
            return Duration::from_secs(seconds);
        }
        let estimate = definition
            .estimated_duration
            .map_or(Duration::ZERO, |minutes| Duration::from_secs(u64::from(minutes) * 60));
        let usual = match is_task_group(execution) {
            true => Duration::ZERO,
            false => self.usual_run(execution, definition.id.as_str()).await,
        };
        let most = estimate.max(usual);
        self.options.default_timeout.max(most.saturating_mul(FACTOR))
    }

    async fn usual_run(&self, execution: &Execution, step: &str) -> Duration {
        let workflow = &execution.head().workflow_id;
        if let Some(usual) = self.estimates.usual(workflow, step) {
            return usual.unwrap_or_default();
        }
        let runs = match self.store.recent_runs(workflow, RUNS).await {
            Ok(runs) => runs,
            Err(error) => {
                // The default will do, and the next run asks again.
                warn!(%workflow, %error, "it cannot be read how long steps take");
                return Duration::ZERO;
            }
        };
        let runs = runs.into_iter().map(|(step, runs)| (step, runs.into())).collect();
        self.estimates.known().remember(workflow, runs);
        self.estimates.usual(workflow, step).flatten().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> WorkflowId {
        text.parse().expect("legal")
    }

    fn seconds(spans: impl IntoIterator<Item = u64>) -> VecDeque<Duration> {
        spans.into_iter().map(Duration::from_secs).collect()
    }

    #[test]
    fn the_slowest_run_of_twenty_is_left_out_and_of_fewer_it_is_not() {
        assert_eq!(percentile_95(&seconds(1..=20)), Some(Duration::from_secs(19)));
        assert_eq!(percentile_95(&seconds([7, 3])), Some(Duration::from_secs(7)));
        assert_eq!(percentile_95(&VecDeque::new()), None);
    }

    #[test]
    fn only_the_last_runs_count() {
        let mut known = Known::default();
        known.remember(&id("w"), HashMap::new());

        for _ in 0..RUNS {
            known.add(&id("w"), "s", Duration::from_secs(100));
        }
        for _ in 0..RUNS {
            known.add(&id("w"), "s", Duration::from_secs(1));
        }
        known.add(&id("other"), "s", Duration::from_secs(1));

        assert_eq!(percentile_95(&known.workflows[&id("w")]["s"]), Some(Duration::from_secs(1)));
        assert_eq!((known.workflows.len(), known.steps), (1, 1));
    }

    #[test]
    fn the_workflow_that_was_remembered_first_goes_first() {
        let mut known = Known::default();
        let many = |count: usize| -> HashMap<String, VecDeque<Duration>> {
            (0..count).map(|step| (step.to_string(), VecDeque::new())).collect()
        };

        known.remember(&id("a"), many(STEPS_MAX / 2));
        known.remember(&id("b"), many(STEPS_MAX / 2));
        known.remember(&id("c"), many(1));

        assert!(!known.workflows.contains_key(&id("a")));
        assert_eq!((known.order.len(), known.steps), (2, STEPS_MAX / 2 + 1));
    }
}
