//! Patterns on real files: looked at, planned, applied once, taken back to the byte; and everything that tries to leave
//! a component, refused.

use std::fs;
use std::os::unix::fs::symlink;

use caelum_tests::{Client, Home, Project, Server};
use serde_json::{Value, json};

use crate::{home, words};

/// A pattern that ships with the program and changes several files.
const SHIPPED: &str = "infrastructure-enforcement";

/// Starts a server that knows the pattern which plans what its parameters say.
async fn bad_plans(home: &Home) -> (Server, Client) {
    home.install("bad-plans");
    let server = home.serve().await;
    let client = server.client().await;
    (server, client)
}

/// Arguments for the pattern that ships.
fn shipped(more: Value) -> Value {
    let mut arguments = json!({
        "pattern_name": SHIPPED, "target_component": "service",
        "parameters": {"component_name": "notes"},
    });
    let more = more.as_object().cloned().unwrap_or_default();
    arguments.as_object_mut().expect("an object").extend(more);
    arguments
}

/// Arguments for the pattern that plans what its parameters say.
fn told(fault: &str, path: &str) -> Value {
    json!({
        "pattern_name": "bad-plans", "target_component": "service",
        "parameters": {"fault": fault, "path": path},
    })
}

#[tokio::test]
async fn a_pattern_is_validated_planned_applied_once_and_taken_back_to_the_byte() {
    let home = home();
    let project = home.project("service").with_service();
    let before = project.files();
    let server = home.serve().await;
    let client = server.client().await;

    let validation = client.ok("validate_pattern_application", shipped(json!({}))).await;
    let planned = client.ok("apply_pattern", shipped(json!({"dry_run": true}))).await;

    assert_eq!(validation["can_apply"], true, "{validation:#}");
    assert_ne!(validation["findings"], json!([]));
    assert_eq!(validation["next_call"]["arguments"]["dry_run"], true);
    assert_eq!(planned["status"], "planned", "{planned:#}");
    assert_eq!(project.files(), before, "a dry run writes nothing");
    let diff = planned["results"]["diff"].as_str().expect("a diff");
    assert!(diff.contains("+++ ") && diff.contains(".caelum/component.json"), "{diff}");

    let next = &planned["next_call"];
    assert_eq!(
        (&next["tool"], &next["arguments"]["plan_id"]),
        (&json!("apply_pattern"), &planned["plan_id"])
    );
    let applied = client.ok("apply_pattern", next["arguments"].clone()).await;
    let again = client.refused("apply_pattern", next["arguments"].clone()).await;

    assert_eq!(applied["status"], "applied", "{applied:#}");
    assert_eq!(applied["results"]["diff"], planned["results"]["diff"], "exactly what was shown");
    assert!(again.contains("plan_used"), "{again}");
    let after = project.files();
    for path in words(&applied["results"]["changed_files"]) {
        assert_ne!(after.get(path), before.get(path), "{path}");
    }
    assert!(after.contains_key(".caelum/patterns.lock.json"), "{:?}", after.keys());
    let validation = client.ok("validate_pattern_application", shipped(json!({}))).await;
    assert_eq!(validation["edits"]["total"], validation["edits"]["review"], "{validation:#}");

    let next = &applied["next_call"];
    assert_eq!(next["tool"], "revert_pattern_application");
    let reverted = client.ok("revert_pattern_application", next["arguments"].clone()).await;
    let twice = client.refused("revert_pattern_application", next["arguments"].clone()).await;

    assert_eq!(reverted["status"], "reverted");
    assert_eq!(project.files(), before, "every byte is what it was");
    assert!(twice.contains("not_applied") && twice.contains("reverted"), "{twice}");
}

#[tokio::test]
async fn dry_run_and_apply_are_one_path() {
    let home = home();
    let project = home.project("service").with_service();
    let server = home.serve().await;
    let client = server.client().await;

    let planned = client.ok("apply_pattern", shipped(json!({"dry_run": true}))).await;
    let applied = client.ok("apply_pattern", shipped(json!({}))).await;
    let files = project.files();
    let unchanged = client.ok("apply_pattern", shipped(json!({}))).await;

    assert_eq!(applied["results"]["diff"], planned["results"]["diff"]);
    assert_ne!(unchanged["status"], "applied", "a second application finds nothing to do");
    assert_eq!(unchanged["results"]["diff"], "");
    assert_eq!(project.files(), files);
}

#[tokio::test]
async fn a_plan_for_files_that_changed_since_is_refused() {
    let home = home();
    let project = home.project("service").with_service();
    let server = home.serve().await;
    let client = server.client().await;
    let arguments = json!({
        "pattern_name": "health-check", "target_component": "service", "dry_run": true,
        "allow_review_edits": true,
    });
    let planned = client.ok("apply_pattern", arguments).await;
    assert_eq!(planned["status"], "planned", "{planned:#}");

    let compose = project.read("docker-compose.yml");
    project.write("docker-compose.yml", format!("# somebody was here\n{compose}"));
    let files = project.files();
    let stale = client.ok("apply_pattern", planned["next_call"]["arguments"].clone()).await;

    assert_eq!(stale["status"], "conflict", "{stale:#}");
    assert!(stale["validation_results"].to_string().contains("changed"), "{stale:#}");
    assert_eq!(project.files(), files, "nothing is written");
    assert_eq!(stale["next_call"]["arguments"]["dry_run"], true, "the next call makes a new plan");
}

#[tokio::test]
async fn a_plan_belongs_to_its_pattern_and_component() {
    let home = home();
    home.project("service");
    home.project("other");
    let (_server, client) = bad_plans(&home).await;
    let mut arguments = told("none", "MARK");
    arguments["dry_run"] = json!(true);
    let planned = client.ok("apply_pattern", arguments).await;

    let mut elsewhere = planned["next_call"]["arguments"].clone();
    elsewhere["target_component"] = json!("other");
    let elsewhere = client.refused("apply_pattern", elsewhere).await;
    let mut unknown = planned["next_call"]["arguments"].clone();
    unknown["plan_id"] = json!("plan_00000000000000000000000000");
    let unknown = client.refused("apply_pattern", unknown).await;

    assert!(elsewhere.contains("other_plan") && elsewhere.contains("`service`"), "{elsewhere}");
    assert!(unknown.contains("unknown_plan") && unknown.contains("dry_run"), "{unknown}");
}

#[tokio::test]
async fn somebody_elses_work_is_never_lost_by_taking_back() {
    let home = home();
    let project = home.project("service");
    let (_server, client) = bad_plans(&home).await;
    let applied = client.ok("apply_pattern", told("none", "MARK")).await;
    assert_eq!(project.read("MARK"), "made\n");
    let revert = applied["next_call"]["arguments"].clone();

    project.write("MARK", "made, and mended by hand\n");
    let refused = client.refused("revert_pattern_application", revert.clone()).await;
    assert_eq!(project.read("MARK"), "made, and mended by hand\n");
    project.write("MARK", "made\n");
    client.ok("revert_pattern_application", revert).await;

    assert!(refused.contains("MARK") && refused.contains("changed"), "{refused}");
    assert_eq!(project.files(), [].into());
}

#[tokio::test]
async fn plans_that_leave_the_component_are_refused_whole() {
    let home = home();
    let project = home.project("service");
    let outside = Project::new(home.path().join("outside"));
    outside.write("kept.txt", "kept\n");
    symlink(outside.path(), project.path().join("link")).expect("a link can be made");
    symlink("nowhere", project.path().join("dangling")).expect("a link can be made");
    let (_server, client) = bad_plans(&home).await;
    let before = (home.root(), Project::new(home.root()).files(), outside.files());
    let absolute = outside.path().join("escaped.txt").display().to_string();

    for path in [
        "../escaped.txt",
        "../../escaped.txt",
        "a/../../escaped.txt",
        absolute.as_str(),
        "link/escaped.txt",
        "link/kept.txt/x",
        "dangling",
        "a\\..\\..\\escaped.txt",
        "./escaped.txt",
        "a//b",
        "nul\u{0}byte",
        "line\nfeed",
    ] {
        for dry_run in [true, false] {
            let mut arguments = told("none", path);
            arguments["dry_run"] = json!(dry_run);
            match client.call("apply_pattern", arguments).await {
                Err(refused) => assert!(refused.contains("bad-plans"), "{path:?}: {refused}"),
                Ok(answer) => assert!(
                    answer["status"] == "conflict" || answer["status"] == "blocked",
                    "{path:?}: {answer:#}"
                ),
            }
        }
        assert_eq!(Project::new(&before.0).files(), before.1, "{path:?}");
        assert_eq!(outside.files(), before.2, "{path:?}");
        assert!(!home.path().join("escaped.txt").exists(), "{path:?}");
    }
}

#[tokio::test]
async fn plans_that_break_the_contract_are_the_plugins_fault_and_write_nothing() {
    let home = home();
    let project = home.project("service");
    project.write("file.txt", "one two three\n");
    let before = project.files();
    let (_server, client) = bad_plans(&home).await;

    for (fault, path) in [
        ("overlap", "file.txt"),
        ("beyond-end", "file.txt"),
        ("backwards", "file.txt"),
        ("stale-hash", "file.txt"),
        ("malformed-hash", "file.txt"),
        ("twice", "NEW"),
        ("case-twins", "New"),
        ("delete-and-change", "file.txt"),
        ("never-at-rest", "NEW"),
        ("appends-forever", "file.txt"),
        ("new-finding", "NEW"),
        ("panic", "NEW"),
        ("error", "NEW"),
    ] {
        match client.call("apply_pattern", told(fault, path)).await {
            Err(refused) => assert!(
                refused.contains("plugin_failed") && refused.contains("bad-plans 0.1.0")
                    || refused.contains("`bad-plans`"),
                "{fault}: {refused}"
            ),
            Ok(answer) => assert!(
                answer["status"] == "conflict" || answer["status"] == "non_convergent",
                "{fault}: {answer:#}"
            ),
        }
        assert_eq!(project.files(), before, "{fault}");
    }
    let well = client.ok("apply_pattern", told("none", "NEW")).await;
    assert_eq!(well["status"], "applied", "a plugin that trapped is asked again: {well:#}");
}

#[tokio::test]
async fn what_lies_outside_is_not_read_for_a_pattern() {
    let home = home();
    let project = home.project("service");
    let secret = Project::new(home.path().join("outside"));
    secret.write("secret.txt", "the secret word is xyzzy\n");
    symlink(secret.path(), project.path().join("link")).expect("a link can be made");
    symlink(secret.path().join("secret.txt"), project.path().join("file"))
        .expect("a link can be made");
    let (_server, client) = bad_plans(&home).await;
    let absolute = secret.path().join("secret.txt").display().to_string();

    // These faults begin with reading the file, and would show its text in a diff.
    for path in ["../../outside/secret.txt", &absolute, "link/secret.txt", "file"] {
        let arguments = told("appends-forever", path);
        let told = match client.call("apply_pattern", arguments).await {
            Err(refused) => refused,
            Ok(answer) => panic!("{path:?} was read: {answer:#}"),
        };
        assert!(!told.contains("xyzzy"), "{path:?}: {told}");
    }
}

#[tokio::test]
async fn a_component_outside_the_roots_is_refused_and_nothing_is_told_about_it() {
    let home = home();
    home.project("service");
    home.project("service/inner");
    fs::write(home.root().join("file.txt"), "").expect("a file can be written");
    let outside = Project::new(home.path().join("outside"));
    symlink(outside.path(), home.root().join("link")).expect("a link can be made");
    let (_server, client) = bad_plans(&home).await;
    let there = outside.path().display().to_string();
    let not_there = home.path().join("nothing").display().to_string();

    for target in
        ["..", "../outside", "service/../../outside", "link", &there, &not_there, "/", "/etc"]
    {
        for tool in ["validate_pattern_application", "apply_pattern"] {
            let mut arguments = told("none", "MARK");
            arguments["target_component"] = json!(target);
            let refused = client.refused(tool, arguments).await;
            assert!(refused.contains("not beneath an allowed root"), "{target}: {refused}");
        }
    }
    for (target, why) in [
        ("file.txt", "not a directory"),
        ("srevice", "expected a registered name or a directory beneath"),
        ("", "no component"),
        ("a\u{0}b", "no component"),
    ] {
        let mut arguments = told("none", "MARK");
        arguments["target_component"] = json!(target);
        let refused = client.refused("validate_pattern_application", arguments).await;
        assert!(refused.contains(why), "{target:?}: {refused}");
    }
    for target in ["service/inner", "./service/inner", "service/../service/inner"] {
        let mut arguments = told("none", "MARK");
        arguments["target_component"] = json!(target);
        client.ok("validate_pattern_application", arguments).await;
    }
    assert_eq!(outside.files(), [].into());
}

#[tokio::test]
async fn a_registered_name_stands_for_its_directory_and_brings_its_parameters() {
    let home = home();
    let project = home.project("far/away/service").with_service();
    fs::create_dir_all(home.data()).expect("a folder can be made");
    let directory = project.path().display();
    let text = format!(
        "[components.notes]\ndirectory = \"{directory}\"\n\n[components.notes.parameters]\ncomponent_name = \"notes\"\n"
    );
    fs::write(home.data().join("components.toml"), text).expect("a file can be written");
    let server = home.serve().await;
    let client = server.client().await;

    let arguments = json!({"pattern_name": SHIPPED, "target_component": "notes"});
    let applied = client.ok("apply_pattern", arguments).await;

    assert_eq!(applied["status"], "applied", "{applied:#}");
    assert_eq!(applied["parameters"]["component_name"], "notes");
    assert!(project.files().contains_key(".caelum/component.json"));
}

#[tokio::test]
async fn unknown_patterns_parameters_and_rules_are_named_with_what_is_near() {
    let home = home();
    home.project("service").with_service();
    let server = home.serve().await;
    let client = server.client().await;

    let mut arguments = shipped(json!({}));
    arguments["pattern_name"] = json!("infrastructure-enforcment");
    let pattern = client.refused("apply_pattern", arguments).await;
    let arguments = shipped(json!({"parameters": {"component_nam": "x", "ports": "8115"}}));
    let parameters = client.refused("apply_pattern", arguments).await;
    let rules = client.refused("apply_pattern", shipped(json!({"rules": ["XX99"]}))).await;

    assert!(pattern.contains("unknown_pattern") && pattern.contains(SHIPPED), "{pattern}");
    assert!(parameters.contains("component_nam") && parameters.contains("ports"), "{parameters}");
    assert!(rules.contains("XX99"), "{rules}");
}

#[tokio::test]
async fn a_step_applies_a_pattern_and_its_diff_is_kept() {
    let home = home();
    let project = home.project("service").with_service();
    let server = home.serve().await;
    let client = server.client().await;
    let steps = json!([
        {"id": "declare", "type": "development", "action": {
            "kind": "pattern", "pattern": SHIPPED, "target": "{{ parameters.component }}",
            "parameters": {"component_name": "notes"},
        }},
        {"id": "tell", "type": "validation", "dependencies": ["declare"], "action": {
            "kind": "command", "program": "echo",
            "args": ["{{ steps.declare.outputs.application_id }}"],
        }},
    ]);
    client.create("declare", steps).await;

    let arguments = json!({"workflow_id": "declare", "parameters": {"component": "service"}});
    let execution = client.execute_with(arguments).await;
    let done = client.ended(&execution, "completed").await;

    let outputs = &crate::step(&done, "declare")["outputs"];
    assert_eq!(outputs["status"], "applied", "{done:#}");
    assert!(project.files().contains_key(".caelum/component.json"));
    let revert = json!({"application_id": outputs["application_id"]});
    client.ok("revert_pattern_application", revert).await;
    assert!(!project.files().contains_key(".caelum/component.json"));
}
