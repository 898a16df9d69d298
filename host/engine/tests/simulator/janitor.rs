//! Brings everything to its end: lets go on what is paused, does what waits for somebody, and waits for the rest.

use std::collections::BTreeSet;

use caelum_core::workflow::command::Control;
use caelum_engine::request::{PageRequest, Patience};

use crate::callers::Caller;
use crate::life::until;

/// Works until every execution has ended and nobody owns one any more.
pub(crate) async fn settle(mut janitor: Caller) {
    let engine = janitor.engine.clone();
    until("everything to end", async || {
        // Task groups are in no list: those that somebody knows of may have been paused.
        let mut open: BTreeSet<String> = janitor.ledger.known().into_iter().collect();
        let mut cursor = None;
        loop {
            let page = PageRequest { limit: 100, cursor };
            let listed = engine.list_executions(None, None, page).await.expect("readable");
            let left = listed.items.iter().filter(|row| row.ended_at.is_none());
            open.extend(left.map(|row| row.execution_id.clone()));
            cursor = listed.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let mut why = Vec::new();
        for id in &open {
            let seen = engine.execution(id, Patience::default()).await.expect("it is listed");
            if seen.execution.head().end.is_some() {
                continue;
            }
            if seen.execution.head().paused.is_some() {
                // It may have ended meanwhile.
                drop(engine.control(id, Control::Resume, "janitor".into(), String::new()).await);
            }
            janitor.turn += 1;
            janitor.tend(id).await;
            why.push(seen.execution);
        }
        if why.is_empty() { Ok(()) } else { Err(why) }
    })
    .await;
    // Owners go when nothing is under way for them: whoever stays waits for something that was forgotten.
    until("every owner to be gone", async || {
        let health = engine.health().await;
        assert!(health.stuck.is_empty(), "{:?}", health.stuck);
        match health.open_executions {
            0 => Ok(()),
            count => Err(count),
        }
    })
    .await;
}
