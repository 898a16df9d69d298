//! A data directory that a server holds: commands and a second `serve --stdio` speak through it, as long as paths mean
//! the same to both.

use crate::harness::{Home, fed};

const GREET: &str = r#"{"workflow_id": "greet", "steps": [{"id": "say", "type": "development",
  "action": {"kind": "command", "program": "echo", "args": ["hello"]}}]}"#;

const HELLO: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{},\"clientInfo\":{\"name\":\"t\",\"version\":\"1\"}}}\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/call\",\"params\":{\"name\":\"list_workflows\",\"arguments\":{}}}\n";

#[test]
fn commands_speak_through_the_server_that_holds_the_directory() {
    let home = Home::new();
    home.write("greet.json", GREET);
    let _server = home.serve();

    let run = home.run(&["run", "greet.json"]).with(0);
    let status = home.run(&["status", "--json"]).with(0).json();
    let missing = home.run(&["status", "ex_nothing"]).with(5);

    assert!(run.out.contains("execution completed: 1/1 steps"), "{}", run.out);
    assert_eq!(status["executions"][0]["workflow_id"], "greet");
    assert!(missing.err.contains("there is no execution"), "{}", missing.err);
}

#[test]
fn a_second_stdio_server_speaks_through_the_first() {
    let home = Home::new();
    home.write("greet.json", GREET);
    let _server = home.serve();
    home.run(&["run", "greet.json"]).with(0);

    let spoken = fed(home.command(&["serve", "--stdio"]), HELLO).with(0);

    assert!(spoken.out.contains("\"id\":2") && spoken.out.contains("greet"), "{}", spoken.out);
}

#[test]
fn a_command_elsewhere_is_told_that_paths_would_mean_something_else() {
    let home = Home::new();
    home.write("greet.json", GREET);
    home.write("elsewhere/greet.json", GREET);
    let _server = home.serve();

    let elsewhere = home.work().join("elsewhere");
    let run = crate::harness::ended(
        home.command(&["run", "greet.json"]).current_dir(&elsewhere).output().unwrap(),
    )
    .with(4);
    let asks =
        crate::harness::ended(home.command(&["status"]).current_dir(&elsewhere).output().unwrap());

    assert!(run.err.contains("is held by process"), "{}", run.err);
    assert!(run.err.contains("\nhint: that server works on"), "{}", run.err);
    assert_eq!(asks.code, 0, "{}", asks.err);
}

#[test]
fn standard_output_of_a_stdio_server_holds_nothing_but_messages() {
    let home = Home::new();

    let mut command = home.command(&["serve", "--stdio"]);
    command.env("CAELUM_WORKFLOW_LOG", "debug");
    let spoken = fed(command, HELLO).with(0);

    for line in spoken.out.lines() {
        let message: serde_json::Value = serde_json::from_str(line).expect("a message");
        assert_eq!(message["jsonrpc"], "2.0");
    }
    assert_eq!(spoken.out.lines().count(), 2, "{}", spoken.out);
    assert!(spoken.err.contains("serving on standard input and output"), "{}", spoken.err);
}

#[test]
fn two_servers_on_one_port_are_told_apart() {
    let home = Home::new();
    let server = home.serve();
    let presence = std::fs::read_to_string(home.data().join("server.json")).unwrap();
    let presence: serde_json::Value = serde_json::from_str(&presence).unwrap();
    let port = presence["address"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();

    let other = home.data().join("other");
    let second =
        home.run(&["serve", "--port", &port, "--data-dir", other.to_str().unwrap()]).with(4);

    assert!(
        second.err.contains(&format!(
            "port {port} on 127.0.0.1 is in use by process {}",
            server.child.id()
        )),
        "{}",
        second.err
    );
    assert!(second.err.contains("hint: port 8"), "{}", second.err);
    assert!(!other.exists(), "nothing was touched before the port was had, not even a token made");
}
