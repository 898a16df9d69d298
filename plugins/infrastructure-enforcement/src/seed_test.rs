//! IE05: a test that shows that the start-up checks can fail. Written once, in the component's own language; people
//! look after it from then on.

use std::collections::BTreeMap;

use caelum_plugin_component::Inventory;
use caelum_plugin_syntax::project::is_test;
use caelum_sdk::{Edit, Ownership, PluginError, Target};
use serde_json::Value;

use crate::IE05;
use crate::facts::Facts;
use crate::outcome::Outcome;
use crate::preflight;

/// How many tests are looked through for one that exercises the checks.
const TESTS_MAX: usize = 100;
/// How many bytes of tests are looked through.
const TEST_BYTES_MAX: u64 = 1024 * 1024;

/// Looks for a test.
pub(crate) fn look(
    target: &dyn Target,
    inventory: &Inventory,
    facts: &Facts,
    outcome: &mut Outcome,
) -> Result<(), PluginError> {
    outcome.looked(IE05);
    if exists(target, inventory) {
        return Ok(());
    }
    let (path, text) = seed(target, inventory, facts);
    let number = outcome.note(
        IE05.finding("no test shows that the start-up checks can fail").about("test").remediation(
            format!(
                "Add a test that takes something away and sees `{}` fail, as proposed.",
                preflight::PATH
            ),
        ),
    );
    let edit = Edit::create(&path, text).safe().owned(Ownership::Seed);
    outcome.change(edit.because("shows that the start-up checks can fail"), vec![number]);
    Ok(())
}

/// Answers whether a test speaks of the checks. One that says so in its name is enough.
pub(crate) fn exists(target: &dyn Target, inventory: &Inventory) -> bool {
    let tests = || {
        let files = inventory.files.iter().zip(&inventory.sizes);
        files.filter(|(path, _)| is_test(path) || path.starts_with(".caelum/test"))
    };
    let named = |path: &str| path.contains("preflight") && path.contains("caelum");
    if tests().any(|(path, _)| named(path)) {
        return true;
    }
    let mut left = TEST_BYTES_MAX;
    tests().take(TESTS_MAX).any(|(path, size)| match left.checked_sub(*size) {
        Some(rest) => {
            left = rest;
            target.read_text(path).unwrap_or_default().contains("preflight")
        }
        None => false,
    })
}

/// Returns the place and the text of the test that fits the component.
fn seed(target: &dyn Target, inventory: &Inventory, facts: &Facts) -> (String, &'static str) {
    let has = |kind: &str| facts.kinds.contains(&kind);
    let python_tests =
        busiest(inventory, |name| name.starts_with("test_") && name.ends_with(".py"));
    let at_root = |name: &str| inventory.has(name);
    let python_project = ["pyproject.toml", "requirements.txt", "setup.py", "setup.cfg"]
        .iter()
        .any(|name| at_root(name));
    let path = |directory: &str, name: &str| match directory {
        "" => name.to_owned(),
        directory => format!("{directory}/{name}"),
    };
    let python = python_tests.or_else(|| python_project.then(|| "tests".to_owned()));
    let choice = if let Some(directory) = python.filter(|_| has("python")) {
        (
            path(&directory, "test_caelum_preflight.py"),
            include_str!("templates/test_caelum_preflight.py"),
        )
    } else if has("node") && uses_node_test(target) {
        let directory =
            busiest(inventory, |name| name.contains(".test.")).unwrap_or_else(|| "test".to_owned());
        (
            path(&directory, "caelum-preflight.test.mjs"),
            include_str!("templates/caelum-preflight.test.mjs"),
        )
    } else if has("rust") && is_package(target) {
        ("tests/caelum_preflight.rs".to_owned(), include_str!("templates/caelum_preflight.rs"))
    } else {
        (".caelum/test-preflight.sh".to_owned(), include_str!("templates/test-preflight.sh"))
    };
    if inventory.has(&choice.0) {
        // Somebody has a file of that name for something else.
        return (
            ".caelum/test-preflight.sh".to_owned(),
            include_str!("templates/test-preflight.sh"),
        );
    }
    choice
}

/// Returns the directory that holds most tests.
fn busiest(inventory: &Inventory, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for path in &inventory.files {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        if is_wanted(name) {
            *counts.entry(directory).or_default() += 1;
        }
    }
    let most = counts.values().max().copied()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(directory, _)| directory.to_owned())
}

/// Answers whether the package's tests are run by Node.js itself: other runners would stumble over such a test.
fn uses_node_test(target: &dyn Target) -> bool {
    let text = target.read_text("package.json").unwrap_or_default();
    let Ok(package) = serde_json::from_str::<Value>(&text) else { return false };
    let script = package.pointer("/scripts/test").and_then(Value::as_str);
    script.is_some_and(|script| script.contains("node --test"))
}

/// Answers whether the root is a crate, and not only a workspace.
fn is_package(target: &dyn Target) -> bool {
    target
        .read_text("Cargo.toml")
        .unwrap_or_default()
        .lines()
        .any(|line| line.trim() == "[package]")
}
