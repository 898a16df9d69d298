//! The order of the house: which crate may know which, and how a source file looks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use caelum_tests::repository;
use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each of our crates may know of us, and what it must not know of the outside. Build scripts and tests are free.
const MAY_KNOW: &[(&str, &[&str], &[&str])] = &[
    (
        "caelum-core",
        &[],
        &["tokio", "tracing", "rusqlite", "wasmtime", "rmcp", "axum", "reqwest", "cap-std"],
    ),
    ("caelum-store", &["caelum-core"], &["wasmtime", "rmcp", "axum", "reqwest"]),
    ("caelum-plugin-host", &["caelum-core"], &["rusqlite", "rmcp", "axum", "reqwest"]),
    (
        "caelum-components",
        &["caelum-core"],
        &["rusqlite", "rmcp", "axum", "reqwest", "wasmtime", "tokio"],
    ),
    ("caelum-machines", &["caelum-core"], &["rusqlite", "axum", "wasmtime"]),
    (
        "caelum-engine",
        &[
            "caelum-core",
            "caelum-store",
            "caelum-plugin-host",
            "caelum-components",
            "caelum-machines",
        ],
        &["rmcp", "axum", "rusqlite", "wasmtime", "cap-std"],
    ),
    ("caelum-sdk", &[], &["tokio", "wasmtime", "tracing", "cap-std"]),
    ("caelum-plugin-build", &[], &["tokio", "wasmtime", "tracing"]),
    ("caelum-plugin-bundle", &[], &["tokio", "wasmtime"]),
];

#[test]
fn imports_point_one_way_only() {
    let metadata = MetadataCommand::new()
        .manifest_path(repository().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata works here");
    let known: BTreeMap<&str, BTreeSet<&str>> = metadata
        .packages
        .iter()
        .map(|package| {
            let dependencies = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .map(|dependency| dependency.name.as_str())
                .collect();
            (package.name.as_str(), dependencies)
        })
        .collect();
    let mut wrong = Vec::new();
    for (name, ours, never) in MAY_KNOW {
        let Some(dependencies) = known.get(name) else {
            wrong.push(format!("{name} is not in the workspace any more: mend the table"));
            continue;
        };
        for dependency in dependencies {
            let is_ours = known.contains_key(dependency);
            if (is_ours && !ours.contains(dependency)) || never.contains(dependency) {
                wrong.push(format!("{name} must not know {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_reads_no_clock_opens_no_file_and_starts_no_thread() {
    let mut wrong = Vec::new();
    for file in sources(&repository().join("host/core/src")) {
        let text = fs::read_to_string(&file).expect("a source file is text");
        for name in
            ["std::fs", "std::net", "std::process", "std::thread", "SystemTime", "Instant::now"]
        {
            if text.contains(name) {
                wrong.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_source_file_says_what_it_is_and_has_a_name_that_tells() {
    let vague = [
        "mod.rs",
        "utils.rs",
        "util.rs",
        "common.rs",
        "helpers.rs",
        "misc.rs",
        "manager.rs",
        "models.rs",
    ];
    let mut wrong = Vec::new();
    for folder in ["host", "sdk", "plugins", "tests"] {
        for file in sources(&repository().join(folder)) {
            let text = fs::read_to_string(&file).expect("a source file is text");
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if vague.contains(&name) {
                wrong.push(format!("{}: a name that says nothing", file.display()));
            }
            if !text.starts_with("//!") && !text.starts_with("#!") {
                wrong.push(format!("{}: does not begin with `//!`", file.display()));
            }
            if text.lines().count() > 1_500 {
                wrong.push(format!("{}: more than 1,500 lines", file.display()));
            }
            if let Some(line) = text.lines().position(|line| line.ends_with([' ', '\t'])) {
                wrong.push(format!("{}:{}: white space at its end", file.display(), line + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns every Rust file below a folder, without what builds leave there.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                if !path.ends_with("target") && !path.ends_with("node_modules") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
