//! Looking at executions when ten are kept, and when a hundred thousand are: it should cost the same. They are written
//! by the store itself, from executions that the core has driven to their end.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::clock::Timestamp;
use caelum_core::workflow::command::Report;
use caelum_core::workflow::{
    Effect, Event, EventBody, Execution, ExecutionStatus, Graph, MachineView, Next, Started,
    WorkflowDefinition, World, advance,
};
use caelum_engine::Engine;
use caelum_engine::request::{PageRequest, Patience};
use caelum_store::{ExecutionKind, NewExecution, Store, StoreOptions, Synchronous};
use serde_json::Map;

use crate::machines::{InProcess, NOTHING, succeeded};
use crate::shapes::{create, in_a_row, open, percentile};
use crate::{Figures, ms};

/// The workflow that they are runs of.
const WORKFLOW: &str = "bench";

/// Writers at the same time, so that commits are shared.
const WRITERS: usize = 256;

/// How often each question is asked.
const QUESTIONS: usize = 500;

/// Rows on a page.
const PAGE: usize = 20;

/// Asks with few and with many.
pub(crate) async fn measure(figures: &mut Figures) {
    if !figures.wanted("list_10_us list_100000_us poll_10_us poll_100000_us finished_open_ms") {
        return;
    }
    for executions in [10, 100_000] {
        let data = tempfile::TempDir::new().expect("a directory");
        let definition = prepare(data.path()).await;
        seed(data.path(), &definition, executions).await;
        let began = Instant::now();
        let engine = open(data.path(), Some(Arc::new(InProcess::new(1)))).await;
        let opened = began.elapsed();
        if executions > 10 {
            figures.add("finished_open_ms", ms(opened));
        }
        let page = |limit| PageRequest { limit, cursor: None };
        let all = ask(|| async {
            let listed = engine.list_executions(None, None, page(PAGE)).await.expect("it answers");
            assert_eq!(listed.items.len(), PAGE.min(executions));
        });
        figures.add(&format!("list_{executions}_us"), all.await);
        let some = ask(|| async {
            let status = Some(ExecutionStatus::Completed);
            let listed = engine.list_executions(Some(WORKFLOW), status, page(PAGE)).await;
            assert_eq!(listed.expect("it answers").items.len(), PAGE.min(executions));
        });
        figures.add(&format!("list_status_{executions}_us"), some.await);
        let ids: Vec<String> = (0..QUESTIONS).map(|at| name(at * 7_919 % executions)).collect();
        let mut next = ids.iter().cycle();
        let one = ask(|| {
            let id = next.next().expect("it goes round");
            looked_at(&engine, id)
        });
        figures.add(&format!("poll_{executions}_us"), one.await);
        engine.close().await;
    }
}

async fn looked_at(engine: &Engine, id: &str) {
    let seen = engine.execution(id, Patience::default()).await.expect("it exists");
    assert_eq!(seen.execution.status(), ExecutionStatus::Completed);
}

/// Asks again and again; returns the median in microseconds.
async fn ask<F: Future<Output = ()>>(mut question: impl FnMut() -> F) -> f64 {
    let mut took: Vec<Duration> = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let began = Instant::now();
        question().await;
        took.push(began.elapsed());
    }
    ms(percentile(&mut took, 50)) * 1_000.0
}

/// Stores the workflow, and returns it as it is stored.
async fn prepare(data: &Path) -> Arc<WorkflowDefinition> {
    let engine = open(data, Some(Arc::new(InProcess::new(1)))).await;
    create(&engine, WORKFLOW, in_a_row(1, NOTHING)).await;
    let definition = engine.workflow(WORKFLOW, None).await.expect("it was stored");
    engine.close().await;
    definition
}

fn name(index: usize) -> String {
    format!("ex_{index:08}")
}

/// Writes executions that have ended. Nothing is made durable at once: this is no part of what is measured.
async fn seed(data: &Path, definition: &Arc<WorkflowDefinition>, executions: usize) {
    let mut options = StoreOptions::new(data);
    options.synchronous = Synchronous::Off;
    let store = Store::open(options).expect("it opens");
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, definition) = (store.clone(), Arc::clone(definition));
        writers.spawn(async move {
            for index in (writer..executions).step_by(WRITERS) {
                let new = finished(&name(index), &definition);
                store.create_execution(new, None).await.expect("it is new");
            }
        });
    }
    writers.join_all().await;
    store.close().await;
}

/// Drives an execution of one step to its end.
fn finished(id: &str, definition: &Arc<WorkflowDefinition>) -> NewExecution {
    // Not so long ago that retention takes it away.
    let now = definition.updated_at;
    let started = Started {
        workflow_id: definition.workflow_id.clone(),
        revision: definition.revision,
        parameters: Map::new(),
        target_machines: Vec::new(),
        plugins: Vec::new(),
        by: "bench".to_owned(),
        parent: None,
    };
    let mut events = vec![Event { seq: 0, at: now, body: EventBody::Started(started.clone()) }];
    let graph = Arc::new(Graph::of(&definition.steps));
    let id = id.parse().expect("legal");
    let mut execution = Execution::begin(id, Arc::clone(definition), graph, started, now);
    let wanted = decide(&mut execution, &mut events, now);
    let Some(Effect::Run { step, attempt, target, epoch }) = wanted.effects.first() else {
        panic!("the step runs at once");
    };
    let report = Report {
        step: definition.steps[*step].id.clone(),
        attempt: *attempt,
        machine: execution.step(*step).targets[*target].machine.clone(),
        item: None,
        epoch: *epoch,
        outcome: Box::new(succeeded()),
    };
    let body = execution.receive(report, now);
    let event = execution.event(body, now);
    execution.apply(&event).expect("it runs");
    events.push(event);
    decide(&mut execution, &mut events, now);
    assert!(execution.head().end.is_some(), "one step is all there is");
    NewExecution::of(&mut execution, ExecutionKind::Workflow, events).expect("all of its events")
}

fn decide(execution: &mut Execution, events: &mut Vec<Event>, now: Timestamp) -> Next {
    let local = MachineView {
        id: caelum_core::id::MachineId::local(),
        aliases: Vec::new(),
        labels: std::collections::BTreeMap::new(),
        online: true,
    };
    let cancel_wait = Duration::from_secs(60);
    let world = World { now, machines: &[local], cancel_wait };
    let (more, wanted) = advance(execution, world).expect("it can go on");
    events.extend(more);
    wanted
}
