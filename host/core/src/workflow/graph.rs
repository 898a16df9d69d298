//! The graph of a definition's steps: indexes, dependents, order, cycles. Built once per definition.

use std::collections::{BTreeSet, HashMap};

use super::Step;
use crate::id::StepId;

/// The graph of steps, by index into the definition. Unknown dependencies are left out; the rules report them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    dependencies: Vec<Vec<usize>>,
    dependents: Vec<Vec<usize>>,
    indexes: HashMap<StepId, usize>,
}

impl Graph {
    /// Builds the graph of `steps`. The first of two steps with one id wins.
    pub fn of(steps: &[Step]) -> Self {
        let mut indexes = HashMap::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            indexes.entry(step.id.clone()).or_insert(index);
        }
        let mut dependencies = vec![Vec::new(); steps.len()];
        let mut dependents = vec![Vec::new(); steps.len()];
        for (index, step) in steps.iter().enumerate() {
            let named: BTreeSet<usize> = step
                .dependencies
                .iter()
                .filter_map(|id| indexes.get(id.as_str()))
                .copied()
                .collect();
            for dependency in named {
                dependencies[index].push(dependency);
                dependents[dependency].push(index);
            }
        }
        Graph { dependencies, dependents, indexes }
    }

    /// Returns the index of a step.
    pub fn index(&self, step: &str) -> Option<usize> {
        self.indexes.get(step).copied()
    }

    /// Returns what must have ended before the step begins.
    pub fn dependencies(&self, step: usize) -> &[usize] {
        &self.dependencies[step]
    }

    /// Returns what waits for the step.
    pub fn dependents(&self, step: usize) -> &[usize] {
        &self.dependents[step]
    }

    /// Returns the steps in an order in which each comes behind its dependencies; ties keep the order written.
    ///
    /// # Errors
    ///
    /// Returns one cycle, first step repeated at its end, when there is one.
    pub fn order(&self) -> Result<Vec<usize>, Vec<usize>> {
        let mut left: Vec<usize> = self.dependencies.iter().map(Vec::len).collect();
        let mut ready: BTreeSet<usize> =
            left.iter().enumerate().filter(|(_, left)| **left == 0).map(|(step, _)| step).collect();
        let mut order = Vec::with_capacity(left.len());
        while let Some(step) = ready.pop_first() {
            order.push(step);
            for dependent in &self.dependents[step] {
                left[*dependent] -= 1;
                if left[*dependent] == 0 {
                    ready.insert(*dependent);
                }
            }
        }
        match left.iter().position(|left| *left > 0) {
            None => Ok(order),
            Some(start) => Err(self.cycle_near(start, &left)),
        }
    }

    /// Walks against the arrows among the steps that never became ready until a step comes again.
    fn cycle_near(&self, start: usize, left: &[usize]) -> Vec<usize> {
        let mut path = vec![start];
        let mut step = start;
        loop {
            step = *self.dependencies[step]
                .iter()
                .find(|dependency| left[**dependency] > 0)
                .expect("a step that never became ready has a dependency that never did");
            if let Some(first) = path.iter().position(|seen| *seen == step) {
                let mut cycle = path.split_off(first);
                cycle.push(step);
                return cycle;
            }
            path.push(step);
        }
    }
}
