//! The audit log of the real program: calls of clients and commands, the server's own life, and what a crash leaves.

use serde_json::{Value, json};

use crate::harness::{Client, Home, Server};

fn lines(home: &Home) -> Vec<Value> {
    let text = std::fs::read_to_string(home.data().join("audit/audit.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
}

fn told(lines: &[Value], members: [&str; 4]) -> Vec<String> {
    let shown = |line: &Value| -> Vec<String> {
        let text = |member: &&str| line[*member].as_str().unwrap_or("-").to_owned();
        members.iter().map(text).collect()
    };
    lines.iter().map(|line| shown(line).join(" ")).collect()
}

#[test]
fn what_changed_something_is_in_the_log_before_it_is_answered_whatever_comes_then() {
    let home = Home::new();
    let mut server = home.serve();
    let mut client = Client::connect(server.address);
    let steps = json!([{"id": "wait", "type": "development", "action": {"kind": "manual", "instructions": "secret-words"}}]);

    client.call("create_workflow", json!({"workflow_id": "w", "steps": steps})).expect("right");
    client
        .call(
            "execute_workflow",
            json!({"workflow_id": "w", "parameters": {"key": "secret-words"}}),
        )
        .expect("right");
    client.call("execute_workflow", json!({"workflow_id": "none"})).expect_err("wrong");
    server.child.kill().expect("it runs");
    server.child.wait().expect("it ends");

    let lines = lines(&home);
    let members = ["event", "transport", "tool", "outcome"];
    assert_eq!(
        told(&lines, members),
        [
            "started - - -",
            "call tcp create_workflow ok",
            "call tcp execute_workflow ok",
            "call tcp execute_workflow refused",
        ]
    );
    assert_eq!(lines[1]["client"], "operate 1");
    assert_eq!(lines[2]["ids"]["workflow_id"], "w");
    assert!(
        lines[2]["ids"]["execution_id"].as_str().is_some_and(|id| id.starts_with("ex_")),
        "{}",
        lines[2]
    );
    assert_eq!(lines[3]["code"], "unknown_workflow");
    assert!(lines.iter().all(|line| !line.to_string().contains("secret-words")), "{lines:#?}");
}

#[test]
fn commands_are_in_the_log_with_and_without_a_server_and_a_stop_is_too() {
    let home = Home::new();
    home.run(&["status"]).with(0);
    let server = home.serve();
    home.run(&["machines"]).with(0);
    let pid = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    let mut server = server;
    server.child.wait().expect("it ends");

    let lines = lines(&home);
    let told = told(&lines, ["event", "transport", "tool", "outcome"]);
    let found = |line: &str| told.iter().any(|told| told == line);
    assert!(found("call command get_system_health ok"), "{told:#?}");
    assert!(found("call socket list_machines ok"), "{told:#?}");
    assert_eq!(lines.last().expect("lines")["event"], "stopped", "{told:#?}");
    let uid = rustix::process::geteuid().as_raw();
    assert!(lines.iter().filter(|line| line["event"] == "call").all(|line| line["uid"] == uid));
}

#[test]
fn a_log_that_cannot_be_written_is_told_by_health_and_calls_go_on() {
    let home = Home::new();
    home.write("in-the-way", "");
    let mut command = home.command(&["serve", "--port", "0", "--audit-dir", "in-the-way"]);
    command.env("CAELUM_WORKFLOW_LOG", "info");
    let server = Server::start(command);
    let mut client = Client::connect(server.address);

    client.call("create_workflow", json!({"workflow_id": "w", "steps": []})).expect("right");
    let health = client.call("get_system_health", json!({})).expect("right");

    assert_eq!(health["status"], "degraded", "{health:#}");
    let reasons = health["reasons"].to_string();
    assert!(reasons.contains("the audit log in") && reasons.contains("in-the-way"), "{reasons}");
}

#[test]
fn a_command_that_needs_what_the_server_does_not_offer_is_told_so() {
    let home = Home::new();
    let _server = Server::start(home.command(&["serve", "--port", "0", "--toolsets", "tasks"]));

    let offered = home.run(&["machines"]).with(0);
    let refused = home.run(&["list-patterns"]).with(4);

    assert!(offered.out.contains("local"), "{}", offered.out);
    assert!(
        refused.err.contains("the server refuses: ")
            && refused.err.contains("it offers only the toolsets tasks"),
        "{}",
        refused.err
    );
}

#[test]
fn a_second_server_on_standard_input_refuses_to_offer_more_than_it_was_told_to() {
    let home = Home::new();
    let _server = home.serve();

    let read_only = home.run(&["serve", "--stdio", "--read-only"]).with(4);
    let tasks = home.run(&["serve", "--stdio", "--toolsets", "tasks"]).with(4);
    let unknown = home.run(&["serve", "--stdio", "--toolsets", "task,patterns"]).with(2);

    assert!(read_only.err.contains("--read-only was asked for"), "{}", read_only.err);
    assert!(tasks.err.contains("the toolsets tasks were asked for"), "{}", tasks.err);
    assert!(
        unknown.err.contains("`task` is no toolset; did you mean `tasks`?; there are workflows, patterns, tasks, monitoring, and all"),
        "{}",
        unknown.err
    );
}
