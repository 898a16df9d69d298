//! SARIF 2.1.0: what an analysis found, and whether it ran to its end.

use caelum_sdk::{Reason, Verdict};
use serde_json::Value;

use crate::Level;

/// How many results are named.
const NAMED_MAX: usize = 20;

/// What the analyses of a file say.
#[derive(Default)]
pub(crate) struct Analysis {
    pub(crate) runs: u64,
    pub(crate) results: u64,
    pub(crate) suppressed: u64,
    /// Results that fail the gate.
    pub(crate) failing: Vec<Reason>,
    pub(crate) failing_total: u64,
    /// Why a run shows nothing.
    pub(crate) broken: Vec<Reason>,
}

/// Reads a document; nothing when it is no SARIF.
pub(crate) fn read(document: &Value, path: &str, fail_on: Level) -> Option<Analysis> {
    let runs = document.get("runs")?.as_array()?;
    let named = document
        .get("$schema")
        .and_then(Value::as_str)
        .is_some_and(|schema| schema.contains("sarif"));
    let versioned = document
        .get("version")
        .and_then(Value::as_str)
        .is_some_and(|version| version.starts_with("2."));
    if !named && !versioned {
        return None;
    }
    let mut analysis = Analysis::default();
    if runs.is_empty() {
        let message = format!("`{path}` holds no run of an analysis");
        analysis.broken.push(Reason::new("analysis-empty", message).at(path));
    }
    for run in runs {
        analysis.runs += 1;
        read_run(run, path, fail_on, &mut analysis);
    }
    Some(analysis)
}

fn read_run(run: &Value, path: &str, fail_on: Level, analysis: &mut Analysis) {
    let tool = run.pointer("/tool/driver/name").and_then(Value::as_str).unwrap_or("an analysis");
    let invocations =
        run.get("invocations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for invocation in invocations {
        if invocation.get("executionSuccessful").and_then(Value::as_bool) == Some(false) {
            let why = invocation
                .pointer("/toolExecutionNotifications/0/message/text")
                .or_else(|| invocation.get("exitCodeDescription"))
                .and_then(Value::as_str)
                .map_or_else(String::new, |why| {
                    format!(": {}", why.lines().next().unwrap_or_default())
                });
            let message =
                format!("`{tool}` did not run to its end, so that its results show nothing{why}");
            analysis.broken.push(Reason::new("analysis-failed", message).at(path));
        }
    }
    let Some(results) = run.get("results").and_then(Value::as_array) else {
        // Without the list, the tool did not look for results, see section 3.14.23 of the standard.
        let message = format!("`{tool}` wrote no list of results, not even an empty one");
        analysis.broken.push(Reason::new("analysis-empty", message).at(path));
        return;
    };
    for result in results {
        analysis.results += 1;
        let suppressed = result.get("suppressions").and_then(Value::as_array).is_some_and(|list| {
            !list.is_empty()
                && list.iter().all(|one| {
                    !matches!(
                        one.get("status").and_then(Value::as_str),
                        Some("underReview" | "rejected")
                    )
                })
        });
        if suppressed {
            analysis.suppressed += 1;
            continue;
        }
        let kind = result.get("kind").and_then(Value::as_str).unwrap_or("fail");
        let gone = result.get("baselineState").and_then(Value::as_str) == Some("absent");
        if kind != "fail" || gone || level(run, result) < fail_on {
            continue;
        }
        analysis.failing_total += 1;
        if analysis.failing.len() < NAMED_MAX {
            analysis.failing.push(reason(tool, result));
        }
    }
}

/// Returns the weight of a result: its own, else that of its rule, else a warning.
fn level(run: &Value, result: &Value) -> Level {
    let word = result.get("level").and_then(Value::as_str).or_else(|| {
        let rules = run.pointer("/tool/driver/rules")?.as_array()?;
        let rule = match result.get("ruleIndex").and_then(Value::as_u64) {
            Some(index) => rules.get(usize::try_from(index).ok()?)?,
            None => {
                let id = result.get("ruleId")?.as_str()?;
                rules.iter().find(|rule| rule.get("id").and_then(Value::as_str) == Some(id))?
            }
        };
        rule.pointer("/defaultConfiguration/level")?.as_str()
    });
    match word {
        Some("error") => Level::Error,
        Some("note" | "none") => Level::Note,
        _ => Level::Warning,
    }
}

fn reason(tool: &str, result: &Value) -> Reason {
    let rule = result.get("ruleId").and_then(Value::as_str).unwrap_or("a rule");
    let text = result.pointer("/message/text").and_then(Value::as_str).unwrap_or_default();
    let text: String = text.lines().next().unwrap_or_default().chars().take(300).collect();
    let message = format!("{tool}, {rule}: {text}");
    let place = result.pointer("/locations/0/physicalLocation");
    let file =
        place.and_then(|place| place.pointer("/artifactLocation/uri")).and_then(Value::as_str);
    let line = place.and_then(|place| place.pointer("/region/startLine")).and_then(Value::as_u64);
    let mut reason = Reason::new("analysis-result", message);
    reason.path = file.map(|file| file.trim_start_matches("file://").to_owned());
    reason.line = line.and_then(|line| u32::try_from(line).ok()).filter(|line| *line > 0);
    reason
}

impl Analysis {
    /// Adds what was counted to a verdict.
    pub(crate) fn metrics(&self, verdict: Verdict) -> Verdict {
        verdict
            .metric("analysis_runs", self.runs)
            .metric("analysis_results", self.results)
            .metric("analysis_suppressed", self.suppressed)
            .metric("analysis_failing", self.failing_total)
    }

    /// Takes over what another file says.
    pub(crate) fn merge(&mut self, other: Analysis) {
        self.runs += other.runs;
        self.results += other.results;
        self.suppressed += other.suppressed;
        self.failing_total += other.failing_total;
        self.failing.extend(other.failing);
        self.failing.truncate(NAMED_MAX);
        self.broken.extend(other.broken);
    }
}
