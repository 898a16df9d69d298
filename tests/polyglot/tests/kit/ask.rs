//! The host with the kit's plugins of one language, and its answers as JSON.

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use caelum_core::plugin::PluginKind;
use caelum_plugin_host::{
    BundledPlugin, CallControl, CallReport, Called, Limits, Options, Plugin, Plugins,
};
use caelum_polyglot::{Language, PATTERN, VALIDATOR};
use serde_json::{Value, json};

use crate::case::Given;
use crate::shown;

/// The kit in one language.
pub(crate) struct Kit {
    pub(crate) plugins: Plugins,
    pub(crate) validator: Arc<Plugin>,
    pub(crate) pattern: Arc<Plugin>,
}

impl Kit {
    /// Loads the kit. Time is generous, for the machine may be busy; memory and everything else is the default.
    pub(crate) async fn of(language: Language) -> Self {
        let plugins = load(language, &[VALIDATOR, PATTERN]).await;
        let find = |kind, name| {
            plugins.find(kind, name).unwrap_or_else(|error| panic!("{language}: {error}"))
        };
        let validator = find(PluginKind::Validator, VALIDATOR);
        let pattern = find(PluginKind::Pattern, PATTERN);
        Self { plugins, validator, pattern }
    }

    /// Asks the validator.
    pub(crate) async fn judge(&self, given: &Given) -> (Value, CallReport) {
        let control = CallControl::default();
        let (tree, evidence) = (given.tree(), given.evidence());
        let called = self
            .plugins
            .judge(&self.validator, &evidence, None, tree, &given.parameters, control)
            .await;
        told(called, shown::verdict)
    }

    /// Asks the pattern for both its answers.
    pub(crate) async fn propose(&self, given: &Given) -> Value {
        let (parameters, context) = (&given.parameters, &given.context);
        let control = CallControl::default;
        let assessed = self
            .plugins
            .validate(&self.pattern, given.tree(), parameters, context, control())
            .await;
        let planned =
            self.plugins.plan(&self.pattern, given.tree(), parameters, context, control()).await;
        json!({
            "validate": told(assessed, shown::assessment).0,
            "plan": told(planned, shown::plan).0,
        })
    }
}

/// Loads plugins of the kit.
async fn load(language: Language, names: &[&str]) -> Plugins {
    let files: Vec<PathBuf> = names.iter().map(|name| language.component(name)).collect();
    load_files(&files).await
}

/// Loads components, which must all be accepted.
pub(crate) async fn load_files(files: &[PathBuf]) -> Plugins {
    let plugins = open(files).await;
    if let Some(refused) = plugins.snapshot().refused.first() {
        panic!("{refused}");
    }
    plugins
}

/// Loads components.
pub(crate) async fn open(files: &[PathBuf]) -> Plugins {
    let bundled = files
        .iter()
        .map(|file| BundledPlugin {
            name: file.display().to_string(),
            bytes: Cow::Owned(fs::read(file).expect("it can be read")),
        })
        .collect();
    let limits = Limits {
        call_deadline: Duration::from_secs(60),
        instantiate_deadline: Duration::from_secs(60),
        describe_deadline: Duration::from_secs(60),
        ..Limits::default()
    };
    // Compiling a language's runtime takes ten seconds and more, so that the code is kept from one run to the next.
    // The journeys through the real program keep theirs in the same place.
    let test = std::env::current_exe().expect("a running test knows its own path");
    let cache = test.parent().expect("a file lies in a folder").join("journeys-plugin-cache");
    let options = Options { limits, cache_directory: Some(cache), ..Options::default() };
    Plugins::open(options, bundled).await.expect("the options are legal")
}

/// Shows an answer with what was said on the way, or why there is none.
pub(crate) fn told<T>(called: Called<T>, show: impl FnOnce(T) -> Value) -> (Value, CallReport) {
    let log: Vec<Value> = called
        .report
        .logs
        .lines
        .iter()
        .map(|line| json!({"level": format!("{:?}", line.level), "message": line.message}))
        .collect();
    let answer = match called.outcome {
        Ok(answer) => json!({"answer": show(answer), "log": log}),
        Err(error) => json!({"refused": error.to_string(), "log": log}),
    };
    (answer, called.report)
}
