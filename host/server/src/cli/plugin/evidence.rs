//! Evidence as authors write it by hand: everything has a default, so that a case says only what it is about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use caelum_core::clock::Timestamp;
use caelum_core::evidence::{Evidence, EvidenceFile, ProbeAnswer, Review, ReviewDecision};
use caelum_core::id::{Digest, MachineId};
use caelum_core::task::{FailureClass, OutcomeStatus, Output, TaskFailure, TaskOutcome};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Noon on 1 January 2026: when attempts begin unless the document says otherwise.
const STARTED_AT: Timestamp = Timestamp::from_micros(1_767_268_800_000_000);

/// How long after the attempt's beginning a probe is taken and a review is given unless the document says otherwise.
const PROBED_AFTER: Duration = Duration::from_secs(1);
const REVIEWED_AFTER: Duration = Duration::from_secs(300);

/// The digest of the work unless the document names another.
const SUBJECT: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[31] = 1;
    bytes
};

/// One attempt of one step, as a JSON document.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EvidenceDocument {
    execution_id: Option<String>,
    step_id: Option<String>,
    attempt: Option<u32>,
    started_at: Option<String>,
    performer: Option<String>,
    outcomes: Vec<OutcomeDocument>,
    probes: Vec<ProbeDocument>,
    reviews: Vec<ReviewDocument>,
    /// Text of collected files by `<machine>/<path>`.
    files: BTreeMap<String, String>,
    /// Collected files by `<machine>/<path>`: where their text is, relative to the document.
    files_from: BTreeMap<String, PathBuf>,
    subject_digest: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OutcomeDocument {
    machine: Option<String>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    timed_out: bool,
    duration_ms: u64,
    stdout: String,
    stderr: String,
    /// Says that the middle of standard output was left out.
    stdout_truncated: bool,
    /// Says that the middle of standard error was left out.
    stderr_truncated: bool,
    outputs: Map<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProbeDocument {
    name: String,
    kind: String,
    machine: Option<String>,
    taken_at: Option<String>,
    ok: Option<bool>,
    answer: Value,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReviewDocument {
    reviewer: String,
    decision: ReviewDecision,
    #[serde(default)]
    reason: String,
    at: Option<String>,
    subject_digest: Option<String>,
}

/// Collects what is wrong with a document while it is read.
struct Problems(Vec<String>);

impl Problems {
    /// Reads a value of text, or notes what is wrong and takes the default.
    fn read<T>(&mut self, at: &str, text: Option<&String>, default: T) -> T
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        match text.map(|text| text.parse()) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                self.0.push(format!("{at}: {error}"));
                default
            }
        }
    }
}

impl EvidenceDocument {
    /// Makes evidence of the document. `directory` is where the document lies.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, with its place.
    pub(super) fn read(&self, directory: &Path) -> Result<Evidence, Vec<String>> {
        let mut problems = Problems(Vec::new());
        let started_at = problems.read("/started_at", self.started_at.as_ref(), STARTED_AT);
        let subject = problems.read(
            "/subject_digest",
            self.subject_digest.as_ref(),
            Digest::from_bytes(&SUBJECT),
        );
        let evidence = Evidence {
            execution_id: problems.read(
                "/execution_id",
                self.execution_id.as_ref(),
                fixed("execution-1"),
            ),
            step_id: problems.read("/step_id", self.step_id.as_ref(), fixed("step-1")),
            attempt: self.attempt.unwrap_or(1),
            started_at,
            performer: self.performer.clone(),
            outcomes: self.outcomes(started_at, &mut problems),
            probes: self.probes(started_at, &mut problems),
            reviews: self.reviews(started_at, &subject, &mut problems),
            files: self.files(directory, &mut problems),
            subject_digest: subject,
        };
        if problems.0.is_empty() { Ok(evidence) } else { Err(problems.0) }
    }

    fn outcomes(
        &self,
        started_at: Timestamp,
        problems: &mut Problems,
    ) -> Vec<(MachineId, TaskOutcome)> {
        let outcomes = self.outcomes.iter().enumerate().map(|(index, outcome)| {
            let at = format!("/outcomes/{index}/machine");
            let machine = problems.read(&at, outcome.machine.as_ref(), MachineId::local());
            (machine, outcome.read(started_at))
        });
        let mut outcomes: Vec<(MachineId, TaskOutcome)> = outcomes.collect();
        outcomes.sort_by(|(left, _), (right, _)| left.cmp(right));
        outcomes
    }

    fn probes(&self, started_at: Timestamp, problems: &mut Problems) -> Vec<ProbeAnswer> {
        let probes = self.probes.iter().enumerate().map(|(index, probe)| {
            let at = format!("/probes/{index}");
            ProbeAnswer {
                name: probe.name.clone(),
                kind: probe.kind.clone(),
                machine: problems.read(
                    &format!("{at}/machine"),
                    probe.machine.as_ref(),
                    MachineId::local(),
                ),
                taken_at: problems.read(
                    &format!("{at}/taken_at"),
                    probe.taken_at.as_ref(),
                    started_at.plus(PROBED_AFTER),
                ),
                ok: probe.ok.unwrap_or(true),
                answer: probe.answer.clone(),
            }
        });
        probes.collect()
    }

    fn reviews(
        &self,
        started_at: Timestamp,
        subject: &Digest,
        problems: &mut Problems,
    ) -> Vec<Review> {
        let reviews = self.reviews.iter().enumerate().map(|(index, review)| {
            let at = format!("/reviews/{index}");
            Review {
                reviewer: review.reviewer.clone(),
                decision: review.decision,
                reason: review.reason.clone(),
                at: problems.read(
                    &format!("{at}/at"),
                    review.at.as_ref(),
                    started_at.plus(REVIEWED_AFTER),
                ),
                subject_digest: problems.read(
                    &format!("{at}/subject_digest"),
                    review.subject_digest.as_ref(),
                    subject.clone(),
                ),
            }
        });
        reviews.collect()
    }

    fn files(&self, directory: &Path, problems: &mut Problems) -> Vec<(MachineId, EvidenceFile)> {
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        for (name, text) in &self.files {
            texts.insert(name, text.clone());
        }
        for (name, path) in &self.files_from {
            let path = directory.join(path);
            match std::fs::read(&path) {
                Ok(bytes) => {
                    texts.insert(name, String::from_utf8_lossy(&bytes).into_owned());
                }
                Err(error) => problems.0.push(format!(
                    "/files_from/{name}: `{}` cannot be read: {error}",
                    path.display()
                )),
            }
        }
        let mut files = Vec::new();
        for (name, text) in texts {
            match name.split_once('/') {
                Some((machine, path)) if !path.is_empty() => {
                    let machine = problems.read(
                        &format!("/files/{name}"),
                        Some(&machine.to_owned()),
                        MachineId::local(),
                    );
                    let total_bytes = text.len() as u64;
                    let file =
                        EvidenceFile { path: path.to_owned(), text, total_bytes, truncated: false };
                    files.push((machine, file));
                }
                _ => problems.0.push(format!(
                    "/files/{name}: expected `<machine>/<path>`, such as `local/report.xml`"
                )),
            }
        }
        files
    }
}

impl OutcomeDocument {
    fn read(&self, started_at: Timestamp) -> TaskOutcome {
        let status = if self.timed_out {
            OutcomeStatus::TimedOut
        } else if self.exit_code == Some(0) {
            OutcomeStatus::Succeeded
        } else {
            OutcomeStatus::Failed
        };
        let failure = (status != OutcomeStatus::Succeeded).then(|| TaskFailure {
            class: FailureClass::Exit,
            code: if self.timed_out { "run_timeout" } else { "exit_code" }.to_owned(),
            message: "the program failed".to_owned(),
            hint: None,
        });
        let output = |text: &str, truncated| Output {
            text: text.to_owned(),
            total_bytes: text.len() as u64,
            truncated,
        };
        TaskOutcome {
            status,
            exit_code: self.exit_code,
            signal: self.signal,
            started_at,
            ended_at: started_at.plus(Duration::from_millis(self.duration_ms)),
            stdout: output(&self.stdout, self.stdout_truncated),
            stderr: output(&self.stderr, self.stderr_truncated),
            outputs: self.outputs.clone(),
            collected: Vec::new(),
            failure,
        }
    }
}

/// An id that is written in this source.
fn fixed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("it keeps the rules of ids")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(document: Value) -> Result<Evidence, Vec<String>> {
        serde_json::from_value::<EvidenceDocument>(document)
            .expect("a document")
            .read(Path::new("."))
    }

    #[test]
    fn everything_has_a_default() {
        let evidence = read(json!({"outcomes": [{"exit_code": 0}]})).expect("evidence");

        assert_eq!(evidence.started_at.to_string(), "2026-01-01T12:00:00.000000Z");
        assert_eq!((evidence.attempt, evidence.step_id.as_str()), (1, "step-1"));
        assert_eq!(evidence.outcomes[0].0, MachineId::local());
        assert_eq!(evidence.outcomes[0].1.status, OutcomeStatus::Succeeded);
    }

    #[test]
    fn a_review_is_of_this_work_unless_it_says_otherwise() {
        let evidence = read(json!({"reviews": [
            {"reviewer": "ada", "decision": "approved"},
            {"reviewer": "bob", "decision": "rejected", "reason": "no", "subject_digest": "2".repeat(64)},
        ]}))
        .expect("evidence");

        let current = |review: &Review| review.subject_digest == evidence.subject_digest;
        assert_eq!(evidence.reviews.iter().map(current).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn everything_that_is_wrong_is_named_with_its_place() {
        let problems = read(json!({
            "started_at": "yesterday", "subject_digest": "1", "files": {"report.xml": ""},
            "files_from": {"local/x": "does/not/exist"}, "outcomes": [{"machine": "a b"}],
        }))
        .expect_err("wrong");

        let starts = [
            "/started_at: ",
            "/subject_digest: ",
            "/outcomes/0/machine: ",
            "/files_from/local/x: ",
            "/files/report.xml: ",
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:#?}");
        for (problem, start) in problems.iter().zip(starts) {
            assert!(problem.starts_with(start), "{problem}");
        }
    }
}
