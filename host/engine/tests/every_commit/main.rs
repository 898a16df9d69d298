//! A process that drives the engine is let die at every single commit, once just before and once just after it; the
//! next process goes on from there. Whatever the moment, the end is the same, and nothing that was completed was done
//! again.
//!
//! The workflow has every kind of action, with real programs, requests, a tool server and a pattern. The processes are
//! this very program: started with a variable it is one life of the engine, without it the test.

mod life;
mod outside;
mod reference;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use caelum_core::pattern::ApplicationStatus;
use caelum_core::workflow::{EventBody, Execution};
use caelum_store::{
    ApplicationFilter, CommitMoment, ExecutionFilter, PageRequest, Store, StoreOptions,
};
use tempfile::TempDir;

use life::Death;
use outside::{Outside, Trace};

/// More commits than a life has: it ends long before.
const COMMITS_MAX: u32 = 500;

/// Lives that run beside each other: as many as the smallest machine has processors.
const AT_ONCE: usize = 2;

/// What is the same at the end, whatever happened on the way: of each execution, by workflow and parent, how it and its
/// steps ended.
type End = BTreeMap<String, Vec<String>>;

/// What one history of lives left.
#[derive(Debug)]
struct Left {
    end: End,
    /// Whether the life that was to die came to its end before.
    survived: bool,
}

/// Runs a life that dies at a commit, and then one that does not.
fn dies_at(death: Option<Death>) -> Left {
    let place = TempDir::new().expect("a directory");
    let outside = Outside::new(place.path());
    let survived = match death {
        Some(death) => life::run(place.path(), &outside, Some(death)),
        None => false,
    };
    if !survived {
        assert!(life::run(place.path(), &outside, None), "a life that is left alone ends well");
    }
    let end = audit(place.path(), &outside.traces(), death);
    Left { end, survived }
}

#[test]
fn a_process_that_dies_at_any_commit_changes_nothing_of_the_end() {
    let undisturbed = dies_at(None).end;
    let next = AtomicU32::new(1);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let commit = next.fetch_add(1, Ordering::SeqCst);
                    assert!(commit < COMMITS_MAX, "it does not end");
                    for moment in [CommitMoment::Before, CommitMoment::After] {
                        let death = Death { commit, moment };
                        let left = dies_at(Some(death));
                        assert_eq!(left.end, undisturbed, "{death:?}");
                        if left.survived {
                            return;
                        }
                    }
                }
            });
        }
    });
    let commits = next.load(Ordering::SeqCst);
    assert!(commits > 25, "only {commits} commits: too few to say anything");
}

/// This very program as one life of the engine; nothing to do when it is run as a test.
#[test]
fn a_life_of_the_engine_is_this_program_started_with_a_variable() {
    life::live();
}

/// Reads what is left, checks it and returns how everything ended.
fn audit(place: &Path, traces: &[Trace], death: Option<Death>) -> End {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(StoreOptions::new(place.join("data"))).expect("opens");
        store.check().await.expect("sound");
        let page = PageRequest { limit: 100, cursor: None };
        let listed = store.list_executions(&ExecutionFilter::default(), &page).await;
        let mut end = End::new();
        for row in listed.expect("readable").items {
            let execution =
                store.load_execution(&row.id).await.expect("readable").expect("it is listed");
            let events = store.events(&row.id, None, 10_000).await.expect("readable");
            let folded = Execution::fold(
                row.id.clone(),
                std::sync::Arc::clone(execution.definition()),
                std::sync::Arc::clone(execution.graph()),
                &events,
            );
            assert!(folded.expect("legal") == execution, "{death:?}: {} folds otherwise", row.id);
            let bodies: Vec<&EventBody> = events.iter().map(|event| &event.body).collect();
            check_effects(&execution, &bodies, traces, death);
            let ended = (0..execution.steps().len())
                .map(|step| {
                    let name = &execution.definition().steps[step].id;
                    format!("{name} {:?}", execution.step(step).phase)
                })
                .chain([execution.status().as_str().to_owned()])
                .collect();
            let parent = execution.head().parent.as_ref().map(|link| link.step.as_str());
            let name = format!("{}<{}", execution.head().workflow_id, parent.unwrap_or_default());
            let other = end.insert(name.clone(), ended);
            assert_eq!(other, None, "{death:?}: `{name}` ran twice");
        }
        let page = PageRequest { limit: 100, cursor: None };
        let applied = store.list_applications(&ApplicationFilter::default(), &page).await;
        let statuses: Vec<ApplicationStatus> =
            applied.expect("readable").items.iter().map(|record| record.status).collect();
        let times = |status| statuses.iter().filter(|one| **one == status).count();
        assert_eq!(times(ApplicationStatus::Applied), 1, "{death:?}: {statuses:?}");
        assert_eq!(times(ApplicationStatus::Applying), 0, "{death:?}: {statuses:?}");
        store.close().await;
        end
    })
}

/// What was done was intended, what was reported was not done again.
fn check_effects(
    execution: &Execution,
    bodies: &[&EventBody],
    traces: &[Trace],
    death: Option<Death>,
) {
    let id = execution.id().as_str();
    for trace in traces.iter().filter(|trace| trace.execution == id) {
        // An item counts deliveries over all of its own attempts.
        let same = |step: &str, item: Option<u32>, attempt: u32| {
            let counted = item.is_some() || attempt == trace.attempt;
            step == trace.step && item == trace.item && counted
        };
        let started = bodies.iter().any(|body| {
            matches!(body, EventBody::TargetStarted { step, attempt, item, epoch, .. }
                if same(step.as_str(), *item, *attempt)
                    && trace.epoch.is_none_or(|ran| ran == *epoch))
        });
        assert!(started, "{death:?}: {trace:?} and no event says that it should");
        for body in bodies {
            if let EventBody::TargetFinished { step, attempt, item, epoch, retry_at: None, .. } =
                body
                && same(step.as_str(), *item, *attempt)
            {
                let again = trace.epoch.is_some_and(|ran| ran > *epoch);
                assert!(!again, "{death:?}: {trace:?} after delivery {epoch} had reported");
            }
        }
    }
    for step in &execution.definition().steps {
        let ran: Vec<&Trace> = traces
            .iter()
            .filter(|trace| trace.execution == id && trace.step == step.id.as_str())
            .collect();
        let most = match (step.idempotent, step.id.as_str()) {
            (false, _) => 1,
            // Two attempts, and one delivery more for the crash.
            (_, "flaky") => 3,
            // Three items, of which two are under way at once.
            (_, "each") => 5,
            _ => 2,
        };
        assert!(
            ran.len() <= most,
            "{death:?}: one crash repeats at most what was under way: {ran:?}"
        );
    }
}
