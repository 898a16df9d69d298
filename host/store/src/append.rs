//! What one transition writes: events and the rows that they changed, taken from an execution and turned into columns
//! where the caller is, so that the writer thread only binds them.

use std::collections::BTreeSet;

use caelum_core::clock::Timestamp;
use caelum_core::id::{ExecutionId, MachineId, StepId};
use caelum_core::workflow::{
    Event, Execution, ExecutionStatus, StepState, TargetPhase, TargetState,
};
use rusqlite::{Connection, named_params};

use crate::StoreError;
use crate::body::{Body, BodyLimits, integer, json};
use crate::error::Fault;
use crate::measure::measured;

pub(crate) const INSERT_EVENT: &str = "
    INSERT INTO event (execution, seq, at, kind, step, subject, reason, body, blob)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
pub(crate) const UPSERT_STEP: &str = "
    INSERT INTO step (execution, idx, id, status, attempt, started_at, ended_at, state, blob)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (execution, idx) DO UPDATE SET status = excluded.status,
        attempt = excluded.attempt, started_at = excluded.started_at,
        ended_at = excluded.ended_at, state = excluded.state, blob = excluded.blob";
pub(crate) const UPSERT_TARGET: &str = "
    INSERT INTO target (execution, step, idx, machine, phase, epoch, queued_at, started_at,
        ended_at, state, blob)
    VALUES (:execution, :step, :idx, :machine, :phase, :epoch, :queued_at, :started_at,
        :ended_at, :state, :blob)
    ON CONFLICT (execution, step, idx) DO UPDATE SET machine = excluded.machine,
        phase = excluded.phase, epoch = excluded.epoch, queued_at = excluded.queued_at,
        started_at = excluded.started_at, ended_at = excluded.ended_at, state = excluded.state,
        blob = excluded.blob";
pub(crate) const DELETE_TARGETS: &str = "DELETE FROM target WHERE execution = ?1 AND step = ?2";

/// What one transition of one execution writes: its new events and every row that they changed.
///
/// It can be stored once: the length that it expects is the length before it.
#[derive(Debug, Clone)]
pub struct Append {
    pub(crate) execution_id: ExecutionId,
    pub(crate) expected_len: u64,
    pub(crate) head: HeadRow,
    events: Vec<EventRow<String>>,
    steps: Vec<StepRow<String>>,
    targets: Vec<TargetRow<String>>,
    /// Steps whose targets began anew: rows of earlier attempts go away first.
    cleared_targets: Vec<usize>,
}

/// The columns of an execution that events change.
#[derive(Debug, Clone)]
pub(crate) struct HeadRow {
    pub(crate) status: ExecutionStatus,
    pub(crate) events: u64,
    pub(crate) done: usize,
    pub(crate) total: usize,
    pub(crate) stopping: bool,
    pub(crate) paused: Option<String>,
    pub(crate) cancel: Option<String>,
    pub(crate) ended_at: Option<Timestamp>,
    /// When the last event was recorded.
    pub(crate) updated_at: Timestamp,
}

#[derive(Debug, Clone)]
struct EventRow<B> {
    seq: u64,
    at: Timestamp,
    kind: &'static str,
    step: Option<StepId>,
    measured: Option<(String, String)>,
    body: B,
}

#[derive(Debug, Clone)]
struct StepRow<B> {
    index: usize,
    id: StepId,
    status: &'static str,
    attempt: u32,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    state: B,
}

#[derive(Debug, Clone)]
struct TargetRow<B> {
    step: usize,
    index: usize,
    machine: MachineId,
    phase: &'static str,
    epoch: u32,
    queued_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    state: B,
}

impl Append {
    /// Takes what `events` changed out of an execution that they were applied to.
    ///
    /// The rows that changed are taken with [`Execution::take_dirty`], so everything that changed since the last call
    /// is in this one. `expected_len` is how many events there were before the first of these.
    ///
    /// # Errors
    ///
    /// [`StoreError::Inconsistent`] when the events are not the last ones of the execution, in order and without gaps.
    pub fn of(
        execution: &mut Execution,
        expected_len: u64,
        events: Vec<Event>,
    ) -> Result<Self, StoreError> {
        check_events(execution, expected_len, &events)?;
        let dirty = execution.take_dirty();
        let mut targets: BTreeSet<(usize, usize)> = dirty.targets;
        for step in &dirty.new_targets {
            let count = execution.step(*step).targets.len();
            targets.extend((0..count).map(|target| (*step, target)));
        }
        let rows = dirty
            .steps
            .iter()
            .map(|index| {
                StepRow::of(
                    *index,
                    &execution.definition().steps[*index].id,
                    execution.step(*index),
                )
            })
            .collect();
        let targets = targets
            .into_iter()
            .filter_map(|(step, index)| {
                let state = execution.step(step);
                Some(TargetRow::of(step, index, state, state.targets.get(index)?))
            })
            .collect();
        // Before the first attempt there are no rows.
        let cleared = dirty
            .new_targets
            .into_iter()
            .filter(|step| execution.step(*step).attempt > 1)
            .collect();
        Ok(Append {
            execution_id: execution.id().clone(),
            expected_len,
            head: HeadRow::of(execution, &events),
            events: events.into_iter().map(EventRow::of).collect(),
            steps: rows,
            targets,
            cleared_targets: cleared,
        })
    }

    /// Returns the execution that it is about.
    pub fn execution_id(&self) -> &ExecutionId {
        &self.execution_id
    }

    /// Returns how many events it stores.
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// Returns the size of all values together, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let events: usize = self.events.iter().map(|row| row.body.len()).sum();
        let steps: usize = self.steps.iter().map(|row| row.state.len()).sum();
        let targets: usize = self.targets.iter().map(|row| row.state.len()).sum();
        events + steps + targets
    }

    /// Decides where each value lives. Hashes large ones, so it may take a few milliseconds for each MiB.
    pub(crate) fn prepare(self, limits: BodyLimits) -> Result<Rows, StoreError> {
        let id = &self.execution_id;
        let events = self.events.into_iter().map(|row| {
            let EventRow { seq, at, kind, step, measured, body } = row;
            let body =
                Body::new(body, limits, || format!("event {seq} (`{kind}`) of execution `{id}`"))?;
            Ok(EventRow { seq, at, kind, step, measured, body })
        });
        let events = events.collect::<Result<_, StoreError>>()?;
        let steps = self.steps.into_iter().map(|row| {
            let StepRow { index, id: step, status, attempt, started_at, ended_at, state } = row;
            let state = Body::new(state, limits, || format!("step `{step}` of execution `{id}`"))?;
            Ok(StepRow { index, id: step, status, attempt, started_at, ended_at, state })
        });
        let steps = steps.collect::<Result<_, StoreError>>()?;
        let targets = self.targets.into_iter().map(|row| row.prepare(limits, id));
        let targets = targets.collect::<Result<_, StoreError>>()?;
        Ok(Rows { events, steps, targets, cleared_targets: self.cleared_targets })
    }
}

impl HeadRow {
    fn of(execution: &Execution, events: &[Event]) -> Self {
        let head = execution.head();
        let (done, total) = execution.progress();
        HeadRow {
            status: execution.status(),
            events: head.events,
            done,
            total,
            stopping: head.stopping,
            paused: head.paused.as_ref().map(json),
            cancel: head.cancel.as_ref().map(json),
            ended_at: head.ended_at,
            updated_at: events.last().map_or(head.started_at, |event| event.at),
        }
    }
}

impl EventRow<String> {
    fn of(event: Event) -> Self {
        EventRow {
            seq: event.seq,
            at: event.at,
            kind: event.body.kind(),
            step: event.body.step().cloned(),
            measured: measured(&event.body),
            body: json(&event.body),
        }
    }
}

impl StepRow<String> {
    fn of(index: usize, id: &StepId, state: &StepState) -> Self {
        StepRow {
            index,
            id: id.clone(),
            status: state.status().as_str(),
            attempt: state.attempt,
            started_at: state.started_at,
            ended_at: state.ended_at,
            state: json(state),
        }
    }
}

impl TargetRow<String> {
    fn of(step: usize, index: usize, state: &StepState, target: &TargetState) -> Self {
        TargetRow {
            step,
            index,
            machine: target.machine.clone(),
            phase: phase_word(target.phase),
            epoch: target.epoch,
            queued_at: state.attempt_started_at,
            started_at: target.started_at,
            // An item that waits for another attempt shows how the last one ended, and has not ended itself.
            ended_at: target
                .outcome
                .as_ref()
                .filter(|_| target.phase != TargetPhase::Waiting)
                .map(|outcome| outcome.ended_at),
            state: json(target),
        }
    }

    fn prepare(self, limits: BodyLimits, id: &ExecutionId) -> Result<TargetRow<Body>, StoreError> {
        let TargetRow {
            step,
            index,
            machine,
            phase,
            epoch,
            queued_at,
            started_at,
            ended_at,
            state,
        } = self;
        let state = Body::new(state, limits, || {
            format!("the result of machine `{machine}` in execution `{id}`")
        })?;
        Ok(TargetRow { step, index, machine, phase, epoch, queued_at, started_at, ended_at, state })
    }
}

fn check_events(
    execution: &Execution,
    expected_len: u64,
    events: &[Event],
) -> Result<(), StoreError> {
    let len = execution.head().events;
    let fits =
        events.iter().enumerate().all(|(index, event)| event.seq == expected_len + index as u64)
            && expected_len + events.len() as u64 == len;
    if fits {
        return Ok(());
    }
    Err(StoreError::Inconsistent {
        what: format!(
            "execution `{}` has {len} events; {} were given to go behind event {expected_len}",
            execution.id(),
            events.len()
        ),
    })
}

/// Returns the word that a phase goes by in JSON.
fn phase_word(phase: TargetPhase) -> &'static str {
    match phase {
        TargetPhase::Waiting => "waiting",
        TargetPhase::Running => "running",
        TargetPhase::Succeeded => "succeeded",
        TargetPhase::Failed => "failed",
        TargetPhase::GivenUp => "given_up",
        TargetPhase::Unknown => "unknown",
        TargetPhase::Cancelled => "cancelled",
    }
}

/// Rows ready to be bound.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    events: Vec<EventRow<Body>>,
    steps: Vec<StepRow<Body>>,
    targets: Vec<TargetRow<Body>>,
    cleared_targets: Vec<usize>,
}

impl Rows {
    /// Writes everything that is not in the row of the execution itself.
    pub(crate) fn write(&self, connection: &Connection, execution: i64) -> Result<(), Fault> {
        let mut statement = connection.prepare_cached(INSERT_EVENT)?;
        for row in &self.events {
            let (body, blob) = row.body.columns(connection)?;
            let (subject, reason) = row.measured.as_ref().map(|(s, r)| (s, r)).unzip();
            statement.execute((
                execution,
                integer(row.seq),
                row.at.as_micros(),
                row.kind,
                row.step.as_ref().map(StepId::as_str),
                subject,
                reason,
                body,
                blob,
            ))?;
        }
        drop(statement);
        let mut statement = connection.prepare_cached(UPSERT_STEP)?;
        for row in &self.steps {
            let (state, blob) = row.state.columns(connection)?;
            statement.execute((
                execution,
                integer(row.index),
                row.id.as_str(),
                row.status,
                row.attempt,
                row.started_at.map(Timestamp::as_micros),
                row.ended_at.map(Timestamp::as_micros),
                state,
                blob,
            ))?;
        }
        drop(statement);
        for step in &self.cleared_targets {
            connection.prepare_cached(DELETE_TARGETS)?.execute((execution, integer(*step)))?;
        }
        let mut statement = connection.prepare_cached(UPSERT_TARGET)?;
        for row in &self.targets {
            let (state, blob) = row.state.columns(connection)?;
            statement.execute(named_params! {
                ":execution": execution,
                ":step": integer(row.step),
                ":idx": integer(row.index),
                ":machine": row.machine.as_str(),
                ":phase": row.phase,
                ":epoch": row.epoch,
                ":queued_at": row.queued_at.map(Timestamp::as_micros),
                ":started_at": row.started_at.map(Timestamp::as_micros),
                ":ended_at": row.ended_at.map(Timestamp::as_micros),
                ":state": state,
                ":blob": blob,
            })?;
        }
        Ok(())
    }
}
