//! `GET /events`: what changes, as server-sent events. A client that lost its connection sends the last id it saw and
//! gets what changed since; one that was away for too long is told to look at everything anew.
//!
//! That plugins came or went is one event too, without a word on which.
//!
//! Each event is the present state of one execution, not a delta: of an execution that changed a hundred times while a
//! slow client was busy, it gets the last. So nothing is queued for anybody, and nobody slows the engine down.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use caelum_engine::{Changed, Engine};
use caelum_plugin_host::Change as PluginChange;
use futures::Stream;
use futures::stream::unfold;
use http::HeaderMap;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// The path.
pub const PATH: &str = "/events";

/// How many executions are remembered for clients that come back; of more, the ones that changed longest ago are
/// forgotten. About 300 bytes each.
const REMEMBERED_MAX: usize = 4_096;

/// How long changes are gathered before they are sent: ten pictures a second are as live as an eye can see.
const PACE: Duration = Duration::from_millis(100);

/// How often a silent stream says that it lives, so that proxies keep it and dead clients are found.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Returns the route; who may see it is decided before it. Streams end when `shutdown` says so.
pub fn route(engine: Engine, shutdown: CancellationToken) -> Router {
    let source = Source { engine, feed: Arc::new(Feed::new()), shutdown };
    Router::new().route(PATH, get(serve).with_state(source))
}

#[derive(Clone)]
struct Source {
    engine: Engine,
    feed: Arc<Feed>,
    shutdown: CancellationToken,
}

async fn serve(
    State(source): State<Source>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let Source { engine, feed, shutdown } = source;
    // Nobody pays for what nobody has ever watched.
    if !feed.recording.swap(true, Ordering::Relaxed) {
        tokio::spawn(record(engine.watch_all(), engine.watch_plugins(), Arc::clone(&feed)));
    }
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let reader = Reader {
        seen: last.and_then(|id| feed.position(id)),
        told: feed.told.subscribe(),
        feed,
        shutdown,
        pending: VecDeque::new(),
    };
    let stream =
        unfold(reader, async |mut reader| reader.next().await.map(|event| (Ok(event), reader)));
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// An execution as it stands after a change.
#[derive(Debug, Clone, Serialize)]
struct Change {
    execution_id: String,
    workflow_id: String,
    status: &'static str,
    done: usize,
    total: usize,
    started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    event_count: u64,
}

impl Change {
    fn of(changed: &Changed) -> Self {
        let execution = &changed.snapshot.execution;
        let head = execution.head();
        let (done, total) = execution.progress();
        Change {
            execution_id: head.id.to_string(),
            workflow_id: head.workflow_id.to_string(),
            status: execution.status().as_str(),
            done,
            total,
            started_at: head.started_at.to_string(),
            ended_at: head.ended_at.map(|at| at.to_string()),
            event_count: head.events,
        }
    }
}

/// What changed last, in order, an execution once.
#[derive(Debug)]
struct Feed {
    /// Part of every id: positions of another process mean nothing here.
    process: String,
    recording: AtomicBool,
    latest: Mutex<Latest>,
    /// The newest position.
    told: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Latest {
    newest: u64,
    /// Whoever saw less than this has missed something.
    floor: u64,
    changes: BTreeMap<u64, Change>,
    positions: HashMap<String, u64>,
    /// Where plugins changed last; 0 when they never did.
    plugins: u64,
}

impl Feed {
    fn new() -> Self {
        Feed {
            process: uuid::Uuid::new_v4().simple().to_string(),
            recording: AtomicBool::new(false),
            latest: Mutex::default(),
            told: watch::Sender::new(0),
        }
    }

    fn put(&self, change: Change) {
        self.change(|latest| {
            if let Some(before) =
                latest.positions.insert(change.execution_id.clone(), latest.newest)
            {
                latest.changes.remove(&before);
            }
            latest.changes.insert(latest.newest, change);
            if latest.changes.len() > REMEMBERED_MAX
                && let Some((position, forgotten)) = latest.changes.pop_first()
            {
                latest.positions.remove(&forgotten.execution_id);
                latest.floor = position;
            }
        });
    }

    /// Some changes went by unseen: everybody looks at everything anew.
    fn gap(&self) {
        self.change(|latest| {
            latest.changes.clear();
            latest.positions.clear();
            latest.floor = latest.newest;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Latest)) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.newest += 1;
        change(&mut latest);
        let newest = latest.newest;
        drop(latest);
        self.told.send_replace(newest);
    }

    /// Notes that plugins came or went.
    fn plugins(&self) {
        self.change(|latest| latest.plugins = latest.newest);
    }

    /// Returns the events behind a position, and the newest position; `None` has seen nothing.
    fn behind(&self, seen: Option<u64>) -> (VecDeque<Event>, u64) {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let events = match seen {
            Some(seen) if seen >= latest.floor => {
                let event =
                    |kind: &str, position| Event::default().event(kind).id(self.id(position));
                let executions =
                    latest.changes.range(seen + 1..).filter_map(|(position, change)| {
                        let event = event("execution", *position).json_data(change).ok()?;
                        Some((*position, event))
                    });
                let plugins = (latest.plugins > seen)
                    .then(|| (latest.plugins, event("plugins", latest.plugins).data("{}")));
                let mut events: Vec<(u64, Event)> = executions.chain(plugins).collect();
                // Whoever breaks off goes on behind the last id, so ids only grow.
                events.sort_by_key(|(position, _)| *position);
                events.into_iter().map(|(_, event)| event).collect()
            }
            _ => {
                let event = Event::default().event("resync").id(self.id(latest.newest)).data("{}");
                VecDeque::from([event])
            }
        };
        (events, latest.newest)
    }

    fn id(&self, position: u64) -> String {
        format!("{}-{position}", self.process)
    }

    /// Returns the position of an id of this process.
    fn position(&self, id: &str) -> Option<u64> {
        let position = id.strip_prefix(self.process.as_str())?.strip_prefix('-')?.parse().ok()?;
        (position <= *self.told.borrow()).then_some(position)
    }
}

/// Keeps the feed up until the engine is gone.
async fn record(
    mut changes: broadcast::Receiver<Changed>,
    mut plugins: watch::Receiver<PluginChange>,
    feed: Arc<Feed>,
) {
    plugins.mark_unchanged();
    loop {
        let changed = tokio::select! {
            changed = changes.recv() => changed,
            Ok(()) = plugins.changed() => {
                feed.plugins();
                continue;
            }
        };
        match changed {
            Ok(changed) => feed.put(Change::of(&changed)),
            Err(RecvError::Lagged(missed)) => {
                tracing::debug!(missed, "changes came faster than they could be shown");
                feed.gap();
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// One client's place in the feed.
struct Reader {
    feed: Arc<Feed>,
    seen: Option<u64>,
    told: watch::Receiver<u64>,
    shutdown: CancellationToken,
    pending: VecDeque<Event>,
}

impl Reader {
    /// Returns the next event; nothing when the server stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            // Who comes for the first time or comes back is answered at once.
            let newest = *self.told.borrow_and_update();
            if self.seen.is_none_or(|seen| seen < newest) {
                let (events, newest) = self.feed.behind(self.seen);
                (self.pending, self.seen) = (events, Some(newest));
                continue;
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                told = self.told.changed() => told.ok()?,
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                () = tokio::time::sleep(PACE) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: &str, done: usize) -> Change {
        Change {
            execution_id: id.to_owned(),
            workflow_id: "w".to_owned(),
            status: "executing",
            done,
            total: 9,
            started_at: "2026-11-22T00:00:00Z".to_owned(),
            ended_at: None,
            event_count: 1,
        }
    }

    fn shown(feed: &Feed, seen: Option<u64>) -> Vec<String> {
        feed.behind(seen).0.iter().map(|event| format!("{event:?}")).collect()
    }

    #[test]
    fn of_an_execution_that_changed_often_the_last_change_is_shown() {
        let feed = Feed::new();
        for done in 0..5 {
            feed.put(change("ex_a", done));
            feed.put(change("ex_b", done));
        }

        let events = shown(&feed, Some(0));

        assert_eq!(events.len(), 2);
        assert!(events[0].contains("ex_a") && events[1].contains("ex_b"), "{events:?}");
        assert!(shown(&feed, Some(9)).len() == 1 && shown(&feed, Some(10)).is_empty());
    }

    #[test]
    fn that_plugins_changed_is_told_once_in_its_place() {
        let feed = Feed::new();
        feed.put(change("ex_a", 0));
        feed.plugins();
        feed.put(change("ex_b", 0));
        feed.plugins();
        feed.put(change("ex_c", 0));

        let events = shown(&feed, Some(0));

        let plugins: Vec<bool> = events.iter().map(|event| event.contains("plugins")).collect();
        assert_eq!(plugins, [false, false, true, false], "{events:?}");
        assert_eq!((shown(&feed, Some(4)).len(), shown(&feed, Some(3)).len()), (1, 2));
    }

    #[test]
    fn whoever_was_away_for_too_long_is_told_to_look_anew() {
        let feed = Feed::new();
        for number in 0..REMEMBERED_MAX + 3 {
            feed.put(change(&format!("ex_{number}"), 0));
        }

        assert!(shown(&feed, Some(2))[0].contains("resync"));
        assert_eq!(shown(&feed, Some(3)).len(), REMEMBERED_MAX);
        assert!(shown(&feed, None)[0].contains("resync"));
        feed.gap();
        assert!(shown(&feed, Some(10))[0].contains("resync"));
        feed.put(change("ex_a", 0));
        let newest = *feed.told.borrow();
        assert_eq!(shown(&feed, Some(newest - 1)).len(), 1);
    }

    #[test]
    fn ids_of_another_process_or_of_the_future_say_nothing() {
        let feed = Feed::new();
        feed.put(change("ex_a", 0));

        assert_eq!(feed.position(&feed.id(1)), Some(1));
        for id in ["", "1", "-1", &Feed::new().id(1), &feed.id(2), &format!("{}-x", feed.process)] {
            assert_eq!(feed.position(id), None, "{id}");
        }
    }
}
