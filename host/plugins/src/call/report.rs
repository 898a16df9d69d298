//! What comes back from a call: the answer or why there is none, of which plugin, and what it took.

use std::fmt;
use std::time::Duration;

use caelum_core::id::{Digest, PluginName};
use caelum_core::plugin::{PluginFailure, PluginKind};

use crate::log::Logs;

/// What one call took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallReport {
    /// The number of the call; unique in this process, and in every log line about it.
    pub call: u64,
    /// How long it waited for its turn.
    pub queued: Duration,
    /// How long the instance took to make.
    pub instantiated: Duration,
    /// How long the plugin ran.
    pub duration: Duration,
    /// What was left of its time.
    pub deadline_left: Duration,
    /// The most that its memories had together.
    pub peak_memory_bytes: u64,
    /// How often it called the host.
    pub host_calls: u64,
    /// What it read of the tree.
    pub bytes_read: u64,
    /// How many directory entries it looked at.
    pub entries_read: u64,
    /// How often it asked for what is withheld.
    pub reads_denied: u64,
    /// Whether it ran on the thread of its caller, as calls of quick plugins do.
    pub inline: bool,
    /// What it said.
    pub logs: Logs,
}

impl CallReport {
    pub(super) fn new(call: u64) -> Self {
        CallReport {
            call,
            queued: Duration::ZERO,
            instantiated: Duration::ZERO,
            duration: Duration::ZERO,
            deadline_left: Duration::ZERO,
            peak_memory_bytes: 0,
            host_calls: 0,
            bytes_read: 0,
            entries_read: 0,
            reads_denied: 0,
            inline: false,
            logs: Logs::default(),
        }
    }
}

/// A call that gave no answer, and of which plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// What it is.
    pub kind: PluginKind,
    /// Its name.
    pub plugin: PluginName,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub digest: Digest,
    /// Why.
    pub failure: PluginFailure,
}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} `{}` {}: {}", self.kind, self.plugin, self.version, self.failure)
    }
}

impl std::error::Error for CallError {}

/// A call that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Called<T> {
    /// The answer, or why there is none.
    pub outcome: Result<T, CallError>,
    /// What it took.
    pub report: CallReport,
}
