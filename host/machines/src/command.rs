//! Runs one program from its start to the end of its process group.
//!
//! What holds whatever the program does:
//!
//! - It leads a process group of its own. When its time is up or somebody cancels, the whole group is asked to end
//!   (SIGTERM) and killed after the grace time. When it ends by itself, what is left of its group is ended the same way:
//!   a step that wants to leave a service behind starts it with `setsid` or the machine's service manager.
//! - A child that left the group and holds a pipe open is waited for no longer than [`MachineOptions::linger`].
//! - Input is written and output is read at the same time, so that neither blocks the other, and memory is bounded.
//! - Dropping the future kills the group. The server's own death ends it, too: at once through a guard where the machine
//!   has a shell, otherwise at the next start ([`crate::orphans`]).
//!
//! This module knows no retries and judges no output.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::{Pin, pin};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use caelum_core::clock::Clock;
use caelum_core::task::{CommandSpec, OutcomeStatus, TaskFailure, TaskOutcome, TaskSpec};
use cap_std::fs::Dir;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::capture::{Capture, Streams};
use crate::collect::{self, Patterns};
use crate::group::Group;
use crate::options::MachineOptions;
use crate::orphans::RunFolder;
use crate::outputs::{self, Before};
use crate::policy::{CommandPolicy, Prepared};
use crate::tree;

mod failure;

/// How much is read from a pipe at once: what a Linux pipe holds.
const PIPE_BYTES: usize = 64 * 1024;

/// How long the last words of ended processes are waited for.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How often, and how long apart, a program file that is open for writing is tried again.
const BUSY_TRIES: u32 = 10;
const BUSY_WAIT: Duration = Duration::from_millis(10);

/// How long a killed program may take to disappear. Longer means that it waits in the kernel, for a dead disk for
/// example, and nobody can help it.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// What running a program needs to know besides the program. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    pub(crate) policy: Arc<CommandPolicy>,
    pub(crate) options: MachineOptions,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where running programs are written down.
    pub(crate) runs: RunFolder,
}

/// Names a run: for its environment and for its file.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The idempotency key, or `probe/<name>`.
    pub(crate) key: String,
    /// Variables that tell the program what it works for.
    pub(crate) env: Vec<(&'static str, String)>,
}

impl Identity {
    fn of(spec: &TaskSpec) -> Self {
        Identity {
            key: spec.key.to_string(),
            env: vec![
                ("CAELUM_EXECUTION_ID", spec.key.execution.to_string()),
                ("CAELUM_STEP_ID", spec.key.step.to_string()),
                ("CAELUM_MACHINE", spec.key.machine.to_string()),
                ("CAELUM_ATTEMPT", spec.attempt.to_string()),
                ("CAELUM_IDEMPOTENCY_KEY", spec.key.to_string()),
                ("CAELUM_EPOCH", spec.epoch.to_string()),
            ],
        }
    }
}

/// How long a program may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) run: Duration,
    pub(crate) grace: Duration,
}

/// Why a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Itself,
    TimedOut,
    Cancelled,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) end: End,
    /// Nothing when it was killed and did not go away.
    pub(crate) status: Option<ExitStatus>,
}

impl Ended {
    /// Returns the exit code, where the program ended by itself.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    /// Returns the number of the signal that ended it.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.and_then(|status| status.signal())
    }
}

/// A command that was checked and may start.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) prepared: Prepared,
    patterns: Patterns,
    /// The task's directory; results are read beneath it.
    dir: Dir,
    outputs_before: Option<Before>,
}

impl Runner {
    /// Returns empty streams with this machine's limits.
    pub(crate) fn streams(&self) -> Streams {
        let capture =
            || Capture::new(self.options.output_head_bytes, self.options.output_tail_bytes);
        Streams::new(capture().with_last_object(self.options.outputs_bytes_max), capture())
    }

    /// Runs a task's program to its end and reports it. Never fails: what goes wrong is in the outcome.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the program's group. To end it gently, use `cancel`.
    pub(crate) async fn run(
        &self,
        spec: &TaskSpec,
        command: &CommandSpec,
        streams: &Streams,
        cancel: &CancellationToken,
    ) -> TaskOutcome {
        let started_at = self.clock.now();
        let patience = Patience {
            run: Duration::from_millis(spec.run_timeout_ms),
            grace: Duration::from_millis(spec.grace_ms),
        };
        let identity = Identity::of(spec);
        let start = match self.prepare(command).await {
            Ok(start) => start,
            Err(failure) => return TaskOutcome::not_started(started_at, failure),
        };
        let ended = self
            .execute(
                &start.prepared,
                command.stdin.as_deref(),
                &identity,
                patience,
                streams,
                cancel,
            )
            .await;
        let ended = match ended {
            Ok(ended) => ended,
            Err(failure) => return TaskOutcome::not_started(started_at, failure),
        };
        let (status, failure) = failure::judged(&ended, patience, command.shell);
        // One lock at a time: a guard lives to the end of its statement.
        let stdout = streams.stdout().output();
        let stderr = streams.stderr().output();
        let last_object = streams.stdout().last_object();
        let mut outcome = TaskOutcome {
            status,
            exit_code: ended.exit_code(),
            signal: ended.signal(),
            started_at,
            ended_at: started_at,
            stdout,
            stderr,
            outputs: outputs::from_line(last_object.as_deref()),
            collected: Vec::new(),
            failure,
        };
        if ended.end != End::Cancelled {
            self.keep_results(&mut outcome, start, command.outputs.clone()).await;
        }
        outcome.ended_at = self.clock.now();
        outcome
    }

    /// Checks everything about a command that can be checked before it starts.
    pub(crate) async fn prepare(&self, command: &CommandSpec) -> Result<Start, TaskFailure> {
        let (policy, command) = (Arc::clone(&self.policy), command.clone());
        let stdin_bytes_max = self.options.stdin_bytes_max;
        let prepared = tokio::task::spawn_blocking(move || {
            let patterns = Patterns::parse(&command.collect)?;
            if let Some(path) = &command.outputs {
                outputs::check(path)?;
            }
            let prepared = policy.prepare(&command, stdin_bytes_max)?;
            let dir = tree::open(&prepared.cwd)
                .map_err(|error| failure::directory(&prepared.cwd, &error))?;
            let outputs_before = command.outputs.as_ref().map(|path| outputs::before(&dir, path));
            Ok(Start { prepared, patterns, dir, outputs_before })
        });
        prepared.await.unwrap_or_else(|error| Err(failure::interrupted(&error)))
    }

    /// Starts a program, feeds it, reads it and waits until its group is gone.
    pub(crate) async fn execute(
        &self,
        prepared: &Prepared,
        stdin: Option<&str>,
        identity: &Identity,
        patience: Patience,
        streams: &Streams,
        cancel: &CancellationToken,
    ) -> Result<Ended, TaskFailure> {
        let run = self.runs.begin(&identity.key).map_err(|error| failure::run_file(&error))?;
        let mut command = Command::new(&prepared.program);
        command
            .arg0(&prepared.name)
            .args(&prepared.args)
            .current_dir(&prepared.cwd)
            .env_clear()
            .envs(&prepared.env)
            .envs(identity.env.iter().map(|(name, value)| (name, value)))
            .env("CAELUM_RUN_ID", run.id())
            .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child =
            spawn(&mut command).await.map_err(|error| failure::not_started(prepared, &error))?;
        let leader = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let leader = leader.expect("a child that nobody waited for has a number");
        if let Err(error) = run.started(leader.as_raw_nonzero().get()) {
            tracing::warn!(key = %identity.key, %error, "a running program is not written down");
        }
        let mut group = Group::new(leader, run);
        let (to, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let exchange = pin!(async {
            tokio::join!(
                feed(to, stdin.unwrap_or_default()),
                read(out, |bytes| streams.stdout().push(bytes)),
                read(err, |bytes| streams.stderr().push(bytes)),
            );
        });
        let mut pipes = Pipes { exchange, done: false };

        let end = pipes.beside(async {
            tokio::select! {
                biased;
                _ = child.wait() => End::Itself,
                () = cancel.cancelled() => End::Cancelled,
                () = sleep(patience.run) => End::TimedOut,
            }
        });
        let end = end.await;
        let mut grace = patience.grace;
        if end == End::Itself {
            // Whoever is left in the group may still have something to say.
            pipes.wait(self.options.linger).await;
        } else {
            let asked = Instant::now();
            group.ask_to_end();
            if pipes.beside(timeout(grace, child.wait())).await.is_err() {
                group.signal(Signal::KILL);
            }
            grace = grace.saturating_sub(asked.elapsed());
        }
        let status = match pipes.beside(timeout(KILL_WAIT, child.wait())).await {
            Ok(status) => Some(status.map_err(|error| failure::not_collected(&error))?),
            Err(_) => None,
        };
        let leftovers = pipes.beside(group.end_leftovers(grace)).await;
        if leftovers > 0 {
            tracing::info!(key = %identity.key, leftovers, "ended what a program left in its group");
        }
        pipes.wait(LAST_WORDS).await;
        Ok(Ended { end, status })
    }

    /// Reads the outputs file and collects evidence. On a command that failed, both are taken as far as they are there.
    async fn keep_results(&self, outcome: &mut TaskOutcome, start: Start, file: Option<String>) {
        let options = self.options;
        let results = tokio::task::spawn_blocking(move || {
            let outputs = file.zip(start.outputs_before).map(|(path, before)| {
                outputs::from_file(&start.dir, &path, before, options.outputs_bytes_max)
            });
            (outputs, collect::collect(&start.dir, &start.patterns, &options))
        });
        let (outputs, collected) = match results.await {
            Ok(results) => results,
            Err(error) => (Some(Err(failure::interrupted(&error))), Vec::new()),
        };
        outcome.collected = collected;
        match outputs {
            None => {}
            Some(Ok(outputs)) => outcome.outputs = outputs,
            Some(Err(failure)) => {
                outcome.outputs = serde_json::Map::new();
                if outcome.status == OutcomeStatus::Succeeded {
                    outcome.status = OutcomeStatus::Failed;
                    outcome.failure = Some(failure);
                }
            }
        }
    }
}

/// Starts a program. A program file that somebody has open for writing is tried again for a moment: a build that has just
/// written it may have closed it already, while a child that another thread is starting still holds its copy.
async fn spawn(command: &mut Command) -> io::Result<Child> {
    for _ in 0..BUSY_TRIES {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                sleep(BUSY_WAIT).await
            }
            other => return other,
        }
    }
    command.spawn()
}

/// Both directions of a program's pipes, driven while something else is waited for.
struct Pipes<'a, F> {
    exchange: Pin<&'a mut F>,
    done: bool,
}

impl<F: Future<Output = ()>> Pipes<'_, F> {
    /// Waits for `other` while input is written and output is read.
    async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        loop {
            tokio::select! {
                biased;
                answer = &mut other => return answer,
                () = &mut self.exchange, if !self.done => self.done = true,
            }
        }
    }

    /// Waits until the pipes are closed, at most for `limit`.
    async fn wait(&mut self, limit: Duration) {
        if !self.done {
            self.done = timeout(limit, &mut self.exchange).await.is_ok();
        }
    }
}

/// Writes the whole input and closes the pipe. A program that does not want its input is none of our concern.
async fn feed(pipe: Option<ChildStdin>, text: &str) {
    if let Some(mut pipe) = pipe
        && let Err(error) = pipe.write_all(text.as_bytes()).await
    {
        tracing::debug!(%error, "the program did not read its whole input");
    }
}

/// Reads a pipe to its end.
async fn read(pipe: Option<impl AsyncRead + Unpin>, mut push: impl FnMut(&[u8])) {
    let Some(mut pipe) = pipe else {
        return;
    };
    let mut buffer = vec![0; PIPE_BYTES];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) => return,
            Ok(count) => push(&buffer[..count]),
            Err(error) => {
                tracing::debug!(%error, "the program's output could not be read to its end");
                return;
            }
        }
    }
}
