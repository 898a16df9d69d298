//! What one server exports another one imports, byte for byte.

use std::io::Write;
use std::process::Stdio;

use crate::harness::Home;

/// A generator of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        // Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Writes a workflow with steps of many kinds that all end by themselves.
fn workflow(numbers: &mut Numbers, revision: u64) -> String {
    let types = ["development", "integration", "validation", "deployment"];
    let count = 1 + numbers.below(6);
    let mut steps = Vec::new();
    for index in 0..count {
        let mut step = serde_json::json!({
            "id": format!("s{index}"),
            "type": types[numbers.below(4) as usize],
            "name": format!("Step {index} <&\"'> \u{e4}\u{1f600} of {revision}"),
        });
        let program = match numbers.below(4) {
            0 => serde_json::json!({"kind": "command", "program": "false"}),
            1 => serde_json::json!({"kind": "command", "shell": true,
                "program": "echo out; echo err >&2; echo '{\"tag\": \"v7\", \"n\": [1, 2.5, null]}'"}),
            2 => {
                serde_json::json!({"kind": "command", "shell": true, "program": "head -c 200000 /dev/zero | tr '\\0' x"})
            }
            _ => serde_json::json!({"kind": "command", "program": "no-such-program-anywhere"}),
        };
        step["action"] = program;
        if index > 0 && numbers.chance(60) {
            step["dependencies"] = serde_json::json!([format!("s{}", numbers.below(index))]);
        }
        if numbers.chance(30) {
            step["validation"] = "command-succeeded".into();
        }
        if numbers.chance(30) {
            step["retry"] =
                serde_json::json!({"attempts": 2, "initial_ms": 1, "on": ["exit", "gate"]});
        }
        if numbers.chance(20) {
            step["when"] = "false".into();
        }
        if numbers.chance(50) {
            step["on_failure"] = ["continue", "skip_dependents"][numbers.below(2) as usize].into();
        }
        steps.push(step);
    }
    serde_json::json!({
        "workflow_id": "w", "description": format!("revision {revision}"), "steps": steps,
        "metadata": {"made": revision, "nested": {"a": [1, {"b": null}]}},
    })
    .to_string()
}

fn export(home: &Home, format: &str) -> String {
    home.run(&["export", "w", "--format", format]).with(0).out
}

#[test]
fn exports_are_the_same_after_an_import_into_an_empty_store() {
    for seed in 1..=4 {
        let mut numbers = Numbers(seed);
        let (origin, copy) = (Home::new(), Home::new());
        for revision in 1..=2 {
            origin.write("w.json", &workflow(&mut numbers, revision));
            for _ in 0..=numbers.below(2) {
                // Some of them fail, and that is history too.
                origin.run(&["run", "w.json"]);
            }
        }
        let json = export(&origin, "json");

        copy.write("export.json", &json);
        let told = copy.run(&["import", "export.json", "--json"]).with(0).json();

        assert!(told["executions"].as_u64() >= Some(2), "seed {seed}: {told:#}");
        assert_eq!(told["skipped"], serde_json::json!([]), "seed {seed}");
        for format in ["json", "yaml", "ndjson", "csv", "markdown", "mermaid", "junit"] {
            assert!(export(&copy, format) == export(&origin, format), "seed {seed}: {format}");
        }
        let yaml = Home::new();
        yaml.write("export.yaml", &export(&origin, "yaml"));
        yaml.run(&["import", "export.yaml"]).with(0);
        assert!(export(&yaml, "json") == json, "seed {seed}: through yaml");
    }
}

#[test]
fn events_as_lines_are_history_of_a_workflow_that_is_here() {
    let (origin, copy) = (Home::new(), Home::new());
    origin.write("w.json", &workflow(&mut Numbers(7), 1));
    for _ in 0..2 {
        origin.run(&["run", "w.json"]);
    }
    copy.write("lines.ndjson", &export(&origin, "ndjson"));
    let bare = origin.run(&["export", "w", "--without-executions"]).with(0).out;

    let early = copy.run(&["import", "lines.ndjson"]).with(2);
    assert!(early.err.contains("revision 1 of workflow `w` is not here"), "{}", early.err);
    copy.write("w.json", &bare);
    copy.run(&["import", "w.json"]).with(0);
    // Through standard input, and through the server that holds the directory.
    let server = copy.serve();
    let mut import = copy
        .command(&["import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let lines = export(&origin, "ndjson");
    import.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("it reads");
    let told = import.wait_with_output().expect("it ends");
    drop(server);

    assert!(String::from_utf8_lossy(&told.stdout).contains("2 executions imported"), "{told:?}");
    assert!(export(&copy, "json") == export(&origin, "json"));
}

#[test]
fn a_large_export_is_divided_and_an_import_that_comes_again_changes_nothing() {
    let (origin, copy) = (Home::new(), Home::new());
    let steps: Vec<serde_json::Value> = (0..12)
        .map(|index| {
            serde_json::json!({"id": format!("s{index}"), "type": "development", "action": {"kind": "command",
                "shell": true, "program": "head -c 200000 /dev/urandom | base64 -w 80"}})
        })
        .collect();
    let document = serde_json::json!({"workflow_id": "w", "steps": steps}).to_string();
    origin.write("w.json", &document);
    for _ in 0..3 {
        origin.run(&["run", "w.json"]).with(0);
    }
    let json = export(&origin, "json");
    assert!(json.len() > 4 * 1024 * 1024, "{}", json.len());
    copy.write("export.json", &json);
    let server = copy.serve();

    copy.run(&["import", "export.json"]).with(0);
    let again = copy.run(&["import", "export.json"]).with(2);
    let revision = copy.run(&["import", "export.json", "--new-revision", "--json"]).with(0).json();
    drop(server);

    assert!(again.err.contains("a workflow `w` exists already"), "{}", again.err);
    assert_eq!((&revision["unchanged"], &revision["executions"]), (&true.into(), &0.into()));
    assert!(export(&copy, "json") == json);
}

#[test]
fn what_retention_archives_can_be_imported_again() {
    let home = Home::new();
    let archive = home.dir.path().join("archive");
    home.write("w.json", r#"{"workflow_id": "w", "steps": [{"id": "a", "type": "development", "action": {"kind": "command", "program": "true"}}]}"#);
    for _ in 0..4 {
        home.run(&["run", "w.json"]).with(0);
    }
    let before = export(&home, "json");
    let archive_dir = archive.to_str().expect("text");
    let args = [
        "serve",
        "--port",
        "0",
        "--archive-dir",
        archive_dir,
        "--limit",
        "retention_executions_max=1",
    ];
    let server = crate::harness::Server::start(home.command(&args));
    let file = crate::harness::until("an archive", || {
        let entry = std::fs::read_dir(&archive).ok()?.next()?.ok()?;
        let listed = home.run(&["status", "--json"]).with(0).json();
        (listed["executions"].as_array()?.len() == 1).then(|| entry.path())
    });

    let told = home.run(&["import", file.to_str().expect("text"), "--json"]).with(0).json();
    drop(server);

    assert_eq!(told["executions"], 3, "{told:#}");
    // Imported later, listed as newer: the same executions all the same.
    let sorted = |text: &str| {
        let mut document: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let executions = document["executions"].as_array_mut().expect("a list");
        executions.sort_by_key(|execution| execution["execution_id"].to_string());
        document
    };
    assert_eq!(sorted(&export(&home, "json")), sorted(&before));
}

#[test]
fn every_fault_of_an_import_is_told_and_nothing_is_kept() {
    let home = Home::new();
    home.write(
        "bad.yaml",
        "workflow_id: bad\nrevision: 0\nsteps:\n  - {id: a, typ: development}\nexecutions:\n  - {execution_id: e}\n",
    );

    let shape = home.run(&["import", "bad.yaml"]).with(2);
    home.write("bad.yaml", "workflow_id: bad\nrevision: 0\ncreated_at: never\nsteps: []\nexecutions:\n  - {execution_id: e}\n");
    let rest = home.run(&["import", "bad.yaml"]).with(2);
    let gone = home.run(&["import", "gone.yaml"]).with(5);
    let missing = home.run(&["export", "bad"]).with(5);

    assert!(
        shape.err.contains("/steps/0/typ: unknown field; did you mean `type`?"),
        "{}",
        shape.err
    );
    for fault in ["/revision: found 0", "/created_at: `never`", "/executions/0/events: expected"] {
        assert!(rest.err.contains(fault), "{fault}: {}", rest.err);
    }
    assert!(rest.err.contains("nothing was stored"), "{}", rest.err);
    assert!(gone.err.contains("`gone.yaml` cannot be read"), "{}", gone.err);
    assert!(missing.err.contains("there is no workflow"), "{}", missing.err);
}
