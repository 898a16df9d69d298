//! What happened since the engine was opened, counted where it happens: no lock, no query, and nothing that grows with
//! executions or machines. What can be asked at any moment is not counted but read when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use caelum_core::clock::Timestamp;
use caelum_core::meter::{Distribution, Histogram};
use caelum_core::task::{FailureClass, OutcomeStatus};
use caelum_core::workflow::{
    Event, EventBody, Execution, ExecutionStatus, GateTiming, OnReviewTimeout, StepPhase,
    StepStatus, StepType,
};
use caelum_machines::MachineState;
use caelum_store::StoreActivity;

use crate::drive::mail::Ask;
use crate::engine::Engine;

/// Upper bounds of what the engine itself takes, in microseconds: from a tenth of a millisecond to ten seconds.
const QUICK_US: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    10_000_000,
];

/// Upper bounds of how long work takes and waits, in microseconds: from a millisecond to a day.
const WORK_US: &[u64] = &[
    1_000,
    10_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    15_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
    14_400_000_000,
    86_400_000_000,
];

/// Upper bounds of how long people take, in microseconds: from a second to a month.
const PEOPLE_US: &[u64] = &[
    1_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
    14_400_000_000,
    86_400_000_000,
    604_800_000_000,
    2_592_000_000_000,
];

const TYPES: [StepType; 4] =
    [StepType::Development, StepType::Integration, StepType::Validation, StepType::Deployment];
const STEP_ENDS: [StepStatus; 4] =
    [StepStatus::Completed, StepStatus::Failed, StepStatus::Skipped, StepStatus::Cancelled];
const RUN_ENDS: [ExecutionStatus; 3] =
    [ExecutionStatus::Completed, ExecutionStatus::Failed, ExecutionStatus::Cancelled];
const REASONS: [&str; 7] = ["first", "transient", "exit", "gate", "permanent", "lost", "requested"];

/// Why an attempt, or another delivery of one, was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It is the first one of its step.
    First,
    /// The one before it failed in this way.
    After(FailureClass),
    /// Nobody reported the delivery before it.
    Lost,
    /// Somebody asked for it.
    Requested,
}

impl Reason {
    fn place(self) -> usize {
        match self {
            Reason::First => 0,
            Reason::After(FailureClass::Transient) => 1,
            Reason::After(FailureClass::Exit) => 2,
            Reason::After(FailureClass::Gate) => 3,
            Reason::After(FailureClass::Permanent) => 4,
            Reason::Lost => 5,
            Reason::Requested => 6,
        }
    }
}

/// One thing to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    RunFinished(ExecutionStatus),
    StepEnded(StepType, StepStatus, Option<Duration>),
    Queued(Duration),
    Attempt(Reason),
    LeaseExpired,
    StaleReport,
    ApprovalWait(Duration),
    /// Work of the step at this place succeeded and took this long.
    Ran(usize, Duration),
}

/// What events that are about to be stored have to say; counted once they are.
#[derive(Debug, Default)]
pub(crate) struct Tally(Vec<Fact>);

impl Tally {
    /// Takes from events what is counted. `execution` is as they left it.
    pub(crate) fn of(execution: &Execution, events: &[Event]) -> Self {
        let mut tally = Tally(Vec::new());
        for event in events {
            tally.take(execution, event);
        }
        tally
    }

    /// Adds how long a decisive review was waited for.
    pub(crate) fn waited(&mut self, waits: impl IntoIterator<Item = Duration>) {
        self.0.extend(waits.into_iter().map(Fact::ApprovalWait));
    }

    /// Returns the work that succeeded: places of steps, and how long it took.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, Duration)> + '_ {
        self.0.iter().filter_map(|fact| match fact {
            Fact::Ran(step, took) => Some((*step, *took)),
            _ => None,
        })
    }

    /// Returns whether the execution ended.
    pub(crate) fn has_end(&self) -> bool {
        self.0.iter().any(|fact| matches!(fact, Fact::RunFinished(_)))
    }

    fn take(&mut self, execution: &Execution, event: &Event) {
        let facts = &mut self.0;
        let index = || event.body.step().and_then(|step| execution.step_index(step.as_str()));
        match &event.body {
            EventBody::StepStarted { attempt: 1, .. } => facts.push(Fact::Attempt(Reason::First)),
            EventBody::TargetStarted { epoch, .. } if *epoch > 1 => {
                facts.push(Fact::Attempt(Reason::Lost));
            }
            EventBody::RetryScheduled { failure, .. } => {
                facts.push(Fact::Attempt(Reason::After(failure.class)));
            }
            EventBody::RetryRequested { steps, .. } => {
                facts.extend(steps.iter().map(|_| Fact::Attempt(Reason::Requested)));
            }
            EventBody::TargetFinished { outcome, .. } => {
                let Some(index) = index() else { return };
                if outcome.status != OutcomeStatus::NotStarted
                    && let Some(began) = execution.step(index).attempt_started_at
                {
                    facts.push(Fact::Queued(outcome.started_at.since(began)));
                }
                if outcome.status == OutcomeStatus::Succeeded {
                    facts.push(Fact::Ran(index, outcome.ended_at.since(outcome.started_at)));
                }
            }
            EventBody::TargetLost { .. } => facts.push(Fact::LeaseExpired),
            EventBody::LateReport { .. } => facts.push(Fact::StaleReport),
            EventBody::ReviewTimedOut { action, .. } if *action != OnReviewTimeout::Escalate => {
                let review =
                    index().and_then(|index| execution.definition().steps[index].review.as_ref());
                facts.extend(review.and_then(|review| review.deadline()).map(Fact::ApprovalWait));
            }
            EventBody::StepCompleted { .. } => {
                facts.extend(ended(execution, index(), StepStatus::Completed, event.at));
            }
            EventBody::StepFailed { .. } => {
                facts.extend(ended(execution, index(), StepStatus::Failed, event.at));
            }
            EventBody::StepSkipped { .. } => {
                facts.extend(ended(execution, index(), StepStatus::Skipped, event.at));
            }
            EventBody::Completed => facts.push(Fact::RunFinished(ExecutionStatus::Completed)),
            EventBody::Failed { .. } => facts.push(Fact::RunFinished(ExecutionStatus::Failed)),
            EventBody::Cancelled => {
                facts.push(Fact::RunFinished(ExecutionStatus::Cancelled));
                let cancelled = (0..execution.steps().len())
                    .filter(|index| execution.step(*index).status() == StepStatus::Cancelled)
                    .filter_map(|index| {
                        ended(execution, Some(index), StepStatus::Cancelled, event.at)
                    });
                facts.extend(cancelled);
            }
            _ => {}
        }
    }
}

fn ended(
    execution: &Execution,
    index: Option<usize>,
    how: StepStatus,
    at: Timestamp,
) -> Option<Fact> {
    let index = index?;
    let took = execution.step(index).started_at.map(|started| at.since(started));
    Some(Fact::StepEnded(execution.definition().steps[index].step_type, how, took))
}

/// Returns the step that a review is for, and since when it waits; nothing for anything else that is asked.
pub(crate) fn review_began(execution: &Execution, ask: &Ask) -> Option<(usize, Timestamp)> {
    let Ask::Review(step, _) = ask else { return None };
    let index = execution.step_index(step)?;
    Some((index, execution.step(index).review_since?))
}

/// Returns how long a review was waited for; nothing while more of them are needed.
pub(crate) fn review_wait(
    execution: &Execution,
    (index, since): (usize, Timestamp),
    now: Timestamp,
) -> Option<Duration> {
    let waits = matches!(execution.step(index).phase, StepPhase::AwaitingReview { .. });
    (!waits).then(|| now.since(since))
}

/// Returns when everything was there that a step had to wait for: the end of what it depends on, by the clock of whoever
/// did it. Nothing for a step that waits for nothing, and for one that is judged before it begins.
pub(crate) fn free_since(execution: &Execution, step: usize) -> Option<Timestamp> {
    if !execution.gates(step, GateTiming::Before).is_empty() {
        return None;
    }
    let end = |parent: &usize| {
        let state = execution.step(*parent);
        let worked =
            state.targets.iter().filter_map(|target| Some(target.outcome.as_ref()?.ended_at));
        match execution.gates(*parent, GateTiming::After).is_empty() {
            true => worked.max().or(state.ended_at),
            false => state.ended_at,
        }
    };
    execution.graph().dependencies(step).iter().filter_map(end).max()
}

/// The counters. Each is only ever added to.
#[derive(Debug)]
pub(crate) struct Meters {
    runs_started: AtomicU64,
    runs_finished: [AtomicU64; RUN_ENDS.len()],
    steps: [[AtomicU64; STEP_ENDS.len()]; TYPES.len()],
    step_times: [Histogram; TYPES.len()],
    queued: Histogram,
    overhead: Histogram,
    attempts: [AtomicU64; REASONS.len()],
    leases_expired: AtomicU64,
    stale_reports: AtomicU64,
    approval_waits: Histogram,
    timer_lag: Histogram,
}

impl Default for Meters {
    fn default() -> Self {
        Meters {
            runs_started: AtomicU64::default(),
            runs_finished: Default::default(),
            steps: Default::default(),
            step_times: std::array::from_fn(|_| Histogram::new(WORK_US)),
            queued: Histogram::new(WORK_US),
            overhead: Histogram::new(QUICK_US),
            attempts: Default::default(),
            leases_expired: AtomicU64::default(),
            stale_reports: AtomicU64::default(),
            approval_waits: Histogram::new(PEOPLE_US),
            timer_lag: Histogram::new(QUICK_US),
        }
    }
}

impl Meters {
    /// Counts what events said, now that they are stored.
    pub(crate) fn count(&self, tally: &Tally) {
        for fact in &tally.0 {
            match fact {
                Fact::RunFinished(how) => add(&self.runs_finished, &RUN_ENDS, how),
                Fact::StepEnded(step_type, how, took) => {
                    let Some(place) = TYPES.iter().position(|one| one == step_type) else {
                        continue;
                    };
                    add(&self.steps[place], &STEP_ENDS, how);
                    if let Some(took) = took {
                        self.step_times[place].record(micros(*took));
                    }
                }
                Fact::Queued(waited) => self.queued.record(micros(*waited)),
                Fact::Attempt(reason) => one(&self.attempts[reason.place()]),
                Fact::LeaseExpired => one(&self.leases_expired),
                Fact::StaleReport => one(&self.stale_reports),
                Fact::ApprovalWait(waited) => self.approval_waits.record(micros(*waited)),
                Fact::Ran(..) => {}
            }
        }
    }

    /// Counts a run that is stored.
    pub(crate) fn run_started(&self) {
        one(&self.runs_started);
    }

    /// Counts how long it took from the end of what a step waited for until its work was handed out.
    pub(crate) fn handed_out(&self, overhead: Duration) {
        self.overhead.record(micros(overhead));
    }

    /// Counts how much later than it should a timer woke somebody.
    pub(crate) fn woken(&self, late: Duration) {
        self.timer_lag.record(micros(late));
    }
}

fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn add<T: PartialEq>(counters: &[AtomicU64], words: &[T], word: &T) {
    if let Some(place) = words.iter().position(|known| known == word) {
        one(&counters[place]);
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// What was counted since the engine was opened, and how things are now. Times are in microseconds.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Executions that were started, task groups and children included.
    pub runs_started: u64,
    /// Executions that ended, by how.
    pub runs_finished: Vec<(&'static str, u64)>,
    /// Steps that ended, by type and how.
    pub steps: Vec<(&'static str, &'static str, u64)>,
    /// How long steps took from their first attempt to their end, by type.
    pub step_times: Vec<(&'static str, Distribution)>,
    /// How long work waited from the beginning of its attempt until a machine began with it.
    pub queued: Distribution,
    /// How long it took from the end of a step until the work of the next one was handed out.
    pub overhead: Distribution,
    /// Attempts and further deliveries, by why they were made.
    pub attempts: Vec<(&'static str, u64)>,
    /// Work that was handed out and that nobody reported.
    pub leases_expired: u64,
    /// Reports that came too late or twice, and changed nothing.
    pub stale_reports: u64,
    /// Steps that wait for a review now.
    pub approvals_pending: u64,
    /// How long gates waited for the review that decided.
    pub approval_waits: Distribution,
    /// Machines, by state.
    pub machines: Vec<(&'static str, u64)>,
    /// How long the machine that was silent longest has been silent. This machine cannot be silent.
    pub heartbeat_lag: Duration,
    /// How much later than they should timers woke somebody.
    pub timer_lag: Distribution,
    /// Executions that stand still because of a defect.
    pub stuck: u64,
    /// The store.
    pub store: StoreActivity,
}

impl Engine {
    /// Returns what was counted and how things are, without a statement.
    pub fn measured(&self) -> Measured {
        let inner = &self.0;
        let meters = &inner.meters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let states = [MachineState::Online, MachineState::Busy, MachineState::Offline];
        let machines = inner.fabric.machines();
        let of_state =
            |state| machines.iter().filter(|machine| machine.state == state).count() as u64;
        let mut steps = Vec::new();
        for (step_type, counters) in TYPES.iter().zip(&meters.steps) {
            for (how, counter) in STEP_ENDS.iter().zip(counters) {
                steps.push((step_type.as_str(), how.as_str(), read(counter)));
            }
        }
        Measured {
            runs_started: read(&meters.runs_started),
            runs_finished: RUN_ENDS
                .iter()
                .zip(&meters.runs_finished)
                .map(|(how, counter)| (how.as_str(), read(counter)))
                .collect(),
            steps,
            step_times: TYPES
                .iter()
                .zip(&meters.step_times)
                .map(|(step_type, times)| (step_type.as_str(), times.read()))
                .collect(),
            queued: meters.queued.read(),
            overhead: meters.overhead.read(),
            attempts: REASONS
                .iter()
                .zip(&meters.attempts)
                .map(|(reason, counter)| (*reason, read(counter)))
                .collect(),
            leases_expired: read(&meters.leases_expired),
            stale_reports: read(&meters.stale_reports),
            approvals_pending: inner.supervisor.awaiting_review(),
            approval_waits: meters.approval_waits.read(),
            machines: states.map(|state| (state.as_str(), of_state(state))).to_vec(),
            heartbeat_lag: Duration::ZERO,
            timer_lag: meters.timer_lag.read(),
            stuck: inner.supervisor.stuck().len() as u64,
            store: inner.store.activity(),
        }
    }
}
