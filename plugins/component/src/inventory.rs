//! Reads what describes a component.

use std::collections::BTreeMap;

use caelum_plugin_syntax::compose::{ComposeFile, is_compose_name};
use caelum_plugin_syntax::dockerfile::Dockerfile;
use caelum_plugin_syntax::kubernetes::is_manifest;
use caelum_plugin_syntax::position::Position;
use caelum_plugin_syntax::project::{self, Detected};
use caelum_plugin_syntax::yaml::{Node, YamlFile};
use caelum_sdk::{Location, PluginError, SourceFile, Target, TargetErrorCode};

use crate::routes::Routes;
use crate::walk;

/// The largest file of any kind that is read, in bytes. Larger ones are not written by hand.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How many files are read. A plan reads a component twice, and a call may ask its host 10,000 times.
const READS_MAX: usize = 2_000;
/// How many bytes of descriptions (YAML, Dockerfiles) are read together. A call may read 32 MiB, and a plan reads twice.
const DESCRIPTION_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How many bytes of sources are read together.
const SOURCE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A YAML file, read.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file, for edits.
    pub file: SourceFile,
    /// What it says.
    pub yaml: YamlFile,
}

/// A Dockerfile, read.
#[derive(Clone, Debug)]
pub struct Docker {
    /// The file, for edits.
    pub file: SourceFile,
    /// What it says.
    pub dockerfile: Dockerfile,
}

/// A file that should be readable and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Where it is.
    pub path: String,
    /// Where in it the fault lies, when that is known.
    pub position: Option<Position>,
    /// What is wrong.
    pub message: String,
}

/// What a component consists of.
#[derive(Debug)]
pub struct Inventory {
    /// Paths of all files, sorted; without version control, installed packages and build results.
    pub files: Vec<String>,
    /// How long each file is, in bytes.
    pub sizes: Vec<u64>,
    /// Whether `files` holds all of them, and all descriptions were read.
    pub complete: bool,
    /// Compose files, by path.
    pub compose: BTreeMap<String, Document>,
    /// Files with Kubernetes objects, by path.
    pub manifests: BTreeMap<String, Document>,
    /// Dockerfiles, by path.
    pub dockerfiles: BTreeMap<String, Docker>,
    /// What the sources say about routes.
    pub routes: Routes,
    /// Compose files and Dockerfiles that cannot be read.
    pub unreadable: Vec<Unreadable>,
}

impl Inventory {
    /// Reads a component.
    ///
    /// # Errors
    /// `Host` when its root cannot be listed.
    pub fn read(target: &dyn Target) -> Result<Self, PluginError> {
        let walked = walk::walk(target)?;
        let mut inventory = Inventory {
            files: walked.files.iter().map(|(path, _)| path.clone()).collect(),
            sizes: walked.files.iter().map(|(_, size)| *size).collect(),
            complete: walked.complete,
            compose: BTreeMap::new(),
            manifests: BTreeMap::new(),
            dockerfiles: BTreeMap::new(),
            routes: Routes::default(),
            unreadable: Vec::new(),
        };
        let mut reads = 0;
        let mut descriptions = DESCRIPTION_BYTES_MAX;
        let mut sources = SOURCE_BYTES_MAX;
        for (path, size) in &walked.files {
            let is_yaml = matches!(project::extension(path), Some("yaml" | "yml"));
            let is_docker = is_dockerfile_name(path);
            let is_source = project::is_source(path) && !project::is_test(path);
            if *size > FILE_BYTES_MAX || !(is_yaml || is_docker || is_source) {
                continue;
            }
            if reads >= READS_MAX {
                inventory.complete = false;
                break;
            }
            reads += 1;
            let budget = if is_source { &mut sources } else { &mut descriptions };
            match budget.checked_sub(*size) {
                Some(left) => *budget = left,
                None => {
                    inventory.complete = false;
                    continue;
                }
            }
            let file = match SourceFile::read(target, path) {
                Ok(file) => file,
                Err(error) if error.code == TargetErrorCode::BudgetExceeded => {
                    inventory.complete = false;
                    break;
                }
                // Withheld, gone, or no text: nothing a pattern could work on.
                Err(_) => continue,
            };
            if is_source {
                inventory.routes.scan(path, file.text());
            } else if is_docker {
                let dockerfile = Dockerfile::parse(file.text());
                inventory.dockerfiles.insert(path.clone(), Docker { file, dockerfile });
            } else {
                inventory.take_yaml(path, file);
            }
        }
        Ok(inventory)
    }

    fn take_yaml(&mut self, path: &str, file: SourceFile) {
        let named = is_compose_name(path);
        match YamlFile::parse(file.text()) {
            Ok(yaml) => {
                if named && ComposeFile::read(&yaml).is_some() {
                    self.compose.insert(path.to_owned(), Document { file, yaml });
                } else if is_manifest(&yaml) {
                    self.manifests.insert(path.to_owned(), Document { file, yaml });
                }
            }
            Err(error) if named => {
                let position = match &error {
                    caelum_plugin_syntax::yaml::YamlError::Syntax { at, .. } => Some(*at),
                    _ => None,
                };
                self.unreadable.push(Unreadable {
                    path: path.to_owned(),
                    position,
                    message: error.to_string(),
                });
            }
            // Templates of other tools end in `.yaml`, too, and are none.
            Err(_) => {}
        }
    }

    /// Returns the kinds of project that the files show; Kubernetes when manifests were found.
    pub fn kinds(&self) -> Vec<Detected> {
        let mut kinds = project::detect(self.files.iter().map(String::as_str));
        if let Some(path) = self.manifests.keys().next() {
            kinds.push(Detected { kind: project::ProjectKind::Kubernetes, path: path.clone() });
            kinds.sort();
        }
        // A file with the name of a compose file that holds no services shows nothing.
        kinds.retain(|detected| {
            detected.kind != project::ProjectKind::Compose || !self.compose.is_empty()
        });
        kinds
    }

    /// Answers whether a file is there.
    pub fn has(&self, path: &str) -> bool {
        self.files.binary_search_by(|file| file.as_str().cmp(path)).is_ok()
    }
}

/// Returns whether a file name is that of a Dockerfile: `Dockerfile`, `Dockerfile.dev`, `api.dockerfile`,
/// `Containerfile`.
fn is_dockerfile_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    if name.ends_with(".dockerignore") || name.ends_with(".md") {
        return false;
    }
    let first = name.split('.').next().unwrap_or_default();
    matches!(first, "dockerfile" | "containerfile") || name.ends_with(".dockerfile")
}

/// Returns the place of a node in a file.
pub fn at_node(path: &str, node: Node<'_>) -> Location {
    let (start, end) = (node.position(), node.end_position());
    Location {
        path: path.to_owned(),
        line: Some(start.line),
        column: Some(start.column),
        end_line: Some(end.line),
        end_column: Some(end.column),
    }
}

/// Returns a place in a file.
pub fn at_position(path: &str, position: Position) -> Location {
    Location { column: Some(position.column), ..Location::line(path, position.line) }
}
