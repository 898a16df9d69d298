//! Judges the reports of one machine together with how its program ended.

use caelum_plugin_reports::{Case, Totals};
use caelum_sdk::{Outcome, Reason, VerdictKind};

use crate::policy::Policy;
use crate::sources::{Sources, formats};

/// What was counted on one machine, and the judgement.
pub(crate) struct Judged {
    pub(crate) kind: VerdictKind,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) totals: Totals,
    pub(crate) flaky: u64,
    pub(crate) duration_ms: u64,
    pub(crate) reports: u64,
    pub(crate) formats: Vec<&'static str>,
    /// The cases that failed or broke.
    pub(crate) failing: Vec<Case>,
}

/// Judges one machine.
pub(crate) fn judge(
    machine: &str,
    outcome: Option<&Outcome>,
    sources: Sources,
    policy: &Policy,
) -> Judged {
    let mut judged = Judged {
        kind: VerdictKind::Pass,
        reasons: Vec::new(),
        totals: Totals::default(),
        flaky: 0,
        duration_ms: 0,
        reports: sources.reports.len() as u64,
        formats: Vec::new(),
        failing: Vec::new(),
    };
    count(&sources, &mut judged);
    let exit = Exit::of(outcome);
    ended_badly(machine, &exit, &mut judged);
    for (code, message, path) in &sources.unusable {
        let kind = match *code {
            "compile-error" | "crash" => VerdictKind::Fail,
            _ => VerdictKind::Inconclusive,
        };
        let reason = Reason {
            code: (*code).to_owned(),
            message: message.clone(),
            path: path.clone(),
            line: None,
        };
        judged.add(kind, reason);
    }
    if sources.reports.is_empty() {
        no_report(machine, outcome, &exit, &sources, &mut judged);
        return judged;
    }
    for found in &sources.reports {
        let at = |reason: Reason| {
            if found.origin.contains('/') { reason.at(&found.origin) } else { reason }
        };
        for fault in &found.report.faults {
            let mut reason = Reason::new(fault.code, &fault.message);
            reason.path.clone_from(&fault.file);
            reason.line = fault.line;
            judged.add(VerdictKind::Fail, reason);
        }
        for message in found.report.contradictions.iter().take(5) {
            let message = format!("the report contradicts itself: {message}");
            judged.add(VerdictKind::Fail, at(Reason::new("contradiction", message)));
        }
        if let Some(why) = &found.report.unfinished {
            let message = format!("the report is not whole: {why}");
            judged.add(VerdictKind::Inconclusive, at(Reason::new("unfinished-report", message)));
        }
    }
    thresholds(machine, &exit, policy, &mut judged);
    judged
}

impl Judged {
    /// Adds a reason; the judgement only gets worse.
    fn add(&mut self, kind: VerdictKind, reason: Reason) {
        self.kind = match (self.kind, kind) {
            (VerdictKind::Fail, _) | (_, VerdictKind::Fail) => VerdictKind::Fail,
            (current, VerdictKind::Pass) => current,
            (_, other) => other,
        };
        self.reasons.push(reason);
    }

    fn fail(&mut self, code: &str, message: String) {
        self.add(VerdictKind::Fail, Reason::new(code, message));
    }
}

fn count(sources: &Sources, judged: &mut Judged) {
    for found in &sources.reports {
        let report = &found.report;
        judged.totals = judged.totals.plus(report.totals);
        judged.flaky += report.cases.iter().filter(|case| case.flaky).count() as u64;
        let times = report.cases.iter().filter_map(|case| case.duration_ms);
        judged.duration_ms = times.fold(judged.duration_ms, u64::saturating_add);
        judged.failing.extend(report.failing().cloned());
        let format = report.format.as_str();
        if !judged.formats.contains(&format) {
            judged.formats.push(format);
        }
    }
}

/// How the program ended.
enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// Its time was up, or a signal ended it; says which.
    Broken(&'static str, String),
    /// There was no program, or nothing is known of its end.
    Unknown,
}

impl Exit {
    fn of(outcome: Option<&Outcome>) -> Self {
        let Some(outcome) = outcome else { return Exit::Unknown };
        if outcome.timed_out {
            return Exit::Broken("timed-out", "was ended when its time was up".to_owned());
        }
        if let Some(signal) = outcome.signal {
            return Exit::Broken("ended-by-signal", format!("was ended by signal {signal}"));
        }
        outcome.exit_code.map_or(Exit::Unknown, Exit::Code)
    }
}

fn ended_badly(machine: &str, exit: &Exit, judged: &mut Judged) {
    if let Exit::Broken(code, how) = exit {
        judged.fail(code, format!("on `{machine}`, the test program {how}"));
    }
}

fn no_report(
    machine: &str,
    outcome: Option<&Outcome>,
    exit: &Exit,
    sources: &Sources,
    judged: &mut Judged,
) {
    let also = match sources.passed_over {
        0 => String::new(),
        1 => "; one collected file has none of these forms".to_owned(),
        files => format!("; {files} collected files have none of these forms"),
    };
    let missing = format!(
        "`{machine}` handed in no test report, neither in collected files nor printed (looked for: {}){also}",
        formats()
    );
    match exit {
        Exit::Code(0) | Exit::Unknown => {
            if sources.unusable.is_empty() {
                judged.add(VerdictKind::Inconclusive, Reason::new("no-report", missing));
            }
        }
        Exit::Code(code) => {
            let told = outcome.and_then(|outcome| last_line(&outcome.stderr.text));
            let told = told.map_or_else(String::new, |line| format!(": {line}"));
            judged.fail(
                "nonzero-exit",
                format!("on `{machine}`, the test program ended with {code}{told}"),
            );
            if sources.unusable.is_empty() {
                judged.reasons.push(Reason::new("no-report", missing));
            }
        }
        Exit::Broken(..) => {}
    }
}

fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(200).collect())
}

fn thresholds(machine: &str, exit: &Exit, policy: &Policy, judged: &mut Judged) {
    let totals = judged.totals;
    let failing = totals.failed.saturating_add(totals.errors);
    let executed = totals.executed();
    let has_fault = judged.kind == VerdictKind::Fail;
    if failing > policy.max_failed {
        let message = format!("on `{machine}`, {failing} of {executed} tests failed");
        judged.fail("tests-failed", message);
    }
    if executed == 0 && policy.min_tests > 0 {
        let skipped = match totals.skipped {
            0 => String::new(),
            skipped => format!("; {skipped} were skipped or filtered out"),
        };
        judged.fail("no-tests-executed", format!("on `{machine}`, no test was executed{skipped}"));
    } else if executed < policy.min_tests {
        let wanted = policy.min_tests;
        judged.fail(
            "too-few-tests",
            format!("on `{machine}`, {executed} tests were executed; at least {wanted} are wanted"),
        );
    }
    match exit {
        Exit::Code(0) if failing > 0 => {
            let message = format!(
                "on `{machine}`, the program ended with 0 and its report names {failing} failed tests"
            );
            judged.fail("contradiction", message);
        }
        Exit::Code(code) if *code != 0 && failing == 0 && executed > 0 && !has_fault => {
            let message = format!(
                "on `{machine}`, the program ended with {code} and its report names no failed test"
            );
            judged.fail("contradiction", message);
        }
        _ => {}
    }
    if let Some(limit) = policy.max_skipped_ratio
        && totals.tests() > 0
    {
        #[expect(clippy::cast_precision_loss, reason = "a share needs no exact integers")]
        let ratio = totals.skipped as f64 / totals.tests() as f64;
        if ratio > limit {
            let (skipped, tests) = (totals.skipped, totals.tests());
            let message = format!(
                "on `{machine}`, {skipped} of {tests} tests were skipped; a share of at most {limit} is allowed"
            );
            judged.fail("too-many-skipped", message);
        }
    }
    if judged.flaky > 0 && !policy.allow_flaky {
        let flaky = judged.flaky;
        judged.fail(
            "flaky-tests",
            format!("on `{machine}`, {flaky} tests passed only after failing"),
        );
    }
}
