//! What the toolchains make beside the kit: components without WASI, plugins with a bug, what `plugin new` begins with.
//! Without [`FOLDER`](caelum_polyglot::FOLDER) there is nothing here to look at but the versions.

use std::fs;
use std::path::Path;

use caelum_core::plugin::PluginKind;
use caelum_plugin_host::{CallControl, LogSource, Stage};
use caelum_polyglot::{VALIDATOR, beside};
use serde_json::{Value, json};

use crate::ask::{load_files, open, told};
use crate::case::Case;
use crate::shown;

/// Evidence that shows everything that a validator asks for.
fn good() -> crate::case::Given {
    let given = json!({
        "about": "a program that ended well",
        "outcomes": [{"machine": "local", "exit_code": 0}],
    });
    serde_json::from_value(given).expect("a case")
}

#[tokio::test]
async fn components_without_wasi_answer_alike() {
    for file in beside(&["coverage-floor.python-stubbed", "coverage-floor.quickjs-stubbed"]) {
        let plugins = load_files(&[file]).await;
        let plugin = plugins.find(PluginKind::Validator, VALIDATOR).expect("it is served");
        for case in Case::of(VALIDATOR).iter().take(5) {
            let (tree, evidence) = (case.given.tree(), case.given.evidence());
            let parameters = &case.given.parameters;
            let control = CallControl::default();
            let called = plugins.judge(&plugin, &evidence, None, tree, parameters, control).await;
            case.expect("without WASI", &told(called, shown::verdict).0);
        }
    }
}

#[tokio::test]
async fn a_bug_is_a_trap_and_its_place_is_in_the_log() {
    let places = [("broken.python", "plugin.py"), ("broken.quickjs", "plugin.js")];
    for (file, place) in beside(&places.map(|(name, _)| name)).into_iter().zip(places.map(|p| p.1))
    {
        let plugins = load_files(&[file]).await;
        let plugin = plugins.find(PluginKind::Validator, "broken").expect("it is served");
        let (tree, evidence) = (good().tree(), good().evidence());

        let control = CallControl::default();
        let called = plugins.judge(&plugin, &evidence, None, tree, &json!({}), control).await;

        let refused = called.outcome.expect_err("it breaks down").to_string();
        assert!(refused.starts_with("validator `broken` 0.1.0: trapped: "), "{refused}");
        let lines = called.report.logs.lines.iter();
        let said: Vec<&str> = lines
            .filter(|line| line.source == LogSource::Stderr)
            .map(|line| line.message.as_str())
            .collect();
        let said = said.join("\n");
        assert!(said.contains("a bug in the plugin") && said.contains(place), "{place}: {said}");
    }
}

#[tokio::test]
async fn a_plugin_that_cannot_say_who_it_is_is_refused_with_the_reason() {
    for file in beside(&["broken-describe.quickjs"]) {
        let plugins = open(&[file]).await;

        let refused = plugins.snapshot().refused.first().cloned().expect("it is refused");

        assert_eq!(refused.stage, Stage::Describe);
        assert!(
            refused.reason.contains("missing is not defined")
                && refused.reason.contains("plugin.js"),
            "{}",
            refused.reason
        );
    }
}

#[tokio::test]
async fn what_plugin_new_begins_with_works() {
    let names = ["python", "quickjs"]
        .map(|word| [format!("new-validator.{word}"), format!("new-pattern.{word}")]);
    for [validator, pattern] in names {
        let files = beside(&[validator.as_str(), pattern.as_str()]);
        if files.is_empty() {
            continue;
        }
        let plugins = load_files(&files).await;
        let find = |kind, name| plugins.find(kind, name).expect("it is served");
        let judge = find(PluginKind::Validator, "new-validator");
        let mend = find(PluginKind::Pattern, "new-pattern");
        let (given, control) = (good(), CallControl::default);

        for (parameters, kind) in [(json!({}), "pass"), (json!({"must_say": "done"}), "fail")] {
            let (tree, evidence) = (given.tree(), given.evidence());
            let called = plugins.judge(&judge, &evidence, None, tree, &parameters, control()).await;
            let (answer, _) = told(called, shown::verdict);
            assert_eq!(answer["answer"]["kind"], kind, "{validator}: {answer:#}");
        }
        let files = json!({"about": "a line end is missing", "files": {"a.md": "ä\r\nb"}});
        let given: crate::case::Given = serde_json::from_value(files).expect("a case");
        let (none, tree) = (json!({}), given.tree());
        let called = plugins.plan(&mend, tree, &none, &none, control()).await;
        let (answer, _) = told(called, shown::plan);
        let range = &answer["answer"]["edits"][0]["change"]["ranges"][0];
        assert_eq!(range, &json!({"start": 5, "end": 5, "text": "\r\n"}), "{pattern}: {answer:#}");
    }
}

#[test]
fn templates_and_kit_name_the_same_versions_of_the_toolchains() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("it can be read");
    let package =
        |path: &str| -> Value { serde_json::from_str(&read(path)).expect("a package.json") };

    let (ours, template) =
        (package("tests/polyglot/package.json"), package("sdk/templates/javascript/package.json"));

    assert_eq!(
        read("tests/polyglot/requirements.txt"),
        read("sdk/templates/python/requirements.txt")
    );
    let jco = "@bytecodealliance/jco";
    assert_eq!(ours["devDependencies"][jco], template["devDependencies"][jco]);
    assert_eq!(ours["overrides"], template["overrides"]);
}

#[test]
fn the_guide_shows_the_templates_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("it can be read");
    let guide = read("docs/plugins.md");

    for template in ["python/validator/plugin.py", "javascript/validator/plugin.js"] {
        let text = read(&format!("sdk/templates/{template}"));
        let text = text.replace("{{name}}", "said-it").replace("{{title}}", "Said it");
        assert!(guide.contains(&text), "`{template}` stands otherwise in the guide");
    }
}
