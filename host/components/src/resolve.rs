//! From a name or a path to a directory beneath an allowed root.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use caelum_core::near::near;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde_json::{Map, Value};

use crate::error::ComponentsError;
use crate::folder::Folder;
use crate::journal::Journal;
use crate::recover::{self, Recovered};
use crate::registry::{self, Named};
use crate::tree::DirTree;

/// The components of one server. A cheap handle: clone it freely.
#[derive(Debug, Clone)]
pub struct Components(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    roots: Vec<Root>,
    named: BTreeMap<String, Named>,
    pub(crate) journal: Journal,
    recovered: Vec<Recovered>,
}

/// One allowed root: canonical, and held open so that everything beneath it is reached through it.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    dir: Dir,
}

/// A name from the components file.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// The name.
    pub name: String,
    /// What it stands for; need not be there.
    pub directory: PathBuf,
    /// Default parameters for every pattern.
    pub parameters: Map<String, Value>,
}

/// A directory that patterns work on. A cheap handle that holds the directory open: clone it freely.
#[derive(Debug, Clone)]
pub struct Component(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    name: Option<String>,
    root: PathBuf,
    path: PathBuf,
    parameters: Map<String, Value>,
    folder: Arc<Folder>,
}

impl Components {
    /// Opens the components beneath `roots`, with the names of `file` where there is one. Plans that a server which died
    /// left half applied are undone first; [`Components::recovered`] tells which.
    ///
    /// Roots are resolved here and now. Relative paths begin at the first one. Before-images and journals are kept
    /// beneath `data_dir`.
    ///
    /// # Errors
    ///
    /// [`ComponentsError::NoRoot`], [`ComponentsError::Root`], [`ComponentsError::Registry`] and
    /// [`ComponentsError::Journal`]. A half applied plan that cannot be undone is no error; it is tried again at the
    /// next start.
    pub fn open(
        roots: &[PathBuf],
        file: Option<&Path>,
        data_dir: &Path,
    ) -> Result<Components, ComponentsError> {
        let mut opened: Vec<Root> = Vec::new();
        for path in roots {
            let root = open_root(path)
                .map_err(|source| ComponentsError::Root { path: path.clone(), source })?;
            if !opened.iter().any(|known| known.path == root.path) {
                opened.push(root);
            }
        }
        if opened.is_empty() {
            return Err(ComponentsError::NoRoot);
        }
        let named = file.map(registry::read).transpose()?.unwrap_or_default();
        let journal = Journal::open(data_dir)?;
        let mut inner = Inner { roots: opened, named, journal, recovered: Vec::new() };
        inner.recovered = recover::all(&inner)?;
        Ok(Components(Arc::new(inner)))
    }

    /// Returns what was half applied when the components were opened.
    pub fn recovered(&self) -> &[Recovered] {
        &self.0.recovered
    }

    /// Lists the roots: canonical, at least one.
    pub fn roots(&self) -> Vec<&Path> {
        self.0.roots.iter().map(|root| root.path.as_path()).collect()
    }

    /// Lists the registered names, sorted.
    pub fn registered(&self) -> Vec<Registered> {
        self.0
            .named
            .iter()
            .map(|(name, named)| Registered {
                name: name.clone(),
                directory: named.directory.clone(),
                parameters: named.parameters.clone(),
            })
            .collect()
    }

    /// Finds the component that `target` means: a registered name, or a path (absolute, or relative to a root).
    ///
    /// # Errors
    ///
    /// [`ComponentsError::Unknown`] with near names and the roots, [`ComponentsError::Outside`] when it lies beneath no
    /// root (links are resolved before that is judged), [`ComponentsError::NotADirectory`], [`ComponentsError::Io`].
    pub fn resolve(&self, target: &str) -> Result<Component, ComponentsError> {
        if let Some(named) = self.0.named.get(target) {
            let mut opened = self.0.open_beneath(&named.directory, target).map_err(|error| {
                // The name is known; it is what it stands for that is not there.
                match error {
                    ComponentsError::Unknown { target, .. } => ComponentsError::Unknown {
                        hint: format!(
                            "the name is registered for `{}`, which is not there",
                            named.directory.display()
                        ),
                        target,
                    },
                    other => other,
                }
            })?;
            opened.name = Some(target.to_owned());
            opened.parameters = named.parameters.clone();
            return Ok(Component(Arc::new(opened)));
        }
        if target.is_empty() || target.contains('\0') {
            return Err(self.0.unknown(target));
        }
        let path = Path::new(target);
        if path.is_absolute() {
            return Ok(Component(Arc::new(self.0.open_beneath(path, target)?)));
        }
        let mut first = None;
        for root in &self.0.roots {
            match self.0.open_beneath(&root.path.join(path), target) {
                Ok(opened) => return Ok(Component(Arc::new(opened))),
                // A later root may have what an earlier one has not.
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| self.0.unknown(target)))
    }
}

impl Inner {
    /// Opens the folder of a component whose canonical path is known from an earlier time.
    pub(crate) fn reopen(&self, path: &Path) -> Result<Component, ComponentsError> {
        let target = path.display().to_string();
        Ok(Component(Arc::new(self.open_beneath(path, &target)?)))
    }

    fn open_beneath(&self, path: &Path, target: &str) -> Result<Opened, ComponentsError> {
        let canonical = match path.canonicalize() {
            Ok(canonical) => canonical,
            // What is outside is refused whether it is there or not, so that nothing is told about it.
            Err(_) if self.root_of(&plain(path)).is_none() => return Err(self.outside(target)),
            Err(error) if is_missing(&error) => return Err(self.unknown(target)),
            Err(source) => return Err(unreadable(target, source)),
        };
        let Some((root, below)) = self.root_of(&canonical) else {
            return Err(self.outside(target));
        };
        // The canonical path was looked up a moment ago; opening it confined to the root is what holds.
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let dir = root.dir.open_dir(below).map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => {
                ComponentsError::NotADirectory { target: target.to_owned() }
            }
            io::ErrorKind::NotFound => self.unknown(target),
            _ => unreadable(target, error),
        })?;
        let folder = Folder::reopen(&dir).map_err(|source| unreadable(target, source))?;
        Ok(Opened {
            name: None,
            root: root.path.clone(),
            path: canonical,
            parameters: Map::new(),
            folder: Arc::new(folder),
        })
    }

    fn root_of<'a, 'p>(&'a self, path: &'p Path) -> Option<(&'a Root, &'p Path)> {
        self.roots.iter().find_map(|root| Some((root, path.strip_prefix(&root.path).ok()?)))
    }

    fn outside(&self, target: &str) -> ComponentsError {
        ComponentsError::Outside {
            target: target.to_owned(),
            roots: self.roots.iter().map(|root| root.path.clone()).collect(),
        }
    }

    fn unknown(&self, target: &str) -> ComponentsError {
        let near = near(target, self.named.keys().map(String::as_str));
        let quoted: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
        let roots: Vec<String> =
            self.roots.iter().map(|root| format!("`{}`", root.path.display())).collect();
        let beneath = format!("a registered name or a directory beneath {}", roots.join(", "));
        let hint = if quoted.is_empty() {
            format!("expected {beneath}")
        } else {
            format!("did you mean {}? expected {beneath}", quoted.join(" or "))
        };
        ComponentsError::Unknown { target: target.to_owned(), hint }
    }
}

impl Component {
    /// Returns the registered name, where it was resolved by one.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// Returns the canonical path of the directory.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Returns the root beneath which it lies.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Returns the default parameters of the registered name.
    pub fn parameters(&self) -> &Map<String, Value> {
        &self.0.parameters
    }

    /// Returns the files as patterns see them.
    pub fn tree(&self) -> Arc<DirTree> {
        Arc::new(DirTree::new(Arc::clone(&self.0.folder)))
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.0.folder
    }
}

fn open_root(path: &Path) -> io::Result<Root> {
    let path = path.canonicalize()?;
    let dir = Dir::open_ambient_dir(&path, ambient_authority())?;
    Ok(Root { path, dir })
}

fn is_missing(error: &io::Error) -> bool {
    // A name that no file system takes is nobody's, and links that lead in a circle lead nowhere.
    let is_a_circle = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    is_a_circle
        || matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::InvalidFilename
                | io::ErrorKind::InvalidInput
        )
}

fn unreadable(target: &str, source: io::Error) -> ComponentsError {
    ComponentsError::Io { action: "open", path: target.to_owned(), source }
}

/// Resolves `.` and `..` in the text of a path, without looking at the file system.
fn plain(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Sample {
        _outside: tempfile::TempDir,
        root: tempfile::TempDir,
        data: tempfile::TempDir,
    }

    fn sample() -> Sample {
        let outside = tempfile::tempdir().expect("temporary directory");
        fs::create_dir(outside.path().join("target")).expect("creates");
        let root = tempfile::tempdir().expect("temporary directory");
        fs::create_dir_all(root.path().join("services/payments")).expect("creates");
        fs::write(root.path().join("file"), "x").expect("writes");
        symlink(outside.path().join("target"), root.path().join("leaves")).expect("links");
        symlink("services/payments", root.path().join("stays")).expect("links");
        let text = "[components.payments]\ndirectory = \"services/payments\"\n\
                    [components.payments.parameters]\nport = 1\n\
                    [components.gone]\ndirectory = \"gone\"\n[components.far]\ndirectory = \"/usr\"\n";
        fs::write(root.path().join("components.toml"), text).expect("writes");
        Sample { _outside: outside, root, data: tempfile::tempdir().expect("temporary directory") }
    }

    fn components(sample: &Sample) -> Components {
        let file = sample.root.path().join("components.toml");
        Components::open(&[sample.root.path().to_owned()], Some(&file), sample.data.path())
            .expect("opens")
    }

    #[test]
    fn names_and_paths_lead_to_the_same_directory() {
        let sample = sample();
        let components = components(&sample);
        let path = sample.root.path().canonicalize().expect("is there").join("services/payments");

        let named = components.resolve("payments").expect("registered");
        assert_eq!((named.name(), named.path()), (Some("payments"), path.as_path()));
        assert_eq!(named.parameters()["port"], 1);
        let absolute = path.to_str().expect("UTF-8");
        for target in ["services/payments", "./services/../services/payments/", "stays", absolute] {
            let found = components.resolve(target).expect(target);
            assert_eq!((found.name(), found.path()), (None, path.as_path()), "{target}");
        }
        assert!(components.resolve(".").is_ok());
    }

    #[test]
    fn whatever_leaves_the_roots_is_refused() {
        let sample = sample();
        let components = components(&sample);

        for target in
            ["..", "/", "/etc", "leaves", "services/../..", "/nowhere/at/all", "../nowhere", "far"]
        {
            let error = components.resolve(target).expect_err(target);
            assert!(matches!(error, ComponentsError::Outside { .. }), "{target}: {error}");
        }
    }

    #[test]
    fn what_is_not_there_names_near_names_and_roots() {
        let sample = sample();
        let components = components(&sample);
        let root = sample.root.path().canonicalize().expect("is there");

        let error = components.resolve("paymets").expect_err("misspelt").to_string();
        assert_eq!(
            error,
            format!(
                "there is no component `paymets`; hint: did you mean `payments`? expected a registered name or a directory beneath `{}`",
                root.display()
            )
        );
        let gone = components.resolve("gone").expect_err("not there").to_string();
        assert!(gone.contains("the name is registered for"), "{gone}");
        symlink("circle", root.join("circle")).expect("makes a link");
        let long = "x".repeat(10_000);
        for target in ["", "a\0b", "nowhere", "file/x", "circle", &long] {
            let error = components.resolve(target).expect_err(target);
            assert!(matches!(error, ComponentsError::Unknown { .. }), "{target}: {error}");
        }
        let error = components.resolve("file").expect_err("a file");
        assert_eq!(error.to_string(), "the component `file` is not a directory");
    }

    #[test]
    fn a_second_root_is_looked_at_when_the_first_has_nothing() {
        let (one, two) = (sample(), sample());
        fs::create_dir(two.root.path().join("only-here")).expect("creates");
        let roots = [one.root.path().to_owned(), two.root.path().to_owned()];
        let components = Components::open(&roots, None, one.data.path()).expect("opens");

        let found = components.resolve("only-here").expect("in the second root");

        assert_eq!(found.root(), two.root.path().canonicalize().expect("is there"));
    }

    #[test]
    fn roots_that_cannot_be_used_are_named() {
        let data = tempfile::tempdir().expect("temporary directory");

        let error =
            Components::open(&["/no/such/root".into()], None, data.path()).expect_err("none");

        assert_eq!(
            error.to_string(),
            "the root `/no/such/root` is not a directory that can be used"
        );
        assert!(matches!(Components::open(&[], None, data.path()), Err(ComponentsError::NoRoot)));
    }
}
