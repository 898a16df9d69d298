//! Calls per second and latency of one simple tool over every transport, ours and that of other servers, by the same
//! caller in the same run; resident memory with many sessions; the first answer after a start.
//!
//! `cargo bench --package caelum-workflow --bench transports -- [SERVERS.json]` writes
//! `target/bench/transports.json`. SERVERS.json names the other servers; `bench/transports.py` installs them.

mod caller;
mod figures;
mod load;
mod server;
mod sessions;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Builder;

use crate::caller::{Era, Way};
use crate::figures::Figures;
use crate::server::{Place, Spec};

/// How long one figure is measured; long enough for ten thousands of calls of a fast server and hundreds of a slow one.
const MEASURED: Duration = Duration::from_secs(2);

/// How long a server is called before it is measured: caches fill, and interpreters compile what is hot.
const WARM_UP: Duration = Duration::from_millis(500);

/// How many connections call at once, one call each.
const CONNECTIONS: [usize; 2] = [1, 8];

/// How often a server is started for its first answer; the figure is the median.
const STARTS: usize = 5;

/// How many sessions are held for the figure of memory.
const SESSIONS: usize = 1_000;

fn main() {
    // Cargo hands on `--bench`; the one thing that is not an option is the list of servers.
    let list = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut servers = vec![Spec::ours()];
    servers.extend(list.map(|list| Spec::read(Path::new(&list))).unwrap_or_default());
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be started");
    let mut figures = Figures::default();
    for spec in servers {
        figures.say(&format!("{}: measuring", spec.name));
        if let Err(problem) = runtime.block_on(measure(&spec, &mut figures)) {
            figures.say(&format!("{}: {problem}", spec.name));
            figures.problem(&spec.name, &problem);
        }
    }
    let target = target();
    std::fs::create_dir_all(&target).expect("the folder of results can be made");
    let file = target.join("transports.json");
    std::fs::write(&file, figures.to_json()).expect("results can be written");
    figures.say(&format!("wrote {}", file.display()));
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench")
}

/// Takes all figures of one server.
async fn measure(spec: &Spec, figures: &mut Figures) -> Result<(), String> {
    let place = Place::new();
    if !spec.stdio.is_empty() {
        // The first start may compile what later ones find.
        server::first_answer_over_stdio(spec, &place).await?;
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            starts.push(server::first_answer_over_stdio(spec, &place).await?);
        }
        figures.start(spec, "stdio", &mut starts);
        for depth in CONNECTIONS {
            let measured = load::over_stdio(spec, &place, depth).await?;
            figures.load(spec, &Way::Stdio, Era::Older, depth, measured);
        }
    }
    if spec.http.is_empty() {
        return Ok(());
    }
    let running = server::Running::start(spec, &place).await?;
    figures.start(spec, "http", &mut [running.first_answer]);
    figures.memory(spec, "idle", 0, running.resident_mb());
    for way in spec.ways(&running) {
        for era in spec.eras(&way) {
            for connections in CONNECTIONS {
                let measured = load::over(spec, &way, era, connections, spec.tool()).await?;
                figures.load(spec, &way, era, connections, measured);
            }
        }
    }
    if let Some(tool) = &spec.second_tool {
        let way = Way::Http { address: running.address };
        let measured = load::over(spec, &way, Era::Newer, 8, tool.clone()).await?;
        figures.second(spec, &way, 8, measured);
    }
    figures.memory(spec, "after calls", 0, running.resident_mb());
    running.stop().await;
    for way in [0_u8, 1, 2] {
        // Each kind of session is held by a server of its own: memory that was used once may be kept.
        let running = server::Running::start(spec, &place).await?;
        let ways = spec.ways(&running);
        let Some(way) = ways.get(usize::from(way)) else {
            running.stop().await;
            continue;
        };
        let before = running.resident_mb();
        let held = sessions::hold(way, SESSIONS).await?;
        figures.memory(spec, way.name(), held.count, running.resident_mb() - before);
        drop(held);
        running.stop().await;
    }
    Ok(())
}
