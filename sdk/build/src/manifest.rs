//! Reads as much of `Cargo.toml` files as a build must know before cargo runs: names, the workspace, and which other
//! packages on this disk take part. It does not resolve versions: that is cargo's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::error::{BuildError, absolute};

/// A package on this disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its `Cargo.toml`, absolute.
    pub manifest: PathBuf,
    /// The directory of its workspace's `Cargo.toml`; its own when it has none.
    pub workspace_root: PathBuf,
    /// Whether it says `bundled = true` in `package.metadata.caelum`: one of the plugins that the server brings along.
    pub bundled: bool,
    /// What the library's file is called, without extension.
    pub(crate) library: String,
    /// Whether it makes a library that WebAssembly can load.
    pub(crate) is_cdylib: bool,
    /// Files and directories outside the package that take part in its build: `package.metadata.caelum.inputs`.
    pub(crate) inputs: Vec<PathBuf>,
    /// The directories of the packages on this disk that it depends on, tests aside.
    pub(crate) path_dependencies: BTreeSet<PathBuf>,
    /// What the workspace's manifest contributes to the build.
    pub(crate) inherited: Table,
}

impl Package {
    /// Reads a package from its directory or its `Cargo.toml`.
    ///
    /// # Errors
    /// `File` and `Manifest`.
    pub fn read(path: &Path) -> Result<Self, BuildError> {
        let path = absolute(path)?;
        let manifest = if path.ends_with("Cargo.toml") { path } else { path.join("Cargo.toml") };
        let directory = manifest.parent().unwrap_or(&manifest).to_owned();
        let table = read_table(&manifest)?;
        let wrong = |reason: &str| BuildError::Manifest {
            path: manifest.clone(),
            reason: reason.to_owned(),
        };
        let package = table
            .get("package")
            .and_then(Value::as_table)
            .ok_or_else(|| wrong("it has no `[package]`"))?;
        let name = package
            .get("name")
            .and_then(Value::as_str)
            .ok_or_else(|| wrong("it has no `package.name`"))?;
        let (workspace_root, workspace) = find_workspace(&directory, &table)?;
        let library = table.get("lib").and_then(Value::as_table);
        let crate_types = library
            .and_then(|library| library.get("crate-type").or_else(|| library.get("crate_type")));
        let metadata = package.get("metadata").and_then(|metadata| metadata.get("caelum"));
        let inputs = metadata
            .and_then(|metadata| metadata.get("inputs")?.as_array())
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(|input| normal(&directory.join(input)))
            .collect();
        Ok(Self {
            name: name.to_owned(),
            bundled: metadata.and_then(|metadata| metadata.get("bundled")?.as_bool()) == Some(true),
            library: library
                .and_then(|library| library.get("name")?.as_str())
                .unwrap_or(name)
                .replace('-', "_"),
            is_cdylib: crate_types
                .and_then(Value::as_array)
                .is_some_and(|types| types.iter().any(|one| one.as_str() == Some("cdylib"))),
            inputs,
            path_dependencies: path_dependencies(&table, &directory, &workspace, &workspace_root),
            inherited: inherited(&table, &workspace),
            manifest,
            workspace_root,
        })
    }

    /// Returns the directory of the package.
    pub(crate) fn directory(&self) -> &Path {
        self.manifest.parent().unwrap_or(&self.manifest)
    }
}

fn read_table(manifest: &Path) -> Result<Table, BuildError> {
    let text = std::fs::read_to_string(manifest).map_err(BuildError::file("read", manifest))?;
    text.parse().map_err(|error: toml::de::Error| BuildError::Manifest {
        path: manifest.to_owned(),
        reason: error.message().to_owned(),
    })
}

/// Finds the workspace that a package belongs to, as cargo does: its own, the one it names, or the nearest above that
/// does not exclude it.
fn find_workspace(directory: &Path, table: &Table) -> Result<(PathBuf, Table), BuildError> {
    if table.contains_key("workspace") {
        return Ok((directory.to_owned(), table.clone()));
    }
    let named = table.get("package").and_then(|package| package.get("workspace")?.as_str());
    if let Some(named) = named {
        let root = normal(&directory.join(named));
        let table = read_table(&root.join("Cargo.toml"))?;
        return Ok((root, table));
    }
    for above in directory.ancestors().skip(1) {
        let manifest = above.join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let table = read_table(&manifest)?;
        let Some(workspace) = table.get("workspace") else { continue };
        let excluded = workspace.get("exclude").and_then(Value::as_array).into_iter().flatten();
        let excluded = excluded
            .filter_map(Value::as_str)
            .any(|path| directory.starts_with(normal(&above.join(path))));
        if !excluded {
            return Ok((above.to_owned(), table));
        }
    }
    Ok((directory.to_owned(), Table::new()))
}

/// Returns every dependency that a build (not a test) of the package uses: the name it has there, and what is said of
/// it.
fn dependencies(table: &Table) -> Vec<(&str, &Value)> {
    let platforms = table.get("target").and_then(Value::as_table).into_iter().flatten();
    let platforms = platforms.filter_map(|(_, platform)| platform.as_table());
    std::iter::once(table)
        .chain(platforms)
        .flat_map(|table| {
            ["dependencies", "build-dependencies"]
                .into_iter()
                .filter_map(|key| table.get(key)?.as_table())
        })
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
        .collect()
}

fn workspace_dependency<'a>(workspace: &'a Table, name: &str) -> Option<&'a Value> {
    workspace.get("workspace")?.get("dependencies")?.get(name)
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

fn path_dependencies(
    table: &Table,
    directory: &Path,
    workspace: &Table,
    root: &Path,
) -> BTreeSet<PathBuf> {
    let path = |(name, value): (&str, &Value)| {
        let (value, base) = if is_inherited(value) {
            (workspace_dependency(workspace, name)?, root)
        } else {
            (value, directory)
        };
        Some(normal(&base.join(value.get("path")?.as_str()?)))
    };
    dependencies(table).into_iter().filter_map(path).collect()
}

/// Returns the parts of the workspace's manifest that matter to a package. The rest of it may change without a rebuild.
fn inherited(table: &Table, workspace: &Table) -> Table {
    let mut parts = Table::new();
    for key in ["profile", "patch"] {
        if let Some(value) = workspace.get(key) {
            parts.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(package) = workspace.get("workspace").and_then(|workspace| workspace.get("package"))
    {
        parts.insert("package".to_owned(), package.clone());
    }
    for (name, value) in dependencies(table) {
        if let Some(value) =
            is_inherited(value).then(|| workspace_dependency(workspace, name)).flatten()
        {
            parts.insert(format!("dependency {name}"), value.clone());
        }
    }
    parts
}

/// Takes `.` and `..` out of an absolute path by its text.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        root
    }

    #[test]
    fn path_dependencies_are_found_wherever_they_are_said() {
        let root = tree(&[
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"a\"]\n[workspace.dependencies]\nsdk = { path = \"libs/sdk\" }\nserde = \"1\"\nother = \"2\"",
            ),
            (
                "a/Cargo.toml",
                "[package]\nname = \"my-a\"\nmetadata.caelum.inputs = [\"../wit\"]\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\
                 [dependencies]\nsdk.workspace = true\nserde.workspace = true\n[build-dependencies]\nb = { path = \"../b\" }\n\
                 [dev-dependencies]\nt = { path = \"../t\" }\n[target.'cfg(unix)'.dependencies]\nc = { path = \"c\" }",
            ),
        ]);

        let package = Package::read(&root.path().join("a")).expect("a package");

        let base = root.path();
        let expected: BTreeSet<_> =
            [base.join("libs/sdk"), base.join("b"), base.join("a/c")].into();
        assert_eq!(package.path_dependencies, expected);
        assert_eq!(package.inputs, [base.join("wit")]);
        assert_eq!(package.workspace_root, base);
        assert_eq!(
            (package.name.as_str(), package.library.as_str(), package.is_cdylib),
            ("my-a", "my_a", true)
        );
        assert!(
            package.inherited.contains_key("dependency serde")
                && !package.inherited.contains_key("dependency other")
        );
    }

    #[test]
    fn a_package_that_the_workspace_excludes_stands_alone() {
        let root = tree(&[
            ("Cargo.toml", "[workspace]\nexclude = [\"out\"]"),
            ("out/p/Cargo.toml", "[package]\nname = \"p\""),
            ("in/Cargo.toml", "[package]\nname = \"i\"\n[lib]\nname = \"other\""),
        ]);

        let out = Package::read(&root.path().join("out/p/Cargo.toml")).expect("a package");
        let inside = Package::read(&root.path().join("in")).expect("a package");

        assert_eq!(out.workspace_root, root.path().join("out/p"));
        assert_eq!(inside.workspace_root, root.path());
        assert_eq!((inside.library.as_str(), inside.is_cdylib), ("other", false));
    }

    #[test]
    fn what_is_no_package_is_named() {
        let root = tree(&[("Cargo.toml", "[workspace]"), ("broken/Cargo.toml", "[package")]);

        let message =
            |path: &str| Package::read(&root.path().join(path)).expect_err("refused").to_string();

        assert!(
            message("").ends_with("Cargo.toml` is no package: it has no `[package]`"),
            "{}",
            message("")
        );
        assert!(message("broken").contains("is no package: "), "{}", message("broken"));
        assert!(message("nowhere").starts_with("cannot read `"), "{}", message("nowhere"));
    }
}
