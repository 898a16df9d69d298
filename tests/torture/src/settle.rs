//! Brings everything to its end once nobody torments the server any more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::callers::Caller;
use crate::witness::Asked;
use crate::workflows::ENDLESS;
use crate::world::World;

/// How long everything may take to end once the server is left alone.
const PATIENCE: Duration = Duration::from_secs(180);

/// Works until every execution has ended; returns how long it took.
pub(crate) fn settle(world: &World, mut janitor: Caller) -> Duration {
    let began = Instant::now();
    loop {
        let mut open: BTreeMap<String, String> = world.open().into_iter().collect();
        open.extend(listed(&mut janitor));
        if open.is_empty() {
            return began.elapsed();
        }
        if began.elapsed() > PATIENCE {
            for (id, workflow) in open {
                let status = janitor.surely("get_workflow_status", &json!({"execution_id": id}));
                world.faults.add(format!("{id} of {workflow} has not ended: {status}"));
            }
            return began.elapsed();
        }
        for (id, workflow) in open {
            let status = janitor.surely("get_workflow_status", &json!({"execution_id": id}));
            world.shown(&status);
            if status["paused_by"].is_string() {
                janitor.control(&id, Asked::Resume);
            }
            if workflow == ENDLESS {
                janitor.control(&id, Asked::Cancel);
            }
            janitor.tend(&id, 0);
        }
    }
}

/// Lists the executions that have not ended, whoever started them.
fn listed(janitor: &mut Caller) -> BTreeMap<String, String> {
    let mut open = BTreeMap::new();
    for word in ["executing", "paused"] {
        let mut arguments = json!({"status_filter": word, "limit": 100});
        loop {
            let page = janitor.surely("list_executions", &arguments);
            for row in page["executions"].as_array().into_iter().flatten() {
                let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
                open.insert(text("execution_id"), text("workflow_id"));
            }
            match &page["next_cursor"] {
                Value::String(cursor) => arguments["cursor"] = json!(cursor),
                _ => break,
            }
        }
    }
    open
}
