//! What a program leaves: outputs for later steps, files as evidence.

use caelum_core::task::{CommandSpec, OutcomeStatus};
use caelum_machines::MachineOptions;
use serde_json::{Value, json};

use crate::harness::{Machine, code, program, shell};

fn with_file(line: &str) -> CommandSpec {
    CommandSpec { outputs: Some("out.json".to_owned()), ..shell(line) }
}

#[tokio::test]
async fn the_last_line_that_is_an_object_becomes_the_outputs() {
    let machine = Machine::new();

    let outcome =
        machine.run(shell(r#"echo '{"tag":"old"}'; echo '{"tag":"v1","n":2}'; echo done"#));
    let outcome = outcome.await;

    assert_eq!(Value::Object(outcome.outputs), json!({"tag": "v1", "n": 2}));
}

#[tokio::test]
async fn the_last_line_is_found_behind_a_flood() {
    let machine = Machine::new();

    let outcome = machine.run(shell(r#"yes | head -c 1000000; echo '{"tag":"v1"}'"#)).await;

    assert_eq!(Value::Object(outcome.outputs), json!({"tag": "v1"}));
}

#[tokio::test]
async fn a_named_file_becomes_the_outputs() {
    let machine = Machine::new();

    let outcome =
        machine.run(with_file(r#"echo '{"from":"stdout"}'; echo '{"from":"file"}' > out.json"#));
    let outcome = outcome.await;

    assert!(outcome.succeeded(), "{:?}", outcome.failure);
    assert_eq!(Value::Object(outcome.outputs), json!({"from": "file"}));
}

#[tokio::test]
async fn an_outputs_file_that_does_not_serve_fails_the_task_and_says_why() {
    let options = MachineOptions { outputs_bytes_max: 100, ..MachineOptions::default() };
    let cases = [
        ("true", "outputs_missing", "did not write its outputs file `out.json`"),
        ("echo '[1]' > out.json", "outputs_invalid", "holds an array; expected a JSON object"),
        ("echo '{' > out.json", "outputs_invalid", "is not JSON"),
        ("mkdir out.json", "outputs_missing", "is not a regular file"),
        ("mkfifo out.json", "outputs_missing", "is not a regular file"),
        (
            "head -c 101 /dev/zero > out.json",
            "outputs_invalid",
            "has 101 bytes; outputs may have at most 100",
        ),
        ("ln -s /etc/passwd out.json", "outputs_missing", "cannot be read"),
    ];
    for (line, expected, words) in cases {
        let machine = Machine::with(options);
        let outcome = machine.run(with_file(line)).await;
        assert_eq!(outcome.status, OutcomeStatus::Failed, "{line}");
        assert_eq!(code(&outcome), expected, "{line}");
        assert_eq!(outcome.exit_code, Some(0));
        let message = outcome.failure.expect("there is one").message;
        assert!(message.contains(words), "{line}: {message}");
    }
}

#[tokio::test]
async fn an_outputs_file_of_an_earlier_run_is_not_taken_for_this_ones() {
    let machine = Machine::new();
    machine.write("out.json", r#"{"stale":true}"#);

    let stale = machine.run(with_file("true")).await;
    let fresh = machine.run(with_file(r#"echo '{"stale":null}' > out.json"#)).await;

    assert_eq!(code(&stale), "outputs_missing");
    assert!(stale.failure.expect("there is one").message.contains("from before the run"));
    assert!(stale.outputs.is_empty());
    assert!(fresh.succeeded(), "{:?}", fresh.failure);
}

#[tokio::test]
async fn a_failing_program_still_leaves_its_evidence() {
    let machine = Machine::new();
    let mut command = shell("mkdir -p reports; echo '<testsuite/>' > reports/unit.xml; exit 1");
    command.collect = vec!["reports/**/*.xml".to_owned(), "*.log".to_owned()];

    let outcome = machine.run(command).await;

    assert_eq!(outcome.exit_code, Some(1));
    assert_eq!(outcome.collected.len(), 1);
    assert_eq!(outcome.collected[0].path, "reports/unit.xml");
    assert_eq!(outcome.collected[0].text, "<testsuite/>\n");
    assert!(!outcome.collected[0].truncated);
}

#[tokio::test]
async fn evidence_lies_beneath_the_tasks_own_directory() {
    let machine = Machine::new();
    machine.write("secret.txt", "of somebody else");
    machine.write("job/own.txt", "own");
    let mut command = shell("ln -s ../secret.txt link.txt");
    command.cwd = Some("job".to_owned());
    command.collect = vec!["*.txt".to_owned()];

    let outcome = machine.run(command).await;

    let paths: Vec<&str> = outcome.collected.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["own.txt"]);
}

#[tokio::test]
async fn bad_globs_and_names_are_refused_before_anything_runs() {
    let machine = Machine::new();
    let mut globs = shell("echo ran > ran");
    globs.collect = vec!["../*".to_owned()];
    let mut name = shell("echo ran > ran");
    name.outputs = Some("/etc/passwd".to_owned());

    for command in [globs, name] {
        let outcome = machine.run(command).await;
        assert_eq!(outcome.status, OutcomeStatus::NotStarted);
        assert_eq!(code(&outcome), "invalid_command");
    }
    assert!(!machine.root.path().join("ran").exists());
}

#[tokio::test]
async fn outputs_of_a_program_without_any_are_empty() {
    let machine = Machine::new();

    assert!(machine.run(program("echo", &["hello"])).await.outputs.is_empty());
}
