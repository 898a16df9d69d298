//! `demo`: everything happens as it is told, and nothing is left behind.

use std::process::Command;

use crate::harness::{Home, ended};

#[test]
fn the_demo_tells_the_truth() {
    let home = Home::new();
    let python = Command::new("python3").arg("--version").output().is_ok();
    let mut command = home.command(&["demo"]);
    command.env("TMPDIR", home.work());

    let demo = ended(command.output().unwrap());

    if !python {
        assert!(demo.with(4).err.contains("hint: apt-get install python3"));
        return;
    }
    let demo = demo.with(0);
    for told in [
        "step first-tests: validation gate unit-tests: fail: ",
        "step build-guardian: validation gate unit-tests: pass: ",
        "demo-reviewer, played by this demo, answers.",
        "+    healthcheck:",
        "+        return max(1, -(-self.total // self.size))",
        "completed 10/10 steps",
        "Everything happened as told",
    ] {
        assert!(demo.out.contains(told), "{told} is not in\n{}", demo.out);
    }
    assert_eq!(std::fs::read_dir(home.work()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn the_demo_gives_its_result_as_json_too() {
    let home = Home::new();
    if Command::new("python3").arg("--version").output().is_err() {
        return;
    }

    let view = home.run(&["demo", "--json"]).with(0).json();

    assert_eq!(
        (&view["status"], &view["workflow_id"]),
        (&"completed".into(), &"notes-service-v1".into())
    );
}
