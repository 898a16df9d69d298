//! What a server that dies by SIGKILL leaves running: ended at once by the guard, or at the next start.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use caelum_core::id::MachineId;
use caelum_machines::orphans::OrphanEnd;
use caelum_machines::{Fabric, MachineOptions, reap_orphans};
use tokio_util::sync::CancellationToken;

use crate::harness::{is_alive, number, open, shell, task, until_gone};

const ROLE: &str = "CAELUM_TEST_DOOMED_SERVER";

/// Plays the server that dies, in a process of its own: started by the other tests through this test's name. Run as a
/// test it has nothing to do.
#[tokio::test]
async fn a_server_that_is_about_to_die() {
    let Some(folder) = std::env::var_os(ROLE) else {
        return;
    };
    let folder = Path::new(&folder);
    let fabric = open(&folder.join("root"), &folder.join("data"), MachineOptions::default());
    let line = std::env::var("CAELUM_TEST_LINE").expect("the test says what to run");
    fabric.run(&MachineId::local(), &task(shell(&line)), CancellationToken::new()).await;
}

struct Doomed {
    folder: tempfile::TempDir,
    server: Child,
}

impl Doomed {
    fn start(line: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary directory");
        for name in ["root", "data"] {
            fs::create_dir(folder.path().join(name)).expect("creates");
        }
        let server = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "orphans::a_server_that_is_about_to_die", "--nocapture"])
            .env(ROLE, folder.path())
            .env("CAELUM_TEST_LINE", line)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        Doomed { folder, server }
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// Reads the number that the program wrote once it was up.
    fn pid(&self, name: &str) -> i32 {
        let path = self.folder.path().join("root").join(name);
        let start = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(&path)
                && text.ends_with('\n')
            {
                return number(&text);
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{name} never came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn records(&self) -> usize {
        fs::read_dir(self.data().join("tasks")).expect("is there").count()
    }

    /// Kills the guard, so that only the next start can help.
    fn kill_guard(&self) {
        let parent = self.server.id().to_string();
        for entry in fs::read_dir("/proc").expect("there is /proc").flatten() {
            let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let is_child = stat
                .rsplit_once(") ")
                .is_some_and(|(_, after)| after.split(' ').nth(1) == Some(parent.as_str()));
            if is_child && command.contains("caelum-guard") {
                let pid = entry.file_name().to_str().expect("a number").to_owned();
                let killed = Command::new("kill").args(["-9", &pid]).status().expect("runs");
                assert!(killed.success());
                return;
            }
        }
        panic!("there is no guard");
    }

    fn kill_server(&mut self) {
        self.server.kill().expect("kills");
        self.server.wait().expect("collects");
    }
}

#[test]
fn the_guard_ends_what_a_killed_server_was_running() {
    let mut doomed = Doomed::start("echo $$ > leader; sleep 1000 & echo $! > child; wait");
    let (leader, child) = (doomed.pid("leader"), doomed.pid("child"));

    doomed.kill_server();

    until_gone(leader);
    until_gone(child);
}

#[test]
fn the_next_start_ends_what_the_guard_could_not() {
    let mut doomed = Doomed::start(
        "echo $$ > leader; sleep 1000 & echo $! > child; setsid sh -c 'trap \"\" TERM; echo $$ > away; while :; do sleep 1; done' & wait",
    );
    let pids = [doomed.pid("leader"), doomed.pid("child"), doomed.pid("away")];
    doomed.kill_guard();
    doomed.kill_server();
    assert!(pids.iter().all(|pid| is_alive(*pid)), "nobody has ended them yet");
    assert_eq!(doomed.records(), 1);

    let orphans = reap_orphans(&doomed.data()).expect("reads");

    assert_eq!(orphans.len(), 1);
    assert_eq!(orphans[0].key, "exec-1/build/local");
    assert_eq!(orphans[0].end, OrphanEnd::Killed);
    for pid in pids {
        assert!(orphans[0].pids.contains(&pid), "{pid} in {:?}", orphans[0].pids);
        assert!(!is_alive(pid), "{pid}");
    }
    assert_eq!(doomed.records(), 0);
    assert_eq!(reap_orphans(&doomed.data()).expect("reads"), []);
}

#[test]
fn a_group_whose_leader_is_gone_is_found_by_its_environment() {
    let mut doomed = Doomed::start("echo $$ > leader; sleep 1000 & echo $! > child; wait");
    let (leader, child) = (doomed.pid("leader"), doomed.pid("child"));
    doomed.kill_guard();
    doomed.kill_server();
    let killed = Command::new("kill").args(["-9", &leader.to_string()]).status().expect("runs");
    assert!(killed.success());
    until_gone(leader);
    assert!(is_alive(child));

    let orphans = reap_orphans(&doomed.data()).expect("reads");

    assert_eq!(orphans.len(), 1);
    assert_eq!(orphans[0].end, OrphanEnd::Terminated);
    assert!(!is_alive(child));
}

#[test]
fn without_a_data_directory_there_is_nothing_to_end() {
    let folder = tempfile::tempdir().expect("temporary directory");

    assert_eq!(reap_orphans(&folder.path().join("nowhere")).expect("nothing there"), []);
}
