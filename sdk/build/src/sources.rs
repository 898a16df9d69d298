//! Everything a component is made from, as files and as one hash.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::component::hex;
use crate::error::BuildError;
use crate::manifest::Package;
use crate::toolchain::Toolchain;

/// Part of every key: raised when this crate makes something else of the same input.
const FORMAT: &str = "caelum-plugin-build 1";

/// Directories of a package that no build of its library reads.
const IGNORED: [&str; 4] = ["target", "tests", "benches", "examples"];

/// Returns the hash of everything that decides what a package becomes: its sources and those of the packages on this
/// disk that it depends on, the versions and checksums of the others, what it inherits from the workspace, the profile,
/// and the compiler.
pub(crate) fn key(
    package: &Package,
    toolchain: &Toolchain,
    profile: &str,
) -> Result<String, BuildError> {
    let mut hash = Hash(Sha256::new());
    hash.text("format", FORMAT);
    hash.text("compiler", &toolchain.version_text);
    hash.text("method", toolchain.method.target());
    hash.text("profile", profile);
    hash.text("locked", &locked(package)?);
    for package in closure(package)? {
        hash.text("package", &package.name);
        hash.text("inherited", &package.inherited.to_string());
        for (name, path) in files(&package)? {
            let bytes = std::fs::read(&path).map_err(BuildError::file("read", &path))?;
            hash.text("path", &name);
            hash.bytes(&bytes);
        }
    }
    Ok(hex(&hash.0.finalize()))
}

/// Returns every file and directory that [`key`] looks at. Directories below the packages are named too, so that new
/// files count; the packages' own are not, because cargo would look at everything in them.
pub(crate) fn inputs(package: &Package) -> Result<Vec<PathBuf>, BuildError> {
    let root = &package.workspace_root;
    let mut inputs: BTreeSet<PathBuf> = [root.join("Cargo.toml"), root.join("Cargo.lock")].into();
    for package in closure(package)? {
        let files: Vec<PathBuf> = files(&package)?.into_values().collect();
        let directories = files.iter().filter_map(|file| file.parent());
        let below = directories.filter(|directory| *directory != package.directory());
        inputs.extend(below.map(Path::to_owned));
        inputs.extend(files);
    }
    Ok(inputs.into_iter().collect())
}

/// Returns a package and all packages on this disk that it depends on, each once, in an order of its own.
fn closure(package: &Package) -> Result<Vec<Package>, BuildError> {
    let mut known: BTreeMap<PathBuf, Package> = BTreeMap::new();
    let mut open = vec![package.clone()];
    while let Some(package) = open.pop() {
        if known.contains_key(package.directory()) {
            continue;
        }
        for dependency in &package.path_dependencies {
            if !known.contains_key(dependency) {
                open.push(Package::read(dependency)?);
            }
        }
        known.insert(package.directory().to_owned(), package);
    }
    let mut packages: Vec<_> = known.into_values().collect();
    // By name, so that the place of the checkout does not decide the hash.
    packages.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(packages)
}

/// Returns the files of a package and its extra inputs, by a name that does not hold the place of the checkout.
fn files(package: &Package) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let mut files = BTreeMap::new();
    collect(package.directory(), "", true, &mut files)?;
    for (index, input) in package.inputs.iter().enumerate() {
        let name = format!("input {index}");
        if input.is_dir() {
            collect(input, &name, false, &mut files)?;
        } else {
            files.insert(name, input.clone());
        }
    }
    Ok(files)
}

fn collect(
    directory: &Path,
    name: &str,
    is_package: bool,
    files: &mut BTreeMap<String, PathBuf>,
) -> Result<(), BuildError> {
    let error = |source| BuildError::File { action: "list", path: directory.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(error)? {
        let entry = entry.map_err(error)?;
        let kind = entry.file_type().map_err(error)?;
        let file_name = entry.file_name();
        let file_name = file_name.to_string_lossy();
        let path = entry.path();
        let below = format!("{name}/{file_name}");
        if file_name.starts_with('.') || (kind.is_symlink() && leads_up(&path, directory)) {
            continue;
        }
        if kind.is_dir() || (kind.is_symlink() && path.is_dir()) {
            let ignored = is_package && IGNORED.contains(&file_name.as_ref());
            let another_package = path.join("Cargo.toml").is_file();
            if !ignored && !another_package {
                collect(&path, &below, false, files)?;
            }
        } else {
            files.insert(below, path);
        }
    }
    Ok(())
}

/// Answers whether a link leads to a directory that it lies in, where following it would never end.
fn leads_up(link: &Path, directory: &Path) -> bool {
    match (link.canonicalize(), directory.canonicalize()) {
        (Ok(to), Ok(directory)) => directory.starts_with(to),
        // It leads nowhere: no build reads it.
        (Err(_), _) => true,
        (Ok(_), Err(_)) => false,
    }
}

/// Returns the part of `Cargo.lock` that concerns a package: all that it reaches, sorted. Empty without a lock file.
fn locked(package: &Package) -> Result<String, BuildError> {
    let path = package.workspace_root.join("Cargo.lock");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(BuildError::file("read", &path)(error)),
    };
    let table: Table = text.parse().map_err(|error: toml::de::Error| BuildError::Manifest {
        path: path.clone(),
        reason: error.message().to_owned(),
    })?;
    let rows: Vec<&Table> = table
        .get("package")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_table)
        .collect();
    let field = |row: &Table, key: &str| {
        row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut reached: BTreeSet<usize> = BTreeSet::new();
    let mut open: Vec<(String, Option<String>)> = vec![(package.name.clone(), None)];
    while let Some((name, version)) = open.pop() {
        let matching = rows.iter().enumerate().filter(|(_, row)| {
            field(row, "name") == name
                && version.as_ref().is_none_or(|version| field(row, "version") == *version)
        });
        for (index, row) in matching {
            if reached.insert(index) {
                let wanted =
                    row.get("dependencies").and_then(Value::as_array).into_iter().flatten();
                open.extend(wanted.filter_map(Value::as_str).filter_map(|wanted| {
                    // `name`, `name version` or `name version (source)`.
                    let mut words = wanted.split(' ');
                    Some((words.next()?.to_owned(), words.next().map(str::to_owned)))
                }));
            }
        }
    }
    let line = |index: &usize| {
        let row = rows[*index];
        format!(
            "{} {} {} {}",
            field(row, "name"),
            field(row, "version"),
            field(row, "source"),
            field(row, "checksum")
        )
    };
    let lines: BTreeSet<String> = reached.iter().map(line).collect();
    Ok(lines.into_iter().collect::<Vec<_>>().join("\n"))
}

/// Hashes labelled values so that they cannot run into each other.
struct Hash(Sha256);

impl Hash {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, label: &str, text: &str) {
        self.bytes(label.as_bytes());
        self.bytes(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::Method;

    fn toolchain(version: &str) -> Toolchain {
        Toolchain {
            method: Method::Unknown,
            rustc: "rustc".into(),
            cargo: "cargo".into(),
            linker: None,
            version_text: version.to_owned(),
        }
    }

    const LOCK: &str = "[[package]]\nname = \"p\"\nversion = \"0.1.0\"\ndependencies = [\"serde 1.0.0\"]\n\
        [[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nchecksum = \"aa\"\n\
        [[package]]\nname = \"serde\"\nversion = \"2.0.0\"\nchecksum = \"bb\"\n\
        [[package]]\nname = \"unrelated\"\nversion = \"1.0.0\"\nchecksum = \"cc\"\n";

    fn sample() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| write(root.path(), path, text);
        write(
            "Cargo.toml",
            "[workspace]\nmembers = [\"p\", \"lib\"]\n[profile.plugin]\nlto = true\n",
        );
        write("Cargo.lock", LOCK);
        write(
            "p/Cargo.toml",
            "[package]\nname = \"p\"\nmetadata.caelum.inputs = [\"../wit\"]\n[dependencies]\nlib = { path = \"../lib\" }",
        );
        write("p/src/lib.rs", "// p");
        write("p/tests/a.rs", "// test");
        write("lib/Cargo.toml", "[package]\nname = \"lib\"");
        write("lib/src/lib.rs", "// lib");
        write("lib/nested/Cargo.toml", "[package]\nname = \"nested\"");
        write("wit/a.wit", "package a:b;");
        root
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    fn key_of(root: &Path) -> String {
        key(&Package::read(&root.join("p")).expect("a package"), &toolchain("1"), "plugin")
            .expect("a key")
    }

    #[test]
    fn the_key_changes_with_what_the_component_is_made_from_and_with_nothing_else() {
        let root = sample();
        let base = key_of(root.path());
        let changes = [
            ("p/src/lib.rs", "// changed", true),
            ("p/src/new.rs", "", true),
            ("p/tests/a.rs", "// changed", false),
            ("p/.hidden", "x", false),
            ("lib/src/lib.rs", "// changed", true),
            ("lib/nested/src/lib.rs", "// changed", false),
            ("wit/a.wit", "package a:c;", true),
            ("Cargo.lock", &LOCK.replace("aa", "dd"), true),
            ("Cargo.lock", &LOCK.replace("bb", "dd").replace("cc", "ee"), false),
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"p\", \"lib\", \"q\"]\n[profile.plugin]\nlto = true\n",
                false,
            ),
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"p\", \"lib\"]\n[profile.plugin]\nlto = false\n",
                true,
            ),
        ];
        for (path, text, matters) in changes {
            let root = sample();
            write(root.path(), path, text);

            assert_eq!(key_of(root.path()) != base, matters, "{path}: {text}");
        }
    }

    #[test]
    fn directories_behind_links_count_and_links_that_lead_up_are_not_followed() {
        let root = sample();
        let link = |to: &str, at: &str| {
            std::os::unix::fs::symlink(to, root.path().join(at)).expect("linked");
        };
        write(root.path(), "contract/a.wit", "package a:b;");
        link("../../contract", "p/src/contract");
        link("..", "p/src/up");
        link("nowhere", "p/src/dangling");
        let before = key_of(root.path());

        write(root.path(), "contract/a.wit", "package c:d;");

        assert_ne!(key_of(root.path()), before);
    }

    #[test]
    fn the_key_changes_with_compiler_and_profile() {
        let root = sample();
        let package = Package::read(&root.path().join("p")).expect("a package");
        let base = key(&package, &toolchain("1"), "plugin").expect("a key");

        assert_ne!(key(&package, &toolchain("2"), "plugin").expect("a key"), base);
        assert_ne!(key(&package, &toolchain("1"), "dev").expect("a key"), base);
    }

    #[test]
    fn inputs_name_files_and_their_directories() {
        let root = sample();

        let inputs =
            inputs(&Package::read(&root.path().join("p")).expect("a package")).expect("inputs");

        for path in [
            "Cargo.toml",
            "Cargo.lock",
            "p/src",
            "p/src/lib.rs",
            "lib/src/lib.rs",
            "wit",
            "wit/a.wit",
        ] {
            assert!(inputs.contains(&root.path().join(path)), "{path}: {inputs:?}");
        }
        for path in ["p", "p/tests", "p/tests/a.rs"] {
            assert!(!inputs.contains(&root.path().join(path)), "{path}: {inputs:?}");
        }
    }
}
