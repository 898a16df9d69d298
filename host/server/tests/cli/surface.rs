//! Help, mistakes and exit codes: what a person sees who types something for the first time, or wrongly.

use std::io::Read;
use std::process::Stdio;

use crate::harness::{Home, ended};

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let home = Home::new();

    let help = home.run(&["--help"]).with(0);

    for word in [
        "serve",
        "run",
        "demo",
        "list-patterns",
        "validate-pattern",
        "apply-pattern",
        "status",
        "export",
        "--stdio",
        "CAELUM_WORKFLOW_ORCHESTRATION_PORT",
        "Exit codes:",
        "3  it waits for somebody",
    ] {
        assert!(help.out.contains(word), "{word} is not in\n{}", help.out);
    }
}

#[test]
fn mistakes_end_with_two_and_say_what_would_be_right() {
    let home = Home::new();
    home.write("bad.yaml", "workflow_id: bad\nsteps:\n  - id: a\n    typ: development\n");
    home.write("worse.json", "{\"workflow_id\": ");

    let command = home.run(&["exceute"]).with(2);
    let document = home.run(&["run", "bad.yaml"]).with(2);
    let syntax = home.run(&["run", "worse.json"]).with(2);
    let setting = home.run(&["status", "--limit", "calls_mx=1"]).with(2);
    let parameter = home.run(&["run", "bad", "--param", "x"]);

    assert!(
        command.err.contains("execute") || command.err.contains("unrecognized"),
        "{}",
        command.err
    );
    assert!(
        document.err.contains("/steps/0/typ: unknown field; did you mean `type`?"),
        "{}",
        document.err
    );
    assert!(document.err.contains("/steps/0/type: required, and missing"), "{}", document.err);
    assert!(
        syntax.err.contains("the document is not JSON") && syntax.err.contains("line 1"),
        "{}",
        syntax.err
    );
    assert!(
        setting.err.contains("unknown limit `calls_mx`; did you mean `calls_max`?"),
        "{}",
        setting.err
    );
    assert_ne!(parameter.code, 0);
}

#[test]
fn what_is_not_there_ends_with_five() {
    let home = Home::new();

    let workflow = home.run(&["run", "nothing"]).with(5);
    let execution = home.run(&["status", "ex_nothing"]).with(5);
    let pattern = home.run(&["apply-pattern", "helth-check", "--component", "."]).with(5);
    let file = home.run(&["run", "./nothing.yaml"]).with(5);

    assert!(workflow.err.starts_with("error: there is no workflow `nothing`"), "{}", workflow.err);
    assert!(execution.err.contains("there is no execution `ex_nothing`"), "{}", execution.err);
    assert!(pattern.err.contains("health-check"), "{}", pattern.err);
    assert!(file.err.contains("`./nothing.yaml` cannot be read"), "{}", file.err);
}

#[test]
fn patterns_are_listed_validated_applied_and_taken_back() {
    let home = Home::new();
    let compose = "services:\n  database:\n    image: postgres:17\n";
    home.write("shop/compose.yaml", compose);

    let listed = home.run(&["list-patterns", "--kind", "all", "--json"]).with(0).json();
    let seen = home.run(&["validate-pattern", "health-check", "--component", "shop"]).with(0);
    let planned =
        home.run(&["apply-pattern", "health-check", "--component", "./shop", "--dry-run"]).with(0);
    let untouched = std::fs::read_to_string(home.work().join("shop/compose.yaml")).unwrap();
    let applied = home
        .run(&["apply-pattern", "health-check", "--component", "shop", "--json"])
        .with(0)
        .json();
    let again = home
        .run(&["apply-pattern", "health-check", "--component", "shop", "--json"])
        .with(0)
        .json();
    home.run(&["revert-pattern", applied["application_id"].as_str().unwrap()]).with(0);

    assert!(
        listed["validators"].as_array().is_some_and(|validators| validators.len() >= 6),
        "{listed:#}"
    );
    assert!(seen.out.contains("applying it would make"), "{}", seen.out);
    assert!(planned.out.contains("+    healthcheck:"), "{}", planned.out);
    assert_eq!(untouched, compose);
    assert_eq!((&applied["status"], &again["status"]), (&"applied".into(), &"unchanged".into()));
    assert_eq!(std::fs::read_to_string(home.work().join("shop/compose.yaml")).unwrap(), compose);
}

#[test]
fn a_component_outside_the_roots_is_refused() {
    let home = Home::new();

    let outside = home.run(&["validate-pattern", "health-check", "--component", "/etc"]);

    assert_eq!(outside.code, 2, "{}", outside.err);
    assert!(outside.err.contains("root"), "{}", outside.err);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::new();
    let mut child = home
        .command(&["config", "--example"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();

    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let ended = ended(child.wait_with_output().unwrap());

    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}

#[test]
fn the_example_configuration_is_written_and_the_one_in_force_shown_without_secrets() {
    let home = Home::new();

    let example = home.run(&["config", "--example"]).with(0);
    let mut command = home.command(&["config", "--json"]);
    let shown = ended(
        command.env("CAELUM_WORKFLOW_TOKEN", "a-token-that-nobody-may-see").output().unwrap(),
    );

    assert!(example.out.contains("#port = 8113"), "{}", example.out);
    let shown = shown.with(0);
    assert_eq!(shown.json()["tokens"], 1);
    assert!(!shown.out.contains("nobody-may-see"), "{}", shown.out);
}

#[test]
fn a_plugin_file_is_checked_as_the_server_would() {
    let home = Home::new();
    home.write("no.wasm", "this is no plugin");

    let refused = home.run(&["plugin", "check", "no.wasm"]).with(1);
    let missing = home.run(&["plugin", "check", "gone.wasm"]).with(5);

    assert!(refused.out.starts_with("refused at "), "{}", refused.out);
    assert!(missing.err.contains("`gone.wasm` cannot be read"), "{}", missing.err);
}
