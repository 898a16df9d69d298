//! Exercises the start-up checks of `.caelum/preflight.sh`: each kind can fail, and says what is missing.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn component() -> PathBuf {
    let start = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = start.ancestors().find(|folder| folder.join(".caelum/preflight.sh").is_file());
    found.expect("there is a .caelum/preflight.sh above this crate").to_owned()
}

fn preflight(options: &[&str]) -> Output {
    Command::new("sh")
        .arg(component().join(".caelum/preflight.sh"))
        .arg("--only-arguments")
        .args(options)
        .output()
        .expect("sh can be run")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_there_passes() {
    let output = preflight(&["--require-file", ".caelum/component.json", "--require-env", "PATH"]);
    assert!(output.status.success(), "{}", told(&output));
}

#[test]
fn a_missing_variable_is_named() {
    let output = preflight(&["--require-env", "CAELUM_SURELY_NOT_SET"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("CAELUM_SURELY_NOT_SET is not set"), "{}", told(&output));
}

#[test]
fn a_missing_file_is_named() {
    let output = preflight(&["--require-file", "surely/not/there"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("surely/not/there is missing"), "{}", told(&output));
}

#[test]
fn ports_are_told_free_and_in_use() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port().to_string();
    let output = preflight(&["--require-free-port", &port]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("is in use"), "{}", told(&output));
}

#[test]
fn the_command_runs_only_after_all_checks() {
    let passed = preflight(&["--require-env", "PATH", "--", "echo", "started"]);
    assert_eq!((passed.status.code(), passed.stdout), (Some(0), b"started\n".to_vec()));
    let refused = preflight(&["--require-env", "CAELUM_SURELY_NOT_SET", "--", "echo", "started"]);
    assert_eq!((refused.status.code(), refused.stdout), (Some(1), Vec::new()));
}
