//! Waiting for a place on the machine.

use caelum_core::task::{FailureClass, OutcomeStatus};
use caelum_machines::MachineOptions;
use tokio_util::sync::CancellationToken;

use crate::harness::{Machine, code, program, shell, task};

#[tokio::test]
async fn a_task_that_finds_no_place_in_time_gives_up_and_has_done_nothing() {
    let machine =
        Machine::with(MachineOptions { tasks_at_once_max: 1, ..MachineOptions::default() });
    let holding = task(shell("echo ready; sleep 600"));
    let stop = CancellationToken::new();
    let mut waiting = task(program("touch", &["done"]));
    waiting.key.step = "waiting".parse().expect("legal");
    waiting.queue_timeout_ms = Some(50);
    let given_up = async {
        machine.until_written(&holding, "ready").await;
        let outcome = machine.run_task(&waiting, CancellationToken::new()).await;
        stop.cancel();
        outcome
    };

    let (_, outcome) = tokio::join!(machine.run_task(&holding, stop.clone()), given_up);
    waiting.queue_timeout_ms = Some(60_000);
    let later = machine.run_task(&waiting, CancellationToken::new()).await;

    assert_eq!(outcome.status, OutcomeStatus::NotStarted);
    assert_eq!(code(&outcome), "queue_timeout");
    let failure = outcome.failure.expect("given up");
    assert_eq!(failure.class, FailureClass::Transient);
    assert_eq!(failure.message, "found no place on the machine within 50 ms");
    assert!(later.succeeded() && machine.root.path().join("done").exists());
}
