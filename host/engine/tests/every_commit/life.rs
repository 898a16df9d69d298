//! One life of the engine in a process of its own: asks for what every life asks for, does what steps wait for, and dies
//! at the commit that it is told to die at.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use caelum_core::evidence::{ReviewDecision, WorkReport};
use caelum_core::workflow::WaitingFor;
use caelum_engine::request::{NewExecution, Patience, Snapshot, StepReport, StepReview};
use caelum_engine::{Engine, EngineError, EngineOptions};
use caelum_machines::ToolServer;
use caelum_plugin_host::BundledPlugin;
use caelum_store::{CommitMoment, CommitWatch};
use serde_json::Map;

use crate::outside::{Outside, Trace};
use crate::reference::{TOOL_SERVER, make_component, workflows};

/// Says where a life takes place, what it may reach and where it dies: `PLACE|WEB|COMMIT|MOMENT`.
const VARIABLE: &str = "CAELUM_EVERY_COMMIT";

/// How long a life may take: far above what it takes on two busy processors.
const LIMIT: Duration = Duration::from_secs(120);

/// The plugins that the workflow needs.
const PLUGINS: [&str; 3] = ["command-succeeded", "manual-review", "infrastructure-enforcement"];

/// Where a life dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Death {
    /// At which commit of this life, from 1.
    pub(crate) commit: u32,
    pub(crate) moment: CommitMoment,
}

/// Runs one life in a process; returns whether it came to its end.
pub(crate) fn run(place: &Path, outside: &Outside, death: Option<Death>) -> bool {
    let (commit, moment) = match death {
        Some(Death { commit, moment: CommitMoment::Before }) => (commit, "before"),
        Some(Death { commit, moment: CommitMoment::After }) => (commit, "after"),
        None => (0, "never"),
    };
    let told = format!("{}|{}|{commit}|{moment}", place.display(), outside.web);
    let output = Command::new(std::env::current_exe().expect("this program knows its path"))
        .args(["--exact", "a_life_of_the_engine_is_this_program_started_with_a_variable"])
        .arg("--nocapture")
        .env(VARIABLE, told)
        .stdin(Stdio::null())
        .output()
        .expect("this program can be started again");
    let died = output.status.code().is_none();
    assert!(
        output.status.success() || (died && death.is_some()),
        "{death:?}: {:?}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    !died
}

/// Lives, where this process was started to.
pub(crate) fn live() {
    let Ok(told) = std::env::var(VARIABLE) else { return };
    let fields: Vec<&str> = told.split('|').collect();
    let place = PathBuf::from(fields[0]);
    let web: SocketAddr = fields[1].parse().expect("an address");
    let commit: u32 = fields[2].parse().expect("a number");
    let moment = match fields[3] {
        "before" => Some(CommitMoment::Before),
        "after" => Some(CommitMoment::After),
        _ => None,
    };
    let outside = Outside { witness: place.join("witness"), web };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let lived = tokio::time::timeout(LIMIT, Box::pin(one(&place, &outside, commit, moment)));
        lived.await.expect("a life ends in time");
    });
}

fn options(
    place: &Path,
    outside: &Outside,
    commit: u32,
    moment: Option<CommitMoment>,
) -> EngineOptions {
    let root = place.join("root");
    make_component(&root);
    let mut options = EngineOptions::new(place.join("data"), root);
    options.grace = Duration::from_millis(100);
    options.plugins.directory = None;
    options.plugins.cache_directory =
        Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache"));
    options.bundled = caelum_plugin_bundle::bundled()
        .iter()
        .filter(|plugin| PLUGINS.contains(&plugin.id))
        .map(|plugin| BundledPlugin { name: plugin.id.to_owned(), bytes: plugin.bytes.into() })
        .collect();
    let witness = outside.witness.display().to_string();
    let args = ["-c".to_owned(), TOOL_SERVER.to_owned(), witness];
    let sh =
        ToolServer::Stdio { program: "sh".to_owned(), args: args.to_vec(), env: BTreeMap::new() };
    options.tool_servers.insert("sh".to_owned(), sh);
    let commits = AtomicU32::new(0);
    options.store.commit_watch = moment.map(|moment| {
        CommitWatch::new(move |now| {
            let begins = u32::from(now == CommitMoment::Before);
            let count = commits.fetch_add(begins, Ordering::SeqCst) + begins;
            if now == moment && count == commit {
                std::process::abort();
            }
        })
    });
    options
}

async fn one(place: &Path, outside: &Outside, commit: u32, moment: Option<CommitMoment>) {
    let engine =
        Engine::open(options(place, outside, commit, moment)).await.expect("the engine opens");
    for workflow in workflows(outside) {
        engine.create_workflow(workflow).await.expect("one key, one answer");
    }
    let new = NewExecution {
        workflow_id: "outer".to_owned(),
        by: "tester".to_owned(),
        idempotency_key: Some("run".to_owned()),
        ..NewExecution::default()
    };
    let started = engine.execute(new).await.expect("one key, one answer");
    let id = started.execution.id().to_string();
    let mut seen = None;
    loop {
        let patience = Patience { wait: Duration::from_secs(1), after_event: seen };
        let now = engine.execution(&id, patience).await.expect("it exists");
        if now.execution.head().end.is_some() {
            break;
        }
        tend(&engine, outside, &now).await;
        seen = Some(now.execution.head().events);
    }
    engine.close().await;
}

/// Does what steps wait for.
async fn tend(engine: &Engine, outside: &Outside, now: &Snapshot) {
    let execution = &now.execution;
    for index in execution.open_steps() {
        let step = execution.definition().steps[index].id.to_string();
        let answer = match execution.step(index).waiting_for() {
            Some(WaitingFor::Work) => report(engine, now, &step, None).await,
            Some(WaitingFor::Decision) => {
                // Nobody does it twice: whoever looks at the witness knows whether it was done.
                let did = |trace: &Trace| {
                    trace.execution == execution.id().as_str() && trace.step == step
                };
                let done = outside.traces().iter().any(did);
                report(engine, now, &step, Some(done.then_some(true))).await
            }
            Some(WaitingFor::Review(_)) => {
                let reviews = execution.step(index).reviews.len();
                let review = StepReview {
                    execution_id: execution.id().to_string(),
                    step_id: step.clone(),
                    reviewer: ["ann", "bob"][reviews.min(1)].to_owned(),
                    decision: ReviewDecision::Approved,
                    reason: "read it".to_owned(),
                };
                engine.review_step(review).await
            }
            None => continue,
        };
        // What it waited for may have come about meanwhile.
        if let Err(error) = answer {
            assert!(matches!(error, EngineError::Mistake(_)), "{step}: {error:?}");
        }
    }
}

async fn report(
    engine: &Engine,
    now: &Snapshot,
    step: &str,
    decision: Option<Option<bool>>,
) -> Result<Snapshot, EngineError> {
    let report = StepReport {
        execution_id: now.execution.id().to_string(),
        step_id: step.to_owned(),
        report: WorkReport {
            performer: "cid".to_owned(),
            succeeded: true,
            summary: "done".to_owned(),
            outputs: Map::new(),
            files: vec![],
        },
        decision,
    };
    engine.complete_step(report).await
}
