//! Finds the reports in the evidence of one machine.

use caelum_plugin_reports::{Format, Report, cargo_build_faults, detect, parse};
use caelum_sdk::{Evidence, Glob, Outcome, PluginError, Target, TargetErrorCode};

use crate::freshness::is_older;

/// How many collected files are looked at on one machine. The rest is left out and told.
const FILES_MAX: usize = 2_000;

/// A report and where it was found.
pub(crate) struct Found {
    pub(crate) report: Report,
    /// The path of the file, or `standard output`.
    pub(crate) origin: String,
}

/// What was found on one machine.
#[derive(Default)]
pub(crate) struct Sources {
    pub(crate) reports: Vec<Found>,
    /// Why something that should have been a report is none: code, message, path.
    pub(crate) unusable: Vec<(&'static str, String, Option<String>)>,
    /// Files that look like no report.
    pub(crate) passed_over: usize,
}

/// Returns the reports of a machine: from its files when there are any among them, otherwise from what was printed.
pub(crate) fn find(
    evidence: &Evidence,
    machine: &str,
    outcome: Option<&Outcome>,
    target: &dyn Target,
    globs: &[Glob],
) -> Result<Sources, PluginError> {
    let mut sources = Sources::default();
    let folder = format!("evidence/{machine}/");
    let files = evidence.files.iter().filter(|path| path.starts_with(&folder));
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for (index, path) in files.enumerate() {
        let wanted = globs.iter().any(|glob| glob.matches(&path[folder.len()..]));
        if !globs.is_empty() && !wanted {
            continue;
        }
        if index >= FILES_MAX {
            let message =
                format!("`{machine}` handed in more than {FILES_MAX} files; the rest was not read");
            sources.unusable.push(("too-many-files", message, None));
            break;
        }
        let bytes = match target.read_all(path) {
            Ok(bytes) => bytes,
            Err(error) if error.code == TargetErrorCode::BudgetExceeded => return Err(error.into()),
            Err(error) => {
                sources.unusable.push(("unreadable-report", error.to_string(), Some(path.clone())));
                continue;
            }
        };
        // One report under two names is one report.
        if seen.contains(&bytes) {
            continue;
        }
        let text = String::from_utf8_lossy(&bytes);
        read(&text, path, wanted, evidence, &mut sources);
        if !text.trim().is_empty() {
            seen.push(bytes);
        }
    }
    if sources.reports.is_empty()
        && sources.unusable.is_empty()
        && let Some(outcome) = outcome
    {
        printed(outcome, &mut sources);
    }
    if let Some(outcome) = outcome {
        build_faults(outcome, &mut sources);
    }
    Ok(sources)
}

fn read(text: &str, path: &str, wanted: bool, evidence: &Evidence, sources: &mut Sources) {
    let place = Some(path.to_owned());
    let Some(format) = detect(text) else {
        if wanted && text.trim().is_empty() {
            sources.unusable.push(("empty-report", format!("`{path}` is empty"), place));
        } else if wanted {
            let message = format!("`{path}` has none of the known forms ({})", formats());
            sources.unusable.push(("unknown-format", message, place));
        } else {
            sources.passed_over += 1;
        }
        return;
    };
    match parse(text, format) {
        Ok(report) => {
            if let Some(time) = &report.produced_at
                && is_older(time, &evidence.started_at)
            {
                let started = &evidence.started_at;
                let message =
                    format!("`{path}` was written at {time}, before the attempt began ({started})");
                sources.unusable.push(("stale-report", message, place));
                return;
            }
            sources.reports.push(Found { report, origin: path.to_owned() });
        }
        Err(error) => {
            let message = format!("`{path}`: {error}");
            sources.unusable.push(("unreadable-report", message, place));
        }
    }
}

/// Reads what the program printed, standard output first: `unittest` writes its report to standard error.
fn printed(outcome: &Outcome, sources: &mut Sources) {
    for (output, origin) in
        [(&outcome.stdout, "standard output"), (&outcome.stderr, "standard error")]
    {
        let Some(format) = detect(&output.text) else { continue };
        match parse(&output.text, format) {
            Ok(mut report) => {
                if output.truncated && report.unfinished.is_none() {
                    let total = output.total_bytes;
                    report.unfinished =
                        Some(format!("the middle of {total} printed bytes was not kept"));
                }
                sources.reports.push(Found { report, origin: origin.to_owned() });
                return;
            }
            Err(error) => {
                sources.unusable.push(("unreadable-report", format!("{origin}: {error}"), None));
            }
        }
    }
}

/// Adds what cargo says of a failed build, which it prints apart from the results.
fn build_faults(outcome: &Outcome, sources: &mut Sources) {
    let has_cargo =
        sources.reports.iter().any(|found| found.report.format == Format::CargoTestText);
    if !has_cargo && !sources.reports.is_empty() {
        return;
    }
    let faults = cargo_build_faults(&outcome.stderr.text);
    if faults.is_empty() {
        return;
    }
    match sources.reports.first_mut() {
        Some(found) => {
            for fault in faults {
                if !found.report.faults.contains(&fault) {
                    found.report.faults.push(fault);
                }
            }
        }
        None => {
            for fault in faults {
                let place = match (&fault.file, fault.line) {
                    (Some(file), Some(line)) => format!(" ({file}:{line})"),
                    _ => String::new(),
                };
                sources.unusable.push((fault.code, format!("{}{place}", fault.message), None));
            }
        }
    }
}

/// Returns the names of all forms that were tried.
pub(crate) fn formats() -> String {
    Format::ALL.map(Format::as_str).join(", ")
}
