//! Applying, reverting, provenance and drift, one thing at a time.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use caelum_components::{Components, ComponentsError, DriftState, Found, StageLimits, stage};
use caelum_core::pattern::{Change, Ownership};

use crate::sample::{Sample, create, delete, hash, id, owned, replace, source};

fn mode(sample: &Sample, path: &str) -> u32 {
    let metadata = fs::metadata(sample.root.path().join(path)).expect("is there");
    metadata.permissions().mode() & 0o7777
}

#[test]
fn modes_are_kept_and_scripts_are_executable() {
    let sample = Sample::new(&[("run", b"one\n"), ("move", b"m\n")]);
    for (path, mode) in [("run", 0o751), ("move", 0o604)] {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(sample.root.path().join(path), permissions).expect("chmod");
    }
    let rename = Change::Rename {
        source: "move".to_owned(),
        destination: "moved".to_owned(),
        base_sha256: hash(b"m\n"),
    };
    let staged = sample.stage(vec![
        replace("run", "one\n", 0, 3, "two"),
        rename,
        create("script", "#!/bin/sh\n"),
        create("plain", "x"),
    ]);

    sample
        .components
        .apply(&sample.component, &id("a"), &source("p", "1"), &staged)
        .expect("applies");

    assert_eq!((mode(&sample, "run"), mode(&sample, "moved")), (0o751, 0o604));
    assert_eq!(mode(&sample, "script") & 0o100, 0o100);
    assert_eq!(mode(&sample, "plain") & 0o111, 0);
    sample.components.revert(&id("a")).expect("reverts");
    assert_eq!((mode(&sample, "run"), mode(&sample, "move")), (0o751, 0o604));
}

#[test]
fn files_that_changed_since_the_plan_are_all_named_and_nothing_is_written() {
    let sample = Sample::new(&[("a", b"1"), ("b", b"2"), ("c", b"3"), ("d", b"4")]);
    let staged = sample.stage(vec![
        replace("a", "1", 0, 1, "x"),
        delete("b", "2"),
        create("new", "n"),
        replace("c", "3", 0, 1, "y"),
        replace("d", "4", 0, 1, "z"),
    ]);
    sample.write("a", "changed");
    fs::remove_file(sample.root.path().join("b")).expect("removes");
    sample.write("new", "taken");
    fs::remove_file(sample.root.path().join("d")).expect("removes");
    symlink("c", sample.root.path().join("d")).expect("links");

    let error = sample
        .components
        .apply(&sample.component, &id("a"), &source("p", "1"), &staged)
        .expect_err("four conflicts");

    let ComponentsError::Conflict(conflicts) = &error else { panic!("{error}") };
    let found: Vec<(&str, &Found)> =
        conflicts.iter().map(|conflict| (conflict.path.as_str(), &conflict.found)).collect();
    assert_eq!(
        found,
        [
            ("a", &Found::File(hash(b"changed"))),
            ("b", &Found::Nothing),
            ("d", &Found::Other),
            ("new", &Found::File(hash(b"taken"))),
        ]
    );
    assert!(error.to_string().starts_with("4 files changed meanwhile: `a` has "), "{error}");
    assert_eq!(sample.read("c"), "3");
    assert!(!sample.exists(".caelum"));
}

#[test]
fn an_application_is_applied_once_and_reverted_once() {
    let sample = Sample::new(&[("a", b"1")]);
    let staged = sample.stage(vec![replace("a", "1", 0, 1, "2")]);
    let apply = |name: &str| {
        sample.components.apply(&sample.component, &id(name), &source("p", "1"), &staged)
    };
    apply("a").expect("applies");

    let twice = apply("a").expect_err("the id is taken");
    sample.components.revert(&id("a")).expect("reverts");
    let reverted_twice = sample.components.revert(&id("a")).expect_err("reverted");
    let after_revert = apply("a").expect_err("the id is taken for ever");
    let unknown = sample.components.revert(&id("b")).expect_err("unknown");

    assert!(matches!(twice, ComponentsError::AlreadyApplied(_)), "{twice}");
    assert_eq!(reverted_twice.to_string(), "the application `a` is reverted already");
    assert!(matches!(after_revert, ComponentsError::AlreadyApplied(_)), "{after_revert}");
    assert_eq!(unknown.to_string(), "there is no application `b` that could be reverted");
    assert_eq!(sample.read("a"), "1");
}

#[test]
fn reverting_names_every_file_that_changed_since_and_does_nothing() {
    let sample = Sample::new(&[("a", b"1"), ("b", b"2"), ("gone", b"3")]);
    let staged = sample.stage(vec![
        replace("a", "1", 0, 1, "x"),
        replace("b", "2", 0, 1, "y"),
        delete("gone", "3"),
    ]);
    sample
        .components
        .apply(&sample.component, &id("a"), &source("p", "1"), &staged)
        .expect("applies");
    sample.write("a", "mine");
    sample.write("gone", "back again");

    let error = sample.components.revert(&id("a")).expect_err("two conflicts");

    let ComponentsError::Conflict(conflicts) = &error else { panic!("{error}") };
    let paths: Vec<&str> = conflicts.iter().map(|conflict| conflict.path.as_str()).collect();
    assert_eq!(paths, ["a", "gone"]);
    assert_eq!((sample.read("a"), sample.read("b")), ("mine".to_owned(), "y".to_owned()));
    sample.write("a", "x");
    fs::remove_file(sample.root.path().join("gone")).expect("removes");
    sample.components.revert(&id("a")).expect("as it was again");
    assert_eq!((sample.read("a"), sample.read("gone")), ("1".to_owned(), "3".to_owned()));
}

#[test]
fn reverting_survives_a_restart_and_a_lost_directory() {
    let sample = Sample::new(&[("dir/only", b"1")]);
    let staged = sample.stage(vec![delete("dir/only", "1")]);
    sample
        .components
        .apply(&sample.component, &id("a"), &source("p", "1"), &staged)
        .expect("applies");
    fs::remove_dir(sample.root.path().join("dir")).expect("is empty");

    let again = Components::open(&[sample.root.path().to_owned()], None, sample.data.path())
        .expect("opens");
    let reverted = again.revert(&id("a")).expect("reverts");

    assert_eq!(reverted.component, sample.component.path());
    assert_eq!(reverted.files.len(), 1);
    assert_eq!(sample.read("dir/only"), "1");
}

#[test]
fn a_directory_that_became_somebodys_stays_after_reverting() {
    let sample = Sample::new(&[("a", b"1")]);
    let staged = sample.stage(vec![create("new/deep/file", "x")]);
    sample
        .components
        .apply(&sample.component, &id("a"), &source("p", "1"), &staged)
        .expect("applies");
    sample.write("new/mine", "mine");

    sample.components.revert(&id("a")).expect("reverts");

    assert!(!sample.exists("new/deep"));
    assert_eq!(sample.read("new/mine"), "mine");
    assert!(!sample.exists(".caelum"));
}

#[test]
fn the_record_names_what_was_applied_and_goes_with_it() {
    let sample = Sample::new(&[("a", b"1")]);
    let mut first = source("one", "1.0.0");
    first.parameters.insert("port".to_owned(), 8080.into());
    let staged = sample.stage(vec![replace("a", "1", 0, 1, "2"), create("made", "m")]);
    sample.components.apply(&sample.component, &id("a1"), &first, &staged).expect("applies");
    let with_one = sample.read(".caelum/patterns.lock.json");
    assert!(with_one.contains(r#""pattern": "one""#), "{with_one}");
    assert!(with_one.contains(r#""parameters": {"port":8080}"#), "{with_one}");
    let line = format!(
        r#"{{"path":"a","ownership":"managed","base_sha256":"{}","result_sha256":"{}"}},"#,
        hash(b"1"),
        hash(b"2")
    );
    assert!(with_one.lines().any(|one| one.trim() == line), "{with_one}");

    // A second pattern on the same file, then the first one is taken back under it.
    let staged = sample.stage(vec![create("second", "s")]);
    sample
        .components
        .apply(&sample.component, &id("a2"), &source("two", "1.0.0"), &staged)
        .expect("applies");
    sample.components.revert(&id("a1")).expect("reverts");
    let with_two = sample.read(".caelum/patterns.lock.json");
    assert!(!with_two.contains(r#""pattern": "one""#), "{with_two}");
    assert!(with_two.contains(r#""pattern": "two""#), "{with_two}");

    sample.components.revert(&id("a2")).expect("reverts");
    assert!(!sample.exists(".caelum/patterns.lock.json"));
}

#[test]
fn an_unreadable_record_stops_applying_with_a_hint() {
    let sample = Sample::new(&[("a", b"1")]);
    let staged = sample.stage(vec![replace("a", "1", 0, 1, "2")]);
    fs::create_dir(sample.root.path().join(".caelum")).expect("creates");
    sample.write(".caelum/patterns.lock.json", "<<<<<<< HEAD\n");

    let error = sample
        .components
        .apply(&sample.component, &id("a"), &source("p", "1"), &staged)
        .expect_err("no record");

    assert!(matches!(error, ComponentsError::Provenance { .. }), "{error}");
    assert!(error.to_string().contains("hint: restore it from version control"), "{error}");
    assert_eq!(sample.read("a"), "1");
}

#[test]
fn a_linked_record_folder_is_not_followed() {
    let outside = tempfile::tempdir().expect("temporary directory");
    let sample = Sample::new(&[("a", b"1")]);
    symlink(outside.path(), sample.root.path().join(".caelum")).expect("links");
    let plan = crate::sample::plan(vec![replace("a", "1", 0, 1, "2")]);

    let problems =
        stage(&*sample.component.tree(), &plan, &StageLimits::default()).expect_err("a link");

    assert!(problems.to_string().contains("symbolic link"), "{problems}");
    assert_eq!(fs::read_dir(outside.path()).expect("lists").count(), 0);
}

#[test]
fn a_directory_swapped_for_a_link_is_not_written_through() {
    let outside = tempfile::tempdir().expect("temporary directory");
    fs::write(outside.path().join("file"), "1").expect("writes");
    let sample = Sample::new(&[("dir/file", b"1")]);
    let staged = sample.stage(vec![replace("dir/file", "1", 0, 1, "2"), create("dir/new", "n")]);
    fs::rename(sample.root.path().join("dir"), sample.root.path().join("away")).expect("moves");
    symlink(outside.path(), sample.root.path().join("dir")).expect("links");

    let error = sample
        .components
        .apply(&sample.component, &id("a"), &source("p", "1"), &staged)
        .expect_err("a link stands there");

    assert!(matches!(error, ComponentsError::Conflict(_)), "{error}");
    assert_eq!(fs::read_to_string(outside.path().join("file")).expect("reads"), "1");
    assert!(!outside.path().join("new").exists());
}

#[test]
fn seeded_files_are_the_users_from_then_on() {
    let sample = Sample::new(&[]);
    let tree = sample.component.tree();
    let seed = owned(vec![(create("config.yml", "a: 1\n"), Ownership::Seed)]);
    let staged = stage(&*tree, &seed, &StageLimits::default()).expect("good");
    sample
        .components
        .apply(&sample.component, &id("a"), &source("p", "1"), &staged)
        .expect("applies");

    let touch = crate::sample::plan(vec![replace("config.yml", "a: 1\n", 0, 1, "b")]);
    let problems = stage(&*tree, &touch, &StageLimits::default()).expect_err("the user's");
    sample.write("config.yml", "a: 2\n");
    let drift = sample.components.drift(&sample.component, &BTreeMap::new()).expect("reads");

    assert_eq!(
        problems.to_string(),
        "edit 0: `config.yml` was seeded: it is the user's and no plan may touch it"
    );
    assert_eq!(drift[0].state, DriftState::Clean);
}

#[test]
fn drift_tells_the_worst_that_holds_and_names_the_files() {
    let sample = Sample::new(&[("a", b"1"), ("b", b"2")]);
    let staged = sample.stage(vec![replace("a", "1", 0, 1, "x"), replace("b", "2", 0, 1, "y")]);
    sample
        .components
        .apply(&sample.component, &id("a"), &source("p", "1.0.0"), &staged)
        .expect("applies");
    let installed = |version: &str| BTreeMap::from([("p".to_owned(), version.to_owned())]);
    let drift = |installed: BTreeMap<String, String>| {
        sample.components.drift(&sample.component, &installed).expect("reads").remove(0)
    };

    assert_eq!(drift(installed("1.0.0")).state, DriftState::Clean);
    assert_eq!(drift(BTreeMap::new()).state, DriftState::Clean);
    let outdated = drift(installed("1.1.0"));
    assert_eq!(
        (outdated.state, outdated.installed.as_deref()),
        (DriftState::Outdated, Some("1.1.0"))
    );
    sample.write("a", "mine");
    assert_eq!(drift(installed("1.1.0")).state, DriftState::Modified);
    fs::remove_file(sample.root.path().join("b")).expect("removes");
    let worst = drift(installed("1.1.0"));
    assert_eq!(worst.state, DriftState::Missing);
    let files: Vec<(&str, DriftState)> =
        worst.files.iter().map(|file| (file.path.as_str(), file.state)).collect();
    assert_eq!(files, [("a", DriftState::Modified), ("b", DriftState::Missing)]);
}

#[test]
fn a_forgotten_application_cannot_be_reverted_and_leaves_no_bytes() {
    let sample = Sample::new(&[("a", b"1")]);
    let staged = sample.stage(vec![replace("a", "1", 0, 1, "2")]);
    sample
        .components
        .apply(&sample.component, &id("a"), &source("p", "1"), &staged)
        .expect("applies");

    sample.components.forget(&id("a")).expect("forgets");

    let error = sample.components.revert(&id("a")).expect_err("forgotten");
    assert!(matches!(error, ComponentsError::NoSuchApplication(_)), "{error}");
    let blobs = sample.data.path().join("journal/blobs");
    assert_eq!(fs::read_dir(blobs).expect("lists").count(), 0);
    assert_eq!(sample.read("a"), "2");
}

#[test]
fn a_plan_that_changes_nothing_writes_nothing() {
    let sample = Sample::new(&[("a", b"1")]);
    let staged = sample.stage(vec![replace("a", "1", 0, 1, "1")]);

    let applied = sample
        .components
        .apply(&sample.component, &id("a"), &source("p", "1"), &staged)
        .expect("nothing to do");

    assert!(applied.files.is_empty());
    assert!(!sample.exists(".caelum"));
}
