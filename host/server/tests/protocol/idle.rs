//! Clients that watch cost nothing while nothing changes: nothing is sent to them, no statement runs, nobody wakes up.

use std::time::{Duration, Instant};

use axum::body::Body;
use caelum_workflow::http::events;
use futures::StreamExt;
use http::Request;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::wire::Wire;
use crate::{Era, World, by_hand};

/// How many clients of each era watch.
const WATCHERS: usize = 20;

/// Long enough that anything that polls would have been seen.
const QUIET: Duration = Duration::from_secs(2);

/// Wake-ups that the test itself causes by waiting, and those of the last client that was told something.
const OWN_WAKE_UPS: u64 = 20;

/// How long it may take until nothing goes on any more.
const LIMIT: Duration = Duration::from_secs(60);

async fn statements(world: &World) -> u64 {
    world.core.engine.health().await.store.expect("it can be read").statements
}

/// How often the threads of this test's own runtime have gone to sleep.
fn wake_ups() -> u64 {
    let metrics = tokio::runtime::Handle::current().metrics();
    (0..metrics.num_workers()).map(|worker| metrics.worker_park_count(worker)).sum()
}

/// Waits until the store has put its last log away: the last thing that a server does by itself.
async fn settled(world: &World) {
    let began = Instant::now();
    loop {
        let store = world.core.engine.health().await.store.expect("it can be read");
        if store.wal_pages == 0 {
            return;
        }
        assert!(began.elapsed() < LIMIT, "{} pages are left", store.wal_pages);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_and_nothing_is_done_while_nothing_changes() {
    let world = World::new().await;
    world.core.engine.plugins_loaded().await;
    let mut worker = world.client(Era::Newer, json!({})).await;
    let execution = worker.start("watched", by_hand()).await;
    let uri = format!("execution://{execution}");
    let mut watchers: Vec<Wire> = Vec::new();
    for _ in 0..WATCHERS {
        let mut older = world.client(Era::Older, json!({})).await;
        older.ok("resources/subscribe", json!({"uri": uri})).await;
        let mut newer = world.client(Era::Newer, json!({})).await;
        let wanted = json!({"notifications": {"resourceSubscriptions": [uri], "resourcesListChanged": true}});
        newer.send("subscriptions/listen", wanted).await;
        newer.heard("notifications/subscriptions/acknowledged").await;
        watchers.extend([older, newer]);
    }
    let routes = events::route(world.core.engine.clone(), CancellationToken::new());
    let request = Request::get(events::PATH).body(Body::empty()).expect("a request");
    let response = routes.oneshot(request).await.expect("it answers");
    let mut stream = response.into_body().into_data_stream();
    // Everybody is told of one change, so that what they hear later would be another.
    let report = json!({"execution_id": execution, "step_id": "look", "performer": "ann", "summary": "looked"});
    worker.tool("complete_step", report).await;
    for watcher in &mut watchers {
        watcher.wait(|message| message["params"]["uri"] == *uri).await;
    }
    let first = stream.next().await.expect("a beginning").expect("bytes");
    settled(&world).await;
    for watcher in &mut watchers {
        watcher.forget().await;
    }
    let (one, two) = (statements(&world).await, statements(&world).await);
    let before = wake_ups();

    // A wait on purpose: that nothing happens has no state to wait for.
    let is_silent = watchers[0].is_silent(QUIET).await;

    let woken = wake_ups() - before;
    assert!(is_silent, "a client was told something");
    assert!(woken < OWN_WAKE_UPS, "{woken} wake-ups");
    assert_eq!(statements(&world).await - two, two - one, "what asking costs, and nothing else");
    for watcher in &mut watchers {
        assert!(watcher.is_silent(Duration::ZERO).await, "a client was told something");
    }
    assert!(first.starts_with(b"event: resync"), "{first:?}");
    let review = json!({"execution_id": execution, "step_id": "look", "reviewer": "bob", "decision": "approved"});
    worker.tool("review_step", review).await;
    for watcher in &mut watchers {
        watcher.wait(|message| message["params"]["uri"] == *uri).await;
    }
    world.core.close().await;
}
