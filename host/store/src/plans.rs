//! Plans that were shown and may be applied once, by their id.

use caelum_core::clock::Timestamp;
use caelum_core::id::PlanId;
use rusqlite::Connection;
use serde_json::Value;

use crate::body::{Body, json, read};
use crate::error::Fault;
use crate::{Store, StoreError};

pub(crate) const SELECT_PLAN: &str =
    "SELECT created_at, used_at, body, blob FROM plan WHERE id = ?1";
pub(crate) const TAKE_PLAN: &str = "UPDATE plan SET used_at = ?2 WHERE id = ?1 AND used_at IS NULL";
pub(crate) const RELEASE_PLAN: &str = "UPDATE plan SET used_at = NULL WHERE id = ?1";
const INSERT_PLAN: &str = "
    INSERT INTO plan (id, created_at, body, blob) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (id) DO NOTHING";

/// A plan as it was shown.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanRecord {
    /// Its name.
    pub id: PlanId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was taken to be applied.
    pub used_at: Option<Timestamp>,
    /// Everything that applying it needs; the store does not look into it.
    pub body: Value,
}

impl Store {
    /// Keeps a plan until it is taken or retention forgets it; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::AlreadyExists`] when there is one of that name; [`StoreError::TooLarge`] when it is.
    pub async fn save_plan(
        &self,
        id: &PlanId,
        body: &Value,
        created_at: Timestamp,
    ) -> Result<(), StoreError> {
        let id = id.clone();
        let body = Body::new(json(body), self.limits(), || format!("plan `{id}`"))?;
        self.write(move |connection| {
            let (body, blob) = body.columns(connection)?;
            let inserted = connection.prepare_cached(INSERT_PLAN)?.execute((
                id.as_str(),
                created_at.as_micros(),
                body,
                blob,
            ))?;
            if inserted == 0 {
                let id = id.to_string();
                return Err(Fault::Store(StoreError::AlreadyExists { kind: "plan", id }));
            }
            Ok(())
        })
        .await
    }

    /// Returns a plan without taking it; nothing when there is none of that name.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn plan(&self, id: &PlanId) -> Result<Option<PlanRecord>, StoreError> {
        let id = id.clone();
        self.read(move |connection| load(connection, &id)).await
    }

    /// Gives a plan back that was taken and not applied: it may be taken again. A plan that is not there, or was not
    /// taken, is left as it is. On disk when this returns.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn release_plan(&self, id: &PlanId) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(move |connection| {
            connection.prepare_cached(RELEASE_PLAN)?.execute([id.as_str()])?;
            Ok(())
        })
        .await
    }
}

/// Takes a plan inside the transaction of what it is taken for; whoever comes second is refused.
pub(crate) fn take(
    connection: &Connection,
    id: &PlanId,
    at: Timestamp,
) -> Result<PlanRecord, Fault> {
    let taken = connection.prepare_cached(TAKE_PLAN)?.execute((id.as_str(), at.as_micros()))?;
    let plan = load(connection, id)?
        .ok_or_else(|| Fault::Store(StoreError::NotFound { kind: "plan", id: id.to_string() }))?;
    match plan.used_at {
        Some(used_at) if taken == 0 => {
            Err(Fault::Store(StoreError::PlanUsed { id: id.to_string(), used_at }))
        }
        _ => Ok(plan),
    }
}

fn load(connection: &Connection, id: &PlanId) -> Result<Option<PlanRecord>, Fault> {
    let mut statement = connection.prepare_cached(SELECT_PLAN)?;
    let mut rows = statement.query([id.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(PlanRecord {
        id: id.clone(),
        created_at: Timestamp::from_micros(row.get(0)?),
        used_at: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_micros),
        body: read(connection, row, (2, 3), || format!("plan `{id}`"))?,
    }))
}
