//! Lives of the engine: each in a runtime of its own, so that it can be killed where it stands.

use std::fmt::Debug;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_engine::request::NewWorkflow;
use caelum_engine::{Engine, EngineOptions};
use caelum_plugin_host::BundledPlugin;
use caelum_store::Synchronous;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::audit::Image;
use crate::callers::Caller;
use crate::ledger::Ledger;
use crate::machines::World;
use crate::plan::{Death, LifePlan, Plan};

/// How long anything may take before it counts as hanging: far above what it takes on two busy cores.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// How long to rest between two looks at a state that tells nobody when it changes.
const REST: Duration = Duration::from_millis(2);

/// One seed under way: what outlives the lives of the engine.
pub(crate) struct Sim {
    pub(crate) rng: SmallRng,
    pub(crate) plan: Plan,
    pub(crate) world: Arc<World>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) root: TempDir,
    /// The data directory of the present life; a crash image is another one.
    pub(crate) data: TempDir,
    gates: bool,
    /// What the life before left, once one has been.
    left: Option<Image>,
}

impl Sim {
    pub(crate) fn new(seed: u64, gates: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let plan = Plan::of(&mut rng, gates);
        Sim::with_plan(seed, plan, gates, rng)
    }

    pub(crate) fn with_plan(seed: u64, plan: Plan, gates: bool, rng: SmallRng) -> Self {
        let world = World::new(seed);
        world.may_panic.store(plan.may_panic, std::sync::atomic::Ordering::Relaxed);
        Sim {
            rng,
            plan,
            world,
            ledger: Arc::default(),
            root: TempDir::new().expect("a directory"),
            data: TempDir::new().expect("a directory"),
            gates,
            left: None,
        }
    }

    pub(crate) fn options(&self, life: &LifePlan) -> EngineOptions {
        let mut options =
            EngineOptions::new(self.data.path().to_owned(), self.root.path().to_owned());
        options.fabric = Some(self.world.reborn());
        options.concurrent_executions_max = life.concurrent_max;
        options.cancel_wait = Duration::from_millis(life.cancel_wait_ms);
        options.grace = Duration::from_millis(10);
        // The process dies here and never the machine: nothing has to reach the disk itself.
        options.store.synchronous = Synchronous::Off;
        options.store.wal_checkpoint_bytes = 256 * 1024;
        if life.flaky {
            options.store.busy_timeout = Duration::from_millis(1);
            options.store_retry = Duration::from_millis(5);
        }
        options.plugins.directory = None;
        options.plugins.cache_directory = None;
        if self.gates {
            let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache");
            options.plugins.cache_directory = Some(cache);
            options.bundled = bundled(&["command-succeeded", "manual-review"]);
        }
        options
    }

    /// Runs one life with callers that ask at random.
    pub(crate) fn live(&mut self, number: u32, life: &LifePlan) {
        let rng = SmallRng::seed_from_u64(self.rng.random());
        self.live_with(life, |engine, sim| ask(engine, sim, number, life, rng));
    }

    /// Runs one life until it dies, and checks what it left.
    pub(crate) fn live_with(
        &mut self,
        life: &LifePlan,
        asks: impl FnOnce(&Engine, &Sim) -> JoinSet<()>,
    ) {
        let before = self.left.take().unwrap_or_default();
        let options = self.options(life);
        let runtime = runtime(life.threads);
        let rng = SmallRng::seed_from_u64(self.rng.random());
        let (world, ledger) = (Arc::clone(&self.world), Arc::clone(&self.ledger));
        let workflows = self.plan.workflows.clone();
        let image = runtime.block_on(async {
            let engine = Engine::open(options).await.expect("the engine opens");
            let mut followers = follow(&engine, &world, &ledger, rng.clone());
            create(&engine, workflows).await;
            if life.flaky {
                followers
                    .spawn(crate::broken_disk::fail_now_and_then(self.data.path().to_owned(), rng));
            }
            let mut callers = asks(&engine, self);
            let dies = world.now() + life.ticks;
            let done = async {
                while let Some(done) = callers.join_next().await {
                    done.expect("callers do not panic");
                }
            };
            tokio::select! {
                () = within("callers to be done", done) => {}
                () = world.reached(dies) => {}
            }
            match life.death {
                Death::Dropped => None,
                Death::Copied => Some(copy(self.data.path(), &world, &ledger)),
                Death::Closed => {
                    within("the engine to close", engine.close()).await;
                    drop(followers);
                    within("callers to be done", callers.join_all()).await;
                    None
                }
            }
        });
        // Every task is dropped where it stands.
        runtime.shutdown_timeout(LIMIT);
        if let Some(Copied { data, mark, tick }) = image {
            self.ledger.forget_after(mark);
            self.world.forget_after(tick);
            self.data = data;
        }
        let after = self.image(self.data.path());
        after.check(&self.ledger, &self.world);
        before.check_life(self.world.life(), &self.world.witness());
        if life.death == Death::Closed && !life.flaky {
            after.check_closed(self.world.life(), &self.world.witness());
        }
        self.left = Some(after);
    }

    /// Runs the last life: everybody is kind, and everything comes to its end.
    pub(crate) fn end(&mut self, number: u32) {
        let last = self.plan.lives.last().expect("there is one").clone();
        let life = LifePlan { flaky: false, ..last };
        let before = self.left.take().unwrap_or_default();
        let runtime = runtime(life.threads);
        let rng = SmallRng::seed_from_u64(self.rng.random());
        let options = self.options(&life);
        let (world, ledger) = (Arc::clone(&self.world), Arc::clone(&self.ledger));
        let workflows = self.plan.workflows.clone();
        let crashes = self.plan.ends_with_crash;
        if crashes {
            world.be_kind();
        }
        runtime.block_on(async {
            let engine = Engine::open(options).await.expect("the engine opens");
            let followers = follow(&engine, &world, &ledger, rng.clone());
            create(&engine, workflows).await;
            if !crashes {
                // Ask more of it, and let it come to its end without a restart in between.
                let mut callers = ask(&engine, self, number, &life, rng.clone());
                within("callers to be done", async {
                    while let Some(done) = callers.join_next().await {
                        done.expect("callers do not panic");
                    }
                })
                .await;
                world.be_kind();
            }
            let janitor = Caller {
                engine: engine.clone(),
                ledger: Arc::clone(&ledger),
                rng,
                name: format!("janitor{number}"),
                turn: 0,
                workflows: 1,
                flaky: false,
            };
            crate::janitor::settle(janitor).await;
            drop(followers);
            within("the engine to close", engine.close()).await;
        });
        runtime.shutdown_timeout(LIMIT);
        let after = self.image(self.data.path());
        after.check(&self.ledger, &self.world);
        before.check_life(self.world.life(), &self.world.witness());
        after.check_end(&self.ledger, &self.world);
    }

    /// Reads what is on disk, from a copy, so that the next life finds it as it was left.
    fn image(&self, data: &Path) -> Image {
        let place = TempDir::new().expect("a directory");
        for name in ["caelum.db", "caelum.db-wal"] {
            let from = data.join(name);
            if from.exists() {
                std::fs::copy(from, place.path().join(name)).expect("copied");
            }
        }
        runtime(1).block_on(Image::read(place.path()))
    }
}

/// Waits for what must happen.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {LIMIT:?} for {what}"),
    }
}

/// Looks again and again until something is so; what it is instead is written out only when it never is.
pub(crate) async fn until<W: Debug>(what: &str, mut look: impl AsyncFnMut() -> Result<(), W>) {
    let end = Instant::now() + LIMIT;
    while let Err(why) = look().await {
        assert!(Instant::now() < end, "waited {LIMIT:?} for {what}: {why:#?}");
        tokio::time::sleep(REST).await;
    }
}

pub(crate) fn runtime(threads: usize) -> Runtime {
    let mut builder = if threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(threads);
        builder
    };
    builder.enable_all().build().expect("a runtime")
}

pub(crate) fn bundled(names: &[&str]) -> Vec<BundledPlugin> {
    caelum_plugin_bundle::bundled()
        .iter()
        .filter(|plugin| names.contains(&plugin.id))
        .map(|plugin| BundledPlugin { name: plugin.id.to_owned(), bytes: plugin.bytes.into() })
        .collect()
}

/// Starts what goes on beside the engine: machines that let go of work, and somebody who writes down every change.
pub(crate) fn follow(
    engine: &Engine,
    world: &Arc<World>,
    ledger: &Arc<Ledger>,
    rng: SmallRng,
) -> JoinSet<()> {
    let mut followers = JoinSet::new();
    followers.spawn(Arc::clone(world).clockwork(rng));
    let mut changes = engine.watch_all();
    let (world, ledger) = (Arc::clone(world), Arc::clone(ledger));
    followers.spawn(async move {
        loop {
            match changes.recv().await {
                Ok(changed) => {
                    let execution = &changed.snapshot.execution;
                    ledger.saw(execution);
                    if execution.head().end.is_some() {
                        world.ended(execution.id());
                    }
                    world.tick();
                }
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            }
        }
    });
    followers
}

async fn create(engine: &Engine, workflows: Vec<NewWorkflow>) {
    for workflow in workflows {
        let created = engine.create_workflow(workflow).await.expect("one key, one answer");
        assert_eq!(created.revision, 1, "created once");
    }
}

fn ask(engine: &Engine, sim: &Sim, number: u32, life: &LifePlan, mut rng: SmallRng) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for caller in 0..life.callers {
        let caller = Caller {
            engine: engine.clone(),
            ledger: Arc::clone(&sim.ledger),
            rng: SmallRng::seed_from_u64(rng.random()),
            name: format!("u{number}.{caller}"),
            turn: 0,
            workflows: sim.plan.workflows.len(),
            flaky: life.flaky,
        };
        callers.spawn(caller.ask(rng.random_range(5..25)));
    }
    callers
}

/// A crash image, and what was promised before it was taken.
struct Copied {
    data: TempDir,
    mark: crate::ledger::Mark,
    tick: u64,
}

/// Copies the database and then its log while both are written. The two belong together when the log did not start
/// anew in between, which its header tells.
fn copy(data: &Path, world: &World, ledger: &Ledger) -> Copied {
    loop {
        let (mark, tick) = (ledger.mark(), world.now());
        let to = TempDir::new().expect("a directory");
        let path = |directory: &Path, name: &str| -> PathBuf { directory.join(name) };
        let log = path(data, "caelum.db-wal");
        let before = header(&log);
        std::fs::copy(path(data, "caelum.db"), path(to.path(), "caelum.db")).expect("copied");
        std::fs::copy(&log, path(to.path(), "caelum.db-wal")).expect("copied");
        let after = header(&log);
        if before == after && after == header(&path(to.path(), "caelum.db-wal")) {
            return Copied { data: to, mark, tick };
        }
    }
}

fn header(log: &Path) -> Option<[u8; 32]> {
    let mut header = [0; 32];
    std::fs::File::open(log).and_then(|mut file| file.read_exact(&mut header)).ok()?;
    Some(header)
}
