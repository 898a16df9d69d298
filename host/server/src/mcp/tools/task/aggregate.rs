//! `aggregate_task_results`: the results of many machines in one.

use std::collections::BTreeMap;

use caelum_core::task::OutcomeStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::super::error::ToolError;
use super::super::super::tool::Answer;
use super::super::Tools;
use super::super::answer::{ANSWER_AIM_BYTES, Tail, counted, json_bytes, line};
use super::super::failure::refuse;

/// Folds the results of a task group: how many ended how, machines with the same output together (failures first), and
/// the numbers of their outputs merged. Works at any time; `complete` says whether all machines have reported.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AggregateTaskResults {
    /// A `task_group_id` from `distribute_task`.
    task_group_id: String,
}

/// Machines whose result is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SameView {
    /// `succeeded`, `failed`, `timed_out`, `cancelled` or `not_started`.
    pub status: String,
    /// Their exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Their standard output, its end.
    pub output: String,
    /// Whether the output is only its end.
    pub output_truncated: bool,
    /// Why they failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Their outputs.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub outputs: Map<String, Value>,
    /// Which machines.
    pub machines: Vec<String>,
    /// How many machines.
    pub count: usize,
}

/// A number that many machines gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NumberView {
    /// How many gave it.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The sum.
    pub sum: f64,
}

/// The results of a task group, folded.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct AggregateView {
    /// The group's id.
    pub task_group_id: String,
    /// `executing`, `paused`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// Whether every machine has reported.
    pub complete: bool,
    /// How many tasks there are.
    pub total: usize,
    /// How many ended well.
    pub succeeded: usize,
    /// How many ended badly.
    pub failed: usize,
    /// How many have no result yet.
    pub open: usize,
    /// Machines with the same result together: failures first, then the largest group.
    pub groups: Vec<SameView>,
    /// How many groups are not shown because there are too many.
    pub groups_omitted: usize,
    /// Numbers of the outputs, by name.
    pub numbers: BTreeMap<String, NumberView>,
}

impl Answer for AggregateView {
    fn text(&self) -> String {
        let whether = if self.complete { "complete" } else { "not complete yet" };
        let mut text = format!(
            "task group {}: {}, {whether}; {} of {} succeeded, {} failed, {} open",
            self.task_group_id, self.status, self.succeeded, self.total, self.failed, self.open
        );
        for group in self.groups.iter().take(20) {
            let code =
                group.exit_code.map_or_else(String::new, |code| format!(", exit code {code}"));
            text.push_str(&format!(
                "\n- {} ({}{code}): {}",
                counted(group.count, "machine", "machines"),
                group.status,
                group.machines.iter().take(10).cloned().collect::<Vec<_>>().join(", ")
            ));
            if let Some(failure) = &group.failure {
                text.push_str(&format!("\n  {failure}"));
            }
            for line in group.output.lines().take(5) {
                text.push_str("\n  | ");
                text.push_str(line);
            }
        }
        for (name, number) in &self.numbers {
            text.push_str(&format!(
                "\n{name}: min {}, max {}, mean {}, sum {} over {}",
                number.min, number.max, number.mean, number.sum, number.count
            ));
        }
        text
    }
}

pub(super) async fn aggregate(
    tools: Tools,
    arguments: AggregateTaskResults,
) -> Result<AggregateView, ToolError> {
    let aggregate = tools.engine.aggregate(&arguments.task_group_id).await.map_err(refuse)?;
    let tally = &aggregate.tally;
    let execution = &aggregate.snapshot.execution;
    let mut view = AggregateView {
        task_group_id: execution.id().to_string(),
        status: execution.status().as_str().to_owned(),
        complete: execution.status().is_final() && tally.open == 0,
        total: tally.total,
        succeeded: tally.succeeded,
        failed: tally.failed,
        open: tally.open,
        groups: Vec::new(),
        groups_omitted: 0,
        numbers: tally
            .numbers
            .iter()
            .take(200)
            .map(|(name, merged)| {
                let number = NumberView {
                    count: merged.count,
                    min: merged.min,
                    max: merged.max,
                    mean: merged.mean(),
                    sum: merged.sum,
                };
                (name.clone(), number)
            })
            .collect(),
    };
    for (bytes, groups) in [(16_000, 100), (1_000, 50), (200, 50), (0, 20)] {
        view.groups = tally.groups.iter().take(groups).map(|group| same(group, bytes)).collect();
        view.groups_omitted = tally.groups.len().saturating_sub(groups);
        if json_bytes(&view) <= ANSWER_AIM_BYTES {
            break;
        }
    }
    Ok(view)
}

fn same(group: &caelum_core::task::SameOutput, bytes: usize) -> SameView {
    let tail = Tail::of(&group.output, group.output.len() as u64, false, bytes);
    SameView {
        status: match group.status {
            OutcomeStatus::Succeeded => "succeeded",
            OutcomeStatus::Failed => "failed",
            OutcomeStatus::TimedOut => "timed_out",
            OutcomeStatus::Cancelled => "cancelled",
            OutcomeStatus::NotStarted => "not_started",
        }
        .to_owned(),
        exit_code: group.exit_code,
        output: tail.text,
        output_truncated: tail.truncated,
        failure: group.failure.as_ref().map(|failure| line(failure, 1_000)),
        outputs: if json_bytes(&group.outputs) <= bytes.max(200) {
            group.outputs.clone()
        } else {
            Map::new()
        },
        machines: group.machines.iter().take(500).map(ToString::to_string).collect(),
        count: group.machines.len(),
    }
}
