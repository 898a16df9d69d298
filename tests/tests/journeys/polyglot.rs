//! Plugins of every language in the real server: dropped into the plugins directory, they judge a real step and mend a
//! real component, and nobody can tell them apart. `make polyglot` runs them all; without it only Rust is here (see
//! `tests/polyglot`).

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use caelum_polyglot::{Language, PATTERN, VALIDATOR};
use caelum_tests::{Client, Home, Server};
use serde_json::{Value, json};

use crate::{home, step};

/// How long a language's runtime may take to be compiled, on a machine that has much else to do.
const COMPILED_WITHIN: Duration = Duration::from_secs(600);

/// How long to rest between two looks at what is loaded.
const REST: Duration = Duration::from_millis(100);

/// Starts a server that finds the kit of one language in its plugins directory, and waits until it is loaded.
async fn serving(language: Language) -> (Home, Server, Client) {
    let home = home();
    let plugins = home.data().join("plugins");
    fs::create_dir_all(&plugins).expect("a folder in a new directory can be made");
    for plugin in [VALIDATOR, PATTERN] {
        let to = plugins.join(format!("{plugin}.wasm"));
        fs::copy(language.component(plugin), to).expect("a component can be copied");
    }
    let server = home.serve().await;
    let client = server.client().await;
    let loaded = async {
        while !(lists(&client, "list_validators", "validators", VALIDATOR).await
            && lists(&client, "list_patterns", "patterns", PATTERN).await)
        {
            tokio::time::sleep(REST).await;
        }
    };
    let waited = tokio::time::timeout(COMPILED_WITHIN, loaded).await;
    assert!(
        waited.is_ok(),
        "{language} is not loaded after {COMPILED_WITHIN:?}:\n{}",
        server.log().text()
    );
    (home, server, client)
}

/// Says whether a tool lists a plugin.
async fn lists(client: &Client, tool: &str, list: &str, name: &str) -> bool {
    let answer = client.ok(tool, json!({})).await;
    let listed = answer[list].as_array().unwrap_or_else(|| panic!("no list: {answer:#}"));
    listed.iter().any(|plugin| plugin["name"] == name)
}

/// Returns a report that says that so many of ten lines are covered.
fn covered(lines: u32) -> String {
    format!("SF:src/app.py\nLF:10\nLH:{lines}\nend_of_record\n")
}

#[tokio::test]
async fn a_component_of_every_language_is_accepted_by_the_check() {
    for language in Language::here() {
        let home = home();
        for (plugin, kind) in [(VALIDATOR, "validator"), (PATTERN, "pattern")] {
            let file = language.component(plugin);
            // It compiles without a cache, and so takes longer than anything else that a test starts.
            let mut check = tokio::process::Command::from(home.command());
            check.args(["plugin", "check", "--json"]).arg(file).kill_on_drop(true);

            let checked = tokio::time::timeout(COMPILED_WITHIN, check.output()).await;

            let checked = checked.expect("it ends").expect("it starts");
            let said = String::from_utf8_lossy(&checked.stderr);
            let checked: Value = serde_json::from_slice(&checked.stdout)
                .unwrap_or_else(|error| panic!("{language}: {error}: {said}"));
            assert_eq!(
                (&checked["accepted"], &checked["name"], &checked["kind"]),
                (&json!(true), &json!(plugin), &json!(kind)),
                "{language}: {checked:#}"
            );
        }
    }
}

#[tokio::test]
async fn a_gate_in_every_language_fails_passes_after_the_fix_and_asks_a_person() {
    let mut told: BTreeMap<String, Language> = BTreeMap::new();
    for language in Language::here() {
        let (home, _server, client) = serving(language).await;
        let project = home.project("service");
        project.write("report.txt", covered(4));
        let steps = json!([{
            "id": "test", "type": "validation", "validation": VALIDATOR,
            "validation_parameters": {"review_percent_min": 50},
            "action": {
                "kind": "command", "shell": true, "program": "cp report.txt lcov.info", "cwd": "service",
                "collect": ["lcov.info"],
            },
        }]);
        client.create("covered", steps).await;

        let execution = client.execute("covered").await;
        let failed = client.ended(&execution, "failed").await;
        project.write("report.txt", covered(9));
        let retry = json!({"execution_id": execution, "action": "retry_failed"});
        client.ok("control_execution", retry).await;
        let passed = client.ended(&execution, "completed").await;
        project.write("report.txt", covered(6));
        let execution = client.execute("covered").await;
        let waiting = client.settled(&execution).await;
        let review = json!({
            "execution_id": execution, "step_id": "test", "reviewer": "grace", "decision": "approved",
            "reason": "the rest is generated",
        });
        client.ok("review_step", review).await;
        let reviewed = client.ended(&execution, "completed").await;

        let gates = [&failed, &passed, &waiting, &reviewed].map(|status| {
            let gates = step(status, "test")["gates"].as_array().cloned().unwrap_or_default();
            let gate = gates.last().cloned().unwrap_or_else(|| panic!("no gate: {status:#}"));
            json!([gate["verdict"], gate["summary"], gate["reasons"]])
        });
        let verdicts: Vec<&Value> = gates.iter().map(|gate| &gate[0]).collect();
        assert_eq!(verdicts, ["fail", "pass", "needs-review", "pass"], "{language}: {gates:?}");
        told.insert(Value::from_iter(gates).to_string(), language);
    }
    assert_eq!(told.len(), 1, "the languages judge differently: {told:#?}");
}

#[tokio::test]
async fn a_pattern_in_every_language_is_planned_applied_and_taken_back_to_the_byte() {
    let mut diffs: BTreeMap<String, Language> = BTreeMap::new();
    for language in Language::here() {
        let (home, _server, client) = serving(language).await;
        let project = home.project("service");
        project
            .write("README.md", "# Dienst für 😀  \r\n\r\nthe end  ")
            .write("docs/notes.txt", "one \ntwo")
            .write("docs/notes.txt.orig", "zero")
            .write("LICENCE", "MIT\n");
        let before = project.files();
        let arguments = json!({
            "pattern_name": PATTERN, "target_component": "service", "parameters": {},
            "allow_review_edits": true,
        });

        let mut dry = arguments.clone();
        dry["dry_run"] = json!(true);
        let planned = client.ok("apply_pattern", dry).await;
        assert_eq!(planned["status"], "planned", "{language}: {planned:#}");
        assert_eq!(project.files(), before, "a dry run writes nothing");
        let applied = client.ok("apply_pattern", planned["next_call"]["arguments"].clone()).await;
        let again = client.ok("apply_pattern", arguments).await;

        assert_eq!(applied["status"], "applied", "{language}: {applied:#}");
        assert_eq!(again["status"], "unchanged", "{language}: {again:#}");
        assert_eq!(project.read("README.md"), "# Dienst für 😀\r\n\r\nthe end\r\n");
        assert_eq!(project.read("docs/notes.txt"), "one\ntwo\n");
        assert_eq!(project.read("LICENSE"), "MIT\n");
        let files = project.files();
        assert!(!files.contains_key("docs/notes.txt.orig") && !files.contains_key("LICENCE"));
        assert!(files.contains_key(".editorconfig"), "{:?}", files.keys());
        let diff = applied["results"]["diff"].as_str().expect("a diff").to_owned();
        diffs.insert(diff, language);

        let revert = applied["next_call"]["arguments"].clone();
        client.ok("revert_pattern_application", revert).await;
        assert_eq!(project.files(), before, "{language}: every byte is what it was");
    }
    assert_eq!(diffs.len(), 1, "the languages plan differently: {diffs:#?}");
}
