//! The system's clock behind the core's trait.

use std::time::{SystemTime, UNIX_EPOCH};

use caelum_core::clock::{Clock, Timestamp};

/// Tells the time of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.plus(since)
    }
}
