//! What a restart means for an execution: a plan, made from rows alone.

use super::{EventBody, Execution};

/// What has to be recorded before an execution that was under way can go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    /// Facts to record, in order: deliveries whose outcome nobody will report.
    pub record: Vec<EventBody>,
}

/// Plans the recovery of one execution after the process that drove it ended.
///
/// Work that was handed out and has no outcome is lost: an idempotent step runs again under the same key and a new
/// epoch, any other waits for a decision. Gates that were being judged are judged again; a completed step never runs
/// again, because nothing but an event says that it completed.
pub fn recover(execution: &Execution) -> Recovery {
    let mut record = Vec::new();
    if execution.head().end.is_some() {
        return Recovery { record };
    }
    for index in execution.open_steps() {
        if execution.runs_child(index) {
            // The child was not lost: handed out again under the same key, the work finds it and waits on.
            continue;
        }
        let state = execution.step(index);
        for position in state.targets.running() {
            let target = &state.targets[position];
            record.push(EventBody::TargetLost {
                step: execution.definition().steps[index].id.clone(),
                attempt: state.attempt,
                machine: target.machine.clone(),
                item: target.item_index(),
                epoch: target.epoch,
                reason: "server_restart".to_owned(),
            });
        }
    }
    Recovery { record }
}
