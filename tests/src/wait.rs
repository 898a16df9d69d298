//! Waiting for a state, with a limit. Nothing here sleeps for a length of time that a test relies on.

use std::time::{Duration, Instant};

/// How long a test waits for what must happen: far above what it takes, even on two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long to rest between two looks at a state that tells nobody when it changes.
const REST: Duration = Duration::from_millis(10);

/// Waits for what must happen.
///
/// # Panics
///
/// When it has not happened within [`PATIENCE`].
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// Looks again and again until there is something to see.
///
/// # Panics
///
/// When there is nothing within [`PATIENCE`].
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(REST).await;
    }
}
