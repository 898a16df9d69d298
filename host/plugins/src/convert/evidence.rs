//! Evidence on its way to a validator, and the tree in which it reads the collected files.

use std::sync::Arc;

use caelum_core::evidence::{Evidence, ReviewDecision};
use caelum_core::plugin::Phase;
use caelum_core::task::OutcomeStatus;
use caelum_core::task::Output;
use caelum_core::tree::{MapTree, Mounted, Tree, TreeError};

use crate::bindings::validator_export as guest;

/// The longest output of a program that a validator gets, in bytes (`validator.wit`).
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// Where the collected files are.
const FILES_ROOT: &str = "evidence";

/// The longest evidence file that is handed on, in bytes. What was collected is capped where it was collected; this
/// bounds what a hand-written report can hold.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A file of the evidence cannot be shown to a validator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvidenceError {
    /// Its path breaks the rules of paths, or is a directory of another one.
    #[error("the evidence file of machine `{machine}` cannot be shown: {source}")]
    Path { machine: String, source: TreeError },
    /// It is too large.
    #[error("the evidence file `{path}` has {bytes} bytes; at most {FILE_BYTES_MAX} are allowed")]
    Size { path: String, bytes: usize },
}

/// Brings evidence into the contract's form, and lays its files over `tree` under `evidence/<machine>/`.
///
/// # Errors
///
/// The first file that cannot be shown.
pub(crate) fn guest_evidence(
    evidence: &Evidence,
    phase: Option<Phase>,
    tree: Arc<dyn Tree>,
) -> Result<(guest::Evidence, Arc<dyn Tree>), EvidenceError> {
    let files = files(evidence)?;
    let paths: Vec<String> = files.paths().map(str::to_owned).collect();
    let tree = Mounted::new(tree, FILES_ROOT, Arc::new(files));
    let mut extensions = Vec::new();
    if let Some(phase) = phase {
        let phase = match phase {
            Phase::Before => "\"before\"",
            Phase::After => "\"after\"",
        };
        extensions.push(("phase".to_owned(), phase.to_owned()));
    }
    let given = guest::Evidence {
        execution_id: evidence.execution_id.to_string(),
        step_id: evidence.step_id.to_string(),
        attempt: evidence.attempt,
        started_at: evidence.started_at.to_string(),
        performer: evidence.performer.clone(),
        outcomes: outcomes(evidence),
        probes: evidence
            .probes
            .iter()
            .map(|probe| guest::Probe {
                name: probe.name.clone(),
                kind: probe.kind.clone(),
                machine: probe.machine.to_string(),
                taken_at: probe.taken_at.to_string(),
                ok: probe.ok,
                answer: probe.answer.to_string(),
            })
            .collect(),
        reviews: evidence
            .reviews
            .iter()
            .map(|review| guest::Review {
                reviewer: review.reviewer.clone(),
                decision: match review.decision {
                    ReviewDecision::Approved => guest::Decision::Approved,
                    ReviewDecision::Rejected => guest::Decision::Rejected,
                    ReviewDecision::Abstained => guest::Decision::Abstained,
                },
                reason: review.reason.clone(),
                at: review.at.to_string(),
                subject_digest: review.subject_digest.to_string(),
            })
            .collect(),
        files: paths,
        subject_digest: evidence.subject_digest.to_string(),
        extensions,
    };
    Ok((given, Arc::new(tree)))
}

fn files(evidence: &Evidence) -> Result<MapTree, EvidenceError> {
    let mut files = MapTree::new();
    for (machine, file) in &evidence.files {
        let path = format!("{FILES_ROOT}/{machine}/{}", file.path);
        if file.text.len() > FILE_BYTES_MAX {
            return Err(EvidenceError::Size { path, bytes: file.text.len() });
        }
        files
            .insert(&path, file.text.as_bytes())
            .map_err(|source| EvidenceError::Path { machine: machine.to_string(), source })?;
    }
    Ok(files)
}

fn outcomes(evidence: &Evidence) -> Vec<guest::Outcome> {
    let mut outcomes: Vec<guest::Outcome> = evidence
        .outcomes
        .iter()
        .map(|(machine, outcome)| guest::Outcome {
            machine: machine.to_string(),
            exit_code: outcome.exit_code,
            signal: outcome.signal,
            timed_out: outcome.status == OutcomeStatus::TimedOut,
            duration_ms: u64::try_from(outcome.ended_at.since(outcome.started_at).as_millis())
                .unwrap_or(u64::MAX),
            stdout: output(&outcome.stdout),
            stderr: output(&outcome.stderr),
            outputs: serde_json::Value::Object(outcome.outputs.clone()).to_string(),
        })
        .collect();
    outcomes.sort_by(|one, other| one.machine.cmp(&other.machine));
    outcomes
}

/// Keeps the beginning and the end of a text that is longer than the contract allows.
fn output(given: &Output) -> guest::Output {
    if given.text.len() <= OUTPUT_BYTES_MAX {
        return guest::Output {
            text: given.text.clone(),
            total_bytes: given.total_bytes,
            truncated: given.truncated,
        };
    }
    let half = OUTPUT_BYTES_MAX / 2 - 64;
    let head = &given.text[..given.text.floor_char_boundary(half)];
    let tail = &given.text[given.text.ceil_char_boundary(given.text.len() - half)..];
    let missing = given.text.len() - head.len() - tail.len();
    guest::Output {
        text: format!("{head}\n… {missing} bytes left out …\n{tail}"),
        total_bytes: given.total_bytes,
        truncated: true,
    }
}

#[cfg(test)]
mod tests {
    use caelum_core::clock::Timestamp;
    use caelum_core::evidence::EvidenceFile;
    use caelum_core::id::{Digest, MachineId};

    use super::*;

    fn evidence(files: &[(&str, &str)]) -> Evidence {
        Evidence {
            execution_id: "e1".parse().expect("an id"),
            step_id: "test".parse().expect("an id"),
            attempt: 1,
            started_at: Timestamp::EPOCH,
            performer: None,
            outcomes: vec![],
            probes: vec![],
            reviews: vec![],
            files: files
                .iter()
                .map(|(path, text)| {
                    let file = EvidenceFile {
                        path: (*path).to_owned(),
                        text: (*text).to_owned(),
                        total_bytes: text.len() as u64,
                        truncated: false,
                    };
                    (MachineId::local(), file)
                })
                .collect(),
            subject_digest: Digest::from_bytes(&[7; 32]),
        }
    }

    #[test]
    fn collected_files_are_read_under_their_machine() {
        let component: MapTree = [("src/main.rs", b"x".as_slice())].into_iter().collect();

        let (given, tree) = guest_evidence(
            &evidence(&[("target/report.xml", "<ok/>"), ("a.txt", "a")]),
            Some(Phase::After),
            Arc::new(component),
        )
        .expect("plain paths");

        assert_eq!(given.files, ["evidence/local/a.txt", "evidence/local/target/report.xml"]);
        assert_eq!(tree.read("evidence/local/target/report.xml", 0, 99), Ok(b"<ok/>".to_vec()));
        assert_eq!(tree.read("src/main.rs", 0, 99), Ok(b"x".to_vec()));
        assert_eq!(given.extensions, [("phase".to_owned(), "\"after\"".to_owned())]);
    }

    #[test]
    fn a_file_that_would_leave_its_place_is_an_error_and_not_left_out() {
        let error = guest_evidence(&evidence(&[("../x", "")]), None, Arc::new(MapTree::new()))
            .err()
            .expect("leaves");

        assert_eq!(
            error.to_string(),
            "the evidence file of machine `local` cannot be shown: `evidence/local/../x` may not be read: \
             `evidence/local/../x` leaves the component through `..`"
        );
    }

    #[test]
    fn long_output_keeps_its_head_and_its_tail() {
        let text = format!("begin{}end", "ä".repeat(OUTPUT_BYTES_MAX));

        let kept = output(&Output { total_bytes: text.len() as u64, text, truncated: false });

        assert!(kept.truncated);
        assert!(kept.text.len() <= OUTPUT_BYTES_MAX);
        assert!(kept.text.starts_with("beginä") && kept.text.ends_with("äend"));
        assert!(kept.text.contains(" bytes left out …"));
    }
}
