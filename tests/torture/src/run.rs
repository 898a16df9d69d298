//! One run: sets everything up, lets callers and torment loose for a while, lets everything end, and holds the store
//! against the witness.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::callers::Caller;
use crate::home::Home;
use crate::report::{Report, say};
use crate::server::Server;
use crate::witness::Witness;
use crate::workflows::{Effects, TOOL_SERVER};
use crate::world::World;
use crate::{audit, chaos, processes, sampler, settle, web};

/// How a run is set up.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The server's program.
    #[arg(long)]
    server: PathBuf,
    /// How long callers and torment are let loose, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What the moments follow from; drawn when left out. Threads make no two runs the same.
    #[arg(long)]
    seed: Option<u64>,
    /// How many callers there are.
    #[arg(long, default_value_t = 6)]
    callers: u32,
    /// Where the data directory, the witness and the log are kept when a promise was broken.
    #[arg(long, default_value = "target/torture")]
    keep: PathBuf,
}

pub(crate) fn run(arguments: &RunArguments) -> ExitCode {
    let seed = arguments.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::from(now.subsec_nanos()) ^ (now.as_secs() << 20)
    });
    say(&format!("seed {seed}, {} seconds, {} callers", arguments.seconds, arguments.callers));
    let world = set_up(arguments, seed);
    let (faults, figures) = torture(arguments, seed, &world);
    if let Some(text) = faults {
        let kept = keep(&world, &arguments.keep);
        say(&format!("{figures}\n{text}\nseed {seed}; {kept}"));
        return ExitCode::FAILURE;
    }
    say(&format!("{figures}\nevery promise was kept"));
    ExitCode::SUCCESS
}

fn set_up(arguments: &RunArguments, seed: u64) -> Arc<World> {
    let program = arguments.server.canonicalize().expect("the server's program is there");
    let home = Home::new(program).expect("a directory can be made");
    let witness = Witness::open(&home.path().join("witness")).expect("the witness can be made");
    let own = std::env::current_exe().expect("this program knows its path");
    let config = home.path().join("config.toml");
    let text = format!(
        "[tool_servers.{TOOL_SERVER}]\nprogram = {own:?}\nargs = [\"tool-server\", \"--witness\", {:?}]\n",
        witness.path()
    );
    std::fs::write(&config, text).expect("a file can be written");
    let server = Arc::new(Server::new(home, config).expect("a log can be written"));
    Arc::new(World::new(server, witness, format!("run-{}-{seed}", std::process::id())))
}

/// Runs it all; returns the faults, where there are any, and the figures.
fn torture(arguments: &RunArguments, seed: u64, world: &Arc<World>) -> (Option<String>, String) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let own = std::env::current_exe().expect("this program knows its path");
    let web = web::serve(world.witness_path()).expect("the loopback has a port");
    let effects = Effects { program: &own, witness: world.witness_path(), web, run: &world.run };
    let workflows = Arc::new(effects.workflows());
    let task = Value::Object(effects.command(30, &[]));
    let mut caller = |name: String| {
        let rng = ChaCha8Rng::seed_from_u64(rng.random());
        Caller::new(Arc::clone(world), Arc::clone(&workflows), task.clone(), rng, name)
    };
    world.server.start();
    let mut janitor = caller("janitor".to_owned());
    for workflow in workflows.iter() {
        let new = json!({
            "workflow_id": workflow.name, "steps": workflow.steps, "created_by": "torture",
        });
        janitor.surely("create_workflow", &new);
    }
    let callers: Vec<_> = (0..arguments.callers)
        .map(|number| {
            let caller = caller(format!("c{number}"));
            std::thread::spawn(move || caller.work())
        })
        .collect();
    let (enough_sampling, sampling) = mpsc::channel();
    let sampler = {
        let world = Arc::clone(world);
        std::thread::spawn(move || sampler::sample(&world, &sampling))
    };
    let (enough, torment) = mpsc::channel();
    let chaos = {
        let (world, rng) = (Arc::clone(world), ChaCha8Rng::seed_from_u64(rng.random()));
        std::thread::spawn(move || chaos::torment(&world, rng, &torment))
    };
    std::thread::sleep(Duration::from_secs(arguments.seconds));
    world.finish();
    drop(enough);
    chaos.join().expect("the torment does not panic");
    for caller in callers {
        if caller.join().is_err() {
            world.faults.add("a caller could not go on; see above");
        }
    }
    let settled = settle::settle(world, janitor);
    drop(enough_sampling);
    sampler.join().expect("the sampler does not panic");
    world.server.stop();
    let left = processes::effects(&world.run);
    world.faults.unless(left.is_empty(), || {
        format!("processes {left:?} of effects live on after the server has stopped")
    });
    for pid in left {
        processes::signal(pid, rustix::process::Signal::KILL);
    }
    let audited = audit::audit(world);
    let report = Report { seed, settled, figures: &world.figures, audited: &audited };
    let text = report.check(&world.faults);
    (world.faults.text(), text)
}

/// Keeps what a broken run left, for those who look into it; says where.
fn keep(world: &World, to: &std::path::Path) -> String {
    let from = world.server.home().path();
    let copied = std::fs::create_dir_all(to).and_then(|()| {
        for name in ["witness", "server.log", "data/caelum.db"] {
            let name = std::path::Path::new(name);
            let file = name.file_name().unwrap_or_default();
            std::fs::copy(from.join(name), to.join(file))?;
        }
        Ok(())
    });
    match copied {
        Ok(()) => format!("witness, log and store are kept in {}", to.display()),
        Err(error) => format!("witness, log and store could not be kept: {error}"),
    }
}
