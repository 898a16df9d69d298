//! Machines that do nothing, at once or after a second, so that what is measured is deciding and storing.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use caelum_core::clock::Timestamp;
use caelum_core::evidence::ProbeAnswer;
use caelum_core::id::MachineId;
use caelum_core::task::{
    FailureClass, IdempotencyKey, OutcomeStatus, Probe, TaskFailure, TaskOutcome, TaskSpec, Work,
};
use caelum_machines::fabric::Pending;
use caelum_machines::{Fabric, MachineInfo, MachineState, OutputSoFar};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// The program that takes a second.
pub(crate) const SECOND: &str = "second";
/// The program that ends at once.
pub(crate) const NOTHING: &str = "nothing";

/// Machines on which everything succeeds without a process.
#[derive(Debug)]
pub(crate) struct InProcess {
    machines: Vec<MachineInfo>,
    /// When each delivery was handed out.
    begun: Mutex<Vec<Instant>>,
}

impl InProcess {
    /// Builds so many machines; the first is the local one.
    pub(crate) fn new(machines: usize) -> Self {
        let machine = |index: usize| MachineInfo {
            id: if index == 0 {
                MachineId::local()
            } else {
                format!("m{index}").parse().expect("legal")
            },
            aliases: vec![],
            labels: BTreeMap::new(),
            state: MachineState::Online,
            running: 0,
            waiting: 0,
            capacity: 1_000,
        };
        InProcess { machines: (0..machines).map(machine).collect(), begun: Mutex::default() }
    }

    /// Takes the moments at which deliveries were handed out since the last call.
    pub(crate) fn take_begun(&self) -> Vec<Instant> {
        std::mem::take(&mut *self.begun.lock().expect("never held across a panic"))
    }
}

impl Fabric for InProcess {
    fn machines(&self) -> Vec<MachineInfo> {
        self.machines.clone()
    }

    fn canonical(&self, machine: &MachineId) -> Option<MachineId> {
        Some(machine.clone())
    }

    fn run<'a>(
        &'a self,
        _: &'a MachineId,
        task: &'a TaskSpec,
        _: CancellationToken,
    ) -> Pending<'a, TaskOutcome> {
        self.begun.lock().expect("never held across a panic").push(Instant::now());
        let long = matches!(&task.work, Work::Command(command) if command.program == SECOND);
        let wait = if long { Duration::from_secs(1) } else { Duration::ZERO };
        Box::pin(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            succeeded()
        })
    }

    fn probe<'a>(&'a self, machine: &'a MachineId, probe: &'a Probe) -> Pending<'a, ProbeAnswer> {
        let answer = ProbeAnswer {
            name: probe.name.clone(),
            kind: probe.kind.as_str().to_owned(),
            machine: machine.clone(),
            taken_at: Timestamp::EPOCH,
            ok: true,
            answer: Value::Null,
        };
        Box::pin(async move { answer })
    }

    fn output_so_far(&self, _: &IdempotencyKey) -> Option<OutputSoFar> {
        None
    }
}

/// The outcome of work that succeeded and said nothing.
pub(crate) fn succeeded() -> TaskOutcome {
    let failure = TaskFailure {
        class: FailureClass::Permanent,
        code: String::new(),
        message: String::new(),
        hint: None,
    };
    TaskOutcome {
        status: OutcomeStatus::Succeeded,
        exit_code: Some(0),
        failure: None,
        ..TaskOutcome::not_started(Timestamp::EPOCH, failure)
    }
}
