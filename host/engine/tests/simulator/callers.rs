//! People and programs that ask things of the engine, at random and not always wisely.

use std::sync::Arc;
use std::time::Duration;

use caelum_core::evidence::{ReviewDecision, WorkReport};
use caelum_core::task::{CommandSpec, Strategy};
use caelum_core::workflow::WaitingFor;
use caelum_core::workflow::command::Control;
use caelum_engine::request::{
    NewExecution, NewTask, PageRequest, Patience, Snapshot, StepReport, StepReview,
};
use caelum_engine::{Engine, EngineError};
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::{Map, json};

use crate::ledger::{Asked, Call, Ledger, Told};
use crate::plan::pick;

/// Executions that callers start before they only tend those that there are.
const EXECUTIONS_MAX: usize = 8;

/// One caller.
pub(crate) struct Caller {
    pub(crate) engine: Engine,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) rng: SmallRng,
    /// Tells this caller's names from those of all others.
    pub(crate) name: String,
    pub(crate) turn: u32,
    pub(crate) workflows: usize,
    /// Whether writing may fail.
    pub(crate) flaky: bool,
}

impl Caller {
    /// Asks this many things, one after the other.
    pub(crate) async fn ask(mut self, times: u32) {
        for _ in 0..times {
            self.turn += 1;
            for _ in 0..self.rng.random_range(0..6) {
                tokio::task::yield_now().await;
            }
            if self.rng.random_bool(0.12) {
                self.ask_and_hang_up().await;
            } else {
                self.ask_once().await;
            }
        }
    }

    /// Asks something and goes away at some moment, answer or not.
    async fn ask_and_hang_up(&mut self) {
        let turns = self.rng.random_range(0..12);
        tokio::select! {
            biased;
            () = Box::pin(self.ask_once()) => {}
            () = async {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            } => {}
        }
    }

    fn by(&self) -> String {
        format!("{}-{}", self.name, self.turn)
    }

    async fn ask_once(&mut self) {
        let known = self.ledger.known();
        let choice = self.rng.random_range(0..100);
        let starts = known.is_empty() || (choice < 25 && known.len() < EXECUTIONS_MAX);
        if starts {
            match self.rng.random_range(0..4) {
                0 => self.execute_keyed().await,
                1 => self.distribute().await,
                _ => self.execute(None, self.by()).await,
            }
            return;
        }
        let id = pick(&mut self.rng, &known).clone();
        match choice {
            25..35 => self.control(&id, Control::Pause, Asked::Pause).await,
            35..47 => self.control(&id, Control::Resume, Asked::Resume).await,
            47..52 => self.control(&id, Control::Cancel, Asked::Cancel).await,
            52..60 => self.control(&id, Control::RetryFailed, Asked::Retry).await,
            60..80 => self.tend(&id).await,
            80..84 => self.complete(&id, "s0").await,
            84..87 => self.look_around(&id).await,
            _ => {
                let wait = Duration::from_millis(self.rng.random_range(0..15));
                let patience = Patience { wait, after_event: None };
                if let Ok(seen) = self.engine.execution(&id, patience).await {
                    self.ledger.saw(&seen.execution);
                }
            }
        }
    }

    /// Takes down what was answered. A failure that is nobody's mistake promises nothing.
    fn take_down(&self, asked: Asked, id: &str, by: String, answer: Result<Snapshot, EngineError>) {
        let told = match answer {
            Ok(snapshot) => {
                self.ledger.saw(&snapshot.execution);
                let execution = snapshot.execution.id().to_string();
                assert!(id.is_empty() || execution == id, "asked about {id}, told of {execution}");
                self.ledger.told(Call { asked, told: Told::Accepted, execution, by });
                return;
            }
            Err(EngineError::Mistake(mistake)) => {
                assert!(self.flaky || mistake.code != "not_stored", "the store works: {mistake}");
                Told::Refused
            }
            Err(EngineError::Stopping) => return,
            Err(EngineError::Store(error)) if self.flaky && error.is_transient() => return,
            Err(other) => panic!("{asked:?} of {id}: {other:?}"),
        };
        self.ledger.told(Call { asked, told, execution: id.to_owned(), by });
    }

    async fn execute(&mut self, key: Option<String>, by: String) {
        let workflow = self.rng.random_range(0..self.workflows);
        let answer = self.engine.execute(new_execution(workflow, key, &by)).await;
        self.take_down(Asked::Execute, "", by, answer);
    }

    /// Starts an execution under a key that others may use at the same time, and have used in earlier lives.
    async fn execute_keyed(&mut self) {
        let key = self.rng.random_range(0..4);
        let by = format!("key-{key}");
        let new = new_execution(key % self.workflows, Some(by.clone()), &by);
        let (one, two) = tokio::join!(self.engine.execute(new.clone()), self.engine.execute(new));
        if let (Ok(one), Ok(two)) = (&one, &two) {
            assert_eq!(one.execution.id(), two.execution.id(), "one key, two executions");
        }
        self.take_down(Asked::Execute, "", by.clone(), one);
        self.take_down(Asked::Execute, "", by, two);
    }

    async fn distribute(&mut self) {
        let by = self.by();
        let new = NewTask {
            name: "task".to_owned(),
            command: CommandSpec {
                program: "work".to_owned(),
                args: vec![by.clone()],
                ..CommandSpec::default()
            },
            target_machines: vec!["all".to_owned()],
            strategy: Strategy::Parallel { max: Some(3) },
            timeout_s: None,
            retry: None,
            idempotent: true,
            by: by.clone(),
            idempotency_key: Some(by.clone()),
        };
        let answer = self.engine.distribute_task(new).await;
        self.take_down(Asked::Execute, "", by, answer);
    }

    async fn control(&mut self, id: &str, control: Control, asked: Asked) {
        let by = self.by();
        let answer = self.engine.control(id, control, by.clone(), "because".into()).await;
        self.take_down(asked, id, by, answer);
    }

    /// Starts the first workflow under one key and returns the execution.
    pub(crate) async fn start(&mut self) -> String {
        let by = "key-0".to_owned();
        let answer = self.engine.execute(new_execution(0, Some(by.clone()), &by)).await;
        let id = answer.as_ref().expect("it starts").execution.id().to_string();
        self.take_down(Asked::Execute, "", by, answer);
        id
    }

    /// Waits a moment for a change, and says whether the execution is still open.
    pub(crate) async fn open(&self, id: &str) -> bool {
        let patience = Patience { wait: Duration::from_millis(5), after_event: None };
        let Ok(seen) = self.engine.execution(id, patience).await else { return false };
        self.ledger.saw(&seen.execution);
        seen.execution.head().end.is_none()
    }

    /// Does what some step waits for, if one does.
    pub(crate) async fn tend(&mut self, id: &str) {
        let Ok(seen) = self.engine.execution(id, Patience::default()).await else { return };
        self.ledger.saw(&seen.execution);
        let waiting: Vec<(String, WaitingFor)> = seen
            .execution
            .open_steps()
            .filter_map(|index| {
                let name = seen.execution.definition().steps[index].id.to_string();
                Some((name, seen.execution.step(index).waiting_for()?))
            })
            .collect();
        if waiting.is_empty() {
            return;
        }
        let (step, waits) = pick(&mut self.rng, &waiting).clone();
        match waits {
            WaitingFor::Work => self.complete(id, &step).await,
            WaitingFor::Review(_) => self.review(id, &step).await,
            WaitingFor::Decision => self.decide(id, &step).await,
        }
    }

    async fn complete(&mut self, id: &str, step: &str) {
        let succeeded = self.rng.random_bool(0.85);
        self.report(id, step, succeeded, None, Asked::Complete).await;
    }

    async fn decide(&mut self, id: &str, step: &str) {
        let decision = *pick(&mut self.rng, &[None, Some(true), Some(true), Some(false)]);
        self.report(id, step, true, Some(decision), Asked::Decide).await;
    }

    async fn report(
        &mut self,
        id: &str,
        step: &str,
        succeeded: bool,
        decision: Option<Option<bool>>,
        asked: Asked,
    ) {
        let by = self.by();
        let report = StepReport {
            execution_id: id.to_owned(),
            step_id: step.to_owned(),
            report: WorkReport {
                performer: by.clone(),
                succeeded,
                summary: "done".to_owned(),
                outputs: Map::new(),
                files: vec![],
            },
            decision,
        };
        let answer = self.engine.complete_step(report).await;
        self.take_down(asked, id, by, answer);
    }

    async fn review(&mut self, id: &str, step: &str) {
        let by = self.by();
        let decision = if self.rng.random_bool(0.8) {
            ReviewDecision::Approved
        } else {
            ReviewDecision::Rejected
        };
        let review = StepReview {
            execution_id: id.to_owned(),
            step_id: step.to_owned(),
            reviewer: by.clone(),
            decision,
            reason: "read every line of it".to_owned(),
        };
        let answer = self.engine.review_step(review).await;
        self.take_down(Asked::Review, id, by, answer);
    }

    /// Reads this and that: whatever is asked, an answer comes.
    async fn look_around(&mut self, id: &str) {
        let page = PageRequest { limit: 100, cursor: None };
        let answers = [
            self.engine.list_executions(None, None, page).await.err(),
            self.engine.events(id, None, 1_000).await.err(),
            self.engine.metrics(None, None).await.err(),
            self.engine.export("w0", true).await.err(),
        ];
        for error in answers.into_iter().flatten() {
            assert!(matches!(error, EngineError::Stopping), "{error:?}");
        }
        let health = self.engine.health().await;
        assert!(health.stuck.is_empty(), "{:?}", health.stuck);
    }
}

/// Builds a request; the run's name travels to the machines as a parameter.
pub(crate) fn new_execution(workflow: usize, key: Option<String>, by: &str) -> NewExecution {
    NewExecution {
        workflow_id: format!("w{workflow}"),
        parameters: Map::from_iter([("run".to_owned(), json!(by))]),
        by: by.to_owned(),
        idempotency_key: key,
        ..NewExecution::default()
    }
}
