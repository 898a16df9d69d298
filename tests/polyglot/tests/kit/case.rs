//! The cases: what a plugin is given, and the file with what it must answer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use caelum_core::clock::Timestamp;
use caelum_core::evidence::{Evidence, EvidenceFile, Review, ReviewDecision};
use caelum_core::id::{Digest, MachineId};
use caelum_core::task::{OutcomeStatus, Output, TaskOutcome};
use caelum_core::tree::MapTree;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a plugin is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Given {
    /// What the case is about.
    pub(crate) about: String,
    #[serde(default = "empty")]
    pub(crate) parameters: Value,
    /// For patterns.
    #[serde(default = "empty")]
    pub(crate) context: Value,
    /// The tree, as text.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// More of the tree, as bytes.
    #[serde(default)]
    bytes: BTreeMap<String, Vec<u8>>,
    /// More of the tree: a text, many times over.
    #[serde(default)]
    long: BTreeMap<String, (String, usize)>,
    /// How the program ended, by machine. For validators.
    #[serde(default)]
    outcomes: Vec<GivenOutcome>,
    #[serde(default)]
    performer: Option<String>,
    #[serde(default)]
    reviews: Vec<GivenReview>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenOutcome {
    machine: String,
    #[serde(default)]
    exit_code: Option<i32>,
    #[serde(default)]
    signal: Option<i32>,
    #[serde(default)]
    timed_out: bool,
    /// The files that were collected.
    #[serde(default)]
    collected: BTreeMap<String, String>,
    /// More of them: a text, many times over.
    #[serde(default)]
    long: BTreeMap<String, (String, usize)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenReview {
    reviewer: String,
    decision: ReviewDecision,
    reason: String,
    /// Whether it is about earlier work.
    #[serde(default)]
    is_stale: bool,
}

fn empty() -> Value {
    Value::Object(Map::new())
}

/// A case, and where its answer lies.
pub(crate) struct Case {
    pub(crate) given: Given,
    expected: PathBuf,
}

impl Case {
    /// Reads every case of a plugin, in the order of their names.
    pub(crate) fn of(plugin: &str) -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(plugin);
        let entries = fs::read_dir(&folder).expect("the plugin has cases");
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.expect("an entry can be read").path())
            .filter(|path| !path.to_string_lossy().ends_with(".expected.json"))
            .collect();
        paths.sort();
        assert!(!paths.is_empty(), "`{plugin}` has no cases");
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a case is text");
        let given = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { given, expected: path.with_extension("expected.json") }
    }

    /// Holds an answer to what is expected, or writes it down.
    pub(crate) fn expect(&self, who: &str, answer: &Value) {
        if who == "rust" && std::env::var_os("CAELUM_WRITE_GOLDEN").is_some() {
            let text = format!("{answer:#}\n");
            fs::write(&self.expected, text).expect("an answer can be written");
        }
        let text = fs::read_to_string(&self.expected).unwrap_or_else(|error| {
            panic!("{}: {error}; write it with CAELUM_WRITE_GOLDEN=1", self.expected.display())
        });
        let expected: Value = serde_json::from_str(&text).expect("an answer is JSON");
        assert!(
            answer == &expected,
            "{who}, {} ({}):\n{answer:#}\nand not\n{expected:#}",
            self.expected.display(),
            self.given.about
        );
    }
}

impl Given {
    /// Builds the tree.
    pub(crate) fn tree(&self) -> Arc<MapTree> {
        let mut tree = MapTree::new();
        let long = self.long.iter().map(|(path, (text, times))| (path, text.repeat(*times)));
        let texts = self.files.iter().map(|(path, text)| (path, text.clone())).chain(long);
        let texts = texts.map(|(path, text)| (path, text.into_bytes()));
        let bytes = self.bytes.iter().map(|(path, bytes)| (path, bytes.clone()));
        for (path, bytes) in texts.chain(bytes) {
            tree.insert(path, bytes).unwrap_or_else(|error| panic!("`{path}`: {error}"));
        }
        Arc::new(tree)
    }

    /// Builds the evidence.
    pub(crate) fn evidence(&self) -> Evidence {
        let subject_digest = Digest::from_bytes(&[7; 32]);
        let mut files = Vec::new();
        let mut outcomes = Vec::new();
        for outcome in &self.outcomes {
            let machine: MachineId = outcome.machine.parse().expect("the id of a machine");
            let long = outcome.long.iter().map(|(path, (text, times))| (path, text.repeat(*times)));
            let texts = outcome.collected.iter().map(|(path, text)| (path, text.clone()));
            for (path, text) in texts.chain(long) {
                let total_bytes = text.len() as u64;
                let file = EvidenceFile { path: path.clone(), text, total_bytes, truncated: false };
                files.push((machine.clone(), file));
            }
            outcomes.push((machine, outcome.ended()));
        }
        let reviews = self.reviews.iter().map(|review| Review {
            reviewer: review.reviewer.clone(),
            decision: review.decision,
            reason: review.reason.clone(),
            at: Timestamp::from_micros(1_700_000_060_000_000),
            subject_digest: match review.is_stale {
                true => Digest::from_bytes(&[8; 32]),
                false => subject_digest.clone(),
            },
        });
        Evidence {
            execution_id: "e1".parse().expect("an id"),
            step_id: "test".parse().expect("an id"),
            attempt: 1,
            started_at: Timestamp::from_micros(1_700_000_000_000_000),
            performer: self.performer.clone(),
            outcomes,
            probes: vec![],
            reviews: reviews.collect(),
            files,
            subject_digest,
        }
    }
}

impl GivenOutcome {
    fn ended(&self) -> TaskOutcome {
        let status = match (self.timed_out, self.exit_code) {
            (true, _) => OutcomeStatus::TimedOut,
            (false, Some(0)) => OutcomeStatus::Succeeded,
            (false, _) => OutcomeStatus::Failed,
        };
        TaskOutcome {
            status,
            exit_code: self.exit_code,
            signal: self.signal,
            started_at: Timestamp::from_micros(1_700_000_000_000_000),
            ended_at: Timestamp::from_micros(1_700_000_001_500_000),
            stdout: Output::default(),
            stderr: Output::default(),
            outputs: Map::new(),
            collected: vec![],
            failure: None,
        }
    }
}
