//! What the operating system says and does: resident memory, processor time, and starting programs without any engine.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Programs started to find out how fast that is.
const PROGRAMS: usize = 1_000;

/// Programs that run at once, as many as the local machine of the engine takes.
const AT_ONCE: usize = 64;

/// Returns how much memory of this process is resident, in MB; nothing where the system does not say.
pub(crate) fn resident_mb() -> Option<f64> {
    status_mb("VmRSS:")
}

/// Returns how much memory of this process was resident at most, in MB.
pub(crate) fn peak_mb() -> f64 {
    status_mb("VmHWM:").unwrap_or(f64::NAN)
}

fn status_mb(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1_024.0 / 1e6)
}

/// Returns how much processor time this process has had, in milliseconds, to the hundredth of a second that Linux counts
/// in; not a number where the system does not say.
pub(crate) fn processor_ms() -> f64 {
    let spent = || {
        let line = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the program, in brackets, may hold anything; 14 and 15 are the times (proc(5)).
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some((ticks(11)? + ticks(12)?) * 10.0)
    };
    spent().unwrap_or(f64::NAN)
}

/// Starts a program again and again, and awaits each.
pub(crate) async fn programs_per_s(program: &'static str) -> f64 {
    let began = Instant::now();
    let started = std::sync::Arc::new(AtomicUsize::new(0));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let started = std::sync::Arc::clone(&started);
        running.spawn(async move {
            while started.fetch_add(1, Ordering::Relaxed) < PROGRAMS {
                let mut command = tokio::process::Command::new(program);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                assert!(command.status().await.expect("it starts").success());
            }
        });
    }
    running.join_all().await;
    PROGRAMS as f64 / began.elapsed().as_secs_f64()
}
