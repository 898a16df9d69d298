//! The loop that owns one execution: takes what happened, stores it, and only then acts on it.
//!
//! Nothing else changes an execution. Messages arrive through one bounded mailbox, so they have one order; the events
//! that they become are durable before anybody sees their effect.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use caelum_core::clock::Timestamp;
use caelum_core::evidence::{Review, WorkReport};
use caelum_core::id::StepId;
use caelum_core::workflow::command::{Control, Report};
use caelum_core::workflow::{
    Effect, Event, EventBody, Execution, ExecutionStatus, GateRecord, IllegalEvent, MachineView,
    Next, World, advance, recover,
};
use caelum_store::{Append, StoreError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, warn};

use crate::engine::Inner;
use crate::error::{EngineError, Mistake};
use crate::request::Snapshot;
use crate::supervisor::Changed;

/// Messages handled before the events they became are stored together: one commit serves them all.
const BATCH_MAX: usize = 256;

/// How long to wait before storing is tried again after it failed, so that a full disk is not asked all the time.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// What somebody asks of an execution.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    /// Work done by hand.
    Complete(String, WorkReport),
    /// What became of work whose outcome is unknown.
    Decide { step: String, succeeded: Option<bool>, by: String, reason: String },
    /// A review; its subject is filled in by the owner.
    Review(String, Review),
    /// Something about the whole execution.
    Control(Control, String, String),
}

/// What reaches the owner of an execution.
#[derive(Debug)]
pub(crate) enum Message {
    /// A delivery ended.
    Reported(Effect, Report),
    /// A gate was judged.
    Judged { effect: Effect, step: StepId, attempt: u32, record: Box<GateRecord> },
    /// Somebody asks for something.
    Asked(Ask, oneshot::Sender<Result<Snapshot, EngineError>>),
}

/// What one round of messages becomes: stored together or not at all.
#[derive(Default)]
struct Round {
    /// How many events were stored before it.
    expected: u64,
    /// What happened, already applied in memory.
    events: Vec<Event>,
    /// Who waits for it to be stored.
    answers: Vec<oneshot::Sender<Result<Snapshot, EngineError>>>,
    /// Reports to take again when it cannot be stored.
    reports: Vec<Message>,
}

/// The owner of one execution.
pub(crate) struct Driver {
    pub(crate) inner: Arc<Inner>,
    pub(crate) execution: Execution,
    pub(crate) mailbox: mpsc::Receiver<Message>,
    pub(crate) sender: mpsc::Sender<Message>,
    pub(crate) published: watch::Sender<Snapshot>,
    /// What is under way, and how to stop it.
    pub(crate) under_way: BTreeMap<Effect, CancellationToken>,
    /// The place among those that run at once; given back while nothing is under way.
    pub(crate) place: Option<OwnedSemaphorePermit>,
    /// Reports that could not be stored yet.
    pub(crate) kept: VecDeque<Message>,
}

impl Driver {
    /// Runs until the execution has ended and nobody wants anything of it, or until the engine stops.
    pub(crate) async fn run(mut self, resume: bool) {
        let stop = self.inner.stop.clone();
        if resume {
            let mut round = self.round();
            for body in recover(&self.execution).record {
                self.record(&mut round, body);
            }
            if !round.events.is_empty() {
                info!(lost = round.events.len(), "work was under way when the server stopped");
            }
            if let Err(Stuck) = self.commit(round).await {
                return;
            }
        }
        loop {
            let round = self.round();
            let Ok(wanted) = self.commit(round).await else { return };
            self.act(&wanted);
            let idle = self.under_way.is_empty() && self.kept.is_empty();
            if idle && wanted.wake_at.is_none() && !self.may_go_on() {
                self.place = None;
                if self.execution.head().end.is_some()
                    && self.inner.supervisor.retire(self.execution.id(), &mut self.mailbox)
                {
                    return;
                }
            }
            let wake_at = if self.kept.is_empty() {
                wanted.wake_at
            } else {
                Some(self.inner.clock.now().plus(STORE_RETRY))
            };
            let wants_place = self.place.is_none() && self.may_go_on();
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    debug!(execution = %self.execution.id(), "left as it is on disk");
                    return;
                }
                // The driver holds a sender itself, so the mailbox is never closed.
                Some(message) = self.mailbox.recv() => {
                    if self.take(message).await.is_err() {
                        return;
                    }
                }
                permit = Arc::clone(&self.inner.places).acquire_owned(), if wants_place => {
                    self.place = permit.ok();
                }
                () = until(wake_at, &self.inner) => {
                    if let Some(message) = self.kept.pop_front()
                        && self.take(message).await.is_err()
                    {
                        return;
                    }
                }
            }
        }
    }

    /// Whether anything could begin if there were a place for it.
    fn may_go_on(&self) -> bool {
        let head = self.execution.head();
        head.end.is_none()
            && head.cancel.is_none()
            && self.execution.status() != ExecutionStatus::Paused
    }

    fn round(&self) -> Round {
        Round { expected: self.execution.head().events, ..Round::default() }
    }

    /// Applies one fact in memory; false when it cannot happen in the present state.
    fn record(&mut self, round: &mut Round, body: EventBody) -> bool {
        let event = self.execution.event(body, self.inner.clock.now());
        match self.execution.apply(&event) {
            Ok(()) => {
                round.events.push(event);
                true
            }
            Err(illegal) => {
                debug!(execution = %self.execution.id(), %illegal, "not recorded");
                false
            }
        }
    }

    /// Takes a message and all others that wait already, so that one commit stores what they become.
    async fn take(&mut self, message: Message) -> Result<(), Stuck> {
        let mut round = self.round();
        let mut next = Some(message);
        let mut taken = 0;
        while let Some(message) = next.take() {
            taken += 1;
            match message {
                Message::Reported(effect, report) => {
                    self.under_way.remove(&effect);
                    let body = self.execution.receive(report.clone());
                    self.record(&mut round, body);
                    round.reports.push(Message::Reported(effect, report));
                }
                Message::Judged { effect, step, attempt, record } => {
                    self.under_way.remove(&effect);
                    // A judgement that nobody waits for any more (cancelled meanwhile) is not worth an event.
                    let body = EventBody::GateJudged {
                        step: step.clone(),
                        attempt,
                        record: record.clone(),
                    };
                    if self.record(&mut round, body) {
                        round.reports.push(Message::Judged { effect, step, attempt, record });
                    }
                }
                Message::Asked(ask, answer) => {
                    match asked(&self.execution, ask, self.inner.clock.now()) {
                        Ok(bodies) => {
                            for body in bodies {
                                self.record(&mut round, body);
                            }
                            round.answers.push(answer);
                        }
                        Err(refused) => drop(answer.send(Err(refused))),
                    }
                }
            }
            if taken < BATCH_MAX {
                next = self.mailbox.try_recv().ok();
            }
        }
        self.commit(round).await.map(drop)
    }

    /// Decides what follows, stores the whole round in one transaction, tells everybody, and returns what is wanted.
    async fn commit(&mut self, mut round: Round) -> Result<Next, Stuck> {
        let wanted = match self.decide(&mut round) {
            Ok(wanted) => wanted,
            Err(illegal) => {
                // A bug of ours: this execution stands still, the server lives, and the rows are as they were.
                error!(execution = %self.execution.id(), error = %illegal, "the execution is stuck");
                self.inner.supervisor.mark_stuck(self.execution.id(), illegal.to_string());
                return Err(Stuck);
            }
        };
        let Round { expected, events, answers, reports } = round;
        if !events.is_empty() {
            let stored = match Append::of(&mut self.execution, expected, events) {
                Ok(append) => self.inner.store.append(append).await,
                Err(failed) => Err(failed),
            };
            if let Err(failed) = stored {
                self.not_stored(failed, answers, reports).await?;
                return Ok(Next::default());
            }
            self.publish();
        }
        for answer in answers {
            // Whoever asked may be gone; what they asked for is stored all the same.
            drop(answer.send(Ok(self.published.borrow().clone())));
        }
        Ok(wanted)
    }

    fn decide(&mut self, round: &mut Round) -> Result<Next, IllegalEvent> {
        if self.place.is_none() && self.may_go_on() {
            return Ok(Next::default());
        }
        let machines = self.inner.machine_views();
        let world = World {
            now: self.inner.clock.now(),
            machines: &machines,
            cancel_wait: self.inner.options.cancel_wait,
        };
        let (events, wanted) = advance(&mut self.execution, world)?;
        round.events.extend(events);
        Ok(wanted)
    }

    fn publish(&self) {
        let before = self.published.borrow().execution.head().end;
        let snapshot =
            Snapshot { execution: Arc::new(self.execution.clone()), at: self.inner.clock.now() };
        self.published.send_replace(snapshot.clone());
        // Nobody may be listening.
        drop(self.inner.changes.send(Changed { snapshot }));
        let head = self.execution.head();
        if let Some(end) = head.end
            && before.is_none()
        {
            info!(
                execution = %head.id,
                workflow = %head.workflow_id,
                status = end.as_str(),
                "execution ended"
            );
        }
    }

    /// Goes back to what is stored, tells those who asked, and keeps the reports for another try.
    async fn not_stored(
        &mut self,
        failed: StoreError,
        answers: Vec<oneshot::Sender<Result<Snapshot, EngineError>>>,
        reports: Vec<Message>,
    ) -> Result<(), Stuck> {
        let id = self.execution.id().clone();
        for answer in answers {
            let mistake = Mistake::new("not_stored", format!("nothing was changed: {failed}"))
                .hint("mend the store (free space, rights), then ask again");
            drop(answer.send(Err(mistake.into())));
        }
        if matches!(failed, StoreError::Conflict { .. }) {
            error!(execution = %id, error = %failed, "another owner drives this execution");
            self.inner.supervisor.mark_stuck(&id, failed.to_string());
            return Err(Stuck);
        }
        warn!(execution = %id, error = %failed, "failed to store; it is tried again");
        self.kept.extend(reports);
        loop {
            match self.inner.store.load_execution(&id).await {
                Ok(Some(execution)) => {
                    self.execution = execution;
                    return Ok(());
                }
                Ok(None) => return Err(Stuck),
                Err(error) => warn!(execution = %id, %error, "failed to read; it is tried again"),
            }
            tokio::select! {
                () = self.inner.stop.cancelled() => return Err(Stuck),
                () = tokio::time::sleep(STORE_RETRY) => {}
            }
        }
    }

    /// Starts what is wanted and not under way; stops what is under way and not wanted.
    fn act(&mut self, wanted: &Next) {
        if !self.kept.is_empty() {
            // What was decided may not be stored: act again when it is.
            return;
        }
        for effect in &wanted.effects {
            match effect {
                Effect::Stop { step, attempt, target, epoch } => {
                    let running = Effect::Run {
                        step: *step,
                        attempt: *attempt,
                        target: *target,
                        epoch: *epoch,
                    };
                    if let Some(token) = self.under_way.get(&running) {
                        token.cancel();
                    }
                }
                Effect::Run { .. } | Effect::Judge { .. } => {
                    if !self.under_way.contains_key(effect) {
                        self.start(*effect);
                    }
                }
            }
        }
        // A gate that nobody waits for any more: cancelled, or its step began anew.
        let unwanted = |effect: &Effect| {
            matches!(effect, Effect::Judge { .. }) && !wanted.effects.contains(effect)
        };
        let decided = self.place.is_some() || !self.may_go_on();
        self.under_way.retain(|effect, token| {
            let stop = decided && unwanted(effect);
            if stop {
                token.cancel();
            }
            !stop
        });
    }

    fn start(&mut self, effect: Effect) {
        let token = self.inner.stop.child_token();
        self.under_way.insert(effect, token.clone());
        let inner = Arc::clone(&self.inner);
        let execution = Arc::clone(&self.published.borrow().execution);
        let sender = self.sender.clone();
        debug!(execution = %execution.id(), ?effect, "effect begins");
        let span = tracing::Span::current();
        self.inner.tasks.spawn(
            async move {
                let message = crate::perform::perform(inner, execution, effect, token).await;
                if let Some(message) = message {
                    // The driver is gone only when the engine stops; the restart then runs the work again.
                    drop(sender.send(message).await);
                }
            }
            .instrument(span),
        );
    }
}

/// The driver cannot go on with its execution.
#[derive(Debug)]
struct Stuck;

fn asked(execution: &Execution, ask: Ask, now: Timestamp) -> Result<Vec<EventBody>, EngineError> {
    Ok(match ask {
        Ask::Complete(step, report) => vec![execution.complete_step(&step, report)?],
        Ask::Decide { step, succeeded, by, reason } => {
            execution.decide(&step, succeeded, by, reason)?
        }
        Ask::Review(step, mut review) => {
            review.at = now;
            if let Some(index) = execution.step_index(&step)
                && let Some(record) = execution.step(index).gates.last()
            {
                // The review is bound to what the gate last looked at.
                review.subject_digest = record.subject_digest.clone();
            }
            vec![execution.review(&step, review)?]
        }
        Ask::Control(control, by, reason) => {
            execution.control(&control, by, reason)?.into_iter().collect()
        }
    })
}

/// Waits until a moment, or for ever when there is none.
async fn until(moment: Option<Timestamp>, inner: &Inner) {
    match moment {
        Some(moment) => tokio::time::sleep(moment.since(inner.clock.now())).await,
        None => std::future::pending().await,
    }
}

impl Inner {
    /// Returns the machines as the core sees them.
    pub(crate) fn machine_views(&self) -> Vec<MachineView> {
        self.fabric
            .machines()
            .into_iter()
            .map(|machine| MachineView {
                online: machine.state != caelum_machines::MachineState::Offline,
                id: machine.id,
                aliases: machine.aliases,
                labels: machine.labels,
            })
            .collect()
    }
}
