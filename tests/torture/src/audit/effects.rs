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

/// Counts attempts. An item counts deliveries over all of its own attempts, so these tell its runs apart alone.
fn counted(item: Option<u32>, attempt: u32) -> u32 {
    if item.is_some() { 0 } else { attempt }
}

fn attempts(events: &[Event]) -> HashMap<(&str, Option<u32>), Attempts> {
    let mut steps: HashMap<(&str, Option<u32>), Attempts> = HashMap::new();
    for event in events {
        let Some(step) = event.body.step() else { continue };
        let item = match &event.body {
            EventBody::TargetStarted { item, .. }
            | EventBody::TargetFinished { item, .. }
            | EventBody::DecisionGiven { item, .. } => *item,
            _ => None,
        };
        let of = steps.entry((step.as_str(), item)).or_default();
        match &event.body {
            EventBody::TargetStarted { attempt, epoch, .. } => {
                of.started.entry(counted(item, *attempt)).or_default().insert(*epoch);
            }
            EventBody::TargetFinished { attempt, epoch, outcome, retry_at: None, .. } => {
                of.finished.insert(counted(item, *attempt), (*epoch, outcome.succeeded()));
            }
            EventBody::StepCompleted { attempt, .. } => of.completed = Some(*attempt),
            EventBody::DecisionGiven { attempt, succeeded: None, .. } => {
                *of.run_again.entry(counted(item, *attempt)).or_default() += 1;
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
    let first = (id.to_owned(), String::new(), None);
    let places: BTreeSet<(&str, Option<u32>)> = index
        .traces
        .range(first..)
        .map(|((execution, step, item), _)| (execution, (step.as_str(), *item)))
        .take_while(|(execution, _)| *execution == id)
        .map(|(_, place)| place)
        .chain(steps.keys().copied())
        .collect();
    for place in places {
        let Some(step) = execution.step_index(place.0) else {
            faults.add(format!("{id} has no step `{}`, and it left marks", place.0));
            continue;
        };
        let step = &execution.definition().steps[step];
        let door = match step.action {
            Action::Command(_) => Door::Command,
            Action::Http(_) => Door::Http,
            Action::Tool(_) => Door::Tool,
            _ => continue,
        };
        let key = (id.to_owned(), place.0.to_owned(), place.1);
        let traces = index.traces.get(&key).map_or(&[][..], Vec::as_slice);
        let none = Attempts::default();
        let of = steps.get(&place).unwrap_or(&none);
        check_begun(door, of, traces, faults);
        check_ended(&format!("{id}/{place:?}"), (door, step.idempotent), of, traces, faults);
    }
}

/// Whatever began was intended, and had not been reported before.
fn check_begun(door: Door, of: &Attempts, traces: &[Trace], faults: &Faults) {
    for trace in traces.iter().filter(|trace| trace.begins) {
        let work = &trace.work;
        let attempt = counted(work.item, work.attempt);
        let started = of.started.get(&attempt);
        let intended =
            started.is_some_and(|epochs| door != Door::Command || epochs.contains(&work.epoch));
        faults.unless(intended, || format!("{work} began and no event says that it should"));
        if let Some((epoch, _)) = of.finished.get(&attempt) {
            faults.unless(work.epoch <= *epoch, || {
                format!("{work} began although delivery {epoch} had reported")
            });
        }
        faults.unless(of.completed.is_none_or(|completed| attempt <= completed), || {
            format!("{work} began although the step had completed before")
        });
    }
}

/// Nothing ran more often than it was handed out, and what is said to have succeeded was done.
fn check_ended(
    name: &str,
    (door, idempotent): (Door, bool),
    of: &Attempts,
    traces: &[Trace],
    faults: &Faults,
) {
    let of_attempt = |attempt: u32, begins: bool| {
        traces.iter().filter(move |trace| {
            let same = counted(trace.work.item, trace.work.attempt) == attempt;
            same && trace.begins == begins
        })
    };
    for (attempt, epochs) in &of.started {
        let most = match idempotent {
            true => epochs.len(),
            false => 1 + of.run_again.get(attempt).copied().unwrap_or_default(),
        };
        let times = of_attempt(*attempt, true).count();
        faults.unless(times <= most, || {
            format!("{name}: attempt {attempt} began {times} times; at most {most} were asked for")
        });
    }
    for (attempt, (epoch, succeeded)) in &of.finished {
        let ended = of_attempt(*attempt, false)
            .any(|trace| door != Door::Command || trace.work.epoch == *epoch);
        faults.unless(!succeeded || ended, || {
            format!("{name}: attempt {attempt} is said to have succeeded; nobody did it")
        });
    }
}

/// Holds the order of marks against itself: no two at once, none again after it was shown as completed.
pub(super) fn check_order(index: &Index, faults: &Faults) {
    for ((execution, step, _), traces) in &index.traces {
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
            let this = (counted(work.item, work.attempt), work.epoch);
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
    let marked = index.traces.keys().map(|(execution, ..)| execution);
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
