//! Reads what `/proc` says about processes. Where there is no `/proc`, nothing is known and nothing is found.

use std::fs;

/// One process, as the kernel saw it a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Its short name.
    pub(crate) name: String,
    /// `Z` and `X` have ended and only wait to be collected.
    pub(crate) state: char,
    pub(crate) group: i32,
    /// Ticks since boot; with the pid it names a process for as long as the machine is up.
    pub(crate) start_time: u64,
}

impl Process {
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Returns whether the environment that the process was started with has this `NAME=value`.
    pub(crate) fn was_started_with(&self, entry: &str) -> bool {
        fs::read(format!("/proc/{}/environ", self.pid)).is_ok_and(|environ| {
            environ.split(|byte| *byte == 0).any(|one| one == entry.as_bytes())
        })
    }
}

/// Looks up one process.
pub(crate) fn process(pid: i32) -> Option<Process> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Lists every process that is there.
pub(crate) fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries.filter_map(|entry| process(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

/// Returns what names this boot of the machine; empty where that is not known.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn parse(stat: &str) -> Option<Process> {
    // The name stands in brackets and may hold anything, brackets included; the numbers follow the last one.
    let (before, after) = stat.rsplit_once(')')?;
    let (pid, name) = before.split_once(" (")?;
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    Some(Process {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
        state: fields.first()?.chars().next()?,
        group: fields.get(2)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "42 (a) Z (b) S 1 40 40 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";

        let process = parse(stat).expect("parses");

        assert_eq!((process.pid, process.name.as_str()), (42, "a) Z (b"));
        assert_eq!((process.state, process.group, process.start_time), ('S', 40, 987_654));
    }

    #[test]
    fn this_process_is_found() {
        let pid = i32::try_from(std::process::id()).expect("a pid is an i32");

        assert!(processes().iter().any(|process| process.pid == pid));
    }
}
