//! The witness's marks, in order of what they are about.

use std::collections::{BTreeMap, HashMap};

use crate::witness::{Asked, Heard, Mark, Work};

/// Where work belongs: its execution, its step, and its item where the step goes over a list.
pub(super) type Place = (String, String, Option<u32>);

/// One mark of an effect, with its place in the witness.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) line: usize,
    pub(super) begins: bool,
    pub(super) work: Work,
}

/// One call, with what its caller heard last.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) asked: Asked,
    pub(super) heard: Heard,
    pub(super) execution: String,
}

/// Everything that the witness holds.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By execution, step and item, in order.
    pub(super) traces: BTreeMap<Place, Vec<Trace>>,
    /// Where callers were first shown that a step had completed.
    pub(super) shown: HashMap<(String, String), usize>,
    /// The most events that callers were shown of an execution.
    pub(super) seen: HashMap<String, u64>,
    /// By the name that nobody else has.
    pub(super) calls: BTreeMap<String, Call>,
    pub(super) begun: usize,
}

impl Index {
    pub(super) fn of(marks: &[Mark]) -> Self {
        let mut index = Self::default();
        for (line, mark) in marks.iter().enumerate() {
            index.take(line, mark);
        }
        index
    }

    fn take(&mut self, line: usize, mark: &Mark) {
        match mark {
            Mark::Begin(work) | Mark::End(work) => {
                let begins = matches!(mark, Mark::Begin(_));
                self.begun += usize::from(begins);
                self.traces
                    .entry((work.execution.clone(), work.step.clone(), work.item))
                    .or_default()
                    .push(Trace { line, begins, work: work.clone() });
            }
            Mark::Call { asked, heard, by, execution, .. } => {
                let call = Call { asked: *asked, heard: *heard, execution: execution.clone() };
                self.calls.insert(by.clone(), call);
            }
            Mark::Shown { execution, step } => {
                self.shown.entry((execution.clone(), step.clone())).or_insert(line);
            }
            Mark::Seen { execution, events } => {
                let most = self.seen.entry(execution.clone()).or_default();
                *most = (*most).max(*events);
            }
        }
    }
}
