//! One MCP connection over a channel that carries whole messages: lines on a byte stream, frames of a WebSocket. Reads
//! and answers what is no message, bounds what is in flight, and ends connections that are idle or do not read.
//!
//! It knows nothing of tools and nothing of who is calling; the gate that counts requests is handed to it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Sink, SinkExt, Stream, StreamExt};
use rmcp::model::{ClientNotification, ErrorCode, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::{RoleServer, ServiceExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::handler::Handler;
use super::message::{self, Refusal};
use super::session::Admission;

/// How many messages wait for the writer; small, because each waiting one holds its bytes.
const OUTGOING_MAX: usize = 64;

/// The limits of one connection.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long one message may be, in bytes; 4 MiB, as for a request over HTTP. A longer one is answered with an error
    /// and skipped.
    pub message_max_bytes: usize,
    /// How many requests may be unanswered at once; 256. At the limit the server stops reading until one is answered.
    pub requests_in_flight_max: usize,
    /// How long a client may take to agree on a protocol; 30 s. `None` waits for ever, as on standard input.
    pub initialize_timeout: Option<Duration>,
    /// How long a connection may be without a message and without a request in flight; 1 h. `None` waits for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a client may take to read what it is sent; 30 s. After that the connection ends, because answers would
    /// pile up.
    pub write_timeout: Duration,
    /// How often a WebSocket is pinged, so that a dead peer is noticed; 30 s.
    pub ping_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_max_bytes: 4 * 1024 * 1024,
            requests_in_flight_max: 256,
            initialize_timeout: Some(Duration::from_secs(30)),
            idle_timeout: Some(Duration::from_secs(60 * 60)),
            write_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(30),
        }
    }
}

/// What arrives on a channel.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The bytes of one message.
    Message(Bytes),
    /// A message was longer than the limit and was skipped.
    TooLong,
    /// Something that can never be a message, such as a binary frame; the channel must close with this code.
    Unsupported {
        /// The WebSocket close code.
        code: u16,
        /// Why, for a person.
        reason: &'static str,
    },
}

/// What leaves on a channel.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// The bytes of one message.
    Message(Vec<u8>),
    /// A sign of life, on channels that know one.
    Ping,
    /// The last frame, on channels that know one.
    Close {
        /// The WebSocket close code.
        code: u16,
        /// Why, for a person.
        reason: &'static str,
    },
}

/// A connection could not be written to.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed")]
pub(crate) struct Closed;

/// The requests that wait for an answer, shared by the reading and the sending half.
#[derive(Debug, Default)]
struct InFlight {
    ids: Mutex<HashSet<RequestId>>,
    fewer: Notify,
}

impl InFlight {
    fn len(&self) -> usize {
        self.ids.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).len()
    }

    fn insert(&self, id: RequestId) -> bool {
        self.ids.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(id)
    }

    fn remove(&self, id: &RequestId) {
        self.ids.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(id);
        self.fewer.notify_one();
    }
}

/// The transport that rmcp's service loop drives.
pub(crate) struct Connection<I> {
    incoming: I,
    outgoing: Option<mpsc::Sender<Outgoing>>,
    writer: Option<JoinHandle<()>>,
    // Cancelled by the writer when the peer no longer reads.
    broken: CancellationToken,
    in_flight: Arc<InFlight>,
    // An answer of this layer that waits for room; kept here because `receive` may be dropped at any await.
    pending: Option<Outgoing>,
    // Set when the channel must end once `pending` is written.
    ending: bool,
    last_message: Instant,
    limits: Limits,
    // The gate that requests pass; without one nobody counts them.
    admission: Option<Admission>,
}

impl<I> Connection<I>
where
    I: Stream<Item = Incoming> + Send + Unpin + 'static,
{
    /// Opens a connection over a pair of channels; spawns the task that writes, which ends with the connection.
    pub(crate) fn new<O>(incoming: I, outgoing: O, limits: Limits, pings: bool) -> Self
    where
        O: Sink<Outgoing> + Send + Unpin + 'static,
    {
        let (sender, receiver) = mpsc::channel(OUTGOING_MAX);
        let broken = CancellationToken::new();
        let ping_interval = pings.then_some(limits.ping_interval);
        let writer = tokio::spawn(write(
            outgoing,
            receiver,
            limits.write_timeout,
            ping_interval,
            broken.clone(),
        ));
        Self {
            incoming,
            outgoing: Some(sender),
            writer: Some(writer),
            broken,
            in_flight: Arc::default(),
            pending: None,
            ending: false,
            last_message: Instant::now(),
            limits,
            admission: None,
        }
    }

    /// Waits for the next thing to arrive; `None` ends the connection.
    async fn next(&mut self) -> Option<Incoming> {
        loop {
            if self.in_flight.len() >= self.limits.requests_in_flight_max {
                tokio::select! {
                    () = self.in_flight.fewer.notified() => continue,
                    () = self.broken.cancelled() => return None,
                }
            }
            let idle_at = self.limits.idle_timeout.map(|idle| self.last_message + idle);
            tokio::select! {
                arrived = self.incoming.next() => return arrived,
                () = self.broken.cancelled() => return None,
                () = sleep_until(idle_at) => {
                    // A client that waits for an answer is not idle.
                    if self.in_flight.len() == 0 {
                        tracing::debug!("connection closed: idle");
                        return None;
                    }
                    self.last_message = Instant::now();
                }
            }
        }
    }

    fn accept(&mut self, bytes: &[u8]) -> Option<RxJsonRpcMessage<RoleServer>> {
        // Blank lines are a habit of people at terminals and of some line-based clients.
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let message = match message::read(bytes) {
            Ok(message) => message,
            Err(refusal) => {
                self.pending = Some(Outgoing::Message(refusal.to_json()));
                return None;
            }
        };
        match &message {
            JsonRpcMessage::Request(request) => {
                if let Some(Err(early)) = self.admission.as_ref().map(Admission::admit) {
                    let id = serde_json::to_value(&request.id).ok();
                    let refusal = Refusal::too_many(id, &early);
                    self.pending = Some(Outgoing::Message(refusal.to_json()));
                    return None;
                }
                if !self.in_flight.insert(request.id.clone()) {
                    let refusal = Refusal {
                        id: serde_json::to_value(&request.id).ok(),
                        code: ErrorCode::INVALID_REQUEST.0,
                        message: "a request with this id is still unanswered; ids must differ"
                            .to_owned(),
                        retry_after_ms: None,
                    };
                    self.pending = Some(Outgoing::Message(refusal.to_json()));
                    return None;
                }
            }
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) =
                    &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    // A cancelled request is not answered.
                    self.in_flight.remove(id);
                }
            }
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
        }
        Some(message)
    }
}

impl<I> Transport<RoleServer> for Connection<I>
where
    I: Stream<Item = Incoming> + Send + Unpin + 'static,
{
    type Error = Closed;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Closed>> + Send + 'static {
        let outgoing = self.outgoing.clone();
        let in_flight = Arc::clone(&self.in_flight);
        async move {
            let answered = match &item {
                JsonRpcMessage::Response(response) => Some(response.id.clone()),
                JsonRpcMessage::Error(error) => error.id.clone(),
                JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
            };
            let bytes = serde_json::to_vec(&item).map_err(|error| {
                tracing::error!(%error, "a message could not be written as JSON");
                Closed
            })?;
            let sent = match outgoing {
                Some(outgoing) => outgoing.send(Outgoing::Message(bytes)).await.map_err(|_| Closed),
                None => Err(Closed),
            };
            if let Some(id) = answered {
                in_flight.remove(&id);
            }
            sent
        }
    }

    /// # Cancel safety
    ///
    /// Safe: an answer of this layer stays in `pending` until there is room for it, and the incoming stream keeps what
    /// it has read of a message.
    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            if self.pending.is_some() {
                let room = self.outgoing.as_ref()?.reserve().await.ok()?;
                if let Some(answer) = self.pending.take() {
                    room.send(answer);
                }
            }
            if self.ending {
                return None;
            }
            match self.next().await? {
                Incoming::Message(bytes) => {
                    self.last_message = Instant::now();
                    if let Some(message) = self.accept(&bytes) {
                        return Some(message);
                    }
                }
                Incoming::TooLong => {
                    self.last_message = Instant::now();
                    self.pending = Some(Outgoing::Message(
                        Refusal::too_long(self.limits.message_max_bytes).to_json(),
                    ));
                }
                Incoming::Unsupported { code, reason } => {
                    self.pending = Some(Outgoing::Close { code, reason });
                    self.ending = true;
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), Closed> {
        // The writer ends when its queue is empty and nobody can fill it any more.
        self.outgoing = None;
        if let Some(writer) = self.writer.take() {
            writer.await.ok();
        }
        Ok(())
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Writes until the queue is closed and empty, or the peer does not read in time.
async fn write<O>(
    mut sink: O,
    mut queue: mpsc::Receiver<Outgoing>,
    write_timeout: Duration,
    ping_interval: Option<Duration>,
    broken: CancellationToken,
) where
    O: Sink<Outgoing> + Send + Unpin,
{
    let mut batch = Vec::with_capacity(OUTGOING_MAX);
    loop {
        let ping_at = ping_interval.map(|interval| Instant::now() + interval);
        let count = tokio::select! {
            count = queue.recv_many(&mut batch, OUTGOING_MAX) => count,
            () = sleep_until(ping_at) => {
                batch.push(Outgoing::Ping);
                1
            }
        };
        if count == 0 {
            break;
        }
        // Everything that waits leaves in one write.
        let written = tokio::time::timeout(write_timeout, async {
            for item in batch.drain(..) {
                sink.feed(item).await?;
            }
            sink.flush().await
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => break,
            Err(_) => {
                tracing::debug!(
                    seconds = write_timeout.as_secs(),
                    "connection closed: the client does not read"
                );
                break;
            }
        }
    }
    broken.cancel();
    // A peer that is gone cannot be told; one that reads is, within the same time.
    tokio::time::timeout(write_timeout.min(Duration::from_secs(1)), sink.close()).await.ok();
}

/// Serves one connection to its end: until the client leaves, is idle, or `stop` is cancelled; running calls then get
/// the short time that rmcp gives them to answer.
pub(crate) async fn serve<I>(
    handler: Handler,
    mut connection: Connection<I>,
    stop: CancellationToken,
) where
    I: Stream<Item = Incoming> + Send + Unpin + 'static,
{
    connection.admission = handler.admission();
    let initialize_timeout = connection.limits.initialize_timeout;
    // A token of its own: rmcp cancels the one it is given when the connection ends.
    let opening = Box::pin(handler.serve_with_ct(connection, stop.child_token()));
    let opened = match initialize_timeout {
        Some(limit) => tokio::time::timeout(limit, opening).await,
        None => Ok(opening.await),
    };
    match opened {
        Ok(Ok(running)) => {
            if let Err(error) = running.waiting().await {
                tracing::error!(%error, "a connection's loop broke");
            }
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "connection closed before a protocol was agreed on")
        }
        Err(_) => tracing::debug!("connection closed: no protocol was agreed on in time"),
    }
}
