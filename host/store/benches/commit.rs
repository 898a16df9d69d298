//! Durable transitions per second through the store, for 1, 16, 64 and 256 callers that each wait for their own,
//! beside what SQLite itself can do on the same disk in the same run: one transition for each commit.
//!
//! A transition is what the engine writes when a step ends and the next begins: four events, two steps, two targets
//! and the row of the execution. Run it with `cargo bench -p caelum-store`; `BENCH_SECONDS` sets how long each
//! measurement takes (default 3), `BENCH_DIRECTORY` where the files are (default: the directory for temporary files).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::clock::Timestamp;
use caelum_core::task::{CommandSpec, FailureClass, OutcomeStatus, TaskFailure, TaskOutcome};
use caelum_core::workflow::command::Report;
use caelum_core::workflow::{
    Action, DefinitionStatus, Effect, Event, EventBody, Execution, Graph, MachineView, Next,
    Started, Step, StepType, WorkflowDefinition, World, advance,
};
use caelum_store::{Append, ExecutionKind, NewExecution, Store, StoreOptions};
use rusqlite::Connection;
use serde_json::Map;

const CALLERS: [usize; 4] = [1, 16, 64, 256];
const STEPS: usize = 100;

fn main() {
    let seconds = std::env::var("BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
    let span = Duration::from_secs_f64(seconds.unwrap_or(3.0));
    let place = std::env::var_os("BENCH_DIRECTORY").map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(place).expect("a directory");
    say(&format!(
        "{:<44} {:>12} {:>12} {:>12} {:>12}",
        "", "per second", "p50 µs", "p99 µs", "per commit"
    ));
    let raw = raw_commits(&directory.path().join("raw.db"), span);
    report("SQLite alone, one transition for each commit", raw, 1.0);
    let mut one = 0.0;
    for callers in CALLERS {
        let (rates, per_commit) =
            transitions(&directory.path().join(callers.to_string()), callers, span);
        report(&format!("store, {callers} callers"), rates, per_commit);
        if callers == 1 {
            one = rates.per_second;
        }
    }
    say(&format!("ratio of one caller to SQLite alone: {:.2}", one / raw.per_second));
}

/// What one measurement gave.
#[derive(Clone, Copy)]
struct Rates {
    per_second: f64,
    p50_us: u128,
    p99_us: u128,
}

impl Rates {
    fn of(mut took: Vec<Duration>, all: Duration) -> Self {
        took.sort_unstable();
        let rank = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)].as_micros();
        Rates {
            per_second: took.len() as f64 / all.as_secs_f64(),
            p50_us: rank(50),
            p99_us: rank(99),
        }
    }
}

fn report(name: &str, rates: Rates, per_commit: f64) {
    let Rates { per_second, p50_us, p99_us } = rates;
    say(&format!("{name:<44} {per_second:>12.0} {p50_us:>12} {p99_us:>12} {per_commit:>12.1}"));
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("standard output is open");
}

/// One upsert and one insert for each commit, as plain SQLite does them.
fn raw_commits(path: &Path, span: Duration) -> Rates {
    let connection = Connection::open(path).expect("opens");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
             CREATE TABLE step (execution INTEGER, idx INTEGER, state TEXT,
                PRIMARY KEY (execution, idx)) STRICT, WITHOUT ROWID;
             CREATE TABLE event (execution INTEGER, seq INTEGER, body TEXT,
                PRIMARY KEY (execution, seq)) STRICT, WITHOUT ROWID;",
        )
        .expect("created");
    let body = "x".repeat(150);
    let began = Instant::now();
    let mut took = Vec::new();
    while began.elapsed() < span {
        let start = Instant::now();
        let seq = took.len() as i64;
        let run = |sql: &str| connection.prepare_cached(sql).expect("legal").execute([]).map(drop);
        run("BEGIN IMMEDIATE").expect("begun");
        connection
            .prepare_cached("INSERT OR REPLACE INTO step VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute((seq / 100, seq % 100, &body)))
            .expect("written");
        connection
            .prepare_cached("INSERT INTO event VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute((seq / 100, seq, &body)))
            .expect("written");
        run("COMMIT").expect("committed");
        took.push(start.elapsed());
    }
    Rates::of(took, began.elapsed())
}

/// Callers that each drive executions, one transition after the other.
fn transitions(directory: &Path, callers: usize, span: Duration) -> (Rates, f64) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(StoreOptions::new(directory)).expect("opens");
        let definition = Arc::new(definition());
        let mut tasks = tokio::task::JoinSet::new();
        let began = Instant::now();
        for caller in 0..callers {
            let (store, definition) = (store.clone(), Arc::clone(&definition));
            tasks.spawn(async move {
                let mut took = Vec::new();
                for round in 0_u64.. {
                    let mut run = Run::new(&format!("ex_{caller}_{round}"), &definition);
                    let new = run.create();
                    store.create_execution(new, None).await.expect("created");
                    while let Some(append) = run.step() {
                        let start = Instant::now();
                        store.append(append).await.expect("stored");
                        took.push(start.elapsed());
                        if began.elapsed() >= span {
                            return took;
                        }
                    }
                }
                took
            });
        }
        let took: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
        let all = began.elapsed();
        let stats = store.stats().await.expect("readable");
        store.close().await;
        (Rates::of(took, all), stats.requests as f64 / stats.commits as f64)
    })
}

fn definition() -> WorkflowDefinition {
    let name = |index: usize| format!("s{index}").parse().expect("legal");
    let steps = (0..STEPS)
        .map(|index| {
            let mut step = Step::new(name(index), StepType::Development);
            step.action = Action::Command(CommandSpec {
                program: "true".to_owned(),
                ..CommandSpec::default()
            });
            step.dependencies = index.checked_sub(1).map(name).into_iter().collect();
            step
        })
        .collect();
    WorkflowDefinition {
        workflow_id: "bench".parse().expect("legal"),
        revision: 1,
        name: "bench".to_owned(),
        description: String::new(),
        pattern: String::new(),
        steps,
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
        created_by: String::new(),
        status: DefinitionStatus::Active,
        parameters_schema: None,
        metadata: Map::new(),
    }
}

/// An execution whose work succeeds at once.
struct Run {
    execution: Execution,
    machines: Vec<MachineView>,
    events: Vec<Event>,
    wanted: Next,
}

impl Run {
    fn new(id: &str, definition: &Arc<WorkflowDefinition>) -> Self {
        let started = Started {
            workflow_id: definition.workflow_id.clone(),
            revision: 1,
            parameters: Map::new(),
            target_machines: Vec::new(),
            plugins: Vec::new(),
            by: "bench".to_owned(),
            parent: None,
        };
        let at = Timestamp::EPOCH;
        let first = Event { seq: 0, at, body: EventBody::Started(started.clone()) };
        let graph = Arc::new(Graph::of(&definition.steps));
        let id = id.parse().expect("legal");
        let execution = Execution::begin(id, Arc::clone(definition), graph, started, at);
        let local = MachineView {
            id: caelum_core::id::MachineId::local(),
            aliases: Vec::new(),
            labels: std::collections::BTreeMap::new(),
            online: true,
        };
        let (machines, events) = (vec![local], vec![first]);
        let mut run = Run { execution, machines, events, wanted: Next::default() };
        run.advance();
        run
    }

    fn advance(&mut self) {
        let world = World {
            now: Timestamp::EPOCH,
            machines: &self.machines,
            cancel_wait: Duration::from_secs(60),
        };
        let (events, wanted) = advance(&mut self.execution, world).expect("legal");
        self.events.extend(events);
        self.wanted = wanted;
    }

    fn create(&mut self) -> NewExecution {
        let events = std::mem::take(&mut self.events);
        NewExecution::of(&mut self.execution, ExecutionKind::Workflow, events).expect("fits")
    }

    /// Ends the step that runs and begins the next; nothing when there is none.
    fn step(&mut self) -> Option<Append> {
        let Some(Effect::Run { step, attempt, target, epoch }) = self.wanted.effects.first() else {
            return None;
        };
        let failure = TaskFailure {
            class: FailureClass::Exit,
            code: String::new(),
            message: String::new(),
            hint: None,
        };
        let outcome = TaskOutcome {
            status: OutcomeStatus::Succeeded,
            exit_code: Some(0),
            failure: None,
            ..TaskOutcome::not_started(Timestamp::EPOCH, failure)
        };
        let report = Report {
            step: self.execution.definition().steps[*step].id.clone(),
            attempt: *attempt,
            machine: self.execution.step(*step).targets[*target].machine.clone(),
            item: None,
            epoch: *epoch,
            outcome: Box::new(outcome),
        };
        let body = self.execution.receive(report, Timestamp::EPOCH);
        let expected = self.execution.head().events;
        let event = self.execution.event(body, Timestamp::EPOCH);
        self.execution.apply(&event).expect("legal");
        self.events.push(event);
        self.advance();
        let events = std::mem::take(&mut self.events);
        Some(Append::of(&mut self.execution, expected, events).expect("fits"))
    }
}
