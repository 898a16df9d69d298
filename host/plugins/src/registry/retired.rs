//! Plugins that do not serve any more, for executions that began with them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use caelum_core::id::Digest;

use crate::plugin::Plugin;

/// How many are held; older ones are loaded again from the cache when somebody asks for them.
const HELD_MAX: usize = 64;

/// The last plugins that were replaced or taken away. The keeper adds, every caller looks.
#[derive(Debug, Default)]
pub(super) struct Retired(Mutex<VecDeque<Arc<Plugin>>>);

impl Retired {
    pub(super) fn keep(&self, plugins: Vec<Arc<Plugin>>) {
        if plugins.is_empty() {
            return;
        }
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for plugin in plugins {
            if held.iter().any(|other| other.digest() == plugin.digest()) {
                continue;
            }
            if held.len() == HELD_MAX {
                held.pop_front();
            }
            held.push_back(plugin);
        }
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Arc<Plugin>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().find(|plugin| plugin.digest() == digest).cloned()
    }
}
