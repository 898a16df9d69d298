//! From a valid component to native code. The one expensive step: seconds of processor time and hundreds of MiB for a
//! plugin with a language runtime in it, and the one that a hostile file could make endless. So it happens in a child
//! process with limits, few at a time; this file starts it, waits, and says what became of it.

pub(crate) mod child;
mod contained;
mod order;
mod verdict;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use caelum_core::id::Digest;
use rustix::fs::{MemfdFlags, SealFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::Limits;
use crate::runtime::Runtime;

use contained::compile;
use order::{Order, Work};
use verdict::verdict;

pub(crate) use contained::encode;

/// The longest text that is taken from a compiler process that fails, in bytes.
const COMPLAINT_BYTES_MAX: u64 = 8 * 1024;

/// Who compiles plugins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Compiler {
    /// A child process, whose program calls [`crate::compile_plugin`] when it is started with these arguments. What it
    /// may take is bounded by [`Limits::compile_memory_bytes_max`], [`Limits::compile_cpu`] and
    /// [`Limits::compile_deadline`].
    Child {
        /// The program.
        program: PathBuf,
        /// What it is started with.
        arguments: Vec<OsString>,
    },
    /// This process, without limits. For tests and tools that load files of their own making; a server that takes
    /// files from others needs [`Compiler::Child`].
    #[default]
    InProcess,
}

/// The compiler did not make code of a valid component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// It refused.
    #[error("it could not be compiled: {message}")]
    Refused {
        /// What the compiler said.
        message: String,
    },
    /// It broke down. The file is the cause, the server is unharmed.
    #[error("the compiler broke down over it: {message}")]
    Panicked {
        /// What the compiler said.
        message: String,
    },
    /// It took more processor time than it may.
    #[error("compiling it took more than its limit of {limit_s} s of processor time")]
    Cpu {
        /// The limit in seconds.
        limit_s: u64,
    },
    /// It took longer than it may.
    #[error("compiling it took longer than its limit of {limit_s} s")]
    Deadline {
        /// The limit in seconds.
        limit_s: u64,
    },
    /// It took more memory than it may.
    #[error("compiling it took more than its limit of {} MiB of memory", .limit_bytes / (1024 * 1024))]
    Memory {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// The compiler could not be started, or is another version of this program.
    #[error("the compiler process cannot be used: {message}")]
    Unusable {
        /// What is the matter.
        message: String,
    },
    /// The work was thrown away because the server is shutting down.
    #[error("the compiler was stopped")]
    Stopped,
}

impl CompileError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            CompileError::Refused { .. } | CompileError::Panicked { .. } => {
                "build the plugin with another version of its toolchain, and report the file"
            }
            CompileError::Cpu { .. }
            | CompileError::Deadline { .. }
            | CompileError::Memory { .. } => {
                "build it smaller (release, stripped, without generated tables of code), or raise the `compile` limits"
            }
            CompileError::Unusable { .. } => {
                "start the server again, so that it and its compiler are the same program"
            }
            CompileError::Stopped => "start the server again",
        }
    }
}

/// The one place at which plugins are compiled.
#[derive(Debug)]
pub(crate) struct Compilers {
    compiler: Compiler,
    limits: Arc<Limits>,
    /// [`Limits::compilers_max`] of them.
    turns: Arc<Semaphore>,
    /// One gate for each component that is being made now: who comes second waits, and finds it made.
    gates: Mutex<HashMap<Digest, Weak<Semaphore>>>,
}

/// What a compiler has made.
pub(crate) enum Artifact {
    /// In the memory of this process.
    Bytes(Vec<u8>),
    /// In a file without a name that nobody can change any more.
    Sealed(File),
}

/// A turn at the compiler. While it is held, somebody else has one less.
pub(crate) struct CompilerTurn(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

/// The right to make the code of one component. While it is held, nobody else makes the same.
pub(crate) struct Making {
    _permit: OwnedSemaphorePermit,
    _gate: Arc<Semaphore>,
}

impl Artifact {
    /// Reads the whole of it. Blocks.
    pub(crate) fn bytes(&mut self) -> std::io::Result<Vec<u8>> {
        match self {
            Artifact::Bytes(bytes) => Ok(bytes.clone()),
            Artifact::Sealed(file) => {
                file.seek(SeekFrom::Start(0))?;
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }

    /// Returns it as a file that nobody can change. Blocks.
    pub(crate) fn sealed(self) -> std::io::Result<File> {
        match self {
            Artifact::Sealed(file) => Ok(file),
            Artifact::Bytes(bytes) => {
                let mut file = output()?;
                file.write_all(&bytes)?;
                seal(file)
            }
        }
    }
}

impl Compilers {
    pub(crate) fn new(compiler: Compiler, limits: Arc<Limits>) -> Self {
        let turns = usize::try_from(limits.compilers_max).unwrap_or(usize::MAX);
        let turns = Arc::new(Semaphore::new(turns.min(Semaphore::MAX_PERMITS)));
        Compilers { compiler, limits, turns, gates: Mutex::default() }
    }

    /// Waits for a turn at the compiler.
    pub(crate) async fn turn(&self) -> Result<CompilerTurn, CompileError> {
        let permit = Arc::clone(&self.turns).acquire_owned().await;
        permit.map(CompilerTurn).map_err(|_| CompileError::Stopped)
    }

    /// Waits until nobody else makes the code of this component.
    pub(crate) async fn making(&self, component: &Digest) -> Result<Making, CompileError> {
        let gate = {
            let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
            gates.retain(|_, gate| gate.strong_count() > 0);
            let gate = gates.get(component).and_then(Weak::upgrade);
            gate.unwrap_or_else(|| {
                let gate = Arc::new(Semaphore::new(1));
                gates.insert(component.clone(), Arc::downgrade(&gate));
                gate
            })
        };
        let permit = Arc::clone(&gate).acquire_owned().await.map_err(|_| CompileError::Stopped)?;
        Ok(Making { _permit: permit, _gate: gate })
    }

    /// Makes native code of a component.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the child process.
    pub(crate) async fn compile(
        &self,
        runtime: &Runtime,
        component: Bytes,
        _turn: &CompilerTurn,
    ) -> Result<Artifact, CompileError> {
        match &self.compiler {
            Compiler::InProcess => {
                let engine = runtime.engine().clone();
                let work = move || compile(&engine, &component).map(Artifact::Bytes);
                blocking(runtime, work).await
            }
            Compiler::Child { program, arguments } => {
                self.child(Work::Compile, runtime, &component, program, arguments).await
            }
        }
    }

    /// Makes a component of a core module that carries its component type: the encoder is made for the output of
    /// compilers, so it runs where the compiler runs.
    pub(crate) async fn encode(
        &self,
        runtime: &Runtime,
        module: Bytes,
        _turn: &CompilerTurn,
    ) -> Result<Bytes, CompileError> {
        match &self.compiler {
            Compiler::InProcess => {
                blocking(runtime, move || encode(&module).map(Bytes::from)).await
            }
            Compiler::Child { program, arguments } => {
                let mut made =
                    self.child(Work::Encode, runtime, &module, program, arguments).await?;
                blocking(runtime, move || made.bytes().map(Bytes::from).map_err(unusable)).await
            }
        }
    }

    async fn child(
        &self,
        work: Work,
        runtime: &Runtime,
        input: &Bytes,
        program: &PathBuf,
        arguments: &[OsString],
    ) -> Result<Artifact, CompileError> {
        let order = Order::new(work, runtime.compatibility(), input.len(), &self.limits);
        let made = output().map_err(unusable)?;
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            // A second arena would reserve more address space than the whole work needs.
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::piped())
            .stdout(made.try_clone().map_err(unusable)?)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| CompileError::Unusable {
                message: format!("`{}` cannot be started: {error}", program.display()),
            })?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let talk = async {
            // A child that ends before it has read everything says why by how it ends.
            let sent = async {
                stdin.write_all(order.line().as_bytes()).await?;
                stdin.write_all(input).await?;
                stdin.flush().await
            };
            let mut complaint = Vec::new();
            let mut stderr = stderr.take(COMPLAINT_BYTES_MAX);
            let (_, _) = tokio::join!(sent, stderr.read_to_end(&mut complaint));
            let status = child.wait().await;
            // Held until here: the child ends when it sees the end of it, and with it the end of this process.
            drop(stdin);
            (status, complaint)
        };
        match tokio::time::timeout(self.limits.compile_deadline, talk).await {
            Ok((Ok(status), complaint)) => {
                verdict(status, &complaint, &self.limits)?;
                seal(made).map(Artifact::Sealed).map_err(unusable)
            }
            Ok((Err(error), _)) => Err(unusable(error)),
            Err(_) => {
                child.kill().await.ok();
                Err(CompileError::Deadline { limit_s: self.limits.compile_deadline.as_secs() })
            }
        }
    }
}

fn unusable(error: std::io::Error) -> CompileError {
    CompileError::Unusable { message: error.to_string() }
}

/// Opens a file without a name for the compiler's output.
fn output() -> std::io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    Ok(File::from(rustix::fs::memfd_create("caelum-plugin", flags)?))
}

/// Makes sure that nobody can change what the compiler has written, not even who still holds the file.
fn seal(file: File) -> std::io::Result<File> {
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file)
}

async fn blocking<T: Send + 'static>(
    runtime: &Runtime,
    work: impl FnOnce() -> Result<T, CompileError> + Send + 'static,
) -> Result<T, CompileError> {
    runtime.threads().spawn_blocking(work).await.unwrap_or(Err(CompileError::Stopped))
}
