//! Puts the judgements of all machines together into one verdict.

use std::collections::BTreeSet;

use caelum_plugin_reports::{Case, CaseStatus, Totals};
use caelum_sdk::{Evidence, Glob, Outcome, PluginError, Reason, Target, Verdict, VerdictKind};

use crate::machine::{self, Judged};
use crate::policy::Policy;
use crate::sources;

/// How many failing cases are named.
const NAMED_MAX: usize = 20;
/// How many reasons beside failing cases are given.
const REASONS_MAX: usize = 100;

/// Judges the evidence of a test run.
///
/// # Errors
/// `InvalidParameters` when a glob cannot be parsed, `Host` when the files are more than one call may read.
pub fn judge(
    evidence: &Evidence,
    target: &dyn Target,
    policy: &Policy,
) -> Result<Verdict, PluginError> {
    let globs = globs(&policy.report_files)?;
    let machines = machines(evidence);
    if machines.is_empty() {
        return Ok(Verdict::inconclusive(
            "no-outcome",
            "no test has run: there is neither an outcome nor a file to judge",
        ));
    }
    let mut all: Vec<(String, Judged)> = Vec::new();
    for machine in machines {
        let outcome: Option<&Outcome> =
            evidence.outcomes.iter().find(|outcome| outcome.machine == machine);
        let sources = sources::find(evidence, machine, outcome, target, &globs)?;
        all.push((machine.to_owned(), machine::judge(machine, outcome, sources, policy)));
    }
    Ok(verdict(&all, policy))
}

fn globs(patterns: &[String]) -> Result<Vec<Glob>, PluginError> {
    let mut globs = Vec::new();
    for (index, pattern) in patterns.iter().enumerate() {
        match Glob::new(pattern) {
            Ok(glob) => globs.push(glob),
            Err(error) => {
                let pointer = format!("/report_files/{index}");
                return Err(PluginError::invalid_parameter(pointer, error.to_string()));
            }
        }
    }
    Ok(globs)
}

/// Returns the machines that anything is known of.
fn machines(evidence: &Evidence) -> BTreeSet<&str> {
    let outcomes = evidence.outcomes.iter().map(|outcome| outcome.machine.as_str());
    let files =
        evidence.files.iter().filter_map(|path| path.strip_prefix("evidence/")?.split('/').next());
    outcomes.chain(files).collect()
}

fn verdict(all: &[(String, Judged)], policy: &Policy) -> Verdict {
    let mut totals = Totals::default();
    let (mut flaky, mut duration_ms, mut reports) = (0, 0_u64, 0);
    let mut formats: Vec<&str> = Vec::new();
    let mut failing: Vec<&Case> = Vec::new();
    let mut reasons: Vec<Reason> = Vec::new();
    let mut kind = VerdictKind::Pass;
    for (_, judged) in all {
        totals = totals.plus(judged.totals);
        flaky += judged.flaky;
        duration_ms = duration_ms.saturating_add(judged.duration_ms);
        reports += judged.reports;
        failing.extend(&judged.failing);
        reasons.extend(judged.reasons.iter().cloned());
        for format in &judged.formats {
            if !formats.contains(format) {
                formats.push(format);
            }
        }
        kind = match (kind, judged.kind) {
            (VerdictKind::Fail, _) | (_, VerdictKind::Fail) => VerdictKind::Fail,
            (current, VerdictKind::Pass) => current,
            (_, other) => other,
        };
    }
    // A failure is told by its cause, not by what else is missing.
    let rank = |reason: &Reason| {
        !matches!(
            reason.code.as_str(),
            "contradiction" | "tests-failed" | "compile-error" | "crash"
        )
    };
    reasons.sort_by_key(rank);
    reasons.truncate(REASONS_MAX);
    let summary = match kind {
        VerdictKind::Pass => counted(&totals, flaky, &formats, all.len()),
        _ => headline(kind, &totals, &reasons),
    };
    if kind == VerdictKind::Fail {
        reasons.extend(failing.iter().take(NAMED_MAX).map(|case| failed(case)));
        let named = failing.len().min(NAMED_MAX) as u64;
        let unnamed = totals.failed.saturating_add(totals.errors).saturating_sub(named);
        if named > 0 && unnamed > 0 {
            reasons.push(Reason::new("more-failed", format!("{unnamed} more tests failed")));
        }
    }
    let verdict = match kind {
        VerdictKind::Pass => Verdict::pass(summary),
        VerdictKind::Fail => Verdict::fail_for(summary, reasons),
        _ => Verdict::inconclusive_for(summary, reasons),
    };
    verdict
        .metric("tests_total", totals.tests())
        .metric("tests_executed", totals.executed())
        .metric("passed", totals.passed)
        .metric("failed", totals.failed)
        .metric("errors", totals.errors)
        .metric("skipped", totals.skipped)
        .metric("flaky", flaky)
        .metric("duration_ms", duration_ms)
        .metric("reports", reports)
        .metric("machines", all.len())
        .metric("formats", formats.join(", "))
        .extension("test-gate/policy", policy.as_json())
}

/// Says what was counted: "212 tests passed, 3 skipped (junit-xml)".
fn counted(totals: &Totals, flaky: u64, formats: &[&str], machines: usize) -> String {
    let mut parts = vec![match totals.passed {
        1 => "1 test passed".to_owned(),
        passed => format!("{passed} tests passed"),
    }];
    let failed = totals.failed.saturating_add(totals.errors);
    if failed > 0 {
        parts.push(format!("{failed} failed and are allowed to"));
    }
    if totals.skipped > 0 {
        parts.push(format!("{} skipped", totals.skipped));
    }
    if flaky > 0 {
        parts.push(format!("{flaky} of them flaky"));
    }
    let mut where_from = formats.join(", ");
    if machines > 1 {
        where_from.push_str(&format!(" from {machines} machines"));
    }
    let warning =
        if totals.skipped > totals.executed() { "; more were skipped than run" } else { "" };
    format!("{} ({where_from}){warning}", parts.join(", "))
}

fn headline(kind: VerdictKind, totals: &Totals, reasons: &[Reason]) -> String {
    let failed = totals.failed.saturating_add(totals.errors);
    if kind == VerdictKind::Fail && reasons.iter().any(|reason| reason.code == "tests-failed") {
        let contradiction = reasons.iter().any(|reason| reason.code == "contradiction");
        let tail = if contradiction { ", and the evidence contradicts itself" } else { "" };
        return format!("{failed} of {} tests failed{tail}", totals.executed());
    }
    match reasons {
        [] => "the evidence shows nothing".to_owned(),
        [only] => only.message.clone(),
        [first, rest @ ..] => format!("{} (and {} more)", first.message, rest.len()),
    }
}

fn failed(case: &Case) -> Reason {
    let (code, verb) = match case.status {
        CaseStatus::Errored => ("test-error", "broke"),
        _ => ("test-failed", "failed"),
    };
    let why = case.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
    let mut reason = Reason::new(code, format!("`{}` {verb}{why}", case.full_name()));
    reason.path.clone_from(&case.file);
    reason.line = case.line;
    reason
}
