//! Holds what the store keeps against what the witness saw and what callers were told.

mod calls;
mod components;
mod effects;
mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use caelum_core::workflow::{Event, EventBody, Execution};
use caelum_store::{ExecutionFilter, PageRequest, Store, StoreOptions};
use rusqlite::{Connection, OpenFlags};

use crate::faults::Faults;
use crate::witness::Witness;
use crate::world::World;
use index::Index;

/// Events read at once.
const EVENTS_AT_ONCE: u32 = 5_000;

/// Executions with their events, by id.
type Kept = BTreeMap<String, (Execution, Vec<Event>)>;

/// What the audit counted.
#[derive(Debug, Default)]
pub(crate) struct Audited {
    pub(crate) executions: BTreeMap<&'static str, usize>,
    pub(crate) events: usize,
    pub(crate) steps_completed: usize,
    pub(crate) deliveries: usize,
    /// Deliveries that nobody reported.
    pub(crate) lost: usize,
    pub(crate) late_reports: usize,
    pub(crate) retries: usize,
    pub(crate) children: usize,
    pub(crate) decisions: usize,
    pub(crate) applications: usize,
    /// Effects that the witness saw begin.
    pub(crate) effects: usize,
    pub(crate) database_bytes: u64,
}

/// Audits what a stopped server left; every broken promise becomes a fault.
pub(crate) fn audit(world: &World) -> Audited {
    let faults = &world.faults;
    let database = world.server.home().data().join("caelum.db");
    if let Err(error) = check_file(&database, faults) {
        faults.add(format!("the store cannot be read: {error}"));
        return Audited::default();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (kept, applications) = runtime.block_on(read(world));
    let marks = Witness::marks(world.witness_path()).expect("the witness can be read");
    let index = Index::of(&marks);
    for (id, (execution, events)) in &kept {
        check_fold(id, execution, events, faults);
        effects::check(execution, events, &index, faults);
    }
    check_children(&kept, faults);
    effects::check_order(&index, faults);
    effects::check_known(&index, &kept, faults);
    calls::check(&index, &kept, faults);
    components::check(world, &kept, &applications);
    let mut audited = count(&kept, &index);
    audited.applications = applications.values().sum();
    audited.database_bytes = std::fs::metadata(&database).map_or(0, |metadata| metadata.len());
    audited
}

/// Asks SQLite whether the file is whole, and counts what the store counts as it goes.
fn check_file(database: &std::path::Path, faults: &Faults) -> Result<(), rusqlite::Error> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let found: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    faults.unless(found == "ok", || format!("the file is not whole: {found}"));
    let wrong: i64 = connection.query_row(
        "SELECT count(*) FROM (
             SELECT kind, status, executions FROM execution_count WHERE executions > 0
             EXCEPT SELECT kind, status, count(*) FROM execution GROUP BY kind, status)",
        [],
        |row| row.get(0),
    )?;
    faults.unless(wrong == 0, || "the store has counted its executions wrongly".to_owned());
    Ok(())
}

/// Reads everything: executions, and how often a pattern was applied to each component.
async fn read(world: &World) -> (Kept, BTreeMap<String, usize>) {
    let options = StoreOptions::new(world.server.home().data());
    let store = Store::open(options).expect("a store that is whole can be opened");
    let mut kept = Kept::new();
    let mut page = PageRequest { limit: 100, cursor: None };
    loop {
        let listed =
            store.list_executions(&ExecutionFilter::default(), &page).await.expect("readable");
        for row in listed.items {
            let execution =
                store.load_execution(&row.id).await.expect("readable").expect("it is listed");
            world.faults.unless(row.status == execution.status(), || {
                format!(
                    "{}: the list says {:?}, its rows {:?}",
                    row.id,
                    row.status,
                    execution.status()
                )
            });
            let mut events: Vec<Event> = Vec::new();
            loop {
                let after = events.last().map(|event| event.seq);
                let more = store.events(&row.id, after, EVENTS_AT_ONCE).await.expect("readable");
                let last = more.len() < EVENTS_AT_ONCE as usize;
                events.extend(more);
                if last {
                    break;
                }
            }
            kept.insert(row.id.to_string(), (execution, events));
        }
        page.cursor = listed.next;
        if page.cursor.is_none() {
            break;
        }
    }
    let applications = components::applications(&store).await;
    store.close().await;
    (kept, applications)
}

/// Folding the events gives the rows, without gaps, to an end.
fn check_fold(id: &str, execution: &Execution, events: &[Event], faults: &Faults) {
    let gapless = events.iter().zip(0_u64..).all(|(event, place)| event.seq == place);
    faults.unless(gapless, || format!("{id}: a gap in its events"));
    let folded = Execution::fold(
        execution.id().clone(),
        Arc::clone(execution.definition()),
        Arc::clone(execution.graph()),
        events,
    );
    match folded {
        Ok(folded) => faults.unless(folded == *execution, || {
            format!("{id}: its events give {folded:?}\nits rows give {execution:?}")
        }),
        Err(illegal) => faults.add(format!("{id}: {illegal}")),
    }
    faults.unless(execution.head().end.is_some(), || format!("{id} has not ended"));
}

/// An attempt of a step runs one child, however often it was handed out.
fn check_children(kept: &Kept, faults: &Faults) {
    let mut attempts = BTreeSet::new();
    for (id, (execution, _)) in kept {
        let Some(link) = &execution.head().parent else { continue };
        faults.unless(kept.contains_key(link.execution.as_str()), || {
            format!("{id} has lost its parent {}", link.execution)
        });
        let first = attempts.insert((&link.execution, &link.step, link.attempt));
        faults.unless(first, || {
            format!("{id} is the second child of attempt {} of {}", link.attempt, link.step)
        });
    }
}

fn count(kept: &Kept, index: &Index) -> Audited {
    let mut audited = Audited { effects: index.begun, ..Audited::default() };
    for (execution, events) in kept.values() {
        *audited.executions.entry(execution.status().as_str()).or_default() += 1;
        audited.children += usize::from(execution.head().parent.is_some());
        audited.events += events.len();
        for event in events {
            let counter = match &event.body {
                EventBody::StepCompleted { .. } => &mut audited.steps_completed,
                EventBody::TargetStarted { .. } => &mut audited.deliveries,
                EventBody::TargetLost { .. } => &mut audited.lost,
                EventBody::LateReport { .. } => &mut audited.late_reports,
                EventBody::RetryScheduled { .. } => &mut audited.retries,
                EventBody::DecisionGiven { .. } => &mut audited.decisions,
                _ => continue,
            };
            *counter += 1;
        }
    }
    audited
}
