//! Values as JSON: in the row when they are small, under their SHA-256 in the table `blob` when they are large.

use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as WordError, StrDeserializer};
use sha2::{Digest as _, Sha256};

use crate::error::Fault;
use crate::{StoreError, StoreOptions};

pub(crate) const INSERT_BLOB: &str =
    "INSERT INTO blob (digest, bytes) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING";
pub(crate) const SELECT_BLOB: &str = "SELECT bytes FROM blob WHERE digest = ?1";

/// The sizes that decide where a value lives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) blob_bytes_min: usize,
    pub(crate) bytes_max: usize,
}

impl BodyLimits {
    pub(crate) fn of(options: &StoreOptions) -> Self {
        BodyLimits { blob_bytes_min: options.blob_bytes_min, bytes_max: options.body_bytes_max }
    }
}

/// A value ready to be written.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    text: String,
    /// Set when the text goes into the table `blob`.
    digest: Option<[u8; 32]>,
}

impl Body {
    /// Decides where a value lives; hashes it when it is large. `what` names it when it is too large.
    pub(crate) fn new(
        text: String,
        limits: BodyLimits,
        what: impl FnOnce() -> String,
    ) -> Result<Self, StoreError> {
        if text.len() > limits.bytes_max {
            return Err(StoreError::TooLarge {
                what: what(),
                bytes: text.len() as u64,
                max: limits.bytes_max as u64,
            });
        }
        let digest = (text.len() >= limits.blob_bytes_min).then(|| sha256(text.as_bytes()));
        Ok(Body { text, digest })
    }

    /// Writes the blob when there is one, and returns what the row's two columns hold.
    pub(crate) fn columns(
        &self,
        connection: &Connection,
    ) -> Result<(Option<&str>, Option<&[u8]>), Fault> {
        match &self.digest {
            None => Ok((Some(&self.text), None)),
            Some(digest) => {
                connection
                    .prepare_cached(INSERT_BLOB)?
                    .execute((digest.as_slice(), self.text.as_bytes()))?;
                Ok((None, Some(digest)))
            }
        }
    }
}

/// Returns the SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Writes a value as JSON.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("stored types have string keys and no fallible parts")
}

/// Reads a value from the two columns `body` and `blob` of a row. `what` names the row when it cannot be read.
pub(crate) fn read<T: DeserializeOwned>(
    connection: &Connection,
    row: &Row<'_>,
    (body, blob): (usize, usize),
    what: impl Fn() -> String,
) -> Result<T, Fault> {
    let inline = row.get_ref(body)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    if let Some(text) = inline {
        return parse(text, what);
    }
    let digest: Vec<u8> = row.get(blob)?;
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached(SELECT_BLOB)?
        .query_row([&digest], |row| row.get(0))
        .optional()?;
    let bytes =
        bytes.ok_or_else(|| Fault::Unreadable(format!("the blob of {} is missing", what())))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Fault::Unreadable(format!("{} cannot be read: {error}", what())))
}

/// Reads a value from JSON text.
pub(crate) fn parse<T: DeserializeOwned>(
    text: &str,
    what: impl Fn() -> String,
) -> Result<T, Fault> {
    serde_json::from_str(text)
        .map_err(|error| Fault::Unreadable(format!("{} cannot be read: {error}", what())))
}

/// Reads one of the words that a stored enum goes by.
pub(crate) fn word<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, Fault> {
    T::deserialize(StrDeserializer::<WordError>::new(text))
        .map_err(|error| Fault::Unreadable(format!("{what} `{text}` cannot be read: {error}")))
}

/// Reads a name or identifier.
pub(crate) fn name<T: std::str::FromStr>(text: &str, what: &'static str) -> Result<T, Fault>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error| Fault::Unreadable(format!("{what} `{text}` cannot be read: {error}")))
}

/// Reads a count that a column holds as an integer; a negative one reads as zero.
pub(crate) fn count(row: &Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or_default())
}

/// Turns a count or an index into the integer that a column holds.
pub(crate) fn integer(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
