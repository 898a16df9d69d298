//! The other client itself: it notices what holds it up, so that a test which it is content with says something.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc as channel;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::bystander::Bystander;

fn judged(bystander: Bystander) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| drop(bystander)))
        .map_err(|told| told.downcast_ref::<String>().cloned().unwrap_or_default())
}

#[tokio::test]
async fn a_client_that_is_answered_is_content() {
    let bystander = Bystander::start(|| ());

    assert_eq!(bystander.serve(async { 7 }).await, 7);

    assert_eq!(judged(bystander), Ok(()));
}

/// Goes to the end of the queue of tasks, as the engine makes guests do.
async fn give_way() {
    let mut gave_way = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What guests do to a thread that they share: they compute, and give way at each tick of ten milliseconds.
#[tokio::test]
async fn work_that_only_gives_way_at_times_is_noticed() {
    if !Path::new("/proc/thread-self/schedstat").exists() {
        let why = "the system does not say how long a thread stood in the queue for a processor";
        writeln!(std::io::stderr(), "SKIPPED work_that_only_gives_way_at_times_is_noticed: {why}")
            .ok();
        return;
    }
    let bystander = Bystander::start(|| ());

    bystander
        .serve(async {
            for _ in 0..150 {
                let tick = Instant::now() + Duration::from_millis(10);
                while Instant::now() < tick {}
                give_way().await;
            }
        })
        .await;

    let told = judged(bystander).expect_err("the client waited");
    assert!(told.starts_with("another client waited "), "{told}");
}

#[tokio::test]
async fn a_thread_that_waits_for_something_is_noticed() {
    let bystander = Bystander::start(|| ());

    // A channel that nobody sends to: what a blocking call of the system looks like.
    bystander
        .serve(async {
            let (_held, never) = channel::channel::<()>();
            never.recv_timeout(Duration::from_secs(2)).ok();
        })
        .await;

    judged(bystander).expect_err("the client waited");
}
