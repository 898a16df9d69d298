//! One call on a fresh store: instantiate, call, and take what is left. The guest is interrupted by the engine's clock
//! while it computes, and by a timer while it waits for the host.

use std::future::Future;
use std::time::{Duration, Instant};

use caelum_core::plugin::HostReason;
use wasmtime::{Store, UpdateDeadline};

use crate::bindings::{pattern_export, types, validator_export};
use crate::host::Host;
use crate::plugin::Body;
use crate::runtime::TICK;
use crate::state::{CallCancelled, CallState, DeadlinePassed, Remains};

use super::failure::{Moment, reason};

/// How much later than the deadline the timer ends what the clock could not: a guest that computes is told by the
/// clock, whose trap says more.
const GRACE: Duration = TICK.saturating_mul(3);

/// What a guest is asked.
#[derive(Debug)]
pub(crate) enum Operation {
    Describe,
    Validate { parameters: String, context: String },
    Plan { parameters: String, context: String },
    Judge { evidence: Box<validator_export::Evidence>, parameters: String },
}

/// What a guest answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Pattern(pattern_export::PatternDescription),
    Validator(validator_export::ValidatorDescription),
    Assessment(Result<pattern_export::Assessment, types::PluginError>),
    Plan(Result<pattern_export::ChangePlan, types::PluginError>),
    Verdict(Result<validator_export::Verdict, types::PluginError>),
}

/// A call that is over, one way or the other.
pub(crate) struct Performed {
    pub(crate) answer: Result<Answer, HostReason>,
    /// Whether the instance could be made at all.
    pub(crate) stood: bool,
    pub(crate) instantiated: Duration,
    pub(crate) duration: Duration,
    pub(crate) deadline_left: Duration,
    pub(crate) remains: Remains,
}

/// Runs one call. Its instance is made for it and dropped with it, so that nothing survives and a trap costs nothing.
///
/// `tell` is told the answer before the instance is taken down: giving its memory back takes about as long as making
/// it, and nobody has to wait for that.
pub(crate) async fn perform(
    host: &Host,
    body: Body,
    operation: Operation,
    state: CallState,
    deadline: Duration,
    tell: impl FnOnce(Performed),
) {
    let _ticking = host.runtime.ticking();
    let mut store = Store::new(host.runtime.engine(), state);
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(usize::try_from(host.limits.result_bytes_max).unwrap_or(usize::MAX));
    store.epoch_deadline_callback(|context| {
        let state = context.data();
        if state.cancel.is_cancelled() {
            return Err(CallCancelled.into());
        }
        if Instant::now() >= state.deadline {
            return Err(DeadlinePassed.into());
        }
        // Gives way to other calls and to the timer, so that nothing ever spins unattended.
        Ok(UpdateDeadline::Yield(1))
    });

    let begun = Instant::now();
    let limit = host.limits.instantiate_deadline;
    let instance = within(&mut store, limit, async |store| instantiate(&body, store).await).await;
    let instantiated = begun.elapsed();
    let stood = instance.is_ok();
    let (answer, duration) = match instance {
        Ok(instance) => {
            let begun = Instant::now();
            let answer =
                within(&mut store, deadline, async |store| call(&instance, store, operation).await)
                    .await;
            let duration = begun.elapsed();
            let moment = Moment::Call(deadline);
            (answer.map_err(|error| reason(&error, store.data(), &host.limits, moment)), duration)
        }
        Err(error) => {
            let moment = Moment::Instantiate(limit);
            (Err(reason(&error, store.data(), &host.limits, moment)), Duration::ZERO)
        }
    };
    tell(Performed {
        answer,
        stood,
        instantiated,
        duration,
        deadline_left: deadline.saturating_sub(duration),
        remains: store.data_mut().take_remains(),
    });
}

/// Runs one part of a call up to its deadline.
async fn within<T, F>(store: &mut Store<CallState>, limit: Duration, part: F) -> wasmtime::Result<T>
where
    F: AsyncFnOnce(&mut Store<CallState>) -> wasmtime::Result<T>,
{
    let cancel = store.data().cancel.clone();
    store.data_mut().deadline = Instant::now() + limit;
    store.set_epoch_deadline(1);
    tokio::select! {
        biased;
        done = part(store) => done,
        () = cancel.cancelled() => Err(CallCancelled.into()),
        () = tokio::time::sleep(limit + GRACE) => Err(DeadlinePassed.into()),
    }
}

enum Instance {
    Pattern(crate::bindings::pattern::ImprovementPattern),
    Validator(crate::bindings::validator::StepValidator),
}

async fn instantiate(body: &Body, store: &mut Store<CallState>) -> wasmtime::Result<Instance> {
    Ok(match body {
        Body::Pattern { exports, .. } => Instance::Pattern(exports.instantiate_async(store).await?),
        Body::Validator { exports, .. } => {
            Instance::Validator(exports.instantiate_async(store).await?)
        }
    })
}

async fn call(
    instance: &Instance,
    store: &mut Store<CallState>,
    operation: Operation,
) -> wasmtime::Result<Answer> {
    Ok(match (instance, operation) {
        (Instance::Pattern(pattern), Operation::Describe) => {
            Answer::Pattern(pattern.caelum_plugin_pattern().call_describe(store).await?)
        }
        (Instance::Validator(validator), Operation::Describe) => {
            Answer::Validator(validator.caelum_plugin_validator().call_describe(store).await?)
        }
        (Instance::Pattern(pattern), Operation::Validate { parameters, context }) => {
            Answer::Assessment(
                pattern.caelum_plugin_pattern().call_validate(store, &parameters, &context).await?,
            )
        }
        (Instance::Pattern(pattern), Operation::Plan { parameters, context }) => Answer::Plan(
            pattern.caelum_plugin_pattern().call_plan(store, &parameters, &context).await?,
        ),
        (Instance::Validator(validator), Operation::Judge { evidence, parameters }) => {
            Answer::Verdict(
                validator
                    .caelum_plugin_validator()
                    .call_judge(store, &evidence, &parameters)
                    .await?,
            )
        }
        (Instance::Pattern(_), Operation::Judge { .. })
        | (Instance::Validator(_), Operation::Validate { .. } | Operation::Plan { .. }) => {
            wasmtime::bail!("a plugin was asked for what its kind does not have")
        }
    })
}

/// Asserts at compile time that a call can move between threads.
fn _calls_can_move(
    host: &Host,
    body: Body,
    operation: Operation,
    state: CallState,
) -> impl Future + Send {
    perform(host, body, operation, state, Duration::ZERO, |_| {})
}
