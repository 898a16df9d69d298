//! The fold of a group's results: counts, machines with the same output together, numbers merged, failures first.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::id::MachineId;
use crate::task::{OutcomeStatus, TaskOutcome};

/// The merged results of many machines.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupTally {
    /// How many targets there are.
    pub total: usize,
    /// How many ended well.
    pub succeeded: usize,
    /// How many ended badly.
    pub failed: usize,
    /// How many have no outcome yet.
    pub open: usize,
    /// Machines with the same result together; failures first, then the largest group.
    pub groups: Vec<SameOutput>,
    /// Numeric outputs by name.
    pub numbers: BTreeMap<String, Merged>,
}

/// Machines whose result is the same.
#[derive(Debug, Clone, PartialEq)]
pub struct SameOutput {
    /// How they ended.
    pub status: OutcomeStatus,
    /// Their exit code.
    pub exit_code: Option<i32>,
    /// Their standard output, without white space at its end.
    pub output: String,
    /// Why they failed.
    pub failure: Option<String>,
    /// Their outputs.
    pub outputs: Map<String, Value>,
    /// Which machines.
    pub machines: Vec<MachineId>,
}

/// A number that many machines gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merged {
    /// How many gave it.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The sum.
    pub sum: f64,
}

impl Merged {
    /// Returns the mean.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// Folds the results of a group; a target without an outcome is open.
pub fn fold<'a>(
    targets: impl IntoIterator<Item = (&'a MachineId, Option<&'a TaskOutcome>)>,
) -> GroupTally {
    let mut tally = GroupTally {
        total: 0,
        succeeded: 0,
        failed: 0,
        open: 0,
        groups: Vec::new(),
        numbers: BTreeMap::new(),
    };
    let mut places: BTreeMap<(String, Option<i32>, String, String), usize> = BTreeMap::new();
    for (machine, outcome) in targets {
        tally.total += 1;
        let Some(outcome) = outcome else {
            tally.open += 1;
            continue;
        };
        if outcome.succeeded() {
            tally.succeeded += 1;
        } else {
            tally.failed += 1;
        }
        for (name, value) in &outcome.outputs {
            if let Some(number) = value.as_f64() {
                let merged = tally.numbers.entry(name.clone()).or_insert(Merged {
                    count: 0,
                    min: number,
                    max: number,
                    sum: 0.0,
                });
                merged.count += 1;
                merged.min = merged.min.min(number);
                merged.max = merged.max.max(number);
                merged.sum += number;
            }
        }
        let output = outcome.stdout.text.trim_end().to_owned();
        let failure = outcome.failure.as_ref().map(|failure| failure.message.clone());
        let place = (
            format!("{:?}", outcome.status),
            outcome.exit_code,
            output.clone(),
            failure.clone().unwrap_or_default(),
        );
        let index = *places.entry(place).or_insert_with(|| {
            tally.groups.push(SameOutput {
                status: outcome.status,
                exit_code: outcome.exit_code,
                output,
                failure,
                outputs: outcome.outputs.clone(),
                machines: Vec::new(),
            });
            tally.groups.len() - 1
        });
        tally.groups[index].machines.push(machine.clone());
    }
    tally.groups.sort_by_key(|group| {
        (group.status == OutcomeStatus::Succeeded, std::cmp::Reverse(group.machines.len()))
    });
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::task::{FailureClass, Output, TaskFailure};

    fn outcome(text: &str, code: i32, size: f64) -> TaskOutcome {
        let failure = TaskFailure {
            class: FailureClass::Exit,
            code: "exit_code".to_owned(),
            message: format!("exit code {code}"),
            hint: None,
        };
        TaskOutcome {
            status: if code == 0 { OutcomeStatus::Succeeded } else { OutcomeStatus::Failed },
            exit_code: Some(code),
            stdout: Output { text: text.to_owned(), total_bytes: 0, truncated: false },
            outputs: Map::from_iter([("size".to_owned(), size.into())]),
            failure: (code != 0).then(|| failure.clone()),
            ..TaskOutcome::not_started(Timestamp::EPOCH, failure)
        }
    }

    #[test]
    fn folds_equal_outputs_and_puts_failures_first() {
        let machines: Vec<MachineId> =
            ["a", "b", "c", "d"].iter().map(|name| name.parse().expect("legal")).collect();
        let outcomes = [outcome("ok\n", 0, 1.0), outcome("ok", 0, 3.0), outcome("no", 1, 5.0)];

        let tally = fold(machines.iter().enumerate().map(|(index, id)| (id, outcomes.get(index))));

        assert_eq!((tally.total, tally.succeeded, tally.failed, tally.open), (4, 2, 1, 1));
        let named: Vec<(&str, usize)> = tally
            .groups
            .iter()
            .map(|group| (group.output.as_str(), group.machines.len()))
            .collect();
        assert_eq!(named, [("no", 1), ("ok", 2)]);
        let size = tally.numbers["size"];
        assert_eq!((size.count, size.min, size.max, size.mean()), (3, 1.0, 5.0, 3.0));
    }
}
