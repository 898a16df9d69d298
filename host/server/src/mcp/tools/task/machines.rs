//! `list_machines`: where work can go.

use std::collections::BTreeMap;

use caelum_machines::{MachineInfo, MachineState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::super::error::ToolError;
use super::super::super::tool::Answer;
use super::super::Tools;
use super::super::answer::ANSWER_AIM_BYTES;
use super::super::failure::refuse;
use super::super::paging::page;
use super::super::workflow::{ROWS, ROWS_MAX};
use crate::document::filled;

/// Whether a machine takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum MachineFilter {
    /// It takes work.
    Online,
    /// It has as much as it runs at once; more waits.
    Busy,
    /// It cannot be reached.
    Offline,
}

/// Lists the machines that work can go to, each with its state, how much it runs and how much it can. Use it to learn
/// names and labels for `target_machines`, or with `select` to see what a selection stands for now.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListMachines {
    /// Only what this stands for in `target_machines`: a name, `local`, `any`, `all` or `label:key=value`.
    #[serde(default)]
    #[schemars(example = &"label:zone=east")]
    select: Option<String>,
    /// Only machines of this state.
    #[serde(default)]
    status_filter: Option<MachineFilter>,
    /// How many at most; 50 when left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MachineRow {
    /// Its name.
    pub machine: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// What `label:key=value` selects by.
    pub labels: BTreeMap<String, String>,
    /// `online`, `busy` or `offline`.
    pub status: String,
    /// Tasks that run on it.
    pub running: usize,
    /// Tasks that wait on it for a free place.
    pub waiting: usize,
    /// Tasks that it runs at once.
    pub capacity: usize,
}

impl MachineRow {
    /// Shows a machine.
    pub fn of(machine: &MachineInfo) -> Self {
        Self {
            machine: machine.id.to_string(),
            aliases: machine.aliases.iter().map(ToString::to_string).collect(),
            labels: machine.labels.clone(),
            status: machine.state.as_str().to_owned(),
            running: machine.running,
            waiting: machine.waiting,
            capacity: machine.capacity,
        }
    }

    /// Returns the machine as one line.
    pub fn line(&self) -> String {
        let also = if self.aliases.is_empty() {
            String::new()
        } else {
            format!(" (also {})", self.aliases.join(", "))
        };
        let labels: Vec<String> =
            self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!(
            "{}{also}: {}, {} of {} running, {} waiting; {}",
            self.machine,
            self.status,
            self.running,
            self.capacity,
            self.waiting,
            labels.join(" ")
        )
    }
}

/// The machines.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct MachineList {
    /// The machines, by name.
    pub machines: Vec<MachineRow>,
    /// The cursor of the next page, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl Answer for MachineList {
    fn text(&self) -> String {
        let mut lines: Vec<String> = self.machines.iter().map(MachineRow::line).collect();
        if lines.is_empty() {
            lines.push("no machines".to_owned());
        }
        lines.extend(self.next_cursor.as_ref().map(|cursor| format!("more: cursor {cursor}")));
        lines.join("\n")
    }
}

pub(super) fn list(tools: &Tools, arguments: ListMachines) -> Result<MachineList, ToolError> {
    let wanted = arguments.status_filter.map(|status| match status {
        MachineFilter::Online => MachineState::Online,
        MachineFilter::Busy => MachineState::Busy,
        MachineFilter::Offline => MachineState::Offline,
    });
    let machines = tools.engine.machines(filled(arguments.select.as_ref())).map_err(refuse)?;
    let rows: Vec<MachineRow> = machines
        .iter()
        .filter(|machine| wanted.is_none_or(|wanted| machine.state == wanted))
        .map(MachineRow::of)
        .collect();
    let limit = arguments.limit.unwrap_or(ROWS).min(ROWS_MAX) as usize;
    let name = |row: &MachineRow| row.machine.clone();
    let page = page(rows, name, (limit, ANSWER_AIM_BYTES), filled(arguments.cursor.as_ref()))?;
    Ok(MachineList { machines: page.items, next_cursor: page.next_cursor })
}
