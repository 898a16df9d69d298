//! Keeps writers of one component apart, in this process and in others.
//!
//! The component's directory itself is locked (`flock`), so that servers with different data directories meet, too, and
//! nothing is left behind. The directories above it, up to the root, are locked in the shared way: whoever writes to one
//! of those as a component of its own waits as well.

use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::ComponentsError;
use crate::folder::Folder;
use crate::resolve::Component;

/// How long a writer waits for another one: much longer than writing takes, short enough for a caller who waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Held while a component is written. Dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct WriteLock {
    _folders: Vec<Folder>,
}

/// Waits until nobody else writes to the component. Locks from the root downwards, so that two writers never wait for
/// each other.
pub(crate) fn exclusive(component: &Component) -> Result<WriteLock, ComponentsError> {
    exclusive_within(component, PATIENCE)
}

pub(crate) fn exclusive_within(
    component: &Component,
    patience: Duration,
) -> Result<WriteLock, ComponentsError> {
    let start = Instant::now();
    let mut held = Vec::new();
    let mut above = component.root().to_owned();
    let below = component.path().strip_prefix(component.root()).unwrap_or(component.path());
    for part in below.components() {
        // A directory that cannot be read cannot be locked, and is no component for anybody either.
        if let Ok(folder) = Folder::ambient(&above) {
            wait(&folder, FlockOperation::NonBlockingLockShared, component, start, patience)?;
            held.push(folder);
        }
        above.push(part);
    }
    // Opened anew: a lock belongs to one opening, and clones of a component share theirs.
    let own = Folder::reopen(component.folder()).map_err(|source| io(component, source))?;
    wait(&own, FlockOperation::NonBlockingLockExclusive, component, start, patience)?;
    held.push(own);
    Ok(WriteLock { _folders: held })
}

fn wait(
    folder: &Folder,
    operation: FlockOperation,
    component: &Component,
    start: Instant,
    patience: Duration,
) -> Result<(), ComponentsError> {
    loop {
        match rustix::fs::flock(folder, operation) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) if start.elapsed() < patience => {
                std::thread::sleep(LOOK_EVERY);
            }
            Err(Errno::WOULDBLOCK) => {
                return Err(ComponentsError::Busy {
                    component: component.path().to_owned(),
                    waited: start.elapsed(),
                });
            }
            Err(error) => return Err(io(component, error.into())),
        }
    }
}

fn io(component: &Component, source: std::io::Error) -> ComponentsError {
    ComponentsError::Io { action: "lock", path: component.path().display().to_string(), source }
}
