//! Builds real, tiny plugins with whatever toolchain this machine has. The tests run side by side in one target
//! directory, as builds of several processes may.

use std::path::{Path, PathBuf};

use caelum_plugin_build::{BuildError, BuildRequest, build};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn guest() -> PathBuf {
    repository().join("tests/guests/all-zero")
}

#[test]
fn a_plugin_crate_becomes_a_component_and_is_found_again() {
    let request = BuildRequest::new([guest()]);

    let first = build(&request).unwrap_or_else(|error| panic!("{error}"));
    let second = build(&request).unwrap_or_else(|error| panic!("{error}"));

    let [built] = first.as_slice() else { panic!("one package, found {first:?}") };
    assert_eq!(
        (built.package.as_str(), built.identity.id.as_str()),
        ("guest-all-zero", "all-zero")
    );
    assert_eq!(built.identity.world, "step-validator");
    let bytes = std::fs::read(&built.path).expect("the component is there");
    assert!(wasmparser::Parser::is_component(&bytes));
    assert_eq!(exports(&bytes), ["caelum:plugin/validator@0.1.0"]);
    assert!(second[0].cached && second[0].sha256 == built.sha256 && second[0].path == built.path);
}

#[test]
fn every_guest_of_the_tests_is_a_plugin() {
    let guests = repository().join("tests/guests");
    let entries = std::fs::read_dir(&guests)
        .expect("the guests")
        .map(|entry| entry.expect("an entry").path());
    let packages: Vec<PathBuf> = entries.filter(|path| path.join("Cargo.toml").is_file()).collect();
    let count = packages.len();

    let built = build(&BuildRequest::new(packages)).unwrap_or_else(|error| panic!("{error}"));

    let readme = std::fs::read_to_string(guests.join("README.md")).expect("the list of guests");
    assert_eq!(built.len(), count);
    for built in &built {
        assert!(
            readme.contains(&format!("| `{}` |", built.package)),
            "`{}` is not in the list",
            built.package
        );
    }
}

#[test]
fn what_the_compiler_says_is_in_the_error() {
    let root = crate_with("broken", "pub fn f() -> u8 { \"text\" }", "cdylib");

    let error = build(&request(&root)).expect_err("refused");

    let BuildError::Cargo { packages, output, .. } = &error else { panic!("{error}") };
    assert_eq!(packages, "`broken`");
    assert!(output.contains("mismatched types"), "{output}");
}

#[test]
fn a_library_that_exports_no_plugin_is_told_how_to() {
    let root = crate_with("silent", "", "cdylib");

    let error = build(&request(&root)).expect_err("refused").to_string();

    assert!(
        error.starts_with(
            "package `silent` makes no plugin: it has no `caelum:plugin` section\nhint: "
        ),
        "{error}"
    );
}

#[test]
fn a_library_of_another_kind_is_refused_before_anything_runs() {
    let root = crate_with("plain", "", "rlib");

    let error = build(&request(&root)).expect_err("refused").to_string();

    assert!(error.contains("makes no `cdylib`\nhint: add `[lib]`"), "{error}");
}

#[test]
fn packages_of_two_workspaces_are_refused() {
    let other = crate_with("other", "", "cdylib");

    let error = build(&BuildRequest::new([guest(), other.path().to_owned()])).expect_err("refused");

    assert!(matches!(error, BuildError::Workspaces { .. }), "{error}");
}

#[test]
fn an_empty_request_is_refused() {
    let error = build(&BuildRequest::new(Vec::<PathBuf>::new())).expect_err("refused");

    assert!(matches!(error, BuildError::NothingToBuild), "{error}");
}

/// Shares the target directory of the repository's plugins, so that the standard library is not built again.
fn request(root: &tempfile::TempDir) -> BuildRequest {
    BuildRequest {
        target_dir: Some(repository().join("target/plugins")),
        ..BuildRequest::new([root.path()])
    }
}

fn crate_with(name: &str, source: &str, kind: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"{kind}\"]\n[workspace]\n"
    );
    std::fs::create_dir(root.path().join("src")).expect("made");
    std::fs::write(root.path().join("Cargo.toml"), manifest).expect("written");
    std::fs::write(root.path().join("src/lib.rs"), source).expect("written");
    root
}

fn exports(component: &[u8]) -> Vec<String> {
    let mut depth = 0_u32;
    let mut exports = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        match payload.expect("a component") {
            wasmparser::Payload::ModuleSection { .. }
            | wasmparser::Payload::ComponentSection { .. } => depth += 1,
            wasmparser::Payload::End(_) => depth = depth.saturating_sub(1),
            wasmparser::Payload::ComponentExportSection(section) if depth == 0 => {
                exports.extend(
                    section
                        .into_iter()
                        .map(|export| export.expect("an export").name.name.to_owned()),
                );
            }
            _ => {}
        }
    }
    exports
}
