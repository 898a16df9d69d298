//! Waiting for an execution, within the caller's patience and ours, with progress for clients that asked for it.

use std::time::{Duration, Instant};

use caelum_core::workflow::ExecutionStatus;
use caelum_engine::request::{Patience, Snapshot};
use caelum_engine::{Engine, EngineError};

use super::super::tool::Call;

/// The longest wait that a call may ask for, in seconds: clients give up after 60 s as a rule.
pub(super) const WAIT_MAX_S: u64 = 30;

/// How long one sleep lasts at most: so often, a client that asked for progress hears that the call lives.
const SLEEP: Duration = Duration::from_secs(5);

/// How long a pause is where nobody tells about news.
const PAUSE: Duration = Duration::from_millis(50);

/// What is kept back of a call's time to write its answer.
const MARGIN: Duration = Duration::from_millis(500);

/// Says whether an execution will do nothing more before somebody does something: it has ended, or everything that is
/// open in it and in the child executions that it waits for needs somebody.
pub(super) fn is_settled(engine: &Engine, snapshot: &Snapshot) -> bool {
    let execution = &snapshot.execution;
    match execution.status() {
        ExecutionStatus::Executing => {}
        _ => return true,
    }
    let children = engine.children(execution);
    let waits = |id| {
        engine.live(id).is_some_and(|child| {
            child.execution.status() == ExecutionStatus::Paused || is_blocked(engine, &child)
        })
    };
    let stands_still = |step: usize| {
        // A step that goes over a list runs many.
        let mut own = children.iter().filter(|(of, _)| *of == step).peekable();
        execution.step(step).waiting_for().is_some()
            || (own.peek().is_some() && own.all(|(_, id)| waits(id)))
    };
    !children.is_empty() && !execution.has_ready_steps() && execution.open_steps().all(stands_still)
}

/// Says whether an open execution waits for somebody through its own children.
fn is_blocked(engine: &Engine, child: &Snapshot) -> bool {
    child.execution.status() == ExecutionStatus::Executing && is_settled(engine, child)
}

/// Waits until `done` says so, the time is over, or the client is gone; returns the last that was seen.
pub(super) async fn until(
    engine: &Engine,
    call: &Call,
    mut snapshot: Snapshot,
    wait: Duration,
    done: impl Fn(&Snapshot) -> bool,
) -> Result<Snapshot, EngineError> {
    let end = Instant::now() + wait.min(call.time_left().saturating_sub(MARGIN));
    let mut sleeps = 0_u32;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if done(&snapshot) || left.is_zero() {
            return Ok(snapshot);
        }
        report(call, &snapshot, sleeps).await;
        sleeps += 1;
        let patience =
            Patience { wait: left.min(SLEEP), after_event: Some(snapshot.execution.head().events) };
        let asked = Instant::now();
        let id = snapshot.execution.id().to_string();
        let next = tokio::select! {
            next = engine.execution(&id, patience) => next?,
            () = call.cancel.cancelled() => return Ok(snapshot),
        };
        let no_news = next.execution.head().events == snapshot.execution.head().events;
        if no_news && asked.elapsed() < PAUSE {
            // Nobody owns the execution, so nobody told: asking again at once would be a busy loop.
            tokio::select! {
                () = tokio::time::sleep(PAUSE.min(left)) => {}
                () = call.cancel.cancelled() => return Ok(next),
            }
        }
        snapshot = next;
    }
}

async fn report(call: &Call, snapshot: &Snapshot, sleeps: u32) {
    if !call.progress.is_wanted() {
        return;
    }
    let execution = &snapshot.execution;
    let (done, total) = execution.progress();
    let open: Vec<&str> = execution
        .open_steps()
        .take(3)
        .filter_map(|index| execution.definition().steps.get(index))
        .map(|step| step.name.as_str())
        .collect();
    let message = if open.is_empty() {
        format!("{done} of {total} steps")
    } else {
        format!("{done} of {total} steps; under way: {}", open.join(", "))
    };
    // The protocol wants growing numbers; a little more at each sleep tells that the call lives.
    let alive = f64::from(sleeps.min(99)) * 0.01;
    call.progress.report(done as f64 + alive, Some(total as f64), message).await;
}
