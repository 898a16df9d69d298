//! Machines that misbehave as the seed says, and the witness: a log outside the engine of everything that they did.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use caelum_core::clock::Timestamp;
use caelum_core::evidence::ProbeAnswer;
use caelum_core::id::{ExecutionId, MachineId};
use caelum_core::task::{
    FailureClass, IdempotencyKey, OutcomeStatus, Output, Probe, TaskFailure, TaskOutcome, TaskSpec,
    Work,
};
use caelum_machines::fabric::Pending;
use caelum_machines::{Fabric, MachineInfo, MachineState, OutputSoFar};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

/// The machines beside `local`.
const MACHINES: [&str; 4] = ["m1", "m2", "m3", "m4"];

/// One delivery, as the machine saw it.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) life: u32,
    pub(crate) key: IdempotencyKey,
    pub(crate) attempt: u32,
    pub(crate) epoch: u32,
    /// When it began and ended, in ticks.
    pub(crate) begun: u64,
    pub(crate) ended: Option<u64>,
    /// What it reported; nothing when nobody was there to hear it.
    pub(crate) reported: Option<OutcomeStatus>,
    /// Whether the fabric panicked in the middle of it.
    pub(crate) panicked: bool,
}

/// A delivery under way: says so when it is over in whatever way.
struct UnderWay<'a> {
    world: &'a World,
    delivery: usize,
    reported: Option<OutcomeStatus>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let now = self.world.tick();
        if let Some(delivery) = lock(&self.world.witness).get_mut(self.delivery) {
            delivery.ended = Some(now);
            delivery.reported = self.reported;
            delivery.panicked = std::thread::panicking();
        }
    }
}

/// What a machine does with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Reports at once.
    AtOnce,
    /// Reports after others had their turn this often.
    Soon(u32),
    /// Reports when the clockwork lets it, in random order with all others.
    Held,
    /// Reports only when it is cancelled.
    Never,
    /// Goes on when it is cancelled, and reports when nobody waits for it any more.
    Deaf,
    /// Panics, as a bug in a fabric would.
    Panics,
}

/// Everything outside the engine that outlives it: the machines and the witness.
#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    infos: Vec<MachineInfo>,
    witness: Mutex<Vec<Delivery>>,
    life: AtomicU32,
    /// From here on every machine does what it is told and reports.
    kind: watch::Sender<bool>,
    ticks: watch::Sender<u64>,
    ended: watch::Sender<BTreeSet<ExecutionId>>,
    held: Mutex<Vec<oneshot::Sender<()>>>,
    held_changed: tokio::sync::Notify,
    /// How often somebody asked for the machines: once for each decision of each execution.
    pub(crate) decisions: AtomicU64,
    /// Whether machines may panic.
    pub(crate) may_panic: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let info = |name: &str| MachineInfo {
            id: name.parse().expect("legal"),
            aliases: vec![],
            labels: BTreeMap::from([("even".to_owned(), name.ends_with(['2', '4']).to_string())]),
            state: MachineState::Online,
            running: 0,
            waiting: 0,
            capacity: 1_000,
        };
        Arc::new(World {
            seed,
            infos: ["local"].iter().chain(&MACHINES).map(|name| info(name)).collect(),
            witness: Mutex::default(),
            life: AtomicU32::new(0),
            kind: watch::Sender::new(false),
            ticks: watch::Sender::new(0),
            ended: watch::Sender::default(),
            held: Mutex::default(),
            held_changed: tokio::sync::Notify::new(),
            decisions: AtomicU64::new(0),
            may_panic: AtomicBool::new(false),
        })
    }

    /// Begins a new life of the engine and returns its machines.
    pub(crate) fn reborn(self: &Arc<Self>) -> Arc<dyn Fabric> {
        self.life.fetch_add(1, Ordering::SeqCst);
        lock(&self.held).clear();
        Arc::new(SimFabric(Arc::clone(self)))
    }

    pub(crate) fn life(&self) -> u32 {
        self.life.load(Ordering::SeqCst)
    }

    /// Lets every machine do what it is told, those that were told before included.
    pub(crate) fn be_kind(&self) {
        self.kind.send_replace(true);
        self.held_changed.notify_one();
    }

    pub(crate) fn is_kind(&self) -> bool {
        *self.kind.borrow()
    }

    /// Lets the world's time go on by one.
    pub(crate) fn tick(&self) -> u64 {
        let mut now = 0;
        self.ticks.send_modify(|ticks| {
            *ticks += 1;
            now = *ticks;
        });
        now
    }

    pub(crate) fn now(&self) -> u64 {
        *self.ticks.borrow()
    }

    /// Waits until the world's time has reached `tick`.
    pub(crate) async fn reached(&self, tick: u64) {
        let mut ticks = self.ticks.subscribe();
        ticks.wait_for(|now| *now >= tick).await.expect("the world outlives its watchers");
    }

    /// Tells machines that an execution has ended.
    pub(crate) fn ended(&self, execution: &ExecutionId) {
        self.ended.send_modify(|ended| {
            ended.insert(execution.clone());
        });
    }

    /// Returns everything that machines were told to do, in order.
    pub(crate) fn witness(&self) -> Vec<Delivery> {
        lock(&self.witness).clone()
    }

    /// Forgets what machines did after a tick: it happened in a future that a crash took away.
    pub(crate) fn forget_after(&self, tick: u64) {
        lock(&self.witness).retain(|delivery| delivery.begun <= tick);
    }

    /// Releases held work in random order, for as long as the engine lives.
    pub(crate) async fn clockwork(self: Arc<Self>, mut rng: SmallRng) {
        loop {
            let changed = self.held_changed.notified();
            let count = lock(&self.held).len();
            if count == 0 {
                changed.await;
                continue;
            }
            for _ in 0..rng.random_range(0..4) {
                tokio::task::yield_now().await;
            }
            let release = {
                let mut held = lock(&self.held);
                let count = held.len();
                (count > 0).then(|| held.swap_remove(rng.random_range(0..count)))
            };
            if let Some(release) = release {
                // Whoever was held may be gone with the engine.
                let _ = release.send(());
            }
        }
    }

    /// Waits until the clockwork says so.
    async fn be_held(&self) {
        let (release, released) = oneshot::channel();
        lock(&self.held).push(release);
        self.held_changed.notify_one();
        // A world that begins anew lets everybody go.
        let _ = released.await;
    }

    async fn until_kind(&self) {
        let mut kind = self.kind.subscribe();
        kind.wait_for(|kind| *kind).await.expect("the world outlives its machines");
    }

    async fn until_ended(&self, execution: &ExecutionId) {
        let mut ended = self.ended.subscribe();
        ended
            .wait_for(|ended| ended.contains(execution))
            .await
            .expect("the world outlives its machines");
    }

    /// Decides how a delivery goes. The same for one seed, whatever the order in which things happen.
    fn fate(&self, spec: &TaskSpec) -> (Manner, TaskOutcome) {
        let Work::Command(command) = &spec.work else {
            panic!("the simulator plans nothing but commands");
        };
        let mut hasher = DefaultHasher::new();
        let key = (&command.args, spec.key.step.as_str(), spec.key.machine.as_str());
        (self.seed, key, spec.attempt, spec.epoch).hash(&mut hasher);
        let mut rng = SmallRng::seed_from_u64(hasher.finish());
        let manner = match rng.random_range(0..100) {
            0..25 => Manner::AtOnce,
            25..50 => Manner::Soon(rng.random_range(1..20)),
            50..82 => Manner::Held,
            82..92 => Manner::Never,
            92..99 => Manner::Deaf,
            _ if self.may_panic.load(Ordering::Relaxed) => Manner::Panics,
            _ => Manner::AtOnce,
        };
        let outcome = match rng.random_range(0..100) {
            0..76 => succeeded(spec),
            76..84 => failed(OutcomeStatus::Failed, FailureClass::Exit),
            84..90 => failed(OutcomeStatus::TimedOut, FailureClass::Transient),
            90..96 => failed(OutcomeStatus::NotStarted, FailureClass::Transient),
            96..99 => failed(OutcomeStatus::NotStarted, FailureClass::Permanent),
            _ => failed(OutcomeStatus::Cancelled, FailureClass::Permanent),
        };
        if self.is_kind() { (Manner::Soon(1), outcome) } else { (manner, outcome) }
    }

    fn begin(&self, spec: &TaskSpec) -> UnderWay<'_> {
        let begun = self.tick();
        let mut witness = lock(&self.witness);
        witness.push(Delivery {
            life: self.life(),
            key: spec.key.clone(),
            attempt: spec.attempt,
            epoch: spec.epoch,
            begun,
            ended: None,
            reported: None,
            panicked: false,
        });
        UnderWay { world: self, delivery: witness.len() - 1, reported: None }
    }

    async fn work(&self, spec: &TaskSpec, cancel: CancellationToken) -> TaskOutcome {
        let (manner, outcome) = self.fate(spec);
        let cancelled = failed(OutcomeStatus::Cancelled, FailureClass::Permanent);
        let timed_out = failed(OutcomeStatus::TimedOut, FailureClass::Transient);
        match manner {
            Manner::AtOnce => outcome,
            Manner::Soon(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                outcome
            }
            Manner::Held => tokio::select! {
                () = self.be_held() => outcome,
                () = cancel.cancelled() => cancelled,
            },
            Manner::Never => tokio::select! {
                () = cancel.cancelled() => cancelled,
                () = self.until_kind() => timed_out,
            },
            Manner::Deaf => {
                tokio::select! {
                    () = async {
                        cancel.cancelled().await;
                        self.until_ended(&spec.key.execution).await;
                        self.be_held().await;
                    } => outcome,
                    () = self.until_kind() => outcome,
                }
            }
            Manner::Panics => panic!("a bug in a fabric, made on purpose"),
        }
    }
}

/// Builds the report of work that went well.
pub(crate) fn succeeded(spec: &TaskSpec) -> TaskOutcome {
    let mut outcome = failed(OutcomeStatus::Succeeded, FailureClass::Exit);
    outcome.failure = None;
    outcome.exit_code = Some(0);
    outcome.outputs = Map::from_iter([("epoch".to_owned(), json!(spec.epoch))]);
    outcome
}

/// Builds the report of work that did not go well.
pub(crate) fn failed(status: OutcomeStatus, class: FailureClass) -> TaskOutcome {
    TaskOutcome {
        status,
        stdout: Output::default(),
        ..TaskOutcome::not_started(
            Timestamp::EPOCH,
            TaskFailure { class, code: "as_told".into(), message: "it broke".into(), hint: None },
        )
    }
}

/// How one life of the engine reaches the world's machines.
#[derive(Debug)]
struct SimFabric(Arc<World>);

impl Fabric for SimFabric {
    fn machines(&self) -> Vec<MachineInfo> {
        self.0.decisions.fetch_add(1, Ordering::Relaxed);
        self.0.infos.clone()
    }

    fn canonical(&self, machine: &MachineId) -> Option<MachineId> {
        self.0.infos.iter().any(|info| info.id == *machine).then(|| machine.clone())
    }

    fn run<'a>(
        &'a self,
        _: &'a MachineId,
        spec: &'a TaskSpec,
        cancel: CancellationToken,
    ) -> Pending<'a, TaskOutcome> {
        Box::pin(async move {
            let mut delivery = self.0.begin(spec);
            let outcome = self.0.work(spec, cancel).await;
            delivery.reported = Some(outcome.status);
            outcome
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
