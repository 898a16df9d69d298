//! What plugins may do is the operator's word: no tool changes it, whatever it is asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use caelum_workflow::trust::Scope;
use serde_json::json;

use crate::World;
use crate::bystander::Bystander;

/// Everything beneath a directory, with its content.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(directory) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).expect("reads"));
        }
    }
    found
}

/// Test 66 of the plugin host's security tests.
#[tokio::test]
async fn no_tool_changes_what_plugins_may_do() {
    let world = Arc::new(World::new().await);
    let bystander = {
        let world = Arc::clone(&world);
        Bystander::start(move || {
            std::hint::black_box(world.core.toolset.tools(Scope::Read).count());
        })
    };
    let data = world.root().parent().expect("the world's directory").join("data");
    let word = || (content(&data.join("plugins")), content(&data.join("plugin-trust")));
    let before = (world.core.engine.plugins_loaded().await, word());
    let lock = data.join("plugin-trust/plugins.lock");
    let digest = before.0.plugins[0].pinned.digest.to_string();

    let names: Vec<String> =
        world.core.toolset.tools(Scope::Admin).map(|tool| tool.name.to_string()).collect();
    for tool in names {
        for word in ["grant", "pin", "trust", "quarantine", "plugin_load", "install"] {
            assert!(!tool.contains(word), "`{tool}` sounds as if it changed what plugins may do");
        }
        // Whatever of this a tool understands, it must not be about rights.
        for arguments in [
            json!({}),
            json!({"plugin": digest, "pinned": true, "grant": ["**"], "quarantined": null}),
            json!({"pattern_name": "../plugin-trust/plugins.lock", "target_component": data, "parameters": {"pin": digest}}),
            json!({"workflow_id": "x", "name": "x", "steps": [], "plugins_lock": lock, "plugin_trust": "open"}),
            json!({"path": lock, "workflow_id": "x", "format": "json"}),
        ] {
            let (world, tool) = (Arc::clone(&world), tool.clone());
            bystander.serve(async move { world.call(&tool, arguments).await.ok() }).await;
        }
    }

    let after = (world.core.engine.plugins_loaded().await, word());
    assert_eq!(after, before);
}
