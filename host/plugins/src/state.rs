//! What one call's store holds: the host's side of `log`, `target` and `control`, the inert WASI, and the counters.
//! Made for a call and dropped with it.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::id::Digest;
use caelum_core::tree::{Entry, EntryKind};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, trace, warn};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::bindings::{control, log, target, types};
use crate::host::Host;
use crate::limiter::Limiter;
use crate::limits::Limits;
use crate::log::{LogBook, LogLevel, LogLine, LogSource, Logs};
use crate::target::{ReadCounts, ReadError, Reads};
use crate::text;
use crate::wasi::{Capture, CaptureRoom, Determinism, inert};

/// Which plugin is called, as every line about a call says.
#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) digest: Digest,
}

/// Which plugin is called, and the number of the call.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) who: Arc<Who>,
    pub(crate) call: u64,
}

/// How far a call says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Counts up.
    pub done: u32,
    /// What `done` will be at the end, when it is known.
    pub total: Option<u32>,
    /// A short text for people.
    pub message: String,
}

/// The call's time is up; the trap that ends the guest.
#[derive(Debug, thiserror::Error)]
#[error("the deadline has passed")]
pub(crate) struct DeadlinePassed;

/// The caller has given up; the trap that ends the guest.
#[derive(Debug, thiserror::Error)]
#[error("the call was cancelled")]
pub(crate) struct CallCancelled;

/// Where a call runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the thread of its caller, which serves others, too: it may compute for a moment, and nothing else.
    Inline,
    /// On a thread of its own.
    OwnThread,
}

/// The call cannot go on where its caller is; the trap that ends an inline call.
#[derive(Debug, thiserror::Error)]
#[error("the call needs a thread of its own")]
pub(crate) struct NeedsThread;

/// How long an inline call may run before a tick of the clock ends it: the first tick may come at once.
const GRACE: Duration = Duration::from_millis(1);

/// The data of one call's store.
pub(crate) struct CallState {
    pub(crate) caller: Caller,
    pub(crate) limiter: Limiter,
    pub(crate) deadline: Instant,
    pub(crate) cancel: CancellationToken,
    place: Place,
    begun: Instant,
    pub(crate) host_calls: u64,
    progress: Option<watch::Sender<Progress>>,
    limits: Arc<Limits>,
    /// Where disks and timers are waited for.
    threads: Handle,
    determinism: Determinism,
    /// Made when a guest first asks for it: most plugins in Rust never do.
    wasi: Option<WasiCtx>,
    table: ResourceTable,
    room: Arc<CaptureRoom>,
    stdout: Capture,
    stderr: Capture,
    book: LogBook,
    /// Away while a read is under way on another thread, and for good when that read was not waited for.
    reads: Option<Reads>,
    counts: ReadCounts,
}

/// What is left of a call when it is over.
pub(crate) struct Remains {
    pub(crate) logs: Logs,
    pub(crate) counts: ReadCounts,
    pub(crate) host_calls: u64,
    pub(crate) memory_bytes: u64,
}

impl CallState {
    pub(crate) fn new(
        caller: Caller,
        host: &Host,
        place: Place,
        determinism: Determinism,
        reads: Reads,
        cancel: CancellationToken,
        progress: Option<watch::Sender<Progress>>,
    ) -> Self {
        let limits = &host.limits;
        let limiter = match place {
            Place::Inline => Limiter::inline(limits),
            Place::OwnThread => Limiter::new(limits),
        };
        let begun = Instant::now();
        let room = CaptureRoom::new(limits.output_bytes_max);
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(limits.handles_max).unwrap_or(usize::MAX));
        CallState {
            caller,
            limiter,
            deadline: begun,
            cancel,
            place,
            begun,
            host_calls: 0,
            progress,
            limits: Arc::clone(limits),
            threads: host.runtime.threads().clone(),
            determinism,
            wasi: None,
            table,
            stdout: Capture::new(&room),
            stderr: Capture::new(&room),
            room,
            book: LogBook::new(limits.log_lines_max, limits.log_bytes_max),
            reads: Some(reads),
            counts: ReadCounts::default(),
        }
    }

    /// Takes what the report of the call needs, once.
    pub(crate) fn take_remains(&mut self) -> Remains {
        for (bytes, source, level) in [
            (self.stdout.take(), LogSource::Stdout, LogLevel::Info),
            (self.stderr.take(), LogSource::Stderr, LogLevel::Warn),
        ] {
            for message in text::lines(&bytes) {
                self.keep(LogLine { level, source, message, fields: vec![] });
            }
        }
        let mut logs = self.book.take_logs();
        logs.output_bytes_dropped = self.room.dropped();
        Remains {
            logs,
            counts: self.reads.as_ref().map_or(self.counts, Reads::counts),
            host_calls: self.host_calls,
            memory_bytes: self.limiter.memory_bytes(),
        }
    }

    fn keep(&mut self, line: LogLine) {
        emit(&self.caller, &line);
        self.book.push(line);
    }

    /// Says whether the call must end now, and why.
    pub(crate) fn must_end(&self) -> wasmtime::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(CallCancelled.into());
        }
        let now = Instant::now();
        if now >= self.deadline {
            return Err(DeadlinePassed.into());
        }
        if self.place == Place::Inline && now - self.begun >= GRACE {
            return Err(NeedsThread.into());
        }
        Ok(())
    }

    /// Counts a call of the host.
    ///
    /// # Errors
    ///
    /// The trap that ends an inline call: what it would have said or read is said and read when it is begun again.
    fn host_call(&mut self) -> wasmtime::Result<()> {
        self.host_calls += 1;
        match self.place {
            Place::Inline => Err(NeedsThread.into()),
            Place::OwnThread => Ok(()),
        }
    }

    /// Waits for what happens to handles, at most until the call must end.
    ///
    /// # Errors
    ///
    /// The trap that ends the guest.
    pub(crate) fn wait_with_table<T>(
        &mut self,
        awaited: impl AsyncFnOnce(&mut ResourceTable) -> T,
    ) -> wasmtime::Result<T> {
        let awaited = awaited(&mut self.table);
        wait(&self.threads, &self.cancel, self.deadline, awaited)
    }

    /// Runs a read, on a thread that may wait for a disk when the tree has one.
    ///
    /// # Errors
    ///
    /// The outer error is the trap of a call that must end while the disk is waited for.
    ///
    /// # Panics
    ///
    /// With the panic of the tree, which ends this call and no other.
    fn reading<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&mut Reads) -> Result<T, ReadError> + Send + 'static,
    ) -> wasmtime::Result<Result<T, target::ErrorCode>> {
        self.host_call()?;
        let io = |message: &str| Ok(Err(target::ErrorCode::Io(message.to_owned())));
        let Some(mut reads) = self.reads.take() else {
            return io("an earlier read has failed");
        };
        let denied = reads.counts().denied;
        let answer = if reads.may_block() {
            let task = self.threads.spawn_blocking(move || {
                let answer = read(&mut reads);
                (reads, answer)
            });
            match wait(&self.threads, &self.cancel, self.deadline, task)? {
                Ok((back, answer)) => {
                    reads = back;
                    answer
                }
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(_) => return io("the host is shutting down"),
                },
            }
        } else {
            read(&mut reads)
        };
        self.counts = reads.counts();
        if self.counts.denied > denied {
            debug!(
                plugin = %self.caller.who.plugin,
                version = %self.caller.who.version,
                digest = self.caller.who.digest.short(),
                call = self.caller.call,
                "a plugin asked for a path that is withheld"
            );
        }
        self.reads = Some(reads);
        Ok(answer.map_err(error_code))
    }
}

/// Waits on the guest's own thread for something that takes its time, at most until the call must end.
///
/// # Errors
///
/// The trap that ends the guest.
fn wait<T>(
    threads: &Handle,
    cancel: &CancellationToken,
    deadline: Instant,
    awaited: impl Future<Output = T>,
) -> wasmtime::Result<T> {
    threads.block_on(async {
        tokio::select! {
            biased;
            done = awaited => Ok(done),
            () = cancel.cancelled() => Err(CallCancelled.into()),
            () = tokio::time::sleep_until(deadline.into()) => Err(DeadlinePassed.into()),
        }
    })
}

/// Writes a plugin's line to the server's log. What matters to a plugin's author matters less to an operator, so its
/// levels count one lower.
fn emit(caller: &Caller, line: &LogLine) {
    macro_rules! write {
        ($macro:ident) => {
            $macro!(
                target: "caelum::plugin",
                plugin = %caller.who.plugin,
                version = %caller.who.version,
                digest = caller.who.digest.short(),
                call = caller.call,
                fields = ?line.fields,
                "{}",
                line.message
            )
        };
    }
    match line.level {
        LogLevel::Error => write!(warn),
        LogLevel::Warn => write!(info),
        LogLevel::Info => write!(debug),
        LogLevel::Debug | LogLevel::Trace => write!(trace),
    }
}

fn error_code(error: ReadError) -> target::ErrorCode {
    match error {
        ReadError::NotFound => target::ErrorCode::NotFound,
        ReadError::Denied => target::ErrorCode::Denied,
        ReadError::NotAFile => target::ErrorCode::NotAFile,
        ReadError::NotADirectory => target::ErrorCode::NotADirectory,
        ReadError::NotUtf8 => target::ErrorCode::NotUtf8,
        ReadError::BudgetExceeded => target::ErrorCode::BudgetExceeded,
        ReadError::Io(message) => target::ErrorCode::Io(message),
    }
}

fn guest_entries(entries: Vec<Entry>) -> Vec<target::Entry> {
    entries
        .into_iter()
        .map(|entry| target::Entry {
            path: entry.path,
            kind: match entry.kind {
                EntryKind::File => target::Kind::File,
                EntryKind::Directory => target::Kind::Directory,
                EntryKind::Symlink => target::Kind::Symlink,
                EntryKind::Other => target::Kind::Other,
            },
            size: entry.size,
        })
        .collect()
}

impl types::Host for CallState {}

impl log::Host for CallState {
    fn log(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        self.host_call()?;
        let bytes = message.len()
            + fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if !self.book.admit(bytes) {
            return Ok(());
        }
        self.keep(LogLine {
            level: match level {
                log::Level::Trace => LogLevel::Trace,
                log::Level::Debug => LogLevel::Debug,
                log::Level::Info => LogLevel::Info,
                log::Level::Warn => LogLevel::Warn,
                log::Level::Error => LogLevel::Error,
            },
            source: LogSource::Plugin,
            message: text::line(&message),
            fields: fields
                .iter()
                .map(|(name, value)| (text::line(name), text::line(value)))
                .collect(),
        });
        Ok(())
    }
}

impl control::Host for CallState {
    fn is_cancelled(&mut self) -> wasmtime::Result<bool> {
        self.host_call()?;
        Ok(self.cancel.is_cancelled())
    }

    fn progress(&mut self, done: u32, total: Option<u32>, message: String) -> wasmtime::Result<()> {
        self.host_call()?;
        if let Some(progress) = &self.progress {
            let message = text::line(&message);
            progress.send_modify(|latest| {
                // It never falls during a call, whatever the guest says.
                *latest = Progress { done: done.max(latest.done), total, message };
            });
        }
        Ok(())
    }
}

/// What the engine sees of a read: the trap that ends the guest, or what the guest is told.
type Read<T> = wasmtime::Result<Result<T, target::ErrorCode>>;

impl target::Host for CallState {
    fn entries(&mut self, path: String) -> Read<Vec<target::Entry>> {
        self.reading(move |reads| reads.entries(&path).map(guest_entries))
    }

    fn glob(&mut self, pattern: String, limit: u32) -> Read<Vec<target::Entry>> {
        self.reading(move |reads| reads.glob(&pattern, limit as usize).map(guest_entries))
    }

    fn read(&mut self, path: String, offset: u64, length: u32) -> Read<Vec<u8>> {
        self.reading(move |reads| reads.read(&path, offset, u64::from(length)))
    }

    fn read_text(&mut self, path: String) -> Read<String> {
        self.reading(move |reads| reads.read_text(&path))
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| {
            inert(&self.limits, self.determinism, &self.stdout, &self.stderr)
        });
        WasiCtxView { ctx, table: &mut self.table }
    }
}
