//! Drives duroxide through the shapes that `bench/figures.json` names, as `harness.py` drives the other peers:
//! `caelum-bench-duroxide DIRECTORY GROUP` prints one JSON object per figure.
//!
//! Its dispatchers look for work every millisecond and not every 100 ms, and ten workers perform activities and not
//! two: its defaults are for a quieter life, and it is faster so.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use duroxide::providers::sqlite::SqliteProvider;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{
    ActivityContext, Client, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus,
};
use serde_json::{Value, json};

/// How often its dispatchers look for work.
const POLL: Duration = Duration::from_millis(1);

/// Activities performed at once.
const WORKERS: usize = 10;

/// How long one execution may take.
const EXECUTION_MAX: Duration = Duration::from_secs(120);

/// Callers that open executions at the same time.
const CALLERS: usize = 32;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Steps that have ended in this process.
static DONE: AtomicUsize = AtomicUsize::new(0);

/// When steps began in this process.
static BEGUN: Mutex<Vec<Instant>> = Mutex::new(Vec::new());

fn take_begun() -> Vec<Instant> {
    std::mem::take(&mut *BEGUN.lock().expect("never held across a panic"))
}

async fn work(kind: String) -> Result<String, String> {
    BEGUN.lock().expect("never held across a panic").push(Instant::now());
    match kind.as_str() {
        "second" => tokio::time::sleep(Duration::from_secs(1)).await,
        "program" => {
            let status = tokio::process::Command::new("true").status().await;
            if !status.is_ok_and(|status| status.success()) {
                return Err("`true` failed".to_owned());
            }
        }
        _ => {}
    }
    DONE.fetch_add(1, Ordering::Relaxed);
    Ok(String::new())
}

/// Reads `STEPS KIND`.
fn shape(input: &str) -> (usize, String) {
    let (steps, kind) = input.split_once(' ').expect("two words");
    (steps.parse().expect("a number"), kind.to_owned())
}

async fn row(ctx: OrchestrationContext, input: String) -> Result<String, String> {
    let (steps, kind) = shape(&input);
    for _ in 0..steps {
        ctx.schedule_activity("work", kind.clone()).await?;
    }
    Ok(String::new())
}

async fn side_by_side(ctx: OrchestrationContext, input: String) -> Result<String, String> {
    let (steps, kind) = shape(&input);
    let begun = (0..steps).map(|_| ctx.schedule_activity("work", kind.clone())).collect();
    for ended in ctx.join(begun).await {
        ended?;
    }
    Ok(String::new())
}

async fn waits(ctx: OrchestrationContext, _: String) -> Result<String, String> {
    Ok(ctx.schedule_wait("go").await)
}

/// The library at work in this process.
struct Peer {
    client: Client,
    names: AtomicUsize,
    _runtime: Arc<Runtime>,
}

impl Peer {
    async fn begin(directory: &Path) -> Result<Self, Failure> {
        let file = directory.join("duroxide.db");
        // What exists stays as it is.
        std::fs::OpenOptions::new().append(true).create(true).open(&file)?;
        let url = format!("sqlite:{}", file.display());
        let store = Arc::new(SqliteProvider::new(&url, None).await?);
        let activities = ActivityRegistry::builder()
            .register("work", |_: ActivityContext, kind: String| work(kind))
            .build();
        let orchestrations = OrchestrationRegistry::builder()
            .register("row", row)
            .register("side_by_side", side_by_side)
            .register("waits", waits)
            .build();
        let options = RuntimeOptions {
            dispatcher_min_poll_interval: POLL,
            worker_concurrency: WORKERS,
            ..RuntimeOptions::default()
        };
        let runtime = Runtime::start_with_options(
            Arc::clone(&store) as Arc<_>,
            activities,
            orchestrations,
            options,
        )
        .await;
        let client = Client::new(store);
        let names = AtomicUsize::new(0);
        Ok(Peer { client, names, _runtime: runtime })
    }

    async fn start(&self, kind: &str, input: &str) -> Result<String, Failure> {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        self.client.start_orchestration(&name, kind, input).await.map_err(debug)?;
        Ok(name)
    }

    async fn run(&self, kind: &str, steps: usize, work: &str) -> Result<(), Failure> {
        let name = self.start(kind, &format!("{steps} {work}")).await?;
        match self.client.wait_for_orchestration(&name, EXECUTION_MAX).await.map_err(debug)? {
            OrchestrationStatus::Completed { .. } => Ok(()),
            other => Err(format!("{kind} of {steps} steps: {other:?}").into()),
        }
    }

    async fn timed(&self, kind: &str, steps: usize, work: &str) -> Result<f64, Failure> {
        let began = Instant::now();
        self.run(kind, steps, work).await?;
        Ok(ms(began.elapsed()))
    }
}

fn debug(error: impl std::fmt::Debug) -> Failure {
    format!("{error:?}").into()
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

fn percentile(times: &mut [f64], rank: usize) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[(times.len() * rank / 100).min(times.len() - 1)]
}

fn figure(name: &str, value: f64, note: &str) {
    println!("{}", json!({"name": name, "value": value, "note": note}));
}

struct Shapes(Value);

impl Shapes {
    fn number(&self, name: &str) -> usize {
        let number = self.0[name].as_u64().expect("the shapes have this number");
        usize::try_from(number).expect("small")
    }
}

async fn row_group(peer: &Peer, shapes: &Shapes) -> Result<(), Failure> {
    let took = peer.timed("row", shapes.number("light_steps"), "nothing").await?;
    figure("light_40_ms", took, "");
    let steps = shapes.number("long_steps");
    let took = peer.timed("row", steps, "second").await?;
    figure("long_10_overhead_ms", took - 1_000.0 * steps as f64, "");
    let (mut whole, mut dispatch) = (Vec::new(), Vec::new());
    for _ in 0..shapes.number("single_executions") {
        take_begun();
        let began = Instant::now();
        whole.push(peer.timed("row", 1, "nothing").await?);
        dispatch.extend(take_begun().iter().map(|begun| ms(begun.duration_since(began))));
    }
    for rank in [50, 99] {
        figure(&format!("single_p{rank}_ms"), percentile(&mut whole, rank), "");
        figure(&format!("dispatch_p{rank}_ms"), percentile(&mut dispatch, rank), "");
    }
    let steps = shapes.number("peer_row_steps");
    let took = peer.timed("row", steps, "nothing").await?;
    figure("step_ms", took / steps as f64, "");
    let begun = take_begun();
    let mut paces: Vec<f64> =
        begun.windows(2).map(|pair| ms(pair[1].duration_since(pair[0]))).collect();
    figure("step_p50_ms", percentile(&mut paces, 50), "");
    figure("step_p99_ms", percentile(&mut paces, 99), "");
    let steps = shapes.number("crowd_steps");
    let took = peer.timed("row", steps, "nothing").await?;
    figure("steps_per_s_1", steps as f64 * 1_000.0 / took, "");
    let took = peer.timed("side_by_side", shapes.number("parallel_steps"), "nothing").await?;
    figure("parallel_400_ms", took, "");
    Ok(())
}

/// Runs many executions at once, for so long at most.
async fn crowd(
    peer: &Arc<Peer>,
    name: &str,
    executions: usize,
    (kind, steps, work): (&'static str, usize, &'static str),
    span: Duration,
) -> Result<(), Failure> {
    let before = DONE.load(Ordering::Relaxed);
    let began = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..executions {
        let peer = Arc::clone(peer);
        running.spawn(async move { peer.run(kind, steps, work).await });
    }
    let mut note = String::new();
    loop {
        match tokio::time::timeout(span.saturating_sub(began.elapsed()), running.join_next()).await
        {
            Ok(Some(ended)) => ended??,
            Ok(None) => break,
            Err(_) => {
                note = format!(
                    "{} of {executions} had not ended after {} s",
                    running.len(),
                    span.as_secs()
                );
                break;
            }
        }
    }
    let done = DONE.load(Ordering::Relaxed) - before;
    if done == 0 {
        return Err(format!("no step ended within {} s", span.as_secs()).into());
    }
    figure(name, done as f64 / began.elapsed().as_secs_f64(), &note);
    Ok(())
}

async fn programs_group(peer: &Arc<Peer>, shapes: &Shapes) -> Result<(), Failure> {
    let took = peer.timed("row", shapes.number("light_steps"), "program").await?;
    figure("light_40_command_ms", took, "");
    let took = peer.timed("side_by_side", shapes.number("parallel_steps"), "program").await?;
    figure("parallel_400_command_ms", took, "");
    let shape = ("row", shapes.number("crowd_steps"), "program");
    let span = Duration::from_secs(shapes.number("crowd_seconds_max") as u64);
    crowd(peer, "command_steps_per_s_100", 100, shape, span).await
}

/// Opens executions that wait for somebody until there are enough or the time is over, then dies.
async fn open_group(peer: &Arc<Peer>, shapes: &Shapes) -> Result<(), Failure> {
    let count = shapes.number("open_executions");
    let span = Duration::from_secs(shapes.number("open_seconds_max") as u64);
    let began = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let peer = Arc::clone(peer);
        callers.spawn(async move {
            let mut opened = 0;
            for _ in (caller..count).step_by(CALLERS) {
                if began.elapsed() > span {
                    break;
                }
                peer.start("waits", "").await?;
                opened += 1;
            }
            Ok::<usize, Failure>(opened)
        });
    }
    let mut opened = 0;
    while let Some(ended) = callers.join_next().await {
        opened += ended??;
    }
    let took = began.elapsed();
    let note = if opened == count {
        String::new()
    } else {
        format!("with {opened} open after {} s", span.as_secs())
    };
    figure("open_per_s", opened as f64 / took.as_secs_f64(), &note);
    figure("open_rss_mb", resident_mb()?, &note);
    println!("{}", json!({"open": opened}));
    std::process::abort();
}

fn resident_mb() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no resident memory")?;
    Ok(kib.parse::<f64>()? * 1_024.0 / 1e6)
}

async fn asked(directory: &Path, group: &str) -> Result<(), Failure> {
    let shapes = Shapes(serde_json::from_str(include_str!("../../../figures.json"))?);
    let began = Instant::now();
    let peer = Arc::new(Peer::begin(directory).await?);
    peer.run("row", 1, "nothing").await?;
    let crowded = Duration::from_secs(shapes.number("crowd_seconds_max") as u64);
    let steps = shapes.number("crowd_steps");
    match group {
        "recover" => figure("recovery_ms", ms(began.elapsed()), ""),
        "row" => row_group(&peer, &shapes).await?,
        "programs" => programs_group(&peer, &shapes).await?,
        "crowd-100" => {
            crowd(&peer, "steps_per_s_100", 100, ("row", steps, "nothing"), crowded).await?;
        }
        "crowd-1000" => {
            crowd(&peer, "steps_per_s_1000", 1_000, ("row", steps, "nothing"), crowded).await?;
        }
        "wide" => {
            let shape = ("side_by_side", shapes.number("wide_targets"), "nothing");
            let span = Duration::from_secs(shapes.number("wide_seconds_max") as u64);
            crowd(&peer, "wide_per_s", shapes.number("wide_executions"), shape, span).await?;
        }
        "open" => open_group(&peer, &shapes).await?,
        other => return Err(format!("there is no group `{other}`").into()),
    }
    Ok(())
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, group] = arguments.as_slice() else {
        panic!("usage: caelum-bench-duroxide DIRECTORY GROUP");
    };
    if let Err(error) = asked(Path::new(directory), group).await {
        println!("{}", json!({"error": error.to_string()}));
    }
    // What still runs is of no interest any more.
    std::process::exit(0);
}
