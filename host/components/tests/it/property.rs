//! Random components and random plans: what must hold for all of them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use caelum_components::{OverlayTree, StageLimits, stage};
use caelum_core::pattern::{Change, Replacement};
use caelum_core::tree::Tree;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::sample::{Sample, copy, hash, id, plan, shown, source};

const PATHS: [&str; 8] =
    ["a.txt", "dir/b", "dir/deep/c.yml", "sp ace/f ile", "qu\"ote", "ünï/ç", "z", "dir/d.sh"];

/// What may happen to one path.
#[derive(Debug, Clone)]
enum Act {
    Nothing,
    Change(Vec<(prop::sample::Index, prop::sample::Index, String)>),
    Delete,
    Rename,
    Create(String),
}

fn text() -> impl Strategy<Value = String> {
    vec("[a-zäö€😀 \r]{0,6}", 0..8).prop_flat_map(|lines| {
        prop_oneof![Just(lines.join("\n")), Just(lines.join("\n") + "\n"), Just(lines.join("\r\n"))]
    })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::Nothing),
        vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[xyzß\n]{0,5}"), 1..4)
            .prop_map(Act::Change),
        Just(Act::Delete),
        Just(Act::Rename),
        text().prop_map(Act::Create),
    ]
}

fn ranges(
    text: &str,
    wanted: &[(prop::sample::Index, prop::sample::Index, String)],
) -> Vec<Replacement> {
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut found: Vec<Replacement> = wanted
        .iter()
        .map(|(one, other, new)| {
            let (one, other) = (ends[one.index(ends.len())], ends[other.index(ends.len())]);
            Replacement {
                start: one.min(other) as u64,
                end: one.max(other) as u64,
                text: new.clone(),
            }
        })
        .collect();
    found.sort_by_key(|range| (range.start, range.end));
    let mut kept: Vec<Replacement> = Vec::new();
    for range in found {
        if kept.last().is_none_or(|last| last.end <= range.start && last.start < range.start) {
            kept.push(range);
        }
    }
    kept
}

fn changes(files: &[Option<String>], acts: &[Act]) -> Vec<Change> {
    let paths = PATHS.iter().enumerate();
    paths
        .filter_map(|(index, path)| {
            let path = (*path).to_owned();
            match (&files[index], &acts[index]) {
                (Some(text), Act::Change(wanted)) => Some(Change::Replace {
                    path,
                    base_sha256: hash(text.as_bytes()),
                    ranges: ranges(text, wanted),
                }),
                (Some(text), Act::Delete) => {
                    Some(Change::Delete { path, base_sha256: hash(text.as_bytes()) })
                }
                (Some(text), Act::Rename) => Some(Change::Rename {
                    source: path,
                    destination: format!("moved/{index}/it"),
                    base_sha256: hash(text.as_bytes()),
                }),
                (None, Act::Create(text)) => {
                    Some(Change::Create { path, content: text.clone().into_bytes() })
                }
                _ => None,
            }
        })
        .collect()
}

fn sample(files: &[Option<String>]) -> Sample {
    let files: Vec<(&str, &[u8])> = PATHS
        .iter()
        .zip(files)
        .filter_map(|(path, text)| Some((*path, text.as_ref()?.as_bytes())))
        .collect();
    Sample::new(&files)
}

/// Applies a diff with git in a copy of a component.
fn git_apply(folder: &Path, diff: &str) {
    let file = folder.with_extension("diff");
    fs::write(&file, diff).expect("writes");
    let output = Command::new("git")
        .args(["apply", "--whitespace=nowarn", "--unidiff-zero"])
        .arg(&file)
        .current_dir(folder)
        // Not within the repository that these tests may run in.
        .env("GIT_CEILING_DIRECTORIES", folder.parent().expect("has one"))
        .stdin(Stdio::null())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "{}\n{diff}", String::from_utf8_lossy(&output.stderr));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_applied_is_what_was_shown_and_can_be_taken_back(
        files in vec(proptest::option::of(text()), PATHS.len()),
        acts in vec(act(), PATHS.len()),
    ) {
        let sample = sample(&files);
        let disk = || -> Arc<dyn Tree> { sample.component.tree() };
        let before = shown(&disk());
        let changes = changes(&files, &acts);
        let staged = stage(&*disk(), &plan(changes), &StageLimits::default()).expect("a good plan");
        let overlay: Arc<dyn Tree> = Arc::new(OverlayTree::new(disk(), &staged));
        let planned = shown(&overlay);
        let diff = staged.diff();
        prop_assert_eq!(diff.text.is_empty(), staged.is_empty());
        let copied = tempfile::tempdir().expect("temporary directory");
        copy(sample.root.path(), &copied.path().join("c"));

        let applied = sample.components.apply(&sample.component, &id("a"), &source("p", "1"), &staged).expect("applies");

        prop_assert_eq!(applied.files.len(), staged.files().len());
        prop_assert_eq!(&shown(&disk()), &planned);
        if !staged.is_empty() {
            git_apply(&copied.path().join("c"), &diff.text);
            let by_git = files_of(&copied.path().join("c"));
            let by_us: Vec<_> = planned.into_iter().filter(|(_, kind, _)| *kind == caelum_core::tree::EntryKind::File).map(|(path, _, bytes)| (path, bytes)).collect();
            prop_assert_eq!(by_git, by_us);
            sample.components.revert(&id("a")).expect("reverts");
        }
        prop_assert_eq!(shown(&disk()), before);
        prop_assert!(!sample.exists(".caelum"));
    }
}

fn files_of(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("lists").map(|entry| entry.expect("lists")) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("beneath").to_str().expect("UTF-8");
                files.push((name.to_owned(), fs::read(&path).expect("reads")));
            }
        }
    }
    files.sort();
    files
}
