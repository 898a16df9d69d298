//! Same key and same request, same answer: what callers that retry after a timeout rely on.

use caelum_core::clock::Timestamp;
use caelum_core::id::Digest;
use caelum_store::{IdempotencyEntry, KeyUse, StoreError};
use serde::Serialize;
use serde_json::{Map, Value};
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
        request: &impl Serialize,
    ) -> Result<Option<Self>, EngineError> {
        let Some(key) = key else { return Ok(None) };
        if key.trim().is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(Mistake::new(
                "idempotency_key",
                format!("`idempotency_key` has {} bytes; expected 1 to {KEY_BYTES_MAX}", key.len()),
            )
            .into());
        }
        let request = serde_json::to_value(request).map_err(|error| {
            EngineError::internal("the request cannot be compared with others", error.to_string())
        })?;
        let digest = Sha256::digest(sorted(request).to_string().as_bytes());
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

/// Puts the members of every object in one order: a client that asks again may write them in another.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by(|(left, _), (right, _)| left.cmp(right));
            let sorted = members.into_iter().map(|(name, value)| (name, sorted(value)));
            Value::Object(sorted.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::{NewExecution, WorkflowChange};

    fn digest(request: &impl Serialize) -> String {
        let keyed = Keyed::of("test", Some("key".to_owned()), request);
        keyed.expect("a legal key").expect("a key").digest
    }

    fn with(parameters: Value) -> NewExecution {
        let Value::Object(parameters) = parameters else { panic!("an object: {parameters}") };
        NewExecution { workflow_id: "w".to_owned(), parameters, ..NewExecution::default() }
    }

    #[test]
    fn the_order_of_members_makes_no_other_request() {
        let one = with(json!({"a": {"x": 1, "y": [{"k": 1, "l": 2}]}, "b": null}));
        let same = with(json!({"b": null, "a": {"y": [{"l": 2, "k": 1}], "x": 1}}));
        assert_eq!(digest(&one), digest(&same));
    }

    #[test]
    fn every_difference_makes_another_request() {
        let requests = [
            with(json!({})),
            with(json!({"a": null})),
            with(json!({"a": false})),
            with(json!({"a": [1, 2]})),
            with(json!({"a": [2, 1]})),
            with(json!({"a": "1"})),
            NewExecution { revision: Some(1), ..with(json!({})) },
            NewExecution { by: "ann".to_owned(), ..with(json!({})) },
        ];
        let digests: std::collections::BTreeSet<String> = requests.iter().map(digest).collect();
        assert_eq!(digests.len(), requests.len());
    }

    #[test]
    fn taking_a_schema_away_is_not_leaving_it() {
        let left = WorkflowChange::default();
        let taken = WorkflowChange { parameters_schema: Some(None), ..WorkflowChange::default() };
        assert_ne!(digest(&left), digest(&taken));
    }

    #[test]
    fn a_digest_stays_what_it_is_from_version_to_version() {
        // Keys are remembered for days, over upgrades. Whoever changes this makes old keys refuse their own requests: give
        // a new field a default that is not serialised instead.
        assert_eq!(
            digest(&with(json!({"tag": "1.2"}))),
            "c1839a2ddf4d74d1a62c4122482882541679754fc0392438189f5b7b45924de7"
        );
    }
}
