//! Runs what the pattern writes, with the programs that this machine has.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use caelum_sdk::testing::{FakeTarget, check_plan};
use caelum_sdk::{Context, Target};
use infrastructure_enforcement::InfrastructureEnforcement;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Applies the pattern to files and writes the result into a directory.
fn component(files: &[(&str, &str)], parameters: Value) -> TempDir {
    let target =
        files.iter().fold(FakeTarget::new(), |target, (path, text)| target.file(*path, *text));
    let applied = check_plan::<InfrastructureEnforcement>(&target, parameters, &Context::default());
    let directory = tempfile::tempdir().expect("a directory can be made");
    for path in applied.target.paths() {
        let place = directory.path().join(path);
        fs::create_dir_all(place.parent().expect("has a parent")).expect("can be made");
        fs::write(place, applied.target.read_all(path).expect("is there")).expect("can be written");
    }
    directory
}

fn preflight(directory: &Path, options: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new("sh")
        .arg(".caelum/preflight.sh")
        .args(options)
        .current_dir(directory)
        .envs(variables.iter().copied())
        .env_remove("SHOP_TOKEN")
        .envs(variables.iter().copied())
        .output()
        .expect("sh can be run")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Answers whether a program is here; says so when a test cannot run for lack of it.
#[expect(clippy::print_stderr, reason = "says that the test did not run")]
fn has(program: &str) -> bool {
    let there =
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("skipped: there is no `{program}` here");
    }
    there
}

const COMPOSE: &str = "services:\n  web:\n    image: nginx:${SHOP_TOKEN:?}\n    volumes: ['./conf d/web.conf:/etc/web.conf']\n";

#[test]
fn the_checks_pass_only_when_everything_is_there() {
    let directory = component(&[("compose.yaml", COMPOSE), ("conf d/web.conf", "x")], json!({}));

    let refused = preflight(directory.path(), &[], &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    assert_eq!(
        told(&refused),
        "preflight: FAILED: the variable SHOP_TOKEN is not set; set it in the environment or in .env\n\
         preflight: 1 of 2 checks failed\n"
    );

    let passed = preflight(directory.path(), &["--", "echo", "a b"], &[("SHOP_TOKEN", "1")]);
    assert_eq!(
        (passed.status.code(), passed.stdout.as_slice()),
        (Some(0), b"a b\n".as_slice()),
        "{}",
        told(&passed)
    );
    assert_eq!(told(&passed), "preflight: 2 checks passed\n");

    fs::write(directory.path().join(".env"), "# x\nexport SHOP_TOKEN=2\n").expect("can be written");
    assert_eq!(preflight(directory.path(), &[], &[]).status.code(), Some(0));

    fs::remove_file(directory.path().join("conf d/web.conf")).expect("can be removed");
    let refused = preflight(directory.path(), &[], &[]);
    assert!(
        told(&refused).contains("the file conf d/web.conf is missing or empty"),
        "{}",
        told(&refused)
    );
    assert_eq!(preflight(directory.path(), &["--container"], &[]).status.code(), Some(0));
}

#[test]
fn ports_and_addresses_are_really_asked() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("has an address").port();
    let parameters = json!({"ports": [port], "requires": {"tcp": [format!("127.0.0.1:{port}")]}});
    let directory = component(&[("Dockerfile", "FROM debian\nEXPOSE 80\n")], parameters);

    let refused = preflight(directory.path(), &[], &[]);
    assert!(told(&refused).contains(&format!("port {port} is in use")), "{}", told(&refused));
    assert_eq!(preflight(directory.path(), &["--allow-running"], &[]).status.code(), Some(0));

    drop(listener);
    let refused = preflight(directory.path(), &[], &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        told(&refused).contains(&format!("127.0.0.1:{port} does not accept connections")),
        "{}",
        told(&refused)
    );
}

#[test]
fn nonsense_is_refused() {
    let directory = component(&[("Dockerfile", "FROM debian\nEXPOSE 80\n")], json!({}));
    for (options, code, text) in [
        (&["--what"][..], 2, "unknown option --what"),
        (&["--require-env"], 2, "--require-env needs a value"),
        (&["--require-env", "a;b"], 1, "'a;b' is no name of a variable"),
        (&["--require-tcp", "db"], 1, "'db' is no address of the form HOST:PORT"),
        (&["--require-tcp", ":1"], 1, "':1' is no address"),
        (&["--require-tcp", "db:x"], 1, "'db:x' is no address"),
        (&["--require-free-port", "http"], 1, "'http' is no port"),
    ] {
        let output = preflight(directory.path(), options, &[]);
        assert_eq!(output.status.code(), Some(code), "{options:?}: {}", told(&output));
        assert!(told(&output).contains(text), "{options:?}: {}", told(&output));
    }
}

#[test]
fn the_test_for_the_shell_passes() {
    let directory = component(&[("Dockerfile", "FROM debian\nEXPOSE 80\n")], json!({}));
    let output = Command::new("sh")
        .arg(".caelum/test-preflight.sh")
        .current_dir(directory.path())
        .output()
        .expect("sh can be run");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}");
    assert!(
        printed.starts_with("TAP version 13\nok 1 - ") && printed.ends_with("\n1..6\n"),
        "{printed}"
    );
}

#[test]
fn the_test_for_python_passes_and_can_fail() {
    if !has("python3") {
        return;
    }
    let directory = component(
        &[("requirements.txt", ""), ("Dockerfile", "FROM python\nEXPOSE 80\n")],
        json!({}),
    );
    let run = || {
        Command::new("python3")
            .args(["-m", "unittest", "discover", "-s", "tests"])
            .current_dir(directory.path())
            .output()
            .expect("python3 can be run")
    };
    let output = run();
    assert!(output.status.success() && told(&output).contains("Ran 5 tests"), "{}", told(&output));
    // Checks that cannot fail are found out.
    fs::write(directory.path().join(".caelum/preflight.sh"), "exit 0\n").expect("can be written");
    assert!(!run().status.success());
}

#[test]
fn the_test_for_node_passes() {
    if !has("node") {
        return;
    }
    let package = json!({"name": "web", "scripts": {"test": "node --test"}}).to_string();
    let directory = component(
        &[("package.json", &package), ("Dockerfile", "FROM node\nEXPOSE 80\n")],
        json!({}),
    );
    let output = Command::new("node")
        .args(["--test", "test/"])
        .current_dir(directory.path())
        .output()
        .expect("node can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_test_for_rust_passes() {
    if !has("rustc") {
        return;
    }
    let directory = component(
        &[("Cargo.toml", "[package]\nname = \"x\"\n"), ("Dockerfile", "FROM rust\nEXPOSE 80\n")],
        json!({}),
    );
    let compiled = Command::new("rustc")
        .args([
            "--edition",
            "2021",
            "--test",
            "tests/caelum_preflight.rs",
            "-o",
            "caelum_preflight",
        ])
        .env("CARGO_MANIFEST_DIR", directory.path())
        .current_dir(directory.path())
        .output()
        .expect("rustc can be run");
    assert!(compiled.status.success(), "{}", told(&compiled));
    let output =
        Command::new(directory.path().join("caelum_preflight")).output().expect("it can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
