//! Calls: a place in the queue, a fresh instance, two clocks, an answer that is checked, and a report. What goes wrong
//! says whose fault it is and names the plugin.

pub(crate) mod describe;
mod failure;
mod inline;
mod perform;
mod report;
mod turn;

use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::evidence::{Evidence, Verdict};
use caelum_core::id::Digest;
use caelum_core::pattern::{Assessment, Plan};
use caelum_core::plugin::{HostReason, Phase, PluginFailure, PluginKind};
use caelum_core::tree::Tree;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span, warn};

use crate::convert;
use crate::host::Host;
use crate::plugin::{Body, Plugin};
use crate::state::{CallState, Caller, Place, Progress, Remains};
use crate::target::Reads;
use crate::wasi::Determinism;

use perform::{Answer, Operation, Performed, Spent, perform};
use turn::Turn;

/// What is said of a call in which the host itself failed.
const BROKE_DOWN: &str = "a function of the host broke down during the call";

pub(crate) use inline::Quickness;
pub use report::{CallError, CallReport, Called};

/// How a caller stays in touch with a call.
#[derive(Debug, Clone, Default)]
pub struct CallControl {
    /// Ends the call: the guest can ask for it, and is interrupted within a few milliseconds.
    pub cancel: CancellationToken,
    /// Told how far the plugin says it is.
    pub progress: Option<watch::Sender<Progress>>,
}

/// Asks a pattern what it thinks of a component.
pub(crate) async fn validate(
    host: &Arc<Host>,
    plugin: &Arc<Plugin>,
    tree: Arc<dyn Tree>,
    parameters: &Value,
    context: &Value,
    control: CallControl,
) -> Called<Assessment> {
    let operation =
        Operation::Validate { parameters: parameters.to_string(), context: context.to_string() };
    let findings_max = host.limits.findings_max;
    let order = Order { operation, parameters, tree: Ok(tree), now: Duration::ZERO, control };
    run(host, plugin, order, move |answer| match answer {
        Answer::Assessment(Ok(given)) => {
            convert::assessment(given, findings_max).map_err(PluginFailure::Host)
        }
        Answer::Assessment(Err(error)) => Err(convert::plugin_error(error)),
        _ => Err(wrong_kind()),
    })
    .await
}

/// Asks a pattern what it would change.
pub(crate) async fn plan(
    host: &Arc<Host>,
    plugin: &Arc<Plugin>,
    tree: Arc<dyn Tree>,
    parameters: &Value,
    context: &Value,
    control: CallControl,
) -> Called<Plan> {
    let operation =
        Operation::Plan { parameters: parameters.to_string(), context: context.to_string() };
    let limits = host.limits.plan();
    let order = Order { operation, parameters, tree: Ok(tree), now: Duration::ZERO, control };
    run(host, plugin, order, move |answer| match answer {
        Answer::Plan(Ok(given)) => convert::plan(given, limits).map_err(PluginFailure::Host),
        Answer::Plan(Err(error)) => Err(convert::plugin_error(error)),
        _ => Err(wrong_kind()),
    })
    .await
}

/// Asks a validator for its judgement. The collected files lie over `tree` under `evidence/<machine>/`.
pub(crate) async fn judge(
    host: &Arc<Host>,
    plugin: &Arc<Plugin>,
    evidence: &Evidence,
    phase: Option<Phase>,
    tree: Arc<dyn Tree>,
    parameters: &Value,
    control: CallControl,
) -> Called<Verdict> {
    let (operation, tree) = match convert::guest_evidence(evidence, phase, tree) {
        Ok((given, tree)) => {
            let evidence = Box::new(given);
            (Operation::Judge { evidence, parameters: parameters.to_string() }, Ok(tree))
        }
        Err(error) => {
            let reason = HostReason::Internal { message: error.to_string() };
            (Operation::Describe, Err(PluginFailure::Host(reason)))
        }
    };
    let now = Duration::from_micros(u64::try_from(evidence.started_at.as_micros()).unwrap_or(0));
    let findings_max = host.limits.findings_max;
    let order = Order { operation, parameters, tree, now, control };
    run(host, plugin, order, move |answer| match answer {
        Answer::Verdict(Ok(given)) => {
            convert::verdict(given, findings_max).map_err(PluginFailure::Host)
        }
        Answer::Verdict(Err(error)) => Err(convert::plugin_error(error)),
        _ => Err(wrong_kind()),
    })
    .await
}

fn wrong_kind() -> PluginFailure {
    PluginFailure::Host(HostReason::Internal {
        message: "a plugin was asked for what its kind does not have".to_owned(),
    })
}

/// Everything that a call is given.
struct Order<'a> {
    operation: Operation,
    parameters: &'a Value,
    tree: Result<Arc<dyn Tree>, PluginFailure>,
    now: Duration,
    control: CallControl,
}

/// Runs a call from the check of its parameters to its report.
///
/// # Cancel safety
///
/// Dropping the future ends the call within a few milliseconds; nothing is left behind.
async fn run<T: Send + 'static>(
    host: &Arc<Host>,
    plugin: &Arc<Plugin>,
    order: Order<'_>,
    convert: impl FnOnce(Answer) -> Result<T, PluginFailure> + Send + 'static,
) -> Called<T> {
    let report = CallReport::new(host.next_call());
    let Done { report, outcome } = match ready(plugin, &order) {
        Ok(()) => admit_and_run(host, plugin, order, report, convert).await,
        Err(failure) => Done { report, outcome: Err(failure) },
    };
    note(plugin, host, &outcome);
    let outcome = outcome.map_err(|failure| CallError {
        kind: plugin.kind(),
        plugin: plugin.name().clone(),
        version: plugin.version().to_string(),
        digest: plugin.digest().clone(),
        failure,
    });
    match &outcome {
        Ok(_) => debug!(
            plugin = %plugin.name(),
            call = report.call,
            duration_us = report.duration.as_micros() as u64,
            memory_bytes = report.peak_memory_bytes,
            host_calls = report.host_calls,
            "a plugin has answered"
        ),
        Err(error) => warn!(call = report.call, digest = plugin.digest().short(), "{error}"),
    }
    Called { outcome, report }
}

/// Counts failures, and says when a plugin is kept out for a while.
fn note<T>(plugin: &Plugin, host: &Host, outcome: &Result<T, PluginFailure>) {
    let reason = match outcome {
        Err(PluginFailure::Host(reason)) => Some(reason),
        // Its own word, whatever it says, is an answer. Parameters are mostly refused before it is asked.
        Ok(_) | Err(PluginFailure::Own(_) | PluginFailure::NotApplicable(_)) => None,
        Err(PluginFailure::InvalidParameters(_)) => return,
    };
    if let Some(span) = plugin.strikes.note(reason, Instant::now(), &host.limits) {
        warn!(
            plugin = %plugin.name(),
            digest = plugin.digest().short(),
            seconds = span.as_secs(),
            "a plugin has failed too often and is kept out for a while"
        );
    }
}

/// Refuses what can be refused without running the plugin.
fn ready(plugin: &Plugin, order: &Order<'_>) -> Result<(), PluginFailure> {
    if let Err(failure) = &order.tree {
        return Err(failure.clone());
    }
    let fits = match order.operation {
        Operation::Validate { .. } | Operation::Plan { .. } => PluginKind::Pattern,
        Operation::Judge { .. } => PluginKind::Validator,
        Operation::Describe => plugin.kind(),
    };
    if fits != plugin.kind() {
        return Err(wrong_kind());
    }
    plugin.strikes.admit(Instant::now()).map_err(PluginFailure::Host)?;
    let problems = plugin.schema.problems(order.parameters);
    if problems.is_empty() { Ok(()) } else { Err(PluginFailure::InvalidParameters(problems)) }
}

/// What comes back from the thread of the guest.
struct Done<T> {
    report: CallReport,
    outcome: Result<T, PluginFailure>,
}

/// Writes down what a call took. Returns what it answered.
fn fill(report: &mut CallReport, performed: Performed) -> Result<Answer, PluginFailure> {
    report.instantiated = performed.instantiated;
    report.duration = performed.duration;
    report.deadline_left = performed.deadline_left;
    let Remains { logs, counts, host_calls, memory_bytes } = performed.remains;
    report.logs = logs;
    report.host_calls = host_calls;
    report.peak_memory_bytes = memory_bytes;
    report.bytes_read = counts.bytes;
    report.entries_read = counts.entries;
    report.reads_denied = counts.denied;
    performed.answer.map_err(PluginFailure::Host)
}

/// Ends a task when the caller has lost interest.
struct Abort(tokio::task::AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for the call's turn and for the plugin's code. Mostly both are there, and nothing is waited for.
async fn admitted(
    host: &Arc<Host>,
    plugin: &Arc<Plugin>,
    cancel: &CancellationToken,
) -> Result<(Turn, Body), HostReason> {
    if let Some(body) = plugin.loaded()
        && let Some(turn) = Turn::free(host, plugin)
    {
        return Ok((turn, body));
    }
    let waiting = {
        let (host, plugin, cancel) = (Arc::clone(host), Arc::clone(plugin), cancel.clone());
        async move {
            let turn = Turn::wait(&host, &plugin, &cancel).await?;
            let body = plugin.body(&host).await.map_err(|error| HostReason::Internal {
                message: format!("the plugin could not be loaded again: {error}"),
            })?;
            Ok((turn, body))
        }
    };
    // There, because the caller's threads need not have what timers and compiler processes need.
    let task = host.runtime.threads().spawn(waiting.in_current_span());
    let _abort = Abort(task.abort_handle());
    task.await.unwrap_or_else(|error| {
        let message = if error.is_panic() { BROKE_DOWN } else { "the host is shutting down" };
        Err(HostReason::Internal { message: message.to_owned() })
    })
}

/// A call that was admitted, and everything that its guest is given.
struct Guest {
    host: Arc<Host>,
    plugin: Arc<Plugin>,
    body: Body,
    operation: Operation,
    tree: Arc<dyn Tree>,
    caller: Caller,
    now: Duration,
    cancel: CancellationToken,
    progress: Option<watch::Sender<Progress>>,
}

impl Guest {
    /// Runs the guest on this thread.
    fn run(&self, place: Place) -> (Performed, Spent) {
        let host = &*self.host;
        let seed = seed(&self.body, &self.caller.who.digest, &self.operation);
        let determinism = Determinism { seed, now: self.now };
        let reads = Reads::new(Arc::clone(&self.tree), Arc::clone(&host.policy), &host.limits);
        let (caller, cancel) = (self.caller.clone(), self.cancel.clone());
        let progress = self.progress.clone();
        let state = CallState::new(caller, host, place, determinism, reads, cancel, progress);
        let (performed, spent) =
            perform(host, &self.body, &self.operation, state, host.limits.call_deadline);
        self.plugin.quickness.note(&performed, &host.limits);
        (performed, spent)
    }
}

/// Runs a call from its turn to its answer: where its caller is when its plugin is quick, on a thread of its own when it
/// is not.
async fn admit_and_run<T: Send + 'static>(
    host: &Arc<Host>,
    plugin: &Arc<Plugin>,
    order: Order<'_>,
    mut report: CallReport,
    mut convert: impl FnOnce(Answer) -> Result<T, PluginFailure> + Send + 'static,
) -> Done<T> {
    let call = report.call;
    let span = info_span!("plugin", name = %plugin.name(), version = %plugin.version(), call);
    let Order { operation, tree, now, control, .. } = order;
    let CallControl { cancel, progress } = control;
    let begun = Instant::now();
    let admitted = admitted(host, plugin, &cancel).instrument(span.clone()).await;
    report.queued = begun.elapsed();
    let (turn, body) = match admitted {
        Ok(admitted) => admitted,
        Err(reason) => return Done { report, outcome: Err(PluginFailure::Host(reason)) },
    };
    let broke_down = |message: String| Done {
        report: CallReport::new(call),
        outcome: Err(PluginFailure::Host(HostReason::Internal { message })),
    };
    // Whoever drops this future has lost interest: the guest is interrupted.
    let cancel = cancel.child_token();
    let _interest = cancel.clone().drop_guard();
    let guest = Guest {
        host: Arc::clone(host),
        plugin: Arc::clone(plugin),
        body,
        operation,
        tree: tree.unwrap_or_else(|_| Arc::new(caelum_core::tree::MapTree::new())),
        caller: Caller { who: Arc::clone(&plugin.who), call },
        now,
        cancel,
        progress,
    };
    // WASI can make the host wait, and its calls are not counted.
    if plugin.quickness.admits() && !guest.body.uses_wasi() {
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let _span = span.enter();
            let (performed, _spent) = guest.run(Place::Inline);
            if performed.needs_thread {
                return ControlFlow::Continue((report, convert));
            }
            report.inline = true;
            let outcome = fill(&mut report, performed).and_then(convert);
            ControlFlow::Break(Done { report, outcome })
        }));
        match attempt {
            Ok(ControlFlow::Break(done)) => return done,
            Ok(ControlFlow::Continue(given_back)) => (report, convert) = given_back,
            Err(_) => return broke_down(BROKE_DOWN.to_owned()),
        }
    }
    let (sender, told) = oneshot::channel();
    let job = move || {
        let _turn = turn;
        let _span = span.entered();
        let (performed, _spent) = guest.run(Place::OwnThread);
        let outcome = fill(&mut report, performed).and_then(convert);
        // Whoever has gone away is told nothing.
        drop(sender.send(Done { report, outcome }));
    };
    match host.runtime.run_guest(job) {
        Ok(()) => told.await.unwrap_or_else(|_| broke_down(BROKE_DOWN.to_owned())),
        Err(error) => broke_down(format!("the system gave it no thread: {error}")),
    }
}

/// Derives the random numbers of a call from everything that it is given: the same call, the same numbers.
fn seed(body: &Body, digest: &Digest, operation: &Operation) -> [u8; 32] {
    if !body.uses_wasi() {
        // It has no way to ask for them.
        return [0; 32];
    }
    struct Feed(Sha256);
    impl fmt::Write for Feed {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.update(text.as_bytes());
            Ok(())
        }
    }
    let mut feed = Feed(Sha256::new());
    fmt::write(&mut feed, format_args!("{digest}\n{operation:?}")).expect("hashing never fails");
    feed.0.finalize().into()
}
