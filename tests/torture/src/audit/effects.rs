//! Effects: each was intended before it began, none that was completed began again, none outlived its successor.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use caelum_core::workflow::{Action, Event, EventBody, Execution};

use super::Kept;
use super::index::{Index, Trace};
use crate::faults::Faults;
use crate::witness::Door;

/// What the events of one execution say of the attempts of one step.
#[derive(Debug, Default)]
struct Attempts {
    /// Deliveries that were intended, by attempt.
    started: BTreeMap<u32, BTreeSet<u32>>,
    /// The delivery whose report ended an attempt, and whether it went well.
    finished: BTreeMap<u32, (u32, bool)>,
    completed: Option<u32>,
    /// Decisions to run it again, by attempt.
    run_again: BTreeMap<u32, usize>,
}

fn attempts(events: &[Event]) -> HashMap<&str, Attempts> {
    let mut steps: HashMap<&str, Attempts> = HashMap::new();
    for event in events {
        let Some(step) = event.body.step() else { continue };
        let of = steps.entry(step.as_str()).or_default();
        match &event.body {
            EventBody::TargetStarted { attempt, epoch, .. } => {
                of.started.entry(*attempt).or_default().insert(*epoch);
            }
            EventBody::TargetFinished { attempt, epoch, outcome, .. } => {
                of.finished.insert(*attempt, (*epoch, outcome.succeeded()));
            }
            EventBody::StepCompleted { attempt, .. } => of.completed = Some(*attempt),
            EventBody::DecisionGiven { attempt, succeeded: None, .. } => {
                *of.run_again.entry(*attempt).or_default() += 1;
            }
            _ => {}
        }
    }
    steps
}

/// Holds the effects of one execution against its events.
pub(super) fn check(execution: &Execution, events: &[Event], index: &Index, faults: &Faults) {
    let id = execution.id().as_str();
    let steps = attempts(events);
    let none = Attempts::default();
    for step in &execution.definition().steps {
        let door = match step.action {
            Action::Command(_) => Door::Command,
            Action::Http(_) => Door::Http,
            Action::Tool(_) => Door::Tool,
            _ => continue,
        };
        let name = step.id.as_str();
        let of = steps.get(name).unwrap_or(&none);
        let traces = index.traces.get(&(id.to_owned(), name.to_owned()));
        let traces: &[Trace] = traces.map_or(&[], Vec::as_slice);
        let begun = |attempt: u32| {
            traces.iter().filter(move |trace| trace.begins && trace.work.attempt == attempt)
        };
        for trace in traces.iter().filter(|trace| trace.begins) {
            let work = &trace.work;
            let started = of.started.get(&work.attempt);
            let intended =
                started.is_some_and(|epochs| door != Door::Command || epochs.contains(&work.epoch));
            faults.unless(intended, || format!("{work} began and no event says that it should"));
            if let Some((epoch, _)) = of.finished.get(&work.attempt) {
                faults.unless(work.epoch <= *epoch, || {
                    format!("{work} began although delivery {epoch} had reported")
                });
            }
            faults.unless(of.completed.is_none_or(|completed| work.attempt <= completed), || {
                format!("{work} began although the step had completed before")
            });
        }
        for (attempt, epochs) in &of.started {
            let most = match step.idempotent {
                true => epochs.len(),
                false => 1 + of.run_again.get(attempt).copied().unwrap_or_default(),
            };
            let times = begun(*attempt).count();
            faults.unless(times <= most, || {
                format!("{id}/{name}: attempt {attempt} began {times} times; at most {most} were asked for")
            });
        }
        for (attempt, (epoch, succeeded)) in &of.finished {
            let ended = traces.iter().any(|trace| {
                let work = &trace.work;
                let same = door != Door::Command || work.epoch == *epoch;
                !trace.begins && work.attempt == *attempt && same
            });
            faults.unless(!succeeded || ended, || {
                format!("{id}/{name}: attempt {attempt} is said to have succeeded; nobody did it")
            });
        }
    }
}

/// Holds the order of marks against itself: no two at once, none again after it was shown as completed.
pub(super) fn check_order(index: &Index, faults: &Faults) {
    for ((execution, step), traces) in &index.traces {
        let shown = index.shown.get(&(execution.clone(), step.clone()));
        let mut newest = (0, 0);
        for trace in traces {
            let (work, line) = (&trace.work, trace.line + 1);
            if trace.begins {
                faults.unless(shown.is_none_or(|shown| trace.line < *shown), || {
                    format!(
                        "{work} began (line {line}) after somebody was shown that it had completed"
                    )
                });
            }
            if work.door != Door::Command {
                continue;
            }
            let this = (work.attempt, work.epoch);
            if trace.begins {
                faults.unless(this > newest, || {
                    format!("{work} began (line {line}) after attempt and delivery {newest:?}")
                });
                newest = this;
            } else {
                faults.unless(this >= newest, || {
                    format!("{work} ended (line {line}) while {newest:?} was under way")
                });
            }
        }
    }
}

/// Everything that left a mark, or was shown to somebody, is in the store.
pub(super) fn check_known(index: &Index, kept: &Kept, faults: &Faults) {
    let marked = index.traces.keys().map(|(execution, _)| execution);
    for execution in marked.chain(index.seen.keys()).collect::<BTreeSet<_>>() {
        faults.unless(kept.contains_key(execution), || {
            format!("{execution} left marks and is not in the store")
        });
    }
    for (execution, events) in &index.seen {
        let stored = kept.get(execution).map_or(0, |(_, events)| events.len() as u64);
        faults.unless(stored >= *events, || {
            format!("{execution} was shown with {events} events; {stored} are in the store")
        });
    }
    for (execution, step) in index.shown.keys() {
        let completed = kept.get(execution).is_some_and(|(_, events)| {
            events.iter().any(|event| {
                matches!(&event.body, EventBody::StepCompleted { step: of, .. } if of.as_str() == step)
            })
        });
        faults.unless(completed, || {
            format!("{execution}/{step} was shown as completed; no event says so")
        });
    }
}
