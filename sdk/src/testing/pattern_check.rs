//! Calls patterns as the host does, and checks what every pattern promises.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::context::Context;
use crate::convert;
use crate::error::PluginError;
use crate::finding::Finding;
use crate::glob::Glob;
use crate::parameters::{parse_parameters, schema};
use crate::pattern::{Assessment, Pattern, assess};
use crate::plan::Plan;

use super::FakeTarget;

/// Calls `validate` as the host does: parameters from JSON, the answer narrowed to the wanted rules.
///
/// # Errors
/// Those of the pattern, and wrong parameters.
pub fn validate<P: Pattern>(
    target: &FakeTarget,
    parameters: Value,
    context: &Context,
) -> Result<Assessment, PluginError> {
    assess::<P>(target, &parse_parameters(&parameters.to_string())?, context)
}

/// Calls `plan` as the host does: parameters from JSON.
///
/// # Errors
/// Those of the pattern, and wrong parameters.
pub fn plan<P: Pattern>(
    target: &FakeTarget,
    parameters: Value,
    context: &Context,
) -> Result<Plan, PluginError> {
    P::plan(target, &parse_parameters(&parameters.to_string())?, context)
}

/// What [`check_plan`] saw.
#[derive(Clone, Debug)]
pub struct Applied {
    /// What the pattern thought before.
    pub before: Assessment,
    /// What it planned.
    pub plan: Plan,
    /// The tree after the plan.
    pub target: FakeTarget,
    /// What the pattern thinks after.
    pub after: Assessment,
}

/// Plans, applies and plans again as the host does, and checks what every pattern promises:
///
/// - the same call gives the same answer;
/// - the plan can be applied: paths, hashes and ranges are right, and every edit has a rationale;
/// - edits resolve findings that exist, and these are gone afterwards;
/// - nothing is found afterwards that was not found before;
/// - the pattern is at rest afterwards: it plans no more edits.
///
/// # Panics
/// When a promise is broken or the pattern answers an error; the message says which and shows the evidence.
#[track_caller]
#[must_use]
pub fn check_plan<P: Pattern>(
    target: &FakeTarget,
    parameters: Value,
    context: &Context,
) -> Applied {
    let id = P::ABOUT.id;
    let validate_once = |target: &FakeTarget, when: &str| {
        validate::<P>(target, parameters.clone(), context)
            .unwrap_or_else(|error| panic!("{id}: validate {when}: {error}"))
    };
    let plan_once = |target: &FakeTarget, when: &str| {
        plan::<P>(target, parameters.clone(), context)
            .unwrap_or_else(|error| panic!("{id}: plan {when}: {error}"))
    };
    let before = validate_once(target, "before the plan");
    let plan = plan_once(target, "the first time");
    assert_eq!(
        validate_once(target, "again"),
        before,
        "{id}: validate answers differently the second time"
    );
    assert_eq!(plan_once(target, "again"), plan, "{id}: plan answers differently the second time");

    let known: BTreeSet<String> =
        before.findings().iter().chain(&plan.findings).map(Finding::fingerprint).collect();
    for edit in &plan.edits {
        assert!(!edit.rationale.is_empty(), "{id}: the edit of `{}` says no reason", edit.path());
        for fingerprint in &edit.resolves {
            assert!(
                known.contains(fingerprint),
                "{id}: the edit of `{}` resolves `{fingerprint}`, which was not found",
                edit.path()
            );
        }
    }
    let applied = target
        .apply(&plan)
        .unwrap_or_else(|error| panic!("{id}: the plan cannot be applied: {error}"));
    let after = validate_once(&applied, "after the plan");
    let left: Vec<_> =
        after.findings().iter().filter(|finding| !known.contains(&finding.fingerprint())).collect();
    assert!(left.is_empty(), "{id}: found only after the plan: {left:#?}");
    let resolved: BTreeSet<&String> = plan.edits.iter().flat_map(|edit| &edit.resolves).collect();
    let left: Vec<_> = after
        .findings()
        .iter()
        .filter(|finding| resolved.contains(&finding.fingerprint()))
        .collect();
    assert!(left.is_empty(), "{id}: still found, though an edit resolves it: {left:#?}");
    let second = plan_once(&applied, "on its own result");
    assert!(
        second.is_empty(),
        "{id}: the plan does not converge, on its own result it edits again: {:#?}",
        second.edits
    );
    Applied { before, plan, target: applied, after }
}

/// Checks what can be checked of a pattern without a tree: identity, rules, globs and the schema, and that empty
/// parameters are either accepted or refused with the reason.
///
/// # Panics
/// When something breaks the contract; the message says what.
#[track_caller]
pub fn check_pattern<P: Pattern>() {
    let about = P::ABOUT;
    check_about(&about, &schema::<P::Parameters>());
    let mut seen = BTreeSet::new();
    for rule in P::RULES {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        assert!(
            (1..=64).contains(&rule.id.len()) && rule.id.bytes().all(good),
            "the rule id `{}` breaks the contract",
            rule.id
        );
        assert!(seen.insert(rule.id), "the rule `{}` stands there twice", rule.id);
        assert!(!rule.title.is_empty(), "the rule `{}` has no title", rule.id);
    }
    for glob in P::APPLIES_TO {
        Glob::new(glob)
            .unwrap_or_else(|error| panic!("`{glob}` in APPLIES_TO is no glob: {error}"));
    }
    let empty: Result<P::Parameters, _> = parse_parameters("{}");
    assert!(
        matches!(empty, Ok(_) | Err(PluginError::InvalidParameters(_))),
        "empty parameters are neither accepted nor refused with a reason"
    );
    let _ = convert::pattern::describe::<P>();
}

/// Checks identity and schema, for patterns and validators alike.
#[track_caller]
pub(super) fn check_about(about: &crate::About, schema: &Value) {
    assert!(about.has_valid_id(), "the id `{}` breaks the contract", about.id);
    assert!(about.has_valid_version(), "the version `{}` is not a semantic version", about.version);
    assert!(
        !about.title.is_empty() && !about.summary.is_empty(),
        "`{}` has no title or no summary",
        about.id
    );
    assert_eq!(
        schema["type"], "object",
        "the parameters of `{}` are no JSON object: {schema}",
        about.id
    );
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let described = property.get("description").is_some() || property.get("$ref").is_some();
        assert!(
            described,
            "the parameter `{name}` of `{}` has no description: give the field a doc comment",
            about.id
        );
    }
}
