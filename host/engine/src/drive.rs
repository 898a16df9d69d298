//! The loop that owns one execution: takes what happened, stores it, and only then acts on it.
//!
//! Nothing else changes an execution. Messages arrive through one bounded mailbox, so they have one order; the events
//! that they become are durable before anybody sees their effect.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use caelum_core::clock::Timestamp;
use caelum_core::evidence::{Review, WorkReport};
use caelum_core::id::{MachineId, StepId};
use caelum_core::task::OutcomeStatus;
use caelum_core::workflow::command::{Control, Report};
use caelum_core::workflow::{
    Effect, Event, EventBody, Execution, ExecutionStatus, GateRecord, IllegalEvent, MachineView,
    Next, World, advance, recover,
};
use caelum_store::{Append, StoreError};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, warn};

use crate::engine::Inner;
use crate::error::{EngineError, Mistake};
use crate::meters::{self, Tally};
use crate::panics::caught;
use crate::perform::{broke_down, perform};
use crate::request::Snapshot;
use crate::supervisor::{Changed, Counted, unknown_execution};

/// Messages handled before the events they became are stored together: one commit serves them all.
const BATCH_MAX: usize = 256;

/// What somebody asks of an execution.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    /// Work done by hand.
    Complete(String, WorkReport),
    /// What became of work whose outcome is unknown.
    Decide { step: String, succeeded: Option<bool>, by: String, reason: String },
    /// A review; its subject is filled in by the owner.
    Review(String, Review),
    /// The end of a step's work on one machine.
    CancelTarget { step: String, machine: MachineId, by: String, reason: String },
    /// Something about the whole execution.
    Control(Control, String, String),
}

/// A delivery that nobody will report about, and why.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub(crate) step: StepId,
    pub(crate) attempt: u32,
    pub(crate) machine: MachineId,
    pub(crate) item: Option<u32>,
    pub(crate) epoch: u32,
    pub(crate) why: String,
}

/// What reaches the owner of an execution.
#[derive(Debug)]
pub(crate) enum Message {
    /// A delivery ended.
    Reported(Effect, Report),
    /// Nobody will report how a delivery ended.
    Lost(Effect, Box<Lost>),
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
    answers: Vec<Answer>,
    /// Reports to take again when it cannot be stored.
    reports: Vec<Message>,
    /// How long decisive reviews were waited for.
    review_waits: Vec<Duration>,
}

type Answer = oneshot::Sender<Result<Snapshot, EngineError>>;

/// How an owner comes by its execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// It has just been stored for the first time.
    New,
    /// It was read while nobody could own it: at the start of the engine.
    Resumed,
    /// It was read before it had an owner: another owner may have come and gone since, so it is read again.
    Found,
}

/// Waits in line for a place; dropped and made anew it would be at the end of the line.
type InLine = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// The owner of one execution.
pub(crate) struct Driver {
    pub(crate) inner: Arc<Inner>,
    pub(crate) execution: Execution,
    pub(crate) mailbox: mpsc::Receiver<Message>,
    /// Keeps the mailbox open, and is what effects report through; nothing once the owner leaves.
    sender: Option<mpsc::Sender<Message>>,
    pub(crate) published: watch::Sender<Snapshot>,
    /// What is under way, and how to stop it.
    under_way: BTreeMap<Effect, CancellationToken>,
    /// Messages to take in the next round, in order.
    inbox: VecDeque<Message>,
    /// Whether work that was handed out before there was an owner still has to be given up.
    recovering: bool,
    /// The place among those that run at once; given back while nothing is under way.
    place: Option<OwnedSemaphorePermit>,
    in_line: Option<InLine>,
    /// Counts the execution among the open ones until it has ended.
    counted: Option<Counted>,
    /// When it could last go on after it could not: nobody was slow before that.
    free_since: Timestamp,
}

impl Driver {
    pub(crate) fn new(
        inner: Arc<Inner>,
        execution: Execution,
        mailbox: (mpsc::Sender<Message>, mpsc::Receiver<Message>),
        published: watch::Sender<Snapshot>,
        counted: Option<Counted>,
    ) -> Self {
        let (sender, mailbox) = mailbox;
        let free_since = inner.clock.now();
        Driver {
            inner,
            execution,
            mailbox,
            sender: Some(sender),
            published,
            under_way: BTreeMap::new(),
            inbox: VecDeque::new(),
            recovering: false,
            place: None,
            in_line: None,
            counted,
            free_since,
        }
    }

    /// Runs until the execution has ended and nobody wants anything of it, or until the engine stops.
    pub(crate) async fn run(mut self, begin: Begin) {
        let stop = self.inner.stop.clone();
        if begin == Begin::Found && self.reload(&mut Round::default()).await.is_err() {
            return;
        }
        // What nobody owned and was handed out was handed out by an engine that is gone.
        self.recovering = begin != Begin::New && self.execution.head().end.is_none();
        loop {
            let Ok(turned) = self.turn().await else { return };
            let wake_at = match &turned {
                Some(wanted) => {
                    self.act(wanted);
                    wanted.wake_at
                }
                None => Some(self.inner.clock.now().plus(self.inner.options.store_retry)),
            };
            let ended = self.execution.head().end.is_some();
            let idle = turned.is_some() && self.under_way.is_empty() && wake_at.is_none();
            // What a machine still does for an execution that has ended keeps nobody else waiting.
            // Who waits for somebody needs none, even with a deadline.
            let rests = turned.is_some() && self.under_way.is_empty() && !self.may_go_on();
            if ended || rests {
                self.place = None;
            }
            if ended && idle && self.inner.supervisor.retire(self.execution.id(), &mut self.mailbox)
            {
                return;
            }
            self.line_up();
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.leave().await;
                    return;
                }
                // The owner holds a sender itself, so the mailbox does not end.
                Some(message) = self.mailbox.recv() => self.accept(message),
                place = arrived(&mut self.in_line) => {
                    self.in_line = None;
                    self.place = place.ok();
                    self.free_since = self.inner.clock.now();
                }
                () = until(wake_at, &self.inner) => self.woken(wake_at.filter(|_| turned.is_some())),
            }
        }
    }

    /// Counts how late a timer was.
    fn woken(&self, wanted: Option<Timestamp>) {
        if let Some(wanted) = wanted {
            self.inner.meters.woken(self.inner.clock.now().since(wanted));
        }
    }

    /// Takes what is still reported while the engine stops, so that nothing that is known is done again, and leaves the
    /// execution as it is then. Decides nothing and begins nothing.
    async fn leave(&mut self) {
        // Without its own sender the mailbox ends with the last effect.
        self.sender = None;
        while let Some(message) = self.mailbox.recv().await {
            self.accept(message);
        }
        let mut round = Round { expected: self.execution.head().events, ..Round::default() };
        for message in std::mem::take(&mut self.inbox) {
            match message {
                Message::Asked(_, answer) => drop(answer.send(Err(EngineError::Stopping))),
                report => self.take(&mut round, report),
            }
        }
        let id = self.execution.id().clone();
        if !round.events.is_empty() {
            let tally = Tally::of(&self.execution, &round.events);
            let stored = match Append::of(&mut self.execution, round.expected, round.events) {
                Ok(append) => self.inner.store.append(append).await,
                Err(failed) => Err(failed),
            };
            match stored {
                Ok(()) => self.inner.count(&self.execution, &tally),
                Err(error) => {
                    warn!(execution = %id, %error, "failed to store what ended while the engine stopped");
                }
            }
        }
        debug!(execution = %id, "left as it is on disk");
    }

    /// Stands in the line for a place for as long as one is wanted.
    fn line_up(&mut self) {
        if !self.lacks_place() {
            self.in_line = None;
        } else if self.in_line.is_none() {
            self.in_line = Some(Box::pin(Arc::clone(&self.inner.places).acquire_owned()));
        }
    }

    /// Takes a message and all others that wait already, so that one commit stores what they become.
    fn accept(&mut self, message: Message) {
        let mut next = Some(message);
        while let Some(message) = next.take() {
            match &message {
                Message::Reported(effect, _) | Message::Lost(effect, _) => {
                    self.under_way.remove(effect);
                    self.inbox.push_back(message);
                }
                // A judgement that was withdrawn was made all the same: nobody waits for it.
                Message::Judged { effect, .. } => {
                    if self.under_way.remove(effect).is_some() {
                        self.inbox.push_back(message);
                    }
                }
                Message::Asked(..) => self.inbox.push_back(message),
            }
            if self.inbox.len() < BATCH_MAX {
                next = self.mailbox.try_recv().ok();
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

    /// Whether it has to stand in line before anything begins. A child runs in the place of the execution that waits for
    /// it: were it to stand in line, parents could hold all places and wait for children that never get one.
    fn lacks_place(&self) -> bool {
        self.place.is_none() && self.execution.head().parent.is_none() && self.may_go_on()
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

    /// Turns what has arrived into facts, decides what follows, stores all of it in one transaction, and tells everybody.
    /// Returns what is wanted then; nothing when it could not be stored and has to be tried again.
    async fn turn(&mut self) -> Result<Option<Next>, Stuck> {
        let expected = self.execution.head().events;
        let mut round = Round { expected, ..Round::default() };
        if self.recovering {
            for body in recover(&self.execution).record {
                self.record(&mut round, body);
            }
            if !round.events.is_empty() {
                info!(lost = round.events.len(), "work was under way when the server stopped");
            }
        }
        for message in std::mem::take(&mut self.inbox) {
            self.take(&mut round, message);
        }
        let wanted = match self.decide(&mut round) {
            Ok(wanted) => wanted,
            // A bug of ours: this execution stands still, the server lives, and the rows are as they were.
            Err(illegal) => return Err(self.stand_still(&illegal.to_string(), round.answers)),
        };
        if !round.events.is_empty() {
            if !self.store(&mut round).await? {
                return Ok(None);
            }
            self.publish();
        }
        self.recovering = false;
        for answer in round.answers {
            // Whoever asked may be gone; what they asked for is stored all the same.
            drop(answer.send(Ok(self.published.borrow().clone())));
        }
        Ok(Some(wanted))
    }

    fn take(&mut self, round: &mut Round, message: Message) {
        match message {
            Message::Reported(effect, report) => {
                let body = self.execution.receive(report.clone(), self.inner.clock.now());
                self.record(round, body);
                round.reports.push(Message::Reported(effect, report));
            }
            Message::Lost(effect, lost) => {
                let Lost { step, attempt, machine, item, epoch, why: reason } =
                    lost.as_ref().clone();
                let body = EventBody::TargetLost { step, attempt, machine, item, epoch, reason };
                // Cancelled meanwhile, it counted as lost already.
                if self.record(round, body) {
                    round.reports.push(Message::Lost(effect, lost));
                }
            }
            Message::Judged { effect, step, attempt, record } => {
                // One that did not see every review is made again with all of them.
                if let Effect::Judge { step, reviews, .. } = effect
                    && !self.execution.saw_every_review(step, reviews)
                {
                    return;
                }
                // A judgement that nobody waits for any more (cancelled meanwhile) is not worth an event.
                let body =
                    EventBody::GateJudged { step: step.clone(), attempt, record: record.clone() };
                if self.record(round, body) {
                    round.reports.push(Message::Judged { effect, step, attempt, record });
                }
            }
            Message::Asked(ask, answer) => {
                let review = meters::review_began(&self.execution, &ask);
                let resumes = matches!(ask, Ask::Control(Control::Resume, ..));
                match asked(&self.execution, ask, self.inner.clock.now()) {
                    Ok(bodies) => {
                        let all = bodies.into_iter().all(|body| self.record(round, body));
                        if all {
                            round.answers.push(answer);
                            let now = self.inner.clock.now();
                            round.review_waits.extend(review.and_then(|review| {
                                meters::review_wait(&self.execution, review, now)
                            }));
                            if resumes {
                                self.free_since = now;
                            }
                        } else {
                            let why = "what was accepted does not fit the state it was made for";
                            let failed = EngineError::internal("nothing was changed", why);
                            drop(answer.send(Err(failed)));
                        }
                    }
                    Err(refused) => drop(answer.send(Err(refused))),
                }
            }
        }
    }

    fn decide(&mut self, round: &mut Round) -> Result<Next, IllegalEvent> {
        if self.lacks_place() {
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

    fn publish(&mut self) {
        let before = self.published.borrow().execution.head().end;
        let snapshot =
            Snapshot { execution: Arc::new(self.execution.clone()), at: self.inner.clock.now() };
        let head = self.execution.head();
        // Counted before anybody can see the end, so that whoever sees it finds the room that it leaves.
        match head.end {
            Some(_) => self.counted = None,
            None if self.counted.is_none() => {
                self.counted = Some(self.inner.supervisor.count());
            }
            None => {}
        }
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
        self.published.send_replace(snapshot.clone());
        // Nobody may be listening.
        drop(self.inner.changes.send(Changed { snapshot }));
    }

    /// Stores the events of a round; false when it is to be tried again.
    async fn store(&mut self, round: &mut Round) -> Result<bool, Stuck> {
        let events = std::mem::take(&mut round.events);
        let then = round.expected + events.len() as u64;
        let mut tally = Tally::of(&self.execution, &events);
        tally.waited(round.review_waits.drain(..));
        let stored = match Append::of(&mut self.execution, round.expected, events) {
            Ok(append) => self.inner.store.append(append).await,
            Err(failed) => Err(failed),
        };
        let Err(failed) = stored else {
            self.inner.count(&self.execution, &tally);
            return Ok(true);
        };
        let id = self.execution.id().clone();
        // The caller can mend what they sent; nobody can mend what a machine sent or what we decided.
        let mended = failed.is_transient()
            || (matches!(failed, StoreError::TooLarge { .. }) && !round.answers.is_empty());
        if !mended {
            let answers = std::mem::take(&mut round.answers);
            match failed {
                StoreError::Closed => {
                    drop(answers);
                    return Err(Stuck);
                }
                StoreError::NotFound { .. } => return Err(self.taken_away(answers)),
                _ => {}
            }
            return Err(self.stand_still(&failed.to_string(), answers));
        }
        warn!(execution = %id, error = %failed, "failed to store; it is tried again");
        self.reload(round).await?;
        if self.execution.head().events == then {
            // It is on disk all the same: only the answer was lost.
            self.inner.count(&self.execution, &tally);
            return Ok(true);
        }
        for answer in round.answers.drain(..) {
            let mistake = Mistake::new("not_stored", format!("nothing was changed: {failed}"));
            let mistake = match failed.is_transient() {
                true => mistake.hint("mend the store (free space, rights), then ask again"),
                false => mistake,
            };
            drop(answer.send(Err(mistake.into())));
        }
        self.inbox = round.reports.drain(..).collect();
        Ok(false)
    }

    /// Goes back to what is stored; waits until that can be read.
    async fn reload(&mut self, round: &mut Round) -> Result<(), Stuck> {
        let id = self.execution.id().clone();
        loop {
            match self.inner.store.load_execution(&id).await {
                Ok(Some(execution)) => {
                    self.execution = execution;
                    if self.published.borrow().execution.head().events
                        != self.execution.head().events
                    {
                        self.publish();
                    }
                    return Ok(());
                }
                Ok(None) => return Err(self.taken_away(std::mem::take(&mut round.answers))),
                Err(StoreError::Closed) => return Err(Stuck),
                Err(error) => {
                    warn!(execution = %id, %error, "failed to read; it is tried again");
                    for answer in round.answers.drain(..) {
                        let failed = EngineError::internal(
                            "the store failed; whether the change was stored shows when it works again",
                            error.to_string(),
                        );
                        drop(answer.send(Err(failed)));
                    }
                }
            }
            tokio::select! {
                () = self.inner.stop.cancelled() => return Err(Stuck),
                () = tokio::time::sleep(self.inner.options.store_retry) => {}
            }
        }
    }

    /// Leaves an execution that is not in the store any more: retention takes those that have ended, and a machine may
    /// still report for one.
    fn taken_away(&self, answers: Vec<Answer>) -> Stuck {
        let id = self.execution.id();
        if self.published.borrow().execution.head().end.is_none() {
            return self.stand_still("it is not in the store any more", answers);
        }
        debug!(execution = %id, "it was taken out of the store");
        self.inner.supervisor.forget(id);
        for answer in answers {
            drop(answer.send(Err(unknown_execution(id.as_str()))));
        }
        Stuck
    }

    /// Gives up driving: the execution stays as it is on disk, and health says why.
    fn stand_still(&self, why: &str, answers: Vec<Answer>) -> Stuck {
        let id = self.execution.id();
        error!(execution = %id, error = %why, "the execution is stuck");
        self.inner.supervisor.mark_stuck(id, why.to_owned());
        for answer in answers {
            let failed = EngineError::internal(format!("execution `{id}` stands still"), why);
            drop(answer.send(Err(failed)));
        }
        Stuck
    }

    /// Starts what is wanted and not under way; stops what is under way and not wanted.
    fn act(&mut self, wanted: &Next) {
        for effect in &wanted.effects {
            match effect {
                Effect::Stop { step, attempt, target, epoch } => {
                    let running = Effect::Run {
                        step: *step,
                        attempt: *attempt,
                        target: *target,
                        epoch: *epoch,
                    };
                    // A child that runs on from before a restart has nobody who waits for it yet.
                    if self.execution.runs_child(*step) && !self.under_way.contains_key(&running) {
                        self.start(running);
                    }
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
        let decided = !self.lacks_place();
        self.under_way.retain(|effect, token| {
            let stop = decided && unwanted(effect);
            if stop {
                token.cancel();
            }
            !stop
        });
    }

    fn start(&mut self, effect: Effect) {
        let Some(sender) = self.sender.clone() else { return };
        let token = self.inner.stop.child_token();
        self.under_way.insert(effect, token.clone());
        self.count_overhead(effect);
        let inner = Arc::clone(&self.inner);
        let execution = Arc::clone(&self.published.borrow().execution);
        debug!(execution = %execution.id(), ?effect, "effect begins");
        let span = tracing::Span::current();
        self.inner.tasks.spawn(
            async move {
                let performing = perform(Arc::clone(&inner), Arc::clone(&execution), effect, token);
                let message = tokio::select! {
                    performed = caught(performing) => match performed {
                        Ok(message) => message,
                        Err(panic) => {
                            error!(execution = %execution.id(), ?effect, %panic, "an effect panicked");
                            broke_down(&execution, effect, panic)
                        }
                    },
                    () = left_behind(&inner) => None,
                };
                if let Some(message) = message
                    && !(inner.stop.is_cancelled() && ended_by_us(&message))
                {
                    // The owner is gone when it stands still, and when the engine was dropped and not closed.
                    drop(sender.send(message).await);
                }
            }
            .instrument(span),
        );
    }
}

impl Driver {
    /// Counts how long the engine took from the end of what a step waited for until its work begins: for the first piece
    /// of the first attempt, because what comes later waits for other things.
    fn count_overhead(&self, effect: Effect) {
        let Effect::Run { step, attempt: 1, target: 0, epoch: 1 } = effect else { return };
        if let Some(free) = meters::free_since(&self.execution, step) {
            let took = self.inner.clock.now().since(free.max(self.free_since));
            self.inner.meters.handed_out(took);
        }
    }
}

/// Waits until the engine has stopped and what still runs has had its time to end.
async fn left_behind(inner: &Inner) {
    inner.stop.cancelled().await;
    tokio::time::sleep(inner.options.cancel_wait).await;
}

/// Whether work reports that it was cancelled. While the engine stops, that says nothing about the work: it runs again
/// after the restart.
fn ended_by_us(message: &Message) -> bool {
    matches!(message, Message::Reported(_, report) if report.outcome.status == OutcomeStatus::Cancelled)
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
        Ask::CancelTarget { step, machine, by, reason } => {
            execution.cancel_target(&step, &machine, by, reason)?.into_iter().collect()
        }
        Ask::Control(control, by, reason) => {
            execution.control(&control, by, reason)?.into_iter().collect()
        }
    })
}

/// Waits until the line has moved on to its first; for ever when nobody stands in it.
async fn arrived(in_line: &mut Option<InLine>) -> Result<OwnedSemaphorePermit, AcquireError> {
    match in_line {
        Some(in_line) => in_line.await,
        None => std::future::pending().await,
    }
}

/// Waits until a moment, or for ever when there is none.
async fn until(moment: Option<Timestamp>, inner: &Inner) {
    match moment {
        Some(moment) => tokio::time::sleep(moment.since(inner.clock.now())).await,
        None => std::future::pending().await,
    }
}

impl Inner {
    /// Counts what is stored now.
    fn count(&self, execution: &Execution, tally: &Tally) {
        self.meters.count(tally);
        self.estimates.add(execution, tally);
        if tally.has_end() {
            self.retention.ended(&self.options.retention, self.clock.now());
        }
    }

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
