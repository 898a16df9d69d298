//! Old plugins: what was built by every version answers as it did then.

use std::fs;
use std::path::{Path, PathBuf};

use caelum_tests::repository;
use serde_json::Value;

use crate::home;

/// The plugin without golden answers.
const HOSTILE: &str = "hostile";

fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the corpus can be read");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// Returns the plugins of every version.
fn plugins() -> Vec<PathBuf> {
    let versions = below(&repository().join("tests/corpus"));
    let versions = versions.iter().filter(|path| path.is_dir());
    versions
        .flat_map(|version| below(version))
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .collect()
}

#[tokio::test]
async fn plugins_of_every_version_answer_as_they_did() {
    let home = home();
    let mut tried = 0;
    for plugin in plugins() {
        let cases = plugin.with_extension("");
        if cases.ends_with(HOSTILE) {
            continue;
        }
        let (plugin, cases) = (plugin.display().to_string(), cases.display().to_string());

        let tested = home.run(["plugin", "test", &plugin, "--cases", &cases, "--json"]).await;

        let tested = tested.expect_code(0).json();
        assert_eq!(tested["failed"], 0, "{plugin}");
        assert!(tested["passed"].as_u64().is_some_and(|count| count > 1), "{tested}");
        tried += 1;
    }
    assert!(tried >= 8, "the corpus holds every bundled plugin of every version, found {tried}");
}

#[tokio::test]
async fn a_hostile_plugin_of_every_version_is_still_stopped() {
    let home = home();
    for plugin in plugins().iter().filter(|path| path.with_extension("").ends_with(HOSTILE)) {
        for (behavior, reason) in
            [("grow", "out_of_memory"), ("recurse", "trap"), ("panic", "trap")]
        {
            let plugin = plugin.display().to_string();
            let parameter = format!("behavior={behavior}");

            let ran = home.run(["plugin", "run", &plugin, "--param", &parameter, "--json"]).await;

            let answer: Value = ran.expect_code(1).json();
            assert_eq!(answer["error"]["kind"], "host", "{behavior}: {answer}");
            assert_eq!(answer["error"]["reason"], reason, "{behavior}: {answer}");
        }
    }
}
