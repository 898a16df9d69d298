//! Looks at what a life of the engine left on disk, and checks it against what callers were told and machines saw.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use caelum_core::id::ExecutionId;
use caelum_core::task::OutcomeStatus;
use caelum_core::workflow::{Event, EventBody, Execution, ExecutionStatus, StepPhase};
use caelum_store::{ExecutionFilter, PageRequest, Store, StoreOptions, Synchronous};

use crate::history;
use crate::ledger::{Asked, Call, Ledger, Told};
use crate::machines::{Delivery, World};

/// How many machines there are.
const MACHINES_MAX: usize = 5;

/// Events read at once.
const EVENTS_AT_ONCE: u32 = 5_000;

/// What is on disk between two lives.
#[derive(Debug, Default)]
pub(crate) struct Image {
    pub(crate) executions: BTreeMap<String, (Execution, Vec<Event>)>,
}

impl Image {
    /// Reads everything from a data directory that no engine has open.
    pub(crate) async fn read(data: &Path) -> Image {
        let options = StoreOptions { synchronous: Synchronous::Off, ..StoreOptions::new(data) };
        let store = Store::open(options).expect("what a crash left can be opened");
        store.check().await.expect("what a crash left is sound");
        let mut executions = BTreeMap::new();
        let mut cursor = None;
        loop {
            let page = store
                .list_executions(
                    &ExecutionFilter::default(),
                    &PageRequest { limit: 100, cursor: cursor.take() },
                )
                .await
                .expect("readable");
            for row in page.items {
                let execution =
                    store.load_execution(&row.id).await.expect("readable").expect("it is listed");
                assert_eq!(row.status, execution.status(), "{}: the list lies", row.id);
                let events = events(&store, &row.id).await;
                executions.insert(row.id.to_string(), (execution, events));
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        store.close().await;
        Image { executions }
    }

    /// Checks everything that holds at any moment.
    pub(crate) fn check(&self, ledger: &Ledger, world: &World) {
        for (execution, events) in self.executions.values() {
            history::check(execution, events);
        }
        self.check_children();
        self.check_shown(&ledger.seen());
        self.check_calls(&ledger.calls());
        self.check_witness(&world.witness());
    }

    /// A step's attempt runs one child, however often it was handed out.
    fn check_children(&self) {
        let mut children: HashMap<_, &ExecutionId> = HashMap::new();
        for (execution, _) in self.executions.values() {
            let Some(link) = &execution.head().parent else { continue };
            let attempt = (link.attempt, link.item);
            let place = (link.execution.to_string(), link.step.to_string(), attempt);
            assert!(
                self.executions.contains_key(&place.0),
                "{} has lost its parent",
                execution.id()
            );
            if let Some(other) = children.insert(place, execution.id()) {
                panic!("{} and {other} are children of one attempt", execution.id());
            }
        }
    }

    /// What anybody was shown is a part of what is on disk, and exactly what the events up to there give.
    fn check_shown(&self, seen: &[Arc<Execution>]) {
        let mut shown: HashMap<&ExecutionId, Vec<&Arc<Execution>>> = HashMap::new();
        for execution in seen {
            shown.entry(execution.id()).or_default().push(execution);
        }
        for (id, mut shown) in shown {
            let (stored, events) = self
                .executions
                .get(id.as_str())
                .unwrap_or_else(|| panic!("{id} was shown and is not on disk"));
            shown.sort_by_key(|execution| execution.head().events);
            let mut folded: Option<Execution> = None;
            let mut next = 0;
            for shown in shown {
                let length = shown.head().events;
                assert!(
                    length <= events.len() as u64,
                    "{id} was shown with {length} events; {} are on disk",
                    events.len()
                );
                while (next as u64) < length {
                    match &mut folded {
                        Some(execution) => {
                            execution.apply(&events[next]).expect("stored events are legal");
                        }
                        None => {
                            let (definition, graph) = (stored.definition(), stored.graph());
                            let first = Execution::fold(
                                id.clone(),
                                Arc::clone(definition),
                                Arc::clone(graph),
                                &events[..=next],
                            );
                            folded = Some(first.expect("stored events are legal"));
                        }
                    }
                    next += 1;
                }
                assert!(
                    folded.as_ref() == Some(&**shown),
                    "{id} was shown as {shown:#?}\nat event {length} it is {folded:#?}"
                );
            }
        }
    }

    /// What was accepted happened once, and what was refused did not happen.
    fn check_calls(&self, calls: &[Call]) {
        for call in calls {
            if call.asked == Asked::Execute {
                let made = self
                    .executions
                    .values()
                    .filter(|(execution, _)| execution.head().started_by == call.by)
                    .map(|(execution, _)| execution.id().to_string())
                    .collect::<Vec<_>>();
                let expected: &[String] = match call.told {
                    Told::Accepted => std::slice::from_ref(&call.execution),
                    Told::Refused => &[],
                };
                assert_eq!(made, expected, "{call:?}");
                continue;
            }
            let Some((execution, events)) = self.executions.get(&call.execution) else {
                panic!("{call:?} is about an execution that is not on disk");
            };
            let times = events.iter().filter(|event| actor(&event.body) == Some(&call.by)).count();
            let told = call.told == Told::Accepted;
            match call.asked {
                _ if !told => assert_eq!(times, 0, "{call:?} was refused"),
                Asked::Complete | Asked::Review | Asked::Retry => {
                    assert_eq!(times, 1, "{call:?} was accepted");
                }
                Asked::Decide => assert!(times >= 1, "{call:?} was accepted"),
                // It may have been so already.
                Asked::Pause | Asked::Resume => assert!(times <= 1, "{call:?} was accepted"),
                Asked::Cancel => {
                    assert!(times <= 1, "{call:?} was accepted");
                    assert!(execution.head().cancel.is_some(), "{call:?} was accepted");
                }
                Asked::Execute => {}
            }
        }
    }

    /// Machines were told to do only what is on disk, each delivery once, and never wider than the strategy allows.
    fn check_witness(&self, witness: &[Delivery]) {
        let mut delivered: HashMap<(String, u32, u32), &Delivery> = HashMap::new();
        for delivery in witness {
            let name = format!("{}", delivery.key);
            let Some((execution, events)) = self.executions.get(delivery.key.execution.as_str())
            else {
                panic!("{name} ran and its execution is not on disk");
            };
            let earlier =
                delivered.insert((name.clone(), delivery.attempt, delivery.epoch), delivery);
            assert!(earlier.is_none(), "delivered twice: {earlier:?} and {delivery:?}");
            let intended = events.iter().any(|event| {
                matches!(&event.body, EventBody::TargetStarted { step, attempt, machine, item, epoch }
                    if *step == delivery.key.step
                        && *machine == delivery.key.machine
                        && is(delivery, *attempt, *item, *epoch))
            });
            assert!(intended, "{delivery:?} ran before it was stored that it does");
            let index = execution.step_index(delivery.key.step.as_str()).expect("it ran");
            let strategy = &execution.definition().steps[index].strategy;
            let width = history::width(strategy);
            let at_once = witness
                .iter()
                .filter(|other| {
                    other.life == delivery.life
                        && other.key.execution == delivery.key.execution
                        && other.key.step == delivery.key.step
                        && other.begun <= delivery.begun
                        && other.ended.is_none_or(|ended| ended > delivery.begun)
                })
                .count();
            let map = execution.definition().steps[index].map.as_ref();
            // As many items as the map allows, each on every machine of the step.
            let items = map.map_or(usize::MAX, |map| map.max as usize * MACHINES_MAX);
            let width = width.min(items);
            assert!(at_once <= width, "{at_once} run at once with {strategy:?}: {delivery:?}");
        }
    }

    /// Checks a life's work against what was on disk when it began: nothing that had ended ran again.
    pub(crate) fn check_life(&self, life: u32, witness: &[Delivery]) {
        for delivery in witness.iter().filter(|delivery| delivery.life == life) {
            let Some((execution, events)) = self.executions.get(delivery.key.execution.as_str())
            else {
                continue;
            };
            let index = execution.step_index(delivery.key.step.as_str()).expect("it ran");
            assert!(
                execution.step(index).phase != StepPhase::Completed,
                "its step had completed before this life began: {delivery:?}"
            );
            let reported = events.iter().any(|event| {
                matches!(&event.body, EventBody::TargetFinished { step, attempt, machine, item, epoch, .. }
                    if *step == delivery.key.step
                        && *machine == delivery.key.machine
                        && *item == delivery.key.item
                        // Items have deliveries that are counted on over all attempts.
                        && if item.is_some() { *epoch >= delivery.epoch } else { *attempt == delivery.attempt })
            });
            assert!(!reported, "its end had been stored before this life began: {delivery:?}");
        }
    }

    /// Checks a life that ended with closing: whatever was reported until then is on record.
    pub(crate) fn check_closed(&self, life: u32, witness: &[Delivery]) {
        let reported = witness.iter().filter(|delivery| {
            let known = delivery.reported.is_some_and(|how| how != OutcomeStatus::Cancelled);
            delivery.life == life && known
        });
        for delivery in reported {
            let (_, events) = &self.executions[delivery.key.execution.as_str()];
            let heard = events.iter().any(|event| heard(&event.body, delivery));
            assert!(heard, "closing forgot its report: {delivery:?}");
        }
    }

    /// Checks what holds when everybody was kind for long enough: everything has ended as it was asked to.
    pub(crate) fn check_end(&self, ledger: &Ledger, world: &World) {
        for (execution, _) in self.executions.values() {
            let head = execution.head();
            assert!(head.end.is_some(), "it has not ended: {execution:#?}");
            if head.cancel.is_some() {
                assert_eq!(head.end, Some(ExecutionStatus::Cancelled), "{}", head.id);
            }
        }
        for call in ledger.calls() {
            if (call.asked, call.told) == (Asked::Cancel, Told::Accepted) {
                let (execution, _) = &self.executions[&call.execution];
                assert_eq!(execution.status(), ExecutionStatus::Cancelled, "{call:?}");
            }
        }
        let happened: usize = self.executions.values().map(|(_, events)| events.len()).sum();
        let calls = ledger.calls().len();
        let decisions = world.decisions.load(Ordering::Relaxed);
        assert!(
            decisions < (20 * (happened + calls) + 2_000) as u64,
            "{decisions} decisions for {happened} events and {calls} calls: something spins"
        );
        let last = world.life();
        for delivery in world.witness().iter().filter(|delivery| delivery.life == last) {
            if delivery.panicked {
                continue;
            }
            assert!(delivery.reported.is_some(), "nobody waits for it any more: {delivery:?}");
            let (_, events) = &self.executions[delivery.key.execution.as_str()];
            let heard = events.iter().any(|event| heard(&event.body, delivery));
            assert!(heard, "its report is on record nowhere: {delivery:?}");
        }
    }
}

/// Whether an event's attempt, item and epoch name a delivery. Items have attempts of their own; there the epoch tells.
fn is(delivery: &Delivery, attempt: u32, item: Option<u32>, epoch: u32) -> bool {
    delivery.key.item == item
        && delivery.epoch == epoch
        && (item.is_some() || delivery.attempt == attempt)
}

/// Whether an event records the report of a delivery.
fn heard(body: &EventBody, delivery: &Delivery) -> bool {
    let (step, machine, name, status): (_, _, _, OutcomeStatus) = match body {
        EventBody::TargetFinished { step, attempt, machine, item, epoch, outcome, .. } => {
            (step, machine, (attempt, item, epoch), outcome.status)
        }
        EventBody::LateReport { step, attempt, machine, item, epoch, status } => {
            (step, machine, (attempt, item, epoch), *status)
        }
        _ => return false,
    };
    let (attempt, item, epoch) = name;
    *step == delivery.key.step
        && *machine == delivery.key.machine
        && is(delivery, *attempt, *item, *epoch)
        && Some(status) == delivery.reported
}

/// Returns who caused an event, where somebody did.
fn actor(body: &EventBody) -> Option<&String> {
    match body {
        EventBody::WorkReported { report, .. } => Some(&report.performer),
        EventBody::ReviewGiven { review, .. } => Some(&review.reviewer),
        EventBody::DecisionGiven { by, .. }
        | EventBody::Paused { by, .. }
        | EventBody::Resumed { by }
        | EventBody::CancelRequested { by, .. }
        | EventBody::RetryRequested { by, .. } => Some(by),
        _ => None,
    }
}

async fn events(store: &Store, id: &ExecutionId) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map(|event| event.seq);
        let more = store.events(id, after, EVENTS_AT_ONCE).await.expect("the execution exists");
        let last = more.len() < EVENTS_AT_ONCE as usize;
        events.extend(more);
        if last {
            return events;
        }
    }
}
