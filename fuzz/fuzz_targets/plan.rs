//! Plans of any kind on trees of any kind: staging refuses, or does exactly what a model of a few lines does.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::Arbitrary;
use caelum_components::{OverlayTree, StageLimits, stage};
use caelum_core::id::Digest;
use caelum_core::pattern::{Change, Edit, Ownership, Plan, Replacement, Risk};
use caelum_core::tree::{MapTree, Tree};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};

/// A path: one of a few, so that edits meet, or any text.
#[derive(Debug, Clone, Arbitrary)]
enum Path {
    Known(u8),
    Wild(String),
}

const KNOWN: [&str; 8] =
    ["a", "b", "dir/a", "dir/b", "dir", "A", "dir/deep/er", ".caelum/patterns.lock.json"];

impl Path {
    fn text(&self) -> String {
        match self {
            Path::Known(which) => KNOWN[usize::from(*which) % KNOWN.len()].to_owned(),
            Path::Wild(text) => text.clone(),
        }
    }
}

#[derive(Debug, Clone, Arbitrary)]
enum Act {
    Create { path: Path, content: Vec<u8> },
    Replace { path: Path, right_hash: bool, ranges: Vec<(u8, u8, String)> },
    Delete { path: Path, right_hash: bool },
    Rename { path: Path, right_hash: bool, to: Path },
}

#[derive(Debug, Arbitrary)]
struct Input {
    files: Vec<(Path, Vec<u8>)>,
    acts: Vec<(Act, u8)>,
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(&Sha256::digest(bytes).into())
}

fn change(act: &Act, files: &BTreeMap<String, Vec<u8>>) -> Change {
    let base = |path: &str, right: bool| match files.get(path) {
        Some(bytes) if right => digest(bytes),
        _ => digest(b"something else"),
    };
    match act {
        Act::Create { path, content } => {
            Change::Create { path: path.text(), content: content.clone() }
        }
        Act::Replace { path, right_hash, ranges } => {
            let path = path.text();
            let ranges = ranges
                .iter()
                .map(|(start, end, text)| Replacement {
                    start: u64::from(*start),
                    end: u64::from(*end),
                    text: text.clone(),
                })
                .collect();
            Change::Replace { base_sha256: base(&path, *right_hash), path, ranges }
        }
        Act::Delete { path, right_hash } => {
            let path = path.text();
            Change::Delete { base_sha256: base(&path, *right_hash), path }
        }
        Act::Rename { path, right_hash, to } => {
            let source = path.text();
            Change::Rename {
                base_sha256: base(&source, *right_hash),
                source,
                destination: to.text(),
            }
        }
    }
}

/// Does what a plan says that was found to be without fault.
fn model(files: &BTreeMap<String, Vec<u8>>, edits: &[Edit]) -> BTreeMap<String, Vec<u8>> {
    let mut after = files.clone();
    let mut ranges: BTreeMap<&str, Vec<&Replacement>> = BTreeMap::new();
    for edit in edits {
        match &edit.change {
            Change::Create { path, content } => {
                after.insert(path.clone(), content.clone());
            }
            Change::Replace { path, ranges: of, .. } => {
                ranges.entry(path).or_default().extend(of);
            }
            Change::Delete { path, .. } => {
                after.remove(path);
            }
            Change::Rename { source, destination, .. } => {
                let bytes = after.remove(source).expect("what moves is there");
                after.insert(destination.clone(), bytes);
            }
        }
    }
    for (path, mut of) in ranges {
        // From the end, so that no range moves another.
        of.sort_by_key(|range| (range.start, range.end));
        let bytes = after.get_mut(path).expect("what changes is there");
        for range in of.into_iter().rev() {
            let range_of = range.start as usize..range.end as usize;
            bytes.splice(range_of, range.text.bytes());
        }
    }
    after
}

fuzz_target!(|input: Input| {
    let mut tree = MapTree::new();
    let mut files = BTreeMap::new();
    for (path, bytes) in &input.files {
        let path = path.text();
        if tree.insert(&path, bytes.as_slice()).is_ok() {
            files.insert(path, bytes.clone());
        }
    }
    let edits: Vec<Edit> = input
        .acts
        .iter()
        .map(|(act, kind)| Edit {
            change: change(act, &files),
            ownership: [Ownership::Managed, Ownership::Block, Ownership::Seed]
                [usize::from(*kind) % 3],
            risk: Risk::Safe,
            resolves: Vec::new(),
            rationale: "fuzzed".to_owned(),
        })
        .collect();
    let plan = Plan { summary: String::new(), edits, next_steps: Vec::new(), findings: Vec::new() };
    let tree: Arc<dyn Tree> = Arc::new(tree);
    let Ok(staged) = stage(tree.as_ref(), &plan, &StageLimits::default()) else { return };

    let expected = model(&files, &plan.edits);
    let overlay = OverlayTree::new(Arc::clone(&tree), &staged);
    for (path, bytes) in &expected {
        let found = overlay.read(path, 0, usize::MAX).expect("what the plan leaves is there");
        assert_eq!(&found, bytes, "`{path}`");
    }
    for path in files.keys().filter(|path| !expected.contains_key(*path)) {
        assert!(overlay.read(path, 0, 1).is_err(), "`{path}` is still there");
    }
    for file in staged.files() {
        assert!(!file.path.starts_with('/') && !file.path.split('/').any(|part| part == ".."));
    }
    assert_eq!(staged.is_empty(), files == expected, "a plan that changes nothing is empty");
    let diff = staged.diff();
    assert_eq!(diff.text.is_empty(), staged.is_empty());
    let _ = staged.digest();
});
