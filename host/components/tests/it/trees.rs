//! Trees over real directories: nothing leaves, no link is followed, nothing blocks.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Arc;

use caelum_components::OverlayTree;
use caelum_core::tree::{EntryKind, Tree, TreeError};

use crate::sample::{Sample, create, delete};

fn hostile() -> (tempfile::TempDir, Sample) {
    let outside = tempfile::tempdir().expect("temporary directory");
    fs::write(outside.path().join("secret"), "secret").expect("writes");
    let sample = Sample::new(&[("dir/file", b"inside"), ("top", b"0123456789")]);
    let root = sample.root.path();
    symlink(outside.path(), root.join("out")).expect("links");
    symlink(outside.path().join("secret"), root.join("secret")).expect("links");
    symlink("top", root.join("alias")).expect("links");
    symlink("dir", root.join("dir-alias")).expect("links");
    let pipe = Command::new("mkfifo").arg(root.join("pipe")).status().expect("mkfifo runs");
    assert!(pipe.success());
    (outside, sample)
}

#[test]
fn links_are_shown_and_never_followed() {
    let (_outside, sample) = hostile();
    let tree = sample.component.tree();

    let kinds: Vec<(String, EntryKind)> = tree
        .entries("", 10)
        .expect("lists")
        .into_iter()
        .map(|entry| (entry.path, entry.kind))
        .collect();
    let expected = [
        ("alias", EntryKind::Symlink),
        ("dir", EntryKind::Directory),
        ("dir-alias", EntryKind::Symlink),
        ("out", EntryKind::Symlink),
        ("pipe", EntryKind::Other),
        ("secret", EntryKind::Symlink),
        ("top", EntryKind::File),
    ];
    assert_eq!(kinds, expected.map(|(path, kind)| (path.to_owned(), kind)));
    for path in ["secret", "alias", "out/secret", "dir-alias/file"] {
        let error = tree.read(path, 0, 100).expect_err(path);
        assert!(matches!(error, TreeError::Denied { .. }), "{path}: {error}");
    }
    for path in ["out", "dir-alias", "out/secret"] {
        let error = tree.entries(path, 100).expect_err(path);
        assert!(matches!(error, TreeError::Denied { .. }), "{path}: {error}");
    }
    assert_eq!(tree.metadata("secret").expect("is shown").kind, EntryKind::Symlink);
    let error = tree.metadata("out/secret").expect_err("passes through a link");
    assert_eq!(error.to_string(), "`out/secret` may not be read: `out` is a symbolic link");
}

#[test]
fn paths_that_leave_are_refused_before_anything_is_opened() {
    let (_outside, sample) = hostile();
    let tree = sample.component.tree();

    for path in ["../top", "/etc/passwd", "dir/../top", "dir//file", "./top", "a\0b", "dir/"] {
        assert!(matches!(tree.read(path, 0, 1), Err(TreeError::Denied { .. })), "{path:?}");
        assert!(matches!(tree.metadata(path), Err(TreeError::Denied { .. })), "{path:?}");
        assert!(matches!(tree.entries(path, 1), Err(TreeError::Denied { .. })), "{path:?}");
    }
}

#[test]
fn every_wrong_question_has_its_own_answer() {
    let (_outside, sample) = hostile();
    let tree = sample.component.tree();

    assert!(matches!(tree.read("dir", 0, 1), Err(TreeError::NotAFile { .. })));
    assert!(matches!(tree.read("pipe", 0, 1), Err(TreeError::NotAFile { .. })));
    assert!(matches!(tree.read("nowhere", 0, 1), Err(TreeError::NotFound { .. })));
    assert!(matches!(tree.read("top/x", 0, 1), Err(TreeError::NotFound { .. })));
    assert!(matches!(tree.metadata("top/x"), Err(TreeError::NotFound { .. })));
    assert!(matches!(tree.entries("top", 1), Err(TreeError::NotADirectory { .. })));
    assert!(matches!(tree.entries("", 6), Err(TreeError::TooManyEntries { max: 6, .. })));
    assert_eq!(tree.entries("", 7).expect("seven fit").len(), 7);
}

#[test]
fn reads_give_exactly_what_is_there() {
    let (_outside, sample) = hostile();
    let tree = sample.component.tree();

    assert_eq!(tree.read("top", 2, 3).expect("inside"), b"234");
    assert_eq!(tree.read("top", 8, 100).expect("to the end"), b"89");
    assert_eq!(tree.read("top", 10, 1).expect("at the end"), b"");
    assert_eq!(tree.read("top", u64::MAX, usize::MAX).expect("far beyond"), b"");
    assert_eq!(tree.read("dir/file", 0, usize::MAX).expect("whole"), b"inside");
}

#[test]
fn an_overlay_hides_what_goes_and_shows_what_comes() {
    let sample = Sample::new(&[("dir/gone", b"x"), ("stays", b"y")]);
    let staged = sample.stage(vec![delete("dir/gone", "x"), create("new/deep/file", "z")]);
    let overlay = OverlayTree::new(sample.component.tree(), &staged);
    let names = |path: &str, max| {
        overlay
            .entries(path, max)
            .map(|entries| entries.into_iter().map(|entry| entry.path).collect::<Vec<_>>())
    };

    assert_eq!(names("", 3).expect("three"), ["dir", "new", "stays"]);
    assert!(matches!(names("", 2), Err(TreeError::TooManyEntries { max: 2, .. })));
    assert_eq!(names("dir", 0).expect("empty now"), [""; 0]);
    assert_eq!(names("new", 1).expect("one"), ["new/deep"]);
    assert!(matches!(names("new/deep/file", 1), Err(TreeError::NotADirectory { .. })));
    assert!(matches!(overlay.read("dir/gone", 0, 1), Err(TreeError::NotFound { .. })));
    assert!(matches!(overlay.read("new", 0, 1), Err(TreeError::NotAFile { .. })));
    assert!(matches!(overlay.read("new/deep/file/x", 0, 1), Err(TreeError::NotFound { .. })));
    assert_eq!(overlay.read("new/deep/file", 0, 9).expect("new"), b"z");
    assert_eq!(overlay.read("stays", 0, 9).expect("old"), b"y");
    assert!(!sample.exists("new"), "nothing was written");
}

#[test]
fn a_second_plan_is_staged_on_the_overlay_of_the_first() {
    let sample = Sample::new(&[("a", b"one")]);
    let first = sample.stage(vec![create("b", "two")]);
    let overlay: Arc<dyn Tree> = Arc::new(OverlayTree::new(sample.component.tree(), &first));
    let again = crate::sample::plan(vec![create("b", "two")]);

    let problems = caelum_components::stage(&*overlay, &again, &Default::default())
        .expect_err("it is there already");

    assert!(problems.is_conflict());
    assert_eq!(problems.to_string(), "`b` is there already");
}
