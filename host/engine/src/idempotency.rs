//! Same key and same request, same answer: what callers that retry after a timeout rely on.

use std::fmt::Debug;

use caelum_core::clock::Timestamp;
use caelum_core::id::Digest;
use caelum_store::{IdempotencyEntry, KeyUse, StoreError};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::engine::Engine;
use crate::error::{EngineError, Mistake};

/// The longest key, in bytes: long enough for any id, short enough for an index.
const KEY_BYTES_MAX: usize = 256;

/// A request under a key.
#[derive(Debug, Clone)]
pub(crate) struct Keyed {
    scope: &'static str,
    key: String,
    digest: String,
}

impl Keyed {
    /// Takes the key of a request, where it has one. `request` is the request without the key.
    ///
    /// # Errors
    ///
    /// A key that is empty or too long.
    pub(crate) fn of(
        scope: &'static str,
        key: Option<String>,
        request: &impl Debug,
    ) -> Result<Option<Self>, EngineError> {
        let Some(key) = key else { return Ok(None) };
        if key.trim().is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(Mistake::new(
                "idempotency_key",
                format!("`idempotency_key` has {} bytes; expected 1 to {KEY_BYTES_MAX}", key.len()),
            )
            .into());
        }
        // The debug form names every field; a request that differs anywhere has another digest.
        let digest = Sha256::digest(format!("{request:?}").as_bytes());
        Ok(Some(Keyed { scope, key, digest: Digest::from_bytes(&digest.into()).to_string() }))
    }

    /// Builds what is stored together with what the request makes.
    pub(crate) fn entry(&self, answer: Value, at: Timestamp) -> IdempotencyEntry {
        IdempotencyEntry {
            scope: self.scope.to_owned(),
            key: self.key.clone(),
            request_digest: self.digest.clone(),
            answer,
            at,
        }
    }
}

impl Engine {
    /// Returns what the same request was answered before; nothing when it is new.
    ///
    /// # Errors
    ///
    /// The key was used for another request.
    pub(crate) async fn answered(
        &self,
        keyed: Option<&Keyed>,
    ) -> Result<Option<Value>, EngineError> {
        let Some(keyed) = keyed else { return Ok(None) };
        let used = self
            .0
            .store
            .begin_idempotent(keyed.scope, &keyed.key, &keyed.digest)
            .await
            .map_err(crate::executions::stored)?;
        used.map(|used| answer(keyed, used)).transpose()
    }

    /// Turns the loss of a race for a key into the winner's answer.
    pub(crate) fn raced(
        &self,
        keyed: Option<&Keyed>,
        error: StoreError,
    ) -> Result<Value, EngineError> {
        match (keyed, error) {
            (Some(keyed), StoreError::KeyUsed { used, .. }) => answer(keyed, used),
            (_, other) => Err(crate::executions::stored(other)),
        }
    }
}

fn answer(keyed: &Keyed, used: KeyUse) -> Result<Value, EngineError> {
    match used {
        KeyUse::Same { answer } => Ok(answer),
        KeyUse::Different { at, .. } => Err(Mistake::new(
            "idempotency_key",
            format!("`{}` was used for another request to {} at {at}", keyed.key, keyed.scope),
        )
        .hint("use a new key for a new request, and the same key only to repeat one")
        .into()),
    }
}
