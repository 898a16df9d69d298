//! How work spreads over machines: pure arithmetic from the state of a group to what should start now.

use serde::{Deserialize, Serialize};

/// The order and width in which a step's targets run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Strategy {
    /// All at once, or at most `max` at once. A failed target does not stop the others.
    Parallel {
        /// At most this many at once; nothing means all.
        #[serde(default)]
        max: Option<u32>,
    },
    /// One after the other in the order given; a failed target stops those behind it unless told otherwise.
    Sequential {
        /// Whether to go on after a failure.
        #[serde(default)]
        continue_on_failure: bool,
    },
}

impl Default for Strategy {
    fn default() -> Self {
        Strategy::Parallel { max: None }
    }
}

impl Strategy {
    /// Returns the word used in documents.
    pub fn as_str(&self) -> &'static str {
        match self {
            Strategy::Parallel { .. } => "parallel",
            Strategy::Sequential { .. } => "sequential",
        }
    }
}

/// What the planner sees of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetView {
    /// Not begun.
    Waiting,
    /// Failed, and waits for another attempt: it takes no place meanwhile.
    Resting,
    /// Begun, no outcome yet.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Will never begin.
    GivenUp,
}

/// What the strategy wants now. Indexes are positions in the target list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StrategyPlan {
    /// Targets to start.
    pub start: Vec<usize>,
    /// Waiting targets that will never start.
    pub give_up: Vec<usize>,
    /// Whether the group is settled: nothing runs and nothing will start.
    pub settled: Option<GroupEnd>,
}

/// How a group ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupEnd {
    /// Every target ended well.
    Succeeded,
    /// Some target did not.
    Failed,
}

/// Decides what to start and give up, from the states of all targets in order.
///
/// Total: for every combination it either starts something, waits for something that runs or rests, or settles.
pub fn plan_targets(strategy: &Strategy, targets: &[TargetView]) -> StrategyPlan {
    let count = |wanted: TargetView| targets.iter().filter(|view| **view == wanted).count();
    let running = count(TargetView::Running);
    let resting = count(TargetView::Resting);
    let waiting = || {
        targets
            .iter()
            .enumerate()
            .filter(|(_, view)| **view == TargetView::Waiting)
            .map(|(index, _)| index)
    };
    let mut plan = StrategyPlan::default();
    match strategy {
        Strategy::Parallel { max } => {
            let width = max.map_or(usize::MAX, |max| max.max(1) as usize);
            plan.start = waiting().take(width.saturating_sub(running)).collect();
        }
        Strategy::Sequential { continue_on_failure } => {
            if count(TargetView::Failed) > 0 && !continue_on_failure {
                plan.give_up = waiting().collect();
            } else if running + resting == 0 {
                plan.start = waiting().take(1).collect();
            }
        }
    }
    if running + resting == 0 && plan.start.is_empty() && plan.give_up.is_empty() {
        let good = count(TargetView::Succeeded) == targets.len();
        plan.settled = Some(if good { GroupEnd::Succeeded } else { GroupEnd::Failed });
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::TargetView::{Failed, GivenUp, Resting, Running, Succeeded, Waiting};
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_oneof, proptest};
    use proptest::strategy::Strategy as _;

    #[test]
    fn parallel_keeps_its_width() {
        let plan = plan_targets(
            &Strategy::Parallel { max: Some(2) },
            &[Succeeded, Running, Waiting, Waiting],
        );
        assert_eq!(plan.start, [2]);
    }

    #[test]
    fn sequential_stops_behind_a_failure() {
        let views = [Succeeded, Failed, Waiting, Waiting];
        let stopping = Strategy::Sequential { continue_on_failure: false };
        let plan = plan_targets(&stopping, &views);
        assert_eq!((plan.start, plan.give_up), (vec![], vec![2, 3]));
        assert_eq!(plan.settled, None, "what is given up is recorded first");
        let settled = plan_targets(&stopping, &[Succeeded, Failed, GivenUp, GivenUp]).settled;
        assert_eq!(settled, Some(GroupEnd::Failed));

        let going_on = Strategy::Sequential { continue_on_failure: true };
        assert_eq!(plan_targets(&going_on, &views).start, [2]);
    }

    #[test]
    fn what_rests_takes_no_place_and_is_waited_for() {
        let width = Strategy::Parallel { max: Some(1) };
        assert_eq!(plan_targets(&width, &[Resting, Waiting]).start, [1]);
        assert_eq!(plan_targets(&width, &[Resting, Succeeded]), StrategyPlan::default());
        let row = Strategy::Sequential { continue_on_failure: true };
        assert_eq!(plan_targets(&row, &[Resting, Waiting]), StrategyPlan::default());
    }

    #[test]
    fn a_group_without_targets_has_succeeded() {
        let plan = plan_targets(&Strategy::default(), &[]);
        assert_eq!(plan.settled, Some(GroupEnd::Succeeded));
    }

    fn strategies() -> impl proptest::strategy::Strategy<Value = Strategy> {
        prop_oneof![
            proptest::option::of(0_u32..5).prop_map(|max| Strategy::Parallel { max }),
            any::<bool>()
                .prop_map(|continue_on_failure| Strategy::Sequential { continue_on_failure }),
        ]
    }

    proptest! {
        #[test]
        fn every_group_ends_and_never_runs_wider_than_allowed(
            strategy in strategies(),
            size in 0_usize..12,
            failures in proptest::collection::vec(any::<bool>(), 12),
        ) {
            let mut views = vec![Waiting; size];
            for _ in 0..=2 * size {
                let plan = plan_targets(&strategy, &views);
                for index in &plan.start { views[*index] = Running; }
                for index in &plan.give_up { views[*index] = GivenUp; }
                let running = views.iter().filter(|view| **view == Running).count();
                match strategy {
                    Strategy::Parallel { max: Some(max) } => prop_assert!(running <= max.max(1) as usize),
                    Strategy::Sequential { .. } => prop_assert!(running <= 1),
                    Strategy::Parallel { max: None } => {}
                }
                match views.iter().position(|view| *view == Running) {
                    Some(index) => views[index] = if failures[index] { Failed } else { Succeeded },
                    None => {
                        prop_assert!(plan_targets(&strategy, &views).settled.is_some());
                        return Ok(());
                    }
                }
            }
            prop_assert!(false, "the group did not settle");
        }
    }
}
