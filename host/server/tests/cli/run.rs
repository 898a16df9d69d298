//! `run` and what follows it: to the end, to a failure, to somebody who is waited for.

use crate::harness::Home;

const GREET: &str = r#"{"workflow_id": "greet",
  "parameters_schema": {"type": "object", "additionalProperties": false,
    "properties": {"times": {"type": "integer", "default": 1}}},
  "steps": [{"id": "say", "type": "development", "validation": "command-succeeded",
    "action": {"kind": "command", "program": "echo", "args": ["hello {{ parameters.times }}"]}}]}"#;

const WAITS: &str = "
workflow_id: waits
steps:
  - id: look
    type: validation
    validation: manual-review
    action: {kind: manual, instructions: Look at it.}
";

#[test]
fn a_workflow_runs_from_a_file_to_its_end_and_tells_each_step() {
    let home = Home::new();
    home.write("greet.json", GREET);

    let run = home.run(&["run", "greet.json", "--param", "times=3"]).with(0);
    let json = home.run(&["run", "greet", "--param", "times=3", "--json"]).with(0).json();

    for line in [
        "step say: started",
        "step say: validation gate command-succeeded: pass: ",
        "step say: completed",
        "execution completed: 1/1 steps",
        "└─ ✓ say",
    ] {
        assert!(run.out.contains(line), "{line} is not in\n{}", run.out);
    }
    assert!(!run.out.contains('\u{1b}'), "no colours where nobody sees them");
    assert_eq!((&json["status"], &json["parameters"]["times"]), (&"completed".into(), &3.into()));
    assert_eq!(json["started_by"], "tester");
}

#[test]
fn the_same_file_again_is_the_same_revision_and_another_text_is_the_next() {
    let home = Home::new();
    home.write("greet.json", GREET);

    let first = home.run(&["run", "greet.json", "--json"]).with(0).json();
    let second = home.run(&["run", "greet.json", "--json"]).with(0).json();
    home.write("greet.json", &GREET.replace("hello", "good morning"));
    let third = home.run(&["run", "greet.json", "--json"]).with(0).json();

    let revisions = [&first, &second, &third].map(|view| view["revision"].clone());
    assert_eq!(revisions, [1, 1, 2].map(serde_json::Value::from));
}

#[test]
fn a_failure_ends_with_one_and_tells_its_root_cause() {
    let home = Home::new();
    home.write(
        "fails.yaml",
        "workflow_id: fails\nsteps:\n  - id: break\n    type: development\n    action: {kind: command, program: sh, args: [-c, 'echo the disk is full >&2; exit 9']}\n  - id: never\n    type: deployment\n    dependencies: [break]\n",
    );

    let run = home.run(&["run", "fails.yaml"]).with(1);

    assert!(run.out.contains("failed: step break (attempt 1)"), "{}", run.out);
    assert!(run.out.contains("| the disk is full"), "{}", run.out);
    assert!(run.out.contains("caelum-workflow control ex_"), "{}", run.out);
}

#[test]
fn what_waits_for_somebody_ends_with_three_and_goes_on_with_their_word() {
    let home = Home::new();
    home.write("waits.yaml", WAITS);

    let run = home.run(&["run", "waits.yaml", "--json"]).with(3).json();
    let id = run["execution_id"].as_str().unwrap();
    let shown = home.run(&["status", id]).with(0);
    let done =
        home.run(&["complete", id, "look", "--performer", "ann", "--summary", "looked"]).with(3);
    let own = home.run(&["review", id, "look", "--reviewer", "ann", "--approve"]).with(2);
    let undecided = home.run(&["review", id, "look", "--reviewer", "bob"]).with(2);
    let approved = home
        .run(&["review", id, "look", "--reviewer", "bob", "--approve", "--reason", "good"])
        .with(0);

    assert!(shown.out.contains("step look waits for work by whoever does it"), "{}", shown.out);
    assert!(done.out.contains("step look waits for review by anybody but ann"), "{}", done.out);
    assert!(
        !done.out.contains("step look: started"),
        "what was told is not told again: {}",
        done.out
    );
    assert!(
        own.err.contains("`ann` performed step `look`") && own.err.contains("\nhint: "),
        "{}",
        own.err
    );
    assert!(undecided.err.contains("--approve"), "{}", undecided.err);
    assert!(approved.out.contains("manual-review: pass: approved by bob"), "{}", approved.out);
}

#[test]
fn a_dry_run_shows_the_order_and_runs_nothing() {
    let home = Home::new();
    home.write("greet.json", GREET);

    let dry = home.run(&["run", "greet.json", "--dry-run"]).with(0);
    let status = home.run(&["status", "--json"]).with(0).json();

    assert!(
        dry.out.contains("wave 0: say (command on local); validation: command-succeeded (after)"),
        "{}",
        dry.out
    );
    assert_eq!(status["executions"], serde_json::json!([]));
}

#[test]
fn a_workflow_is_cancelled_and_retried_from_the_command_line() {
    let home = Home::new();
    home.write("waits.yaml", WAITS);
    home.write(
        "once.yaml",
        "workflow_id: once\nsteps:\n  - id: second-time\n    type: development\n    action: {kind: command, program: sh, args: [-c, 'test -e done || { touch done; exit 1; }']}\n",
    );

    let waiting = home.run(&["run", "waits.yaml", "--json"]).with(3).json();
    let cancelled =
        home.run(&["control", waiting["execution_id"].as_str().unwrap(), "cancel"]).with(0);
    let failed = home.run(&["run", "once.yaml", "--json"]).with(1).json();
    let retried = home.run(&["control", failed["execution_id"].as_str().unwrap(), "retry"]).with(0);

    assert!(cancelled.out.contains("cancelled"), "{}", cancelled.out);
    assert!(retried.out.contains("execution completed: 1/1 steps"), "{}", retried.out);
}

#[test]
fn an_export_runs_again() {
    let home = Home::new();
    home.write("greet.json", GREET);
    home.run(&["run", "greet.json"]).with(0);

    home.run(&["export", "greet", "--format", "yaml", "--output", "copy.yaml"]).with(0);
    let again = home.run(&["run", "copy.yaml", "--json"]).with(0).json();
    let csv = home.run(&["export", "greet", "--format", "csv"]).with(0);

    assert_eq!(again["status"], "completed");
    assert!(csv.out.starts_with("execution_id,revision,step_id"), "{}", csv.out);
}
