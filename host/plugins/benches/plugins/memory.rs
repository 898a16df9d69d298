//! Resident memory over many calls: what a call takes it gives back.

use std::fs;

use crate::hosted::{Hosted, component, options};
use crate::{Figures, Row};

/// How many calls are made.
const CALLS: usize = 100_000;

/// After how many calls the memory is looked at.
const EVERY: usize = 10_000;

/// Calls before the first look: what is made once and kept is there.
const WARM_UP: usize = 1_000;

pub(crate) fn measure(figures: &mut Figures) {
    if !figures.wanted("memory_100k") {
        return;
    }
    let hosted = Hosted::bundled(component(), options());
    for _ in 0..WARM_UP {
        hosted.check();
    }
    let Some(start) = resident_mb() else { return };
    let mut seen = vec![start];
    for _ in 0..CALLS / EVERY {
        for _ in 0..EVERY {
            hosted.check();
        }
        seen.extend(resident_mb());
    }
    let end = *seen.last().expect("there is the first");
    let all: Vec<String> = seen.iter().map(|mb| format!("{mb:.1}")).collect();
    let titled = |name: &str, title: &str, mb| Row::time(name, title, "MB", mb);
    figures.add(titled("memory_100k_start_mb", "Resident memory before 100,000 calls", start));
    let note = format!("every {EVERY} calls: {}", all.join(", "));
    figures.add(titled("memory_100k_end_mb", "The same after them", end).noted(note));
    figures.add(titled("memory_100k_growth_mb", "What they have left behind", end - start));
}

/// Returns how much memory of this process is resident; nothing where the system does not say.
fn resident_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1_024.0 / 1e6)
}
