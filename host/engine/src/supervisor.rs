//! Which executions are owned by whom: one driver for each that is open, or that somebody asks something of.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use caelum_core::id::ExecutionId;
use caelum_core::workflow::Execution;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{Instrument, info_span};

use crate::drive::{Ask, Driver, Message};
use crate::engine::{Engine, Inner};
use crate::error::{EngineError, Mistake};
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
    sender: mpsc::Sender<Message>,
    pub(crate) published: watch::Receiver<Snapshot>,
}

/// The open executions. A plain lock, held for a few lines and never across an await.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    handles: Mutex<HashMap<ExecutionId, Handle>>,
    stuck: Mutex<BTreeMap<ExecutionId, String>>,
}

impl Supervisor {
    fn handles(&self) -> std::sync::MutexGuard<'_, HashMap<ExecutionId, Handle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how an execution is reached while somebody owns it.
    pub(crate) fn handle(&self, id: &ExecutionId) -> Option<Handle> {
        self.handles().get(id).cloned()
    }

    /// Returns how many executions have an owner.
    pub(crate) fn open(&self) -> usize {
        self.handles().len()
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

    /// Remembers that an execution stands still because of a bug or another owner.
    pub(crate) fn mark_stuck(&self, id: &ExecutionId, why: String) {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), why);
        self.handles().remove(id);
    }

    /// Returns the executions that stand still, and why.
    pub(crate) fn stuck(&self) -> BTreeMap<ExecutionId, String> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Engine {
    /// Gives an execution an owner, unless it has one.
    pub(crate) fn own(&self, execution: Execution, resume: bool) -> Handle {
        let inner = &self.0;
        let mut handles = inner.supervisor.handles();
        if let Some(handle) = handles.get(execution.id()) {
            return handle.clone();
        }
        let id = execution.id().clone();
        let (sender, mailbox) = mpsc::channel(MAILBOX_MAX);
        let snapshot = Snapshot { execution: Arc::new(execution.clone()), at: inner.clock.now() };
        let (publish, published) = watch::channel(snapshot);
        let handle = Handle { sender: sender.clone(), published };
        handles.insert(id.clone(), handle.clone());
        drop(handles);
        let driver = Driver {
            inner: Arc::clone(inner),
            execution,
            mailbox,
            sender,
            published: publish,
            under_way: BTreeMap::new(),
            place: None,
            kept: VecDeque::new(),
        };
        let span = info_span!("execution", %id);
        inner.tasks.spawn(driver.run(resume).instrument(span));
        handle
    }

    /// Asks something of an execution and waits until the answer is on disk.
    pub(crate) async fn ask(&self, id: &ExecutionId, ask: Ask) -> Result<Snapshot, EngineError> {
        let inner = &self.0;
        if let Some(why) = inner.supervisor.stuck().get(id) {
            return Err(EngineError::internal(
                format!("execution `{id}` stands still"),
                why.clone(),
            ));
        }
        if inner.supervisor.handle(id).is_none() {
            let execution = self.load(id).await?;
            self.own(execution, false);
        }
        let (answer, answered) = oneshot::channel();
        {
            let handles = inner.supervisor.handles();
            let Some(handle) = handles.get(id) else {
                return Err(EngineError::Stopping);
            };
            handle.sender.try_send(Message::Asked(ask, answer)).map_err(|_| {
                Mistake::new("busy", format!("execution `{id}` has too much to do"))
                    .hint("ask again in a second")
            })?;
        }
        answered.await.map_err(|_| EngineError::Stopping)?
    }

    pub(crate) async fn load(&self, id: &ExecutionId) -> Result<Execution, EngineError> {
        self.0
            .store
            .load_execution(id)
            .await
            .map_err(EngineError::Store)?
            .ok_or_else(|| unknown_execution(id.as_str()))
    }
}

/// Says that no execution has this name.
pub(crate) fn unknown_execution(id: &str) -> EngineError {
    Mistake::new("unknown_execution", format!("there is no execution `{id}`"))
        .hint("list_executions shows those that exist")
        .into()
}

impl Inner {
    /// Returns how many executions have an owner.
    pub(crate) fn open_executions(&self) -> usize {
        self.supervisor.open()
    }
}
