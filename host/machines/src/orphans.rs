//! What is running, on disk: one small file for each program that this server started, so that a server that died by
//! `kill -9` can be followed by one that finds and ends what it left.
//!
//! A file is named `<server pid>-<server start time>-<number>.run` and holds one line: the group's leader, its start
//! time, the boot, and the idempotency key. It is made before the program starts (with `0 0` for the leader) and removed
//! when the program's group is gone. Every program is also started with `CAELUM_RUN_ID` in its environment, which finds
//! those that left the group. Files are not synced: they matter after a crash of the server, not of the machine.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::procfs::{self, Process};

/// The folder beneath the data directory.
const FOLDER: &str = "tasks";

/// How long orphans may take to end after they were asked to.
const GRACE: Duration = Duration::from_secs(2);

/// How long killed orphans may take to disappear.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// Something that a dead server left running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The idempotency key of the task, or `probe/<name>`.
    pub key: String,
    /// Its processes.
    pub pids: Vec<i32>,
    /// How it ended.
    pub end: OrphanEnd,
}

/// How an orphan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanEnd {
    /// It ended when asked to.
    Terminated,
    /// It had to be killed.
    Killed,
    /// It is still there: it waits in the kernel, or belongs to somebody else by now.
    StillThere,
}

/// What could not be done about orphans.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrphansError {
    /// The folder of running tasks cannot be used.
    #[error("the folder of running tasks `{}` cannot be used", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Ends everything that a server which is no longer there left running, and forgets it.
///
/// Call it once at start, before any task is started. Blocks for at most a few seconds, and only when there is something
/// to end. What a living server runs, this one included, is left alone. A process is ended only when its number and its
/// start time, or the run id in its environment, are those that were written down in this boot of the machine.
///
/// # Errors
///
/// [`OrphansError::Folder`] when the folder is there and cannot be read.
pub fn reap_orphans(data_dir: &Path) -> Result<Vec<Orphan>, OrphansError> {
    let folder = data_dir.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(OrphansError::Folder { path: folder, source }),
    };
    let boot = procfs::boot_id();
    let mut left: Vec<(PathBuf, Entry)> = Vec::new();
    for entry in entries {
        let path =
            entry.map_err(|source| OrphansError::Folder { path: folder.clone(), source })?.path();
        let Some(entry) = Entry::read(&path) else {
            continue;
        };
        if !entry.server_lives() {
            left.push((path, entry));
        }
    }
    let all = if left.is_empty() { Vec::new() } else { procfs::processes() };
    let mut orphans = Vec::new();
    for (path, entry) in left {
        let processes = if entry.boot == boot { entry.processes(&all) } else { Vec::new() };
        forget(&path);
        if !processes.is_empty() {
            orphans.push((entry.key, processes));
        }
    }
    Ok(end(orphans))
}

fn end(orphans: Vec<(String, Vec<Process>)>) -> Vec<Orphan> {
    let everyone = || orphans.iter().flat_map(|(_, processes)| processes);
    for process in everyone() {
        signal(process, Signal::TERM);
        signal(process, Signal::CONT);
    }
    wait_until(GRACE, || !everyone().any(is_there));
    let stubborn: Vec<bool> =
        orphans.iter().map(|(_, processes)| processes.iter().any(is_there)).collect();
    for process in everyone() {
        signal(process, Signal::KILL);
    }
    wait_until(KILL_WAIT, || !everyone().any(is_there));
    orphans
        .iter()
        .zip(stubborn)
        .map(|((key, processes), stubborn)| {
            let end = match stubborn {
                false => OrphanEnd::Terminated,
                true if processes.iter().any(is_there) => OrphanEnd::StillThere,
                true => OrphanEnd::Killed,
            };
            let pids = processes.iter().map(|process| process.pid).collect();
            tracing::info!(%key, ?pids, ?end, "ended what an earlier server left running");
            Orphan { key: key.clone(), pids, end }
        })
        .collect()
}

fn is_there(process: &Process) -> bool {
    procfs::process(process.pid)
        .is_some_and(|now| now.start_time == process.start_time && !now.has_ended())
}

/// Signals exactly this process: a process file descriptor cannot come to mean another one between look and signal.
fn signal(process: &Process, signal: Signal) {
    let Some(pid) = Pid::from_raw(process.pid) else {
        return;
    };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if is_there(process)
        && let Err(error) = pidfd_send_signal(&pidfd, signal)
    {
        tracing::debug!(pid = process.pid, %error, "an orphan did not take the signal");
    }
}

fn wait_until(limit: Duration, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() && start.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn forget(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a record of a running task stays");
        }
        _ => {}
    }
}

/// One file of the folder.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    run_id: String,
    server: (i32, u64),
    leader: i32,
    start_time: u64,
    boot: String,
    key: String,
}

impl Entry {
    fn read(path: &Path) -> Option<Entry> {
        let run_id = path.file_name()?.to_str()?.strip_suffix(".run")?.to_owned();
        let mut parts = run_id.split('-');
        let server = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        // A server that died while it wrote leaves an empty line: then only the run id is known.
        let text = fs::read_to_string(path).ok()?;
        let mut fields = text.trim_end().splitn(4, ' ');
        let mut field = || fields.next().unwrap_or_default().to_owned();
        let (leader, start_time, boot, key) = (field(), field(), field(), field());
        Some(Entry {
            run_id,
            server,
            leader: leader.parse().unwrap_or_default(),
            start_time: start_time.parse().unwrap_or_default(),
            boot: if boot.is_empty() { procfs::boot_id() } else { boot },
            key,
        })
    }

    fn server_lives(&self) -> bool {
        procfs::process(self.server.0).is_some_and(|server| server.start_time == self.server.1)
    }

    /// Picks this run's processes: the group as long as its leader is the one written down, and whoever was started
    /// with the run id.
    fn processes(&self, all: &[Process]) -> Vec<Process> {
        let marker = format!("CAELUM_RUN_ID={}", self.run_id);
        let leads = self.leader > 1
            && all.iter().any(|one| one.pid == self.leader && one.start_time == self.start_time);
        all.iter()
            .filter(|one| {
                let in_group = leads && one.group == self.leader;
                !one.has_ended() && (in_group || one.was_started_with(&marker))
            })
            .cloned()
            .collect()
    }
}

/// The folder in which a server writes down what it runs.
#[derive(Debug, Clone)]
pub(crate) struct RunFolder {
    path: Arc<Path>,
    server: Arc<str>,
    boot: Arc<str>,
    next: Arc<AtomicU64>,
}

impl RunFolder {
    /// Opens the folder beneath `data_dir`, making it where it is missing.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, OrphansError> {
        // Two folders in one process must not hand out the same number.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let path = data_dir.join(FOLDER);
        fs::create_dir_all(&path)
            .map_err(|source| OrphansError::Folder { path: path.clone(), source })?;
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let start_time = procfs::process(pid).map_or(0, |process| process.start_time);
        let first = NEXT.fetch_add(1 << 32, Ordering::Relaxed);
        Ok(RunFolder {
            path: path.into(),
            server: format!("{pid}-{start_time}").into(),
            boot: procfs::boot_id().into(),
            next: Arc::new(AtomicU64::new(first)),
        })
    }

    /// Returns the folder's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what the names of this server's files begin with.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Writes down that something is about to start.
    pub(crate) fn begin(&self, key: &dyn fmt::Display) -> io::Result<RunFile> {
        let id = format!("{}-{}", self.server, self.next.fetch_add(1, Ordering::Relaxed));
        let run = RunFile {
            path: self.path.join(format!("{id}.run")),
            id,
            rest: format!("{} {key}", self.boot),
        };
        fs::write(&run.path, format!("0 0 {}\n", run.rest))?;
        Ok(run)
    }
}

/// One running program on disk; its file is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct RunFile {
    path: PathBuf,
    id: String,
    rest: String,
}

impl RunFile {
    /// Returns the value of `CAELUM_RUN_ID`.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Writes down who leads the group.
    pub(crate) fn started(&self, leader: i32) -> io::Result<()> {
        let start_time = procfs::process(leader).map_or(0, |process| process.start_time);
        fs::write(&self.path, format!("{leader} {start_time} {}\n", self.rest))
    }
}

impl Drop for RunFile {
    fn drop(&mut self) {
        forget(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_living_server_runs_is_left_alone() {
        let data = tempfile::tempdir().expect("temporary directory");
        let folder = RunFolder::open(data.path()).expect("opens");
        let run = folder.begin(&"e/s/m").expect("writes");
        let own = i32::try_from(std::process::id()).expect("a pid is an i32");
        run.started(own).expect("writes");

        let orphans = reap_orphans(data.path()).expect("reads");

        assert_eq!(orphans, []);
        assert!(run.path.exists());
    }

    #[test]
    fn a_number_that_means_another_process_by_now_is_not_ended() {
        let data = tempfile::tempdir().expect("temporary directory");
        let folder = RunFolder::open(data.path()).expect("opens");
        let own =
            procfs::process(i32::try_from(std::process::id()).expect("fits")).expect("is there");
        let boot = procfs::boot_id();
        let file = folder.path().join("999999999-1-1.run");
        fs::write(&file, format!("{} {} {boot} e/s/m\n", own.pid, own.start_time + 1))
            .expect("writes");

        let orphans = reap_orphans(data.path()).expect("reads");

        assert_eq!(orphans, []);
        assert!(!file.exists());
    }

    #[test]
    fn a_record_of_another_boot_only_goes_away() {
        let data = tempfile::tempdir().expect("temporary directory");
        let folder = RunFolder::open(data.path()).expect("opens");
        let own =
            procfs::process(i32::try_from(std::process::id()).expect("fits")).expect("is there");
        let file = folder.path().join("999999999-1-1.run");
        fs::write(&file, format!("{} {} other e/s/m\n", own.pid, own.start_time)).expect("writes");

        let orphans = reap_orphans(data.path()).expect("reads");

        assert_eq!(orphans, []);
        assert!(!file.exists());
    }

    #[test]
    fn files_that_are_no_records_stay() {
        let data = tempfile::tempdir().expect("temporary directory");
        let folder = RunFolder::open(data.path()).expect("opens");
        let file = folder.path().join("notes.txt");
        fs::write(&file, "mine").expect("writes");

        assert_eq!(reap_orphans(data.path()).expect("reads"), []);
        assert!(file.exists());
    }
}
