//! Evidence: everything that is known about one attempt of one step, and the questions every validator asks of it.

use serde_json::Value;

use crate::finding::Extensions;
use crate::validator::Phase;
use crate::verdict::{Reason, Verdict};

/// Everything that is known about one attempt of one step. Times are RFC 3339 texts in UTC.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The execution that the step belongs to.
    pub execution_id: String,
    /// The step.
    pub step_id: String,
    /// Which attempt, counted from 1.
    pub attempt: u32,
    /// When the attempt began. Evidence made before it is about something else.
    pub started_at: String,
    /// Who did the work, when a person or an agent did.
    pub performer: Option<String>,
    /// How the action ended, one for each machine, sorted by machine. Empty before the action.
    pub outcomes: Vec<Outcome>,
    /// The facts fetched for this gate.
    pub probes: Vec<Probe>,
    /// The reviews so far, oldest first.
    pub reviews: Vec<Review>,
    /// Paths of the collected files as the target knows them: `evidence/<machine>/<path>`.
    pub files: Vec<String>,
    /// Names exactly what is judged.
    pub subject_digest: String,
    /// Further facts.
    pub extensions: Extensions,
}

impl Evidence {
    /// Returns which gate is asking, when the host says so.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        match self.extensions.get("phase").and_then(Value::as_str) {
            Some("before") => Some(Phase::Before),
            Some("after") => Some(Phase::After),
            _ => None,
        }
    }

    /// Returns the verdict that ends the question when not every program ended with 0, otherwise `None`.
    ///
    /// No outcome at all, or an outcome that is no program's, is inconclusive; a time-out, a signal and any other exit
    /// code fail. All machines are named.
    #[must_use]
    pub fn require_exit_zero(&self) -> Option<Verdict> {
        if self.outcomes.is_empty() {
            return Some(Verdict::inconclusive(
                "no-outcome",
                "no program has run: there is no outcome to judge",
            ));
        }
        let (mut failed, mut unknown) = (Vec::new(), Vec::new());
        for outcome in &self.outcomes {
            let machine = &outcome.machine;
            if outcome.timed_out {
                failed.push(Reason::new(
                    "timed-out",
                    format!("on `{machine}`, the program was ended when its time was up"),
                ));
            } else if let Some(signal) = outcome.signal {
                failed.push(Reason::new(
                    "ended-by-signal",
                    format!("on `{machine}`, the program was ended by signal {signal}"),
                ));
            } else {
                match outcome.exit_code {
                    Some(0) => {}
                    Some(code) => {
                        failed.push(Reason::new(
                            "nonzero-exit",
                            format!("on `{machine}`, the program ended with {code}"),
                        ));
                    }
                    None => unknown.push(Reason::new(
                        "no-exit-code",
                        format!("on `{machine}`, there is no exit code"),
                    )),
                }
            }
        }
        let count = self.outcomes.len();
        if !failed.is_empty() {
            let summary = format!("{} of {count} programs failed", failed.len());
            return Some(Verdict::fail_for(summary, failed.into_iter().chain(unknown)));
        }
        if !unknown.is_empty() {
            let summary = format!("{} of {count} outcomes have no exit code", unknown.len());
            return Some(Verdict::inconclusive_for(summary, unknown));
        }
        None
    }

    /// Returns the probe with a name, on any machine.
    pub fn probes_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Probe> {
        self.probes.iter().filter(move |probe| probe.name == name)
    }

    /// Returns the reviews that are about this very work.
    pub fn current_reviews(&self) -> impl Iterator<Item = &Review> {
        self.reviews.iter().filter(|review| review.subject_digest == self.subject_digest)
    }
}

/// How a step's action ended on one machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The machine.
    pub machine: String,
    /// The program's exit code. Absent when it did not run or was ended by a signal, or the action is no program.
    pub exit_code: Option<i32>,
    /// The signal that ended the program.
    pub signal: Option<i32>,
    /// Whether it was ended because its time was up.
    pub timed_out: bool,
    /// How long it ran, in milliseconds. Not a base for a verdict.
    pub duration_ms: u64,
    /// What it wrote to standard output.
    pub stdout: Output,
    /// What it wrote to standard error.
    pub stderr: Output,
    /// The step's outputs: a JSON object. For an action that is no program, its result.
    pub outputs: Value,
}

/// Text that a program wrote; head and tail when it was too long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// What was kept.
    pub text: String,
    /// How many bytes were written.
    pub total_bytes: u64,
    /// Whether `text` is less than what was written.
    pub truncated: bool,
}

impl From<&str> for Output {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), total_bytes: text.len() as u64, truncated: false }
    }
}

/// A fact that the host fetched for this gate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probe {
    /// What the step's author called it.
    pub name: String,
    /// What was done: `http`, `tcp`, `command`, `file`, `env`, `port`, `systemd`, or what later hosts add.
    pub kind: String,
    /// The machine on which it was taken.
    pub machine: String,
    /// When.
    pub taken_at: String,
    /// Whether an answer came at all.
    pub ok: bool,
    /// The answer: a JSON object, with `error` when there was none.
    pub answer: Value,
}

/// What a reviewer decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The step may go on.
    Approved,
    /// The step may not go on.
    Rejected,
    /// The reviewer has looked and does not decide.
    Abstained,
}

/// What a person or an agent said about the step's work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Who.
    pub reviewer: String,
    /// What they decided.
    pub decision: Decision,
    /// Why. May be empty.
    pub reason: String,
    /// When.
    pub at: String,
    /// What they looked at; compare with [`Evidence::subject_digest`].
    pub subject_digest: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::VerdictKind;

    fn evidence(outcomes: Vec<Outcome>) -> Evidence {
        Evidence { outcomes, ..Evidence::default() }
    }

    fn exited(machine: &str, exit_code: Option<i32>) -> Outcome {
        Outcome { machine: machine.into(), exit_code, ..Outcome::default() }
    }

    #[test]
    fn all_zero_leaves_the_question_open() {
        assert_eq!(
            evidence(vec![exited("a", Some(0)), exited("b", Some(0))]).require_exit_zero(),
            None
        );
    }

    #[test]
    fn no_outcome_and_no_exit_code_are_inconclusive() {
        for outcomes in [vec![], vec![exited("a", Some(0)), exited("b", None)]] {
            let verdict = evidence(outcomes).require_exit_zero().expect("a verdict");
            assert_eq!(verdict.kind, VerdictKind::Inconclusive);
        }
    }

    #[test]
    fn every_failing_machine_is_named() {
        let late = Outcome { timed_out: true, exit_code: Some(0), ..exited("c", None) };
        let killed = Outcome { signal: Some(9), ..exited("d", None) };

        let verdict = evidence(vec![exited("a", Some(0)), exited("b", Some(3)), late, killed])
            .require_exit_zero()
            .expect("a verdict");

        assert_eq!(verdict.kind, VerdictKind::Fail);
        assert_eq!(verdict.summary, "3 of 4 programs failed");
        let codes: Vec<_> = verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
        assert_eq!(codes, ["nonzero-exit", "timed-out", "ended-by-signal"]);
    }
}
