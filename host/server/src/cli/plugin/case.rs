//! Cases: what a plugin is given, as a JSON document. Paths in it begin where the document lies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use caelum_core::evidence::Evidence;
use caelum_core::plugin::Phase;
use caelum_core::tree::{MapTree, Tree};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::evidence::EvidenceDocument;
use super::recording::{Recording, Replay};

/// How many files a directory of a case may hold: a fixture, not a disk.
const FILES_MAX: usize = 10_000;

/// How many bytes they may hold together: as much as one call may read, by default.
const BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Everything that a plugin is given.
#[derive(Clone)]
pub(super) struct Case {
    /// What it is called: its file, without extension.
    pub(super) name: String,
    /// The parameters: a JSON object.
    pub(super) parameters: Value,
    /// The context of a pattern's call: a JSON object.
    pub(super) context: Value,
    /// The evidence of a validator's call.
    pub(super) evidence: Evidence,
    /// Which gate asks a validator.
    pub(super) phase: Option<Phase>,
    /// The tree.
    pub(super) tree: Arc<dyn Tree>,
    /// The same tree, when it is played back from a recording.
    pub(super) replay: Option<Arc<Replay>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    /// What the case shows; for people.
    #[serde(rename = "about")]
    _about: Option<String>,
    parameters: Map<String, Value>,
    context: Map<String, Value>,
    evidence: EvidenceDocument,
    phase: Option<Phase>,
    target: TargetDocument,
}

/// The tree of a case.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TargetDocument {
    /// A directory, which is copied as it is; links are left out.
    directory: Option<PathBuf>,
    /// Files by path; they take the place of those of the directory.
    files: BTreeMap<String, String>,
    /// What an earlier run saw, and nothing else.
    recorded: Option<Recording>,
}

/// What is wrong with a case.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problems.iter().map(|problem| format!("`{}`: {problem}", .path.display())).collect::<Vec<_>>().join("\n"))]
pub(super) struct CaseError {
    path: PathBuf,
    problems: Vec<String>,
}

impl Case {
    /// Makes a case of nothing: no parameters, no evidence, an empty tree.
    pub(super) fn empty() -> Self {
        let evidence = EvidenceDocument::default();
        Case {
            name: "empty".to_owned(),
            parameters: Value::Object(Map::new()),
            context: Value::Object(Map::new()),
            evidence: evidence.read(Path::new("")).expect("the defaults of evidence are legal"),
            phase: None,
            tree: Arc::new(MapTree::new()),
            replay: None,
        }
    }

    /// Reads a case.
    ///
    /// # Errors
    ///
    /// What is wrong, with its place in the document.
    pub(super) fn read(path: &Path) -> Result<Self, CaseError> {
        let wrong = |problems| CaseError { path: path.to_owned(), problems };
        let document: Document = document(path).map_err(|problem| wrong(vec![problem]))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let mut problems = Vec::new();
        let evidence = document.evidence.read(directory).unwrap_or_else(|found| {
            problems.extend(found.into_iter().map(|problem| format!("/evidence{problem}")));
            Self::empty().evidence
        });
        let (tree, replay) = match document.target.open(directory) {
            Ok(opened) => opened,
            Err(found) => {
                problems.extend(found);
                return Err(wrong(problems));
            }
        };
        if !problems.is_empty() {
            return Err(wrong(problems));
        }
        Ok(Case {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            parameters: Value::Object(document.parameters),
            context: Value::Object(document.context),
            evidence,
            phase: document.phase,
            tree,
            replay,
        })
    }

    /// Returns what was asked for and is not in the recording that the tree is played back from.
    pub(super) fn missing(&self) -> Vec<String> {
        self.replay.as_ref().map(|replay| replay.missing()).unwrap_or_default()
    }
}

/// Reads evidence from a document of its own.
///
/// # Errors
///
/// As [`Case::read`].
pub(super) fn read_evidence(path: &Path) -> Result<Evidence, CaseError> {
    let wrong = |problems| CaseError { path: path.to_owned(), problems };
    let evidence: EvidenceDocument = document(path).map_err(|problem| wrong(vec![problem]))?;
    evidence.read(path.parent().unwrap_or(Path::new(""))).map_err(wrong)
}

fn document<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

type Opened = (Arc<dyn Tree>, Option<Arc<Replay>>);

impl TargetDocument {
    fn open(self, directory: &Path) -> Result<Opened, Vec<String>> {
        if let Some(recorded) = self.recorded {
            if self.directory.is_some() || !self.files.is_empty() {
                return Err(vec![
                    "/target: `recorded` stands alone, without `directory` and `files`".to_owned(),
                ]);
            }
            let replay = Replay::new(recorded)
                .map_err(|problem| vec![format!("/target/recorded: {problem}")])?;
            let replay = Arc::new(replay);
            return Ok((Arc::clone(&replay) as Arc<dyn Tree>, Some(replay)));
        }
        let mut problems = Vec::new();
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        if let Some(path) = &self.directory {
            let root = directory.join(path);
            if let Err(problem) = read_directory(&root, "", &mut files, &mut 0) {
                problems.push(format!("/target/directory: {problem}"));
            }
        }
        files.extend(self.files.into_iter().map(|(path, text)| (path, text.into_bytes())));
        let mut tree = MapTree::new();
        for (path, bytes) in files {
            if let Err(error) = tree.insert(&path, bytes) {
                problems.push(format!("/target/files/{path}: {error}"));
            }
        }
        if problems.is_empty() { Ok((Arc::new(tree), None)) } else { Err(problems) }
    }
}

fn read_directory(
    directory: &Path,
    prefix: &str,
    files: &mut BTreeMap<String, Vec<u8>>,
    bytes: &mut u64,
) -> Result<(), String> {
    let told = |error: std::io::Error| format!("`{}` cannot be read: {error}", directory.display());
    for entry in std::fs::read_dir(directory).map_err(told)? {
        let entry = entry.map_err(told)?;
        let kind = entry.file_type().map_err(told)?;
        let name = entry
            .file_name()
            .into_string()
            .map_err(|name| format!("{name:?} in `{}` is not UTF-8", directory.display()))?;
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if kind.is_dir() {
            read_directory(&entry.path(), &path, files, bytes)?;
        } else if kind.is_file() {
            *bytes += entry.metadata().map_err(told)?.len();
            if files.len() >= FILES_MAX || *bytes > BYTES_MAX {
                return Err(format!(
                    "it has more than {FILES_MAX} files or {BYTES_MAX} bytes; record what is read of it with `plugin run --record`"
                ));
            }
            files.insert(path, std::fs::read(entry.path()).map_err(told)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(text: &str) -> Result<Case, CaseError> {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(directory.path().join("fixture/src")).expect("made");
        std::fs::write(directory.path().join("fixture/src/a.txt"), "old").expect("written");
        let path = directory.path().join("one.json");
        std::fs::write(&path, text).expect("written");
        Case::read(&path)
    }

    #[test]
    fn files_lie_over_the_directory() {
        let case = case(r#"{"target": {"directory": "fixture", "files": {"src/b.txt": "new"}}, "parameters": {"a": 1}}"#)
            .unwrap_or_else(|error| panic!("{error}"));

        assert_eq!(case.name, "one");
        assert_eq!(case.tree.read("src/a.txt", 0, 9).expect("there"), b"old");
        assert_eq!(case.tree.read("src/b.txt", 0, 9).expect("there"), b"new");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let table = [
            (r#"{"targets": {}}"#, "unknown field `targets`"),
            (r#"{"phase": "during"}"#, "unknown variant `during`"),
            (r#"{"target": {"directory": "gone"}}"#, "/target/directory: "),
            (r#"{"target": {"files": {"../x": ""}}}"#, "/target/files/../x: "),
            (r#"{"target": {"files": {"x": ""}, "recorded": {}}}"#, "`recorded` stands alone"),
            (r#"{"evidence": {"started_at": "now"}}"#, "/evidence/started_at: `now`"),
            ("[", "EOF"),
        ];
        for (text, expected) in table {
            let error = case(text).err().unwrap_or_else(|| panic!("{text} must be refused"));
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }
}
