//! Which executions are owned by whom: one driver for each that is open, or that somebody asks something of.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use caelum_core::id::ExecutionId;
use caelum_core::workflow::{Execution, StepPhase};
use caelum_store::{IdempotencyEntry, NewExecution, StoreError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{Instrument, error, info_span};

use crate::drive::mail::{Ask, Message};
use crate::drive::{Begin, Driver};
use crate::engine::{Engine, Inner};
use crate::error::{EngineError, Mistake};
use crate::panics::caught;
use crate::request::Snapshot;

/// How many messages may wait for one execution. Reports wait for room; callers are told that it is busy.
const MAILBOX_MAX: usize = 1_024;

/// An execution changed: what live views listen to.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The execution as it is now.
    pub snapshot: Snapshot,
}

/// How an open execution is reached.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    /// Weak, so that the mailbox ends when its owner wants it to.
    sender: mpsc::WeakSender<Message>,
    pub(crate) published: watch::Receiver<Snapshot>,
}

/// One of the open executions, as long as it is held.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Handle {
    /// Puts a message into the mailbox of the owner.
    fn send(&self, id: &ExecutionId, message: Message) -> Result<(), EngineError> {
        // Owners leave without giving up their place only when the engine stops.
        let sender = self.sender.upgrade().ok_or(EngineError::Stopping)?;
        sender.try_send(message).map_err(|unsent| match unsent {
            TrySendError::Full(_) => {
                Mistake::new("busy", format!("execution `{id}` has too much to do"))
                    .hint("ask again in a second")
                    .into()
            }
            TrySendError::Closed(_) => EngineError::Stopping,
        })
    }
}

/// Who owns which execution. Plain locks, held for a few lines and never across an await.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    handles: Mutex<HashMap<ExecutionId, Handle>>,
    stuck: Mutex<BTreeMap<ExecutionId, String>>,
    /// Executions that have an owner and have not ended.
    open: Arc<AtomicUsize>,
}

impl Supervisor {
    fn handles(&self) -> std::sync::MutexGuard<'_, HashMap<ExecutionId, Handle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how an execution is reached while somebody owns it.
    pub(crate) fn handle(&self, id: &ExecutionId) -> Option<Handle> {
        self.handles().get(id).cloned()
    }

    /// Returns how many executions have an owner and have not ended.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts one more open execution.
    pub(crate) fn count(&self) -> Counted {
        self.open.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(&self.open))
    }

    /// Counts one more open execution unless there are `max` already.
    pub(crate) fn reserve(&self, max: usize) -> Option<Counted> {
        // Counted first and given back when it was one too many: two that come at once do not both get the last one.
        let counted = self.count();
        (self.open() <= max).then_some(counted)
    }

    /// Hands a message to the owner of an execution; gives it back when there is none.
    fn send(&self, id: &ExecutionId, message: Message) -> Result<Option<Message>, EngineError> {
        match self.handles().get(id) {
            Some(handle) => handle.send(id, message).map(|()| None),
            None => Ok(Some(message)),
        }
    }

    /// Lets an owner go when nothing waits in its mailbox: under the lock under which messages are sent, so that none
    /// is lost.
    pub(crate) fn retire(&self, id: &ExecutionId, mailbox: &mut mpsc::Receiver<Message>) -> bool {
        let mut handles = self.handles();
        if mailbox.is_empty() {
            handles.remove(id);
            true
        } else {
            false
        }
    }

    /// Forgets an owner that has nothing to own.
    pub(crate) fn forget(&self, id: &ExecutionId) {
        self.handles().remove(id);
    }

    /// Remembers that an execution stands still because of a bug or another owner.
    pub(crate) fn mark_stuck(&self, id: &ExecutionId, why: String) {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), why);
        self.handles().remove(id);
    }

    /// Returns how many steps of executions that have an owner wait for a review.
    pub(crate) fn awaiting_review(&self) -> u64 {
        let published: Vec<watch::Receiver<Snapshot>> =
            self.handles().values().map(|handle| handle.published.clone()).collect();
        let of_one = |published: &watch::Receiver<Snapshot>| {
            let execution = Arc::clone(&published.borrow().execution);
            execution
                .open_steps()
                .filter(|step| {
                    matches!(execution.step(*step).phase, StepPhase::AwaitingReview { .. })
                })
                .count() as u64
        };
        published.iter().map(of_one).sum()
    }

    /// Returns the executions that stand still, and why.
    pub(crate) fn stuck(&self) -> BTreeMap<ExecutionId, String> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Engine {
    /// Gives an execution an owner, unless it has one, and hands that one a message. The message waits before the owner
    /// begins: without one, the owner of an execution that has ended is gone at once.
    pub(crate) fn own(
        &self,
        execution: Execution,
        begin: Begin,
        message: Option<Message>,
    ) -> Result<(), EngineError> {
        let id = execution.id().clone();
        let mut handles = self.0.supervisor.handles();
        let owned = handles.get(&id).cloned();
        let (handle, driver) = match owned {
            Some(handle) => (handle, None),
            None => {
                let (handle, driver) = self.driver(execution, None);
                (handle, Some(driver))
            }
        };
        if let Some(message) = message {
            handle.send(&id, message)?;
        }
        if let Some(driver) = driver {
            handles.insert(id.clone(), handle);
            drop(handles);
            self.drive(id, driver.run(begin));
        }
        Ok(())
    }

    /// Gives every execution that was read while nobody could own it its owner. All of them have one before the first
    /// one works, so that none is reached by another before it is owned.
    pub(crate) fn own_all(&self, executions: Vec<Execution>) {
        let mut handles = self.0.supervisor.handles();
        let mut drivers = Vec::with_capacity(executions.len());
        for execution in executions {
            let id = execution.id().clone();
            let (handle, driver) = self.driver(execution, None);
            handles.insert(id.clone(), handle);
            drivers.push((id, driver));
        }
        drop(handles);
        for (id, driver) in drivers {
            self.drive(id, driver.run(Begin::Resumed));
        }
    }

    /// Stores a new execution and gives it its owner; both or neither, even when the caller goes away meanwhile. The
    /// owner is there first, so that nobody else can come to own what is stored.
    pub(crate) async fn create(
        &self,
        execution: Execution,
        row: NewExecution,
        key: Option<IdempotencyEntry>,
        counted: Counted,
    ) -> Result<Snapshot, StoreError> {
        let id = execution.id().clone();
        let (handle, driver) = self.driver(execution, Some(counted));
        let snapshot = handle.published.borrow().clone();
        self.0.supervisor.handles().insert(id.clone(), handle);
        let (answer, answered) = oneshot::channel();
        let inner = Arc::clone(&self.0);
        let creating = id.clone();
        self.drive(id, async move {
            if let Err(failed) = stored(&inner, &creating, row, key).await {
                inner.supervisor.forget(&creating);
                drop(answer.send(Err(failed)));
                return;
            }
            inner.meters.run_started();
            // Whoever asked may be gone; the execution runs all the same.
            drop(answer.send(Ok(snapshot)));
            driver.run(Begin::New).await;
        });
        answered.await.map_err(|_| StoreError::Closed)?
    }

    fn driver(&self, execution: Execution, counted: Option<Counted>) -> (Handle, Driver) {
        let inner = &self.0;
        let (sender, mailbox) = mpsc::channel(MAILBOX_MAX);
        let snapshot = Snapshot { execution: Arc::new(execution.clone()), at: inner.clock.now() };
        let (publish, published) = watch::channel(snapshot);
        let handle = Handle { sender: sender.downgrade(), published };
        let open = execution.head().end.is_none();
        let counted = counted.or_else(|| open.then(|| inner.supervisor.count()));
        let driver = Driver::new(Arc::clone(inner), execution, (sender, mailbox), publish, counted);
        (handle, driver)
    }

    /// Lets an owner work; its panic makes the execution stand still and nothing else.
    fn drive(&self, id: ExecutionId, owner: impl Future<Output = ()> + Send + 'static) {
        let inner = Arc::clone(&self.0);
        let span = info_span!("execution", %id);
        let owned = async move {
            if let Err(panic) = caught(owner).await {
                error!(execution = %id, %panic, "the owner of an execution panicked");
                inner.supervisor.mark_stuck(&id, format!("a bug: {panic}"));
            }
        };
        self.0.tasks.spawn(owned.instrument(span));
    }

    /// Asks something of an execution and waits until the answer is on disk.
    pub(crate) async fn ask(&self, id: &ExecutionId, ask: Ask) -> Result<Snapshot, EngineError> {
        let supervisor = &self.0.supervisor;
        if let Some(why) = supervisor.stuck().get(id) {
            return Err(EngineError::internal(
                format!("execution `{id}` stands still"),
                why.clone(),
            ));
        }
        let (answer, answered) = oneshot::channel();
        if let Some(message) = supervisor.send(id, Message::Asked(ask, answer))? {
            let execution = self.load(id).await?;
            self.own(execution, Begin::Found, Some(message))?;
        }
        answered.await.map_err(|_| EngineError::Stopping)?
    }

    pub(crate) async fn load(&self, id: &ExecutionId) -> Result<Execution, EngineError> {
        self.0
            .store
            .load_execution(id)
            .await
            .map_err(crate::executions::stored)?
            .ok_or_else(|| unknown_execution(id.as_str()))
    }
}

/// Says that no execution has this name.
pub(crate) fn unknown_execution(id: &str) -> EngineError {
    Mistake::new("unknown_execution", format!("there is no execution `{id}`"))
        .hint("list_executions shows those that exist")
        .into()
}

/// Stores a new execution. A failure after which it is on disk all the same is none.
async fn stored(
    inner: &Inner,
    id: &ExecutionId,
    row: NewExecution,
    key: Option<IdempotencyEntry>,
) -> Result<(), StoreError> {
    let Err(failed) = inner.store.create_execution(row, key).await else { return Ok(()) };
    let found =
        failed.is_transient() && matches!(inner.store.load_execution(id).await, Ok(Some(_)));
    if found { Ok(()) } else { Err(failed) }
}

impl Inner {
    /// Returns how many executions have an owner and have not ended.
    pub(crate) fn open_executions(&self) -> usize {
        self.supervisor.open()
    }
}
