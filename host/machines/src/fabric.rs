//! How machines are reached. The engine knows machines by this trait only; the local machine is one fabric, and fleets
//! are others.

mod local;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;

use caelum_core::evidence::ProbeAnswer;
use caelum_core::id::MachineId;
use caelum_core::task::{IdempotencyKey, Output, Probe, TaskOutcome, TaskSpec};
use tokio_util::sync::CancellationToken;

pub use local::{LocalFabric, LocalFabricError};

/// A future of a fabric, boxed so that fabrics can stand behind `dyn Fabric`.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whether a machine takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineState {
    /// It takes work.
    Online,
    /// It takes work and has as much as it runs at once: more waits.
    Busy,
    /// It cannot be reached.
    Offline,
}

impl MachineState {
    /// Returns the word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            MachineState::Online => "online",
            MachineState::Busy => "busy",
            MachineState::Offline => "offline",
        }
    }
}

/// One machine as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineInfo {
    /// Its name; what [`Fabric::canonical`] answers for each of its names.
    pub id: MachineId,
    /// Its other names.
    pub aliases: Vec<MachineId>,
    /// What `label:k=v` selects by.
    pub labels: BTreeMap<String, String>,
    /// Whether it takes work.
    pub state: MachineState,
    /// Tasks that run on it.
    pub running: usize,
    /// Tasks that wait on it for a free place.
    pub waiting: usize,
    /// Tasks that it runs at once.
    pub capacity: usize,
}

/// What a running task has written so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSoFar {
    /// Standard output.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
}

/// A way to reach machines.
pub trait Fabric: Send + Sync + fmt::Debug {
    /// Lists the machines, sorted by name.
    fn machines(&self) -> Vec<MachineInfo>;

    /// Returns the name under which a machine is listed, for any of its names; nothing when it is not known here.
    fn canonical(&self, machine: &MachineId) -> Option<MachineId>;

    /// Runs a task and reports how it ended. Waits for a free place first; that time does not count as run time.
    ///
    /// Never fails: a machine that is not known and a program that cannot start are outcomes with a failure. When
    /// `cancel` is cancelled, the work is ended (gently first, for at most the task's grace time) and the outcome is
    /// `Cancelled`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the work at once.
    fn run<'a>(
        &'a self,
        machine: &'a MachineId,
        spec: &'a TaskSpec,
        cancel: CancellationToken,
    ) -> Pending<'a, TaskOutcome>;

    /// Fetches a fact. Never fails: no answer is an answer with `ok: false`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the probe.
    fn probe<'a>(&'a self, machine: &'a MachineId, probe: &'a Probe) -> Pending<'a, ProbeAnswer>;

    /// Returns what a running task has written so far; nothing when no such task runs here.
    fn output_so_far(&self, key: &IdempotencyKey) -> Option<OutputSoFar>;
}
