//! Unfinished executions go on when the engine is opened.

use caelum_core::workflow::Execution;
use tracing::{error, info};

use crate::engine::Engine;
use crate::error::EngineError;

impl Engine {
    /// Lets the unfinished executions go on. All of them are read before the first one does: what one does may reach
    /// others (a parent its child), which must not have moved on behind the back of what was read.
    ///
    /// # Errors
    ///
    /// The store cannot be read. One execution that cannot be read stands still, and the others go on.
    pub(crate) async fn resume(&self) -> Result<(), EngineError> {
        let store = &self.0.store;
        let mut unfinished: Vec<Execution> = Vec::new();
        let mut behind = None;
        loop {
            let some = store.unfinished(behind).await.map_err(EngineError::Store)?;
            unfinished.extend(some.executions);
            for (id, why) in some.unreadable {
                error!(execution = %id, error = %why, "cannot be read and stands still");
                self.0.supervisor.mark_stuck(&id, why);
            }
            behind = some.next;
            if behind.is_none() {
                break;
            }
        }
        if !unfinished.is_empty() {
            info!(executions = unfinished.len(), "unfinished executions go on");
        }
        self.own_all(unfinished);
        Ok(())
    }
}
