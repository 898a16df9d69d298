//! Small values by name, for what the server has to remember between two runs.

use rusqlite::OptionalExtension;
use serde_json::Value;

use crate::body::{json, parse};
use crate::{Store, StoreError};

pub(crate) const SELECT_SETTING: &str = "SELECT value FROM setting WHERE key = ?1";
const UPSERT_SETTING: &str = "
    INSERT INTO setting (key, value) VALUES (?1, ?2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";

impl Store {
    /// Returns a setting; nothing when it was never set.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn setting(&self, key: &str) -> Result<Option<Value>, StoreError> {
        let key = key.to_owned();
        self.read(move |connection| {
            let value: Option<String> = connection
                .prepare_cached(SELECT_SETTING)?
                .query_row([&key], |row| row.get(0))
                .optional()?;
            value.map(|value| parse(&value, || format!("setting `{key}`"))).transpose()
        })
        .await
    }

    /// Sets a setting; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// Only failures of the store itself.
    pub async fn set_setting(&self, key: &str, value: &Value) -> Result<(), StoreError> {
        let (key, value) = (key.to_owned(), json(value));
        self.write(move |connection| {
            connection.prepare_cached(UPSERT_SETTING)?.execute((key, value))?;
            Ok(())
        })
        .await
    }
}
