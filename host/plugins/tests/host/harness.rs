//! What the tests of the host share: a host with quick limits, evidence, and words for what went wrong.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use caelum_core::clock::Timestamp;
use caelum_core::evidence::{Evidence, Verdict};
use caelum_core::id::{Digest, MachineId};
use caelum_core::plugin::PluginKind;
use caelum_core::tree::{MapTree, Tree};
use caelum_plugin_host::{BundledPlugin, CallControl, Called, Limits, Options, Plugin};
use serde_json::{Value, json};

use crate::watched::Watched;

/// Limits under which a hostile guest is found out quickly.
pub(crate) fn quick() -> Limits {
    Limits {
        call_deadline: Duration::from_millis(200),
        instantiate_deadline: Duration::from_millis(200),
        describe_deadline: Duration::from_millis(200),
        // Most tests misbehave on purpose, again and again.
        strikes_max: 1_000,
        ..Limits::default()
    }
}

/// A host that serves these components.
pub(crate) async fn host(limits: Limits, bundled: &[(&str, Vec<u8>)]) -> Watched {
    let bundled = bundled
        .iter()
        .map(|(name, bytes)| BundledPlugin {
            name: (*name).to_owned(),
            bytes: Cow::Owned(bytes.clone()),
        })
        .collect();
    let options = Options { limits, ..Options::default() };
    Watched::open(options, bundled).await.expect("the options are legal")
}

/// A host that serves one validator, and the validator.
pub(crate) async fn serving(limits: Limits, component: Vec<u8>) -> (Watched, Arc<Plugin>) {
    let plugins = host(limits, &[("guest", component)]).await;
    if let Some(refused) = plugins.snapshot().refused.first() {
        panic!("{refused}");
    }
    let plugin = plugins.find(PluginKind::Validator, "guest").expect("it is served");
    (plugins, plugin)
}

/// Evidence of nothing.
pub(crate) fn evidence() -> Evidence {
    Evidence {
        execution_id: "e1".parse().expect("an id"),
        step_id: "test".parse().expect("an id"),
        attempt: 1,
        started_at: Timestamp::from_micros(1_700_000_000_000_000),
        performer: None,
        outcomes: vec![],
        probes: vec![],
        reviews: vec![],
        files: vec![],
        subject_digest: Digest::from_bytes(&[7; 32]),
    }
}

/// Evidence with one collected file.
pub(crate) fn evidence_with(path: &str, text: &str) -> Evidence {
    let file = caelum_core::evidence::EvidenceFile {
        path: path.to_owned(),
        text: text.to_owned(),
        total_bytes: text.len() as u64,
        truncated: false,
    };
    Evidence { files: vec![(MachineId::local(), file)], ..evidence() }
}

/// Asks a validator about nothing.
pub(crate) async fn judge(plugins: &Watched, plugin: &Arc<Plugin>) -> Called<Verdict> {
    judge_in(plugins, plugin, Arc::new(MapTree::new())).await
}

/// Asks a validator about a tree.
pub(crate) async fn judge_in(
    plugins: &Watched,
    plugin: &Arc<Plugin>,
    tree: Arc<dyn Tree>,
) -> Called<Verdict> {
    judge_with(plugins, plugin, tree, &json!({}), CallControl::default()).await
}

/// Asks a validator with everything.
pub(crate) async fn judge_with(
    plugins: &Watched,
    plugin: &Arc<Plugin>,
    tree: Arc<dyn Tree>,
    parameters: &Value,
    control: CallControl,
) -> Called<Verdict> {
    plugins.judge(plugin, &evidence(), None, tree, parameters, control).await
}

/// What a call that had to fail says.
pub(crate) fn told<T: std::fmt::Debug>(called: Called<T>) -> String {
    called.outcome.expect_err("it had to fail").to_string()
}
