//! Our host as the server uses it: every limit on, compiling in a process of its own, called from asynchronous code.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use caelum_core::clock::Timestamp;
use caelum_core::evidence::{Evidence, Verdict};
use caelum_core::id::{Digest, MachineId};
use caelum_core::plugin::PluginKind;
use caelum_core::task::{OutcomeStatus, Output, TaskOutcome};
use caelum_core::tree::MapTree;
use caelum_plugin_host::{BundledPlugin, CallControl, Called, Compiler, Options, Plugin, Plugins};
use serde_json::{Map, json};
use tokio::runtime::Runtime;

/// The validator that is asked where the language does not matter: a first-party one, written with the sdk.
pub(crate) const VALIDATOR: &str = "command-succeeded";

/// Returns the component of [`VALIDATOR`].
pub(crate) fn component() -> &'static [u8] {
    let mut bundled = caelum_plugin_bundle::bundled().iter();
    bundled.find(|plugin| plugin.id == VALIDATOR).expect("it is bundled").bytes
}

/// Returns what a step leaves behind whose one program went well.
pub(crate) fn evidence() -> Evidence {
    let outcome = TaskOutcome {
        status: OutcomeStatus::Succeeded,
        exit_code: Some(0),
        signal: None,
        started_at: Timestamp::EPOCH,
        ended_at: Timestamp::from_micros(1_000_000),
        stdout: Output { text: "done\n".to_owned(), total_bytes: 5, truncated: false },
        stderr: Output::default(),
        outputs: Map::new(),
        collected: vec![],
        failure: None,
    };
    Evidence {
        execution_id: "e1".parse().expect("an id"),
        step_id: "test".parse().expect("an id"),
        attempt: 1,
        started_at: Timestamp::EPOCH,
        performer: None,
        outcomes: vec![(MachineId::local(), outcome)],
        probes: vec![],
        reviews: vec![],
        files: vec![],
        subject_digest: Digest::from_bytes(&[7; 32]),
    }
}

/// Returns options of a server.
pub(crate) fn options() -> Options {
    let program = env!("CARGO_BIN_EXE_caelum-plugin-compile").into();
    Options { compiler: Compiler::Child { program, arguments: vec![] }, ..Options::default() }
}

/// A host with one validator.
pub(crate) struct Hosted {
    runtime: Arc<Runtime>,
    plugins: Plugins,
    plugin: Arc<Plugin>,
    evidence: Evidence,
}

impl Hosted {
    /// A host that has the component as its own.
    pub(crate) fn bundled(component: &'static [u8], options: Options) -> Self {
        let guest = BundledPlugin { name: VALIDATOR.to_owned(), bytes: Cow::Borrowed(component) };
        let runtime = Arc::new(Runtime::new().expect("threads"));
        Hosted::open(runtime, options, vec![guest], VALIDATOR)
    }

    /// A host that finds the validator in a folder, and its code in a cache when it is there.
    pub(crate) fn found(runtime: Arc<Runtime>, folder: &Path, cache: &Path, name: &str) -> Self {
        let options = Options {
            directory: Some(folder.to_owned()),
            cache_directory: Some(cache.to_owned()),
            ..options()
        };
        Hosted::open(runtime, options, vec![], name)
    }

    fn open(
        runtime: Arc<Runtime>,
        options: Options,
        bundled: Vec<BundledPlugin>,
        name: &str,
    ) -> Self {
        let plugins =
            runtime.block_on(Plugins::open(options, bundled)).expect("the options are legal");
        let plugin = plugins.find(PluginKind::Validator, name).unwrap_or_else(|unknown| {
            panic!("{unknown}; refused: {:?}", plugins.snapshot().refused)
        });
        Hosted { runtime, plugins, plugin, evidence: evidence() }
    }

    /// One call, as a gate makes it.
    pub(crate) fn check(&self) -> Called<Verdict> {
        let tree = Arc::new(MapTree::new());
        let parameters = json!({});
        let call = self.plugins.judge(
            &self.plugin,
            &self.evidence,
            None,
            tree,
            &parameters,
            CallControl::default(),
        );
        let called = self.runtime.block_on(call);
        if let Err(error) = &called.outcome {
            panic!("{error}");
        }
        called
    }
}
