//! The plugins that the server brings along.

use std::borrow::Cow;
use std::sync::Arc;

use caelum_core::plugin::PluginKind;
use caelum_core::tree::MapTree;
use caelum_plugin_bundle::bundled;
use caelum_plugin_host::{CallControl, Limits, Plugins};
use serde_json::json;

use crate::harness::{judge, limits, open};

async fn all() -> Plugins {
    let components =
        bundled().iter().map(|plugin| (plugin.id.to_owned(), Cow::Borrowed(plugin.bytes)));
    // As limits() has it for calls; descriptions as in the server.
    let limits = Limits { describe_deadline: Limits::default().describe_deadline, ..limits() };
    open(limits, components.collect()).await
}

#[tokio::test]
async fn every_bundled_plugin_is_served_under_its_name() {
    let plugins = all().await;

    let snapshot = plugins.snapshot();
    assert!(snapshot.refused.is_empty(), "{:#?}", snapshot.refused);
    for plugin in bundled() {
        let kind = match plugin.world {
            "improvement-pattern" => PluginKind::Pattern,
            _ => PluginKind::Validator,
        };
        plugins.find(kind, plugin.id).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[tokio::test]
async fn no_bundled_validator_passes_a_step_that_ran_nothing() {
    let plugins = all().await;

    for validator in plugins.snapshot().of_kind(PluginKind::Validator) {
        let called =
            judge(&plugins, validator, MapTree::new(), json!({}), CallControl::default()).await;

        if let Ok(verdict) = called.outcome {
            assert_ne!(verdict.kind.as_str(), "pass", "{}: {verdict:#?}", validator.name());
        }
    }
}

#[tokio::test]
async fn every_bundled_pattern_answers_for_an_empty_component_and_plans_the_same_twice() {
    let plugins = all().await;
    let context = json!({ "component": "empty" });

    for pattern in plugins.snapshot().of_kind(PluginKind::Pattern) {
        // A parameter that every component must set itself is the one reason not to answer.
        let parameters = match pattern.name().as_str() {
            "infrastructure-enforcement" => json!({ "component_name": "empty" }),
            _ => json!({}),
        };
        let tree = || Arc::new(MapTree::new());
        let control = CallControl::default;

        let assessed = plugins.validate(pattern, tree(), &parameters, &context, control()).await;
        let first = plugins.plan(pattern, tree(), &parameters, &context, control()).await;
        let second = plugins.plan(pattern, tree(), &parameters, &context, control()).await;

        assert!(assessed.outcome.is_ok(), "{:?}", assessed.outcome);
        assert_eq!(first.outcome, second.outcome);
    }
}
