//! The audit log: who called what, from where, with what outcome, and who was turned away. One JSON object a line, in
//! files that are only ever appended to. What a call was about is told by ids; arguments, answers and secrets are in no
//! line.
//!
//! One thread writes, many lines at once. The line of a call that changes something is with the operating system before
//! the call is answered, so a crash of the server loses none; the others are written behind.

mod file;
mod line;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use caelum_core::clock::Clock;
use caelum_engine::SystemClock;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use self::file::AuditFile;
use self::line::Line;
use crate::mcp::error::{Fault, ToolError};
use crate::mcp::session::Session;
use crate::mcp::tool::Reply;
use crate::mcp::toolset::CallContext;
use crate::rates::Bucket;
use crate::trust::Caller;

/// How many lines wait for the writer. At the limit a call waits for room, and a line about somebody who was turned away
/// is counted instead.
const WAITING_MAX: usize = 4_096;

/// How many lines are written at once.
const BATCH_MAX: u64 = 512;

/// How many lines about people who were turned away are written in a minute; more are counted, so that nobody who is kept
/// out can push what matters out of the files.
const DENIALS_PER_MINUTE: u32 = 600;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Every call.
    #[default]
    All,
    /// Calls that change something, and whatever was denied or failed.
    Changes,
    /// Nothing.
    Off,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of one file in bytes; 16 MiB, about 50,000 calls. At the limit it is put aside and a new one begun.
    pub file_bytes_max: u64,
    /// How many files are kept, the newest; 20. Older ones go. 0 keeps every file.
    pub files_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes_max: 16 * 1024 * 1024, files_max: 20 }
    }
}

/// Where to write, and how much.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of the files; made when the first line is written.
    pub directory: PathBuf,
    /// What is written.
    pub mode: Mode,
    /// How much is kept.
    pub limits: Limits,
}

/// Somebody who was turned away before a tool was called.
#[derive(Debug, Clone, Copy)]
pub struct Denial<'a> {
    /// A word to search for: `unauthorized`, `foreign_host`, `foreign_origin`, `bad_host`, `rate_limited`.
    pub code: &'static str,
    /// What was wrong, without anything secret.
    pub reason: &'a str,
    /// What was asked for: a path, where there is one.
    pub path: Option<&'a str>,
    /// Who it was, where that is known.
    pub caller: Option<Caller>,
}

/// The audit log of one server. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Audit(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    mode: Mode,
    queue: mpsc::Sender<Item>,
    denials: Bucket,
    // Lines about denials that were not written since the last one that was.
    suppressed: AtomicU64,
    trouble: Arc<Mutex<Option<String>>>,
}

/// What travels to the writer.
enum Item {
    Line { bytes: Vec<u8>, written: Option<oneshot::Sender<()>> },
    End(oneshot::Sender<()>),
}

impl Audit {
    /// Returns a log that nothing is written to.
    pub fn off() -> Self {
        Self(None)
    }

    /// Begins a log. Nothing is written yet, and no file is made.
    ///
    /// # Errors
    ///
    /// The thread that writes cannot be started.
    pub fn start(options: Options) -> io::Result<Self> {
        if options.mode == Mode::Off {
            return Ok(Self::off());
        }
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let trouble = Arc::new(Mutex::new(None));
        let told = Arc::clone(&trouble);
        let file = AuditFile::new(options.directory, options.limits);
        // It ends when it is told so, or with the last handle.
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write(waiting, file, &told))?;
        Ok(Self(Some(Arc::new(Inner {
            mode: options.mode,
            queue,
            denials: Bucket::new(DENIALS_PER_MINUTE),
            suppressed: AtomicU64::new(0),
            trouble,
        }))))
    }

    /// Returns why lines cannot be written now; `None` when all is well.
    pub fn trouble(&self) -> Option<String> {
        let inner = self.0.as_ref()?;
        inner.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the server began or stopped serving, with what is worth knowing then.
    pub async fn note(&self, event: &'static str, about: BTreeMap<&'static str, Value>) {
        let Some(inner) = &self.0 else { return };
        let mut line = Line::new(event, now());
        line.about = about;
        inner.hand_over(line.to_bytes(), true).await;
    }

    /// Begins the line of a call. It is written when the call has its outcome, or when nobody waits for that any more.
    pub(crate) fn begin(
        &self,
        context: &CallContext,
        tool: &str,
        changes: bool,
        arguments: &Map<String, Value>,
    ) -> Entry {
        let line = self.0.as_ref().map(|_| {
            let mut line = Line::new("call", now());
            line.take_origin(&context.session);
            line.by(context.caller);
            line.of_client(context);
            line.tool = Some(line::short(tool));
            line.take_ids(arguments);
            line
        });
        Entry { audit: self.clone(), line, changes, begun: Instant::now() }
    }

    /// Writes about somebody who was turned away. Never waits: where there is no room, or where there are too many of
    /// them, the line is counted and the next one says how many there were.
    pub(crate) fn denied(&self, session: &Session, denial: Denial<'_>) {
        let Some(inner) = &self.0 else { return };
        if inner.denials.take(Instant::now()).is_err() {
            inner.suppressed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut line = Line::new("denied", now());
        line.take_origin(session);
        if let Some(caller) = denial.caller {
            line.by(caller);
        }
        line.outcome = Some("denied");
        line.code = Some(denial.code.to_owned());
        line.reason = Some(line::short(denial.reason));
        line.path = denial.path.map(line::short);
        let before = inner.suppressed.swap(0, Ordering::Relaxed);
        line.suppressed = (before > 0).then_some(before);
        let item = Item::Line { bytes: line.to_bytes(), written: None };
        if inner.queue.try_send(item).is_err() {
            inner.suppressed.fetch_add(before + 1, Ordering::Relaxed);
        }
    }

    /// Writes what waits, makes it durable and ends the writer. Lines that come later are not written.
    pub async fn close(&self) {
        let Some(inner) = &self.0 else { return };
        let (ended, end) = oneshot::channel();
        if inner.queue.send(Item::End(ended)).await.is_ok() {
            end.await.ok();
        }
    }
}

impl Inner {
    /// Hands a line to the writer; with `wait`, returns when the operating system has it.
    async fn hand_over(&self, bytes: Vec<u8>, wait: bool) {
        let (written, done) = oneshot::channel();
        let item = Item::Line { bytes, written: wait.then_some(written) };
        // A writer that has ended, ended because the server did.
        if self.queue.send(item).await.is_ok() && wait {
            done.await.ok();
        }
    }
}

/// The line of a call that is under way. Dropped without an outcome, it says that nobody waited for one.
#[derive(Debug)]
pub(crate) struct Entry {
    audit: Audit,
    line: Option<Line>,
    changes: bool,
    begun: Instant,
}

impl Entry {
    /// Writes the line of a call to a tool that is not there.
    pub(crate) async fn unknown(mut self) {
        if let Some(line) = &mut self.line {
            line.outcome = Some("denied");
            line.code = Some("unknown_tool".to_owned());
        }
        self.write(true).await;
    }

    /// Writes the line of a call with its outcome.
    pub(crate) async fn finish(mut self, outcome: &Result<Reply, ToolError>) {
        let mut matters = self.changes;
        if let Some(line) = &mut self.line {
            match outcome {
                Ok(reply) => {
                    line.outcome = Some("ok");
                    line.take_ids_of_answer(&reply.structured);
                }
                Err(error) => {
                    line.code = Some(line::short(error.code()));
                    line.outcome = Some(match (error.code(), error.fault()) {
                        ("forbidden", _) => "denied",
                        (_, Fault::Caller) => "refused",
                        (_, Fault::Plugin | Fault::Server) => "failed",
                    });
                    matters |= line.outcome != Some("refused");
                }
            }
        }
        self.write(matters).await;
    }

    async fn write(&mut self, matters: bool) {
        let Some(bytes) = self.bytes(matters) else { return };
        if let Some(inner) = &self.audit.0 {
            inner.hand_over(bytes, self.changes).await;
        }
    }

    fn bytes(&mut self, matters: bool) -> Option<Vec<u8>> {
        let mut line = self.line.take()?;
        let mode = self.audit.0.as_ref().map_or(Mode::Off, |inner| inner.mode);
        if mode == Mode::Changes && !matters {
            return None;
        }
        line.ms = Some(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        Some(line.to_bytes())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(line) = &mut self.line {
            line.outcome = Some("abandoned");
        }
        let Some(bytes) = self.bytes(self.changes) else { return };
        if let Some(inner) = &self.audit.0 {
            inner.queue.try_send(Item::Line { bytes, written: None }).ok();
        }
    }
}

fn now() -> String {
    SystemClock.now().to_string()
}

/// Writes until it is told to end, or until nobody can send any more.
fn write(mut waiting: mpsc::Receiver<Item>, mut file: AuditFile, trouble: &Mutex<Option<String>>) {
    let (mut lost, mut end) = (0_u64, None);
    while end.is_none()
        && let Some(first) = waiting.blocking_recv()
    {
        let (mut batch, mut count, mut told) = (Vec::new(), 0_u64, Vec::new());
        let mut next = Some(first);
        while let Some(item) = next {
            match item {
                Item::Line { bytes, written } => {
                    batch.extend_from_slice(&bytes);
                    count += 1;
                    told.extend(written);
                }
                Item::End(ended) => {
                    end = Some(ended);
                    break;
                }
            }
            next = if count < BATCH_MAX { waiting.try_recv().ok() } else { None };
        }
        if lost > 0 && count > 0 {
            let mut first = Line::new("lost", now());
            first.suppressed = Some(lost);
            batch.splice(0..0, first.to_bytes());
        }
        if count > 0 {
            let appended = file.append(&batch);
            let failed = appended.err().map(|error| {
                format!(
                    "the audit log in `{}` cannot be written: {error}",
                    file.directory().display()
                )
            });
            if let (Some(why), 0) = (&failed, lost) {
                tracing::error!(
                    "{why}; calls go on and are counted; hint: make room, or set audit to off"
                );
            }
            lost = if failed.is_some() { lost + count } else { 0 };
            *trouble.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        }
        for written in told {
            // Whoever waited may be gone.
            written.send(()).ok();
        }
    }
    file.sync();
    if let Some(end) = end {
        end.send(()).ok();
    }
}

/// Returns how an address is written.
fn address(remote: SocketAddr) -> String {
    SocketAddr::new(remote.ip().to_canonical(), remote.port()).to_string()
}

#[cfg(test)]
mod tests;
