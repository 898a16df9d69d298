//! The record that stays in a component: which patterns were applied, and what they made of which file.
//!
//! `.caelum/patterns.lock.json` belongs into version control. It is sorted and has one line for each file, so that
//! changes of different patterns merge; it holds no times and no machine's paths, so that the same work gives the same
//! bytes.

use std::collections::BTreeMap;

use caelum_core::id::{Digest, PluginName};
use caelum_core::pattern::Ownership;
use caelum_core::tree::{EntryKind, Tree, TreeError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where the record is.
pub const LOCK_PATH: &str = ".caelum/patterns.lock.json";

/// The version of the record that this code reads and writes.
const VERSION: u32 = 1;

/// The longest record that is read, in bytes.
const LOCK_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What was applied: the pattern as it was, and its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The pattern.
    pub pattern: PluginName,
    /// Its version.
    pub version: String,
    /// The digest of its component.
    pub digest: Digest,
    /// The parameters that it was given.
    pub parameters: Map<String, Value>,
}

/// What a pattern made of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Where, relative to the component.
    pub path: String,
    /// Who owns it.
    pub ownership: Ownership,
    /// What it hashed to before; nothing when it was new.
    pub base_sha256: Option<Digest>,
    /// What it hashes to since.
    pub result_sha256: Digest,
}

/// One pattern in the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatternRecord {
    /// The pattern.
    pub pattern: PluginName,
    /// The version that was applied last.
    pub version: String,
    /// The digest of that version's component.
    pub digest: Digest,
    /// The parameters of the last application.
    pub parameters: Map<String, Value>,
    /// Its files, sorted by path.
    pub files: Vec<FileRecord>,
}

/// A change of one file, as far as the record is concerned.
#[derive(Debug, Clone)]
pub(crate) struct Recorded<'a> {
    pub(crate) path: &'a str,
    pub(crate) ownership: Ownership,
    pub(crate) before: Option<&'a Digest>,
    pub(crate) after: Option<&'a Digest>,
}

/// The whole record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Provenance {
    /// By name.
    patterns: BTreeMap<String, PatternRecord>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    patterns: Vec<PatternRecord>,
}

/// Reads the record of a tree; a tree without one has an empty one.
///
/// # Errors
///
/// Says what is wrong with it, for people.
pub fn read_from(tree: &dyn Tree) -> Result<Provenance, String> {
    match tree.metadata(LOCK_PATH) {
        Ok(entry) if entry.kind != EntryKind::File => {
            Err(format!("`{LOCK_PATH}` is not a regular file"))
        }
        Ok(entry) if entry.size > LOCK_BYTES_MAX => {
            Err(format!("`{LOCK_PATH}` has {} bytes; at most {LOCK_BYTES_MAX}", entry.size))
        }
        Ok(entry) => {
            let length = usize::try_from(entry.size).unwrap_or(usize::MAX);
            let bytes = tree.read(LOCK_PATH, 0, length).map_err(|error| error.to_string())?;
            Provenance::parse(&bytes).map_err(|problem| format!("`{LOCK_PATH}`: {problem}"))
        }
        Err(TreeError::NotFound { .. }) => Ok(Provenance::default()),
        Err(error) => Err(error.to_string()),
    }
}

impl Provenance {
    /// Reads a record from its bytes.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it, for people.
    pub fn parse(bytes: &[u8]) -> Result<Provenance, String> {
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| format!("it is not a record: {error}"))?;
        if document.version != VERSION {
            return Err(format!(
                "it has version {}; this server knows version {VERSION}",
                document.version
            ));
        }
        let mut patterns = BTreeMap::new();
        for record in document.patterns {
            let name = record.pattern.to_string();
            if patterns.insert(name.clone(), record).is_some() {
                return Err(format!("the pattern `{name}` is in it twice"));
            }
        }
        Ok(Provenance { patterns })
    }

    /// Writes the record: the same bytes for the same record.
    pub fn render(&self) -> String {
        let mut text = format!("{{\n  \"version\": {VERSION},\n  \"patterns\": [");
        for (index, record) in self.patterns.values().enumerate() {
            text.push_str(if index == 0 { "\n" } else { ",\n" });
            let mut parameters = Value::Object(record.parameters.clone());
            parameters.sort_all_objects();
            text.push_str(&format!(
                "    {{\n      \"pattern\": {},\n      \"version\": {},\n      \"digest\": {},\n      \"parameters\": {parameters},\n      \"files\": [",
                Value::from(record.pattern.as_str()),
                Value::from(record.version.as_str()),
                Value::from(record.digest.as_str()),
            ));
            let mut files: Vec<&FileRecord> = record.files.iter().collect();
            files.sort_by(|one, other| one.path.cmp(&other.path));
            for (index, file) in files.into_iter().enumerate() {
                let line = serde_json::to_string(file).expect("a record of text is JSON");
                text.push_str(if index == 0 { "\n" } else { ",\n" });
                text.push_str("        ");
                text.push_str(&line);
            }
            text.push_str(if record.files.is_empty() { "]\n    }" } else { "\n      ]\n    }" });
        }
        text.push_str(if self.patterns.is_empty() { "]\n}\n" } else { "\n  ]\n}\n" });
        text
    }

    /// Returns whether nothing was applied.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Returns the patterns, sorted by name.
    pub fn patterns(&self) -> impl Iterator<Item = &PatternRecord> {
        self.patterns.values()
    }

    /// Returns what is recorded of one pattern.
    pub fn pattern(&self, name: &str) -> Option<&PatternRecord> {
        self.patterns.get(name)
    }

    /// Returns whether a pattern once wrote the file for the user to keep.
    pub fn is_seed(&self, path: &str) -> bool {
        self.patterns
            .values()
            .flat_map(|record| &record.files)
            .any(|file| file.path == path && file.ownership == Ownership::Seed)
    }

    /// Records an application. Files that other patterns own as well are followed: what they hash to now is no drift.
    pub(crate) fn record(&mut self, source: &Source, changes: &[Recorded<'_>]) {
        self.follow(changes);
        let files = self.patterns.remove(source.pattern.as_str()).map(|record| record.files);
        let mut files: BTreeMap<String, FileRecord> =
            files.unwrap_or_default().into_iter().map(|file| (file.path.clone(), file)).collect();
        for change in changes {
            match change.after {
                Some(after) => {
                    let record = FileRecord {
                        path: change.path.to_owned(),
                        ownership: change.ownership,
                        base_sha256: change.before.cloned(),
                        result_sha256: after.clone(),
                    };
                    files.insert(record.path.clone(), record);
                }
                None => drop(files.remove(change.path)),
            }
        }
        let record = PatternRecord {
            pattern: source.pattern.clone(),
            version: source.version.clone(),
            digest: source.digest.clone(),
            parameters: source.parameters.clone(),
            files: files.into_values().collect(),
        };
        self.patterns.insert(source.pattern.to_string(), record);
    }

    /// Takes an application out of the record: `previous` is what was recorded of the pattern before it. Changes are
    /// those of taking it back.
    pub(crate) fn take_back(
        &mut self,
        pattern: &PluginName,
        previous: Option<PatternRecord>,
        changes: &[Recorded<'_>],
    ) {
        self.patterns.remove(pattern.as_str());
        self.follow(changes);
        if let Some(previous) = previous {
            self.patterns.insert(pattern.to_string(), previous);
        }
    }

    fn follow(&mut self, changes: &[Recorded<'_>]) {
        let changes: BTreeMap<&str, &Recorded<'_>> =
            changes.iter().map(|change| (change.path, change)).collect();
        for record in self.patterns.values_mut() {
            record.files.retain_mut(|file| match changes.get(file.path.as_str()) {
                None => true,
                Some(Recorded { after: Some(after), .. }) => {
                    file.result_sha256 = (*after).clone();
                    true
                }
                Some(_) => false,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::digest_of;
    use serde_json::json;

    fn source(pattern: &str, parameters: Value) -> Source {
        let Value::Object(parameters) = parameters else { panic!("an object") };
        Source {
            pattern: pattern.parse().expect("legal"),
            version: "1.0.0".to_owned(),
            digest: digest_of(b"plugin"),
            parameters,
        }
    }

    fn change<'a>(
        path: &'a str,
        before: Option<&'a Digest>,
        after: Option<&'a Digest>,
    ) -> Recorded<'a> {
        Recorded { path, ownership: Ownership::Managed, before, after }
    }

    #[test]
    fn the_record_is_sorted_has_a_line_for_each_file_and_reads_back() {
        let (one, two) = (digest_of(b"1"), digest_of(b"2"));
        let mut provenance = Provenance::default();
        provenance.record(
            &source("z", json!({"b": {"y": 1, "x": 2}, "a": []})),
            &[change("q", None, Some(&one))],
        );
        provenance.record(
            &source("a", json!({})),
            &[
                change("c", None, Some(&one)),
                change("b", Some(&one), Some(&two)),
                change("gone", Some(&one), None),
            ],
        );

        let text = provenance.render();

        let digest = digest_of(b"plugin");
        assert_eq!(
            text,
            format!(
                r#"{{
  "version": 1,
  "patterns": [
    {{
      "pattern": "a",
      "version": "1.0.0",
      "digest": "{digest}",
      "parameters": {{}},
      "files": [
        {{"path":"b","ownership":"managed","base_sha256":"{one}","result_sha256":"{two}"}},
        {{"path":"c","ownership":"managed","base_sha256":null,"result_sha256":"{one}"}}
      ]
    }},
    {{
      "pattern": "z",
      "version": "1.0.0",
      "digest": "{digest}",
      "parameters": {{"a":[],"b":{{"x":2,"y":1}}}},
      "files": [
        {{"path":"q","ownership":"managed","base_sha256":null,"result_sha256":"{one}"}}
      ]
    }}
  ]
}}
"#
            )
        );
        assert_eq!(Provenance::parse(text.as_bytes()).expect("reads").render(), text);
        let empty = Provenance::default().render();
        assert!(Provenance::parse(empty.as_bytes()).expect("reads").is_empty());
    }

    #[test]
    fn a_file_of_two_patterns_is_followed_when_one_changes_it() {
        let (one, two, three) = (digest_of(b"1"), digest_of(b"2"), digest_of(b"3"));
        let mut provenance = Provenance::default();
        provenance.record(&source("a", json!({})), &[change("f", Some(&one), Some(&two))]);
        let before = provenance.pattern("b").cloned();
        provenance.record(&source("b", json!({})), &[change("f", Some(&two), Some(&three))]);
        assert_eq!(provenance.pattern("a").expect("is there").files[0].result_sha256, three);

        provenance.take_back(
            &"b".parse().expect("legal"),
            before,
            &[change("f", Some(&three), Some(&two))],
        );

        assert_eq!(provenance.pattern("a").expect("is there").files[0].result_sha256, two);
        assert_eq!(provenance.pattern("b"), None);
    }

    #[test]
    fn what_is_no_record_is_refused_with_the_reason() {
        for (text, words) in [
            ("", "it is not a record"),
            ("{\"version\":2,\"patterns\":[]}", "it has version 2; this server knows version 1"),
            ("{\"version\":1,\"patterns\":[],\"more\":1}", "unknown field `more`"),
        ] {
            let problem = Provenance::parse(text.as_bytes()).expect_err(text);
            assert!(problem.contains(words), "{problem}");
        }
    }
}
