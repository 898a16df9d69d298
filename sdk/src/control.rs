//! Keeps a long call in touch with its caller. Calls of a second or less need none of it.

use crate::host;

/// Answers whether the caller has given up. Then return soon, with anything: it will be thrown away.
#[must_use]
pub fn is_cancelled() -> bool {
    host::is_cancelled()
}

/// Says how far the work is: `done` of `total`, where the total is known. `done` never falls during a call.
pub fn progress(done: u32, total: Option<u32>, message: impl AsRef<str>) {
    host::progress(done, total, message.as_ref());
}
