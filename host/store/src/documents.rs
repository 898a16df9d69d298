//! Definitions as documents: stored once under their SHA-256, parsed once while they are in use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use caelum_core::id::Digest;
use caelum_core::workflow::{Graph, WorkflowDefinition};
use rusqlite::{Connection, OptionalExtension};

use crate::body::{json, parse, sha256};
use crate::error::Fault;

pub(crate) const SELECT_DOCUMENT: &str = "SELECT digest, body FROM document WHERE key = ?1";
pub(crate) const SELECT_DOCUMENT_KEY: &str = "SELECT key FROM document WHERE digest = ?1";
pub(crate) const SELECT_DOCUMENT_EXISTS: &str = "SELECT 1 FROM document WHERE key = ?1";
const INSERT_DOCUMENT: &str = "INSERT INTO document (digest, body) VALUES (?1, ?2)";

/// A stored definition, with the graph of its steps.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDefinition {
    /// The definition.
    pub definition: Arc<WorkflowDefinition>,
    /// Its graph.
    pub graph: Arc<Graph>,
    /// SHA-256 of its document.
    pub digest: Digest,
}

/// A definition as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) digest: [u8; 32],
    pub(crate) body: String,
}

impl Document {
    pub(crate) fn of(definition: &WorkflowDefinition) -> Self {
        let body = json(definition);
        Document { digest: sha256(body.as_bytes()), body }
    }

    /// Writes the document unless it is there, and returns its key.
    pub(crate) fn insert(&self, connection: &Connection) -> Result<i64, Fault> {
        let found: Option<i64> = connection
            .prepare_cached(SELECT_DOCUMENT_KEY)?
            .query_row([self.digest.as_slice()], |row| row.get(0))
            .optional()?;
        if let Some(key) = found {
            return Ok(key);
        }
        connection
            .prepare_cached(INSERT_DOCUMENT)?
            .execute((self.digest.as_slice(), &self.body))?;
        Ok(connection.last_insert_rowid())
    }
}

/// Parsed documents, the least recently used of them forgotten when they grow too large together.
#[derive(Debug)]
pub(crate) struct Documents {
    bytes_max: usize,
    /// Locked for a look-up or an insertion, never while a document is parsed.
    cached: Mutex<Cached>,
}

#[derive(Debug, Default)]
struct Cached {
    by_key: HashMap<i64, Entry>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    document: StoredDefinition,
    bytes: usize,
    used: u64,
}

impl Documents {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Documents { bytes_max, cached: Mutex::default() }
    }

    /// Returns the document under `key`, parsed.
    pub(crate) fn load(
        &self,
        connection: &Connection,
        key: i64,
    ) -> Result<StoredDefinition, Fault> {
        if let Some(document) = self.cached(key) {
            return Ok(document);
        }
        let (digest, body): (Vec<u8>, String) = connection
            .prepare_cached(SELECT_DOCUMENT)?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
            .ok_or_else(|| Fault::Unreadable(format!("document {key} is missing")))?;
        let digest = digest_of(&digest)?;
        let definition: WorkflowDefinition =
            parse(&body, || format!("document {}", digest.short()))?;
        let graph = Arc::new(Graph::of(&definition.steps));
        let document = StoredDefinition { definition: Arc::new(definition), graph, digest };
        self.keep(key, document.clone(), body.len());
        Ok(document)
    }

    /// Returns the key of a definition that was loaded from here or kept here, without reading it again.
    pub(crate) fn key_of(&self, definition: &Arc<WorkflowDefinition>) -> Option<i64> {
        let mut cached = self.lock();
        let key = cached
            .by_key
            .iter()
            .find(|(_, entry)| Arc::ptr_eq(&entry.document.definition, definition))
            .map(|(key, _)| *key)?;
        cached.touch(key);
        Some(key)
    }

    /// Keeps a document that was just written.
    pub(crate) fn keep(&self, key: i64, document: StoredDefinition, bytes: usize) {
        if bytes > self.bytes_max {
            return;
        }
        let mut cached = self.lock();
        cached.uses += 1;
        let used = cached.uses;
        cached.bytes += bytes;
        if let Some(old) = cached.by_key.insert(key, Entry { document, bytes, used }) {
            cached.bytes -= old.bytes;
        }
        while cached.bytes > self.bytes_max {
            let Some(oldest) =
                cached.by_key.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key)
            else {
                break;
            };
            if let Some(entry) = cached.by_key.remove(&oldest) {
                cached.bytes -= entry.bytes;
            }
        }
    }

    fn cached(&self, key: i64) -> Option<StoredDefinition> {
        let mut cached = self.lock();
        cached.touch(key);
        cached.by_key.get(&key).map(|entry| entry.document.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cached> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cached {
    fn touch(&mut self, key: i64) {
        self.uses += 1;
        let used = self.uses;
        if let Some(entry) = self.by_key.get_mut(&key) {
            entry.used = used;
        }
    }
}

/// Reads a digest from the bytes of a column.
pub(crate) fn digest_of(bytes: &[u8]) -> Result<Digest, Fault> {
    <&[u8; 32]>::try_from(bytes)
        .map(Digest::from_bytes)
        .map_err(|_| Fault::Unreadable(format!("a digest of {} bytes; expected 32", bytes.len())))
}
