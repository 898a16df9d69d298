//! The one thread that writes: group commit. Requests wait in one queue; whatever waits is taken together, each runs
//! in a savepoint of its own, and all are answered after their one commit. Nothing here knows what a request does.
//!
//! The thread sleeps in the queue. After the last commit it wakes once, when the store has been quiet for a while, to
//! move the write-ahead log into the database file; then it sleeps until the next request. The log keeps its size and is
//! written anew from its beginning: a commit into a file that does not grow is a third cheaper.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, MAIN_DB};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{debug, error, warn};

use crate::checkpoint::Checkpointer;
use crate::error::Fault;
use crate::lock::DirectoryLock;
use crate::stats::{Counters, add, read};
use crate::{CommitMoment, CommitWatch, StoreError, StoreOptions, schema};

/// How often the thread tries to move the whole write-ahead log while readers hold it, before it waits for the next
/// commit.
const SETTLE_TRIES: u32 = 3;

/// How long the writer waits for readers when the write-ahead log has grown too far.
const RESTART_WAIT: Duration = Duration::from_millis(250);

/// The sending end of the writer's queue.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: Sender<Message>,
    places: Arc<Semaphore>,
    queue_max: usize,
    /// Taken by whoever ends the thread first: `close`, or the drop of the last handle.
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Request(Box<dyn Request>),
    /// Finish what is queued, then end.
    Close,
}

/// What the thread needs of a request: run it, then tell its caller how it ended.
trait Request: Send {
    /// Runs the request inside the open transaction; returns whether its changes should stay.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Returns the failure of SQLite that ended it.
    fn failure(&self) -> rusqlite::Error;
    /// Tells the caller. `lost` is set when the transaction was rolled back after the request had run.
    fn answer(self: Box<Self>, lost: Option<&rusqlite::Error>, path: &Path);
}

/// What became of the requests of one transaction.
struct Ran {
    /// How many have run and can be answered.
    requests: usize,
    /// How many of them changed something.
    stayed: usize,
    /// The error that took all of them with it.
    lost: Option<rusqlite::Error>,
}

struct Work<F, T> {
    work: Option<F>,
    outcome: Option<Result<T, Fault>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    /// Its place in the queue, given back when it is answered or dropped.
    _place: OwnedSemaphorePermit,
}

impl<F, T> Request for Work<F, T>
where
    F: FnOnce(&Connection) -> Result<T, Fault> + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        let Some(work) = self.work.take() else { return false };
        let outcome = catch_unwind(AssertUnwindSafe(|| work(connection))).unwrap_or_else(|_| {
            Err(Fault::Store(StoreError::Internal { what: "a request panicked".to_owned() }))
        });
        let stays = outcome.is_ok();
        self.outcome = Some(outcome);
        stays
    }

    fn failure(&self) -> rusqlite::Error {
        match &self.outcome {
            Some(Err(Fault::Sqlite(error))) => Fault::again(error),
            _ => rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT),
                Some("the transaction was rolled back".to_owned()),
            ),
        }
    }

    fn answer(self: Box<Self>, lost: Option<&rusqlite::Error>, path: &Path) {
        let answer = match (self.outcome, lost) {
            (Some(Ok(_)), Some(lost)) => Err(StoreError::of_sqlite(Fault::again(lost), path)),
            (Some(outcome), _) => outcome.map_err(|fault| fault.into_error(path)),
            (None, Some(lost)) => Err(StoreError::of_sqlite(Fault::again(lost), path)),
            (None, None) => Err(StoreError::Closed),
        };
        // A caller that has gone away wants no answer; what it asked for is done all the same.
        let _ = self.reply.send(answer);
    }
}

impl Writer {
    /// Starts the thread on a connection that was opened for it.
    pub(crate) fn start(
        connection: Connection,
        options: &StoreOptions,
        counters: Arc<Counters>,
        lock: Arc<DirectoryLock>,
    ) -> Result<Self, StoreError> {
        let checkpointer = Checkpointer::start(options, &counters, Arc::clone(&lock))?;
        let path = options.database();
        let page_bytes =
            schema::page_bytes(&connection).map_err(|fault| fault.into_error(&path))?;
        let pages = |bytes: u64| (bytes / page_bytes).max(1);
        let mut connection = connection;
        let seen = Arc::clone(&counters.wal_pages);
        connection
            .wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
                seen.store(u64::try_from(pages).unwrap_or_default(), Ordering::Relaxed);
                Ok(())
            }))
            .map_err(|error| StoreError::of_sqlite(error, &path))?;
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = WriterThread {
            connection,
            receiver,
            path,
            batch_max: options.batch_max.max(1),
            idle_checkpoint: options.idle_checkpoint,
            busy_timeout: options.busy_timeout,
            checkpoint_pages: pages(options.wal_checkpoint_bytes),
            wal_pages_max: pages(options.wal_bytes_max),
            stop_at_pages: pages(options.wal_bytes_max),
            checkpointer,
            counters,
            commit_watch: options.commit_watch.clone(),
            _lock: lock,
        };
        let handle = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread.serve())
            .map_err(|source| StoreError::Directory {
                doing: "start the writer thread of",
                path: options.directory.clone(),
                source,
            })?;
        Ok(Writer {
            sender,
            places: Arc::new(Semaphore::new(options.queue_max.max(1))),
            queue_max: options.queue_max.max(1),
            thread: Mutex::new(Some(handle)),
        })
    }

    /// Runs `work` inside a transaction. Once this returns `Ok`, what it changed is committed as durably as
    /// [`StoreOptions::synchronous`] says; on any error it changed nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for a place in the queue, nothing happens; dropped later, the work is done all the same.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
        T: Send + 'static,
    {
        let place =
            Arc::clone(&self.places).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let request = Work { work: Some(work), outcome: None, reply, _place: place };
        self.sender.send(Message::Request(Box::new(request))).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Returns how many requests wait or are being written.
    pub(crate) fn queued(&self) -> u64 {
        u64::try_from(self.queue_max.saturating_sub(self.places.available_permits()))
            .unwrap_or_default()
    }

    /// Takes no more requests, finishes those that are queued, empties the write-ahead log and ends the thread.
    /// Blocks until it has ended.
    pub(crate) fn close(&self) {
        self.places.close();
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // An error means that the thread has ended already.
            let _ = self.sender.send(Message::Close);
            if thread.join().is_err() {
                error!("the writer thread of the store panicked");
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

struct WriterThread {
    connection: Connection,
    receiver: Receiver<Message>,
    path: PathBuf,
    batch_max: usize,
    idle_checkpoint: Duration,
    busy_timeout: Duration,
    checkpoint_pages: u64,
    wal_pages_max: u64,
    /// Pages at which the writer stops for a checkpoint: `wal_pages_max`, or more while a long read goes on.
    stop_at_pages: u64,
    checkpointer: Checkpointer,
    counters: Arc<Counters>,
    commit_watch: Option<CommitWatch>,
    /// Held until the connection is closed.
    _lock: Arc<DirectoryLock>,
}

impl WriterThread {
    fn serve(mut self) {
        let mut batch: Vec<Box<dyn Request>> = Vec::with_capacity(self.batch_max);
        let mut open = true;
        while open {
            match self.wait() {
                Some(Message::Request(request)) => batch.push(request),
                Some(Message::Close) | None => open = false,
            }
            // After `Close` this takes everything that is still queued.
            loop {
                while batch.len() < self.batch_max {
                    match self.receiver.try_recv() {
                        Ok(Message::Request(request)) => batch.push(request),
                        Ok(Message::Close) => open = false,
                        Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                    }
                }
                if batch.is_empty() {
                    break;
                }
                self.write(&mut batch);
                self.bound_the_log();
                if open {
                    break;
                }
            }
        }
        self.checkpointer.end();
        self.settle(CheckpointMode::TRUNCATE);
    }

    /// Waits for the next message; moves the write-ahead log into the file when none has come for a while.
    fn wait(&mut self) -> Option<Message> {
        let mut tries = 0;
        while read(&self.counters.wal_pages) > 0 && tries < SETTLE_TRIES {
            match self.receiver.recv_timeout(self.idle_checkpoint) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    self.settle(CheckpointMode::PASSIVE);
                    tries += 1;
                }
            }
        }
        self.receiver.recv().ok()
    }

    /// Writes a batch and answers every request in it.
    fn write(&mut self, batch: &mut Vec<Box<dyn Request>>) {
        while !batch.is_empty() {
            let began = Instant::now();
            let ran = self.transact(batch);
            if ran.stayed > 0 {
                self.counters.committed(ran.requests as u64, began.elapsed());
            }
            if let Some(error) = &ran.lost {
                warn!(%error, requests = ran.requests, "a transaction was lost");
                add(&self.counters.failed, ran.requests as u64);
            }
            for request in batch.drain(..ran.requests) {
                request.answer(ran.lost.as_ref(), &self.path);
            }
        }
    }

    /// Runs requests in one transaction, from the first of the batch on.
    ///
    /// It ends early when SQLite rolls the whole transaction back by itself (a full disk, a failed read): the
    /// requests behind that one then get a transaction of their own.
    fn transact(&self, batch: &mut [Box<dyn Request>]) -> Ran {
        if let Err(error) = self.statement("BEGIN IMMEDIATE") {
            return Ran { requests: batch.len(), stayed: 0, lost: Some(error) };
        }
        // One request needs no savepoint: its failure rolls the transaction back.
        let alone = batch.len() == 1;
        let mut stayed = 0;
        for (index, request) in batch.iter_mut().enumerate() {
            if let Err(error) = self.savepoint(alone, "SAVEPOINT request") {
                return self.lost(index + 1, error);
            }
            let ended = if request.run(&self.connection) {
                stayed += 1;
                self.savepoint(alone, "RELEASE request")
            } else if self.connection.is_autocommit() {
                return self.lost(index + 1, request.failure());
            } else {
                add(&self.counters.failed, 1);
                self.savepoint(alone, "ROLLBACK TO request")
                    .and_then(|()| self.savepoint(alone, "RELEASE request"))
            };
            if let Err(error) = ended {
                return self.lost(index + 1, error);
            }
        }
        let end = if stayed == 0 { "ROLLBACK" } else { "COMMIT" };
        let watch = self.commit_watch.as_ref().filter(|_| stayed > 0);
        if let Some(watch) = watch {
            watch.tell(CommitMoment::Before);
        }
        let ended = self.statement(end);
        if let (Some(watch), Ok(())) = (watch, &ended) {
            watch.tell(CommitMoment::After);
        }
        match ended {
            Ok(()) => Ran { requests: batch.len(), stayed, lost: None },
            Err(error) => self.lost(batch.len(), error),
        }
    }

    fn lost(&self, requests: usize, error: rusqlite::Error) -> Ran {
        if !self.connection.is_autocommit()
            && let Err(error) = self.statement("ROLLBACK")
        {
            error!(%error, "failed to roll a transaction back");
        }
        Ran { requests, stayed: 0, lost: Some(error) }
    }

    fn savepoint(&self, alone: bool, sql: &str) -> Result<(), rusqlite::Error> {
        if alone { Ok(()) } else { self.statement(sql) }
    }

    fn statement(&self, sql: &str) -> Result<(), rusqlite::Error> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Wakes the checkpoint thread when the write-ahead log has grown, and stops for a checkpoint when it has grown
    /// too far.
    fn bound_the_log(&mut self) {
        let pages = read(&self.counters.wal_pages);
        if pages < self.checkpoint_pages {
            self.stop_at_pages = self.wal_pages_max;
        } else if pages < self.stop_at_pages {
            self.checkpointer.wake();
        } else if let Err(error) = self.checkpoint(CheckpointMode::RESTART, RESTART_WAIT) {
            // A long read needs the log: let it grow by a part before stopping for it again.
            self.stop_at_pages = pages.saturating_add(self.wal_pages_max / 4 + 1);
            warn!(%error, pages, "a long read keeps the write-ahead log from starting anew");
        }
    }

    /// Moves everything from the write-ahead log into the file, unless a reader still needs it.
    fn settle(&mut self, mode: CheckpointMode) {
        match self.checkpoint(mode, Duration::ZERO) {
            Ok(true) => self.counters.wal_pages.store(0, Ordering::Relaxed),
            Ok(false) => debug!("a read keeps a part of the write-ahead log"),
            Err(error) => debug!(%error, "the write-ahead log cannot be moved yet"),
        }
    }

    /// Returns whether everything was moved.
    fn checkpoint(&self, mode: CheckpointMode, wait: Duration) -> Result<bool, rusqlite::Error> {
        self.connection.busy_timeout(wait)?;
        let done = self.connection.wal_checkpoint_v2(Some(MAIN_DB), mode);
        self.connection.busy_timeout(self.busy_timeout)?;
        let (pages, moved) = done?;
        add(&self.counters.checkpoints, 1);
        Ok(pages == moved)
    }
}

#[cfg(test)]
mod tests;
