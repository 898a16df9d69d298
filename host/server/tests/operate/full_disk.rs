//! A disk that is really full, and one that really cannot be written: a small file system of its own, mounted for the
//! server alone.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Client, Home, Server};

/// How large the file system is, in MiB: the log that the store lays out, and a little more.
const SIZE_MIB: u32 = 7;

/// Says whether this machine lets its user mount a file system of their own.
fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["-Urm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"])
        .output();
    let can = tried.as_ref().is_ok_and(|output| output.status.success());
    if !can {
        // Written past the test harness, which keeps what a test prints when it passes.
        use std::io::Write;
        let why = tried.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        writeln!(std::io::stderr(), "SKIPPED full_disk: no file system can be mounted: {why}").ok();
    }
    can
}

/// A server whose data directory is a small file system, and that file system as seen from outside.
fn on_a_small_disk(home: &Home) -> (Server, PathBuf) {
    let data = home.data();
    std::fs::create_dir_all(&data).expect("made");
    let mut command = home.program("unshare");
    let script = format!("mount -t tmpfs -o size={SIZE_MIB}m,mode=700 tmpfs \"$0\" && exec \"$@\"");
    command.args(["-Urm", "sh", "-c", &script]).arg(&data);
    command.args([env!("CARGO_BIN_EXE_caelum-workflow"), "serve", "--port", "0"]);
    let server = Server::start(command);
    let inside = PathBuf::from(format!("/proc/{}/root", server.child.id()))
        .join(data.strip_prefix("/").expect("absolute"));
    (server, inside)
}

fn workflow(index: usize) -> Value {
    json!({"workflow_id": format!("w{index}"), "steps": [], "description": "x".repeat(40_000)})
}

/// Creates workflows until one is refused; returns how many there are, and why no more.
fn fill(client: &mut Client, first: usize) -> (usize, String) {
    for index in first..first + 2_000 {
        if let Err(refused) = client.call("create_workflow", workflow(index)) {
            return (index, refused);
        }
    }
    panic!("the disk never filled");
}

#[test]
fn a_full_disk_is_told_nothing_is_lost_and_it_goes_on_when_there_is_room() {
    if !can_mount() {
        return;
    }
    let home = Home::new();
    let (server, disk) = on_a_small_disk(&home);
    let mut client = Client::connect(server.address);
    let ballast = disk.join("ballast");
    let size = 1_500_000;
    std::fs::write(&ballast, vec![0_u8; size]).expect("there is room for it");

    let (count, refused) = fill(&mut client, 0);
    let health = client.call("get_system_health", json!({})).expect("it looks all the same");
    let still = client.call("get_workflow", json!({"workflow_id": "w0"})).expect("it reads");

    assert!(count > 0, "{refused}");
    assert!(refused.contains("no room left for the store"), "{refused}");
    assert!(refused.contains("caelum.db") && refused.contains("free disk space"), "{refused}");
    assert_eq!(still["workflow_id"], "w0");
    assert!(health["store"]["database_bytes"].as_u64() > Some(0), "{health:#}");
    let mut another = Client::connect(server.address);
    std::fs::remove_file(&ballast).expect("removed");
    another.call("create_workflow", workflow(count)).expect("there is room again");
    for index in 0..=count {
        let id = json!({"workflow_id": format!("w{index}")});
        client.call("get_workflow", id).expect("what was acknowledged is there");
    }
    // What is on that disk is whole: copied to another one, it passes its check.
    let copy = home.dir.path().join("copy.db");
    client.call("create_backup", json!({"path": copy})).expect("it is sound");
}

#[test]
fn a_disk_that_cannot_be_written_is_told_with_its_path_and_is_left_as_it_is() {
    if !can_mount() {
        return;
    }
    let home = Home::new();
    std::fs::create_dir_all(home.data()).expect("made");
    let mut command = home.program("unshare");
    let script = format!(
        "mount -t tmpfs -o size={SIZE_MIB}m,mode=700 tmpfs \"$0\" || exit 99; \"$1\" status >/dev/null || exit 98; \
         mount -o remount,ro \"$0\" || exit 97; \"$1\" status; code=$?; \
         mount -o remount,rw \"$0\" && \"$1\" status >/dev/null && exit $code"
    );
    command.args(["-Urm", "sh", "-c", &script]).arg(home.data());
    command.arg(env!("CARGO_BIN_EXE_caelum-workflow"));

    let output = command.output().expect("it starts");

    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains(home.data().to_str().expect("text")), "{told}");
    assert!(told.contains("Read-only file system") || told.contains("cannot be written"), "{told}");
}
