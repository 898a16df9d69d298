//! What the engine costs: steps that end at once, so that what is measured is deciding and storing; the same with real
//! programs; many executions open, and many finished ones kept. The shapes and their names stand in
//! `bench/figures.json`, where the peers find them too.
//!
//! Prints one line per figure and writes `target/bench/engine.json`. Runs for about two minutes. An argument that is
//! part of figures' names measures only those: `cargo bench -p caelum-engine --bench throughput -- step_ms`.

#![expect(clippy::print_stdout, reason = "a bench shows its figures")]

mod disk;
mod finished;
mod machines;
mod opened;
mod process;
mod shapes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_machines::Fabric;
use serde_json::{Value, json};

use crate::machines::{InProcess, NOTHING, SECOND};
use crate::shapes::{
    create, crowd, ended, everywhere, in_a_row, measure, open, over_a_list, paces, percentile,
    side_by_side, start,
};

/// A program of every machine that does nothing.
const TRUE: &str = "true";

/// The figures of this run, and the shapes that they are measured with.
pub(crate) struct Figures {
    shapes: Value,
    only: Option<String>,
    measured: Vec<Value>,
}

impl Figures {
    fn new(only: Option<String>) -> Self {
        let shapes = include_str!("../../../../bench/figures.json");
        let shapes = serde_json::from_str(shapes).expect("the shapes are JSON");
        Figures { shapes, only, measured: Vec::new() }
    }

    /// Returns a number of the shapes.
    pub(crate) fn shape(&self, name: &str) -> usize {
        let number = self.shapes[name].as_u64().expect("the shapes have this number");
        usize::try_from(number).expect("small")
    }

    /// Returns whether any figure whose name begins so is wanted.
    pub(crate) fn wanted(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    /// Keeps a figure and shows it.
    pub(crate) fn add(&mut self, name: &str, value: f64) {
        self.add_with(name, value, "");
    }

    /// Keeps a figure with a remark.
    pub(crate) fn add_with(&mut self, name: &str, value: f64, remark: &str) {
        let known = self.shapes["figures"].as_array().expect("a list");
        let unit = known.iter().find(|figure| figure["name"] == name);
        let unit = unit.expect("every figure is listed in bench/figures.json")["unit"].as_str();
        println!("{name}: {value:.3} {} {remark}", unit.unwrap_or_default());
        self.measured.push(json!({"name": name, "value": value, "note": remark}));
    }

    fn write(&self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        let text = serde_json::to_string_pretty(&self.measured).expect("plain JSON");
        std::fs::write(folder.join("engine.json"), text).expect("the report can be written");
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let first = arguments.next();
    let mut directory = || PathBuf::from(arguments.next().expect("a directory"));
    match first.as_deref() {
        // The two halves of the bench of recovery, each in a process of its own.
        Some(opened::HOLD) => runtime.block_on(opened::hold(&directory())),
        Some(opened::RECOVER) => runtime.block_on(opened::recover(&directory())),
        _ => {
            let mut figures = Figures::new(first);
            runtime.block_on(all(&mut figures));
            figures.write();
        }
    }
}

async fn all(figures: &mut Figures) {
    disk::measure(figures);
    in_process(figures).await;
    programs(figures).await;
    crowds(figures).await;
    wide(figures).await;
    if figures.wanted("crowd_rss_mb") {
        figures.add("crowd_rss_mb", process::peak_mb());
    }
    opened::measure(figures).await;
    finished::measure(figures).await;
}

fn at_once(machines: usize) -> Option<Arc<dyn Fabric>> {
    Some(Arc::new(InProcess::new(machines)))
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

/// One execution at a time, its work in this process.
async fn in_process(figures: &mut Figures) {
    if figures.wanted("light_40_ms") {
        let steps = in_a_row(figures.shape("light_steps"), NOTHING);
        figures.add("light_40_ms", ms(measure(steps, 1, at_once(1)).await));
    }
    if figures.wanted("long_10_overhead_ms") {
        let steps = figures.shape("long_steps");
        let took = measure(in_a_row(steps, SECOND), 1, at_once(1)).await;
        figures.add("long_10_overhead_ms", ms(took) - 1_000.0 * steps as f64);
    }
    if figures.wanted("parallel_400_ms") {
        let steps = side_by_side(figures.shape("parallel_steps"), NOTHING);
        figures.add("parallel_400_ms", ms(measure(steps, 1, at_once(1)).await));
    }
    if figures.wanted("single_p50_ms dispatch_p50_ms") {
        singles(figures).await;
    }
    if figures.wanted("step_ms step_cpu_ms") {
        row(figures).await;
    }
}

/// Executions of one step, one after the other: until the step runs, and until the end is seen.
async fn singles(figures: &mut Figures) {
    let data = tempfile::TempDir::new().expect("a directory");
    let fabric = Arc::new(InProcess::new(1));
    let engine = open(data.path(), Some(Arc::clone(&fabric) as Arc<dyn Fabric>)).await;
    create(&engine, "bench", in_a_row(1, NOTHING)).await;
    crowd(&engine, "bench", 1).await;
    fabric.take_begun();
    let (mut whole, mut dispatch) = (Vec::new(), Vec::new());
    for _ in 0..figures.shape("single_executions") {
        let began = Instant::now();
        let id = start(&engine, "bench").await;
        ended(&engine, &id).await;
        whole.push(began.elapsed());
        dispatch.extend(fabric.take_begun().iter().map(|begun| begun.duration_since(began)));
    }
    engine.close().await;
    figures.add("single_p50_ms", ms(percentile(&mut whole, 50)));
    figures.add("single_p99_ms", ms(percentile(&mut whole, 99)));
    figures.add("dispatch_p50_ms", ms(percentile(&mut dispatch, 50)));
    figures.add("dispatch_p99_ms", ms(percentile(&mut dispatch, 99)));
}

/// One long row of steps.
async fn row(figures: &mut Figures) {
    let data = tempfile::TempDir::new().expect("a directory");
    let engine = open(data.path(), at_once(1)).await;
    let steps = figures.shape("row_steps");
    create(&engine, "bench", in_a_row(steps, NOTHING)).await;
    let (began, spent) = (Instant::now(), process::processor_ms());
    let id = start(&engine, "bench").await;
    ended(&engine, &id).await;
    figures.add("step_ms", ms(began.elapsed()) / steps as f64);
    figures.add("step_cpu_ms", (process::processor_ms() - spent) / steps as f64);
    let mut paces = paces(&engine, &id).await;
    figures.add("step_p50_ms", ms(percentile(&mut paces, 50)));
    figures.add("step_p99_ms", ms(percentile(&mut paces, 99)));
    engine.close().await;
}

/// The same with real programs on the real local machine.
async fn programs(figures: &mut Figures) {
    if figures.wanted("programs_per_s") {
        figures.add("programs_per_s", process::programs_per_s(TRUE).await);
    }
    if figures.wanted("light_40_command_ms") {
        let steps = in_a_row(figures.shape("light_steps"), TRUE);
        figures.add("light_40_command_ms", ms(measure(steps, 1, None).await));
    }
    if figures.wanted("parallel_400_command_ms") {
        let steps = side_by_side(figures.shape("parallel_steps"), TRUE);
        figures.add("parallel_400_command_ms", ms(measure(steps, 1, None).await));
    }
    if figures.wanted("command_steps_per_s_100") {
        let steps = figures.shape("crowd_steps");
        let took = measure(in_a_row(steps, TRUE), 100, None).await;
        figures.add("command_steps_per_s_100", (100 * steps) as f64 / took.as_secs_f64());
    }
}

/// Many executions at once, each a row of steps.
async fn crowds(figures: &mut Figures) {
    let steps = figures.shape("crowd_steps");
    for executions in [1, 100, 1_000, 10_000] {
        let name = format!("steps_per_s_{executions}");
        if figures.wanted(&name) {
            let took = measure(in_a_row(steps, NOTHING), executions, at_once(1)).await;
            figures.add(&name, (steps * executions) as f64 / took.as_secs_f64());
        }
    }
}

/// Few executions, each with much to do side by side.
async fn wide(figures: &mut Figures) {
    if figures.wanted("wide_per_s") {
        let (executions, targets) =
            (figures.shape("wide_executions"), figures.shape("wide_targets"));
        let took = measure(everywhere(NOTHING), executions, at_once(targets)).await;
        figures.add("wide_per_s", (executions * targets) as f64 / took.as_secs_f64());
    }
    if figures.wanted("targets_per_s") {
        let took = measure(everywhere(NOTHING), 10, at_once(1_000)).await;
        figures.add("targets_per_s", 10_000.0 / took.as_secs_f64());
    }
    if figures.wanted("map_items_per_s") {
        let items = figures.shape("map_items");
        let took = measure(over_a_list(items, NOTHING), 1, at_once(1)).await;
        figures.add("map_items_per_s", items as f64 / took.as_secs_f64());
    }
}
