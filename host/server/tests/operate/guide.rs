//! The operator's guide: every command of it is run as it is written.

use std::path::Path;

use crate::harness::Home;

const GREET: &str = r#"{"workflow_id": "greet", "steps": [{"id": "say", "type": "development",
  "action": {"kind": "command", "program": "echo", "args": ["hello"]}}]}"#;

#[test]
fn every_command_of_the_guide_does_what_it_is_there_for() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating.md");
    let guide = std::fs::read_to_string(guide).expect("the guide is there");
    let home = Home::new();
    home.write("greet.json", GREET);
    home.run(&["run", "greet.json"]).with(0);

    let mut ran = 0;
    for line in guide.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let command = line.split(" #").next().unwrap_or(line).trim();
        let words: Vec<&str> = command.split_whitespace().collect();
        let output = match words.as_slice() {
            ["caelum-workflow", args @ ..] => home.command(args).output(),
            [program, args @ ..] => home.program(program).args(args).output(),
            [] => continue,
        };
        let output = output.expect("it starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{command}`: {told}");
        ran += 1;
    }

    assert!(ran >= 9, "{ran}");
    let restored = home.run(&["status", "--json", "--data-dir", "restored"]).with(0).json();
    assert_eq!(restored["executions"][0]["workflow_id"], "greet", "{restored:#}");
    let other = home.run(&["status", "--json", "--data-dir", "other"]).with(0).json();
    assert_eq!(other["executions"][0]["workflow_id"], "greet", "{other:#}");
}
