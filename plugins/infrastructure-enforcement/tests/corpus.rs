//! Runs over every component of a corpus of real ones: the pattern is at rest after its own plan, and changes nothing
//! of the component's own.
//!
//! The corpus lies outside of the repository; `CAELUM_CORPUS` names its directory. Without it the test says so and
//! ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use caelum_sdk::testing::{Applied, FakeTarget, check_plan, plan, validate};
use caelum_sdk::{Context, Finding, Risk, Target};
use infrastructure_enforcement::InfrastructureEnforcement;
use serde_json::json;

/// Returns every directory that holds something to look at, and all above it.
fn components(root: &Path) -> BTreeSet<PathBuf> {
    fn walk(directory: &Path, root: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in std::fs::read_dir(directory).expect("can be listed").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                walk(&path, root, found);
            } else if name.contains("Dockerfile")
                || name.ends_with(".yaml")
                || name.ends_with(".yml")
            {
                found.extend(
                    path.ancestors().skip(1).take_while(|above| *above != root).map(Path::to_owned),
                );
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(root, root, &mut found);
    found
}

/// Without the changes that need review, the pattern is at rest, too, and finds nothing new.
fn without_review(target: &FakeTarget, applied: &Applied, directory: &Path) {
    let mut safe = applied.plan.clone();
    safe.edits.retain(|edit| edit.risk == Risk::Safe);
    let after = target.apply(&safe).expect("can be applied");
    let again =
        plan::<InfrastructureEnforcement>(&after, json!({}), &Context::default()).expect("a plan");
    let left: Vec<_> = again.edits.iter().filter(|edit| edit.risk == Risk::Safe).collect();
    assert!(left.is_empty(), "{}: {left:#?}", directory.display());
    let known: BTreeSet<String> =
        applied.before.findings().iter().map(Finding::fingerprint).collect();
    let findings = validate::<InfrastructureEnforcement>(&after, json!({}), &Context::default())
        .expect("an answer");
    for finding in findings.findings() {
        assert!(known.contains(&finding.fingerprint()), "{}: {finding:#?}", directory.display());
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "says that the test did not run, and what it counted")]
fn every_real_component_converges_and_keeps_its_files() {
    let Some(corpus) = std::env::var_os("CAELUM_CORPUS") else {
        eprintln!("skipped: CAELUM_CORPUS names no directory with real components");
        return;
    };
    let components = components(Path::new(&corpus));
    let mut rules: BTreeMap<String, u32> = BTreeMap::new();
    let (mut safe, mut review) = (0, 0);
    for directory in &components {
        let target = FakeTarget::from_directory(directory);
        let applied =
            check_plan::<InfrastructureEnforcement>(&target, json!({}), &Context::default());
        without_review(&target, &applied, directory);
        for finding in applied.before.findings() {
            *rules.entry(format!("{} {:?}", finding.rule, finding.severity)).or_default() += 1;
        }
        safe += applied.plan.edits.iter().filter(|edit| edit.risk == Risk::Safe).count();
        review += applied.plan.edits.iter().filter(|edit| edit.risk == Risk::Review).count();
        // Whatever was there stays byte for byte as it was.
        for path in target.paths() {
            let read = |target: &FakeTarget| target.read_all(path).expect("is there");
            assert_eq!(read(&target), read(&applied.target), "{}/{path}", directory.display());
        }
    }
    eprintln!("{} components, {safe} safe edits, {review} for review, {rules:?}", components.len());
    assert!(safe > 20, "the corpus is not what was expected");
}
