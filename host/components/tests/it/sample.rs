//! A component on disk with its own data directory, and short ways to write plans.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use caelum_components::{Component, Components, Source, StageLimits, StagedPlan, stage};
use caelum_core::id::{ApplicationId, Digest};
use caelum_core::pattern::{Change, Edit, Ownership, Plan, Replacement, Risk};
use caelum_core::tree::{EntryKind, Tree};
use sha2::Digest as _;
use tempfile::TempDir;

pub(crate) struct Sample {
    pub(crate) root: TempDir,
    pub(crate) data: TempDir,
    pub(crate) components: Components,
    pub(crate) component: Component,
}

impl Sample {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let data = tempfile::tempdir().expect("temporary directory");
        for (path, bytes) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("beneath the root")).expect("creates");
            fs::write(path, bytes).expect("writes");
        }
        let components =
            Components::open(&[root.path().to_owned()], None, data.path()).expect("opens");
        let component = components.resolve(".").expect("is there");
        Sample { root, data, components, component }
    }

    pub(crate) fn stage(&self, changes: Vec<Change>) -> StagedPlan {
        let tree = self.component.tree();
        stage(&*tree, &plan(changes), &StageLimits::default()).expect("a good plan")
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.path().join(path)).expect("reads")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.root.path().join(path), text).expect("writes");
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.root.path().join(path).exists()
    }
}

pub(crate) fn plan(changes: Vec<Change>) -> Plan {
    owned(changes.into_iter().map(|change| (change, Ownership::Managed)).collect())
}

pub(crate) fn owned(changes: Vec<(Change, Ownership)>) -> Plan {
    let edits = changes
        .into_iter()
        .map(|(change, ownership)| Edit {
            change,
            ownership,
            risk: Risk::Safe,
            resolves: vec![],
            rationale: String::new(),
        })
        .collect();
    Plan { summary: String::new(), edits, next_steps: vec![], findings: vec![] }
}

pub(crate) fn hash(bytes: &[u8]) -> Digest {
    Digest::from_bytes(&sha2::Sha256::digest(bytes).into())
}

pub(crate) fn create(path: &str, text: &str) -> Change {
    Change::Create { path: path.to_owned(), content: text.as_bytes().to_vec() }
}

pub(crate) fn replace(path: &str, base: &str, start: u64, end: u64, text: &str) -> Change {
    Change::Replace {
        path: path.to_owned(),
        base_sha256: hash(base.as_bytes()),
        ranges: vec![Replacement { start, end, text: text.to_owned() }],
    }
}

pub(crate) fn delete(path: &str, base: &str) -> Change {
    Change::Delete { path: path.to_owned(), base_sha256: hash(base.as_bytes()) }
}

pub(crate) fn source(pattern: &str, version: &str) -> Source {
    Source {
        pattern: pattern.parse().expect("legal"),
        version: version.to_owned(),
        digest: hash(version.as_bytes()),
        parameters: serde_json::Map::new(),
    }
}

pub(crate) fn id(text: &str) -> ApplicationId {
    text.parse().expect("legal")
}

/// Everything that a tree shows, but the host's own record.
pub(crate) fn shown(tree: &Arc<dyn Tree>) -> Vec<(String, EntryKind, Vec<u8>)> {
    let mut shown = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in tree.entries(&folder, 1000).expect("lists") {
            if entry.path == ".caelum" {
                continue;
            }
            assert_eq!(tree.metadata(&entry.path).expect("is there"), entry);
            let bytes = match entry.kind {
                EntryKind::File => tree.read(&entry.path, 0, 1 << 20).expect("reads"),
                _ => Vec::new(),
            };
            if entry.kind == EntryKind::Directory {
                folders.push(entry.path.clone());
            }
            shown.push((entry.path, entry.kind, bytes));
        }
    }
    shown.sort();
    shown
}

/// Copies regular files, without the host's own record.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("creates");
    for entry in fs::read_dir(from).expect("lists").map(|entry| entry.expect("lists")) {
        let target = to.join(entry.file_name());
        if entry.file_name() == ".caelum" {
        } else if entry.file_type().expect("has one").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}
