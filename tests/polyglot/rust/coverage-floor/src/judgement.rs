//! From reports to a verdict: what was counted on all machines, and what speaks against it.

use caelum_sdk::{Decision, Evidence, Finding, Location, Outcome, Reason, Severity, Verdict, log};

use crate::Parameters;
use crate::lcov::{self, Covered};

/// The rule that findings about single files belong to.
const FILE_RULE: &str = "CF01";

/// What was learned so far.
pub(crate) struct Judgement<'a> {
    parameters: &'a Parameters,
    failed: Vec<Reason>,
    unknown: Vec<Reason>,
    /// What a person has to decide.
    open: Vec<Reason>,
    findings: Vec<Finding>,
    machines: u32,
    files: u32,
    found: u32,
    hit: u32,
    /// The file with the smallest share, and its lines.
    least: Option<(String, u32, u32)>,
}

impl<'a> Judgement<'a> {
    pub(crate) fn new(parameters: &'a Parameters) -> Self {
        Self {
            parameters,
            failed: Vec::new(),
            unknown: Vec::new(),
            open: Vec::new(),
            findings: Vec::new(),
            machines: 0,
            files: 0,
            found: 0,
            hit: 0,
            least: None,
        }
    }

    /// Takes in how the program ended on one machine.
    pub(crate) fn ending(&mut self, outcome: &Outcome) {
        self.machines += 1;
        let machine = &outcome.machine;
        if outcome.timed_out {
            let message = format!("on `{machine}`, the program was ended when its time was up");
            self.failed.push(Reason::new("timed-out", message));
        } else if let Some(signal) = outcome.signal {
            let message = format!("on `{machine}`, the program was ended by signal {signal}");
            self.failed.push(Reason::new("ended-by-signal", message));
        } else if let Some(code) = outcome.exit_code {
            if code != 0 {
                let message = format!("on `{machine}`, the program ended with {code}");
                self.failed.push(Reason::new("nonzero-exit", message));
            }
        } else {
            let message = format!("on `{machine}`, there is no exit code");
            self.unknown.push(Reason::new("no-exit-code", message));
        }
    }

    /// Takes in that a machine has left no report.
    pub(crate) fn missing(&mut self, machine: &str) {
        let report = &self.parameters.report;
        let message = format!(
            "`{report}` was not collected on `{machine}`; name it in the action's `collect`"
        );
        self.unknown.push(Reason::new("report-missing", message));
    }

    /// Takes in the report of one machine.
    pub(crate) fn report(&mut self, machine: &str, path: &str, bytes: &[u8]) {
        let mut files = match lcov::read(bytes) {
            Ok(files) => files,
            Err(fault) => {
                let message = format!("on `{machine}`, {}", fault.message);
                let mut reason = Reason::new(fault.code, message).at(path);
                reason.line = fault.line;
                return self.unknown.push(reason);
            }
        };
        files.retain(|file| {
            !self.parameters.exclude.iter().any(|prefix| file.source.starts_with(prefix))
        });
        let found = files.iter().map(|file| file.found).fold(0, u32::saturating_add);
        let hit = files.iter().map(|file| file.hit).fold(0, u32::saturating_add);
        if found == 0 {
            let message = format!("on `{machine}`, the report names no lines");
            return self.unknown.push(Reason::new("report-empty", message).at(path));
        }
        let counted = files.len().to_string();
        let share = percent(hit, found);
        let fields = [("machine", machine), ("files", &counted), ("percent", &share)];
        log::write(log::Level::Info, "a report was read", &fields);
        self.all_lines(machine, path, hit, found);
        self.single_files(machine, path, &files);
        self.files = self.files.saturating_add(u32::try_from(files.len()).unwrap_or(u32::MAX));
        self.found = self.found.saturating_add(found);
        self.hit = self.hit.saturating_add(hit);
    }

    fn all_lines(&mut self, machine: &str, path: &str, hit: u32, found: u32) {
        let wanted = self.parameters.percent_min;
        if !is_below(hit, found, wanted) {
            return;
        }
        let share = percent(hit, found);
        let message = format!(
            "on `{machine}`, {share} % of {found} lines are covered; at least {wanted} % are wanted"
        );
        let reason = Reason::new("coverage-low", message).at(path);
        match self.parameters.review_percent_min {
            Some(review) if !is_below(hit, found, review) => self.open.push(reason),
            _ => self.failed.push(reason),
        }
    }

    fn single_files(&mut self, machine: &str, path: &str, files: &[Covered]) {
        let wanted = self.parameters.file_percent_min;
        let mut low = 0;
        for file in files.iter().filter(|file| file.found > 0) {
            let less = self.least.as_ref().is_none_or(|(_, hit, found)| {
                u64::from(file.hit) * u64::from(*found) < u64::from(*hit) * u64::from(file.found)
            });
            if less {
                self.least = Some((file.source.clone(), file.hit, file.found));
            }
            if !is_below(file.hit, file.found, wanted) {
                continue;
            }
            low += 1;
            let message = format!(
                "on `{machine}`, {} % of the lines of `{}` are covered; at least {wanted} % are wanted",
                percent(file.hit, file.found),
                file.source
            );
            let finding = Finding::new(FILE_RULE, Severity::Warning, message)
                .at_location(Location::line(path, file.line))
                .about(&file.source)
                .remediation("Write tests that run its uncovered lines.");
            self.findings.push(finding);
        }
        if low > 0 {
            let message =
                format!("on `{machine}`, {low} files are covered by less than {wanted} %");
            self.failed.push(Reason::new("file-coverage-low", message).at(path));
        }
    }

    /// Says what all of it means.
    pub(crate) fn verdict(mut self, evidence: &Evidence) -> Verdict {
        self.hear_reviewers(evidence);
        let verdict = if !self.failed.is_empty() {
            let summary = summary(&self.failed);
            Verdict::fail_for(summary, self.failed.into_iter().chain(self.unknown))
        } else if !self.unknown.is_empty() {
            let summary = summary(&self.unknown);
            Verdict::inconclusive_for(summary, self.unknown)
        } else if let Some(first) = self.open.first() {
            let mut verdict = Verdict::needs_review(&first.code, summary(&self.open));
            verdict.reasons = self.open;
            verdict
        } else {
            let share = percent(self.hit, self.found);
            let on = match self.machines {
                1 => String::new(),
                count => format!(" on {count} machines"),
            };
            Verdict::pass(format!(
                "{share} % of {} lines in {} files are covered{on}",
                self.found, self.files
            ))
        };
        let verdict = self.findings.into_iter().fold(verdict, Verdict::finding);
        let mut verdict = verdict
            .metric("machines", self.machines)
            .metric("files", self.files)
            .metric("lines_found", self.found)
            .metric("lines_hit", self.hit);
        if self.found > 0 {
            verdict = verdict.metric("percent", percent(self.hit, self.found));
        }
        match self.least {
            Some((source, ..)) => verdict.extension("coverage-floor/least-covered", source),
            None => verdict,
        }
    }

    /// Lets people decide what is open. Who did the work has no vote.
    fn hear_reviewers(&mut self, evidence: &Evidence) {
        if self.open.is_empty() {
            return;
        }
        let votes: Vec<_> = evidence
            .current_reviews()
            .filter(|review| evidence.performer.as_ref() != Some(&review.reviewer))
            .collect();
        let decided = |decision| votes.iter().find(move |review| review.decision == decision);
        if let Some(review) = decided(Decision::Rejected) {
            self.failed.append(&mut self.open);
            let message = format!("`{}` has rejected it: {}", review.reviewer, review.reason);
            self.failed.push(Reason::new("review-rejected", message));
        } else if decided(Decision::Approved).is_some() {
            self.open.clear();
        }
    }
}

fn summary(reasons: &[Reason]) -> String {
    match reasons {
        [] => String::new(),
        [only] => only.message.clone(),
        [first, rest @ ..] => format!("{} (and {} more)", first.message, rest.len()),
    }
}

/// Whether a share lies below a whole number of percent, without rounding.
fn is_below(hit: u32, found: u32, percent: u32) -> bool {
    u64::from(hit) * 100 < u64::from(percent) * u64::from(found)
}

/// Writes a share with one decimal, rounded down: what is not quite enough must not look as if it were.
fn percent(hit: u32, found: u32) -> String {
    let tenths = u64::from(hit) * 1_000 / u64::from(found);
    format!("{}.{}", tenths / 10, tenths % 10)
}
