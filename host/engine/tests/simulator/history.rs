//! A second opinion on what may happen: reads the events of one execution in order, with a model of its own that
//! knows nothing of the state machine, and refuses histories that break a promise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use caelum_core::clock::Timestamp;
use caelum_core::id::MachineId;
use caelum_core::task::Strategy;
use caelum_core::workflow::{
    Event, EventBody, Execution, ExecutionStatus, FailureCause, OnFailure, RetryPolicy, SkipReason,
    Step,
};

/// How many targets may run at once.
pub(crate) fn width(strategy: &Strategy) -> usize {
    match strategy {
        Strategy::Parallel { max } => max.map_or(usize::MAX, |max| max.max(1) as usize),
        Strategy::Sequential { .. } => 1,
    }
}

#[derive(Debug, Clone, Default)]
struct Target {
    epoch: u32,
    running: bool,
    /// Nobody knows what became of it.
    unknown: bool,
    ended: bool,
    /// It ended, and well.
    well: bool,
    /// How often nobody reported.
    losses: u32,
    /// How often it failed and is to run again, and from when on.
    retries: u32,
    not_before: Option<Timestamp>,
}

/// A target by its machine, and its item where the step is a map.
type Name = (String, Option<u32>);

fn name(machine: &MachineId, item: Option<u32>) -> Name {
    (machine.to_string(), item)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stand {
    #[default]
    Unbegun,
    Open,
    /// Waits for its next attempt.
    Resting,
    Completed,
    Failed,
    SkippedByCondition,
    SkippedByDependency,
}

#[derive(Debug, Default)]
struct Row {
    stand: Stand,
    attempt: u32,
    /// Attempts since somebody asked for a retry, or the first.
    used: u32,
    targets: BTreeMap<Name, Target>,
    /// How many items there are, once that is known; nothing where the step is no map.
    items: Option<u32>,
}

struct History<'a> {
    execution: &'a Execution,
    rows: Vec<Row>,
    paused: bool,
    cancelled: bool,
    stopping: bool,
    end: Option<ExecutionStatus>,
}

/// Checks that rows and events tell the same story, and that the story is a legal one.
pub(crate) fn check(execution: &Execution, events: &[Event]) {
    let id = execution.id();
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event.seq, place as u64, "{id}: a gap in its events");
    }
    let folded = Execution::fold(
        id.clone(),
        Arc::clone(execution.definition()),
        Arc::clone(execution.graph()),
        events,
    )
    .unwrap_or_else(|illegal| panic!("{id}: {illegal}"));
    assert!(folded == *execution, "{id}: events give {folded:#?}\nrows give {execution:#?}");
    let mut history = History {
        execution,
        rows: execution.steps().iter().map(|_| Row::default()).collect(),
        paused: false,
        cancelled: false,
        stopping: false,
        end: None,
    };
    for event in events {
        history.take(event);
    }
    assert_eq!(history.end, execution.head().end, "{id}");
}

impl History<'_> {
    fn no(&self, event: &Event, why: &str) -> ! {
        panic!("{}: {why}: event {event:?} in {:#?}", self.execution.id(), self.execution);
    }

    fn step(&self, index: usize) -> &Step {
        &self.execution.definition().steps[index]
    }

    fn index(&self, event: &Event) -> usize {
        let step = event.body.step().expect("the event is about a step");
        self.execution.step_index(step.as_str()).expect("the step exists")
    }

    fn target(&mut self, event: &Event, name: &Name, attempt: u32) -> &mut Target {
        let index = self.index(event);
        if self.rows[index].attempt != attempt {
            self.no(event, "of another attempt");
        }
        if !self.rows[index].targets.contains_key(name) {
            self.no(event, "the step has no such target");
        }
        self.rows[index].targets.get_mut(name).expect("just seen")
    }

    fn take(&mut self, event: &Event) {
        let body = &event.body;
        let after_end =
            matches!(body, EventBody::LateReport { .. } | EventBody::RetryRequested { .. });
        if self.end.is_some() && !after_end {
            self.no(event, "the execution has ended");
        }
        match body {
            EventBody::Started(_) if event.seq == 0 => {}
            EventBody::Started(_) => self.no(event, "started twice"),
            EventBody::StepStarted { attempt, machines, items, resumes, .. } => {
                let items = items.as_ref().map(|items| u32::try_from(items.len()).expect("few"));
                self.begins(event, *attempt, (machines, items, *resumes));
            }
            EventBody::TargetStarted { attempt, machine, item, epoch, .. } => {
                self.delivers(event, *attempt, &name(machine, *item), *epoch);
            }
            EventBody::TargetFinished {
                attempt, machine, item, epoch, outcome, retry_at, ..
            } => {
                let index = self.index(event);
                let policy = self.step(index).retry.clone().unwrap_or_default();
                let target = self.target(event, &name(machine, *item), *attempt);
                let right = (target.running || target.unknown) && target.epoch == *epoch;
                let first = !target.ended;
                let retries = target.retries + u32::from(retry_at.is_some());
                *target = Target {
                    epoch: *epoch,
                    ended: retry_at.is_none(),
                    well: outcome.succeeded(),
                    losses: target.losses,
                    retries,
                    not_before: *retry_at,
                    ..Target::default()
                };
                if !right || !first {
                    self.no(event, "nobody waited for this report");
                }
                let class = outcome.failure.as_ref().map(|failure| failure.class);
                let may = item.is_some()
                    && class.is_some_and(|class| policy.on.contains(&class))
                    && retries < policy.attempts;
                if retry_at.is_some() && !may {
                    self.no(event, "its retry policy does not allow another attempt of the item");
                }
            }
            EventBody::TargetLost { attempt, machine, item, epoch, .. } => {
                let index = self.index(event);
                let idempotent = self.step(index).idempotent;
                let target = self.target(event, &name(machine, *item), *attempt);
                let right = target.running && target.epoch == *epoch;
                target.running = false;
                target.losses += 1;
                target.unknown = !idempotent;
                if !right {
                    self.no(event, "it was not running");
                }
            }
            EventBody::DecisionGiven { attempt, machine, item, succeeded, .. } => {
                let target = self.target(event, &name(machine, *item), *attempt);
                let right = target.unknown;
                target.unknown = false;
                target.ended = succeeded.is_some();
                target.well = *succeeded == Some(true);
                if !right {
                    self.no(event, "its outcome was known");
                }
            }
            EventBody::TargetsGivenUp { attempt, machines, items, .. } => {
                for (place, machine) in machines.iter().enumerate() {
                    let item = items.get(place).copied();
                    let target = self.target(event, &name(machine, item), *attempt);
                    let right = !target.running && !target.unknown && !target.ended;
                    target.ended = true;
                    if !right {
                        self.no(event, "it was handed out");
                    }
                }
            }
            EventBody::LateReport { .. } | EventBody::GateJudged { .. } => {}
            EventBody::TargetCancelRequested { .. } => {
                self.no(event, "nobody asks for the end of one machine's work");
            }
            EventBody::ReviewTimedOut { .. } | EventBody::StepTimedOut { .. } => {
                self.no(event, "no step of the plan has such a limit");
            }
            EventBody::WorkReported { attempt, .. } | EventBody::ReviewGiven { attempt, .. } => {
                let row = &self.rows[self.index(event)];
                if row.stand != Stand::Open || row.attempt != *attempt || self.cancelled {
                    self.no(event, "nobody waited for it");
                }
            }
            EventBody::StepCompleted { attempt, .. } => {
                self.ends(event, *attempt, Stand::Completed);
            }
            EventBody::StepFailed { attempt, .. } => {
                self.ends(event, *attempt, Stand::Failed);
                let index = self.index(event);
                self.stopping |= self.step(index).on_failure == OnFailure::Stop;
            }
            EventBody::StepSkipped { reason, .. } => {
                let index = self.index(event);
                if self.rows[index].stand != Stand::Unbegun {
                    self.no(event, "it had begun");
                }
                self.rows[index].stand = match reason {
                    SkipReason::Condition { .. } => Stand::SkippedByCondition,
                    SkipReason::Dependency { .. } => Stand::SkippedByDependency,
                };
            }
            EventBody::RetryScheduled { attempt, failure, .. } => {
                self.ends(event, attempt - 1, Stand::Resting);
                let index = self.index(event);
                let default = RetryPolicy::default();
                let policy = self.step(index).retry.as_ref().unwrap_or(&default);
                let allowed = policy.on.contains(&failure.class);
                let of_items = self.rows[index].items.is_some_and(|items| items > 0)
                    && failure.cause == FailureCause::Action;
                if !allowed || of_items || self.rows[index].used >= policy.attempts {
                    self.no(event, "its retry policy does not allow another attempt");
                }
            }
            EventBody::Paused { .. } => self.paused = true,
            EventBody::Resumed { .. } => self.paused = false,
            EventBody::CancelRequested { .. } => self.cancelled = true,
            EventBody::RetryRequested { steps, .. } => self.begins_anew(event, steps),
            EventBody::Completed => self.finishes(event, ExecutionStatus::Completed),
            EventBody::Failed { .. } => self.finishes(event, ExecutionStatus::Failed),
            EventBody::Cancelled => {
                if !self.cancelled {
                    self.no(event, "nobody asked for it");
                }
                self.finishes(event, ExecutionStatus::Cancelled);
            }
        }
    }

    fn begins(
        &mut self,
        event: &Event,
        attempt: u32,
        (machines, items, resumes): (&[MachineId], Option<u32>, bool),
    ) {
        let index = self.index(event);
        let mapped = self.step(index).map.is_some();
        if mapped && items.is_some() == self.rows[index].items.is_some_and(|items| items > 0) {
            self.no(event, "the list is evaluated once");
        }
        if resumes && !mapped {
            self.no(event, "there are no items to go on with");
        }
        if self.paused || self.cancelled || self.stopping {
            self.no(event, "nothing new may begin");
        }
        for dependency in self.execution.graph().dependencies(index) {
            let allows = match self.rows[*dependency].stand {
                Stand::Completed | Stand::SkippedByCondition => true,
                Stand::Failed => self.step(*dependency).on_failure == OnFailure::Continue,
                _ => false,
            };
            if !allows {
                self.no(event, "a step that it depends on has not ended well");
            }
        }
        let policy = self.step(index).retry.clone().unwrap_or_default();
        let row = &mut self.rows[index];
        let begins = matches!(row.stand, Stand::Unbegun | Stand::Resting);
        let right = begins && attempt == row.attempt + 1;
        row.stand = Stand::Open;
        row.attempt = attempt;
        row.used += 1;
        row.items = items.or(row.items);
        let before = std::mem::take(&mut row.targets);
        let names = machines.iter().flat_map(|machine| match row.items {
            None => vec![name(machine, None)],
            Some(items) => (0..items).map(|item| name(machine, Some(item))).collect(),
        });
        row.targets = names
            .map(|name| {
                let target = match before.get(&name) {
                    Some(target) if resumes && target.ended && target.well => target.clone(),
                    Some(target) if name.1.is_some() => {
                        Target { epoch: target.epoch, ..Target::default() }
                    }
                    _ => Target::default(),
                };
                (name, target)
            })
            .collect();
        if !right || row.used > policy.attempts {
            self.no(event, "it could not begin");
        }
    }

    fn delivers(&mut self, event: &Event, attempt: u32, name: &Name, epoch: u32) {
        if self.paused || self.cancelled {
            self.no(event, "nothing new may begin");
        }
        let target = self.target(event, name, attempt);
        let due = target.not_before.is_none_or(|moment| moment <= event.at);
        let right = !target.running && !target.unknown && !target.ended && due;
        let next = target.epoch + 1 == epoch;
        target.running = true;
        target.not_before = None;
        target.epoch = epoch;
        if !right || !next {
            self.no(event, "it could not be handed out");
        }
        let index = self.index(event);
        let row = &self.rows[index];
        let running = row.targets.values().filter(|target| target.running).count();
        let items: BTreeSet<Option<u32>> = row
            .targets
            .iter()
            .filter(|(_, target)| target.running || target.unknown)
            .map(|(name, _)| name.1)
            .collect();
        let most = self.step(index).map.as_ref().map_or(usize::MAX, |map| map.max as usize);
        let wide = running > width(&self.step(index).strategy) || items.len() > most;
        if wide || row.stand != Stand::Open {
            self.no(event, "too many at once");
        }
    }

    fn ends(&mut self, event: &Event, attempt: u32, stand: Stand) {
        let index = self.index(event);
        let row = &mut self.rows[index];
        // A condition or a machine's name that is wrong fails a step before it begins.
        let unbegun = stand == Stand::Failed && row.stand == Stand::Unbegun;
        let right = (row.stand == Stand::Open || unbegun) && row.attempt == attempt;
        let settled = unbegun || row.targets.values().all(|target| target.ended || target.lost());
        row.stand = stand;
        if !right || !settled {
            self.no(event, "it could not end");
        }
    }

    fn begins_anew(&mut self, event: &Event, steps: &[caelum_core::id::StepId]) {
        if self.cancelled {
            self.no(event, "it is being cancelled");
        }
        for step in steps {
            let index = self.execution.step_index(step.as_str()).expect("the step exists");
            if self.rows[index].stand != Stand::Failed {
                self.no(event, "it has not failed");
            }
            self.rows[index].stand = Stand::Unbegun;
            self.rows[index].used = 0;
        }
        for row in &mut self.rows {
            if row.stand == Stand::SkippedByDependency {
                row.stand = Stand::Unbegun;
                row.used = 0;
            }
        }
        self.stopping = false;
        self.end = None;
    }

    fn finishes(&mut self, event: &Event, end: ExecutionStatus) {
        let running = self.rows.iter().any(|row| row.targets.values().any(|target| target.running));
        let open = self
            .rows
            .iter()
            .any(|row| matches!(row.stand, Stand::Unbegun | Stand::Open | Stand::Resting));
        let failed = self.rows.iter().enumerate().any(|(index, row)| {
            row.stand == Stand::Failed && self.step(index).on_failure != OnFailure::Continue
        });
        let right = match end {
            ExecutionStatus::Completed => !open && !failed,
            ExecutionStatus::Failed => failed && (!open || self.stopping),
            _ => true,
        };
        self.end = Some(end);
        self.paused = false;
        if running || !right {
            self.no(event, "it could not end so");
        }
    }
}

impl Target {
    /// Whether it was handed out so often without a report that it is given up.
    fn lost(&self) -> bool {
        !self.running && !self.unknown && self.losses > 5
    }
}
