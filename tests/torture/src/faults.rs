//! Broken promises, collected: a run says all of them at its end.

use std::sync::{Mutex, PoisonError};

/// Faults that are written out; of more only the count is said.
const SHOWN_MAX: usize = 50;

/// The faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<String>>);

impl Faults {
    pub(crate) fn add(&self, fault: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fault.into());
    }

    /// Adds a fault unless something holds.
    pub(crate) fn unless(&self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.add(fault());
        }
    }

    /// Returns the faults as text, or nothing when there are none.
    pub(crate) fn text(&self) -> Option<String> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.is_empty() {
            return None;
        }
        let mut text = format!("{} broken promises", faults.len());
        for fault in faults.iter().take(SHOWN_MAX) {
            text.push_str("\n- ");
            text.push_str(fault);
        }
        Some(text)
    }
}
