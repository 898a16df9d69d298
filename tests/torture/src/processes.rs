//! The processes that effects are: found by the variable that every step sets, through the kernel's own list.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// The variable that every effect is started with.
pub(crate) const VARIABLE: &str = "CAELUM_TORTURE";

/// Returns the living processes whose environment carries this run's name.
pub(crate) fn effects(run: &str) -> Vec<i32> {
    let marker = format!("{VARIABLE}={run}");
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let carries =
                environment.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes());
            carries && !is_zombie(*pid)
        })
        .collect()
}

fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Sends a signal to a process that may be gone.
pub(crate) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // Gone meanwhile is as good.
        kill_process(pid, signal).ok();
    }
}
