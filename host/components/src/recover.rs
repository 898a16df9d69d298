//! Undoes what a server that died left half written.

use std::path::PathBuf;

use caelum_core::causes::chain;

use crate::error::ComponentsError;
use crate::lock;
use crate::resolve::{Component, Inner};
use crate::transaction;

/// Something that was half written when the server died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The application that was being applied or reverted.
    pub application_id: String,
    /// The component; nothing when the journal cannot be read.
    pub component: Option<PathBuf>,
    /// Files that somebody else changed meanwhile, and that were left as they are.
    pub left: Vec<String>,
    /// Why it could not be undone now; it is tried again at the next start.
    pub error: Option<String>,
}

/// Undoes everything that is under way, at start.
pub(crate) fn all(inner: &Inner) -> Result<Vec<Recovered>, ComponentsError> {
    let mut recovered = Vec::new();
    for id in inner.journal.open_ids()? {
        let one = one(inner, id);
        match &one.error {
            None => {
                tracing::info!(application = one.application_id, left = ?one.left, "undid what was half written")
            }
            Some(error) => tracing::error!(
                application = one.application_id,
                error,
                "a component is half written"
            ),
        }
        recovered.push(one);
    }
    Ok(recovered)
}

/// Undoes what another server left in this component. The caller holds the write lock, so nobody is at it any more.
pub(crate) fn of_component(inner: &Inner, component: &Component) -> Result<(), ComponentsError> {
    for id in inner.journal.open_ids()? {
        let record = match inner.journal.read_open(&id) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(
                    application = id,
                    error = chain(&error),
                    "a journal cannot be read"
                );
                continue;
            }
        };
        if record.component == component.path() {
            let left = transaction::undo(&inner.journal, component.folder(), &record)?;
            tracing::warn!(application = id, ?left, "undid what another server left half written");
        }
    }
    Ok(())
}

fn one(inner: &Inner, id: String) -> Recovered {
    let record = match inner.journal.read_open(&id) {
        Ok(record) => record,
        Err(error) => {
            return Recovered {
                application_id: id,
                component: None,
                left: Vec::new(),
                error: Some(chain(&error)),
            };
        }
    };
    let undone = inner.reopen(&record.component).and_then(|component| {
        let _lock = lock::exclusive(&component)?;
        transaction::undo(&inner.journal, component.folder(), &record)
    });
    let (left, error) = match undone {
        Ok(left) => (left, None),
        Err(error) => (Vec::new(), Some(chain(&error))),
    };
    Recovered { application_id: id, component: Some(record.component), left, error }
}
