//! Backups of the real program, and starting again from one.

use crate::harness::Home;

const GREET: &str = r#"{"workflow_id": "greet", "steps": [{"id": "say", "type": "development",
  "action": {"kind": "command", "program": "echo", "args": ["hello"]}}]}"#;

#[test]
fn a_backup_is_made_with_and_without_a_server_and_can_be_started_on() {
    let home = Home::new();
    home.write("greet.json", GREET);
    home.run(&["run", "greet.json"]).with(0);

    let direct = home.run(&["backup", "direct"]).with(0);
    let server = home.serve();
    home.run(&["run", "greet.json"]).with(0);
    let through = home.run(&["backup", "through.db", "--json"]).with(0).json();
    let taken = home.run(&["backup", "through.db"]).with(2);
    drop(server);

    assert!(
        direct.out.contains("data directory") && direct.out.contains("checked"),
        "{}",
        direct.out
    );
    let path = home.work().join("through.db");
    assert_eq!((&through["path"], &through["whole"]), (&path.to_str().into(), &false.into()));
    assert!(taken.err.contains("exists already") && taken.err.contains("hint:"), "{}", taken.err);
    let restored = home.work().join("direct");
    let status = home
        .run(&["status", "--json", "--data-dir", restored.to_str().expect("text")])
        .with(0)
        .json();
    assert_eq!(status["executions"].as_array().map(Vec::len), Some(1), "{status:#}");
    // The database alone goes into an empty data directory under its own name.
    let empty = home.work().join("empty");
    std::fs::create_dir(&empty).expect("made");
    std::fs::copy(&path, empty.join("caelum.db")).expect("copied");
    let status =
        home.run(&["status", "--json", "--data-dir", empty.to_str().expect("text")]).with(0).json();
    assert_eq!(status["executions"].as_array().map(Vec::len), Some(2), "{status:#}");
}
