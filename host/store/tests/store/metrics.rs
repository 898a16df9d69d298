//! Numbers from what is stored.

use std::sync::Arc;
use std::time::Duration;

use caelum_core::evidence::VerdictKind;
use caelum_core::task::{FailureClass, OutcomeStatus};
use caelum_core::workflow::recover;
use caelum_store::{GateMetrics, History, Metrics, MetricsFilter, ReasonCount, Store};

use crate::harness::{Run, at, chain, definition, id, outcome, store};

/// Ten runs of `a` that take 1 to 10 seconds, and one of `b` whose gate fails.
async fn filled(store: &Store) {
    let a = Arc::new(definition("a", chain(1)));
    for index in 1..=10_u64 {
        let start = index * 100;
        let mut run = Run::begin(&format!("a_{index}"), Arc::clone(&a), start);
        run.create(store).await;
        if index == 10 {
            for body in recover(&run.execution).record {
                run.record(body);
            }
        }
        run.seconds += index;
        run.succeed_all();
        run.save(store).await.expect("saved");
    }
    let mut steps = chain(1);
    steps[0].validation = Some(id("after"));
    let mut run = Run::begin("b_1", Arc::new(definition("b", steps)), 5_000);
    run.create(store).await;
    run.report(0, 0, outcome(OutcomeStatus::TimedOut, FailureClass::Transient));
    run.wait(60);
    run.report(0, 0, outcome(OutcomeStatus::Succeeded, FailureClass::Exit));
    run.judge(0, VerdictKind::Fail, "no_tests_executed");
    run.save(store).await.expect("saved");
}

#[tokio::test]
async fn executions_steps_gates_and_retries_are_counted() {
    let (store, _directory) = store();
    filled(&store).await;

    let all = store.metrics(&MetricsFilter::default()).await.expect("readable");

    assert_eq!(all.started, 11);
    let a = &all.workflows[0];
    assert_eq!((a.workflow_id.as_str(), a.ended["completed"]), ("a", 10));
    assert_eq!(
        (a.duration.p50_us, a.duration.p95_us, a.duration.max_us),
        (5_000_000, 10_000_000, 10_000_000)
    );
    let b = &all.steps[1];
    assert_eq!((b.workflow_id.as_str(), b.ended["failed"], b.retries), ("b", 1, 1));
    assert_eq!(
        all.gates,
        [GateMetrics {
            validator: "after".into(),
            gate: "validation".into(),
            verdict: "fail".into(),
            code: "no_tests_executed".into(),
            count: 1,
        }]
    );
    let reason = |subject: &str, reason: &str| {
        vec![ReasonCount { subject: subject.into(), reason: reason.into(), count: 1 }]
    };
    assert_eq!(all.retries, reason("s0", "exit_code"));
    assert_eq!(all.failures, reason("s0", "gate_failed"));
    assert_eq!(all.losses, reason("local", "server_restart"));
    assert_eq!(all.machines[0].ended["succeeded"], 11);
    assert!(!all.truncated);
}

#[tokio::test]
async fn a_span_or_a_workflow_narrows_the_numbers() {
    let (store, _directory) = store();
    filled(&store).await;

    let late = MetricsFilter { since: Some(at(905)), workflow_id: None };
    let late = store.metrics(&late).await.expect("readable");
    assert_eq!(late.started, 2);
    assert_eq!(late.workflows.iter().map(|one| one.duration.count).sum::<u64>(), 3);

    let only = MetricsFilter { since: None, workflow_id: Some(id("b")) };
    let only = store.metrics(&only).await.expect("readable");
    assert_eq!((only.started, only.workflows.len(), only.losses.len()), (1, 1, 0));
    assert_eq!(only.steps[0].duration.count, 1);

    let never = MetricsFilter { since: Some(at(1_000_000)), workflow_id: None };
    assert_eq!(store.metrics(&never).await.expect("readable"), Metrics::default());
}

#[tokio::test]
async fn a_history_has_every_part_of_the_span_and_adds_up_to_the_numbers() {
    let (store, _directory) = store();
    filled(&store).await;
    let hour = MetricsFilter { since: Some(at(3_600)), workflow_id: None };

    let all = store.history(&MetricsFilter::default(), at(6_000)).await.expect("readable");
    let hour = store.history(&hour, at(7_200)).await.expect("readable");
    let only = MetricsFilter { since: None, workflow_id: Some(id("a")) };
    let only = store.history(&only, at(6_000)).await.expect("readable");
    let nothing = MetricsFilter { since: None, workflow_id: Some(id("c")) };
    let nothing = store.history(&nothing, at(6_000)).await.expect("readable");

    let count = |history: &History, status: &str| -> u64 {
        history.parts.iter().filter_map(|part| part.ended.get(status)).sum()
    };
    assert_eq!((count(&all, "completed"), count(&all, "failed")), (10, 1));
    assert_eq!((all.width, all.parts.len()), (Duration::from_secs(300), 21));
    assert_eq!(all.parts[0].at, at(0));
    let last = all.parts.iter().rfind(|part| !part.ended.is_empty()).expect("one that ended");
    assert_eq!((last.verdicts["fail"], last.duration.count), (1, 1));
    assert_eq!((hour.parts.len(), count(&hour, "failed"), count(&hour, "completed")), (13, 1, 0));
    assert!(hour.parts[0].ended.is_empty() && hour.parts[0].duration.count == 0);
    assert_eq!((count(&only, "completed"), count(&only, "failed")), (10, 0));
    assert_eq!(nothing, History::default());
}

#[tokio::test]
async fn recent_runs_are_those_that_succeeded_the_newest_first() {
    let (store, _directory) = store();
    filled(&store).await;

    let recent = store.recent_runs(&id("a"), 3).await.expect("readable");

    assert_eq!(recent["s0"], [10, 9, 8].map(Duration::from_secs));
    assert_eq!(recent.len(), 1);
    assert_eq!(store.recent_runs(&id("a"), 20).await.expect("readable")["s0"].len(), 10);
    // The gate failed, and the work before it did not.
    assert_eq!(store.recent_runs(&id("b"), 3).await.expect("readable")["s0"].len(), 1);
    assert!(store.recent_runs(&id("c"), 3).await.expect("readable").is_empty());
}
