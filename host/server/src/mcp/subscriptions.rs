//! Tells clients what changed: resources they watch, lists they keep. Fed by the engine's stream of changes, by plugins
//! that come and go, and by tools that were called; when nothing happens, nothing runs.
//!
//! Clients of the older era subscribe to one resource after the other and are told over their session; those of the
//! newer one open a stream that says what it wants. Both end here, in the same loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use caelum_engine::{Changed, Engine};
use caelum_plugin_host::Change;
use rmcp::RoleServer;
use rmcp::model::{ErrorData, ResourceUpdatedNotificationParam};
use rmcp::service::{
    Peer, ServiceError, SubscriptionContext, SubscriptionSendError, SubscriptionSink,
};
use serde_json::json;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::resources::Address;

/// How many resources one session or stream may watch; 1,000. More would be a client that watches everything by hand.
pub(super) const WATCHED_MAX: usize = 1_000;

/// How many notices a slow client may lag behind before it is told that everything it watches may have changed.
const NOTICES_MAX: usize = 256;

/// How long a client is left alone after it was told something: what happens meanwhile is told at once afterwards, and
/// an execution of a thousand steps is not a thousand notices.
const BREATH: Duration = Duration::from_millis(100);

/// Something that clients may want to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The list of tools is another one.
    Tools,
    /// The list of prompts is another one.
    Prompts,
    /// The list of resources is another one.
    Resources,
    /// One resource is another one.
    Resource(String),
}

/// Where notices are sent; cheap to clone.
#[derive(Debug, Clone)]
pub struct Notices(broadcast::Sender<Notice>);

impl Default for Notices {
    fn default() -> Self {
        Self(broadcast::Sender::new(NOTICES_MAX))
    }
}

impl Notices {
    /// Tells everybody who listens; nobody listening is no mistake.
    pub fn send(&self, notice: Notice) {
        self.0.send(notice).ok();
    }
}

/// What happened since a client was told last.
#[derive(Debug, Default)]
struct Batch {
    /// More than can be told one by one: everything may be another one.
    everything: bool,
    tools: bool,
    prompts: bool,
    resources: bool,
    updated: BTreeSet<String>,
}

impl Batch {
    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Tools => self.tools = true,
            Notice::Prompts => self.prompts = true,
            Notice::Resources => self.resources = true,
            Notice::Resource(uri) => {
                self.updated.insert(uri);
            }
        }
    }

    /// Loading goes on behind a start, and most of its news changes nothing that a client sees.
    fn reloaded(&mut self, names: BTreeSet<String>) {
        self.resources |= !names.is_empty();
        self.updated.extend(names.into_iter().map(|name| Address::Pattern(name).to_string()));
    }

    fn change(&mut self, changed: &Changed) {
        let execution = &changed.snapshot.execution;
        self.updated.insert(Address::Execution(execution.id().to_string()).to_string());
        if execution.status().is_final() {
            // A workflow shows how its last executions ended.
            let workflow_id = execution.head().workflow_id.to_string();
            self.updated.insert(Address::Workflow { workflow_id, revision: None }.to_string());
        }
    }
}

/// What is heard: the notices of the tools, and where there is an engine, the changes of executions and of plugins.
#[derive(Debug)]
pub(super) struct Sources {
    notices: broadcast::Receiver<Notice>,
    changes: Option<broadcast::Receiver<Changed>>,
    plugins: Option<Plugins>,
}

/// The plugins that are served, as the last batch knew them.
#[derive(Debug)]
struct Plugins {
    engine: Engine,
    changes: watch::Receiver<Change>,
    /// By name, with what tells one version from another.
    known: BTreeMap<String, String>,
}

impl Plugins {
    fn new(engine: &Engine) -> Self {
        let mut changes = engine.watch_plugins();
        changes.mark_unchanged();
        Self { known: Self::served(engine), engine: engine.clone(), changes }
    }

    fn served(engine: &Engine) -> BTreeMap<String, String> {
        let pinned = engine.plugins().plugins.into_iter().map(|plugin| plugin.pinned);
        pinned.map(|plugin| (plugin.name.to_string(), plugin.digest.to_string())).collect()
    }

    /// Returns the names of those that came, went or are others now.
    fn changed(&mut self) -> BTreeSet<String> {
        let before = std::mem::replace(&mut self.known, Self::served(&self.engine));
        let names = before.keys().chain(self.known.keys());
        names.filter(|name| before.get(*name) != self.known.get(*name)).cloned().collect()
    }
}

impl Sources {
    /// Listens from now on.
    pub(super) fn new(notices: &Notices, engine: Option<&Engine>) -> Self {
        Self {
            notices: notices.0.subscribe(),
            changes: engine.map(Engine::watch_all),
            plugins: engine.map(Plugins::new),
        }
    }

    /// Waits for the next thing to happen and takes what has happened beside it; nothing once the server ends.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is received before the one await.
    async fn next(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        let Self { notices, changes, plugins } = self;
        let changed = async {
            match changes.as_mut() {
                Some(changes) => changes.recv().await,
                None => std::future::pending().await,
            }
        };
        let reloaded = async {
            match plugins.as_mut() {
                Some(plugins) => plugins.changes.changed().await.map(|()| plugins.changed()),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            notice = notices.recv() => match notice {
                Ok(notice) => batch.note(notice),
                Err(RecvError::Lagged(_)) => batch.everything = true,
                Err(RecvError::Closed) => return None,
            },
            changed = changed => match changed {
                Ok(changed) => batch.change(&changed),
                Err(RecvError::Lagged(_)) => batch.everything = true,
                Err(RecvError::Closed) => return None,
            },
            names = reloaded => match names {
                Ok(names) => batch.reloaded(names),
                Err(_) => return None,
            },
        }
        loop {
            match notices.try_recv() {
                Ok(notice) => batch.note(notice),
                Err(TryRecvError::Lagged(_)) => batch.everything = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        while let Some(changes) = changes.as_mut() {
            match changes.try_recv() {
                Ok(changed) => batch.change(&changed),
                Err(TryRecvError::Lagged(_)) => batch.everything = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Some(batch)
    }
}

/// What one session of the older era watches. Dropping it ends what it started.
#[derive(Debug, Default)]
pub(super) struct Watched {
    uris: Mutex<BTreeSet<String>>,
    is_told: AtomicBool,
    end: CancellationToken,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Watched {
    /// Adds a resource.
    ///
    /// # Errors
    ///
    /// The session watches as many as it may.
    pub(super) fn add(&self, uri: String) -> Result<(), ErrorData> {
        let mut uris = self.uris.lock().unwrap_or_else(PoisonError::into_inner);
        if uris.len() >= WATCHED_MAX && !uris.contains(&uri) {
            return Err(ErrorData::invalid_params(
                format!("this session watches {WATCHED_MAX} resources, which is the most it may"),
                Some(json!({ "uri": uri })),
            ));
        }
        uris.insert(uri);
        Ok(())
    }

    /// Takes a resource away; one that was not watched is no mistake.
    pub(super) fn remove(&self, uri: &str) {
        self.uris.lock().unwrap_or_else(PoisonError::into_inner).remove(uri);
    }

    /// Tells the client from now on, until the session ends; asking twice changes nothing.
    pub(super) fn tell(self: &Arc<Self>, peer: Peer<RoleServer>, sources: Sources) {
        if self.is_told.swap(true, Ordering::Relaxed) {
            return;
        }
        // Weak, because the session's end is what ends the loop.
        let (watched, end) = (Arc::downgrade(self), self.end.clone());
        tokio::spawn(async move {
            let wanted = |batch: &Batch| -> Vec<String> {
                let Some(watched) = watched.upgrade() else { return Vec::new() };
                let uris = watched.uris.lock().unwrap_or_else(PoisonError::into_inner);
                if batch.everything {
                    uris.iter().cloned().collect()
                } else {
                    uris.intersection(&batch.updated).cloned().collect()
                }
            };
            forward(sources, &Ear::Session(peer), wanted, &end).await;
        });
    }
}

/// Keeps one stream of the newer era told, until the client ends it or `closing` says that the server does.
pub(super) async fn listen(
    context: SubscriptionContext,
    sources: Sources,
    closing: CancellationToken,
) {
    let watched: BTreeSet<String> =
        context.accepted().resource_subscriptions.iter().flatten().cloned().collect();
    let wanted = |batch: &Batch| -> Vec<String> {
        if batch.everything {
            watched.iter().cloned().collect()
        } else {
            watched.intersection(&batch.updated).cloned().collect()
        }
    };
    let ear = Ear::Stream(context.sink().clone());
    tokio::select! {
        () = forward(sources, &ear, wanted, &closing) => {}
        () = context.cancelled() => {}
    }
}

/// Who is told.
enum Ear {
    Session(Peer<RoleServer>),
    Stream(SubscriptionSink),
}

impl Ear {
    /// Tells what is wanted; false when nobody hears any more.
    async fn tell(&self, batch: &Batch, uris: Vec<String>) -> bool {
        match self {
            Self::Session(peer) => {
                let told = async {
                    if batch.tools {
                        peer.notify_tool_list_changed().await?;
                    }
                    if batch.prompts {
                        peer.notify_prompt_list_changed().await?;
                    }
                    if batch.resources || batch.everything {
                        peer.notify_resource_list_changed().await?;
                    }
                    for uri in uris {
                        let param = ResourceUpdatedNotificationParam::new(uri);
                        peer.notify_resource_updated(param).await?;
                    }
                    Ok::<(), ServiceError>(())
                };
                told.await.is_ok()
            }
            Self::Stream(sink) => {
                let accepted = sink.accepted();
                let lists_resources = accepted.resources_list_changed == Some(true);
                let told = async {
                    if batch.tools && accepted.tools_list_changed == Some(true) {
                        sink.notify_tool_list_changed().await?;
                    }
                    if batch.prompts && accepted.prompts_list_changed == Some(true) {
                        sink.notify_prompt_list_changed().await?;
                    }
                    if (batch.resources || batch.everything) && lists_resources {
                        sink.notify_resource_list_changed().await?;
                    }
                    for uri in uris {
                        sink.notify_resource_updated(uri).await?;
                    }
                    Ok::<(), SubscriptionSendError>(())
                };
                told.await.is_ok()
            }
        }
    }
}

/// Tells an ear what happens, until nobody hears, nothing more can happen, or `end` says so.
async fn forward(
    mut sources: Sources,
    ear: &Ear,
    wanted: impl Fn(&Batch) -> Vec<String>,
    end: &CancellationToken,
) {
    loop {
        let batch = tokio::select! {
            batch = sources.next() => batch,
            () = end.cancelled() => return,
        };
        let Some(batch) = batch else { return };
        let uris = wanted(&batch);
        // A client that does not read keeps nobody else waiting: this loop is its own.
        let is_heard = tokio::select! {
            is_heard = ear.tell(&batch, uris) => is_heard,
            () = end.cancelled() => return,
        };
        if !is_heard {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(BREATH) => {}
            () = end.cancelled() => return,
        }
    }
}
