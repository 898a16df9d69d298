//! Idempotency keys: same key and same request, same answer; stored in the transaction of what the request made.

use caelum_core::clock::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use crate::body::{json, parse};
use crate::error::Fault;
use crate::{KeyUse, Store, StoreError};

pub(crate) const SELECT_KEY: &str =
    "SELECT request_digest, answer, at FROM idempotency WHERE scope = ?1 AND key = ?2";
const INSERT_KEY: &str =
    "INSERT INTO idempotency (scope, key, request_digest, answer, at) VALUES (?1, ?2, ?3, ?4, ?5)";

// Walks all keys of a scope: asked only for what a crash left, never while requests are served.
const FORGET_ANSWER: &str = "DELETE FROM idempotency WHERE scope = ?1 AND answer = ?2";

/// A key to remember together with what is made under it.
#[derive(Debug, Clone, PartialEq)]
pub struct IdempotencyEntry {
    /// What the key is for, such as `execute_workflow`: the same key may be used once in each scope.
    pub scope: String,
    /// The key, chosen by the caller.
    pub key: String,
    /// Digest of the request, so that another request under the same key is noticed.
    pub request_digest: String,
    /// What the request is answered; returned when it comes again.
    pub answer: Value,
    /// When it came; old keys are forgotten by retention.
    pub at: Timestamp,
}

impl Store {
    /// Returns what an idempotency key was used for; nothing when it is fresh.
    ///
    /// A key that is fresh here may be used by somebody else before it is stored: whatever creates something under it
    /// then fails with [`StoreError::KeyUsed`], and has made nothing.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn begin_idempotent(
        &self,
        scope: &str,
        key: &str,
        request_digest: &str,
    ) -> Result<Option<KeyUse>, StoreError> {
        let (scope, key, digest) = (scope.to_owned(), key.to_owned(), request_digest.to_owned());
        self.read(move |connection| used(connection, &scope, &key, &digest)).await
    }

    /// Remembers the answer to a request that made nothing; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyUsed`] when the key was used before.
    pub async fn keep_answer(&self, entry: IdempotencyEntry) -> Result<(), StoreError> {
        self.write(move |connection| remember(connection, Some(&entry))).await
    }

    /// Forgets the keys that were answered in this way, because nothing came of what was promised: a request under one
    /// of them is a new request again. It is on disk when this returns.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn forget_answer(&self, scope: &str, answer: &Value) -> Result<(), StoreError> {
        let (scope, answer) = (scope.to_owned(), json(answer));
        self.write(move |connection| {
            connection.prepare_cached(FORGET_ANSWER)?.execute([scope, answer])?;
            Ok(())
        })
        .await
    }
}

fn used(
    connection: &Connection,
    scope: &str,
    key: &str,
    request_digest: &str,
) -> Result<Option<KeyUse>, Fault> {
    let found: Option<(String, String, i64)> = connection
        .prepare_cached(SELECT_KEY)?
        .query_row([scope, key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((digest, answer, at)) = found else { return Ok(None) };
    if digest == request_digest {
        let answer = parse(&answer, || format!("the answer to key `{key}` of {scope}"))?;
        return Ok(Some(KeyUse::Same { answer }));
    }
    Ok(Some(KeyUse::Different { request_digest: digest, at: Timestamp::from_micros(at) }))
}

/// Stores a key inside the transaction of what is made under it; fails when it was used.
pub(crate) fn remember(
    connection: &Connection,
    entry: Option<&IdempotencyEntry>,
) -> Result<(), Fault> {
    let Some(entry) = entry else { return Ok(()) };
    if let Some(used) = used(connection, &entry.scope, &entry.key, &entry.request_digest)? {
        let (scope, key) = (entry.scope.clone(), entry.key.clone());
        return Err(Fault::Store(StoreError::KeyUsed { scope, key, used }));
    }
    connection.prepare_cached(INSERT_KEY)?.execute((
        &entry.scope,
        &entry.key,
        &entry.request_digest,
        json(&entry.answer),
        entry.at.as_micros(),
    ))?;
    Ok(())
}
