//! An engine that waits does nothing: no statement, no wake-up, however much it waits for.

use std::time::Duration;

use caelum_core::workflow::command::Control;
use caelum_core::workflow::{Action, ExecutionStatus};
use caelum_engine::Engine;

use crate::by_hand::Place;
use crate::life::until;
use crate::plan::command;

/// Long enough that anything that polls would have been seen.
const QUIET: Duration = Duration::from_secs(1);

/// Wake-ups that the test itself causes by waiting.
const OWN_WAKE_UPS: u64 = 10;

async fn statements(engine: &Engine) -> u64 {
    engine.health().await.store.expect("it can be read").statements
}

fn wake_ups(runtime: &tokio::runtime::RuntimeMetrics) -> u64 {
    (0..runtime.num_workers()).map(|worker| runtime.worker_park_count(worker)).sum()
}

#[test]
fn an_engine_that_waits_runs_no_statement_and_wakes_nobody() {
    let runtime = crate::life::runtime(2);
    runtime.block_on(async {
        let place = Place::new();
        let mut bench = place
            .open(|options| {
                options.concurrent_executions_max = 4;
                options.store.idle_checkpoint = Duration::from_millis(10);
            })
            .await;
        let mut manual = command("a", &[], &[]);
        manual.action = Action::Manual { instructions: String::new() };
        bench.create("by-hand", vec![manual]).await;
        bench.create("w", vec![command("a", &[], &["m1", "m2"])]).await;
        for _ in 0..10 {
            let waits = bench.start("by-hand").await;
            bench.wait(&waits, |now| now.execution.status() == ExecutionStatus::Paused).await;
        }
        let mut running = Vec::new();
        // Four of these run, one of them is paused meanwhile, and the others stand in line.
        let first = bench.start("w").await;
        for _ in 0..5 {
            bench.start("w").await;
        }
        for _ in 0..8 {
            running.push(bench.next().await);
        }
        let why = String::new();
        bench.engine.control(&first, Control::Pause, "ann".into(), why).await.expect("open");
        until("the log to be moved into the file", async || {
            let health = bench.engine.health().await;
            match health.store.expect("it can be read").wal_pages {
                0 => Ok(()),
                pages => Err(format!("{pages} pages")),
            }
        })
        .await;
        let one = statements(&bench.engine).await;
        let two = statements(&bench.engine).await;
        let metrics = tokio::runtime::Handle::current().metrics();
        let before = wake_ups(&metrics);

        // A wait on purpose: that nothing happens has no state to wait for.
        tokio::time::sleep(QUIET).await;

        let after = wake_ups(&metrics);
        assert!(after - before < OWN_WAKE_UPS, "{} wake-ups", after - before);
        let three = statements(&bench.engine).await;
        assert_eq!(three - two, two - one, "what asking costs, and nothing else");
        bench.engine.control(&first, Control::Cancel, "ann".into(), String::new()).await.expect("");
        // The answer comes when the request is on disk; what runs is told right after.
        until("what runs to be told", async || {
            let told = running.iter().any(|handed| handed.cancel.is_cancelled());
            if told { Ok(()) } else { Err("nobody was told".to_owned()) }
        })
        .await;
    });
    runtime.shutdown_timeout(crate::life::LIMIT);
}
