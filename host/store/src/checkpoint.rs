//! The thread that moves pages from the write-ahead log into the database file while the writer goes on. It sleeps
//! until the writer wakes it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread::JoinHandle;

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, MAIN_DB};
use tracing::{debug, error, warn};

use crate::lock::DirectoryLock;
use crate::stats::{Counters, add};
use crate::{StoreError, StoreOptions, schema};

/// The handle of the thread; owned by the writer thread.
pub(crate) struct Checkpointer {
    /// One place: a wake-up that waits already is enough.
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(crate) fn start(
        options: &StoreOptions,
        counters: &Arc<Counters>,
        lock: Arc<DirectoryLock>,
    ) -> Result<Self, StoreError> {
        let connection = schema::open_checkpointer(options, &counters.statements)?;
        let (wake, woken) = std::sync::mpsc::sync_channel(1);
        let counters = Arc::clone(counters);
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || serve(connection, &woken, &counters, lock))
            .map_err(|source| StoreError::Directory {
                doing: "start the checkpoint thread of",
                path: options.directory.clone(),
                source,
            })?;
        Ok(Checkpointer { wake: Some(wake), thread: Some(thread) })
    }

    /// Asks for a checkpoint; returns at once.
    pub(crate) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // Full means that a checkpoint is asked for already.
            let _ = wake.try_send(());
        }
    }

    /// Ends the thread and waits for it.
    pub(crate) fn end(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the checkpoint thread of the store panicked");
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.end();
    }
}

fn serve(
    connection: Connection,
    woken: &Receiver<()>,
    counters: &Counters,
    lock: Arc<DirectoryLock>,
) {
    while woken.recv().is_ok() {
        match connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE) {
            Ok((pages, moved)) => {
                add(&counters.checkpoints, 1);
                debug!(pages, moved, "checkpoint");
            }
            Err(error) => warn!(%error, "a checkpoint failed; it is made again later"),
        }
    }
    drop(connection);
    drop(lock);
}
