//! The loop that owns one execution: takes what happened, stores it, and only then acts on it.
//!
//! Nothing else changes an execution. Messages arrive through one bounded mailbox, so they have one order; the events
//! that they become are durable before anybody sees their effect.

mod effects;
pub(crate) mod mail;
mod round;

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use caelum_core::clock::Timestamp;
use caelum_core::workflow::{
    Effect, EventBody, Execution, ExecutionStatus, IllegalEvent, MachineView, Next, World, advance,
    recover,
};
use caelum_store::Append;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::mail::Message;
use self::round::{Round, Stuck};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::meters::Tally;
use crate::request::Snapshot;
use crate::supervisor::{Changed, Counted};

/// Messages handled before the events they became are stored together: one commit serves them all.
const BATCH_MAX: usize = 256;

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
