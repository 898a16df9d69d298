//! Ten thousand executions that wait for somebody: what they weigh, and how soon they are there again after the server
//! was killed. Each half is a process of its own: what is killed is the real thing.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_engine::Engine;
use serde_json::{Value, json};

use crate::machines::{InProcess, NOTHING};
use crate::process::resident_mb;
use crate::shapes::{by_hand, create, ended, in_a_row, open, start};
use crate::{Figures, ms};

/// The argument of the process that opens executions and then waits to be killed.
pub(crate) const HOLD: &str = "--hold";

/// The argument of the process that comes after it.
pub(crate) const RECOVER: &str = "--recover";

/// Callers that start executions at the same time.
const CALLERS: usize = 64;

/// How long nothing is written before the engine counts as having nothing to do.
const QUIET: Duration = Duration::from_millis(20);

/// Runs both halves.
pub(crate) async fn measure(figures: &mut Figures) {
    if !figures.wanted("open_per_s open_rss_mb recovery_ms recovery_all_ms") {
        return;
    }
    let data = tempfile::TempDir::new().expect("a directory");
    let (mut holding, held) = half(HOLD, data.path());
    holding.kill().expect("it can be killed");
    holding.wait().expect("it is ours");
    let number = |answer: &Value, name: &str| answer[name].as_f64().expect("a number");
    figures.add("open_per_s", number(&held, "per_s"));
    figures.add("open_rss_mb", number(&held, "rss_mb"));
    let (mut recovered, answer) = half(RECOVER, data.path());
    recovered.wait().expect("it is ours");
    let remark = format!("{} MB resident after it", number(&answer, "rss_mb").round());
    figures.add_with("recovery_ms", number(&answer, "first_ms"), &remark);
    figures.add("recovery_all_ms", number(&answer, "all_ms"));
}

/// Starts one half and waits for the one line that it says.
fn half(which: &str, data: &Path) -> (Child, Value) {
    let program = std::env::current_exe().expect("this program has a name");
    let mut child = Command::new(program)
        .arg(which)
        .arg(data)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started again");
    let mut line = String::new();
    let output = child.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("it says something");
    (child, serde_json::from_str(&line).expect("it says JSON"))
}

/// Opens the executions, says what they weigh, and waits to be killed.
pub(crate) async fn hold(data: &Path) {
    let executions = Figures::new(None).shape("open_executions");
    let engine = open(data, Some(Arc::new(InProcess::new(1)))).await;
    create(&engine, "by-hand", by_hand()).await;
    create(&engine, "one", in_a_row(1, NOTHING)).await;
    let began = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let engine = engine.clone();
        callers.spawn(async move {
            for _ in (caller..executions).step_by(CALLERS) {
                start(&engine, "by-hand").await;
            }
        });
    }
    callers.join_all().await;
    let took = began.elapsed();
    all_wait(&engine, executions).await;
    println!(
        "{}",
        json!({"per_s": executions as f64 / took.as_secs_f64(), "rss_mb": resident_mb()})
    );
    std::future::pending::<()>().await;
}

/// Opens the engine over what was left behind.
pub(crate) async fn recover(data: &Path) {
    let began = Instant::now();
    let engine = open(data, Some(Arc::new(InProcess::new(1)))).await;
    ended(&engine, &start(&engine, "one").await).await;
    let first = began.elapsed();
    all_wait(&engine, Figures::new(None).shape("open_executions")).await;
    let all = began.elapsed();
    println!("{}", json!({"first_ms": ms(first), "all_ms": ms(all), "rss_mb": resident_mb()}));
    engine.close().await;
}

/// Waits until every open execution has an owner and nothing more is written.
async fn all_wait(engine: &Engine, executions: usize) {
    let mut before = None;
    loop {
        let health = engine.health().await;
        let commits = health.store.expect("the store answers").commits;
        let now = (health.open_executions, commits);
        if health.open_executions >= executions && before == Some(now) {
            return;
        }
        before = Some(now);
        tokio::time::sleep(QUIET).await;
    }
}
