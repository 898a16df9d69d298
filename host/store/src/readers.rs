//! The connections that only read: a few, opened when they are first needed, each used by one caller at a time on a
//! thread where blocking is allowed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::error::Fault;
use crate::lock::DirectoryLock;
use crate::stats::{Counters, add};
use crate::{StoreError, StoreOptions, schema};

/// A pool of read-only connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: StoreOptions,
    /// As many places as there may be connections.
    places: Arc<Semaphore>,
    /// Locked for a push or a pop.
    free: Mutex<Free>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Free {
    /// Connections that nobody uses now.
    connections: Vec<Connection>,
    /// Held until the connections are closed.
    lock: Option<Arc<DirectoryLock>>,
}

impl Readers {
    pub(crate) fn new(
        options: &StoreOptions,
        counters: Arc<Counters>,
        lock: Arc<DirectoryLock>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(options.readers.max(1)));
        let shared = Shared {
            options: options.clone(),
            places,
            free: Mutex::new(Free { connections: Vec::new(), lock: Some(lock) }),
            counters,
        };
        Readers { shared: Arc::new(shared) }
    }

    /// Runs `read` in one read transaction: everything it sees is of one moment, and holds every commit that was
    /// acknowledged before.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for a connection, nothing happens; dropped later, the read goes on and its answer is
    /// thrown away.
    pub(crate) async fn run<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
        T: Send + 'static,
    {
        let place = Arc::clone(&self.shared.places)
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let shared = Arc::clone(&self.shared);
        let answer = tokio::task::spawn_blocking(move || {
            let answer = shared.read(read);
            drop(place);
            answer
        });
        match answer.await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => {
                Err(StoreError::Internal { what: "a read panicked".to_owned() })
            }
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// Takes no more reads, waits for those under way and closes the connections.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(self.shared.options.readers.max(1)).unwrap_or(u32::MAX);
        if let Ok(places) = self.shared.places.acquire_many(all).await {
            self.shared.places.close();
            drop(places);
        }
        let mut free = self.shared.free();
        free.connections.clear();
        free.lock = None;
    }
}

impl Shared {
    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, StoreError> {
        let free = self.free().connections.pop();
        let path = self.options.database();
        let connection = match free {
            Some(connection) => connection,
            None => schema::open_reader(&self.options, &self.counters.statements)
                .map_err(|fault| fault.into_error(&path))?,
        };
        add(&self.counters.reads, 1);
        let answer = connection
            .unchecked_transaction()
            .map_err(Fault::from)
            .and_then(|transaction| {
                let answer = read(&transaction)?;
                transaction.commit()?;
                Ok(answer)
            })
            .map_err(|fault| fault.into_error(&path));
        self.free().connections.push(connection);
        answer
    }
}
