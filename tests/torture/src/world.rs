//! What everybody in a run shares: the server, the witness, what is known of executions, faults and figures.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::faults::Faults;
use crate::server::Server;
use crate::witness::{Mark, Witness};

/// What callers were shown of one execution.
#[derive(Debug, Default)]
struct Known {
    workflow: String,
    ended: bool,
    events: u64,
    completed: BTreeSet<String>,
}

/// What is counted while a run goes on.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) kills: AtomicU64,
    pub(crate) kills_at_start: AtomicU64,
    pub(crate) stops: AtomicU64,
    pub(crate) freezes: AtomicU64,
    pub(crate) frozen_effects: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    pub(crate) rss_max_kib: AtomicU64,
    pub(crate) wal_max_bytes: AtomicU64,
    /// From start to listening, of each life that came so far.
    pub(crate) starts: Mutex<Vec<Duration>>,
}

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What everybody shares.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) server: Arc<Server>,
    pub(crate) witness: Witness,
    pub(crate) faults: Arc<Faults>,
    pub(crate) figures: Arc<Figures>,
    /// This run's name, which every effect carries.
    pub(crate) run: String,
    executions: Mutex<BTreeMap<String, Known>>,
    over: AtomicBool,
}

impl World {
    pub(crate) fn new(server: Arc<Server>, witness: Witness, run: String) -> Self {
        let (faults, figures) = (server.faults(), server.figures());
        Self {
            server,
            witness,
            faults,
            figures,
            run,
            executions: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    fn executions(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.executions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that nothing more is to be begun.
    pub(crate) fn finish(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(crate) fn mark(&self, mark: &Mark) {
        self.witness.mark(mark).expect("the witness can be written");
    }

    /// Returns where the witness lies.
    pub(crate) fn witness_path(&self) -> &Path {
        self.witness.path()
    }

    /// Remembers an execution that somebody was told of.
    pub(crate) fn know(&self, execution: &str, workflow: &str) {
        let mut executions = self.executions();
        let known = executions.entry(execution.to_owned()).or_default();
        workflow.clone_into(&mut known.workflow);
    }

    /// Returns the executions that are not known to have ended, each with its workflow.
    pub(crate) fn open(&self) -> Vec<(String, String)> {
        let executions = self.executions();
        let open = executions.iter().filter(|(_, known)| !known.ended);
        open.map(|(id, known)| (id.clone(), known.workflow.clone())).collect()
    }

    /// Returns the executions that are known to have ended.
    pub(crate) fn ended(&self) -> Vec<String> {
        let executions = self.executions();
        executions.iter().filter(|(_, known)| known.ended).map(|(id, _)| id.clone()).collect()
    }

    /// Takes down what a status shows: nothing of it may be forgotten, and what is completed never runs again.
    pub(crate) fn shown(&self, status: &Value) {
        let id = status["execution_id"].as_str().unwrap_or_default();
        let events = status["event_count"].as_u64().unwrap_or_default();
        let completed = status["completed_steps"].as_array().into_iter().flatten();
        let completed: BTreeSet<&str> = completed.filter_map(Value::as_str).collect();
        let word = status["status"].as_str().unwrap_or_default();
        let (mut marks, mut faults) = (Vec::new(), Vec::new());
        {
            let mut executions = self.executions();
            let known = executions.entry(id.to_owned()).or_default();
            known.ended = ["completed", "failed", "cancelled"].contains(&word);
            // Another caller may have been shown more meanwhile; less than before is judged at the end.
            if events > known.events {
                known.events = events;
                marks.push(Mark::Seen { execution: id.to_owned(), events });
            }
            for step in &completed {
                if known.completed.insert((*step).to_owned()) {
                    marks.push(Mark::Shown { execution: id.to_owned(), step: (*step).to_owned() });
                }
            }
            if events >= known.events {
                for step in &known.completed {
                    if !completed.contains(step.as_str()) {
                        faults
                            .push(format!("{id}: `{step}` was shown as completed and is not now"));
                    }
                }
            }
        }
        for mark in marks {
            self.mark(&mark);
        }
        for fault in faults {
            self.faults.add(fault);
        }
    }
}
