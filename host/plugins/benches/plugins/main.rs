//! What the sandbox costs: one gate check beside the bare engine, with memory on demand and from a pool; loading a plugin
//! for the first time, from the cache and from memory, in every language of the polyglot kit; replacing a plugin while it
//! is called; resident memory over many calls.
//!
//! Prints one line per figure and writes `target/bench/plugins.json`. Runs for about two minutes. An argument that is part
//! of figures' names measures only those: `cargo bench -p caelum-plugin-host --bench plugins -- gate`. Languages other than
//! Rust are measured where `CAELUM_POLYGLOT` names the folder of their components (`make polyglot`).

#![expect(clippy::print_stdout, reason = "a bench shows its figures")]

mod bare;
mod gate;
mod hosted;
mod load;
mod memory;
mod swap;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// One line of the report.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// Whether a larger number is the better one.
    pub(crate) more_is_better: bool,
    pub(crate) ours: f64,
    /// The same of the bare engine, where it has such a thing.
    pub(crate) bare: Option<f64>,
    pub(crate) note: String,
}

impl Row {
    /// A time, which is better when it is short.
    pub(crate) fn time(name: &str, title: &str, unit: &'static str, ours: f64) -> Self {
        Row {
            name: name.to_owned(),
            title: title.to_owned(),
            unit,
            more_is_better: false,
            ours,
            bare: None,
            note: String::new(),
        }
    }

    /// A number of calls per second.
    pub(crate) fn rate(name: &str, title: &str, ours: f64) -> Self {
        Row { more_is_better: true, ..Row::time(name, title, "1/s", ours) }
    }

    pub(crate) fn beside(self, bare: f64) -> Self {
        Row { bare: Some(bare), ..self }
    }

    pub(crate) fn noted(self, note: impl Into<String>) -> Self {
        Row { note: note.into(), ..self }
    }

    /// Returns how many times the bare engine's price is paid.
    fn ratio(&self) -> Option<f64> {
        let bare = self.bare?;
        Some(if self.more_is_better { bare / self.ours } else { self.ours / bare })
    }
}

/// The figures of this run.
pub(crate) struct Figures {
    only: Option<String>,
    rows: Vec<Value>,
}

impl Figures {
    /// Returns whether a figure whose name begins so is wanted.
    pub(crate) fn wanted(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()) || only.contains(name))
    }

    /// Keeps a figure and shows it.
    pub(crate) fn add(&mut self, row: Row) {
        let ratio = row.ratio();
        let beside = match (row.bare, ratio) {
            (Some(bare), Some(ratio)) => format!(", bare {bare:.3}, ratio {ratio:.2}"),
            _ => String::new(),
        };
        println!("{}: {:.3} {}{beside} {}", row.name, row.ours, row.unit, row.note);
        self.rows.push(json!({
            "name": row.name,
            "title": row.title,
            "unit": row.unit,
            "better": if row.more_is_better { "more" } else { "less" },
            "ours": row.ours,
            "bare": row.bare.map(|value| json!({"value": value, "ratio": ratio})),
            "note": row.note,
        }));
    }

    fn write(&self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        let text = serde_json::to_string_pretty(&self.rows).expect("plain JSON");
        std::fs::write(folder.join("plugins.json"), text).expect("the report can be written");
    }
}

/// Returns the time below which this share of all times lies.
pub(crate) fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[(share * (times.len() - 1) as f64) as usize]
}

pub(crate) fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn main() {
    let only = std::env::args().skip(1).find(|argument| argument != "--bench");
    let mut figures = Figures { only, rows: Vec::new() };
    for part in [gate::measure, memory::measure, swap::measure, load::measure] {
        part(&mut figures);
        // After each, so that a run that is broken off leaves what it has.
        figures.write();
    }
}
