//! One call on a fresh store: instantiate, call, and take what is left. The guest is interrupted by the
//! engine's clock while it computes; where it waits for the host, the host waits no longer than it may.

use std::time::{Duration, Instant};

use caelum_core::plugin::HostReason;
use wasmtime::{Store, UpdateDeadline};

use crate::bindings::{pattern_export, types, validator_export};
use crate::host::Host;
use crate::plugin::Body;
use crate::state::{CallState, NeedsThread, Remains};

use super::failure::{Moment, reason};

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
    /// Whether it ended because it needs a thread of its own. Then it is to be begun again there, and nothing else here
    /// means anything.
    pub(crate) needs_thread: bool,
    /// Whether the instance could be made at all.
    pub(crate) stood: bool,
    pub(crate) instantiated: Duration,
    pub(crate) duration: Duration,
    pub(crate) deadline_left: Duration,
    pub(crate) remains: Remains,
}

/// The instance of a call that is over. Giving its memory back takes about as long as making it, and nobody has to wait
/// for that.
pub(crate) struct Spent {
    _store: Store<CallState>,
}

/// Runs one call on this thread. Its instance is made for it and dropped after it, so that nothing survives and a trap
/// costs nothing.
pub(crate) fn perform(
    host: &Host,
    body: &Body,
    operation: &Operation,
    state: CallState,
    deadline: Duration,
) -> (Performed, Spent) {
    let _ticking = host.runtime.ticking();
    // What WASI waits for is waited for there.
    let _threads = host.runtime.threads().enter();
    let mut store = Store::new(host.runtime.engine(), state);
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(usize::try_from(host.limits.result_bytes_max).unwrap_or(usize::MAX));
    store.epoch_deadline_callback(|context| {
        context.data().must_end()?;
        Ok(UpdateDeadline::Continue(1))
    });

    let begun = Instant::now();
    let limit = host.limits.instantiate_deadline;
    limit_to(&mut store, begun + limit);
    let instance = instantiate(body, &mut store);
    let stands = Instant::now();
    let stood = instance.is_ok();
    let (answer, moment) = match instance {
        Ok(instance) => {
            limit_to(&mut store, stands + deadline);
            (call(&instance, &mut store, operation), Moment::Call(deadline))
        }
        Err(error) => (Err(error), Moment::Instantiate(limit)),
    };
    let duration = if stood { stands.elapsed() } else { Duration::ZERO };
    let needs_thread = answer.as_ref().is_err_and(|error| error.is::<NeedsThread>());
    let performed = Performed {
        answer: answer.map_err(|error| reason(&error, store.data(), &host.limits, moment)),
        needs_thread,
        stood,
        instantiated: stands - begun,
        duration,
        deadline_left: deadline.saturating_sub(duration),
        remains: store.data_mut().take_remains(),
    };
    (performed, Spent { _store: store })
}

/// Gives the guest until then: it is asked at every tick of the clock while it computes, and what the host waits for on
/// its behalf ends then.
fn limit_to(store: &mut Store<CallState>, deadline: Instant) {
    store.data_mut().deadline = deadline;
    store.set_epoch_deadline(1);
}

enum Instance {
    Pattern(crate::bindings::pattern::ImprovementPattern),
    Validator(crate::bindings::validator::StepValidator),
}

fn instantiate(body: &Body, store: &mut Store<CallState>) -> wasmtime::Result<Instance> {
    Ok(match body {
        Body::Pattern { exports, .. } => Instance::Pattern(exports.instantiate(store)?),
        Body::Validator { exports, .. } => Instance::Validator(exports.instantiate(store)?),
    })
}

fn call(
    instance: &Instance,
    store: &mut Store<CallState>,
    operation: &Operation,
) -> wasmtime::Result<Answer> {
    Ok(match (instance, operation) {
        (Instance::Pattern(pattern), Operation::Describe) => {
            Answer::Pattern(pattern.caelum_plugin_pattern().call_describe(store)?)
        }
        (Instance::Validator(validator), Operation::Describe) => {
            Answer::Validator(validator.caelum_plugin_validator().call_describe(store)?)
        }
        (Instance::Pattern(pattern), Operation::Validate { parameters, context }) => {
            Answer::Assessment(
                pattern.caelum_plugin_pattern().call_validate(store, parameters, context)?,
            )
        }
        (Instance::Pattern(pattern), Operation::Plan { parameters, context }) => {
            Answer::Plan(pattern.caelum_plugin_pattern().call_plan(store, parameters, context)?)
        }
        (Instance::Validator(validator), Operation::Judge { evidence, parameters }) => {
            Answer::Verdict(
                validator.caelum_plugin_validator().call_judge(store, evidence, parameters)?,
            )
        }
        (Instance::Pattern(_), Operation::Judge { .. })
        | (Instance::Validator(_), Operation::Validate { .. } | Operation::Plan { .. }) => {
            wasmtime::bail!("a plugin was asked for what its kind does not have")
        }
    })
}
